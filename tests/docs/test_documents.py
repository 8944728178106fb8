"""The documents' commands, run as a reader would: read out of the text, and run
in its order in one shell. `sh` blocks run; `console` blocks show output, or
what can't run here, and test_names.py reads them."""
import json
import os
import re
import secrets
import signal
import subprocess

import pytest

from lib.process import (
    BUILD, PATIENCE, REPO, SANITIZED, free_port, stop, wait_until)
from lib.tokens import App, gcm_seal
import texts

README = REPO / "README.md"
HOSTING = "make install"  # the first block of the README's part on hosting
START_PATIENCE = 240 if SANITIZED else 60


def readme():
    """Its blocks: the newcomer's, and the operator's."""
    found = texts.blocks(README, "sh")
    first, = [i for i, (_, b) in enumerate(found)
              if HOSTING in b and "apt install" in b]
    return found[:first], found[first:]


def lines(blocks):
    return [line for line, _ in blocks]


def outputs(document, printed):
    """(block's text, what it printed)"""
    return [(text, printed[line]) for line, text in
            texts.blocks(document, "sh")]


def app_of(text):
    return App(json.loads(text))


def register(host, name="An app"):
    token = (host.dir / "etc/postern/registration-token").read_text().strip()
    r = host.request("POST", "/v1/apps", {"Authorization": f"Bearer {token}"},
                     {"name": name})
    assert r.status == 201, r
    return App(r.json())


def make_by_readme(host, ran):
    """All of the README's part on hosting, with an app that has to outlive a
    backup, its restoration, and an upgrade."""
    blocks = readme()[1]
    keep = """(
    token=$(cat "$HOST_ROOT/etc/postern/registration-token")
    curl -fsS http://127.0.0.1:$HOST_PORT/v1/apps -H "Authorization: Bearer $token" \
        --json '{"name":"Kept"}' >kept.json
    )"""
    lose = """(
    runuser -u postern -- postern app create Lost --json >lost.json
    )"""
    host.printed = host.run(README, blocks, before={
        "pg_dump": keep, "pg_restore": lose})
    ran(README, "ran", lines(blocks))
    host.kept = app_of((host.dir / "home/kept.json").read_text())
    host.lost = app_of((host.dir / "home/lost.json").read_text())


def test_readme_first_call(scratch, ran):
    """make run, and the session that follows, to the first 200 and further."""
    (start_line, start), (line, session) = readme()[0]
    assert start == "make run\n"
    port, d = free_port(), scratch.dir() / "var"
    log = open(scratch.dir() / "log", "wb+")
    env = {k: v for k, v in os.environ.items()
           if not k.startswith(("MAKE", "POSTERN_", "MFLAGS"))}
    p = subprocess.Popen(
        ["bash", "-c", "exec make run"], cwd=REPO, stdout=log, stderr=log,
        stdin=subprocess.DEVNULL, start_new_session=True,
        # A proxy that reaches nothing of ours is none of its business.
        env={**env, "PORT": str(port), "VAR": str(d), "BUILD": str(BUILD),
             "http_proxy": "http://127.0.0.1:9"})
    try:
        wait_until("make run", lambda: p.poll() is not None
                   or b"A first session" in read(log), START_PATIENCE)
        assert p.poll() is None, read(log)
        r = subprocess.run(
            ["bash", "-euo", "pipefail", "-c",
             session.replace("VAR=var URL=http://127.0.0.1:8080",
                             f"VAR={d} URL=http://127.0.0.1:{port}")],
            capture_output=True, text=True, timeout=PATIENCE, cwd=REPO,
            env=env)
        assert (r.returncode, r.stderr) == (0, "")
        whoami, stored, found = r.stdout.splitlines()
        assert json.loads(whoami)["app"]["name"] == "My first app"
        assert stored == found == '{"city": "London"}'
        assert b"export no_proxy=127.0.0.1\n" in read(log)
        # What it prints is what the README has, but for where.
        printed = re.sub(r"^  ", "", read(log).decode(), flags=re.M)
        assert session.replace("http://127.0.0.1:8080", "").partition("\n")[2] \
            in printed
    finally:
        # Ctrl-C in a terminal is for the whole group.
        if p.poll() is None:
            os.killpg(p.pid, signal.SIGINT)
        stop(p)
    ran(README, "ran", [start_line, line])


def read(log):
    log.flush()
    log.seek(0)
    return log.read()


def test_readme_hosting(host):
    """Every step of it left a site that works."""
    r = host.get("/v1/whoami", host.kept.auth())
    assert (r.status, r.json()["app"]["name"]) == (200, "Kept")
    # Made after the backup, and gone with its restoration.
    assert host.get("/v1/whoami", host.lost.auth()).status == 401
    r = host.get("/")
    assert (r.status, b"Postern" in r.body) == (200, True)
    printed = {text: host.printed[line] for line, text in readme()[1]}
    doctor, = [out for text, out in printed.items() if "doctor" in text]
    assert '{"status":"ready"}' in doctor
    assert re.search(r"^ok ", doctor, re.M), doctor
    assert not re.search(r"^(FAIL|warn) ", doctor, re.M), doctor
    checks = [out for text, out in printed.items() if "postern check" in text]
    assert len(checks) == 2  # of the settings, and of what was restored
    for out in checks:
        assert re.search(r"^ok +schema", out, re.M), out
        assert not re.search(r"^FAIL", out, re.M), out
    invite, = [out for text, out in printed.items() if "invite" in text]
    token = re.search(r"\S{40,}", invite).group(0)
    r = host.request("POST", "/v1/apps", {"Authorization": f"Bearer {token}"},
                     {"name": "Invited"})
    assert r.status == 201


def test_hosting(host, ran):
    path = REPO / "docs/hosting.md"
    blocks = texts.blocks(path, "sh")
    printed = host.run(path, blocks)
    ran(path, "ran", lines(blocks))
    for out in printed.values():
        assert re.search(r"^ok ", out, re.M)
        assert "FAIL" not in out


def test_what_doctor_says(host, ran):
    """The finding that hosting.md shows, from a site that has it."""
    path = REPO / "docs/hosting.md"
    (line, shown), = [(n, b) for n, b in texts.blocks(path, "console")
                      if "FAIL" in b]
    conf = host.dir / "etc/lighttpd/lighttpd.conf"
    whole = conf.read_text()
    conf.write_text(
        whole + 'setenv.set-request-header = ("Authorization" => "")\n')
    try:
        printed = host.run(path, [(0, """
            systemctl restart lighttpd
            postern doctor http://127.0.0.1:8080 --server apache-fcgid || true
            """)])[0]
    finally:
        conf.write_text(whole)
        host.run(path, [(0, "systemctl restart lighttpd")])
    assert shown in printed, printed
    ran(path, "compared with what is printed", [line])


@pytest.mark.skipif(os.getuid() != 0, reason="needs root")
def test_credentials(host, ran):
    """The server and the tool by the encrypted key alone, and back."""
    path = REPO / "docs/credentials.md"
    blocks = texts.blocks(path, "sh")
    app = register(host, "Under the encrypted key")
    plain = host.dir / "etc/postern/master-key"
    key, settings = plain.read_text(), host.dir / "etc/postern/postern.conf"
    before = sorted(settings.read_text().splitlines())
    there, back = ([b for b in blocks if ("umask" in b[1]) is which]
                   for which in (False, True))
    printed = host.run(path, there)
    assert not plain.exists() and "MASTER_KEY" not in settings.read_text()
    assert not list((host.dir / "root").iterdir())
    assert host.get("/v1/whoami", app.auth()).status == 200
    assert register(host, "Made under it").secret
    check, = [printed[line] for line, text in there if "with_key" in text]
    assert "FAIL" not in check and app.public in check, check
    assert key.strip() not in str(printed)
    host.run(path, back)
    ran(path, "ran", lines(blocks))
    assert plain.read_text() == key
    assert sorted(settings.read_text().splitlines()) == before
    assert host.get("/v1/whoami", app.auth()).status == 200


def test_operating(host, ran):
    path = REPO / "docs/operating.md"
    part = texts.part(path, texts.ANOTHER_POSTGRES)  # has a test of its own
    blocks = [(n, text) for n, text in texts.blocks(path, "sh")
              if n not in part]
    old = (host.dir / "etc/postern/master-key").read_text()
    admin = (host.dir / "etc/postern/admin-token").read_text().strip()
    by_admin = register(host, "Rotated by the admin")
    r = host.request("POST", f"/v1/apps/{by_admin.public}/rotate",
                     {"Authorization": f"Bearer {admin}"})
    assert r.status == 200
    printed = host.run(path, blocks)
    ran(path, "ran", lines(blocks))
    done = [(text, printed[line]) for line, text in blocks]

    reseal, = [out for text, out in done if "op reseal\n" in text]
    assert re.search(r"^ok +rows +\d+ under this master key$", reseal, re.M)
    assert re.search(r"can be removed from POSTERN_MASTER_KEYS_OLD", reseal)
    assert (host.dir / "etc/postern/master-key").read_text() != old
    check, = [out for text, out in done if "sed -i" in text]
    assert "former" not in check and "FAIL" not in check
    events, = [out for text, out in done if '"admin"' in text]
    assert re.search(rf"\trotated?\t{by_admin.public}$", events, re.M), events
    # Every app has a new secret, and none its old one.
    new = [App(json.loads(line)) for line in
           (host.dir / "home/new-secrets.jsonl").read_text().splitlines()]
    assert {host.kept.public, by_admin.public} <= {a.public for a in new}
    for a in new:
        assert host.get("/v1/whoami", a.auth()).status == 200
    assert host.get("/v1/whoami", host.kept.auth()).status == 401
    # So has the admin.
    for token, status in ((admin, 401), ((
            host.dir / "etc/postern/admin-token").read_text().strip(), 200)):
        assert host.get("/v1/apps", {
            "Authorization": f"Bearer {token}"}).status == status
    rehearsal, = [out for text, out in done if "rehearsal" in text]
    assert f"{host.kept.public} opens" in rehearsal


def test_protocol(host, ran):
    path = REPO / "docs/protocol.md"
    blocks = texts.blocks(path, "sh")
    given, blocks = blocks[0], blocks[1:]
    app = register(host)
    for user in ("b", "c d/e", "é"):
        r = host.request("PUT", "/v1/me", app.auth(sub=user), {})
        assert r.status == 201
    names = {"POSTERN_URL": f"http://127.0.0.1:{host.port}",
             "POSTERN_PUBLIC_KEY": app.public,
             "POSTERN_SECRET_KEY": app.secret}
    assert set(re.findall(r"(\w+)=", given[1])) == set(names)
    printed = host.run(path, blocks, env=names)
    ran(path, "ran", lines(blocks))
    ran(path, "with keys filled in", [given[0]])
    pages, = [out for text, out in outputs(path, {**printed, given[0]: ""})
              if "while" in text]
    assert pages.split("\n")[:4] == ["ada", "b", "c d/e", "é"]


def test_from_goliauth(make_host, host, ran):
    """On a database of goliauth's, with its own environment."""
    path = REPO / "docs/coming-from-goliauth.md"
    master, public = secrets.token_hex(32), secrets.token_hex(32)
    raw = secrets.token_bytes(32)
    c = host.pg.connect("postgres")
    c.cursor().execute("CREATE DATABASE goliauth")
    c.close()
    c = host.pg.connect("goliauth")
    c.cursor().execute("""CREATE TABLE apps (
        id serial PRIMARY KEY, name varchar(255), public_key varchar(64),
        encrypted_secret_key varchar(255), created_at timestamp,
        updated_at timestamp)""")
    c.cursor().execute(
        "INSERT INTO apps (name, public_key, encrypted_secret_key, created_at,"
        " updated_at) VALUES ('old', %s, %s, now(), now())",
        (public, gcm_seal(master, raw)))
    c.close()
    new = make_host()
    new.run(path, [(0, "make install\n")])
    blocks = texts.blocks(path, "sh")
    settings, = [b for _, b in readme()[1] if "postern.conf <<" in b]
    settings, = re.findall(r"^\(\n.*?^\)$", settings, re.M | re.S)
    printed = new.run(path, blocks, before={"reseal --dry-run": settings.replace(
        "postern master-key >master-key", f"echo {master} >master-key").replace(
        "dbname=postern", "dbname=goliauth")})
    ran(path, "ran", lines(blocks))
    out = printed[blocks[-1][0]]
    assert re.search(r"^ok +rows +1 under this master key$", out, re.M), out
    new.run(path, [(0, "systemctl start postern\n"
                       "cp /usr/local/share/doc/postern/lighttpd.conf.example"
                       " /etc/lighttpd/lighttpd.conf\n"
                       "install -d -o www-data /var/lib/postern\n"
                       "systemctl start lighttpd\n")])
    old = App({"id": 1, "public_key": public, "secret_key": raw.hex()})
    assert new.get("/v1/whoami", old.auth()).status == 200


def test_from_kong(host, ran):
    path = REPO / "docs/coming-from-kong.md"
    blocks = texts.blocks(path, "sh")
    consumers = ["Ada's shop", "Zoë & co", "a \"b\" \\c"]
    (host.dir / "home/consumers.json").write_text(json.dumps(
        {"data": [{"username": name} for name in consumers]}))
    printed = host.run(path, blocks)
    ran(path, "ran", lines(blocks))
    made = [App(json.loads(line)) for line in (
        host.dir / "home/keys.jsonl").read_text().splitlines()]
    assert [a.answer["name"] for a in made] == consumers
    for a in made:
        assert host.get("/v1/whoami", a.auth()).status == 200
    waiting = printed[blocks[1][0]].splitlines()
    assert set(consumers) <= set(waiting)
    invite = re.search(r"\S{40,}", printed[blocks[2][0]]).group(0)
    r = host.request("POST", "/v1/apps", {"Authorization": f"Bearer {invite}"},
                     {"name": "Invited"})
    assert r.status == 201


def test_examples(host, ran):
    path = REPO / "examples/README.md"
    (line, text), = texts.blocks(path, "sh")
    app = register(host, "By the examples' README")
    for name, value in (("PUBLIC", app.public), ("SECRET", app.secret)):
        text = text.replace(f"{name}_KEY=…", f"{name}_KEY={value}")
    assert "…" not in text
    printed = host.run(path, [(line, f"cd {REPO}/examples\n{text}")])
    ran(path, "ran", [line])
    assert "stored and read: London" in printed[line]


def test_every_block_was_run():
    """The rest of this file left none out."""
    for path in texts.DOCUMENTS:
        found = {line for line, _ in texts.blocks(path, "sh")}
        ran = set().union(*texts.RAN.get(texts.name(path), {}).values())
        assert found <= ran, texts.name(path)

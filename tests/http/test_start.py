"""Starting: what is refused, with which words; plain CGI; the database away,
old, or goliauth's."""
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess

import pytest

from lib.fastcgi import FastCGI, parse_cgi
from lib.process import (
    PATIENCE, REPO, SAN_ENV, demoted, free_port, run_tool, wait_until)
from lib.stack import Stack
from lib.tokens import ADMIN, REGISTRATION, App, gcm_seal

GOOD = {"POSTERN_MASTER_KEY": secrets.token_hex(32),
        "POSTERN_DATABASE_URL": "host=/nonexistent dbname=x"}


def start(scratch, env, stdin=subprocess.DEVNULL, args=(), timeout=None):
    full = {**GOOD, "POSTERN_LISTEN": f"unix:{scratch.dir()}/s", **env}
    return subprocess.run(
        [scratch.bin / "postern.fcgi", *args],
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", **SAN_ENV,
             **{k: str(v) for k, v in full.items() if v is not None}},
        stdin=stdin, capture_output=True, text=True,
        timeout=timeout or PATIENCE, preexec_fn=demoted(), cwd="/")


@pytest.mark.covers("RFC8725-3.2", "RFC8725-3.5", "API8:2023", "ASVS-V2.10.2")
@pytest.mark.parametrize("env,words", [
    ({"POSTERN_MASTER_KEY": None}, ["POSTERN_MASTER_KEY"]),
    ({"POSTERN_MASTER_KEY": ""}, ["POSTERN_MASTER_KEY"]),
    ({"POSTERN_MASTER_KEY": "ab" * 15}, ["POSTERN_MASTER_KEY", "64"]),
    ({"POSTERN_MASTER_KEY": "a1" * 15 + "a"}, ["POSTERN_MASTER_KEY"]),
    ({"POSTERN_MASTER_KEY": "0" * 64}, ["POSTERN_MASTER_KEY"]),
    ({"POSTERN_MASTER_KEY": "000102030405060708090a0b0c0d0e0f"},
     ["POSTERN_MASTER_KEY"]),
    ({"POSTERN_MASTER_KEY": "z" * 64}, ["POSTERN_MASTER_KEY"]),
    ({"POSTERN_DATABASE_URL": None}, ["POSTERN_DATABASE_URL"]),
    ({"POSTERN_WORKER": "2"}, ["POSTERN_WORKER", "POSTERN_WORKERS"]),
    ({"POSTERN_WORKERS": "-7"}, ["POSTERN_WORKERS"]),
    ({"POSTERN_WORKERS": "x"}, ["POSTERN_WORKERS"]),
    ({"POSTERN_MAX_BODY": "1"}, ["POSTERN_MAX_BODY"]),
    ({"POSTERN_KEY_BYTES": "8"}, ["POSTERN_KEY_BYTES"]),
    ({"POSTERN_KEY_BYTES": "65"}, ["POSTERN_KEY_BYTES"]),
    ({"POSTERN_JWT_ALGORITHMS": "none"}, ["POSTERN_JWT_ALGORITHMS"]),
    ({"POSTERN_JWT_ALGORITHMS": "RS256"}, ["POSTERN_JWT_ALGORITHMS"]),
    ({"POSTERN_JWT_ALGORITHMS": "HS256 HS512"},
     ["POSTERN_JWT_ALGORITHMS", "one algorithm alone"]),
    ({"POSTERN_JWT_ALGORITHMS": "HS256,HS256"},
     ["POSTERN_JWT_ALGORITHMS", "one algorithm alone"]),
    ({"POSTERN_OWN_KEY_AUDIENCE": "off"}, ["POSTERN_OWN_KEY_AUDIENCE"]),
    ({"POSTERN_REGISTRATION": "maybe"}, ["POSTERN_REGISTRATION"]),
    ({"POSTERN_REGISTRATION_TOKEN": "short"}, ["POSTERN_REGISTRATION_TOKEN"]),
    ({"POSTERN_ADMIN_TOKEN": "x" * 31}, ["POSTERN_ADMIN_TOKEN"]),
    ({"POSTERN_ADMIN_TOKEN": "x y" * 20}, ["POSTERN_ADMIN_TOKEN"]),
    ({"POSTERN_ADMIN_TOKEN": ADMIN, "POSTERN_REGISTRATION_TOKEN": ADMIN},
     ["POSTERN_ADMIN_TOKEN", "POSTERN_REGISTRATION_TOKEN"]),
    ({"POSTERN_MASTER_KEY": None, "POSTERN_MASTER_KEY_FILE": "/nonexistent"},
     ["POSTERN_MASTER_KEY_FILE", "/nonexistent"]),
    ({"POSTERN_CONFIG": "/nonexistent"}, ["/nonexistent"]),
    ({"POSTERN_LISTEN": None}, ["POSTERN_LISTEN"]),
    ({"POSTERN_LISTEN": "unix:/nonexistent/s"}, ["/nonexistent/s"]),
    ({"POSTERN_LISTEN": "unix:/tmp/" + "x" * 120}, ["POSTERN_LISTEN"]),
    ({"POSTERN_BASE_PATH": "api"}, ["POSTERN_BASE_PATH"]),
])
def test_refused(scratch, env, words):
    r = start(scratch, env)
    assert r.returncode == 1
    for word in words:
        assert word in r.stderr
    assert GOOD["POSTERN_MASTER_KEY"] not in r.stderr
    for value in env.values():
        # A bad secret is not repeated.
        if value and len(value) > 14 and "KEY" in str(env) and \
                not value.startswith(("/", "unix:")):
            assert value not in r.stderr


def test_names_of_others_are_ignored(scratch):
    r = start(scratch, {"POSTERN_URL": "x", "POSTERN_PUBLIC_KEY": "y",
                        "POSTERN_SECRET_KEY": "z", "POSTERN_GATE": "plain",
                        "POSTERN_LISTEN": "unix:/nonexistent/s"})
    assert "/nonexistent/s" in r.stderr


KUBERNETES = {
    "POSTERN_SERVICE_HOST": "10.96.12.7",
    "POSTERN_SERVICE_PORT": "8080",
    "POSTERN_SERVICE_PORT_HTTP": "8080",
    "POSTERN_PORT": "tcp://10.96.12.7:8080",
    "POSTERN_PORT_8080_TCP": "tcp://10.96.12.7:8080",
    "POSTERN_PORT_8080_TCP_PROTO": "tcp",
    "POSTERN_PORT_8080_TCP_PORT": "8080",
    "POSTERN_PORT_8080_TCP_ADDR": "10.96.12.7",
    "POSTERN_DB_SERVICE_HOST": "fd00::7",
    "POSTERN_DB_PORT": "tcp://[fd00::7]:5432"}


def test_kubernetes(pg):
    """Beside a Service called postern; one line tells."""
    with Stack(pg, workers=2, env=KUBERNETES) as s:
        assert s.register()
        line, = s.log_lines("kubernetes_variables_ignored")
        for name in KUBERNETES:
            assert re.search(rf'[" ]{name}[" ]', line), line
        s.reload()
        assert len(s.log_lines("kubernetes_variables_ignored")) == 1
        for command in (["app", "list"], ["check"]):
            r = s.tool(*command)
            note, = r.stderr.splitlines()
            assert "POSTERN_DB_PORT" in note and "10.96" not in note
        # Nor does anything hide behind them.
        for name, value in (("POSTERN_PORT", "8080"),
                            ("POSTERN_PORTS", "tcp://10.96.12.7:8080"),
                            ("POSTERN_SERVICE_HOST", "postern"),
                            ("POSTERN_WORKER", "2")):
            r = start(s.scratch, {**KUBERNETES, name: value})
            assert r.returncode == 1 and f"{name} (environment)" in r.stderr
            r = s.tool("check", env={name: value}, check=False)
            assert r.returncode == 1 and f"{name} (environment)" in r.stdout


@pytest.mark.covers("API8:2023", "ASVS-V2.10.4", "ASVS-V6.4.1")
def test_secret_files(scratch):
    d = scratch.dir()
    f = d / "key"
    f.write_text(GOOD["POSTERN_MASTER_KEY"] + "\n")
    if os.getuid() == 0:
        shutil.chown(f, "www-data")
    env = {"POSTERN_MASTER_KEY": None, "POSTERN_MASTER_KEY_FILE": f,
           "POSTERN_LISTEN": "unix:/nonexistent/s"}
    f.chmod(0o644)
    r = start(scratch, env)
    assert r.returncode == 1 and str(f) in r.stderr
    assert "/nonexistent/s" not in r.stderr
    f.chmod(0o600)
    assert "/nonexistent/s" in start(scratch, env).stderr
    r = start(scratch, {**env, "POSTERN_MASTER_KEY": "ab" * 32})
    assert r.returncode == 1 and "POSTERN_MASTER_KEY_FILE" in r.stderr
    if os.getuid() == 0:
        shutil.chown(f, "root")
        r = start(scratch, env)
        assert r.returncode == 1 and str(f) in r.stderr


@pytest.mark.covers("API8:2023", "ASVS-V6.4.1")
def test_settings_file(scratch):
    d = scratch.dir()
    f = d / "postern.conf"

    def write(text, mode=0o600):
        f.write_text(text)
        f.chmod(mode)
        if os.getuid() == 0:
            shutil.chown(f, "www-data")
        return start(scratch, {"POSTERN_CONFIG": f, "POSTERN_LISTEN": None,
                               "POSTERN_MASTER_KEY": None})

    good = (f"# settings\nPOSTERN_MASTER_KEY={GOOD['POSTERN_MASTER_KEY']}\n"
            "POSTERN_LISTEN = unix:/nonexistent/s\n")
    assert "/nonexistent/s" in write(good).stderr
    r = write(good, 0o644)
    assert r.returncode == 1 and str(f) in r.stderr
    r = write(good + "POSTERN_NOPE=1\n")
    assert "POSTERN_NOPE" in r.stderr and f"{f}:4" in r.stderr
    r = write(good + "what is this\n")
    assert f"{f}:4" in r.stderr
    # Below the document root it could be fetched.
    r = start(scratch, {"POSTERN_CONFIG": f, "DOCUMENT_ROOT": d})
    assert r.returncode == 1 and str(f) in r.stderr


def test_port_taken(scratch):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        where = "127.0.0.1:%d" % s.getsockname()[1]
        r = start(scratch, {"POSTERN_LISTEN": where})
        assert r.returncode == 1 and where in r.stderr


def test_socket_in_use(pg):
    with Stack(pg, way="alone", workers=1) as s:
        r = subprocess.run(
            [s.scratch.bin / "postern.fcgi"], env={**s.base_env(), **s.env},
            stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=PATIENCE, preexec_fn=demoted(), cwd="/")
        assert r.returncode == 1 and s.sock in r.stderr
        assert s.listening()


def test_tcp_listener(pg):
    port = free_port()
    with Stack(pg, way="alone", workers=1) as s:
        s.process.terminate()
        s.process.wait()
        s.env["POSTERN_LISTEN"] = f"127.0.0.1:{port}"
        s.start_postern(wait=False)

        def ask():
            try:
                c = socket.create_connection(("127.0.0.1", port))
            except OSError:
                return None
            f = FastCGI.__new__(FastCGI)
            f.s, f.pending = c, b""
            f.begin()
            f.params({"REQUEST_METHOD": "GET", "REQUEST_URI": "/healthz"})
            f.stdin(b"")
            return f.answer()

        assert wait_until("an answer over TCP", ask).status == 200


def test_arguments(scratch):
    assert start(scratch, {}, args=["--version"]).stdout.startswith("postern")
    assert "usage" in start(scratch, {}, args=["--help"]).stdout
    assert start(scratch, {}, args=["--nonsense"]).returncode == 2


# -- plain CGI

def cgi(s, params, body="", args=()):
    r = subprocess.run(
        [s.scratch.bin / "postern.fcgi", *args],
        env={**s.base_env(), **{k: v for k, v in s.env.items() if k not in
                                ("POSTERN_LISTEN", "POSTERN_WORKERS")},
             "GATEWAY_INTERFACE": "CGI/1.1", "REQUEST_METHOD": "GET",
             "SCRIPT_NAME": "/cgi-bin/postern.fcgi",
             **{k: str(v) for k, v in params.items()}},
        input=body.encode(), capture_output=True, timeout=PATIENCE,
        preexec_fn=demoted(), cwd="/")
    assert r.returncode == 0, r.stderr
    return parse_cgi(r.stdout)


def test_plain_cgi(pg):
    with Stack(pg, way="alone", workers=1) as s:
        body = '{"name":"by CGI"}'
        r = cgi(s, {"REQUEST_METHOD": "POST", "PATH_INFO": "/v1/apps",
                    "REQUEST_URI": "/cgi-bin/postern.fcgi/v1/apps",
                    "CONTENT_TYPE": "application/json",
                    "CONTENT_LENGTH": len(body),
                    "HTTP_AUTHORIZATION": "Bearer " + REGISTRATION}, body)
        assert r.status == 201
        assert r["Location"] == "/cgi-bin/postern.fcgi/v1/apps/" + \
            r.json()["public_key"]
        app = App(r.json())
        auth = {"HTTP_X_PUBLIC_KEY": app.public,
                "HTTP_AUTHORIZATION": "Bearer " + app.token()}
        r = cgi(s, {"PATH_INFO": "/v1/whoami", **auth})
        assert r.status == 200 and r.json()["app"]["id"] == app.id
        r = cgi(s, {"PATH_INFO": "/v1/whoami"})
        assert r.status == 401
        # A query string becomes arguments: they are not read.
        for args in (["--version"], ["--help"], ["--anything"]):
            r = cgi(s, {"PATH_INFO": "/v1/whoami", "QUERY_STRING": args[0],
                        **auth}, args=args)
            assert r.status == 200
        r = cgi(s, {"REQUEST_METHOD": "PUT", "PATH_INFO": "/v1/users/u",
                    "CONTENT_TYPE": "application/json",
                    "CONTENT_LENGTH": 100, **auth}, '{"short":1}')
        assert (r.status, r.code) == (400, "body_incomplete")
        r = cgi(s, {"PATH_INFO": "/healthz", "POSTERN_GATE": "plain"})
        assert r.status == 401


def test_plain_cgi_with_bad_settings(scratch):
    r = subprocess.run(
        [scratch.bin / "postern.fcgi"],
        env={"PATH": os.environ["PATH"], "GATEWAY_INTERFACE": "CGI/1.1",
             **SAN_ENV, "POSTERN_MASTER_KEY": "short"},
        stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE,
        preexec_fn=demoted(), cwd="/")
    assert parse_cgi(r.stdout).status == 500
    assert b"POSTERN_MASTER_KEY" in r.stderr
    assert b"POSTERN_MASTER_KEY" not in r.stdout


def test_cgi_fcgi(alone):
    """libfcgi's own client, to the socket."""
    r = subprocess.run(
        ["env", "-i", "REQUEST_METHOD=GET", "REQUEST_URI=/healthz",
         "/usr/bin/cgi-fcgi", "-bind", "-connect", alone.sock],
        stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE)
    assert parse_cgi(r.stdout).status == 200


def supervised():
    """Without this option libfcgi's starter, from 2.4.3 on, ends what it
    started as it ends itself."""
    usage = subprocess.run(["/usr/bin/cgi-fcgi"], capture_output=True,
                           stdin=subprocess.DEVNULL, text=True).stderr
    return ["-supervise"] if "-supervise" in usage else []


def test_started_by_cgi_fcgi(pg):
    """A listening socket on descriptor 0, and 1 and 2 closed."""
    with Stack(pg, way="alone", workers=1) as s:
        path = str(s.dir / "started")
        launcher = subprocess.Popen(
            ["/usr/bin/cgi-fcgi", "-start", *supervised(), "-connect", path,
             s.scratch.bin / "postern.fcgi", "1"],
            env={**s.base_env(), **{k: v for k, v in s.env.items() if k not in
                                    ("POSTERN_LISTEN", "POSTERN_WORKERS")}},
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, preexec_fn=demoted(), cwd="/")

        def ask():
            try:
                with FastCGI(path) as f:
                    f.begin()
                    f.params({"REQUEST_METHOD": "GET",
                              "REQUEST_URI": "/readyz"})
                    f.stdin(b"")
                    return f.answer()
            except OSError:
                return None

        assert wait_until("an answer", ask).status == 200
        holders = listening_on(path)
        first = [p for p in holders if parent(p) not in holders]
        assert len(first) == 1
        os.kill(first[0], signal.SIGTERM)
        wait_until("their end", lambda: not listening_on(path))
        assert launcher.wait(PATIENCE) == 0


def parent(pid):
    try:
        return int(open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1]
                   .split()[1])
    except OSError:
        return 0


def listening_on(path):
    """The processes that have the socket at this path as descriptor 0."""
    inodes = {line.split()[6] for line in open("/proc/net/unix")
              if line.rstrip().endswith(" " + path)}
    return [int(p) for p in os.listdir("/proc") if p.isdigit()
            and descriptor_0(p) in {f"socket:[{i}]" for i in inodes}]


def descriptor_0(pid):
    try:
        return os.readlink(f"/proc/{pid}/fd/0")
    except OSError:
        return ""


# -- the database

def test_database_away_at_start(scratch, pg):
    """The server starts, says 503, and recovers by itself."""
    own = type(pg)(scratch)
    name = own.database()
    own.stop()
    s = Stack(own, database=name, ready=False)
    try:
        assert s.get("/healthz").status == 200
        for path, headers in (("/readyz", {}), ("/v1/whoami", {
                "X-Public-Key": "ab" * 32,
                "Authorization": "Bearer " + App(
                    {"id": 1, "public_key": "", "secret_key": "x"}).token()})):
            r = s.get(path, headers)
            assert (r.status, r.code) == (503, "database_unavailable")
            assert int(r["Retry-After"]) >= 1
        r = s.request("POST", "/v1/apps", {
            "Authorization": "Bearer " + REGISTRATION}, {"name": "x"})
        assert r.status == 503
        assert s.get("/v1/whoami").status == 401
        own.start()
        s.all_workers("ready", "/readyz", 200)
        app = s.register()
        # And again, under way: stopped, and back.
        own.stop()
        assert s.get("/v1/whoami", app.auth()).status == 503
        own.start()
        wait_until("back", lambda: s.get("/v1/whoami",
                                         app.auth()).status == 200)
    finally:
        s.stop()
        own.stop()


def test_database_hangs(make):
    """A backend that does not answer costs a query's deadline, then nothing
    more waits."""
    s = make(workers=1, env={"POSTERN_QUERY_TIMEOUT": "1"})
    app = s.register()
    pids = [p for (p,) in s.sql(
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
        " AND usename = 'server'")]
    for p in pids:
        os.kill(p, signal.SIGSTOP)
    try:
        r = s.get("/v1/whoami", app.auth())
        assert r.status == 503
        wait_until("another connection", lambda: s.get(
            "/v1/whoami", app.auth()).status == 200)
    finally:
        for p in pids:
            os.kill(p, signal.SIGCONT)


def test_backends_terminated(make):
    s = make(workers=2)
    app = s.register()
    for _ in range(10):
        s.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
              " WHERE usename = 'server' AND datname = current_database()")
        wait_until("back", lambda: s.get("/v1/whoami",
                                         app.auth()).status == 200)
    assert "signal=6" not in s.log()


def test_schema_missing_and_old(pg, make):
    name = pg.database(migrate=False)
    s = make(database=name, ready=False)
    r = s.get("/readyz")
    assert (r.status, r.code) == (503, "database_unavailable")
    assert "schema" in s.log()
    pg.migrate(name)
    s.all_workers("ready", "/readyz", 200)
    s.sql("DELETE FROM postern_migrations WHERE version > 1;"
          "NOTIFY postern_apps, 'schema'")
    wait_until("outdated", lambda: "schema_outdated" in s.get(
        "/readyz").body.decode())


def test_read_only_database(pg, make):
    s = make()
    app = s.register()
    s.sql(f"ALTER DATABASE {s.database} SET default_transaction_read_only = on")
    s.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
          " WHERE usename = 'server' AND datname = current_database()")
    s.all_workers("not ready", "/readyz", 503)
    assert s.get("/v1/whoami", app.auth()).status == 503
    c = s.pg.connect("postgres")
    c.cursor().execute(
        f"ALTER DATABASE {s.database} RESET default_transaction_read_only")
    c.close()
    s.all_workers("ready", "/readyz", 200)


# -- goliauth

@pytest.mark.parametrize("times", ["timestamp", "timestamptz"])
@pytest.mark.parametrize("mode", ["accept", "refuse"])
def test_goliauth_database(pg, make, times, mode):
    name = pg.database(migrate=False)
    c = pg.connect(name)
    cur = c.cursor()
    cur.execute(f"""CREATE TABLE apps (
        id serial PRIMARY KEY, name varchar(255), public_key varchar(64),
        encrypted_secret_key varchar(255), created_at {times},
        updated_at {times})""")
    insert = ("INSERT INTO apps (name, public_key, encrypted_secret_key,"
              " created_at, updated_at) VALUES (%s, %s, %s, %s, %s)"
              " RETURNING id")
    raw, public = secrets.token_bytes(32), secrets.token_hex(32)
    master = secrets.token_hex(32)
    cur.execute(insert, ("old", public, gcm_seal(master, raw),
                         "2019-02-03 04:05:06", "2019-02-03 04:05:06"))
    old_id = cur.fetchone()[0]
    pg.migrate(name)
    pg.migrate(name)
    # goliauth goes on inserting.
    late_raw, late = secrets.token_bytes(32), secrets.token_hex(32)
    cur.execute(insert, ("late", late, gcm_seal(master, late_raw),
                         "2020-01-01", "2020-01-01"))
    c.close()
    s = make(database=name, env={
        "POSTERN_MASTER_KEY": master,
        "POSTERN_GOLIAUTH_ROWS": mode if mode == "accept" else None})
    for key, secret in ((public, raw), (late, late_raw)):
        app = App({"id": old_id, "public_key": key,
                   "secret_key": secret.hex()})
        r = s.get("/v1/whoami", app.auth())
        if mode == "refuse":
            assert (r.status, r.code) == (401, "invalid_credentials")
            assert s.log_lines("goliauth_row_refused")
        else:
            assert r.status == 200
            assert s.get("/v1/whoami", app.auth(secret="0" * 64)).status == 401
            if key == public:
                assert r.json()["app"]["created_at"] == \
                    "2019-02-03T04:05:06.000000Z"
                # Its rotation seals in our format.
                new = s.request("POST", "/v1/app/rotate", app.auth(),
                                {"grace_seconds": 0}).json()
                app.secret = new["secret_key"]
                assert s.get("/v1/whoami", app.auth()).status == 200
    assert s.register().id > old_id


def test_migrations_at_once(pg, scratch):
    from concurrent.futures import ThreadPoolExecutor

    name = pg.database(migrate=False)
    with ThreadPoolExecutor(4) as pool:
        runs = list(pool.map(lambda _: run_tool(
            scratch, ["migrate"],
            {"POSTERN_DATABASE_URL": pg.url(name, "owner")}), range(4)))
    assert sum(r.stdout.count("applied 0") for r in runs) == \
        len(list((REPO / "sql").glob("*.sql")))

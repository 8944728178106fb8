"""postern reseal: from former master keys, and goliauth's, to the current one,
while the service goes on."""
import hashlib
import hmac
import json
import os
import pty
import random
import secrets
import shutil
import signal
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor

import psycopg2
import psycopg2.extras
import pytest

from lib.postgres import ask
from lib.process import PATIENCE, SANITIZED, SAN_ENV, USER, demoted, wait_until
from lib.stack import Stack
from lib.tokens import gcm_open, gcm_seal, raw_token

BATCH = 500  # src/auth/reseal.c


def fingerprint(master):
    """base/seal.c's: HMAC-SHA256 of a label under the key, 8 bytes."""
    return hmac.new(bytes.fromhex(master), b"postern master key id",
                    hashlib.sha256).hexdigest()[:16]


def bound(master, public):
    return f"postern-v1|{fingerprint(master)}|{public}"


def seal(master, public, raw):
    return gcm_seal(master, raw, bound(master, public))


class Keys:
    """Master keys of a test, by name, made when first asked for."""

    def __init__(self):
        self.keys = {}

    def __getitem__(self, name):
        return self.keys.setdefault(name, secrets.token_hex(32))

    def all(self):
        return list(self.keys.values())

    def settings(self, current, *old):
        return {"POSTERN_MASTER_KEY": self[current],
                "POSTERN_MASTER_KEYS_OLD": " ".join(self[k] for k in old)}


@pytest.fixture
def keys():
    return Keys()


@pytest.fixture
def db(pg):
    return Database(pg)


class Database:
    """A database with rows as Postern or goliauth would have written them."""

    def __init__(self, pg):
        self.pg, self.name = pg, pg.database()
        self.secrets = {}  # public key: raw secret
        self.previous = {}

    def sql(self, text, *args):
        return ask(self.pg.connect(self.name), text, args)

    def fill(self, n, master, goliauth=False, previous=None, late=False):
        """n apps; previous is the master key of a former secret of each.
        goliauth's are as if they had been there before the migration, with no
        trigger to see them come, unless they are late."""
        rows = []
        for _ in range(n):
            public, raw = secrets.token_hex(32), secrets.token_bytes(32)
            self.secrets[public] = raw
            row = ["an app", public,
                   gcm_seal(master, raw) if goliauth
                   else seal(master, public, raw),
                   None if goliauth else fingerprint(master), None, None]
            if previous:
                self.previous[public] = secrets.token_bytes(32)
                row[4:] = [seal(previous, public, self.previous[public]),
                           fingerprint(previous)]
            rows.append(row)
        c = self.pg.connect(self.name)
        try:
            found = goliauth and not late
            if found:
                c.cursor().execute("SET session_replication_role = replica")
            psycopg2.extras.execute_values(
                c.cursor(),
                "INSERT INTO apps (name, public_key, encrypted_secret_key,"
                " master_key_id, previous_encrypted_secret_key,"
                " previous_master_key_id, previous_valid_until, keys_as_found)"
                " VALUES %s", rows, page_size=1000, template="(%s, %s, %s, %s,"
                f" %s, %s, now() + interval '1 day', {found})")
        finally:
            c.close()
        return [row[1] for row in rows]

    def rows(self):
        return {r[0]: r[1:] for r in self.sql(
            "SELECT public_key, encrypted_secret_key, master_key_id,"
            " previous_encrypted_secret_key, previous_master_key_id,"
            " updated_at, rotated_at FROM apps")}

    def all_under(self, master):
        """Every secret opens, by another implementation, bound to its row."""
        rows = self.rows()
        assert rows.keys() == self.secrets.keys()
        for public, (text, key_id, was, was_id, *_) in rows.items():
            assert key_id == fingerprint(master)
            assert gcm_open(master, text,
                            bound(master, public)) == self.secrets[public]
            assert (was is None) == (public not in self.previous)
            if was is not None:
                assert was_id == fingerprint(master)
                assert gcm_open(master, was, bound(master, public)) == \
                    self.previous[public]
        return True

    def events(self):
        return dict(self.sql(
            "SELECT event, count(*) FROM app_events GROUP BY event"))

    def under(self, master):
        """How many apps' current secret is sealed under it."""
        return self.sql("SELECT count(*) FROM apps WHERE master_key_id = %s",
                        fingerprint(master))[0][0]

    def swap(self, a, b):
        """Exchange two rows' ciphertexts."""
        self.sql("UPDATE apps AS x SET encrypted_secret_key ="
                 " y.encrypted_secret_key FROM apps AS y"
                 " WHERE (x.public_key, y.public_key) IN ((%s, %s), (%s, %s))",
                 a, b, b, a)

    def hidden(self):
        """What no output may hold."""
        raws = [*self.secrets.values(), *self.previous.values()]
        return [raw.hex() for raw in raws]


class Tool:
    """The operator's tool, with the server's role; it never prints a key."""

    def __init__(self, db, settings):
        self.env = {"POSTERN_DATABASE_URL": db.pg.url(db.name),
                    **SAN_ENV, **settings}
        self.path = db.pg.scratch.bin / "postern"
        self.db = db

    def start(self, *args, **kw):
        return subprocess.Popen([self.path, *args], env=self.env, cwd="/",
                                preexec_fn=demoted(), text=True, **kw)

    def __call__(self, *args, rc=0):
        p = self.start(*args, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.out, self.err = p.communicate(timeout=2 * PATIENCE)
        assert rc in (None, p.returncode), (p.returncode, self.out, self.err)
        self.tells_no_secret()
        return self.out

    def tells_no_secret(self):
        text = self.out + self.err
        masters = (self.env["POSTERN_MASTER_KEY"] + " " +
                   self.env["POSTERN_MASTER_KEYS_OLD"]).split()
        for hidden in masters + self.db.hidden():
            assert hidden not in text

    def json(self, *args, rc=0):
        got = json.loads(self(*args, "--json", rc=rc))
        if "secrets" in got:
            got["by"] = {s["key_id"] or s["format"]: {
                k: v for k, v in s.items()
                if k not in ("key_id", "format") and v}
                for s in got.pop("secrets")}
        return got


def params(public, secret, method="GET", path="/v1/whoami"):
    """A FastCGI request; the token is good for an hour."""
    payload = json.dumps({"exp": 4102444800})
    return {"REQUEST_METHOD": method, "REQUEST_URI": path,
            "HTTP_X_PUBLIC_KEY": public, "HTTP_AUTHORIZATION":
            "Bearer " + raw_token(secret.hex(), payload=payload)}


@pytest.fixture
def serve(db, keys):
    """Postern on a database, without a web server; its log is searched for
    secrets at the end."""
    stacks = []

    def new(*names, database=None, **env):
        s = Stack(db.pg, way="alone", database=database or db.name,
                  env={**keys.settings(*names), **env})
        stacks.append(s)
        return s

    yield new
    for s in stacks:
        s.registered += keys.all() + db.hidden()
        s.stop()


def status_of(stack, db, public, secret=None, *what):
    r = stack.fcgi(params(public, secret or db.secrets[public], *what))
    return r.status if r.status in (200, 204, 401) else (r.status, r.code)


def heard(stack, db, public, secret=None):
    """Each worker learns by a notification, soon, that a row has changed."""
    wait_until("its secret verifies", lambda: [
        status_of(stack, db, public, secret) for _ in range(4)] == [200] * 4)


@pytest.mark.covers("ASVS-V2.10.1", "ASVS-V6.2.4")
def test_rotation_of_the_master_key(db, keys):
    """Current and previous secrets, from two former keys."""
    db.fill(3, keys["a"])
    db.fill(4, keys["b"], previous=keys["a"])
    db.fill(5, keys["c"], previous=keys["b"])
    db.fill(6, keys["c"])
    before = db.rows()
    tool = Tool(db, keys.settings("c", "a", "b"))
    want = {"dry_run": True, "complete": True, "apps": 18, "resealed": 12,
            "failed": 0, "busy": 0, "master_key_id": fingerprint(keys["c"]),
            "by": {fingerprint(keys["a"]): {"resealed": 7},
                   fingerprint(keys["b"]): {"resealed": 9}}}
    assert tool.json("reseal", "--dry-run") == want
    assert tool.err == "" and db.rows() == before
    assert tool.json("reseal") == {**want, "dry_run": False}
    assert tool.err == ""
    db.all_under(keys["c"])
    # 7 with another current secret, 5 with another previous one only.
    assert db.events() == {"created": 18, "resealed": 12}
    actors = db.sql("SELECT DISTINCT actor FROM app_events"
                    " WHERE event = 'resealed'")
    assert len(actors) == 1 and actors[0][0].startswith("cli:")
    after = db.rows()
    for public, row in before.items():  # updated_at, rotated_at
        assert after[public][4:] == row[4:]
    assert "0 of 18 apps resealed under" in tool("reseal")
    assert db.rows() == after and db.events()["resealed"] == 12


@pytest.mark.covers("ASVS-V6.2.4")
@pytest.mark.parametrize("master", ["now", "then"])
def test_goliauth(db, keys, serve, master):
    """Its rows come over as they stand, from any of the keys."""
    apps = db.fill(3, keys[master], goliauth=True)
    s = serve("now", "then")
    assert [status_of(s, db, a) for a in apps] == [401] * 3
    tool = Tool(db, keys.settings("now", "then"))
    assert tool.json("reseal", "--dry-run")["by"] == {
        "goliauth": {"resealed": 3}}
    assert [status_of(s, db, a) for a in apps] == [401] * 3
    assert tool.json("reseal")["by"] == {"goliauth": {"resealed": 3}}
    db.all_under(keys["now"])
    for public in apps:
        heard(s, db, public)
    assert db.events() == {"resealed": 3}


def test_goliauth_rows_that_were_altered(db, keys, serve):
    """The writer of the table: what he puts into a row of that format is not
    bound to it by a reseal, unless the operator says so."""
    a, b, c, d, e, f, fine = db.fill(7, keys["k"], goliauth=True)
    db.swap(a, b)
    db.sql("UPDATE apps SET public_key = 'x' WHERE public_key = %s", c)
    db.sql("UPDATE apps SET public_key = %s, name = 'y'"
           " WHERE public_key = %s", c, d)
    db.sql("WITH gone AS (DELETE FROM apps WHERE public_key = %s)"
           " UPDATE apps SET name = 'z' WHERE public_key = %s", e, f)
    db.sql("INSERT INTO apps (name, public_key, encrypted_secret_key)"
           " SELECT name, %s, encrypted_secret_key FROM apps"
           " WHERE public_key = %s", e, f)
    tool = Tool(db, keys.settings("k"))
    got = tool.json("reseal", rc=1)
    # A name is no matter; the row of key 'x' was altered too.
    assert got["by"] == {"goliauth": {"resealed": 2, "altered": 5}}
    assert "POSTERN_GOLIAUTH_ROWS" in tool.err and a in tool.err
    rows = db.rows()
    assert {p for p, r in rows.items() if r[1]} == {f, fine}
    s = serve("k")
    for public, secret in ((a, b), (b, a), (c, d), (e, f)):
        assert status_of(s, db, public, db.secrets[secret]) == 401
    # One that was bound once, and is so no more.
    db.sql("UPDATE apps SET master_key_id = NULL, encrypted_secret_key = %s"
           " WHERE public_key = %s", rows[a][0], fine)
    assert tool.json("reseal", rc=1)["by"] == {"goliauth": {"altered": 6}}
    assert status_of(s, db, fine, db.secrets[b]) == 401
    tool.env["POSTERN_GOLIAUTH_ROWS"] = "accept"
    assert tool.json("reseal")["by"] == {"goliauth": {"resealed": 6}}
    heard(s, db, a, db.secrets[b])


def test_previous_secret_of_goliauth(db, keys, serve):
    """A rotation leaves it in the row; only what is accepted comes over."""
    app, = db.fill(1, keys["k"], goliauth=True)
    s = serve("k", POSTERN_GOLIAUTH_ROWS="accept")
    r = s.fcgi(params(app, db.secrets[app], "POST", "/v1/app/rotate"))
    db.previous[app] = db.secrets[app]
    db.secrets[app] = bytes.fromhex(r.json()["secret_key"])
    tool = Tool(db, keys.settings("k"))
    assert tool.json("reseal", rc=1)["by"] == {"goliauth": {"altered": 1}}
    assert f"{app}: its previous secret" in tool.err
    tool.env["POSTERN_GOLIAUTH_ROWS"] = "accept"
    tool("reseal")
    db.all_under(keys["k"])
    assert status_of(serve("k"), db, app, db.previous[app]) == 200


@pytest.mark.covers("ASVS-V6.2.7")
def test_swapped_ciphertexts(db, keys, serve):
    """They open in no other row, before and after."""
    a, b, c, d = db.fill(4, keys["old"])
    db.swap(a, b)
    s = serve("new", "old")
    tool = Tool(db, keys.settings("new", "old"))

    def closed(*apps):
        return {status_of(s, db, public, secret) for public in apps
                for secret in db.secrets.values()} == {401}

    assert closed(a, b)
    got = tool.json("reseal", rc=1)
    assert (got["resealed"], got["failed"]) == (2, 2)
    assert got["by"] == {fingerprint(keys["old"]): {"resealed": 2, "broken": 2}}
    assert a in tool.err and b in tool.err and "app rotate" in tool.err
    assert closed(a, b)
    assert status_of(s, db, c) == status_of(s, db, d) == 200
    db.swap(c, d)
    wait_until("both workers have heard of it", lambda: closed(c, d))


def test_missing_key(db, keys, serve):
    """What can't be opened stays as it is, and keeps no other from going."""
    lost = db.fill(30, keys["lost"])
    old = db.fill(3, keys["old"])
    half = db.fill(2, keys["old"], previous=keys["lost"])
    other = db.fill(1, keys["lost"], previous=keys["old"])
    before = db.rows()
    s = serve("new", "old")
    unavailable = (503, "key_unavailable")

    def service():
        assert {status_of(s, db, a) for a in lost[:3] + other} == {unavailable}
        assert {status_of(s, db, a) for a in old + half} == {200}
        assert status_of(s, db, half[0], db.previous[half[0]]) == unavailable

    service()
    wanted = f"wanted_key_id={fingerprint(keys['lost'])}"
    assert any(wanted in line and lost[0] in line
               for line in s.log_lines("master_key_missing"))
    tool = Tool(db, keys.settings("new", "old"))
    want = {fingerprint(keys["old"]): {"resealed": 6},
            fingerprint(keys["lost"]): {"missing": 33}}
    got = tool.json("reseal", "--dry-run", rc=1)
    assert (got["by"], got["failed"]) == (want, 33) and db.rows() == before
    got = tool.json("reseal", rc=1)
    assert (got["by"], got["failed"], got["resealed"]) == (want, 33, 6)
    lines = tool.err.splitlines()
    assert len(lines) == 21 and lines[-1] == "... and 13 more"
    assert all(fingerprint(keys["lost"]) in line for line in lines[:20])
    assert lost[0] in lines[0]
    after = db.rows()
    assert {a: before[a] for a in lost} == {a: after[a] for a in lost}
    service()
    # With the key, the rest comes over.
    tool = Tool(db, keys.settings("new", "lost"))
    tool("reseal")
    db.all_under(keys["new"])
    for public in lost + other:
        heard(s, db, public)
    heard(s, db, half[0], db.previous[half[0]])


@pytest.mark.covers("ASVS-V2.10.3")
def test_a_stolen_database(db, keys, serve):
    """A copy of it opens nothing for another master key, in any format."""
    db.fill(3, keys["k"])
    db.fill(3, keys["k"], goliauth=True)
    db.fill(3, keys["k"], previous=keys["k"])
    copy = Database.__new__(Database)
    copy.pg, copy.secrets, copy.previous = db.pg, db.secrets, db.previous
    copy.name = db.name + "_copy"
    db.pg.connect("postgres").cursor().execute(
        f"CREATE DATABASE {copy.name} TEMPLATE {db.name}")
    before = copy.rows()
    s = serve("thief", database=copy.name, POSTERN_GOLIAUTH_ROWS="accept")
    for public, row in before.items():
        want = (503, "key_unavailable") if row[1] else 401
        assert status_of(s, db, public) == want
    tool = Tool(copy, {**keys.settings("thief"),
                       "POSTERN_GOLIAUTH_ROWS": "accept"})
    got = tool.json("reseal", rc=1)
    assert (got["resealed"], got["failed"]) == (0, 9)
    assert got["by"] == {fingerprint(keys["k"]): {"missing": 9},
                         "goliauth": {"broken": 3}}
    assert copy.rows() == before
    got = tool.json("check", rc=1)
    assert any(fingerprint(keys["k"]) in c["detail"] and not c["ok"]
               for c in got["checks"])
    assert status_of(serve("k", POSTERN_GOLIAUTH_ROWS="accept"), db,
               next(iter(before))) == 200


def test_odd_rows(db, keys):
    """Whatever stands in the table, the tool tells it and goes on."""
    good = db.fill(2, keys["old"])
    odd = [("\x1b[31m", "zz", "\x1b[32m"), ('a"b\\c{,}', "", "'; --"),
           ("k" * 5000, "ab" * 60, "f" * 5000), ("", "é", ""),
           ("ab" * 32, "ab" * 60, None)]
    for public, sealed, key_id in odd:
        db.sql("INSERT INTO apps (name, public_key, encrypted_secret_key,"
               " master_key_id) VALUES ('x', %s, %s, %s)",
               public, sealed, key_id)
    for _ in range(40):  # more ids than are told apart
        db.sql("INSERT INTO apps (name, public_key, encrypted_secret_key,"
               " master_key_id) VALUES ('x', %s, %s, %s)",
               secrets.token_hex(32), "x", secrets.token_hex(8))
    # goliauth's, under a public key that needs quoting
    raw = secrets.token_bytes(32)
    db.sql("SET session_replication_role = replica; INSERT INTO apps"
           " (name, public_key, encrypted_secret_key, keys_as_found)"
           " VALUES ('x', %s, %s, true)", 'q"\\{},', gcm_seal(keys["old"], raw))
    tool = Tool(db, keys.settings("new", "old"))
    got = tool.json("reseal", rc=1)
    assert (got["resealed"], got["failed"]) == (3, 45)
    assert len(got["by"]) <= 32
    assert sum(v for k in got["by"].values() for v in k.values()) == 48
    assert "\x1b" not in tool("reseal", rc=1) + tool.err
    rows = db.rows()
    text = rows['q"\\{},'][0]
    assert gcm_open(keys["new"], text, bound(keys["new"], 'q"\\{},')) == raw
    assert all(rows[a][1] == fingerprint(keys["new"]) for a in good)


def held(db, text, *args):
    """A transaction that holds rows locked until its end."""
    c = psycopg2.connect(host=str(db.pg.dir), dbname=db.name, user="owner")
    c.cursor().execute(text, args)
    return c


def test_a_row_that_is_being_changed(db, keys):
    """It is not waited for while others are locked; what the other one made
    of it is what is resealed."""
    apps = db.fill(BATCH + 10, keys["old"])
    new = secrets.token_bytes(32)
    c = held(db, "UPDATE apps SET encrypted_secret_key = %s, rotated_at = now()"
             " WHERE public_key = %s", seal(keys["old"], apps[7], new), apps[7])
    tool = Tool(db, keys.settings("new", "old"))
    p = tool.start("reseal", "--json", stdout=subprocess.PIPE)
    wait_until("the batch but for one",
               lambda: db.under(keys["new"]) == BATCH - 1)
    assert db.sql("SELECT count(*) FROM apps WHERE id IN (SELECT id FROM apps"
                  " FOR UPDATE SKIP LOCKED)") == [(BATCH + 9,)]
    c.commit()
    c.close()
    assert p.wait(PATIENCE) == 0
    got = json.loads(p.stdout.read())
    assert (got["resealed"], got["busy"]) == (BATCH + 10, 0)
    db.secrets[apps[7]] = new
    db.all_under(keys["new"])


@pytest.mark.parametrize("sig", [signal.SIGINT, signal.SIGTERM])
def test_told_to_end(db, keys, sig):
    """It ends after the batch, says so, and goes on when run again."""
    apps = db.fill(3 * BATCH, keys["old"])
    c = held(db, "UPDATE apps SET name = 'held' WHERE public_key = %s",
             apps[BATCH + 1])
    tool = Tool(db, keys.settings("new", "old"))
    p = tool.start("reseal", "--json", stdout=subprocess.PIPE,
                   stderr=subprocess.PIPE)
    wait_until("two batches but for one",
               lambda: db.under(keys["new"]) == 2 * BATCH - 1)
    p.send_signal(sig)
    out, err = p.communicate(timeout=PATIENCE)
    assert p.returncode == 1 and "run it again" in err
    got = json.loads(out)
    assert got["complete"] is False and got["busy"] == 1
    assert got["resealed"] == db.under(keys["new"]) == 2 * BATCH - 1
    c.rollback()
    c.close()
    assert tool.json("reseal")["resealed"] == BATCH + 1
    db.all_under(keys["new"])


def test_the_database_goes(db, keys):
    """Each batch is whole or not there."""
    db.fill(2 * BATCH, keys["old"])
    c = held(db, "UPDATE apps SET name = 'held' WHERE id ="
             " (SELECT max(id) FROM apps)")
    tool = Tool(db, keys.settings("new", "old"))
    p = tool.start("reseal", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_until("all but one", lambda: db.under(keys["new"]) == 2 * BATCH - 1)
    db.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE"
           " datname = current_database() AND application_name = 'postern'")
    out, err = p.communicate(timeout=PATIENCE)
    c.close()
    assert p.returncode == 1 and "run it again" in err, (out, err)
    assert db.under(keys["new"]) == 2 * BATCH - 1
    tool("reseal")
    db.all_under(keys["new"])


def test_progress_on_a_terminal(db, keys):
    db.fill(BATCH + 1, keys["old"])
    db.fill(1, keys["lost"])
    tool = Tool(db, keys.settings("new", "old"))
    ours, theirs = pty.openpty()
    p = tool.start("reseal", stdout=subprocess.PIPE, stderr=theirs)
    os.close(theirs)
    tool.out = p.communicate(timeout=PATIENCE)[0]
    seen = b""
    try:
        while chunk := os.read(ours, 65536):
            seen += chunk
    except OSError:  # the terminal's end
        pass
    os.close(ours)
    assert p.returncode == 1
    tool.err = seen.decode()
    tool.tells_no_secret()
    bar, _, rest = tool.err.rpartition("\r\x1b[K")
    assert " %  " in bar and "apps" in bar and " %  " not in rest
    assert fingerprint(keys["lost"]) in tool.err
    assert "\x1b" not in tool.out and "%" not in tool.out


# -- the service meanwhile

CHANGES = [("POST", "/v1/app/rotate", 200), ("DELETE", "/v1/app", 204),
           ("DELETE", "/v1/app/previous-secret", 204),
           ("PATCH", "/v1/app", 200)]


@pytest.mark.parametrize("method,path,status", CHANGES)
@pytest.mark.parametrize("rotated", [False, True])
def test_a_change_that_meets_a_reseal(db, keys, serve, method, path, status,
                                      rotated):
    """The row's secret is sealed anew between its reading and the change:
    that is no conflict, as another secret in its place is."""
    app, = db.fill(1, keys["old"], previous=keys["old"])
    s = serve("new", "old")
    raw = secrets.token_bytes(32) if rotated else db.secrets[app]
    c = held(db, "UPDATE apps SET encrypted_secret_key = %s, master_key_id = %s"
             " WHERE public_key = %s", seal(keys["new"], app, raw),
             fingerprint(keys["new"]), app)
    body = b'{"name":"another"}' if method == "PATCH" else \
        b'{"end_previous":true}' if path.endswith("rotate") else b""
    p = {**params(app, db.secrets[app], method, path),
         "CONTENT_TYPE": "application/json", "CONTENT_LENGTH": len(body)}
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(s.fcgi, p, body)
        wait_until("it waits for the row", lambda: db.sql(
            "SELECT count(*) FROM pg_stat_activity WHERE datname ="
            " current_database() AND wait_event_type = 'Lock'") == [(1,)])
        c.commit()
        r = answer.result()
    c.close()
    if rotated:
        assert (r.status, r.code) == (409, "conflict")
    else:
        assert r.status == status, r
    if path.endswith("rotate") and not rotated:
        s.registered.append(r.json()["secret_key"])


class Clients:
    """They ask on and on, as fast as they can, and keep what is no yes."""

    def __init__(self, work, threads=3):
        self.done, self.refused, self.ended = 0, [], threading.Event()
        self.work = work
        self.threads = [threading.Thread(target=self.run, args=(i, threads))
                        for i in range(threads)]

    def run(self, i, threads):
        while not self.ended.is_set():
            r = self.work(i, threads)
            self.done += 1
            if r is None or r.status != 200:
                self.refused.append(r)

    def __enter__(self):
        for t in self.threads:
            t.start()
        return self

    def __exit__(self, *exc):
        self.ended.set()
        for t in self.threads:
            t.join()


def killed_under_load(db, keys, serve, n, kills):
    db.fill(n // 2, keys["old"])
    db.fill(n // 4, keys["old"], previous=keys["older"])
    db.fill(n - n // 2 - n // 4, keys["older"])
    s = serve("new", "old", "older", POSTERN_LOG_LEVEL="warn",
              POSTERN_CACHE_SIZE="100000")
    requests = [params(*x) for x in db.secrets.items()]
    tool = Tool(db, keys.settings("new", "old", "older"))
    marks = []
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with Clients(lambda i, t: s.fcgi(random.choice(requests))) as clients:
        wait_until("clients", lambda: clients.done > 50)
        # One that is certain to be in the middle: a row keeps it there.
        c = held(db, "UPDATE apps SET name = 'held' WHERE id ="
                 " (SELECT min(id) FROM apps)")
        p = tool.start("reseal", **quiet)
        before = min(n, BATCH) - 1
        wait_until("a batch", lambda: db.under(keys["new"]) == before)
        p.kill()
        assert p.wait() == -signal.SIGKILL
        c.rollback()
        c.close()
        for k in range(kills):
            p = tool.start("reseal", **quiet)
            try:
                p.wait(random.uniform(
                    0, 0.1 + 0.6 * n / 2000 * (k + 1) / kills))
            except subprocess.TimeoutExpired:
                p.kill()
            assert p.wait() in (0, -signal.SIGKILL)
            now = db.under(keys["new"])
            assert now >= before
            marks.append(now)
            before = now
        tool("reseal")
        at_end = clients.done
        wait_until("all are asked", lambda: clients.done > at_end + 50)
    assert clients.refused == []
    db.all_under(keys["new"])
    assert db.events() == {"created": n, "resealed": n}
    for public, raw in db.secrets.items():
        assert status_of(s, db, public, raw) == 200
    for public, raw in db.previous.items():
        assert status_of(s, db, public, raw) == 200
    print(f"{n} apps, done at each kill {marks},"
          f" {clients.done} requests meanwhile")
    # The former keys can go.
    last = serve("new")
    for public, raw in random.sample(sorted(db.secrets.items()), 50):
        assert status_of(last, db, public, raw) == 200


def test_killed_under_load(db, keys, serve):
    killed_under_load(db, keys, serve, 600 if SANITIZED else 2000, 10)


@pytest.mark.long
def test_killed_under_load_long(db, keys, serve):
    killed_under_load(db, keys, serve, 100000, 40)


def test_rotations_meanwhile(db, keys, serve):
    """No client's rotation is refused or lost, and none of its secrets stays
    under a former key."""
    apps = db.fill(2 * BATCH, keys["old"])
    s = serve("new", "old", POSTERN_LOG_LEVEL="warn")
    drawn = []

    def rotate(i, threads):
        public = random.choice(apps[i::threads])  # its own apps
        body = b'{"end_previous":true}'
        r = s.fcgi({**params(public, db.secrets[public], "POST",
                             "/v1/app/rotate"),
                    "CONTENT_TYPE": "application/json",
                    "CONTENT_LENGTH": len(body)}, body)
        if r.status == 200:
            drawn.append(r.json()["secret_key"])
            db.previous[public] = db.secrets[public]
            db.secrets[public] = bytes.fromhex(drawn[-1])
        return r

    tool = Tool(db, keys.settings("new", "old"))
    with Clients(rotate) as clients:
        wait_until("rotations", lambda: clients.done > 20)
        tool("reseal")
        at_end = clients.done
        wait_until("rotations", lambda: clients.done > at_end + 20)
    s.registered += drawn
    assert clients.refused == []
    db.all_under(keys["new"])
    for public in apps[:100]:
        assert status_of(s, db, public) == 200


def test_two_at_once(db, keys):
    """They share the work, and wait for nobody."""
    db.fill(4 * BATCH, keys["old"])
    tools = [Tool(db, keys.settings("new", "old")) for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        got = list(pool.map(lambda t: t.json("reseal"), tools))
    assert sum(g["resealed"] for g in got) == 4 * BATCH
    db.all_under(keys["new"])
    assert db.events()["resealed"] == 4 * BATCH


# -- what check says of it

def test_check(db, keys):
    def check(*names, rc=0, **env):
        tool = Tool(db, {**keys.settings(*names), **env})
        return [(c["ok"], c["name"], c["detail"])
                for c in tool.json("check", rc=rc)["checks"]
                if c["name"] in ("rows", "former key", "seals")]

    def has(answers, ok, name, *words):
        return any(a[:2] == (ok, name) and all(w in a[2] for w in words)
                   for a in answers)

    old, older = fingerprint(keys["old"]), fingerprint(keys["older"])
    db.fill(5, keys["old"], previous=keys["new"])
    got = check("new", "old", "older")
    assert has(got, True, "rows", "5 under this master key")
    assert has(got, True, "rows", "5 under", old, "postern reseal")
    assert has(got, True, "former key", old, "needed by 5 rows")
    assert has(got, True, "former key", older, "can be removed")
    got = check("new", "older", rc=1)
    assert has(got, False, "rows", "5 under", old)
    # What goliauth sealed may be under any of them.
    app, = db.fill(1, keys["older"], goliauth=True)
    got = check("new", "old", "older", rc=1)
    assert has(got, False, "rows", "1 in goliauth's format", "postern reseal")
    assert has(got, True, "former key", older, "may be needed")
    assert has(check("new", "old", "older", POSTERN_GOLIAUTH_ROWS="accept"),
               True, "rows", "1 in goliauth's format")
    Tool(db, keys.settings("new", "old", "older"))("reseal")
    got = check("new", "old", "older", "new")
    assert has(got, True, "rows", "11 under this master key")
    for key_id in (old, older, fingerprint(keys["new"])):
        assert has(got, True, "former key", key_id, "can be removed")
    assert not has(got, True, "rows", old)
    assert has(check("new"), True, "seals", "at most 22 ")
    # Far from the bound, until it isn't.
    db.sql("SELECT setval('app_events_id_seq', (1::bigint << 31))")
    db.fill(1, keys["new"])
    assert has(check("new", rc=1), False, "seals", "change it in time")


@pytest.mark.covers("ASVS-V2.10.1")
def test_the_whole_way(db, keys):
    """As README has it: the new key in, SIGHUP, reseal, the old one out."""
    conf = db.pg.scratch.dir() / "postern.conf"
    apps = db.fill(20, keys["first"])

    def write(*names):
        conf.write_text("".join(f"{k} = {v}\n" for k, v in
                                keys.settings(*names).items() if v))
        conf.chmod(0o600)
        if os.getuid() == 0:
            shutil.chown(conf, USER, USER)

    def reload():
        before = set(s.workers())
        s.process.send_signal(signal.SIGHUP)
        wait_until("other workers", lambda: len(s.workers()) == 2
                   and not before & set(s.workers()))

    write("first")
    s = Stack(db.pg, way="alone", database=db.name, env={
        "POSTERN_MASTER_KEY": None, "POSTERN_CONFIG": str(conf)})
    try:
        assert {status_of(s, db, a) for a in apps} == {200}
        write("second", "first")
        reload()
        assert {status_of(s, db, a) for a in apps} == {200}
        assert "20 of 20" in s.tool("reseal").stdout
        assert "can be removed" in s.tool("check").stdout
        write("second")
        reload()
        assert {status_of(s, db, a) for a in apps} == {200}
        assert "former" not in s.tool("check").stdout
    finally:
        s.registered += keys.all() + db.hidden()
        s.stop()

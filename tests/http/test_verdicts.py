"""What is kept of good tokens changes no answer: the whole suite of tokens, each
judged without a table, cold and warm; tokens that were hot when their app
changed, in a table that is full; the memory that it takes."""
import contextlib
import functools
import inspect
import os
import re
import shutil

import pytest

import test_tokens
from lib.client import Client
from lib.process import SANITIZED, USER, wait_until
from lib.stack import Fleet, Stack
from lib.tokens import ADMIN

FULL = 64  # verdicts, and more tokens than that are in use


def metric(client, name):
    text = client.request("GET", "/metrics",
                          {"Authorization": f"Bearer {ADMIN}"}).body
    return int(re.search(rf"^postern_{name} (\d+)$".encode(), text, re.M)[1])


# -- the suite of tokens

class Both:
    """A server that keeps verdicts, and beside it one that doesn't: each GET
    goes to the one without, and twice to the other. Their answers are the
    same."""

    def __init__(self, on, off):
        self.on, self.off = on, off
        self.asked = 0

    def __getattr__(self, name):
        return getattr(self.on, name)

    @staticmethod
    def seen(r):
        body = r.body
        with contextlib.suppress(ValueError):
            body = r.json()
            body.pop("instance", None)
            body.pop("request_id", None)
        return (r.status, body, r.all("WWW-Authenticate"),
                r["X-Token-Subject"], r["Cache-Control"])

    def get(self, path, headers=None, **kw):
        if path == "/metrics":
            return self.on.get(path, headers, **kw)
        off, cold, warm = (s.get(path, headers, **kw)
                           for s in (self.off, self.on, self.on))
        if off.status < 500:
            assert self.seen(off) == self.seen(cold) == self.seen(warm)
        self.asked += 1
        return warm


@pytest.fixture(scope="module")
def site(pg):
    level = {"POSTERN_LOG_LEVEL": "debug"}
    with Stack(pg, workers=1, env=level) as on, Stack(
            pg, workers=1, database=on.database, env={
                **level, "POSTERN_MASTER_KEY": on.master_key,
                "POSTERN_VERDICTS": "0"}) as off:
        yield Both(on, off)
        assert metric(on, "verdict_hits_total") > 50
        assert metric(off, "verdict_hits_total") == 0
        assert metric(off, "verdict_misses_total") == 0


@pytest.fixture(autouse=True)
def each_twice(monkeypatch):
    """The one that is asked for its metrics sees each token twice."""
    monkeypatch.setattr(
        test_tokens, "own_reading",
        lambda s, really=test_tokens.own_reading: really(s) // 2)


def again(test):
    """The same test, which covers nothing that it doesn't there."""
    @functools.wraps(test)
    def same(*args, **kw):
        return test(*args, **kw)

    same.pytestmark = [m for m in getattr(test, "pytestmark", [])
                       if m.name != "covers"]
    return same


globals().update({
    name: again(f) for name, f in vars(test_tokens).items()
    if name.startswith("test_") and "site" in inspect.signature(f).parameters})


# -- hot when the change came

@pytest.fixture(scope="module")
def hot(pg):
    """Workers that can be told apart, their tables full of another's."""
    with Fleet(pg, 2, env={"POSTERN_VERDICTS": str(FULL),
                           "POSTERN_JWT_LEEWAY": "0"}) as f:
        other = f.register()
        for i in range(4 * FULL):
            assert f.statuses(other, sub=f"u{i}") == [200, 200]
        for c in f.stacks:
            assert metric(c, "verdict_evictions_total") > FULL
        yield f


def heat(f, auth):
    """Each worker has judged the token, and has the verdict at hand."""
    def ask(c):
        before = metric(c, "verdict_hits_total")
        status = c.request("GET", "/v1/whoami", auth).status
        return status == 200 and metric(c, "verdict_hits_total") > before

    for c in f.stacks:
        wait_until("hot", lambda c=c: ask(c))


def refused_soon(f, auth):
    def status(c):
        return c.request("GET", "/v1/whoami", auth).status

    for c in f.stacks:
        wait_until("refused", lambda c=c: status(c) == 401)
    assert [status(c) for c in f.stacks] == [401] * len(f)


def rotate(f, app, grace, admin=False):
    path = f"/v1/apps/{app.public}" if admin else "/v1/app"
    auth = {"Authorization": "Bearer " + ADMIN} if admin else app.auth()
    r = f[0].request("POST", path + "/rotate", auth, {"grace_seconds": grace})
    assert r.status == 200, r
    f.stacks[0].registered.append(r.json()["secret_key"])
    return r.json()["secret_key"]


def cut_short(f, app):
    rotate(f, app, 1000)
    f.sql("UPDATE apps SET previous_valid_until = now() + interval '2 s'"
          " WHERE public_key = %s", app.public)


def set_app(change):
    return lambda f, app: f.sql(
        f"UPDATE apps SET {change} WHERE public_key = %s", app.public)


def admin(method, end):
    return lambda f, app: f[0].admin(method, f"/v1/apps/{app.public}{end}")


CHANGES = {
    "disabled": admin("POST", "/disable"),
    "deleted": admin("DELETE", ""),
    "rotated by the admin": lambda f, app: rotate(f, app, 0, admin=True),
    "rotated at once": lambda f, app: rotate(f, app, 0),
    "rotated, the overlap ends": lambda f, app: rotate(f, app, 2),
    "rotated, the overlap is cut short": cut_short,
    "disabled by SQL": set_app("disabled_at = now()"),
    "expired": set_app("expires_at = now() - interval '1 s'"),
    "expires by the clock": set_app("expires_at = now() + interval '2 s'"),
    "given another secret": set_app(
        "encrypted_secret_key = (SELECT encrypted_secret_key FROM apps a"
        " WHERE a.public_key <> apps.public_key LIMIT 1)"),
}


@pytest.mark.covers("ASVS-V3.5.1")
@pytest.mark.parametrize("change", CHANGES)
def test_no_stale_yes(hot, change):
    app = hot.register()
    auths = [app.auth(exp=3600, sub=f"u{i}") for i in range(3)]
    for auth in auths:
        heat(hot, auth)
    CHANGES[change](hot, app)
    for auth in auths:
        refused_soon(hot, auth)


def test_the_previous_secret(hot):
    """The end of its overlap ends its verdicts, and no others."""
    app = hot.register()
    old = app.auth(exp=3600)
    heat(hot, old)
    app.secret = rotate(hot, app, 1000)
    new = app.auth(exp=3600)
    heat(hot, old)  # as the previous one's now
    heat(hot, new)
    r = hot[0].request("POST", "/v1/app/rotate", old, {})
    assert (r.status, r.code) == (403, "previous_secret")
    r = hot[1].request("DELETE", "/v1/app/previous-secret", new)
    assert r.status == 204
    refused_soon(hot, old)
    heat(hot, new)


def test_tokens_end_by_the_clock(hot):
    app = hot.register()
    token = app.auth(exp=4)
    heat(hot, token)
    for c in hot.stacks:
        wait_until("expired", lambda c=c: c.request(
            "GET", "/v1/whoami", token).status == 401)
        r = c.request("GET", "/v1/whoami", token)
        assert r.code == "token_expired"


def test_lost_link(hot):
    """Disabled while nobody could be told: at the reconnect all is new."""
    app = hot.register()
    auth = app.auth(exp=3600)
    heat(hot, auth)
    c = hot.pg.connect(hot.database)
    c.autocommit = False
    cur = c.cursor()
    cur.execute("LOCK apps")  # no worker reads it anew before the change
    cur.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database()"
                " AND pid <> pg_backend_pid()")
    cur.execute("UPDATE apps SET disabled_at = now() WHERE public_key = %s",
                (app.public,))
    c.commit()
    c.close()
    refused_soon(hot, auth)


def test_reload(pg, make):
    """A hot token that the new settings refuse."""
    s = make(way="idle")
    conf = s.dir / "settings"

    def write(text):
        conf.write_text(text)
        conf.chmod(0o600)
        if os.getuid() == 0:
            shutil.chown(conf, USER)

    write("")
    s.env["POSTERN_CONFIG"] = str(conf)
    s.start_postern()
    with contextlib.closing(Client(sock=s.sock)) as c:
        wait_until("ready", lambda: c.request("GET", "/readyz").status == 200)
        app = c.register()
        s.registered.append(app.secret)
        auth = app.auth(exp=3600)
    assert [ask_anew(s, auth).status for _ in range(8)] == [200] * 8
    write("POSTERN_JWT_AUDIENCE = https://api.example\n")
    s.reload()
    answers = [ask_anew(s, auth) for _ in range(8)]
    assert {(r.status, r.code) for r in answers} == {(401, "token_audience")}


def ask_anew(s, auth):
    with contextlib.closing(Client(sock=s.sock)) as c:
        return c.request("GET", "/v1/whoami", auth)


# -- memory

def resident(pid):
    text = open(f"/proc/{pid}/status").read()
    return int(re.search(r"^VmRSS:\s+(\d+) kB", text, re.M)[1])


def grows(fleet, tokens):
    """By how many KiB until the table is full, and from there on."""
    f = fleet(1)
    app = f.register()
    pid = f.stacks[0].process.pid
    def use(first, last):
        for i in range(first, last):
            assert f[0].status(app, sub=f"user-{i:032}") == 200

    use(0, 200)
    before = resident(pid)
    use(200, 4 * 16384 // 3)
    full = resident(pid)
    use(4 * 16384 // 3, tokens)
    return full - before, resident(pid) - full


@pytest.mark.skipif(SANITIZED, reason="the sanitizer's memory is its own")
def test_memory(fleet):
    to_full, beyond = grows(fleet, 26000)
    assert to_full < 4096 and beyond < 256, (to_full, beyond)


@pytest.mark.long
@pytest.mark.skipif(SANITIZED, reason="the sanitizer's memory is its own")
def test_memory_long(fleet):
    to_full, beyond = grows(fleet, 100000)
    assert to_full < 4096 and beyond < 256, (to_full, beyond)

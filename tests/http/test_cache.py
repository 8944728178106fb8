"""The key cache: the order of notifications and rows, what it asks the
database, and that it hears of every change."""
import fcntl
import os
import pathlib
import re
import secrets
import signal
import struct
import termios

import pytest

from lib.fastcgi import FastCGI
from lib.postgres import ask
from lib.process import proc_status, wait_until
from lib.tokens import made_up

DISABLE = "UPDATE apps SET disabled_at = now() WHERE public_key = %s"
ENABLE = "UPDATE apps SET disabled_at = NULL WHERE public_key = %s"
DELETE = "DELETE FROM apps WHERE public_key = %s"


def selects(server, fleet):
    """How often rows of apps were asked for by their key."""
    (count,), = ask(
        server.connect("postgres"),
        "SELECT coalesce(sum(s.calls), 0) FROM pg_stat_statements AS s"
        " JOIN pg_database AS d ON d.oid = s.dbid WHERE d.datname = %s"
        " AND s.query LIKE 'SELECT %%FROM apps WHERE public_key = $1"
        " AND deleted_at IS NULL UNION ALL %%'", (fleet.database,))
    return int(count)


# -- a notification and the row it is about

def row_held(fleet, app):
    """The worker has asked for app's row; the answer, of the state before
    what comes next, is held."""
    fleet.proxy.hold()
    fleet[0].send("GET", "/v1/whoami", app.auth())
    fleet.proxy.wait_kinds("DCZ")


@pytest.mark.parametrize("change", [DISABLE, DELETE])
@pytest.mark.parametrize("order", ["A2TDCZ", "2TADCZ", "2TDCAZ", "2TDCZA"])
def test_notification_with_the_row(proxied, change, order):
    """Before its row, in the middle of it, and behind it in one packet: this
    request is refused already."""
    app = proxied.register()
    row_held(proxied, app)
    proxied.sql(change, app.public)
    proxied.proxy.wait_kinds("DCZA")
    proxied.proxy.release(order)
    assert proxied[0].receive().status == 401
    assert proxied[0].status(app) == 401


@pytest.mark.parametrize("change", [DISABLE, DELETE])
def test_notification_after_the_row(proxied, change):
    """The request that the row came for may pass; the next one doesn't."""
    app = proxied.register()
    row_held(proxied, app)
    proxied.sql(change, app.public)
    proxied.proxy.wait_kinds("DCZA")
    late = proxied.proxy.take("A")
    proxied.proxy.release()
    assert proxied[0].receive().status == 200
    proxied.proxy.send(late)
    assert proxied[0].status(app) == 401


def unread(f):
    """Bytes of this FastCGI connection that the worker has not read yet."""
    return struct.unpack("i", fcntl.ioctl(f.s, termios.TIOCOUTQ, bytes(4)))[0]


def test_notification_while_the_body_comes(proxied):
    """What was told before the decision counts, not before the request."""
    app = proxied.register()
    assert proxied[0].status(app) == 200
    proxied[0].close()
    with FastCGI(proxied.stacks[0].sock) as f:
        f.begin()
        f.params({"REQUEST_METHOD": "PUT", "REQUEST_URI": "/v1/users/u",
                  "CONTENT_TYPE": "application/json", "CONTENT_LENGTH": 2,
                  **{"HTTP_" + k.upper().replace("-", "_"): v
                     for k, v in app.auth().items()}})
        wait_until("the worker reads", lambda: unread(f) == 0)
        proxied.proxy.hold()
        proxied.sql(DISABLE, app.public)
        proxied.proxy.wait_kinds("A")
        proxied.proxy.release()
        f.stdin(b"{}")
        assert f.answer().status == 401


def test_an_app_comes_while_its_key_is_unknown(proxied):
    """The other way round: "no such app" does not outlive the INSERT."""
    app = made_up()
    proxied.proxy.hold()
    proxied[0].send("GET", "/v1/whoami", app.auth())
    proxied.proxy.wait_kinds("CZ")
    proxied.insert([app])
    proxied.proxy.wait_kinds("CZA")
    proxied.proxy.release("A2TDCZ")
    assert proxied[0].receive().status == 200
    assert proxied[0].status(app) == 200


def test_an_app_that_changes_all_the_time(proxied):
    """Rows that are out of date at once don't hold the worker, and are not
    kept: the last one decides this request, and no other."""
    app = proxied.register()
    proxied.proxy.hold()
    proxied[0].send("GET", "/v1/whoami", app.auth())
    for turn in range(3):
        proxied.proxy.wait_kinds("DCZ")
        proxied.sql("UPDATE apps SET name = %s WHERE public_key = %s",
                    f"name {turn}", app.public)
        proxied.proxy.wait_kinds("DCZA")
        proxied.proxy.release("A2TDCZ", go_on=turn == 2)
    r = proxied[0].receive()
    assert (r.status, r.json()["app"]["name"]) == (200, "name 1")
    assert proxied[0].whoami(app).json()["app"]["name"] == "name 2"


def test_heard_and_then_lost(proxied):
    """A notification that comes in one packet with the connection's end still
    counts: afterwards there is no other to tell it."""
    app = proxied.register()
    assert proxied[0].status(app) == 200
    proxied.proxy.hold()
    proxied.sql(DISABLE, app.public)
    proxied.proxy.wait_kinds("A")
    os.kill(proxied.stacks[0].process.pid, signal.SIGSTOP)
    try:
        proxied.proxy.release()
        proxied.proxy.cut()
        proxied[0].send("GET", "/v1/whoami", app.auth())
    finally:
        os.kill(proxied.stacks[0].process.pid, signal.SIGCONT)
    assert proxied[0].receive().status == 503
    assert proxied.log_count("database_lost") == 1


def test_heard_in_a_query_that_fails(proxied):
    app, other = proxied.register(), proxied.register()
    assert proxied[0].status(app) == 200
    proxied.proxy.hold()
    proxied[0].send("GET", "/v1/whoami", other.auth())
    proxied.proxy.wait_kinds("DCZ")
    proxied.sql(DISABLE, app.public)
    proxied.proxy.wait_kinds("DCZA")
    row = proxied.proxy.take("Z")  # the query will never be done
    assert row
    proxied.proxy.release("A2TDC")
    proxied.proxy.cut()
    assert proxied[0].receive().status == 503
    assert proxied[0].status(app) == 503


# -- what is asked

def count_warm(own, fleet, apps, requests):
    f = fleet(2, server=own)
    f.register()
    apps = [made_up() for _ in range(apps)]
    f.insert(apps)
    f.settle()
    auths = [a.auth() for a in apps]
    for c in f.stacks:
        for a in auths:
            assert c.request("GET", "/v1/whoami", a).status == 200
    before = selects(own, f)
    assert before >= len(f) * len(apps)
    for i in range(requests):
        r = f[i % 2].request("GET", "/v1/whoami", auths[i // 2 % len(auths)])
        assert r.status == 200
    assert selects(own, f) == before


def test_warm_keys_ask_nothing(own, fleet):
    count_warm(own, fleet, 50, 2000)


@pytest.mark.long
def test_warm_keys_ask_nothing_long(own, fleet):
    count_warm(own, fleet, 200, 10000)


def test_bad_signatures_of_warm_keys_ask_nothing(own, fleet):
    f = fleet(1, server=own)
    app = f.register()
    assert f[0].status(app) == 200
    before = selects(own, f)
    for _ in range(200):
        assert f[0].status(app, secret="0" * 64) == 401
    assert selects(own, f) == before


def test_unknown_keys_ask_once(own, fleet):
    f = fleet(2, server=own)
    before = selects(own, f)
    nobody = made_up().auth()
    for i in range(1000):
        assert f[i % 2].request("GET", "/v1/whoami", nobody).status == 401
    assert selects(own, f) == before + 2


@pytest.mark.covers("API4:2023")
def test_unknown_keys_push_no_app_out(own, fleet):
    """Nor more unknown keys than are kept at hand."""
    f = fleet(1, server=own, env={"POSTERN_CACHE_SIZE": "8"})
    apps = [f.register() for _ in range(8)]
    for a in apps:
        assert f[0].status(a) == 200
    before = selects(own, f)
    for _ in range(1500):
        assert f[0].status(made_up()) == 401
    assert selects(own, f) == before + 1500
    for a in apps:
        assert f[0].status(a) == 200
    assert selects(own, f) == before + 1500
    # And one app more than there is room for: the oldest goes, alone.
    assert f[0].status(f.register()) == 200
    for a in reversed(apps[1:]):
        assert f[0].status(a) == 200
    assert selects(own, f) == before + 1501
    assert f[0].status(apps[0]) == 200
    assert selects(own, f) == before + 1502


def test_no_cache(own, fleet):
    f = fleet(1, server=own, env={"POSTERN_CACHE_SIZE": "0"})
    app, nobody = f.register(), made_up()
    before = selects(own, f)
    for _ in range(10):
        assert f[0].status(app) == 200
        assert f[0].status(nobody) == 401
    assert selects(own, f) == before + 20
    f.sql(DISABLE, app.public)
    assert f[0].status(app) == 401  # at once: it has asked


def test_an_unknown_key_becomes_an_app(fleet):
    f = fleet(3)
    f.register()
    for _ in range(5):
        app = made_up()
        assert f.statuses(app) == [401] * 3
        f.insert([app])
        for c in f.stacks:
            wait_until("known", lambda c=c: c.status(app) == 200)


# -- changes, whoever makes them

@pytest.mark.covers("ASVS-V3.5.1")
def test_changes_by_the_api_reach_every_worker(fleet):
    f = fleet(3)
    for by in range(3):
        app = f.register(by)
        path = "/v1/apps/" + app.public
        assert f.statuses(app) == [200] * 3
        assert f[by].admin("POST", path + "/disable").status == 200
        f.refused_soon(app)
        assert f[by].admin("POST", path + "/enable").status == 200
        for c in f.stacks:
            wait_until("enabled", lambda c=c: c.status(app) == 200)
        r = f[by].request("POST", "/v1/app/rotate", app.auth(),
                          {"grace_seconds": 0})
        assert r.status == 200
        f.stacks[by].registered.append(r.json()["secret_key"])
        f.refused_soon(app)
        app.secret = r.json()["secret_key"]
        assert f.statuses(app) == [200] * 3
        r = f[by].request("POST", "/v1/app/rotate", app.auth(),
                          {"grace_seconds": 1000})
        old, app.secret = app.secret, r.json()["secret_key"]
        for c in f.stacks:
            wait_until("both", lambda c=c: c.status(app) == 200)
            assert c.status(app, secret=old) == 200
        r = f[by].request("DELETE", "/v1/app/previous-secret", app.auth())
        assert r.status == 204
        f.refused_soon(app, secret=old)
        assert f.statuses(app) == [200] * 3
        assert f[by].request("DELETE", "/v1/app", app.auth()).status == 204
        f.refused_soon(app)


def test_changes_by_sql_reach_every_worker(fleet):
    f = fleet(3)
    apps = [f.register() for _ in range(4)]
    for a in apps:
        assert f.statuses(a) == [200] * 3
    f.sql(DISABLE, apps[0].public)
    f.refused_soon(apps[0])
    f.sql(DELETE, apps[1].public)
    f.refused_soon(apps[1])
    # A key that is given away, and one that is swapped with a neighbour's.
    f.sql("UPDATE apps SET public_key = %s WHERE public_key = %s",
          secrets.token_hex(32), apps[2].public)
    f.refused_soon(apps[2])
    f.sql("UPDATE apps SET encrypted_secret_key = (SELECT encrypted_secret_key"
          " FROM apps WHERE public_key = %s) WHERE public_key = %s",
          apps[0].public, apps[3].public)
    f.refused_soon(apps[3])


def test_truncate(fleet):
    f = fleet(3)
    apps = [f.register() for _ in range(3)]
    for a in apps:
        assert f.statuses(a) == [200] * 3
    f.sql("TRUNCATE apps CASCADE")
    for a in apps:
        f.refused_soon(a)


def test_a_rolled_back_change_changes_nothing(own, fleet):
    f = fleet(1, server=own)
    app = f.register()
    assert f[0].status(app) == 200
    before = selects(own, f)
    c = own.connect(f.database)
    c.autocommit = False
    c.cursor().execute(DISABLE, (app.public,))
    assert f[0].status(app) == 200
    c.rollback()
    c.close()
    assert f[0].status(app) == 200
    assert selects(own, f) == before


def test_notifications_that_are_none_of_ours(own, fleet):
    """Anyone with a login can notify."""
    f = fleet(1, server=own)
    app = f.register()
    assert f[0].status(app) == 200
    before = selects(own, f)
    for payload in ("", "x", "proof ", "proof " + "0" * 32, "**", "é" * 1000,
                    app.public.upper(), app.public[:-2], app.public + " ",
                    "%s%n", "x" * 7999, secrets.token_hex(32)):
        f.sql("SELECT pg_notify('postern_apps', %s)", payload)
    f.sql("SELECT pg_notify('other', %s)", app.public)
    assert f[0].status(app) == 200
    assert selects(own, f) == before


def test_the_age_of_a_key(fleet):
    """Without any notification it is refused when its time is over."""
    f = fleet(2, env={"POSTERN_CACHE_TTL": "1"})
    app = f.register()
    f.sql("ALTER TABLE apps DISABLE TRIGGER postern_apps_notify")
    # Read again until both have it for longer than this takes.
    for _ in range(20):
        f.sql(ENABLE, app.public)
        for c in f.stacks:
            wait_until("fresh", lambda c=c: c.status(app) == 200)
        f.sql(DISABLE, app.public)
        if f.statuses(app) == [200, 200]:
            break
    else:
        raise AssertionError("the trigger is not disabled")
    f.refused_soon(app)


# -- where the keys lie

@pytest.mark.covers("ASVS-V6.4.2")
def test_keys_lie_in_locked_memory(fleet):
    """Locked, left out of core dumps, and growing with the apps at hand."""
    f = fleet(1)
    pid = f.stacks[0].process.pid
    f.register()
    # More than the arena begins with. 64 hex characters and a NUL are five
    # blocks of 16 bytes.
    apps = [made_up() for _ in range(4000)]
    room = len(apps) * 80
    f.insert(apps)
    before = proc_status(pid, "VmLck")
    for a in apps:
        assert f[0].status(a) == 200
    assert proc_status(pid, "VmLck") * 1024 >= room
    assert proc_status(pid, "VmLck") > before
    try:
        smaps = pathlib.Path(f"/proc/{pid}/smaps").read_text()
    except PermissionError:
        assert os.getuid() != 0  # nor may anyone else read it
        return
    arenas = []
    for area in re.split(r"(?m)^(?=[0-9a-f]+-[0-9a-f]+ )", smaps):
        flags = re.search(r"^VmFlags: (.*)$", area, re.M)
        rss = re.search(r"^Rss: +(\d+) kB$", area, re.M)
        if flags and "lo" in flags[1].split():
            arenas.append((flags[1].split(), int(rss[1])))
    assert arenas
    assert all("dd" in flags for flags, _ in arenas)
    assert sum(rss for _, rss in arenas) * 1024 >= room

"""The key cache: the order of DESIGN section 6, what it asks the database, and
what becomes of it when the database or the connection goes."""
import contextlib
import fcntl
import os
import pathlib
import re
import secrets
import signal
import struct
import termios

import pytest

from fleet import Client, Fleet, PgBouncer, PgProxy, made_up, proc_status
from harness import SANITIZED, FastCGI, Postgres, wait_until

DISABLE = "UPDATE apps SET disabled_at = now() WHERE public_key = %s"
ENABLE = "UPDATE apps SET disabled_at = NULL WHERE public_key = %s"
DELETE = "DELETE FROM apps WHERE public_key = %s"


@pytest.fixture(scope="module")
def own(scratch):
    """A Postgres that counts statements, and that a test may stop."""
    p = Postgres(scratch, ["shared_preload_libraries=pg_stat_statements",
                           "pg_stat_statements.track_planning=off"])
    c = p.connect("postgres")
    c.cursor().execute("CREATE EXTENSION pg_stat_statements")
    c.close()
    yield p
    p.stop()


@pytest.fixture()
def ends():
    with contextlib.ExitStack() as stack:
        yield stack


@pytest.fixture()
def fleet(pg, ends):
    def new(n, **kw):
        return ends.enter_context(Fleet(kw.pop("server", pg), n, **kw))
    return new


@pytest.fixture()
def proxied(pg, ends):
    """One worker behind a proxy, its SELECT prepared."""
    proxy = ends.enter_context(contextlib.closing(PgProxy(pg)))
    f = ends.enter_context(Fleet(pg, 1, url=proxy.url))
    f.proxy = proxy
    assert f[0].status(f.register()) == 200
    return f


def selects(server, fleet):
    """How often rows of apps were asked for by their key."""
    c = server.connect("postgres")
    try:
        cur = c.cursor()
        cur.execute(
            "SELECT coalesce(sum(s.calls), 0) FROM pg_stat_statements AS s"
            " JOIN pg_database AS d ON d.oid = s.dbid WHERE d.datname = %s"
            " AND s.query LIKE 'SELECT %%FROM apps WHERE public_key = $1'",
            (fleet.database,))
        return int(cur.fetchone()[0])
    finally:
        c.close()


def refused_soon(fleet, app, **kw):
    for i, c in enumerate(fleet.clients):
        wait_until(f"refused by worker {i}",
                   lambda c=c: c.status(app, **kw) == 401)
    assert fleet.statuses(app, **kw) == [401] * len(fleet)


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
    proxied.proxy.release("A2TCZ")
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
    for c in f.clients:
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
        for c in f.clients:
            wait_until("known", lambda c=c: c.status(app) == 200)


# -- changes, whoever makes them

def test_changes_by_the_api_reach_every_worker(fleet):
    f = fleet(3)
    for by in range(3):
        app = f.register(by)
        path = "/v1/apps/" + app.public
        assert f.statuses(app) == [200] * 3
        assert f[by].admin("POST", path + "/disable").status == 200
        refused_soon(f, app)
        assert f[by].admin("POST", path + "/enable").status == 200
        for c in f.clients:
            wait_until("enabled", lambda c=c: c.status(app) == 200)
        r = f[by].request("POST", "/v1/app/rotate", app.auth(),
                          {"grace_seconds": 0})
        assert r.status == 200
        f.stacks[by].registered.append(r.json()["secret_key"])
        refused_soon(f, app)
        app.secret = r.json()["secret_key"]
        assert f.statuses(app) == [200] * 3
        r = f[by].request("POST", "/v1/app/rotate", app.auth(),
                          {"grace_seconds": 1000})
        old, app.secret = app.secret, r.json()["secret_key"]
        for c in f.clients:
            wait_until("both", lambda c=c: c.status(app) == 200)
            assert c.status(app, secret=old) == 200
        r = f[by].request("DELETE", "/v1/app/previous-secret", app.auth())
        assert r.status == 204
        refused_soon(f, app, secret=old)
        assert f.statuses(app) == [200] * 3
        assert f[by].request("DELETE", "/v1/app", app.auth()).status == 204
        refused_soon(f, app)


def test_changes_by_sql_reach_every_worker(fleet):
    f = fleet(3)
    apps = [f.register() for _ in range(4)]
    for a in apps:
        assert f.statuses(a) == [200] * 3
    f.sql(DISABLE, apps[0].public)
    refused_soon(f, apps[0])
    f.sql(DELETE, apps[1].public)
    refused_soon(f, apps[1])
    # A key that is given away, and one that is swapped with a neighbour's.
    f.sql("UPDATE apps SET public_key = %s WHERE public_key = %s",
          secrets.token_hex(32), apps[2].public)
    refused_soon(f, apps[2])
    f.sql("UPDATE apps SET encrypted_secret_key = (SELECT encrypted_secret_key"
          " FROM apps WHERE public_key = %s) WHERE public_key = %s",
          apps[0].public, apps[3].public)
    refused_soon(f, apps[3])


def test_truncate(fleet):
    f = fleet(3)
    apps = [f.register() for _ in range(3)]
    for a in apps:
        assert f.statuses(a) == [200] * 3
    f.sql("TRUNCATE apps CASCADE")
    for a in apps:
        refused_soon(f, a)


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
        for c in f.clients:
            wait_until("fresh", lambda c=c: c.status(app) == 200)
        f.sql(DISABLE, app.public)
        if f.statuses(app) == [200, 200]:
            break
    else:
        raise AssertionError("the trigger is not disabled")
    refused_soon(f, app)


# -- when the database goes

def test_postgres_stopped(own, fleet):
    f = fleet(2, server=own, env={"POSTERN_CACHE_TTL": "3"})
    warm, cold, nobody = f.register(), f.register(), made_up()
    f.settle()
    assert f.statuses(warm) == [200, 200]
    assert f.statuses(nobody) == [401, 401]
    own.stop()
    try:
        for i, c in enumerate(f.clients):
            wait_until("lost", lambda i=i: f.log_count("database_lost", i))
            assert c.status(warm) == 200
            assert c.status(warm, secret="0" * 64) == 401
            for app in (cold, made_up()):
                r = c.whoami(app)
                assert (r.status, r.code) == (503, "database_unavailable"), r
                assert r["Retry-After"]
            assert c.request("GET", "/readyz").status == 503
        for c in f.clients:
            wait_until("aged out", lambda c=c: c.status(warm) == 503)
            wait_until("that too", lambda c=c: c.status(nobody) == 503)
    finally:
        own.start()
    f.wait_up()
    assert f.statuses(warm) == [200, 200]
    assert f.statuses(cold) == [200, 200]
    assert f.statuses(nobody) == [401, 401]


def test_a_change_while_the_connection_was_down(proxied):
    """Nobody tells of it: the cache is emptied on reconnect. From then on
    there is no stale yes."""
    f, proxy = proxied, proxied.proxy
    revoked, kept, nobody = f.register(), f.register(), made_up()
    assert f.statuses(revoked) == f.statuses(kept) == [200]
    assert f.statuses(nobody) == [401]
    proxy.cut()
    wait_until("lost", lambda: f.log_count("database_lost"))
    f.sql(DISABLE, revoked.public)
    f.insert([nobody])
    assert f[0].status(revoked) == 200  # it can't know
    assert f[0].status(nobody) == 401
    assert f.log_count("database_up") == 1
    proxy.open()
    wait_until("up", lambda: f.log_count("database_up") == 2)
    assert f[0].status(revoked) == 401
    assert f[0].status(nobody) == 200
    assert f[0].status(kept) == 200


def test_a_change_while_the_proof_is_on_its_way(proxied):
    """LISTEN is not enough: emptied before it is proved, the cache could fill
    with what no notification will come for."""
    f, proxy = proxied, proxied.proxy
    app = f.register()
    assert f[0].status(app) == 200
    proxy.cut()
    wait_until("lost", lambda: f.log_count("database_lost"))
    proxy.lose = "A"
    proxy.open()
    wait_until("unproved", lambda: any(
        "without_notifications" in line
        for line in f.stacks[0].log_lines("database_unavailable")))
    f.sql(DISABLE, app.public)
    r = f[0].request("GET", "/readyz")
    assert r.status == 503
    assert f[0].status(made_up()) == 503
    assert f[0].status(app) == 200  # warm, until its time is over
    proxy.lose = ""
    f.wait_up()
    assert f[0].status(app) == 401


def test_a_killed_backend(fleet):
    """An idle worker notices and comes back, without a request."""
    f = fleet(2)
    app = f.register()
    assert f.statuses(app) == [200, 200]
    f.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
          " WHERE datname = current_database() AND usename = 'server'")
    for i in range(2):
        wait_until("noticed", lambda i=i: f.log_count("database_lost", i) == 1)
        wait_until("back", lambda i=i: f.log_count("database_up", i) == 2)
    assert f.statuses(app) == [200, 200]
    f.sql(DISABLE, app.public)
    refused_soon(f, app)


def test_a_query_that_stalls(fleet):
    """Strangers' unknown keys must not hold a worker that serves warm ones:
    after one time-out they are 503 at once, also when the server would let us
    connect again."""
    f = fleet(1, env={"POSTERN_QUERY_TIMEOUT": "1"})
    app = f.register()
    assert f[0].status(app) == 200
    c = f.pg.connect(f.database)
    try:
        c.autocommit = False
        c.cursor().execute("LOCK TABLE apps IN ACCESS EXCLUSIVE MODE")
        for _ in range(30):
            assert f[0].status(made_up()) == 503
            assert f[0].status(app) == 200
        assert 1 <= f.log_count("database_lost") <= 3
    finally:
        c.rollback()
        c.close()
    wait_until("answers", lambda: f[0].status(made_up()) == 401)


def test_a_pile_of_notifications(fleet):
    """While the worker is stopped they pile up; it takes them in in no more
    memory than it had."""
    f = fleet(1)
    app = f.register()
    assert f[0].status(app) == 200
    pid = f.stacks[0].process.pid
    # Once for what grows only once.
    pile = ("SELECT count(pg_notify('postern_apps',"
            " md5(i::text) || md5((-i)::text)))"
            " FROM generate_series(1, %s) AS i")
    f.sql(pile, 1000)
    assert f[0].status(app) == 200
    before = proc_status(pid, "VmRSS")
    os.kill(pid, signal.SIGSTOP)
    try:
        f.sql(pile, 100000)
        assert f.sql("SELECT pg_notification_queue_usage()")[0][0] > 0
        f.sql(DISABLE, app.public)
    finally:
        os.kill(pid, signal.SIGCONT)
    wait_until("taken in", lambda: f.sql(
        "SELECT pg_notification_queue_usage()")[0][0] == 0)
    refused_soon(f, app)
    if not SANITIZED:  # whose allocator keeps what is freed
        assert proc_status(pid, "VmRSS") - before < 2000
    assert f.log_count("database_lost") == 0


def test_a_descriptor_that_comes_back(proxied, ends):
    """One request loses the database, and a newcomer of the same turn gets the
    number of its socket: the newcomer's connection is still waited for."""
    proxy, first = proxied.proxy, proxied[0]
    kept, newcomer = [ends.enter_context(contextlib.closing(
        Client(proxied.stacks[0].sock))) for _ in range(2)]
    assert kept.request("GET", "/healthz").status == 200
    app = proxied.register()
    proxy.hold()
    first.send("GET", "/v1/whoami", app.auth())
    proxy.wait_kinds("DCZ")
    newcomer.send("GET", "/healthz")
    kept.send("GET", "/v1/whoami", made_up().auth())
    proxy.release(go_on=False)
    assert first.receive().status == 200
    proxy.wait_kinds("CZ")
    proxy.cut()
    assert kept.receive().status == 503
    assert newcomer.receive().status == 200
    assert newcomer.request("GET", "/healthz").status == 200
    assert proxied.log_count("database_lost") == 1


# -- poolers

def test_pgbouncer_in_session_mode(pg, ends):
    bouncer = ends.enter_context(contextlib.closing(PgBouncer(pg, "session")))
    f = ends.enter_context(Fleet(pg, 2, url=bouncer.url))
    app = f.register()
    for _ in range(3):  # prepared statements stay
        assert f.statuses(app) == [200, 200]
    f.sql(DISABLE, app.public)
    refused_soon(f, app)
    late = made_up()
    assert f.statuses(late) == [401, 401]
    f.insert([late])
    for c in f.clients:
        wait_until("known", lambda c=c: c.status(late) == 200)
    # Killed behind the pooler.
    f.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
          " WHERE datname = current_database() AND usename = 'server'")
    for i in range(2):
        wait_until("noticed", lambda i=i: f.log_count("database_lost", i))
    f.wait_up()
    assert f.statuses(late) == [200, 200]


@pytest.mark.parametrize("mode", ["transaction", "statement"])
def test_pgbouncer_in_another_mode(pg, ends, mode):
    """LISTEN hears nothing there: refused at connect, and the log says what
    to do. When the pooler is set right, it works."""
    bouncer = ends.enter_context(contextlib.closing(PgBouncer(pg, mode)))
    f = ends.enter_context(Fleet(pg, 1, url=bouncer.url, wait_up=False))
    wait_until("refused", lambda: any(
        "without_notifications" in line and "pool_mode = session" in line
        for line in f.stacks[0].log_lines("database_unavailable")))
    r = f[0].request("GET", "/readyz")
    assert (r.status, r.code) == (503, "database_unavailable")
    assert f[0].status(made_up()) == 503
    assert f.log_count("database_up") == 0
    config = bouncer.dir / "pgbouncer.ini"
    config.write_text(config.read_text().replace(mode, "session"))
    bouncer.process.send_signal(signal.SIGHUP)
    f.wait_up()
    assert f[0].status(f.register()) == 200


# -- where the keys lie

def test_keys_lie_in_locked_memory(fleet):
    """Locked, left out of core dumps, and growing with the apps at hand."""
    f = fleet(1)
    pid = f.stacks[0].process.pid
    f.register()
    apps = [made_up() for _ in range(1500)]
    f.insert(apps)
    before = proc_status(pid, "VmLck")
    for a in apps:
        assert f[0].status(a) == 200
    # 64 hex characters and a NUL are two blocks of 64 bytes.
    assert proc_status(pid, "VmLck") * 1024 >= 1500 * 128
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
    assert sum(rss for _, rss in arenas) * 1024 >= 1500 * 128

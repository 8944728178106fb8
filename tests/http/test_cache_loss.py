"""What becomes of the key cache when the database or the connection goes, and
behind a pooler."""
import contextlib
import os
import signal

import pytest

from lib.client import Client
from lib.postgres import PgBouncer
from lib.process import SANITIZED, proc_status, wait_until
from lib.stack import Fleet
from lib.tokens import made_up

DISABLE = "UPDATE apps SET disabled_at = now() WHERE public_key = %s"


# -- when the database goes

def test_postgres_stopped(own, fleet):
    f = fleet(2, server=own, env={"POSTERN_CACHE_TTL": "3"})
    warm, cold, nobody = f.register(), f.register(), made_up()
    f.settle()
    assert f.statuses(warm) == [200, 200]
    assert f.statuses(nobody) == [401, 401]
    own.stop()
    try:
        for i, c in enumerate(f.stacks):
            wait_until("lost", lambda i=i: f.log_count("database_lost", i))
            assert c.status(warm) == 200
            assert c.status(warm, secret="0" * 64) == 503
            for app in (cold, made_up()):
                r = c.whoami(app)
                assert (r.status, r.code) == (503, "database_unavailable"), r
                assert r["Retry-After"]
            assert c.request("GET", "/readyz").status == 503
        for c in f.stacks:
            wait_until("aged out", lambda c=c: c.status(warm) == 503)
            assert c.status(nobody) == 503
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
    assert f[0].status(nobody) == 503
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
    f.refused_soon(app)


def test_a_query_that_stalls(fleet):
    """Strangers' unknown keys must not hold a worker that serves warm ones:
    after one time-out they are 503 at once, and the link stays."""
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
        assert f.log_count("database_lost") == 0
        assert f.log_count("query_failed") <= 20
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
    f.refused_soon(app)
    if not SANITIZED:  # whose allocator keeps what is freed
        assert proc_status(pid, "VmRSS") - before < 2000
    assert f.log_count("database_lost") == 0


def test_asked_now_and_then_whatever_is_told(fleet):
    """How far news has come is known by questions alone: a steady flow of
    notifications is no reason to ask none."""
    f = fleet(1)
    last = ("SELECT max(query_start) FROM pg_stat_activity"
            " WHERE datname = current_database() AND usename = 'server'")
    before = f.sql(last)

    def asked():
        f.sql("SELECT pg_notify('postern_apps', %s)", made_up().public)
        return f.sql(last) != before

    wait_until("a question", asked)


def test_a_descriptor_that_comes_back(proxied, ends):
    """One request loses the database, and a newcomer of the same turn gets the
    number of its socket: the newcomer's connection is still waited for."""
    proxy, first = proxied.proxy, proxied[0]
    kept, newcomer = [ends.enter_context(contextlib.closing(
        Client(sock=proxied.stacks[0].sock))) for _ in range(2)]
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
    f.refused_soon(app)
    late = made_up()
    assert f.statuses(late) == [401, 401]
    f.insert([late])
    for c in f.stacks:
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

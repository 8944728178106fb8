"""The primary dies, hangs or is demoted, and a streaming standby takes over;
Postern is never started anew."""
import os
import secrets
import signal
import socket
import threading
import time

import pytest

from lib.process import PATIENCE, at_once, wait_until
from lib.stack import Stack, pids
from lib.standby import Pair
from lib.tokens import ADMIN, REGISTRATION, App
from others import Others

REGISTRAR = {"Authorization": "Bearer " + REGISTRATION}
OPERATOR = {"Authorization": "Bearer " + ADMIN}
QUICK = {"POSTERN_CACHE_TTL": "60", "POSTERN_QUERY_TIMEOUT": "1"}


@pytest.fixture(scope="module")
def nodes(scratch):
    p = Pair(scratch)
    yield p
    p.end()


@pytest.fixture()
def pair(nodes):
    """A primary and its synchronous standby, whatever the test before did."""
    nodes.repair()
    return nodes


def post(s):
    return s.request("POST", "/v1/apps", REGISTRAR, {"name": "x"})


def put(s, app, user):
    return s.request("PUT", f"/v1/users/{user}", app.auth(), {"user": user})


def unavailable(r):
    """503 with Retry-After, and nothing else, is what an absent database
    comes to."""
    assert (r.status, r.code) == (503, "database_unavailable"), r
    assert int(r["Retry-After"]) >= 1
    return True


def everywhere(s, app, status, auth=None):
    """So many requests at once that each worker has some."""
    return {r.status for r in at_once(24, lambda i: s.get(
        "/v1/whoami", auth or app.auth()))} == {status}


def connected(s, ups):
    """Each worker has come up anew since the log had so many ups."""
    return pids(s.log_lines("database_up")[ups:]) >= set(s.workers())


def while_there_is_none(s, warm_app, cold):
    """No primary: what is known goes on, all else is to be tried again."""
    assert s.get("/healthz").status == 200
    assert everywhere(s, warm_app, 200)
    assert s.get("/v1/auth", warm_app.auth()).status == 204
    for app in cold:
        unavailable(s.get("/readyz"))
        unavailable(s.get("/v1/whoami", app.auth()))
        unavailable(s.get("/v1/auth", app.auth()))
        app = App({"id": 0, "public_key": secrets.token_hex(32),
                   "secret_key": secrets.token_hex(32)})
        unavailable(s.get("/v1/whoami", app.auth()))
        unavailable(post(s))
        unavailable(put(s, warm_app, "u"))
        unavailable(s.get("/v1/users/u", warm_app.auth()))
        unavailable(s.request("POST", "/v1/app/rotate", warm_app.auth()))
        unavailable(s.request("DELETE", "/v1/app", warm_app.auth()))
        unavailable(s.get("/v1/apps", OPERATOR))


def test_killed_primary(pair, make_of):
    """What is answered meanwhile; tests/faults has its clients."""
    s = make_of(pair, env={"POSTERN_CACHE_TTL": "60"})
    app, cold = s.register(), [s.register() for _ in range(3)]
    workers = s.workers()
    s.warm(app)
    ups = len(s.log_lines("database_up"))
    pair.primary.kill()
    while_there_is_none(s, app, cold)
    pair.take_over()
    wait_until("all workers there", lambda: connected(s, ups))
    assert all(everywhere(s, a, 200) for a in cold)
    assert s.register() and s.workers() == workers


def test_revoked_before_the_reconnect(pair, make_of):
    """On the new primary an app is disabled that all workers have in their
    caches, before any of them has come there."""
    gate = pair.scratch.dir()
    database = pair.database()
    s = make_of(pair, database=database, workers=4, env={
        **QUICK, "POSTERN_DATABASE_URL": f"host={pair.primary.dir},{gate}"
                                         f" dbname={database} user=server"})
    app, other = s.register(), s.register()
    s.warm(app)
    s.warm(other)
    hot = app.auth(exp=3600)  # and this token's verdict
    assert everywhere(s, app, 200, hot)
    ups = len(s.log_lines("database_up"))
    pair.primary.kill()
    pair.take_over()
    s.sql("UPDATE apps SET disabled_at = now() WHERE id = %s", app.id)
    assert everywhere(s, app, 200)  # nobody could know
    assert everywhere(s, app, 200, hot)
    name = ".s.PGSQL.5432"
    os.symlink(pair.primary.dir / name, gate / name)
    wait_until("all workers there", lambda: connected(s, ups))
    assert everywhere(s, app, 401) and everywhere(s, other, 200)
    assert everywhere(s, app, 401, hot)
    # And LISTEN is there, on each worker.
    for _ in range(3):
        s.warm(other)
        s.sql("UPDATE apps SET disabled_at = now() WHERE id = %s", other.id)
        wait_until("disabled", lambda: everywhere(s, other, 401), 5)
        s.sql("UPDATE apps SET disabled_at = NULL WHERE id = %s", other.id)
        wait_until("enabled", lambda: everywhere(s, other, 200), 5)


def test_demoted_primary(pair, make_of):
    """Its connections live on and can't write: the other is found."""
    s = make_of(pair, env=QUICK)
    app = s.register()
    s.warm(app)
    old = pair.primary
    old.setting("default_transaction_read_only", "on")
    assert all(map(unavailable, at_once(8, lambda i: post(s))))
    assert all(map(unavailable, at_once(8, lambda i: put(s, app, "u"))))
    assert "sqlstate=25006" in s.log()

    def all_have_left():
        assert all(map(unavailable, at_once(8, lambda i: put(s, app, "u"))))
        return pids(s.log_lines("database_lost")) >= set(s.workers())

    wait_until("all have left it", all_have_left)
    s.all_workers("not ready", "/readyz", 503)
    assert everywhere(s, app, 200)
    ups = len(s.log_lines("database_up"))
    pair.take_over()
    wait_until("all workers there", lambda: connected(s, ups))
    made = s.register()
    assert s.sql("SELECT 1 FROM apps WHERE id = %s", made.id) == [(1,)]
    assert old.sql(f"SELECT 1 FROM apps WHERE id = {made.id}",
                   s.database) == []


@pytest.mark.long
def test_idle_connection_to_a_demoted_primary(pair, make_of):
    """Nobody writes: the heartbeat notices."""
    s = make_of(pair, workers=1, env=QUICK)
    ups = len(s.log_lines("database_up"))
    pair.primary.setting("default_transaction_read_only", "on")
    pair.take_over()
    wait_until("the new primary", lambda: connected(s, ups))
    assert s.register()


def test_standby_alone(pair, make_of):
    """It can be read, and is not used; it becomes the primary, and is."""
    database = pair.database()
    url = pair.standby.url(database)
    wait_until("the schema there", lambda: pair.standby.sql(
        "SELECT pg_last_wal_replay_lsn() >= "
        f"'{pair.primary.sql('SELECT pg_current_wal_lsn()')[0][0]}'")
        == [(True,)])
    s = make_of(pair, database=database, ready=False,
                env={**QUICK, "POSTERN_DATABASE_URL": url})
    assert s.get("/healthz").status == 200
    r = s.get("/readyz")
    assert unavailable(r) and "read_only" in r.json()["detail"]
    assert unavailable(post(s))
    assert unavailable(s.get("/v1/whoami", App({
        "id": 0, "public_key": "ab" * 32, "secret_key": "x" * 64}).auth()))
    pair.primary.kill()
    pair.take_over()
    s.all_workers("ready", "/readyz", 200)
    assert s.register()


@pytest.mark.parametrize("how", ["conninfo", "URI", "PGHOST", "service",
                                 "PGSERVICE"])
def test_standby_first(pair, make_of, how):
    """Wherever the hosts are named, the one that takes writes is used."""
    hosts = f"{pair.standby.dir},{pair.primary.dir}"
    database = pair.database()
    wait_until("the standby has it", lambda: database in [
        d for d, in pair.standby.sql("SELECT datname FROM pg_database")])
    conninfo = f"dbname={database} user=server"
    service = pair.scratch.dir() / "services"
    service.write_text(f"[pair]\nhost={hosts}\n")
    env = {**QUICK, "PGSERVICEFILE": str(service), "POSTERN_DATABASE_URL": {
        "conninfo": f"host={hosts} {conninfo}",
        "URI": f"postgresql:///{database}?user=server&host={hosts}",
        "service": f"service=pair {conninfo}"}.get(how, conninfo)}
    if how in ("PGHOST", "PGSERVICE"):
        env[how] = hosts if how == "PGHOST" else "pair"
    s = make_of(pair, database=database, env=env)
    assert s.register()
    assert "read_only" not in s.log()
    assert s.tool("app", "list", env={"POSTERN_DATABASE_URL": s.env[
        "POSTERN_DATABASE_URL"].replace("server", "owner"), **{
            k: v for k, v in env.items() if k.startswith("PG")}})


def test_primary_hangs(pair, make_of):
    """The first host takes connections and says nothing, those that there
    are and new ones."""
    s = make_of(pair, env=QUICK)
    app = s.register()
    s.warm(app)
    ups = len(s.log_lines("database_up"))
    pair.primary.hang()
    start = time.monotonic()
    assert all(map(unavailable, at_once(4, lambda i: post(s))))
    answered = time.monotonic()
    assert everywhere(s, app, 200)
    pair.take_over()
    wait_until("all workers there", lambda: connected(s, ups))
    print(f"hang: 503 after {answered - start:.2f} s, the second host after "
          f"{time.monotonic() - start:.2f} s")
    assert everywhere(s, app, 200) and s.register()


@pytest.mark.long
def test_first_host_never_answers(pair, make_of):
    database = pair.database()
    with socket.create_server(("127.0.0.1", 0), backlog=64) as silent:
        start = time.monotonic()
        s = make_of(pair, database=database, ready=False, env={
            **QUICK, "POSTERN_DATABASE_URL":
            f"host=127.0.0.1,{pair.primary.dir} dbname={database} user=server"
            f" port={silent.getsockname()[1]},5432"})
        assert unavailable(s.get("/readyz"))
        assert s.get("/healthz").status == 200
        s.all_workers("ready", "/readyz", 200)
        print(f"silent: the second host after {time.monotonic() - start:.2f} s")
        assert s.register()


def test_first_host_refuses(pair, make_of):
    """It is there, and has no place for us: the second is asked, by the tool
    too."""
    database = pair.database()
    pair.refuse("server")
    url = (f"host={pair.standby.dir},{pair.primary.dir} dbname={database}"
           " user=server")
    s = make_of(pair, database=database,
                env={**QUICK, "POSTERN_DATABASE_URL": url})
    assert s.register()
    r = s.tool("app", "list", env={"POSTERN_DATABASE_URL": url})
    assert "An app" in r.stdout
    # None of them has it: the tool says so, and doesn't go on for ever.
    start = time.monotonic()
    r = s.tool("app", "list", check=False, env={
        "POSTERN_DATABASE_URL": url.replace(database, "nowhere")})
    assert r.returncode == 1 and '"nowhere"' in r.stderr, r
    assert time.monotonic() - start < PATIENCE


def fresh_worker(s):
    """It comes up, whatever commit of the one before it still waits."""
    victim = s.workers()[0]
    ups = len(s.log_lines("database_up"))
    os.kill(victim, signal.SIGKILL)
    wait_until("another worker", lambda: victim not in s.workers()
               and len(s.workers()) == 3)
    wait_until("it is up", lambda: pids(s.log_lines("database_up")[ups:])
               & set(s.workers()))


def lock_of_another(s):
    """A commit that waits for the standby holds the lock of all that notify:
    ours give up in time to keep their connections."""
    # Before: whoever is not connected now could not prove its listening.
    wait_until("all workers connected", s.all_connected)
    c = s.pg.connect(s.database)
    t = threading.Thread(target=lambda: c.cursor().execute(
        "UPDATE apps SET updated_at = now()"))
    t.start()
    pid = c.get_backend_pid()
    wait_until("it waits", lambda: s.sql(
        "SELECT wait_event FROM pg_stat_activity WHERE pid = %s", pid)
        == [("SyncRep",)])
    lost = len(s.log_lines("database_lost"))
    assert all(map(unavailable, at_once(3, lambda i: post(s))))
    assert "sqlstate=55P03" in s.log()
    assert len(s.log_lines("database_lost")) == lost
    s.sql("SELECT pg_cancel_backend(%s)", pid)
    t.join()
    c.close()


def standby_away(pair, make_of, turns):
    """What the standby does not confirm is not done; what needs no commit
    goes on; and no backend is left waiting for each try."""
    s = make_of(pair, workers=3, env=QUICK)
    app, cold = s.register(), [s.register() for _ in range(turns)]
    pair.standby.hang()
    try:
        for turn in range(turns):
            assert all(map(unavailable, at_once(6, lambda i: post(s))))
            assert all(map(unavailable, at_once(
                6, lambda i: put(s, app, f"u{turn}.{i}"))))
            wait_until("a cold key", lambda: s.get(
                "/v1/whoami", cold[turn].auth()).status == 200)
        backends = s.sql("SELECT pid FROM pg_stat_activity"
                         " WHERE usename = 'server'")
        assert len(backends) <= 2 * 3
        fresh_worker(s)
        lock_of_another(s)
        assert s.log_lines("commit_not_replicated")
    finally:
        pair.standby.go_on()
    wait_until("writes again", lambda: put(s, app, "d").status in (200, 201))
    assert s.register()


def test_standby_away(pair, make_of):
    standby_away(pair, make_of, 1)


@pytest.mark.long
def test_standby_away_long(pair, make_of):
    standby_away(pair, make_of, 8)


def writing(s, apps, ending, got):
    """Whatever may be written, again and again."""
    for turn in range(1000):
        for i, app in enumerate(apps):
            got.append(put(s, app, f"{i}.{turn}"))
            got.append(post(s))
            if ending.is_set():
                return


def test_a_hung_commit(pair, make_of):
    """It is ended, alone, and its session goes on: so does what reads."""
    s = make_of(pair, workers=3, env=QUICK)
    app = s.register()
    o = Others(s, 2000)
    wait_until("all workers connected", s.all_connected)
    ups, ending, got = len(s.log_lines("database_up")), threading.Event(), []
    writers = [threading.Thread(target=writing, args=(s, [app], ending, got))
               for _ in range(4)]
    pair.standby.hang()
    try:
        with o:
            for t in writers:
                t.start()
            time.sleep(6)
            ending.set()
            for t in writers:
                t.join()
        assert all(map(unavailable, got)) and len(got) > 10
        o.unharmed()
        assert s.log_lines("commit_not_replicated")
        for line in s.log_lines("commit_not_replicated"):
            assert "statement=" in line and f"host={pair.primary.dir}" in line
        assert s.sql("SELECT count(*) FROM pg_stat_activity"
                     " WHERE usename = 'server'")[0][0] <= 2 * 3
        fresh_worker(s)
    finally:
        pair.standby.go_on()
    wait_until("writes again", lambda: put(s, app, "d").status in (200, 201))
    assert not s.log_lines("database_lost")
    assert len(s.log_lines("database_up")) <= ups + 2  # the fresh worker's
    s.sql("UPDATE apps SET disabled_at = now() WHERE id = %s", o.warm.id)
    s.all_workers("heard", "/v1/whoami", 401, o.warm.auth)

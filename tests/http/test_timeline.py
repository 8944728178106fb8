"""Two primaries: a standby was promoted, and the one before it goes on. Which
one was replaced is told by its timeline, to all workers of a master."""
import contextlib
import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from lib.postgres import PgBouncer
from lib.process import at_once, wait_until
from lib.stack import Stack, pids
from lib.standby import Node, Standby
from lib.tokens import REGISTRATION

NAME = ".s.PGSQL.5432"
REGISTRAR = {"Authorization": "Bearer " + REGISTRATION}
LONG = {"POSTERN_CACHE_TTL": "600"}
FUNCTIONS = ("pg_control_system()", "pg_current_wal_lsn()",
             "pg_walfile_name(pg_lsn)")


class Two:
    """Both take writes."""

    def __init__(self, scratch):
        self.old = Node(scratch)
        self.new = None
        try:
            self.template = self.old.database()
            self.new = Standby(self.old, "new")
            self.new.promote()
        except BaseException:
            self.end()
            raise

    def database(self):
        """A new one, on each of them."""
        self.old.count += 1
        name = f"two{self.old.count}"
        for node in (self.old, self.new):
            node.sql(f"CREATE DATABASE {name} TEMPLATE {self.template}")
        return name

    def end(self):
        for n in (self.old, self.new):
            if n is not None:
                n.end()


@pytest.fixture(scope="module")
def two(scratch):
    t = Two(scratch)
    yield t
    t.end()


class Gate:
    """A directory for a conninfo: a way to one server's socket, or none. Who
    has come through stays there."""

    def __init__(self, scratch):
        self.dir = scratch.dir()

    def lead_to(self, server, port=5432):
        self.close()
        os.symlink(server.dir / f".s.PGSQL.{port}", self.dir / NAME)

    def close(self):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.dir / NAME)


@pytest.fixture()
def gates(scratch):
    return Gate(scratch), Gate(scratch)


def url(gates, database):
    hosts = ",".join(str(g.dir) for g in gates)
    return {"POSTERN_DATABASE_URL":
            f"host={hosts} dbname={database} user=server", **LONG}


def backends(server, database):
    return [p for p, in server.sql(
        "SELECT pid FROM pg_stat_activity WHERE usename = 'server'"
        f" AND datname = '{database}'")]


def end_session(server, pid):
    server.sql(f"SELECT pg_terminate_backend({pid})")


def copy(two, database, app):
    """What was replicated before the promotion, as if the app had been."""
    (row,), = two.old.sql(
        f"SELECT to_jsonb(a)::text FROM apps AS a WHERE id = {app.id}",
        database)
    c = two.new.connect(database)
    c.cursor().execute("INSERT INTO apps SELECT * FROM jsonb_populate_record("
                       "NULL::apps, %s)", (row,))
    c.cursor().execute("SELECT setval('apps_id_seq', 1000)")
    c.close()


def answers(s, app):
    return {r.status for r in at_once(
        16, lambda i: s.get("/v1/whoami", app.auth()))}


def connected(s, timeline, since=0):
    """All workers of now have come up with a server on that timeline."""
    ups = [x for x in s.log_lines("database_up")[since:]
           if f" timeline={timeline}" in x]
    return pids(ups) >= set(s.workers() or [s.process.pid])


@pytest.mark.parametrize("order,pooled", [
    ("old first", False), ("new first", False), ("old first", True)])
def test_workers_are_spread(two, make_of, gates, ends, order, pooled):
    """One worker comes to the new primary: the others leave the old one at
    once, and what it said doesn't count. While there is the old one alone,
    nobody serves; SIGHUP forgets."""
    database = two.database()
    to_old, to_new = gates
    ways = [(to_old, two.old, 5432), (to_new, two.new, 5432)]
    if pooled:
        ways = [(g, ends.enter_context(contextlib.closing(
            PgBouncer(server, "session"))), 6432) for g, server, _ in ways]
    (_, *by_old), (_, *by_new) = ways
    to_old.lead_to(*by_old)
    s = make_of(two.old, database=database, workers=4, env=url(
        gates if order == "old first" else gates[::-1], database))
    wait_until("all on the old one", lambda: connected(s, 1))
    revoked, cold, kept = (s.register() for _ in range(3))
    for app in (revoked, cold, kept):
        copy(two, database, app)
    s.warm(revoked)
    s.warm(kept)
    for app in (revoked, cold):
        two.new.sql("UPDATE apps SET disabled_at = now()"
                    f" WHERE id = {app.id}", database)
    # Nobody has met the new one: nobody can know.
    assert answers(s, revoked) == {200}
    to_new.lead_to(*by_new)
    to_old.close()
    end_session(two.old, backends(two.old, database)[0])
    wait_until("one on the new one", lambda: [
        x for x in s.log_lines("database_up") if " timeline=2" in x])
    to_old.lead_to(*by_old)
    seen = set()

    def settled():
        got = answers(s, revoked) | answers(s, cold)
        seen.update(got)
        return got == {401} and connected(s, 2)

    wait_until("all on the new one", settled)
    assert seen <= {401, 503}
    s.becomes(kept, 200)
    left = [x for x in s.log_lines("database_lost")
            if "highest_timeline=2" in x]
    assert len(pids(left)) == 3 and all(" timeline=1" in x for x in left)
    assert not backends(two.old, database) or pooled
    s.all_workers("ready", "/readyz", 200)
    made = s.register()
    assert two.new.sql(f"SELECT 1 FROM apps WHERE public_key ="
                       f" '{made.public}'", database) == [(1,)]

    # The new one is away.
    s.warm(made)
    to_new.close()
    for pid in backends(two.new, database):
        end_session(two.new, pid)
    s.all_workers("not ready", "/readyz", 503)
    wait_until("it says why", lambda: "old_timeline" in s.get(
        "/readyz").json()["detail"])
    assert any("state=old_timeline" in x and "highest_timeline=2" in x
               for x in s.log_lines("database_unavailable"))
    assert answers(s, cold) == {503}
    assert answers(s, made) == {200}  # for as long as any outage allows
    s.reload()
    s.all_workers("ready", "/readyz", 200)
    wait_until("all on it", lambda: connected(s, 1))
    assert answers(s, cold) == {200}


HELD = """CREATE FUNCTION held() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    PERFORM pg_advisory_xact_lock(1);
    RETURN NULL;
END $$;
CREATE TRIGGER held AFTER INSERT ON apps
    FOR EACH ROW EXECUTE FUNCTION held()"""


def test_transaction_under_way(two, make_of, gates):
    """Another worker meets the new primary before the commit: that isn't sent,
    nor is the rest of it done anywhere else."""
    database, (to_old, to_new) = two.database(), gates
    to_old.lead_to(two.old)
    s = make_of(two.old, database=database, env={
        **url(gates, database), "POSTERN_QUERY_TIMEOUT": "20"})
    wait_until("all on the old one", lambda: connected(s, 1))
    two.old.sql(HELD, database)
    c = two.old.connect(database)
    c.cursor().execute("SELECT pg_advisory_lock(1)")
    with ThreadPoolExecutor(1) as pool:
        made = pool.submit(s.request, "POST", "/v1/apps", REGISTRAR,
                           {"name": "held"})
        (held,), = wait_until("it is held", lambda: two.old.sql(
            "SELECT pid FROM pg_stat_activity WHERE wait_event = 'advisory'"
            f" AND datname = '{database}'"))
        to_new.lead_to(two.new)
        to_old.close()
        other, = set(backends(two.old, database)) - {held}
        end_session(two.old, other)
        wait_until("one on the new one", lambda: [
            x for x in s.log_lines("database_up") if " timeline=2" in x])
        c.close()
        r = made.result()
    assert (r.status, r.code) == (503, "database_unavailable")
    for node in (two.old, two.new):
        assert node.sql("SELECT count(*) FROM apps", database) == [(0,)]
    assert s.register()


def test_single_process(two, make_of, gates):
    """It knows what it has met itself, for as long as it lives."""
    database, (gate, _) = two.database(), gates
    gate.lead_to(two.new)
    s = make_of(two.old, database=database, workers=0,
                env=url([gate], database))
    wait_until("all on it", lambda: connected(s, 2))
    gate.lead_to(two.old)
    end_session(two.new, backends(two.new, database)[0])
    wait_until("it says why", lambda: "old_timeline" in s.get(
        "/readyz").json().get("detail", ""))
    gate.lead_to(two.new)
    wait_until("ready", lambda: s.get("/readyz").status == 200)
    gate.lead_to(two.old)
    with Stack(two.old, database=database, workers=0,
               env=url([gate], database)) as other:
        wait_until("all on it", lambda: connected(other, 1))


def test_another_cluster(two, pg, make_of, gates):
    """Its timelines are its own, as after an upgrade or a restored dump."""
    database, (gate, _) = two.database(), gates
    c = pg.connect("postgres")
    c.cursor().execute(f"CREATE DATABASE {database}")
    c.close()
    pg.migrate(database)
    gate.lead_to(two.new)
    s = make_of(two.old, database=database, env=url([gate], database))
    wait_until("all on it", lambda: connected(s, 2))
    gate.lead_to(pg)
    for pid in backends(two.new, database):
        end_session(two.new, pid)
    wait_until("the other one", lambda: connected(s, 1))
    s.all_workers("ready", "/readyz", 200)
    assert not [x for x in s.log_lines("database_lost") if "highest" in x]
    # And the one before is still known.
    gate.lead_to(two.old)
    c = pg.connect("postgres")
    c.cursor().execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                       f" WHERE datname = '{database}' AND usename = 'server'")
    c.close()
    s.all_workers("not ready", "/readyz", 503)
    wait_until("it says why", lambda: "old_timeline" in s.get(
        "/readyz").json()["detail"])


RENAME = "ALTER FUNCTION pg_catalog.{}(pg_lsn) RENAME TO {}"
AWAY = RENAME.format("pg_walfile_name", "was")
BACK = RENAME.format("was", "pg_walfile_name")
RAISES = """CREATE FUNCTION pg_catalog.pg_walfile_name(pg_lsn) RETURNS text
LANGUAGE plpgsql AS $$ BEGIN
    RAISE EXCEPTION 'not here' USING ERRCODE = '{}';
END $$"""
# What takes it away, and what gives it back.
REFUSED = {
    **{f"no right to {name}": (
        f"REVOKE EXECUTE ON FUNCTION {name} FROM PUBLIC",
        f"GRANT EXECUTE ON FUNCTION {name} TO PUBLIC") for name in FUNCTIONS},
    "no such function": (AWAY, BACK),
    **{f"SQLSTATE {code}": (
        f"{AWAY}; {RAISES.format(code)}",
        f"DROP FUNCTION pg_catalog.pg_walfile_name(pg_lsn); {BACK}")
       for code in ("0A000", "XX000")},
}


@pytest.fixture(scope="module")
def told(two):
    with Stack(two.new, database=two.database()) as s:
        yield s


def anew(s, why):
    """Each worker has another session."""
    ups = len(s.log_lines("database_up"))
    why()
    wait_until("all are up again", lambda: pids(
        s.log_lines("database_up")[ups:]) >= set(s.workers()))
    return s.log_lines("database_up")[ups:]


@pytest.mark.parametrize("how", REFUSED)
def test_not_told(two, told, how):
    """Who isn't told is served all the same, whether it was told before or
    not, and `check` says what is missing."""
    away, back = REFUSED[how]
    url = {"POSTERN_DATABASE_URL": told.env["POSTERN_DATABASE_URL"]}
    app = told.register()
    assert "ok    timeline" in told.tool("check", env=url).stdout
    two.new.sql(away, told.database)
    try:
        for why in (lambda: told.sql("NOTIFY postern_apps, 'schema'"),
                    told.reload):
            ups = anew(told, why)
            assert not any(" timeline=" in x for x in ups)
            told.all_workers("ready", "/readyz", 200)
            told.becomes(app, 200)
        r = told.tool("check", env=url)
        assert "warn  timeline" in r.stdout and FUNCTIONS[0] in " ".join(
            r.stdout.split())
    finally:
        two.new.sql(back, told.database)
    assert all(" timeline=2" in x for x in anew(told, told.reload))

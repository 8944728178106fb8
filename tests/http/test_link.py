"""What the database answers of one request is that request's alone: only a
link that is dead makes others wait. And what roles and databases carry."""
import contextlib
import re
import threading
import time

import pytest

from lib.postgres import PgBouncer, PgProxy, Postgres, TlsPostgres
from lib.process import at_once, wait_until
from lib.stack import Stack
from lib.tokens import ADMIN
from others import Others

OPERATOR = {"Authorization": "Bearer " + ADMIN}
QUICK = {"POSTERN_QUERY_TIMEOUT": "1"}


def put(s, app, user="u", **kw):
    return s.request("PUT", f"/v1/users/{user}", app.auth(), kw or {"b": 2})


def lost(s):
    return len(s.log_lines("database_lost"))


def unavailable(r):
    assert (r.status, r.code) == (503, "database_unavailable"), r
    assert int(r["Retry-After"]) >= 1
    return True


# -- an error that the server answered

@contextlib.contextmanager
def held(s, text, *args):
    """A transaction of another's that has done this, and waits."""
    c = s.pg.connect(s.database)
    c.autocommit = False
    try:
        c.cursor().execute(text, args)
        yield
    finally:
        c.rollback()
        c.close()


def test_one_locked_row(make):
    s = make(env=QUICK)
    app = s.register()
    assert put(s, app, "row").status == 201
    o = Others(s)
    with held(s, "UPDATE users SET version = version WHERE app_id = %s",
              app.id), o:
        assert all(map(unavailable, at_once(
            4, lambda i: put(s, app, "row"))))
        assert all(map(unavailable, at_once(
            2, lambda i: s.request("DELETE", "/v1/users/row", app.auth()))))
    o.unharmed()
    assert lost(s) == 0 and "sqlstate=55P03" in s.log()
    assert put(s, app, "row").status == 200


def test_one_slow_statement(make):
    """The server ends it before we would take the server for dead."""
    s = make(env=QUICK)
    app = s.register()
    s.sql("CREATE FUNCTION doze() RETURNS trigger LANGUAGE plpgsql AS"
          " 'BEGIN PERFORM pg_sleep(60); RETURN NEW; END';"
          "CREATE TRIGGER doze BEFORE INSERT ON users FOR EACH ROW"
          " WHEN (NEW.user_id = 'slow') EXECUTE FUNCTION doze()")
    o = Others(s)
    with o:
        assert all(map(unavailable, at_once(4, lambda i: put(s, app, "slow"))))
    o.unharmed()
    assert lost(s) == 0 and "sqlstate=57014" in s.log()
    # And the cache hears.
    s.sql("UPDATE apps SET disabled_at = now() WHERE id = %s", o.warm.id)
    s.all_workers("heard", "/v1/whoami", 401, o.warm.auth)


RAISE = """
CREATE SEQUENCE tries; GRANT USAGE ON SEQUENCE tries TO server;
CREATE FUNCTION trouble() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.user_id ~ '^[0-9A-Z]{5}$' THEN
    RAISE EXCEPTION E'what the\\noperator wrote' USING ERRCODE = NEW.user_id;
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER trouble BEFORE INSERT ON users
  FOR EACH ROW EXECUTE FUNCTION trouble();
"""

ALONE = ["57014", "55P03", "40P01", "40001", "53100", "53200", "53300",
         "53400", "53000", "57000", "58000", "58030", "XX000", "XX001",
         "42501", "42P01", "42703", "42883", "0A000", "26000", "25001",
         "25P02", "23514", "23502", "P0001", "P0002", "28000", "21000",
         "23503", "23505",
         "2200H", "38000", "39000", "44000", "55000", "55006", "72000", "F0000",
         "08001", "08006", "57P01", "57P03", "25006", "25P03"]
OTHERS = {"22P02": 400, "22021": 400, "22003": 400, "54001": 400,
          "54000": 400}


@pytest.fixture(scope="module")
def troubled(pg):
    with Stack(pg, env={**QUICK, "POSTERN_LOG_LEVEL": "debug"}) as s:
        s.sql(RAISE)
        s.app = s.register()
        yield s


@pytest.mark.parametrize("code", ALONE)
def test_an_error_alone(troubled, code):
    s = troubled
    before, ups = lost(s), len(s.log_lines("database_up"))
    unavailable(put(s, s.app, code))
    assert f"sqlstate={code}" in s.log()
    s.all_workers("ready", "/readyz", 200)
    assert put(s, s.app, "fine").status in (200, 201)
    assert lost(s) == before and len(s.log_lines("database_up")) == ups


@pytest.mark.parametrize("code", OTHERS)
def test_an_error_of_the_callers(troubled, code):
    s = troubled
    before = lost(s)
    assert put(s, s.app, code).status == OTHERS[code]
    assert put(s, s.app, "fine").status in (200, 201)
    assert lost(s) == before


def test_a_real_deadlock(make):
    """Somebody else's transaction takes the locks the other way round."""
    s = make(env={"POSTERN_QUERY_TIMEOUT": "5"})
    app = s.register()
    for user in ("a", "b"):
        assert put(s, app, user).status == 201
    s.sql("""
CREATE FUNCTION lock_both() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  IF NEW.user_id = 'a' AND current_user = 'server' THEN
    PERFORM 1 FROM users WHERE user_id = 'b' FOR UPDATE; END IF;
  RETURN NEW; END $$;
CREATE TRIGGER lock_both AFTER UPDATE ON users
  FOR EACH ROW EXECUTE FUNCTION lock_both();
""")
    c = s.pg.connect(s.database)
    c.autocommit = False
    cur = c.cursor()
    # Ours is the one to be ended: it is the first to look.
    cur.execute("SET deadlock_timeout = '20s'; UPDATE users SET version ="
                " version WHERE user_id = 'b'")
    got = []
    t = threading.Thread(target=lambda: got.append(put(s, app, "a").status))
    t.start()
    wait_until("it waits", lambda: s.sql(
        "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"))
    cur.execute("UPDATE users SET version = version WHERE user_id = 'a'")
    c.commit()
    c.close()
    t.join()
    assert got == [200] and lost(s) == 0
    assert "sqlstate=40P01" in s.log()


def test_someone_ends_it(make):
    """Cancelled, the session stays; ended, it is made anew at once."""
    s = make(workers=1)
    app = s.register()
    s.sql("CREATE FUNCTION doze() RETURNS trigger LANGUAGE plpgsql AS"
          " 'BEGIN PERFORM pg_sleep(60); RETURN NEW; END';"
          "CREATE TRIGGER doze BEFORE INSERT ON users FOR EACH ROW"
          " WHEN (NEW.user_id = 'slow') EXECUTE FUNCTION doze()")
    for end, losses in (("pg_cancel_backend", 0), ("pg_terminate_backend", 1)):
        got = []
        t = threading.Thread(target=lambda: got.append(put(s, app, "slow")))
        t.start()
        wait_until("it sleeps", lambda: s.sql(
            f"SELECT {end}(pid) FROM pg_stat_activity"
            " WHERE wait_event = 'PgSleep'"))
        t.join()
        assert unavailable(got[0]) and lost(s) == losses
        assert s.get("/readyz").status == 200
        assert put(s, app).status in (200, 201)
    for line in s.log_lines("database_lost"):
        assert "CONTEXT" not in line and "pg_sleep" not in line, line
        assert "statement=user_put" in line, line


def test_what_was_prepared_is_gone(make):
    """By somebody's DISCARD, or because a column has another type now."""
    s = make(workers=1)
    app = s.register()
    assert put(s, app).status == 201
    s.sql("CREATE FUNCTION discard() RETURNS trigger LANGUAGE plpgsql AS"
          " 'BEGIN DEALLOCATE ALL; RETURN NEW; END';"
          "CREATE TRIGGER discard AFTER INSERT ON users FOR EACH ROW"
          " EXECUTE FUNCTION discard()")
    assert put(s, app, "v").status == 201
    s.sql("DROP TRIGGER discard ON users")
    assert put(s, app, "v").status == 200
    assert s.get("/v1/users/u", app.auth()).status == 200
    s.sql("ALTER TABLE apps ALTER name TYPE varchar(100)")
    assert s.request("PATCH", "/v1/app", app.auth(), {"name": "y"}
                     ).status == 200
    assert lost(s) == 0


def test_a_locked_table(make):
    """Whoever needs it is refused, once for each statement and second by a
    wait; what does not need it goes on, with the link that it has."""
    s = make(workers=1, env=QUICK)
    app = s.register()
    assert put(s, app).status == 201
    s.warm(app)
    with held(s, "LOCK TABLE apps IN ACCESS EXCLUSIVE MODE"):
        start = time.monotonic()
        for i in range(20):
            assert s.get("/v1/users/u", app.auth()).status == 200
            unavailable(s.get("/v1/whoami", {
                **app.auth(), "X-Public-Key": f"{i:064x}"}))
        assert time.monotonic() - start < 10
    assert lost(s) == 0
    wait_until("found", lambda: s.get("/v1/whoami", {
        **app.auth(), "X-Public-Key": "ab" * 32}).status == 401)


# -- who clashes with another tries again

CLASH = """
CREATE SEQUENCE tries; GRANT USAGE ON SEQUENCE tries TO server;
CREATE FUNCTION clash() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF nextval('tries') %% 4 IN (1, 2) THEN
    RAISE EXCEPTION 'clash' USING ERRCODE = TG_ARGV[0];
  END IF;
  RETURN coalesce(NEW, OLD);
END $$;
CREATE {constraint} TRIGGER clash {when} INSERT OR UPDATE OR DELETE ON users
  {deferred} FOR EACH ROW EXECUTE FUNCTION clash('{code}');
CREATE {constraint} TRIGGER clash {when} INSERT OR UPDATE OR DELETE ON apps
  {deferred} FOR EACH ROW EXECUTE FUNCTION clash('{code}');
"""


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("code", ["40001", "40P01"])
def test_clash(make, code, late):
    """Twice undone, in the statement or at COMMIT; then it is done."""
    s = make(workers=1)
    app = s.register()
    s.sql(CLASH.format(
        code=code, when="AFTER" if late else "BEFORE",
        constraint="CONSTRAINT" if late else "",
        deferred="DEFERRABLE INITIALLY DEFERRED" if late else ""))
    assert put(s, app).status == 201
    assert put(s, app).status == 200
    assert s.request("PATCH", "/v1/users/u", app.auth(), {"c": 3}
                     ).status == 200
    assert s.get("/v1/users/u", app.auth()).json() == {"b": 2, "c": 3}
    assert s.request("DELETE", "/v1/users/u", app.auth()).status == 204
    made = s.register()
    path = f"/v1/apps/{made.public}"
    for method, tail, body in (
            ("PATCH", "", {"name": "y"}), ("POST", "/rotate", None),
            ("POST", "/disable", None), ("POST", "/enable", None)):
        r = s.request(method, path + tail, OPERATOR, body)
        assert r.status == 200, (method, tail, r)
    assert s.request("DELETE", path, OPERATOR).status == 204
    assert lost(s) == 0
    events = s.sql("SELECT count(*) FROM app_events WHERE app_id = %s",
                   made.id)
    assert events[0][0] >= 6  # one for each, none for what was undone


def test_clash_without_end(make):
    """It is given up within the deadline, and nobody else is harmed."""
    s = make(env=QUICK)
    app = s.register()
    o = Others(s)
    s.sql(CLASH.format(code="40001", when="BEFORE", constraint="",
                       deferred="").replace("%% 4 IN (1, 2)", "> 0"))
    with o:
        start = time.monotonic()
        unavailable(put(s, app))
        assert time.monotonic() - start < 2
    o.unharmed()
    assert lost(s) == 0


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
def test_isolation_of_the_role(pg, make, level):
    s = make(workers=4, ready=False, database=(name := pg.database()))
    s.sql(f"ALTER DATABASE {name} SET default_transaction_isolation ="
          f" '{level}'")
    again(s)
    app = s.register()
    got = at_once(16, lambda i: [put(s, app, "u", n=i).status
                                 for _ in range(15)])
    assert {x for g in got for x in g} <= {200, 201}
    got = at_once(16, lambda i: [s.request(
        "PATCH", "/v1/users/u", app.auth(), {str(i): n}).status
        for n in range(10)])
    assert {x for g in got for x in g} == {200}


# -- a commit that hangs

@contextlib.contextmanager
def nobody_confirms(server):
    """Commits wait for a standby that there is none of."""
    def set_names(names):
        c = server.connect("postgres")
        cur = c.cursor()
        cur.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{names}'")
        cur.execute("SELECT pg_reload_conf()")
        wait_until("it says so", lambda: cur.execute(
            "SHOW synchronous_standby_names") or cur.fetchone() == (names,))
        c.close()

    def a_commit_waits():
        """The server's own processes hear of it one after the other."""
        c = server.connect("postgres")
        t = threading.Thread(target=c.cursor().execute, args=(
            "SELECT pg_logical_emit_message(true, 'a', 'b')",))
        t.start()
        t.join(0.1)
        waits = t.is_alive()
        c.cancel()
        t.join()
        c.close()
        return waits

    set_names("nobody")
    wait_until("a commit waits", a_commit_waits)
    try:
        yield
    finally:
        set_names("")


def hung_commit(s, server):
    app = s.register()
    assert put(s, app).status == 201
    with nobody_confirms(server):
        for _ in range(2):
            start = time.monotonic()
            unavailable(put(s, app))
            # And the next is refused at once, for a second.
            begun = time.monotonic()
            unavailable(put(s, app))
            assert begun - start > 0.9 and time.monotonic() - begun < 0.5
            assert s.get("/v1/users/u", app.auth()).status == 200
            assert s.get("/readyz").status == 200
            time.sleep(1.1)
        assert len(s.log_lines("commit_not_replicated")) == 2
    assert put(s, app).status == 200
    assert lost(s) == 0 and len(s.log_lines("database_up")) == 1


def test_a_hung_commit_through_a_pooler(scratch, make_of, ends):
    server = Postgres(scratch)
    ends.callback(server.stop)
    bouncer = ends.enter_context(
        contextlib.closing(PgBouncer(server, "session")))
    name = server.database()
    s = make_of(server, workers=1, database=name, env={
        **QUICK, "POSTERN_DATABASE_URL": bouncer.url(name)})
    hung_commit(s, server)


@pytest.mark.parametrize("hosts", [
    "localhost", "127.0.0.1", "localhost,127.0.0.1",
    "localhost,localhost hostaddr=127.0.0.1,127.0.0.1"])
def test_a_hung_commit_by_tls(scratch, make_of, ends, hosts):
    """What ends it goes the same way: by TLS, with the name checked."""
    server = TlsPostgres(scratch, ("localhost", "127.0.0.1"))
    ends.callback(server.stop)
    hba = server.dir / "data" / "pg_hba.conf"
    hba.write_text("local all all trust\nhostssl all all all trust\n")
    c = server.connect("postgres")
    c.cursor().execute("SELECT pg_reload_conf()")
    c.close()
    name = server.database()
    url = server.url(name, hosts="HOSTS", ports=server.tcp_port)
    s = make_of(server, workers=1, database=name, env={
        **QUICK, "POSTERN_DATABASE_URL": url.replace("HOSTS", hosts)})
    up = s.log_lines("database_up")[-1]
    assert "server=127.0.0.1" in up and f"port={server.tcp_port}" in up, up
    hung_commit(s, server)


class SlowProxy(PgProxy):
    """New connections hear nothing for a while."""

    delay = 0

    def take_apart(self, server, client):
        time.sleep(self.delay)
        super().take_apart(server, client)


def test_a_hung_commit_that_ends_slowly(scratch, make_of, ends):
    """Nobody waits for it: what is at hand is served meanwhile, and who needs
    the database waits a little."""
    server = Postgres(scratch)
    ends.callback(server.stop)
    proxy = ends.enter_context(contextlib.closing(SlowProxy(server)))
    name = server.database()
    s = make_of(server, workers=1, database=name, env={
        **QUICK, "POSTERN_DATABASE_URL": proxy.url(name)})
    app = s.register()
    s.warm(app)
    assert put(s, app).status == 201
    with nobody_confirms(server):
        proxy.delay = 0.7
        unavailable(put(s, app))
        start = time.monotonic()
        assert s.get("/v1/whoami", app.auth()).status == 200
        assert time.monotonic() - start < 0.15
        assert s.get("/v1/users/u", app.auth()).status == 200
        assert s.log_lines("commit_not_replicated")
    assert lost(s) == 0 and len(s.log_lines("database_up")) == 1
    wait_until("writes again", lambda: put(s, app).status == 200)


def test_a_hung_commit_without_another_connection(scratch, make_of, ends):
    """It can't be ended: the connection goes, and comes back by itself."""
    server = Postgres(scratch)
    ends.callback(server.stop)
    s = make_of(server, workers=1, env=QUICK)
    app = s.register()
    s.warm(app)
    with nobody_confirms(server):
        # Without a commit of a transaction that writes.
        c = server.connect("postgres")
        c.cursor().execute("SET synchronous_commit = local;"
                           "ALTER ROLE server CONNECTION LIMIT 0")
        c.close()
        unavailable(put(s, app))
        wait_until("lost", lambda: lost(s) == 1)
        assert s.get("/v1/whoami", app.auth()).status == 200
    c = server.connect("postgres")
    c.cursor().execute("ALTER ROLE server CONNECTION LIMIT -1")
    c.close()
    wait_until("writes again", lambda: put(s, app).status in (200, 201))


# -- what a role can carry

def again(s):
    """New sessions, which take what the role carries now."""
    ups = len(s.log_lines("database_up"))
    workers = len(s.workers())
    s.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
          " WHERE datname = current_database() AND usename = 'server'")
    wait_until("new sessions", lambda: len(
        s.log_lines("database_up")) >= ups + workers)
    wait_until("connected", s.all_connected)


CARRIED = {
    "array_nulls": "off", "backslash_quote": "off", "bytea_output": "escape",
    "check_function_bodies": "off", "client_encoding": "LATIN1",
    "client_min_messages": "error", "constraint_exclusion": "on",
    "cursor_tuple_fraction": "0", "DateStyle": "'German, DMY'",
    "deadlock_timeout": "'1s'", "default_table_access_method": "heap",
    "default_text_search_config": "german",
    "default_toast_compression": "pglz",
    "default_transaction_deferrable": "on",
    "default_transaction_isolation": "serializable",
    "effective_cache_size": "'8kB'", "enable_bitmapscan": "off",
    "enable_hashagg": "off", "enable_hashjoin": "off",
    "enable_indexscan": "off", "enable_indexonlyscan": "off",
    "enable_material": "off", "enable_mergejoin": "off",
    "enable_nestloop": "off", "enable_seqscan": "off", "enable_sort": "off",
    "escape_string_warning": "on", "exit_on_error": "on",
    "extra_float_digits": "-15", "force_parallel_mode": "on",
    "from_collapse_limit": "1", "geqo_threshold": "2",
    "gin_fuzzy_search_limit": "1",
    "idle_in_transaction_session_timeout": "1", "idle_session_timeout": "'1s'",
    "IntervalStyle": "sql_standard", "jit": "on", "jit_above_cost": "0",
    "join_collapse_limit": "1", "lc_monetary": "'C.UTF-8'",
    "lc_numeric": "'C.UTF-8'", "lc_time": "'C.UTF-8'", "lock_timeout": "1",
    "log_statement": "'all'", "maintenance_work_mem": "'1MB'",
    "plan_cache_mode": "force_generic_plan",
    "plpgsql.extra_errors": "'all'", "plpgsql.extra_warnings": "'all'",
    "quote_all_identifiers": "on", "random_page_cost": "0",
    "row_security": "off", "search_path": '"$user", public',
    "standard_conforming_strings": "off", "statement_timeout": "1",
    "stats_fetch_consistency": "snapshot", "synchronous_commit": "off",
    "temp_buffers": "'800kB'", "TimeZone": "'Asia/Kathmandu'",
    # One of a millisecond would be over before the statement that lifts it.
    "track_activities": "off", "transaction_timeout": "200",
    "transform_null_equals": "on", "work_mem": "'64kB'",
    "xmlbinary": "hex", "xmloption": "document",
    "application_name": "'other'", "restrict_nonsystem_relation_kind":
    "'view'", "tcp_keepalives_idle": "7", "vacuum_cost_delay": "1",
    "postern.actor": "'someone'",
}


@pytest.fixture(scope="module")
def carried(pg):
    with Stack(pg, workers=1) as s:
        yield s


def works(s):
    """All that a request does with the database, as ever."""
    app = s.register("Ümlaut")
    who = s.get("/v1/whoami", app.auth())
    assert who.status == 200, who
    made = app.answer["created_at"]
    assert who.json()["app"]["created_at"] == made
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", made)
    assert abs(time.time() - time.mktime(time.strptime(
        made[:19], "%Y-%m-%dT%H:%M:%S")) + time.timezone) < 300
    for method, body, status in (
            ("PUT", {"ä": "\\\"'", "n": 1.5}, 201),
            ("PUT", {"ä": "\\\"'", "n": 1.5}, 200),
            ("PATCH", {"b": None, "c": [None]}, 200)):
        r = s.request(method, "/v1/users/%C3%BC", app.auth(), body)
        assert r.status == status, r
    r = s.get("/v1/users/%C3%BC", app.auth())
    assert r.json() == {"ä": "\\\"'", "n": 1.5, "c": [None]}
    assert s.request("PUT", "/v1/users/%C3%BC", {
        **app.auth(), "If-Match": r["ETag"]}, {}).status == 200
    assert s.request("PUT", "/v1/users/%C3%BC", {
        **app.auth(), "If-Match": r["ETag"]}, {}).status == 412
    old = app.auth()
    r = s.request("POST", "/v1/app/rotate", app.auth(), {"grace_seconds": 60})
    assert r.status == 200, r
    s.registered.append(r.json()["secret_key"])
    assert s.get("/v1/whoami", old).status == 200
    r = s.get(f"/v1/apps/{app.public}/events", OPERATOR)
    assert [e["actor"] for e in r.json()["events"]].count("someone") == 0
    assert s.request("DELETE", f"/v1/apps/{app.public}", OPERATOR
                     ).status == 204
    assert s.get("/v1/whoami", old).status == 401


@pytest.mark.parametrize("name", CARRIED)
def test_what_a_role_carries(carried, name):
    s = carried
    if not s.sql("SELECT 1 WHERE current_setting(%s, true) IS NOT NULL"
                 " OR %s LIKE '%%.%%'", name, name):
        pytest.skip("not in this version of Postgres")
    s.sql(f"ALTER ROLE server SET {name} = {CARRIED[name]}")
    try:
        again(s)
        works(s)
        assert "event=query_failed" not in s.log()
    finally:
        s.sql(f"ALTER ROLE server RESET {name}")


@pytest.mark.parametrize("asked,held", [
    ("off", "on"), ("local", "on"), ("remote_write", "on"), ("on", "on"),
    ("remote_apply", "remote_apply")])
def test_a_commit_is_no_less(carried, asked, held):
    """What was answered with success is on disk, whatever the role says."""
    s = carried
    s.sql(f"ALTER ROLE server SET synchronous_commit = {asked};"
          "CREATE OR REPLACE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql"
          " AS 'BEGIN RAISE EXCEPTION ''it is %%'', current_setting("
          "''synchronous_commit''); END';"
          "CREATE TRIGGER tell BEFORE INSERT ON users FOR EACH ROW"
          " EXECUTE FUNCTION tell()")
    try:
        again(s)
        unavailable(put(s, s.register()))
        assert f"it is {held}\"" in s.log_lines("query_failed")[-1]
    finally:
        s.sql("ALTER ROLE server RESET synchronous_commit;"
              "DROP TRIGGER tell ON users")


@pytest.mark.parametrize("name,value,state", [
    ("session_replication_role", "replica", "triggers_off"),
    ("default_transaction_read_only", "on", "read_only"),
    ("search_path", "nowhere", "schema_missing")])
def test_what_a_role_must_not_carry(make, name, value, state):
    """Compared, and named: no answer is wrong."""
    s = make(workers=1)
    app = s.register()
    s.sql(f"ALTER ROLE server IN DATABASE {s.database} SET {name} = {value}")
    s.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
          " WHERE datname = current_database() AND usename = 'server'")
    wait_until("unfit", lambda: any(
        f"state={state}" in line
        for line in s.log_lines("database_unavailable")))
    unavailable(s.get("/readyz"))
    unavailable(put(s, app))
    s.sql(f"ALTER ROLE server IN DATABASE {s.database} RESET {name}")
    s.all_workers("ready", "/readyz", 200)
    assert put(s, app).status == 201


# -- the log

def test_the_log_says_where(make):
    """Which server, by its own word, and which statement; no SQL, and
    nothing of where in a function it was."""
    s = make(workers=1, env=QUICK)
    app = s.register()
    s.sql(RAISE)
    unavailable(put(s, app, "XX000"))
    line = s.log_lines("query_failed")[-1]
    for part in (f"host={s.pg.dir}", "port=5432", "timeline=1",
                 "statement=user_put", "sqlstate=XX000",
                 'error="what the operator wrote"'):
        assert part in line, line
    for part in ("CONTEXT", "PL/pgSQL", "INSERT", "LINE", "\\n"):
        assert part not in line, line
    up = s.log_lines("database_up")[-1]
    assert f"host={s.pg.dir}" in up and "timeline=1" in up, up
    again(s)
    line = s.log_lines("database_lost")[-1]
    assert f"host={s.pg.dir}" in line and "timeline=1" in line, line
    assert "terminating connection" in line, line
    assert "\\n" not in line and "\\t" not in line, line


def test_the_log_says_the_servers_own_address(pg, make):
    """Through something in between, its address is the server's; ours is
    what we asked."""
    with contextlib.closing(PgProxy(pg)) as proxy:
        name = pg.database()
        s = make(workers=1, database=name,
                 env={"POSTERN_DATABASE_URL": proxy.url(name)})
        up = s.log_lines("database_up")[-1]
        host = re.search(r"host=(\S+) dbname", proxy.url(name))
        if host:
            assert f"host={host.group(1)}" in up, up

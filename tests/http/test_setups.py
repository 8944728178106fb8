"""Setups that can't serve: each is named, with what mends it, by check and by
the log, and is never ready; and when that was done, it serves."""
import re
import subprocess

import pytest

from lib.postgres import ask
from lib.process import run_tool, wait_until
from lib.stack import Stack
from lib.tokens import ADMIN


class Site:
    """A stack, in the hands of its database's owner."""

    def __init__(self, stack):
        self.s = stack
        self.app = stack.register()

    def sql(self, text):
        """As the owner, whom a database's settings don't concern."""
        return ask(self.s.pg.connect(
            self.s.database,
            options="-c default_transaction_read_only=off"), text)

    def check(self):
        """As the server's role: (failed lines, all)."""
        r = self.s.tool("check", check=False, env={
            "POSTERN_DATABASE_URL": self.s.pg.url(self.s.database)})
        assert r.stderr == "", r
        lines = r.stdout.splitlines()
        failed = [x for x in lines if x.startswith("FAIL")]
        assert r.returncode == bool(failed), r
        return failed, lines

    def look(self):
        """The server looks again, on new connections."""
        self.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                   " WHERE datname = current_database() AND pid <>"
                   " pg_backend_pid()")

    def unready(self, state):
        wait_until(f"{state} in /readyz", lambda: (
            (r := self.s.get("/readyz")).status == 503
            and f" {state}." in r.json()["detail"]))

    def serves(self):
        self.s.all_workers("ready", "/readyz", 200)
        failed, lines = self.check()
        assert failed == [], failed
        r = self.s.request("PATCH", "/v1/users/u", self.app.auth(), {"a": 1})
        assert r.status in (200, 404)
        assert self.s.request("PUT", "/v1/users/u", self.app.auth(),
                              {}).status in (200, 201)
        assert self.s.register().id > self.app.id


@pytest.fixture(scope="module")
def broken(pg):
    """The one that is broken again and again."""
    with Stack(pg, workers=1) as s:
        yield Site(s)


# (what it is, how it is broken, state, check's line, what mends it: in the
# line, "migrate" for that command, or a statement of ours where it only names
# what to do)
GRANT = "migrate --grant server"
ROLE = "ALTER ROLE server IN DATABASE {db} "
SETUPS = [
    ("no grant on a table", "REVOKE ALL ON users FROM server",
     "missing_privileges", "privileges", GRANT),
    ("no grant on a sequence", "REVOKE ALL ON SEQUENCE apps_id_seq"
     " FROM server, PUBLIC", "missing_privileges", "privileges", GRANT),
    ("no grant on one that no column owns",
     "ALTER SEQUENCE apps_id_seq OWNED BY NONE;"
     "REVOKE ALL ON SEQUENCE apps_id_seq FROM server",
     "missing_privileges", "privileges", GRANT),
    ("no grant on a sequence of the operator's",
     "ALTER TABLE users ADD nth serial",
     "missing_privileges", "privileges", GRANT),
    ("no USAGE", "REVOKE ALL ON SCHEMA public FROM server, PUBLIC",
     "schema_missing", "schema", "GRANT USAGE ON SCHEMA public TO server"),
    ("no SELECT on the migrations", "REVOKE ALL ON postern_migrations FROM"
     " server, PUBLIC", "schema_unreadable", "schema",
     "GRANT SELECT ON postern_migrations TO server"),
    ("no EXECUTE", "REVOKE EXECUTE ON FUNCTION postern_merge_patch FROM"
     " server, PUBLIC", "missing_privileges", "privileges", GRANT),
    ("no EXECUTE for uses", "REVOKE EXECUTE ON FUNCTION postern_note_uses FROM"
     " server, PUBLIC", "missing_privileges", "privileges", GRANT),
    ("row-level security", "ALTER TABLE apps ENABLE ROW LEVEL SECURITY",
     "row_security", "row security",
     "ALTER TABLE public.apps DISABLE ROW LEVEL SECURITY"),
    ("a policy for reading alone", "ALTER TABLE users ENABLE ROW LEVEL SECURITY;"
     "CREATE POLICY p ON users FOR SELECT USING (true)",
     "row_security", "row security",
     "ALTER TABLE public.users DISABLE ROW LEVEL SECURITY"),
    ("schema renamed, and the role told", "ALTER SCHEMA public RENAME TO moved;"
     + ROLE + "SET search_path = moved", "functions_lost", "functions",
     "ALTER FUNCTION moved.postern_merge_patch(target jsonb, patch jsonb)"
     " SET search_path = moved, pg_temp"),
    ("schema renamed", "ALTER SCHEMA public RENAME TO moved",
     "schema_missing", "schema",
     "ALTER ROLE server SET search_path = moved"),
    ("a trigger disabled", "ALTER TABLE apps DISABLE TRIGGER"
     " postern_apps_notify", "triggers_off", "triggers",
     "ALTER TABLE public.apps ENABLE ALWAYS TRIGGER postern_apps_notify"),
    ("session_replication_role", ROLE + "SET session_replication_role ="
     " replica", "triggers_off", "triggers",
     ROLE + "RESET session_replication_role"),
    ("read-only by role", ROLE + "SET default_transaction_read_only = on",
     "read_only", "writable", ROLE + "RESET default_transaction_read_only"),
    ("read-only by database", "ALTER DATABASE {db} SET"
     " default_transaction_read_only = on", "read_only", "writable",
     "ALTER DATABASE {db} RESET default_transaction_read_only"),
    ("a table of another", "CREATE SCHEMA server AUTHORIZATION server;"
     "CREATE TABLE server.users (id int)", "tables_elsewhere", "tables",
     "users is in schema server, not in public"),
    ("a sequence behind", "SELECT setval('app_events_id_seq', 1, false)",
     "sequences_behind", "sequences", "SELECT setval('public.app_events_id_seq',"
     " (SELECT max(id) FROM app_events));"),
    ("one that gave nothing away",
     "SELECT setval('apps_id_seq', max(id), false) FROM apps", "sequences_behind", "sequences",
     "SELECT setval('public.apps_id_seq', (SELECT max(id) FROM apps));"),
    ("a unique index gone", "ALTER TABLE users DROP CONSTRAINT users_pkey",
     "keys_missing", "unique keys",
     "CREATE UNIQUE INDEX ON users (app_id, user_id)"),
]
AFTER = {
    "schema renamed, and the role told": "ALTER SCHEMA moved RENAME TO public;"
    + ROLE + "RESET search_path",
    "schema renamed": "ALTER ROLE server RESET search_path;"
    "ALTER SCHEMA moved RENAME TO public",
    "a table of another": "DROP SCHEMA server CASCADE",
    "no grant on one that no column owns":
    "ALTER SEQUENCE apps_id_seq OWNED BY apps.id",
    "no grant on a sequence of the operator's":
    "ALTER TABLE users DROP COLUMN nth",
    "a policy for reading alone": "DROP POLICY p ON users",
}


FUNCTIONS = """
    SELECT format('ALTER FUNCTION %s SET %s', p.oid::regprocedure,
        replace(c, 'search_path=', 'search_path = '))
    FROM pg_proc AS p, unnest(proconfig) AS c
    WHERE starts_with(proname, 'postern_') AND starts_with(c, 'search_path=')"""


@pytest.mark.parametrize("what,harm,state,name,mend", SETUPS,
                         ids=[s[0] for s in SETUPS])
def test_broken_and_mended(broken, what, harm, state, name, mend):
    s, sql = broken.s, broken.sql
    harm, mend, after = (x.format(db=s.database)
                         for x in (harm, mend, AFTER.get(what, "")))
    functions = [text for text, in sql(FUNCTIONS)]
    sql(harm)
    try:
        broken.look()
        failed, lines = broken.check()
        line, = [x for x in failed if re.match(rf"FAIL +{name}  ", x)]
        assert mend in line
        assert len(failed) == 1, failed
        broken.unready(state)
        # The log says it too, once for each connection.
        wait_until("the log", lambda: [
            x for x in s.log().splitlines() if f"state={state}" in x
            and mend in x])
        if "functions" in name:
            mend = ";".join(re.findall(r"ALTER FUNCTION [^;]*", line))
    finally:
        if mend == GRANT:
            s.tool("migrate", "--grant", "server")
        elif what != "a table of another":
            sql(mend)
        broken.look()
        if what == "schema renamed":  # one thing after the other
            broken.unready("functions_lost")
        if after:
            sql(after)
        if "moved" in harm:
            sql(";".join(functions))
        broken.look()
    broken.serves()


# What operators do, and what becomes of it afterwards; the server's role never
# goes without what it needs.
ALONE = "REVOKE ALL ON ALL {} IN SCHEMA public FROM server;"
ONE = ALONE.format("TABLES") + ALONE.format("SEQUENCES") + \
    ALONE.format("FUNCTIONS")
OF_0_1_0 = ONE + """
    GRANT SELECT, INSERT, UPDATE, DELETE ON apps, users, used_jtis TO {role};
    GRANT SELECT, INSERT, UPDATE ON app_uses TO {role};
    GRANT SELECT (id, token_hash, uses, uses_max, expires_at, revoked_at),
        UPDATE (uses) ON invites TO {role};
    GRANT USAGE ON SEQUENCE apps_id_seq TO {role};
    GRANT SELECT ON app_events, postern_migrations TO {role};
    GRANT EXECUTE ON FUNCTION postern_merge_patch, postern_merge_patches
        TO PUBLIC;
    """
GOOD = {
    "sequences further on": (
        "ALTER SEQUENCE apps_id_seq RESTART WITH 1000;"
        "SELECT setval('app_events_id_seq', max(id) + 1, false)"
        " FROM app_events", False, ""),
    "the same, and it can't be looked at": (
        "ALTER SEQUENCE apps_id_seq RESTART WITH 2000;"
        "REVOKE SELECT ON SEQUENCE apps_id_seq, app_events_id_seq FROM"
        " server", False, ""),
    "columns with sequences of their own": (
        "ALTER TABLE apps ADD nth bigserial; ALTER TABLE users ADD nth serial",
        True, "ALTER TABLE apps DROP nth; ALTER TABLE users DROP nth"),
    "a sequence that no column owns": (
        "ALTER SEQUENCE apps_id_seq OWNED BY NONE", True,
        "ALTER SEQUENCE apps_id_seq OWNED BY apps.id"),
    "a trigger, a key and an index more": (
        "CREATE TRIGGER mine BEFORE UPDATE ON apps FOR EACH ROW EXECUTE"
        " FUNCTION suppress_redundant_updates_trigger();"
        "ALTER TABLE apps DISABLE TRIGGER mine;"
        "ALTER TABLE users ADD nth int DEFAULT 1;"
        "CREATE INDEX mine ON users (nth)", False,
        "DROP TRIGGER mine ON apps; ALTER TABLE users DROP nth"),
    "row-level security, and all may": (
        "ALTER TABLE users ENABLE ROW LEVEL SECURITY;"
        "CREATE POLICY p ON users TO server USING (true)", False,
        "DROP POLICY p ON users;"
        "ALTER TABLE users DISABLE ROW LEVEL SECURITY"),
    "granted by 0.1.0": (
        OF_0_1_0.format(role="server"), None, ""),
    "granted to a group": (
        "CREATE ROLE setup_group; GRANT setup_group TO server;"
        + OF_0_1_0.format(role="setup_group"), None,
        "DROP OWNED BY setup_group"),
    "read column by column": (
        "REVOKE SELECT ON postern_migrations FROM server; GRANT SELECT"
        " (version, name, applied_at, serves_from) ON postern_migrations"
        " TO server", False, ""),
}


@pytest.mark.parametrize("what", GOOD)
def test_good(broken, what):
    """And what migrates it, or grants, then (None: without --grant)."""
    s = broken.s
    change, grant, after = GOOD[what]
    broken.sql(change)
    try:
        if grant is not False:
            s.tool("migrate", *(["--grant", "server"] if grant else []))
        broken.look()
        broken.serves()
    finally:
        broken.sql(after or "SELECT")
        if "group" in after:
            broken.s.pg.connect("postgres").cursor().execute(
                "DROP ROLE setup_group")
        s.tool("migrate", "--grant", "server")


def test_any_schema(pg, make):
    """Whatever it is called."""
    name = pg.database(migrate=False)
    c = pg.connect(name)
    c.cursor().execute(
        """CREATE SCHEMA "a=b, ""c"" 'd'" AUTHORIZATION owner;"""
        + "".join(f"""ALTER ROLE {r} IN DATABASE {name} SET search_path =
            "a=b, ""c"" 'd'";""" for r in ("owner", "server")))
    c.close()
    pg.migrate(name)
    Site(make(database=name, workers=1)).serves()


def test_seen_without_a_new_connection(broken):
    """Soon after an answer that makes one wonder, and after a migrate."""
    s = broken.s
    connects = len(s.log_lines("database_up"))
    broken.sql("REVOKE ALL ON users FROM server")
    assert s.request("PUT", "/v1/users/u", broken.app.auth(),
                     {}).status == 503
    broken.unready("missing_privileges")
    assert s.get("/v1/whoami", broken.app.auth()).status == 200
    s.tool("migrate", "--grant", "server")
    s.all_workers("ready", "/readyz", 200)
    assert [line for line in s.log_lines("ready")]
    assert len(s.log_lines("database_up")) == connects


def test_each_right(broken):
    """Whatever the server's role was granted: without it, check says so."""
    rights = broken.sql("""
        SELECT format('%s ON %s', x.privilege_type, c.oid::regclass)
        FROM pg_class AS c, aclexplode(c.relacl) AS x
        WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace
            AND x.grantee = 'server'::regrole
        UNION ALL
        SELECT format('%s (%I) ON %s', x.privilege_type, max(a.attname),
            c.oid::regclass)
        FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid,
            aclexplode(a.attacl) AS x
        WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace
            AND x.grantee = 'server'::regrole
        GROUP BY c.oid, x.privilege_type""")
    assert len(rights) > 10
    for right, in rights:
        broken.sql(f"REVOKE {right} FROM server")
        failed, _ = broken.check()
        privilege, table = re.match(r"(\w+).* ON (\S+)$", right).groups()
        assert len(failed) == 1, (right, failed)
        assert f"{privilege} on {table}" in failed[0] or \
            f"GRANT {privilege} ON {table}" in failed[0], failed
        broken.sql(f"GRANT {right} TO server")
    broken.look()
    broken.serves()


def test_each_trigger(broken):
    """Also one that a later migration made."""
    triggers = broken.sql(
        "SELECT t.tgrelid::regclass::text, tgname, pg_get_triggerdef(t.oid)"
        " FROM pg_trigger AS t WHERE NOT tgisinternal"
        " AND starts_with(tgname, 'postern_')")
    assert len(triggers) >= 4
    for table, name, made in triggers:
        for harm, mend in (
                (f"ALTER TABLE {table} DISABLE TRIGGER {name}",
                 f"ALTER TABLE {table} ENABLE TRIGGER {name}"),
                (f"DROP TRIGGER {name} ON {table}", made)):
            broken.sql(harm)
            failed, _ = broken.check()
            assert len(failed) == 1 and name in failed[0], (harm, failed)
            broken.sql(mend)
    assert broken.check()[0] == []


def test_whoever_asks_asks_the_database_nothing(broken):
    s = broken.s

    def queries():
        text = s.get("/metrics", {"Authorization": "Bearer " + ADMIN}).body
        return int(re.search(rb"^postern_database_queries_total (\d+)", text,
                             re.M)[1])

    def nothing():
        start = queries()
        own = queries() - start  # of the metrics themselves
        for _ in range(50):
            assert s.get("/readyz").status == 200
        return queries() - start == 2 * own

    # A worker writes at times what it held back.
    wait_until("no query", nothing)


def other_encoding(pg, encoding):
    pg.count += 1
    name = f"db{pg.count}"
    c = pg.connect("postgres")
    c.cursor().execute(
        f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}'"
        " LC_COLLATE 'C' LC_CTYPE 'C'")
    c.close()
    return name


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1", "EUC_JP"])
def test_nothing_is_made_in_another_encoding(pg, encoding):
    name = other_encoding(pg, encoding)
    r = run_tool(pg.scratch, ["migrate", "--grant", "server"], {
        "POSTERN_DATABASE_URL": pg.url(name, "owner")}, check=False)
    assert (r.returncode, r.stdout) == (1, "")
    assert f"its encoding is {encoding}" in r.stderr
    assert "createdb -T template0 -E UTF8" in r.stderr
    assert "event=" not in r.stderr


def test_encoding(pg, make, broken):
    """One that is there already."""
    name = other_encoding(pg, "SQL_ASCII")
    where = ["-h", pg.dir, "-U", "owner"]
    dump = subprocess.run([pg.bin / "pg_dump", *where, broken.s.database],
                          check=True, capture_output=True).stdout
    subprocess.run([pg.bin / "psql", "-X", "-q", *where, name], input=dump,
                   check=True, capture_output=True)
    stack = make(database=name, workers=1, ready=False)
    stack.sql("TRUNCATE apps CASCADE")  # under another master key
    site = Site(stack)
    failed, _ = site.check()
    assert len(failed) == 1 and "SQL_ASCII" in failed[0], failed
    assert "createdb -T template0 -E UTF8" in failed[0]
    site.unready("wrong_encoding")


def test_migrate_says_what_it_left(broken):
    """It has brought all up to date, and yet the server can't serve."""
    s = broken.s
    broken.sql("ALTER TABLE apps DISABLE TRIGGER postern_apps_audit")
    try:
        r = s.tool("migrate", "--grant", "server", check=False)
        assert r.returncode == 1 and "nothing to do" in r.stdout
        assert "ALTER TABLE public.apps ENABLE TRIGGER postern_apps_audit" \
            in r.stderr
    finally:
        broken.sql("ALTER TABLE apps ENABLE TRIGGER postern_apps_audit")
    s.tool("migrate", "--grant", "server")

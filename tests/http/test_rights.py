"""What a login may do in the database: every right of the server's role, with
its reason, and what the others try."""
import contextlib
import re
import secrets
import select

import psycopg2
import pytest
from psycopg2.errors import InsufficientPrivilege

from lib.postgres import ask
from lib.stack import Stack
from lib.tokens import gcm_open, gcm_seal
from test_reseal import Database, Keys, Tool, bound

# (what, privilege): (columns, or "" where it is the whole thing's), reason.
READS = "each of its columns is asked for"
RIGHTS = {
    ("database", "CONNECT"): ("", "to be there; Postgres gives it to all"),
    ("database", "TEMPORARY"): ("", "not needed; Postgres gives it to all, and"
                                " nothing of ours looks for names there"),
    ("schema", "USAGE"): ("", "to name the tables"),
    ("apps", "SELECT"): ("", READS),
    ("apps", "INSERT"): (
        "name public_key encrypted_secret_key master_key_id expires_at",
        "POST /v1/apps; the rest is by default"),
    ("apps", "UPDATE"): (
        "name expires_at disabled_at updated_at"  # PATCH, disable, enable
        " encrypted_secret_key master_key_id rotated_at"  # rotate, reseal
        " previous_encrypted_secret_key previous_master_key_id"
        " previous_valid_until"  # the overlap
        " public_key deleted_at",  # the mark of a deleted one
        "what the API changes; a trigger refuses other ways of doing it"),
    ("apps", "DELETE"): ("", "the row of a deleted app, after its documents"),
    ("users", "SELECT"): ("", READS),
    ("users", "INSERT"): ("app_id user_id information", "PUT"),
    ("users", "UPDATE"): ("information version updated_at", "PUT, PATCH; a"
                          " trigger keeps the version going on"),
    ("users", "DELETE"): ("", "DELETE, and those of a deleted app"),
    ("app_uses", "SELECT"): ("", READS),
    ("app_uses", "INSERT"): ("app_id last_used_at previous_last_used_at",
                             "the first use"),
    ("app_uses", "UPDATE"): ("last_used_at previous_last_used_at",
                             "the next; a trigger keeps it from going back"),
    ("used_jtis", "SELECT"): ("", READS),
    ("used_jtis", "INSERT"): ("app_id jti_hash expires_at", "a token's use"),
    ("used_jtis", "UPDATE"): ("expires_at", "to lock rows before they are"
                              " deleted; a trigger refuses every update"),
    ("used_jtis", "DELETE"): ("", "what has expired; a trigger keeps the rest"),
    ("invites", "SELECT"): (
        "id token_hash uses uses_max expires_at revoked_at",
        "is the token at hand a good one?"),
    ("invites", "UPDATE"): ("uses", "to count one; a trigger refuses others"),
    ("app_events", "SELECT"): ("", "the trail is shown; it is written by"
                               " trigger, with the owner's rights"),
    ("postern_migrations", "SELECT"): ("", "may this program serve it?"),
    ("apps_id_seq", "USAGE"): ("", "the number of a new app"),
    ("apps_id_seq", "SELECT"): ("", "is it behind its table?"),
    ("app_events_id_seq", "SELECT"): ("", "is it behind its table?"),
    ("postern_merge_patch(jsonb,jsonb)", "EXECUTE"): ("", "PATCH"),
    ("postern_merge_patches(jsonb[],jsonb[])", "EXECUTE"): (
        "", "what the former calls"),
    ("postern_note_uses(bigint[],boolean[],double precision[],bigint[])",
     "EXECUTE"): ("", "which secrets were used, once a minute; it does what"
                  " its caller may do"),
    ("postern_note_opened(text)", "EXECUTE"): (
        "", "postern token, where the tool is this role's: its row in the"
        " trail"),
}

# What everyone has who can log in.
EVERYONE = {k: RIGHTS[k] for k in [
    ("database", "CONNECT"), ("database", "TEMPORARY"), ("schema", "USAGE")]}

# Whatever way it came: granted, by PUBLIC, or by membership.
HELD = """
WITH me AS (SELECT %(role)s::name AS name),
n AS (SELECT oid, nspname FROM pg_namespace WHERE nspname = 'public'),
c AS (SELECT c.oid, c.relname, c.relkind FROM pg_class AS c
    JOIN n ON n.oid = c.relnamespace WHERE c.relkind NOT IN ('i', 'I', 'c'))
SELECT 'database', p, '' FROM me, unnest('{CREATE,CONNECT,TEMPORARY}'::text[])
    AS p WHERE has_database_privilege(me.name, current_database(), p)
UNION ALL SELECT 'schema', p, '' FROM me, n, unnest('{CREATE,USAGE}'::text[])
    AS p WHERE has_schema_privilege(me.name, n.oid, p)
UNION ALL SELECT c.relname, p, '' FROM me, c,
    unnest('{SELECT,INSERT,UPDATE,DELETE,TRUNCATE,REFERENCES,TRIGGER}'::text[])
    AS p WHERE c.relkind <> 'S' AND has_table_privilege(me.name, c.oid, p)
UNION ALL SELECT c.relname, p, string_agg(a.attname, ' ') FROM me, c
    JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0
    AND NOT a.attisdropped,
    unnest('{SELECT,INSERT,UPDATE,REFERENCES}'::text[]) AS p
    WHERE c.relkind <> 'S' AND NOT has_table_privilege(me.name, c.oid, p)
    AND has_column_privilege(me.name, c.oid, a.attnum, p) GROUP BY 1, 2
UNION ALL SELECT c.relname, p, '' FROM me, c,
    unnest('{USAGE,SELECT,UPDATE}'::text[]) AS p
    WHERE c.relkind = 'S' AND has_sequence_privilege(me.name, c.oid, p)
UNION ALL SELECT f.oid::regprocedure::text, 'EXECUTE', '' FROM me,
    pg_proc AS f JOIN n ON n.oid = f.pronamespace
    WHERE has_function_privilege(me.name, f.oid, 'EXECUTE')
"""


def held(s, role):
    return {(what, p): set(columns.split()) for what, p, columns in
            rows(s, HELD, {"role": role})}


def wanted(table):
    return {k: set(columns.split()) for k, (columns, _) in table.items()}


def rows(s, text, args=None, user="owner"):
    return ask(s.pg.connect(s.database, user), text, args)


# Who tries: a login alone, the server's role, one that is a member of it, and
# one that may create things beside ours.
LOGINS = ["stranger", "server", "member", "maker"]


@pytest.fixture(scope="module")
def logins(pg):
    rows_of = pg.connect("postgres")
    rows_of.cursor().execute(
        "CREATE ROLE stranger LOGIN; CREATE ROLE member LOGIN IN ROLE server;"
        "CREATE ROLE maker LOGIN; CREATE ROLE other_owner LOGIN")
    yield
    rows_of.close()


@pytest.fixture(scope="module")
def site(pg, logins):
    """A bit of everything, and nobody who serves it."""
    with Stack(pg, way="idle") as s:
        s.connections = {}
        s.sql("GRANT CREATE ON SCHEMA public TO maker, member")
        s.public = secrets.token_hex(32)
        s.ids = {name: s.sql(
            "INSERT INTO apps (name, public_key, encrypted_secret_key)"
            " VALUES ('x', %s, 'x') RETURNING id",
            s.public if name == "app" else secrets.token_hex(32))[0][0]
            for name in ("app", "other", "deleted")}
        s.sql("INSERT INTO invites (token_hash, uses_max, uses, expires_at)"
              " VALUES ('good', 5, 2, now() + '1 day'),"
              " ('over', 5, 2, now() - interval '1 day')")
        s.sql("INSERT INTO invites (token_hash, uses_max, uses, revoked_at)"
              " VALUES ('revoked', 5, 2, now())")
        s.sql("INSERT INTO users (app_id, user_id, information, version)"
              " VALUES (%s, 'u', '{}', 7)", s.ids["app"])
        s.sql("INSERT INTO app_uses VALUES (%s, '2020-01-02', '2020-01-02')",
              s.ids["app"])
        s.sql("INSERT INTO used_jtis VALUES (1, 'new', now() + '1 hour'),"
              " (1, 'old', now() - interval '2 hours')")
        s.sql("UPDATE apps SET deleted_at = now(), public_key = 'deleted-'"
              " || id WHERE id = %s", s.ids["deleted"])
        yield s
        for c in s.connections.values():
            c.close()


# -- the table

def test_every_right_has_its_reason(pg, logins):
    with Stack(pg, way="idle") as s:
        assert held(s, "server") == wanted(RIGHTS)
        assert held(s, "member") == wanted(RIGHTS)
        assert held(s, "stranger") == wanted(EVERYONE)
    assert all(reason for _, reason in RIGHTS.values())


def test_the_role_is_nothing_else(site):
    assert rows(site, "SELECT rolsuper, rolcreaterole, rolcreatedb,"
                " rolreplication, rolbypassrls FROM pg_roles"
                " WHERE rolname = 'server'") == [(False,) * 5]
    assert rows(site, "SELECT roleid FROM pg_auth_members"
                " WHERE member = 'server'::regrole") == []


def test_every_function_is_fixed(site):
    """None is PUBLIC's, and each finds names where nobody else puts one; what
    runs with its owner's rights in Postgres' own schema alone."""
    found = rows(site, "SELECT proname, prosecdef, prorettype ="
                 " 'trigger'::regtype, proconfig, proacl::text FROM pg_proc"
                 " WHERE pronamespace = 'public'::regnamespace")
    assert len(found) >= 7
    for name, definer, trigger, config, acl in found:
        path, = [c for c in config if c.startswith("search_path=")]
        assert path.endswith(", pg_temp"), name
        if trigger or definer:
            assert path == "search_path=pg_catalog, pg_temp", name
        if trigger:
            assert acl == "{owner=X/owner}", name
        assert "=X" not in re.findall(r"(?<![\w\"])=\w*", acl), name


# -- repairs

def prepared(pg, *statements, migrate=None):
    """A stack that isn't run, whose database was made so before migrate."""
    name = pg.database(migrate=False)
    s = Stack(pg, way="idle", database=name)
    for text in statements:
        s.sql(text)
    if migrate is not None:
        s.tool("migrate", *migrate)
    return s


DEFAULTS = {
    "functions taken away": "REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC",
    "functions given": "GRANT EXECUTE ON FUNCTIONS TO server, stranger, PUBLIC",
    "tables given": "GRANT ALL ON TABLES TO server, PUBLIC",
    "sequences given": "GRANT ALL ON SEQUENCES TO server, PUBLIC",
}


@pytest.mark.parametrize("default", DEFAULTS)
def test_default_privileges(pg, logins, default):
    """Whatever they are, the server has what it needs, and nobody more."""
    s = prepared(pg, f"ALTER DEFAULT PRIVILEGES {DEFAULTS[default]}",
                 migrate=["--grant", "server"])
    assert held(s, "server") == wanted(RIGHTS)
    assert held(s, "stranger") == wanted(EVERYONE)


def patched(s, app):
    path = "/v1/users/p"
    assert s.request("PUT", path, app.auth(), {"a": 1}).status in (200, 201)
    return s.request("PATCH", path, app.auth(), {"b": 2}).status


def test_a_right_that_was_taken_is_given_back(pg, logins, make):
    s = make()
    app = s.register()
    assert patched(s, app) == 200
    s.sql("REVOKE ALL ON FUNCTION postern_merge_patch(jsonb, jsonb) FROM PUBLIC,"
          " server; REVOKE ALL ON ALL TABLES IN SCHEMA public FROM server;"
          "REVOKE USAGE ON SEQUENCE apps_id_seq FROM server")
    s.tool("migrate", "--grant", "server")
    assert held(s, "server") == wanted(RIGHTS)
    s.all_workers("ready", "/readyz", 200)
    assert patched(s, app) == 200


WIDE = """
GRANT ALL ON ALL TABLES IN SCHEMA public TO server, PUBLIC;
GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO server, PUBLIC;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO server, PUBLIC;
"""


def test_a_right_too_many_is_taken_back(pg, logins):
    s = prepared(pg, migrate=[])
    s.sql(WIDE)
    s.tool("migrate", "--grant", "server")
    assert held(s, "server") == wanted(RIGHTS)
    assert held(s, "stranger") == wanted(EVERYONE)
    assert s.tool("migrate").stdout.startswith("nothing to do")


def test_taken_back_where_a_function_is_missing(pg, logins):
    s = prepared(pg, migrate=[])
    s.sql("DROP FUNCTION postern_note_opened; " + WIDE)
    s.tool("migrate", "--grant", "server", check=False)
    assert held(s, "server").keys() <= wanted(RIGHTS).keys()
    assert held(s, "stranger") == wanted(EVERYONE)


def test_migrated_without_grant(make):
    """As with a program that knew no such rights: it can go on, and functions
    are for nobody else."""
    s = make()
    app = s.register()
    s.sql("GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO PUBLIC;"
          "REVOKE ALL ON FUNCTION postern_merge_patch(jsonb, jsonb) FROM server;"
          "REVOKE ALL ON FUNCTION postern_merge_patches(jsonb[], jsonb[])"
          " FROM server")
    s.tool("migrate")
    assert patched(s, app) == 200
    assert held(s, "server") == wanted(RIGHTS)


@pytest.mark.parametrize("role", ["owner", "other_owner"])
def test_one_role_for_all(pg, logins, role):
    """The owner that is granted the server's rights keeps his own."""
    s = prepared(pg, "GRANT ALL ON SCHEMA public TO other_owner")
    for args in (["--grant", role], ["--grant", role]):
        s.tool("migrate", *args, env={
            "POSTERN_DATABASE_URL": s.pg.url(s.database, role)})
    assert rows(s, "INSERT INTO invites (token_hash, uses_max) VALUES ('x', 1)"
                " RETURNING uses", user=role) == [(0,)]
    assert rows(s, "UPDATE invites SET uses = 1 RETURNING uses",
                user=role) == [(1,)]
    assert rows(s, "UPDATE invites SET uses = 0 RETURNING uses",
                user=role) == [(0,)]


@pytest.mark.parametrize("role", ["public", "PUBLIC", "nobody", "server; --"])
def test_no_such_role(pg, role):
    s = prepared(pg, migrate=[])
    before = held(s, "server")
    r = s.tool("migrate", "--grant", role, check=False)
    assert r.returncode == 1 and "does not exist" in r.stderr
    assert held(s, "server") == before


# -- functions of ours in others' hands

def trail(s):
    return rows(s, "SELECT * FROM app_events ORDER BY id")


def trigger_functions(s):
    return [n for n, in rows(s, "SELECT proname FROM pg_proc WHERE"
                             " pronamespace = 'public'::regnamespace AND"
                             " prorettype = 'trigger'::regtype ORDER BY 1")]


def columns(s):
    """Those of apps, as of a table of one's own."""
    return ", ".join(f"{n} {t}" for n, t in rows(
        s, "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute"
        " WHERE attrelid = 'apps'::regclass AND attnum > 0"
        " AND NOT attisdropped"))


# They run with their owner's rights.
DEFINERS = {"postern_apps_audit", "postern_invites_audit",
            "postern_own_keys"}
PLACES = {
    "temporary": "CREATE TEMP TABLE apps ({0})",
    "temporary, other name": "CREATE TEMP TABLE mine ({0})",
    "other schema": "CREATE SCHEMA {1}; CREATE TABLE {1}.apps ({0})",
    "beside ours": "CREATE TABLE public.{1} ({0})",
}


@pytest.mark.parametrize("login,place", [
    (login, place) for login in LOGINS for place in PLACES
    if place != "beside ours" or login in ("maker", "member")])
def test_own_table(site, login, place):
    """Nobody attaches one to a table of his own; one that was attached when it
    still could be writes nothing."""
    if place == "other schema":
        site.sql(f"GRANT CREATE ON DATABASE {site.database} TO {login}")
    own = f"of_{login}_{secrets.token_hex(4)}"
    table = {"temporary": "pg_temp.apps", "temporary, other name":
             "pg_temp.mine", "other schema": f"{own}.apps",
             "beside ours": f"public.{own}"}[place]
    before = trail(site)
    with contextlib.closing(site.pg.connect(site.database, login)) as c:
        cur = c.cursor()
        cur.execute(PLACES[place].format(columns(site), own))
        cur.execute("SET postern.actor = 'admin'")
        for f in trigger_functions(site):
            cur.execute(f"INSERT INTO {table} (id, name) VALUES (1, 'x')")
            attach = (f"CREATE TRIGGER t BEFORE INSERT OR UPDATE OR DELETE ON"
                      f" {table} FOR EACH ROW EXECUTE FUNCTION public.{f}()")
            with pytest.raises(InsufficientPrivilege):
                cur.execute(attach)
            site.sql(f"GRANT EXECUTE ON FUNCTION {f}() TO {login}")
            cur.execute(attach)
            site.sql(f"REVOKE ALL ON FUNCTION {f}() FROM {login}")
            for text in (f"INSERT INTO {table} (id, public_key, name) VALUES"
                         f" (1, '{site.public}', 'x')",
                         f"UPDATE {table} SET name = 'y'",
                         f"DELETE FROM {table}"):
                if f in DEFINERS:
                    with pytest.raises(InsufficientPrivilege):
                        cur.execute(text)
                else:  # with one's own rights alone
                    with contextlib.suppress(psycopg2.Error):
                        cur.execute(text)
            cur.execute(f"DROP TRIGGER t ON {table}")
    assert trail(site) == before


def test_definers(site):
    assert {n for n, in rows(site, "SELECT proname FROM pg_proc WHERE prosecdef"
                             " AND pronamespace = 'public'::regnamespace"
                             )} == DEFINERS | {"postern_note_opened"}


def test_called_as_it_is(site):
    for login in LOGINS:
        for f in trigger_functions(site):
            with pytest.raises(psycopg2.Error):
                rows(site, f"SELECT public.{f}()", user=login)


SHADOWS = """
CREATE TABLE public.seen (who text, who_else text);
GRANT ALL ON public.seen TO PUBLIC;
CREATE FUNCTION public.evil(text, name) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO public.seen VALUES (current_user, 'operator');
    RETURN 'forged';
END $$;
CREATE OPERATOR public.|| (LEFTARG = text, RIGHTARG = name,
    FUNCTION = public.evil);
CREATE FUNCTION public.pg_notify(text, text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO public.seen VALUES (current_user, 'pg_notify');
END $$;
CREATE FUNCTION public.pg_has_role(oid, text) RETURNS boolean LANGUAGE plpgsql
    AS $$
BEGIN
    INSERT INTO public.seen VALUES (current_user, 'pg_has_role');
    RETURN true;
END $$;
"""


def test_names_that_others_made(pg, logins):
    """Operators and functions that fit better, or are found earlier, aren't
    used: not with the owner's rights, and not to hush things up."""
    with Stack(pg, way="idle") as s:
        s.sql("GRANT CREATE ON SCHEMA public TO maker")
        s.sql("INSERT INTO apps (name, public_key, encrypted_secret_key)"
              " VALUES ('a', 'k', 'x')")
        with contextlib.closing(pg.connect(s.database, "maker")) as c:
            c.cursor().execute(SHADOWS)
        hears = pg.connect(s.database)
        hears.cursor().execute("LISTEN postern_apps")
        with contextlib.closing(pg.connect(s.database, "member")) as c:
            cur = c.cursor()
            cur.execute("SET search_path = public, pg_catalog")
            cur.execute("UPDATE apps SET name = 'b'")
            with pytest.raises(InsufficientPrivilege):
                cur.execute("UPDATE apps SET public_key = 'l'")
        assert select.select([hears], [], [], 30)[0]
        hears.poll()
        assert [n.payload for n in hears.notifies] == ["k"]
        hears.close()
        assert rows(s, "SELECT * FROM seen") == []
        assert rows(s, "SELECT event, actor FROM app_events ORDER BY id")[1:] \
            == [("renamed", "db:member")]


def test_a_schema_by_another_name(pg, logins):
    """The trail goes with its table."""
    with Stack(pg, way="idle") as s:
        s.sql("ALTER SCHEMA public RENAME TO elsewhere")
        s.sql("INSERT INTO elsewhere.apps (name, public_key,"
              " encrypted_secret_key) VALUES ('a', 'k', 'x')")
        assert rows(s, "SELECT event FROM elsewhere.app_events") == [
            ("created",)]


FIT = """
CREATE TABLE public.seen (who text);
GRANT ALL ON public.seen TO PUBLIC;
CREATE FUNCTION public.fit(text, bigint) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO public.seen VALUES (current_user);
    RETURN pg_catalog.concat($1, $2);
END $$;
CREATE OPERATOR public.|| (LEFTARG = text, RIGHTARG = bigint,
    FUNCTION = public.fit);
"""


def test_who_else_makes_things(pg, logins):
    """In the server's own statements such names are used: check says so."""
    def creators():
        r = s.tool("check", env={"POSTERN_DATABASE_URL": pg.url(s.database)})
        line, = re.findall(r"^\w+ +creators .*(?:\n +.*)*", r.stdout, re.M)
        return " ".join(line.split())

    with Stack(pg, way="idle") as s:
        assert creators().startswith("ok ")
        s.sql("GRANT CREATE ON SCHEMA public TO owner, PUBLIC, maker")
        with contextlib.closing(pg.connect(s.database, "maker")) as c:
            c.cursor().execute(FIT)
        rows(s, "SELECT 'a'::text || 1::bigint", user="server")
        assert rows(s, "SELECT * FROM seen") == [("server",)]
        said = creators()
        assert not said.startswith(("ok", "FAIL"))
        mend = re.findall(r"REVOKE CREATE ON SCHEMA public FROM \w+;", said)
        assert len(mend) == 2
        for text in mend:
            s.sql(text)
        assert creators().startswith("ok ")


# -- what is granted, and yet not

REFUSED = [
    # invites
    "UPDATE invites SET uses = uses - 1",
    "UPDATE invites SET uses = 0",
    "UPDATE invites SET uses = uses + 2 WHERE token_hash = 'good'",
    "UPDATE invites SET uses = uses + 1 WHERE token_hash = 'over'",
    "UPDATE invites SET uses = uses + 1 WHERE token_hash = 'revoked'",
    "UPDATE invites SET uses_max = 1000000",
    "UPDATE invites SET revoked_at = NULL",
    "UPDATE invites SET revoked_at = now()",
    "UPDATE invites SET expires_at = NULL",
    "UPDATE invites SET token_hash = 'mine'",
    "INSERT INTO invites (token_hash, uses_max) VALUES ('mine', 1)",
    "DELETE FROM invites", "TRUNCATE invites", "SELECT label FROM invites",
    # when secrets were used
    "UPDATE app_uses SET last_used_at = '2020-01-01'",
    "UPDATE app_uses SET last_used_at = NULL",
    "UPDATE app_uses SET previous_last_used_at = '2020-01-01'",
    "UPDATE app_uses SET previous_last_used_at = NULL",
    "UPDATE app_uses SET app_id = {other}", "DELETE FROM app_uses",
    "INSERT INTO own_keys (thumbprint, app_id) VALUES ('x', {app})",
    "DELETE FROM own_keys", "UPDATE own_keys SET app_id = {app}",
    "SELECT thumbprint FROM own_keys",
    "INSERT INTO app_uses (app_id, last_used_at) VALUES ({app}, '2020-01-01')"
    " ON CONFLICT (app_id) DO UPDATE SET last_used_at = excluded.last_used_at",
    # tokens that were used
    "DELETE FROM used_jtis WHERE jti_hash = 'new'", "DELETE FROM used_jtis",
    "UPDATE used_jtis SET expires_at = '2020-01-01'",
    "UPDATE used_jtis SET expires_at = '2099-01-01'",
    "UPDATE used_jtis SET jti_hash = 'x'", "TRUNCATE used_jtis",
    # documents
    "UPDATE users SET information = '{{}}'",
    "UPDATE users SET information = '{{}}', version = version",
    "UPDATE users SET version = 1", "UPDATE users SET version = version - 1",
    "UPDATE users SET version = version + 2, updated_at = now()",
    "UPDATE users SET version = version + 1, updated_at = '2020-01-01'",
    "UPDATE users SET version = version + 1",
    "UPDATE users SET app_id = {other}", "UPDATE users SET user_id = 'v'",
    "UPDATE users SET created_at = now()", "TRUNCATE users",
    "INSERT INTO users (app_id, user_id, information, version)"
    " VALUES ({app}, 'w', '{{}}', 9)",
    # apps: who it is
    "UPDATE apps SET public_key = 'mine' WHERE id = {app}",
    "UPDATE apps SET public_key = md5('x') || md5('y') WHERE id = {app}",
    "UPDATE apps SET public_key = 'deleted-{app}' WHERE id = {app}",
    "UPDATE apps SET id = 999 WHERE id = {app}",
    "UPDATE apps SET created_at = now() WHERE id = {app}",
    "UPDATE apps SET keys_as_found = true WHERE id = {app}",
    "INSERT INTO apps (id, name, public_key, encrypted_secret_key)"
    " VALUES (999, 'x', 'x', 'x')",
    "INSERT INTO apps (name, public_key, encrypted_secret_key, keys_as_found)"
    " VALUES ('x', 'x', 'x', true)",
    "INSERT INTO apps (name, public_key, encrypted_secret_key, created_at)"
    " VALUES ('x', 'x', 'x', '2020-01-01')",
    "INSERT INTO apps (name, public_key, encrypted_secret_key)"
    " VALUES ('x', 'deleted-{app}', 'x')",
    # apps: what is over, and when it was
    "UPDATE apps SET deleted_at = NULL WHERE id = {deleted}",
    "UPDATE apps SET name = 'x' WHERE id = {deleted}",
    "UPDATE apps SET public_key = md5('x') || md5('y') WHERE id = {deleted}",
    "UPDATE apps SET encrypted_secret_key = 'x' WHERE id = {deleted}",
    "UPDATE apps SET deleted_at = now() WHERE id = {app}",
    "UPDATE apps SET deleted_at = '2020-01-01', public_key = 'deleted-{app}'"
    " WHERE id = {app}",
    "UPDATE apps SET deleted_at = now(), public_key = 'deleted-{other}'"
    " WHERE id = {app}",
    "UPDATE apps SET updated_at = '2020-01-01' WHERE id = {app}",
    "UPDATE apps SET rotated_at = '2020-01-01' WHERE id = {app}",
    "UPDATE apps SET rotated_at = '2099-01-01' WHERE id = {app}",
    "UPDATE apps SET disabled_at = '2020-01-01' WHERE id = {app}",
    "UPDATE apps SET disabled_at = '2099-01-01' WHERE id = {app}",
    "UPDATE apps SET previous_encrypted_secret_key = 'x',"
    " previous_valid_until = '2099-01-01' WHERE id = {app}",
    "TRUNCATE apps CASCADE",
    # the trail, the schema
    "INSERT INTO app_events (app_id, public_key, event, actor)"
    " VALUES (1, 'x', 'created', 'admin')",
    "UPDATE app_events SET actor = 'admin'", "DELETE FROM app_events",
    "TRUNCATE app_events", "SELECT nextval('app_events_id_seq')",
    "SELECT setval('apps_id_seq', 1)", "SELECT nextval('invites_id_seq')",
    "INSERT INTO postern_migrations (version, name) VALUES (99, 'x')",
    "DELETE FROM postern_migrations",
    "UPDATE postern_migrations SET serves_from = 99",
    "ALTER TABLE apps DISABLE TRIGGER ALL",
    "ALTER TABLE apps DISABLE TRIGGER postern_apps_guard",
    "SET session_replication_role = replica",
    "DROP TRIGGER postern_apps_audit ON apps",
    "CREATE TRIGGER t BEFORE UPDATE ON apps FOR EACH ROW EXECUTE FUNCTION"
    " suppress_redundant_updates_trigger()",
    "CREATE RULE r AS ON UPDATE TO apps DO INSTEAD NOTHING",
    "ALTER FUNCTION postern_guard() RESET search_path",
]


def tried(site, login, text):
    """The error, or how many rows; whatever goes through is taken back."""
    if site.connections.get(login) is None:
        site.connections[login] = site.pg.connect(site.database, login)
        site.connections[login].autocommit = False
    c = site.connections[login]
    try:
        cur = c.cursor()
        cur.execute(text.format(**site.ids))
        return cur.rowcount
    except psycopg2.Error as e:
        return type(e)
    finally:
        c.rollback()


@pytest.mark.parametrize("login", LOGINS)
def test_refused(site, login):
    got = {text: tried(site, login, text) for text in REFUSED}
    assert {k: v for k, v in got.items() if v != InsufficientPrivilege} == {}


ALLOWED = [
    "UPDATE invites SET uses = uses + 1 WHERE token_hash = 'good'",
    "UPDATE app_uses SET last_used_at = now(), previous_last_used_at = now()",
    "UPDATE app_uses SET last_used_at = last_used_at",
    "DELETE FROM used_jtis WHERE jti_hash = 'old'",
    "SELECT FROM used_jtis FOR UPDATE SKIP LOCKED",
    "UPDATE users SET information = '{{}}', version = version + 1,"
    " updated_at = now()",
    "UPDATE apps SET name = 'x', updated_at = now() WHERE id = {app}",
    "UPDATE apps SET name = 'x' WHERE id = {app}",
    "UPDATE apps SET disabled_at = now() WHERE id = {app}",
    "UPDATE apps SET disabled_at = NULL WHERE id = {app}",
    "UPDATE apps SET expires_at = now() + interval '1 day' WHERE id = {app}",
    "UPDATE apps SET previous_encrypted_secret_key = encrypted_secret_key,"
    " encrypted_secret_key = 'x', previous_valid_until = now(), rotated_at ="
    " now(), updated_at = now() WHERE id = {app}",
    "UPDATE apps SET previous_encrypted_secret_key = NULL,"
    " previous_valid_until = NULL WHERE id = {app}",
    "UPDATE apps SET deleted_at = now(), public_key = 'deleted-' || id"
    " WHERE id = {app}",
    "DELETE FROM apps WHERE id = {deleted}",
]


def test_allowed(site):
    """What the triggers are not about; and the owner does as he likes."""
    got = {text: tried(site, "server", text) for text in ALLOWED}
    assert {k: v for k, v in got.items() if v not in (1, 2, 3)} == {}
    own = {tried(site, "owner", text) for text in REFUSED
           if text.startswith("UPDATE") and "app_events" not in text}
    assert InsufficientPrivilege not in own and 1 in own


# -- a secret of one's own under another's key

GOLIAUTH = """CREATE TABLE apps (id serial PRIMARY KEY, name varchar(255),
public_key varchar(64), encrypted_secret_key varchar(255),
created_at timestamp, updated_at timestamp)"""
INSERT = ("INSERT INTO apps (name, public_key, encrypted_secret_key, created_at,"
          " updated_at) VALUES ('g', %s, %s, now(), now())")


class Victims:
    """goliauth's database, brought over. For each name two apps: the first
    one's key is what an attack is after, with the second one's secret."""

    def __init__(self, pg, names):
        self.keys, self.pg = Keys(), pg
        self.db = Database.__new__(Database)
        self.db.pg, self.db.name = pg, pg.database(migrate=False)
        self.db.secrets, self.db.previous = {}, {}
        self.db.sql(GOLIAUTH)
        self.pairs = {name: (self.insert(), self.insert()) for name in names}
        self.sealed = {k: r[0] for k, r in self.db.sql(
            "SELECT public_key, ARRAY[encrypted_secret_key] FROM apps")}
        pg.migrate(self.db.name)
        self.tool = Tool(self.db, self.keys.settings("k"))

    def insert(self):
        public, raw = secrets.token_hex(32), secrets.token_bytes(32)
        self.db.secrets[public] = raw
        self.db.sql(INSERT, public, gcm_seal(self.keys["k"], raw))
        return public

    def attack(self, login):
        for name, (victim, mine) in self.pairs.items():
            with contextlib.closing(self.pg.connect(self.db.name, login)) as c:
                with contextlib.suppress(InsufficientPrivilege):
                    c.cursor().execute(ATTACKS[name].format(
                        victim=victim, mine=mine, free=secrets.token_hex(32),
                        sealed=self.sealed[mine]))

    def reseal(self, rc):
        """What became of goliauth's secrets."""
        return self.tool.json("reseal", rc=rc)["by"]["goliauth"]

    def bound_to(self, public):
        """The secrets in its row that open there."""
        current, key_id, previous, previous_id, *_ = self.db.rows()[public]
        return [gcm_open(self.keys["k"], text, bound(self.keys["k"], public))
                for text, under in ((current, key_id), (previous, previous_id))
                if under]


ATTACKS = {
    "swapped": "UPDATE apps AS a SET encrypted_secret_key ="
    " b.encrypted_secret_key FROM apps AS b WHERE a.public_key = '{victim}'"
    " AND b.public_key = '{mine}'",
    "moved and inserted": "UPDATE apps SET public_key = '{free}'"
    " WHERE public_key = '{victim}'; INSERT INTO apps (name, public_key,"
    " encrypted_secret_key) VALUES ('g', '{victim}', '{sealed}')",
    "moved twice": "UPDATE apps SET public_key = '{free}'"
    " WHERE public_key = '{victim}'; UPDATE apps SET public_key = '{victim}'"
    " WHERE public_key = '{mine}'",
    "deleted and inserted": "DELETE FROM apps WHERE public_key = '{victim}';"
    " INSERT INTO apps (name, public_key, encrypted_secret_key)"
    " VALUES ('g', '{victim}', '{sealed}')",
    "marked deleted and inserted": "UPDATE apps SET deleted_at = now(),"
    " public_key = 'deleted-' || id WHERE public_key = '{victim}';"
    " INSERT INTO apps (name, public_key, encrypted_secret_key)"
    " VALUES ('g', '{victim}', '{sealed}')",
    "as the previous one": "UPDATE apps SET previous_encrypted_secret_key ="
    " '{sealed}', previous_valid_until = now() + interval '1 day',"
    " rotated_at = now() WHERE public_key = '{victim}'",
    "swapped and said to be resealed": "SET postern.event = 'resealed';"
    " UPDATE apps SET encrypted_secret_key = '{sealed}'"
    " WHERE public_key = '{victim}'",
    "swapped in steps": "UPDATE apps SET encrypted_secret_key = 'x',"
    " master_key_id = 'x' WHERE public_key = '{victim}';"
    " UPDATE apps SET encrypted_secret_key = '{sealed}', master_key_id = NULL"
    " WHERE public_key = '{victim}'",
}


@pytest.mark.parametrize("login", ["server", "owner"])
def test_reseal_binds_no_other_secret(pg, logins, login):
    """Refused, or known afterwards for what it is."""
    v = Victims(pg, ATTACKS)
    v.attack(login)
    v.reseal(1)
    for name, (victim, _) in v.pairs.items():
        kept = login == "server" and name.startswith("moved")
        assert v.bound_to(victim) == [v.db.secrets[victim]] * kept, name


def test_each_attack_gets_there(pg, logins):
    """Where the operator trusts whatever is there."""
    v = Victims(pg, ATTACKS)
    v.attack("owner")
    v.tool.env["POSTERN_GOLIAUTH_ROWS"] = "accept"
    v.reseal(0)
    for name, (victim, mine) in v.pairs.items():
        assert v.db.secrets[mine] in v.bound_to(victim), name


BEFORE = """
DROP TRIGGER postern_apps_guard ON apps;
ALTER TABLE apps DROP COLUMN keys_as_found;
DELETE FROM postern_migrations WHERE version >= 14;
"""


def test_attacks_before_this_schema(pg, logins):
    """What was done while the trail alone could tell it."""
    v = Victims(pg, [*ATTACKS])
    fine = v.insert()  # late, and so none of those
    v.db.sql("UPDATE apps SET name = 'Another'")
    v.db.sql(BEFORE)
    v.attack("owner")
    pg.migrate(v.db.name)
    v.reseal(1)
    for name, (victim, _) in v.pairs.items():
        assert v.bound_to(victim) == [], name
    assert v.bound_to(fine) == []


HARMLESS = [
    "UPDATE apps SET name = 'Another'", "UPDATE apps SET updated_at = now()",
    "UPDATE apps SET disabled_at = now()", "UPDATE apps SET disabled_at = NULL",
    "UPDATE apps SET expires_at = now() + interval '1 day'",
    "ALTER TABLE apps ADD COLUMN later int; UPDATE apps SET later = 1",
    "UPDATE apps SET public_key = public_key, encrypted_secret_key ="
    " encrypted_secret_key",
]


def test_other_changes_are_none(pg, logins):
    """And what came later, also from goliauth itself, is for the operator to
    accept."""
    v = Victims(pg, ["x"])
    for text in HARMLESS:
        v.db.sql(text)
    late = v.insert()
    assert v.reseal(1) == {"resealed": 2, "altered": 1}
    assert late in v.tool.err and "POSTERN_GOLIAUTH_ROWS" in v.tool.err
    for public in v.pairs["x"]:
        assert v.bound_to(public) == [v.db.secrets[public]]
    v.tool.env["POSTERN_GOLIAUTH_ROWS"] = "accept"
    assert v.reseal(0) == {"resealed": 1}
    assert v.bound_to(late) == [v.db.secrets[late]]


def test_told_under_both_keys(pg, logins):
    v = Victims(pg, ["x"])
    free, victim = secrets.token_hex(32), v.pairs["x"][0]
    v.db.sql("UPDATE apps SET public_key = %s WHERE public_key = %s", free,
             victim)
    assert sorted(v.db.sql("SELECT public_key, event FROM app_events")) == \
        sorted([(free, "changed"), (victim, "changed")])

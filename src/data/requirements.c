/*
 * What a request needs of the database, and of the role that asks: one table of
 * what may be wrong, and the two statements that find it. They lock nothing and
 * read catalogs; the second looks at the end of three indexes.
 */
#include "data/requirements.h"

#include "data/rights.h"

#include <string.h>

const struct fact requirements_table[FACTS] = {
	{ "read_only", "writable", "yes", "it can't be written to: %s", true },
	{ "schema_missing", "schema", NULL, "it has no tables of ours: %s",
	    true },
	{ "schema_unreadable", "schema", NULL,
	    "the role may not read which one it is: %s", true },
	{ "schema_outdated", "schema", NULL,
	    "it is older than this program needs: run 'postern migrate'",
	    true },
	{ "schema_newer", "schema", NULL,
	    "newer programs alone may serve it: install that one, and restart",
	    true },
	{ "triggers_off", "triggers", "there, and enabled",
	    "changes may not be told, not written to the trail, or not be "
	    "held to their rules: %s",
	    true },
	{ "wrong_encoding", "encoding", "UTF8",
	    "it can't hold every name and document: %s", false },
	{ "tables_elsewhere", "tables", "found, in one schema",
	    "not all of ours are found: %s", false },
	{ "missing_privileges", "privileges", "all that requests need",
	    "the server's role may not do what requests need: %s", false },
	{ "row_security", "row security", "hides nothing",
	    "it hides rows of the server's role that no policy shows: as the "
	    "owner, %s",
	    false },
	{ "functions_lost", "functions", "found, and find the tables",
	    "not all of ours work: %s", false },
	{ "keys_missing", "unique keys", "there", "as the owner, run: %s",
	    false },
	{ "sequences_behind", "sequences", "not behind their tables",
	    "behind their tables; as the owner, run: %s", false },
	{ "unproved", "requests", NULL,
	    "whether they can be served can't be found out: %s", false },
};

const struct fact *
requirements_find(const char *state)
{
	size_t i;

	for (i = 0; i < FACTS; i++)
		if (strcmp(requirements_table[i].state, state) == 0)
			return &requirements_table[i];
	return NULL;
}

void
requirements_add(struct buf *out, const struct fact *f, const char *what)
{
	size_t n = strcspn(f->fault, "%");

	buf_add(out, f->fault, n);
	if (f->fault[n] != '\0')
		buf_adds(out, what);
}

/* clang-format off */
/* Who it is about, where our tables are, and what of it is found. */
#define GIVEN \
	"WITH me AS (SELECT coalesce(nullif(current_setting('postern.role'," \
	" true), ''), current_user)::name AS role)," \
	" home AS (SELECT c.relnamespace AS ns, n.nspname" \
	" FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace" \
	" WHERE c.oid = to_regclass('postern_migrations'))," \
	" needs AS (SELECT n.*, c.oid AS rel FROM (VALUES " RIGHTS ")" \
	" AS n (name, privilege, columns) LEFT JOIN (home JOIN pg_class AS c" \
	" ON c.relnamespace = ns) ON c.oid = to_regclass(name))," \
	" functions AS (SELECT signature, to_regprocedure(signature) AS proc" \
	" FROM (VALUES " RIGHTS_FUNCTIONS ") AS f (signature, requests)" \
	" WHERE requests)"

/* A setting that a role or a database carries: what takes it away. */
#define RESET(setting) \
	"(SELECT CASE source WHEN 'database' THEN format(" \
	"'ALTER DATABASE %I RESET " setting "', current_database())" \
	" WHEN 'user' THEN format('ALTER ROLE %I RESET " setting "'," \
	" session_user) WHEN 'database user' THEN format('ALTER ROLE %I IN" \
	" DATABASE %I RESET " setting "', session_user, current_database())" \
	" WHEN 'client' THEN 'take " setting " out of POSTERN_DATABASE_URL" \
	" and PGOPTIONS' ELSE 'ALTER SYSTEM RESET " setting "; SELECT" \
	" pg_reload_conf()' END FROM pg_settings WHERE name = '" setting "')"

#define READ_ONLY \
	"SELECT 'read_only' AS state, CASE WHEN pg_is_in_recovery()" \
	" THEN 'it is a standby: name the primary in POSTERN_DATABASE_URL'" \
	" ELSE " RESET("default_transaction_read_only") " END AS what" \
	" WHERE pg_is_in_recovery()" \
	" OR current_setting('transaction_read_only')::bool"

/* Without USAGE on it a schema is not even looked into. */
#define MISSING \
	"SELECT 'schema_missing', coalesce((SELECT CASE" \
	" WHEN NOT has_schema_privilege(role, n.oid, 'USAGE')" \
	" THEN format('as its owner, GRANT USAGE ON SCHEMA %I TO %I'," \
	" n.nspname, role) ELSE format('they are in another schema:" \
	" ALTER ROLE %I SET search_path = %I', role, n.nspname) END" \
	" FROM me, pg_class AS c JOIN pg_namespace AS n" \
	" ON n.oid = c.relnamespace WHERE c.relname = 'postern_migrations'" \
	" LIMIT 1), 'run ''postern migrate --grant ROLE'' as the" \
	" database''s owner') WHERE NOT EXISTS (SELECT FROM home)"

#define UNREADABLE \
	"SELECT 'schema_unreadable', format('GRANT SELECT ON" \
	" postern_migrations TO %I', role) FROM me, home" \
	" WHERE NOT has_any_column_privilege(role, to_regclass(" \
	"'postern_migrations'), 'SELECT')"

#define TRIGGERS \
	"SELECT 'triggers_off', " RESET("session_replication_role") \
	" WHERE current_setting('session_replication_role') = 'replica'" \
	" UNION ALL SELECT 'triggers_off', string_agg(format(" \
	"'ALTER TABLE %I.%I ENABLE %sTRIGGER %I', nspname, relname," \
	" CASE WHEN starts_with(tgname, 'postern_apps_notify')" \
	" THEN 'ALWAYS ' END, tgname), '; ')" \
	" FROM home JOIN pg_class AS c ON c.relnamespace = ns" \
	" JOIN pg_trigger AS t ON tgrelid = c.oid" \
	" AND starts_with(tgname, 'postern_')" \
	" WHERE tgenabled NOT IN ('O', 'A') HAVING count(*) > 0" \
	" UNION ALL SELECT 'triggers_off', string_agg(format('%s has no" \
	" trigger %s, take it from a dump', w.rel, w.name), '; ')" \
	" FROM home JOIN pg_class AS c ON c.relnamespace = ns" \
	" JOIN (VALUES " REQUIREMENTS_TRIGGERS ") AS w (rel, name)" \
	" ON w.rel = c.relname WHERE NOT EXISTS (SELECT FROM pg_trigger" \
	" WHERE tgrelid = c.oid AND tgname = w.name) HAVING count(*) > 0"

#define ENCODING \
	"SELECT 'wrong_encoding', format('its encoding is %s: make another" \
	" with createdb -T template0 -E UTF8, and restore a dump there'," \
	" current_setting('server_encoding'))" \
	" WHERE current_setting('server_encoding') <> 'UTF8'"

#define ELSEWHERE \
	"SELECT 'tables_elsewhere', string_agg(DISTINCT CASE WHEN c.oid IS" \
	" NULL THEN format('%s is not there', needs.name) ELSE format(" \
	"'%s is in schema %I, not in %I', needs.name," \
	" c.relnamespace::regnamespace, home.nspname) END, ', ')" \
	" FROM home, needs LEFT JOIN pg_class AS c" \
	" ON c.oid = to_regclass(needs.name)" \
	" WHERE rel IS NULL HAVING count(*) > 0"

/* Column by column, for it may be given in either way. */
#define LACKS \
	"lacks AS (SELECT DISTINCT privilege, name FROM me, needs," \
	" pg_attribute AS a WHERE a.attrelid = rel AND a.attnum > 0" \
	" AND NOT a.attisdropped AND (columns IS NULL" \
	" OR a.attname = ANY (columns)) AND NOT CASE privilege" \
	" WHEN 'DELETE' THEN has_table_privilege(role, rel, privilege)" \
	" ELSE has_column_privilege(role, rel, a.attnum, privilege) END" \
	" UNION ALL SELECT DISTINCT 'USAGE', q.oid::regclass::text" \
	" FROM me, needs, " RIGHTS_DRAWN " AND privilege = 'INSERT'" \
	" AND NOT has_sequence_privilege(role, q.oid, 'USAGE')" \
	" UNION ALL SELECT 'EXECUTE', signature FROM me, functions" \
	" WHERE NOT has_function_privilege(role, proc, 'EXECUTE'))"

#define PRIVILEGES \
	"SELECT 'missing_privileges', format('%s lacks %s: as the owner, run" \
	" ''postern migrate --grant %s''', role, list, role) FROM me," \
	" (SELECT string_agg(privilege || ' on ' || name, ', ')" \
	" FROM lacks) AS l (list) WHERE list IS NOT NULL"

#define ROW_SECURITY \
	"SELECT 'row_security', string_agg(DISTINCT format(" \
	"'ALTER TABLE %s.%I DISABLE ROW LEVEL SECURITY'," \
	" c.relnamespace::regnamespace, relname), '; ')" \
	" FROM me JOIN pg_roles AS r ON r.rolname = role" \
	" CROSS JOIN needs JOIN pg_class AS c ON c.oid = rel" \
	" WHERE c.relrowsecurity AND NOT r.rolsuper AND NOT r.rolbypassrls" \
	" AND (c.relforcerowsecurity" \
	" OR NOT pg_has_role(role, c.relowner, 'USAGE'))" \
	" AND NOT EXISTS (SELECT FROM pg_policy AS p WHERE p.polrelid = rel" \
	" AND p.polpermissive AND p.polcmd IN ('*', CASE privilege" \
	" WHEN 'SELECT' THEN 'r' WHEN 'INSERT' THEN 'a'" \
	" WHEN 'UPDATE' THEN 'w' ELSE 'd' END)" \
	" AND EXISTS (SELECT FROM unnest(p.polroles) AS o WHERE o = 0" \
	" OR pg_has_role(role, o, 'USAGE'))) HAVING count(*) > 0"

/* One that was made for another schema's name looks in vain for tables; what
 * the trail's triggers do, they do with their owner's rights. */
#define FUNCTIONS \
	"SELECT 'functions_lost', string_agg(format('%s is not there, take it" \
	" from a dump', signature), ', ') FROM home, functions" \
	" WHERE proc IS NULL HAVING count(*) > 0" \
	" UNION ALL SELECT 'functions_lost', 'as the owner, run: ' ||" \
	" string_agg(format('ALTER FUNCTION %I.%I(%s) SET search_path = %I," \
	" pg_temp', nspname, proname, pg_get_function_identity_arguments(" \
	"p.oid), nspname), '; ') FROM home JOIN pg_proc AS p" \
	" ON pronamespace = ns AND starts_with(proname, 'postern_')," \
	" unnest(proconfig) AS s (setting), substr(setting, 13) AS v (path)" \
	" WHERE starts_with(setting, 'search_path=')" \
	" AND path NOT IN ('pg_catalog', 'pg_catalog, pg_temp')" \
	" AND strpos(', ' || path || ',', ', ' || quote_ident(nspname) || ',')" \
	" = 0 HAVING count(*) > 0" \
	" UNION ALL SELECT 'functions_lost', string_agg(format('ALTER FUNCTION" \
	" %s OWNER TO %I', p.oid::regprocedure, c.relowner::regrole), '; ')" \
	" FROM home JOIN pg_proc AS p ON pronamespace = ns AND prosecdef" \
	" AND starts_with(proname, 'postern_') AND prorettype =" \
	" 'pg_catalog.trigger'::regtype JOIN pg_class AS c" \
	" ON c.oid = to_regclass('app_events')" \
	" WHERE NOT has_table_privilege(proowner, c.oid, 'INSERT')" \
	" HAVING count(*) > 0"

/* By which rows are found, and a second one of a kind is none. */
#define KEYS \
	"SELECT 'keys_missing', string_agg(format(" \
	"'CREATE UNIQUE INDEX ON %s (%s)', w.name," \
	" array_to_string(w.columns, ', ')), '; ')" \
	" FROM (VALUES ('apps', '{id}'::name[]), ('apps', '{public_key}')," \
	" ('users', '{app_id,user_id}'), ('app_uses', '{app_id}')," \
	" ('used_jtis', '{app_id,jti_hash}'), ('invites', '{token_hash}')," \
	" ('own_keys', '{thumbprint}'))" \
	" AS w (name, columns) WHERE EXISTS (SELECT FROM needs" \
	" WHERE needs.name = w.name AND rel IS NOT NULL)" \
	" AND NOT EXISTS (SELECT FROM pg_index AS i" \
	" WHERE i.indrelid = to_regclass(w.name) AND i.indisunique" \
	" AND i.indisvalid AND i.indisready AND i.indpred IS NULL" \
	" AND i.indimmediate AND (SELECT array_agg(a.attname)" \
	" FROM pg_attribute AS a WHERE a.attrelid = i.indrelid" \
	" AND a.attnum = ANY (i.indkey)) @> w.columns" \
	" AND i.indnkeyatts = cardinality(w.columns))" \
	" HAVING count(*) > 0"

#define AND " UNION ALL "
const struct db_stmt requirements_setup = { "facts", GIVEN ", " LACKS " "
	READ_ONLY AND MISSING AND UNREADABLE AND TRIGGERS AND ENCODING AND
	ELSEWHERE AND PRIVILEGES AND ROW_SECURITY AND FUNCTIONS AND KEYS, 0 };

/* As after a restore or logical replication; of those that may be looked at.
 * Whether a sequence gave the number away that it is at is in its row alone,
 * and ts_stat, which every server has, reads a row whose table no statement can
 * name. Without the right to, one that gave none away yet is not judged. */
const struct db_stmt requirements_numbers = { "requirements_numbers",
	"SELECT 'sequences_behind', string_agg(format('SELECT setval(%L,"
	" (SELECT max(id) FROM %s));', seq, name), ' ')"
	" FROM (SELECT 'apps', max(id) FROM apps"
	" UNION ALL SELECT 'app_events', max(id) FROM app_events"
	" UNION ALL SELECT 'invites', max(id) FROM invites)"
	" AS t (name, newest),"
	" pg_get_serial_sequence(name, 'id') AS own (seq), LATERAL (SELECT"
	" CASE WHEN has_sequence_privilege(seq, 'SELECT')"
	" THEN (SELECT word::bigint FROM ts_stat(format('SELECT"
	" array_to_tsvector(ARRAY[(last_value - (NOT is_called)::int)::text])"
	" FROM %s', seq)))"
	" WHEN has_sequence_privilege(seq, 'USAGE')"
	" THEN pg_sequence_last_value(seq) END) AS l (given)"
	" WHERE given < newest HAVING count(*) > 0", 0 };
/* clang-format on */

/*
 * The rights of the server's role: what its statements need, and no more (of
 * two sequences it is looked at whether they are behind their tables). Where
 * a right says too much, a trigger says the rest (sql/014_rights.sql).
 */
#include "data/rights.h"

#include "data/sql.h"

#define OWN_SCHEMA                                                             \
	"(SELECT oid FROM pg_namespace WHERE nspname = current_schema())"

/* The ones that are called by name; one that is not there is null. */
#define NEEDED                                                                 \
	"coalesce(p.oid IN (SELECT to_regprocedure(signature) FROM"            \
	" (VALUES " RIGHTS_FUNCTIONS ") AS f (signature, requests)), false)"

static const struct db_stmt functions = { "rights_functions",
	"WITH ours AS (SELECT p.oid, " NEEDED " AS needed, p.proowner,"
	" coalesce(p.proacl, acldefault('f', p.proowner)) AS acl"
	" FROM pg_proc AS p WHERE p.pronamespace = " OWN_SCHEMA
	" AND starts_with(p.proname::text, 'postern_')"
	" AND pg_has_role(p.proowner, 'USAGE')),"
	" writers AS (SELECT DISTINCT g.grantee FROM pg_class AS c"
	" JOIN pg_attribute AS a ON a.attrelid = c.oid"
	" CROSS JOIN LATERAL (SELECT * FROM aclexplode(c.relacl)"
	" UNION ALL SELECT * FROM aclexplode(a.attacl)) AS g"
	" WHERE c.oid = to_regclass('users')"
	" AND g.privilege_type = 'UPDATE' AND g.grantee <> 0)"
	" SELECT string_agg(s, ' ') FROM (SELECT format("
	"'REVOKE ALL ON FUNCTION %s FROM %s;', o.oid::regprocedure,"
	" CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE g.grantee::regrole::text"
	" END) FROM ours AS o, aclexplode(o.acl) AS g"
	" WHERE g.grantee <> o.proowner AND (NOT needed"
	" OR g.grantee NOT IN (SELECT * FROM writers))"
	" UNION ALL SELECT format('GRANT EXECUTE ON FUNCTION %s TO %s;',"
	" o.oid::regprocedure, w.grantee::regrole)"
	" FROM ours AS o, writers AS w WHERE o.needed AND NOT EXISTS (SELECT"
	" FROM aclexplode(o.acl) AS g WHERE g.grantee = w.grantee)) AS t (s)",
	0 };

/* What is taken and given back in one transaction is never missed. */
#define ROLE                                                                   \
	"r AS (SELECT oid, quote_ident(rolname) AS name FROM pg_roles"         \
	" WHERE rolname = $1::text)"
/* A table, and whether rows are added to it. */
#define TABLES                                                                 \
	"t AS (SELECT c.oid, c.relowner, n.rights, n.grows,"                   \
	" format('%I.%I', current_schema(), c.relname) AS name"                \
	" FROM (SELECT name, string_agg(privilege || coalesce("                \
	"' (' || array_to_string(columns, ', ') || ')', ''), ', ') AS rights," \
	" bool_or(privilege = 'INSERT') AS grows FROM (VALUES " RIGHTS ")"     \
	" AS v (name, privilege, columns) GROUP BY name) AS n"                 \
	" JOIN pg_class AS c ON c.relname = n.name"                            \
	" AND c.relnamespace = " OWN_SCHEMA ")"

static const struct db_stmt tables = { "rights_tables",
	"WITH " ROLE ", " TABLES
	" SELECT concat(format('GRANT USAGE ON SCHEMA %I TO %s; ',"
	" current_schema(), r.name), (SELECT string_agg("
	"format('REVOKE ALL ON TABLE %s FROM PUBLIC%s; ', t.name,"
	" CASE WHEN t.relowner <> r.oid THEN ', ' || r.name END)"
	" || CASE WHEN t.rights <> '' THEN format('GRANT %s ON TABLE %s TO %s; "
	"',"
	" t.rights, t.name, r.name) ELSE '' END, '') FROM t)) FROM r",
	1 };

static const struct db_stmt sequences = { "rights_sequences",
	"WITH " ROLE ", " TABLES
	", s AS (SELECT DISTINCT q.relowner, q.oid::regclass::text AS name"
	" FROM t JOIN pg_depend AS d ON d.refobjid = t.oid"
	" AND d.refclassid = 'pg_class'::regclass"
	" AND d.classid = d.refclassid AND d.deptype IN ('a', 'i')"
	" JOIN pg_class AS q ON q.oid = d.objid AND q.relkind = 'S')"
	" SELECT concat((SELECT string_agg("
	"format('REVOKE ALL ON SEQUENCE %s FROM PUBLIC%s; ', s.name,"
	" CASE WHEN s.relowner <> r.oid THEN ', ' || r.name END),"
	" '') FROM s), (SELECT string_agg(format('GRANT USAGE ON SEQUENCE"
	" %s TO %s; ', q.oid::regclass, r.name), '')"
	" FROM (SELECT oid FROM t WHERE grows) AS n (rel), " RIGHTS_DRAWN "),"
	" (SELECT string_agg(format('GRANT SELECT ON SEQUENCE %s TO %s; ',"
	" seq, r.name), '') FROM (VALUES ('apps'), ('app_events'))"
	" AS n (name), pg_get_serial_sequence(name, 'id') AS own (seq)"
	" WHERE seq IS NOT NULL)) FROM r",
	1 };

static const struct db_stmt calls = { "rights_calls",
	"WITH " ROLE
	" SELECT string_agg(format('GRANT EXECUTE ON FUNCTION %s TO %s; ',"
	" p.oid::regprocedure, r.name), '') FROM r, pg_proc AS p"
	" WHERE " NEEDED " AND p.pronamespace = " OWN_SCHEMA,
	1 };

static const struct db_stmt creators = { "rights_creators",
	"SELECT string_agg(format("
	"'REVOKE CREATE ON SCHEMA %I FROM %s;', n.nspname,"
	" CASE g.grantee WHEN 0 THEN 'PUBLIC'"
	" ELSE g.grantee::regrole::text END), ' ')"
	" FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace"
	" CROSS JOIN LATERAL aclexplode(n.nspacl) AS g"
	" WHERE c.oid = to_regclass('postern_migrations')"
	" AND g.privilege_type = 'CREATE'"
	" AND g.grantee NOT IN (n.nspowner, c.relowner) AND NOT EXISTS ("
	"SELECT FROM pg_roles AS r WHERE r.oid = g.grantee AND r.rolsuper)",
	0 };

static enum status
ask(struct db *db, const struct db_stmt *stmt, const char *const *params,
    struct buf *sql)
{
	struct db_result *res = NULL;
	enum status st;

	st = sql_query_row(db, stmt, params, ST_NOT_FOUND, &res);
	if (st == ST_OK)
		buf_adds(sql, db_text(res, 0, 0));
	db_result_free(res);
	return st;
}

enum status
rights_functions(struct db *db, struct buf *sql)
{
	return ask(db, &functions, NULL, sql);
}

enum status
rights_server(struct db *db, const char *role, struct buf *sql)
{
	enum status st = ask(db, &tables, &role, sql);

	if (st == ST_OK)
		st = ask(db, &sequences, &role, sql);
	if (st == ST_OK)
		st = ask(db, &calls, &role, sql);
	return st;
}

enum status
rights_creators(struct db *db, struct buf *sql)
{
	return ask(db, &creators, NULL, sql);
}

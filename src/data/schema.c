/*
 * Migrations: forward only, each in one transaction under an advisory lock, so
 * that two tools at once apply each of them once.
 */
#include "data/schema.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Any constant will do, as long as it is ours. */
#define LOCK "SELECT pg_advisory_xact_lock(7306085901294862)"

enum { LOCK_TIMEOUT_MS = 60000, MIGRATION_TIMEOUT_MS = 0 };

int
schema_required(void)
{
	const struct migration *m;
	int version = 0;

	for (m = schema_migrations; m->version != 0; m++)
		version = m->version;
	return version;
}

enum status
schema_version(struct db *db, int *version)
{
	static const struct db_stmt there = { "schema_there",
		"SELECT to_regclass('postern_migrations') IS NOT NULL", 0 };
	static const struct db_stmt newest = { "schema_newest",
		"SELECT coalesce(max(version), 0) FROM postern_migrations", 0 };
	struct db_result *res = NULL;
	enum status st;

	st = db_query(db, &there, NULL, &res);
	if (st != ST_OK)
		return st;
	if (db_text(res, 0, 0)[0] != 't') {
		*version = 0;
		goto out;
	}
	db_result_free(res);
	res = NULL;
	st = db_query(db, &newest, NULL, &res);
	if (st == ST_OK)
		*version = atoi(db_text(res, 0, 0));
out:
	db_result_free(res);
	return st;
}

enum status
schema_ready(struct db *db)
{
	static const struct db_stmt ready = { "schema_ready",
		"SELECT coalesce(max(version), 0), pg_is_in_recovery()"
		" OR current_setting('transaction_read_only')::bool"
		" FROM postern_migrations",
		0 };
	struct db_result *res = NULL;
	enum status st;

	st = db_query(db, &ready, NULL, &res);
	if (st == ST_OK && (atoi(db_text(res, 0, 0)) < schema_required() ||
			       db_text(res, 0, 1)[0] != 'f'))
		st = ST_UNAVAILABLE;
	db_result_free(res);
	return st;
}

/* search_path is pinned to where the tables are: functions take it over, and
 * no temporary table can come before them. */
static enum status
begin_migration(struct db *db)
{
	static const char sql[] =
	    "BEGIN; SET LOCAL statement_timeout = 0; "
	    "SET LOCAL lock_timeout = 0; "
	    "SELECT set_config('search_path', "
	    "quote_ident(current_schema()) || ', pg_temp', true); " LOCK "; "
	    "CREATE TABLE IF NOT EXISTS postern_migrations ("
	    "version int PRIMARY KEY, name text NOT NULL, "
	    "applied_at timestamptz NOT NULL DEFAULT now())";

	return db_script(db, sql, LOCK_TIMEOUT_MS);
}

static enum status
record(struct db *db, const struct migration *m)
{
	static const struct db_stmt insert = { "schema_record",
		"INSERT INTO postern_migrations (version, name)"
		" VALUES ($1::int, $2)",
		2 };
	char version[16];
	const char *params[] = { version, m->name };
	struct db_result *res = NULL;
	enum status st;

	snprintf(version, sizeof version, "%d", m->version);
	st = db_query(db, &insert, params, &res);
	db_result_free(res);
	return st;
}

/* Apply m unless another tool was first; *applied tells. */
static enum status
apply(struct db *db, const struct migration *m, bool *applied)
{
	enum status st;
	int version;

	*applied = false;
	st = begin_migration(db);
	if (st == ST_OK)
		st = schema_version(db, &version);
	if (st == ST_OK && version < m->version) {
		*applied = true;
		st = db_script(db, m->sql, MIGRATION_TIMEOUT_MS);
		if (st == ST_OK)
			st = record(db, m);
	}
	if (st == ST_OK)
		st = db_commit(db);
	if (st != ST_OK)
		db_rollback(db);
	return st;
}

/* What the server needs, and no more: it can't change the schema, nor the
 * audit trail, nor make an invite or prolong one. */
static enum status
grant(struct db *db, const char *role)
{
	static const struct db_stmt make = { "schema_grant",
		"SELECT format('GRANT USAGE ON SCHEMA %I TO %I;"
		" GRANT SELECT, INSERT, UPDATE, DELETE"
		" ON apps, users, used_jtis TO %I;"
		" GRANT SELECT, INSERT, UPDATE ON app_uses TO %I;"
		" GRANT SELECT (id, token_hash, uses, uses_max, expires_at,"
		" revoked_at), UPDATE (uses) ON invites TO %I;"
		" GRANT USAGE ON SEQUENCE %s TO %I;"
		" GRANT SELECT ON app_events, postern_migrations TO %I;',"
		" current_schema(), $1::text, $1, $1, $1,"
		" pg_get_serial_sequence('apps', 'id'), $1, $1)",
		1 };
	struct db_result *res = NULL;
	enum status st;

	st = db_query(db, &make, &role, &res);
	if (st == ST_OK)
		st = db_script(db, db_text(res, 0, 0), LOCK_TIMEOUT_MS);
	db_result_free(res);
	return st;
}

enum status
schema_migrate(struct db *db, const char *role,
    void (*done)(const struct migration *), struct buf *err)
{
	const struct migration *m;
	enum status st;
	int version;
	bool applied;

	st = schema_version(db, &version);
	for (m = schema_migrations; st == ST_OK && m->version != 0; m++) {
		if (m->version <= version)
			continue;
		st = apply(db, m, &applied);
		if (st == ST_OK && applied && done != NULL)
			done(m);
		if (st != ST_OK)
			buf_addf(err, "%s: ", m->name);
	}
	if (st == ST_OK && role != NULL)
		st = grant(db, role);
	if (st != ST_OK)
		buf_adds(err, db_error(db));
	return st;
}

/*
 * Migrations: forward only, each in one transaction under an advisory lock, so
 * that two tools at once apply each of them once.
 */
#include "data/schema.h"

#include "base/clock.h"
#include "data/requirements_look.h"
#include "data/profile.h"
#include "data/rights.h"

#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>

/* Any constant will do, as long as it is ours. */
#define LOCK "7306085901294862"

/* A lock is waited for so long that autovacuum makes way (deadlock_timeout, a
 * second), and the server's own wait behind it is not over (profile.c). */
enum { LOCK_MS = 1200, BEGIN_MS = 5000, CONNECT_MS = 10000 };
enum { PAUSE_MIN_MS = 500, PAUSE_MAX_MS = 2000 };

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
schema_look(struct db *db, struct schema_state *state)
{
	static const struct db_stmt there = { "schema_there",
		"SELECT to_regclass('postern_migrations') IS NOT NULL", 0 };
	static const struct db_stmt newest = { "schema_newest",
		"SELECT " PROFILE_SCHEMA " FROM postern_migrations AS m", 0 };
	struct db_result *res = NULL;
	enum status st;

	st = db_query(db, &there, NULL, &res);
	if (st != ST_OK)
		return st;
	if (db_text(res, 0, 0)[0] != 't') {
		*state = (struct schema_state){ 0 };
		goto out;
	}
	db_result_free(res);
	res = NULL;
	st = db_query(db, &newest, NULL, &res);
	if (st == ST_OK)
		*state = (struct schema_state){ atoi(db_text(res, 0, 0)),
			atoi(db_text(res, 0, 1)), true };
out:
	db_result_free(res);
	return st;
}

/* What is done in a transaction of its own. */
struct job {
	const char *name;
	const char *sql;
	int version; /* not if the schema has it already; 0 = in any case */
	bool done;
};

/*
 * search_path is pinned to where the tables are: functions take it over, and no
 * temporary table can come before them. A lock is waited for for as long as the
 * requests behind it can bear.
 */
static enum status
begin(struct db *db)
{
	struct buf sql = { 0 };
	enum status st;

	buf_addf(&sql,
	    "BEGIN; SET LOCAL statement_timeout = 0; "
	    "SET LOCAL lock_timeout = %d; "
	    "SELECT set_config('search_path', "
	    "quote_ident(current_schema()) || ', pg_temp', true); "
	    "SELECT pg_advisory_xact_lock(" LOCK "); "
	    "CREATE TABLE IF NOT EXISTS postern_migrations ("
	    "version int PRIMARY KEY, name text NOT NULL, "
	    "applied_at timestamptz NOT NULL DEFAULT now())",
	    LOCK_MS);
	st = db_attempt(db, buf_str(&sql), BEGIN_MS);
	buf_free(&sql);
	return st;
}

static enum status
try_once(struct db *db, struct job *job)
{
	struct schema_state now = { 0 };
	enum status st;

	if (!db_wait(db, CONNECT_MS))
		return ST_UNAVAILABLE;
	st = begin(db);
	if (st == ST_OK && job->version > 0)
		st = schema_look(db, &now);
	job->done = job->version == 0 || now.version < job->version;
	if (st == ST_OK && job->done)
		st = db_attempt(db, job->sql, 0);
	if (st == ST_OK)
		st = db_commit(db);
	if (st != ST_OK)
		db_rollback(db);
	return st;
}

/* Who has locks on our tables, or our own: in words, the longest first. What
 * others do is not for every role to see. */
static void
add_holder(struct db *db, struct buf *out)
{
	static const struct db_stmt holder = { "schema_holder",
		"SELECT CASE WHEN l.pid IS NULL"
		" THEN 'a prepared transaction (pg_prepared_xacts)'"
		" ELSE format('process %s (%s), ', l.pid, concat_ws(', ',"
		" nullif(a.application_name, ''), a.usename))"
		" || coalesce('since ' || a.xact_start,"
		" 'since when its owner may see')"
		" || format(', on %s', CASE l.locktype WHEN 'advisory'"
		" THEN 'another migrate' ELSE l.relation::regclass::text END)"
		" END FROM pg_locks AS l"
		" LEFT JOIN pg_stat_activity AS a ON a.pid = l.pid"
		" WHERE l.granted AND l.pid IS DISTINCT FROM pg_backend_pid()"
		" AND l.database = (SELECT oid FROM pg_database"
		" WHERE datname = current_database())"
		" AND (l.relation IN (SELECT to_regclass(t) FROM unnest("
		"ARRAY['apps', 'app_uses', 'users', 'invites', 'used_jtis',"
		" 'app_events', 'postern_migrations']) AS t)"
		" OR (l.locktype = 'advisory' AND l.objsubid = 1"
		" AND (l.classid::bigint << 32) + l.objid::bigint = " LOCK "))"
		" ORDER BY a.xact_start NULLS LAST LIMIT 1",
		0 };
	struct db_result *res = NULL;

	if (db_wait(db, CONNECT_MS) &&
	    db_query(db, &holder, NULL, &res) == ST_OK && db_rows(res) > 0)
		buf_adds(out, db_text(res, 0, 0));
	else
		buf_adds(out, "one that has gone meanwhile");
	db_result_free(res);
}

/* Try until it is done, or patience is over. */
static enum status
insist(struct db *db, const struct schema_order *order, struct job *job,
    struct buf *err)
{
	int64_t end = clock_mono_us() + order->patience_s * 1000000;
	int64_t pause_ms = PAUSE_MIN_MS;
	struct buf who = { 0 };
	enum status st;

	while ((st = try_once(db, job)) == ST_LOCKED) {
		buf_reset(&who);
		add_holder(db, &who);
		if (clock_mono_us() >= end)
			break;
		if (order->waits != NULL)
			order->waits(job->name, buf_str(&who));
		(void)poll(NULL, 0, (int)pause_ms);
		pause_ms = MIN(2 * pause_ms, PAUSE_MAX_MS);
	}
	if (st == ST_LOCKED)
		buf_addf(err,
		    "%s: held up by %s; let that end, or "
		    "SELECT pg_terminate_backend of it, and run it "
		    "again",
		    job->name, buf_str(&who));
	else if (st != ST_OK)
		buf_addf(err, "%s: %s", job->name, db_error(db));
	buf_free(&who);
	return st;
}

/* Apply m unless another tool was first. A table of migrations that is older
 * has no column serves_from: then it is left out. Programs that run look at
 * once whether they may serve on. */
static enum status
apply(struct db *db, const struct schema_order *order,
    const struct migration *m, struct buf *err)
{
	struct job job = { .name = m->name, .version = m->version };
	struct buf sql = { 0 };
	enum status st;

	buf_adds(&sql, m->sql);
	buf_addf(&sql,
	    ";INSERT INTO postern_migrations SELECT r.* FROM"
	    " jsonb_populate_record(NULL::postern_migrations,"
	    " jsonb_build_object('version', %d, 'name', '%s', 'applied_at',"
	    " now(), 'serves_from', nullif(%d, 0))) AS r;"
	    "NOTIFY postern_apps, 'schema'",
	    m->version, m->name, m->serves_from);
	job.sql = buf_str(&sql);
	st = insist(db, order, &job, err);
	if (st == ST_OK && job.done && order->applied != NULL)
		order->applied(m);
	buf_free(&sql);
	return st;
}

/* Who may do what: of our functions always, of the server's role if there is
 * one in the order. */
static enum status
grant(struct db *db, const struct schema_order *order, struct buf *err)
{
	struct job job = { .name = order->role != NULL ? "grant" : "rights" };
	struct buf sql = { 0 };
	enum status st;

	st = rights_functions(db, &sql);
	if (st == ST_OK && order->role != NULL)
		st = rights_server(db, order->role, &sql);
	if (sql.len > 0)
		buf_adds(&sql, "NOTIFY postern_apps, 'schema'");
	job.sql = buf_str(&sql);
	if (st == ST_NOT_FOUND)
		buf_addf(err, "grant: role \"%s\" does not exist", order->role);
	else if (st != ST_OK)
		buf_addf(err, "%s: %s", job.name, db_error(db));
	else if (sql.len > 0)
		st = insist(db, order, &job, err);
	buf_free(&sql);
	return st;
}

static void
note_encoding(void *arg, const struct fact *f, const char *what)
{
	if (strcmp(f->state, "wrong_encoding") == 0)
		requirements_add(arg, f, what);
}

/* Of one that can't hold every name nothing is made. */
static enum status
look_ahead(struct db *db, struct schema_state *now, struct buf *err)
{
	enum status st;

	st = requirements_look(db, NULL, note_encoding, err);
	if (st == ST_OK && err->len > 0)
		return ST_INVALID;
	if (st == ST_OK)
		st = schema_look(db, now);
	if (st != ST_OK)
		buf_adds(err, db_error(db));
	return st;
}

enum status
schema_migrate(struct db *db, const struct schema_order *order, struct buf *err)
{
	struct schema_state now = { 0 };
	const struct migration *m;
	enum status st;

	st = look_ahead(db, &now, err);
	for (m = schema_migrations; st == ST_OK && m->version != 0; m++)
		if (m->version > now.version)
			st = apply(db, order, m, err);
	if (st == ST_OK)
		st = grant(db, order, err);
	return st;
}

/*
 * Questions to the database: prepared statements, transactions, and what an
 * answer's SQLSTATE means. Whatever is not the caller's fault is
 * ST_UNAVAILABLE, and a link that failed once is not asked again.
 */
#include "data/db.h"

#include "base/clock.h"
#include "base/crypto.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "data/fate.h"
#include "data/link.h"
#include "data/phases.h"
#include "data/refusals.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

enum { PREPARED_MAX = 64 };
enum { CANCEL_PATIENCE_MS = 500, CLASH_PAUSE_MS = 20 };

struct db {
	struct link *link;
	int64_t query_timeout_ms;
	enum fate fate;                /* of the last question */
	bool denied;                   /* it was no right of the role's */
	const struct db_stmt *suspect; /* that waited in vain for a lock */
	struct refusals refusals;
	const struct db_stmt *prepared[PREPARED_MAX];
	size_t nprepared;
	bool stale;       /* they are to be forgotten, by the server too */
	uint64_t session; /* in which they are */
	uint64_t begun; /* in which a transaction was begun, plus 1; 0 = none */
	struct db_cause cause;
};

struct db_result {
	struct pg_result *res;
};

struct db *
db_new(const char *conninfo, int64_t query_timeout_ms, int min_schema)
{
	const struct profile profile = { .conninfo = conninfo,
		.query_timeout_ms = query_timeout_ms,
		.min_schema = min_schema };
	struct db *db = mem_alloc(sizeof *db);

	db->query_timeout_ms = query_timeout_ms;
	db->link = link_new(&profile, phases_table);
	return db;
}

void
db_free(struct db *db)
{
	if (db == NULL)
		return;
	link_free(db->link);
	free(db);
}

void
db_listen(struct db *db, const struct db_listener *listener)
{
	link_listen(db->link, listener);
}

int
db_fd(const struct db *db)
{
	return db->link->fd;
}

uint32_t
db_events(const struct db *db)
{
	return link_events(db->link);
}

int64_t
db_wake_us(const struct db *db)
{
	return link_due_us(db->link);
}

uint64_t
db_generation(const struct db *db)
{
	return db->link->generation;
}

void
db_set_cause(struct db *db, const struct db_cause *cause)
{
	db->cause = *cause;
}

void
db_step(struct db *db)
{
	link_step(db->link);
}

bool
db_wait(struct db *db, int64_t timeout_ms)
{
	return link_wait(db->link, timeout_ms);
}

bool
db_is_up(const struct db *db)
{
	return link_is_up(db->link);
}

bool
db_hears(const struct db *db)
{
	return link_hears(db->link);
}

int64_t
db_answered_us(const struct db *db)
{
	return db->link->answered_us;
}

bool
db_tells_timeline(const struct db *db)
{
	return db->link->setup.timeline.number > 0;
}

const char *
db_state(const struct db *db)
{
	return db->link->state;
}

bool
db_in_vain(const struct db *db)
{
	return link_in_vain(db->link);
}

const char *
db_unready(struct db *db)
{
	const struct fact *f;

	(void)link_ready(db->link);
	if (!link_is_up(db->link))
		return db->link->state;
	f = db->link->setup.unready;
	return f != NULL ? f->state : NULL;
}

bool
db_denied(const struct db *db)
{
	return db->denied;
}

const char *
db_error(const struct db *db)
{
	return buf_str(&db->link->error);
}

static const char committing[] = "commit", attempted[] = "attempt";

/* Ended for the sake of a lock: a wait, a time-out or a deadlock. */
static bool
is_locked(enum fate fate)
{
	return fate == FATE_ENDED || fate == FATE_LOCKED || fate == FATE_RETRY;
}

/* The server's answer to status. */
static enum status
judge(struct db *db, const struct pg_result *res)
{
	enum status st;

	if (link_unreplicated(db->link)) {
		refusals_add_commits(&db->refusals);
		return ST_UNAVAILABLE;
	}
	if (wire_is_rows(res) || wire_is_command(res))
		return ST_OK;
	st = fate_of(res, &db->fate);
	db->denied = strcmp(wire_sqlstate(res), "42501") == 0;
	link_set_error(db->link, wire_message(res));
	if (db->link->asked == attempted && is_locked(db->fate))
		return ST_LOCKED;
	if (st == ST_UNAVAILABLE)
		link_log(db->link, LOG_LVL_ERROR, "query_failed",
		    wire_sqlstate(res));
	if (db->fate == FATE_LOSE)
		link_end(db->link, END_FAILED, wire_message(res));
	if (db->fate == FATE_DOUBT)
		link_doubt(db->link);
	if (db->fate == FATE_STALE)
		db->stale = true;
	return st;
}

/* Nothing came in time. Of what the server does, its own time-outs have ended
 * all but a commit: that may wait for a standby. */
static void
give_up(struct db *db, bool commits)
{
	if (!commits) {
		link_end(db->link, END_STALLED, "a query timed out");
		return;
	}
	refusals_add_commits(&db->refusals);
	link_cancel(db->link);
	(void)link_wait(db->link, CANCEL_PATIENCE_MS);
}

/* Ask, and judge the answer: ST_OK with *res. */
static enum status
ask(struct db *db, const struct wire_query *q, int64_t timeout_ms,
    const char *name, struct pg_result **res)
{
	bool commits = wire_idle(db->link->wire) || name == committing;
	int64_t until =
	    timeout_ms > 0 ? clock_mono_us() + timeout_ms * 1000 : INT64_MAX;
	struct pg_result *got;
	enum wire_turn turn;
	enum status st;

	db->fate = FATE_ALONE;
	if (!link_send(db->link, q, name))
		return ST_UNAVAILABLE;
	turn = wire_collect(db->link->wire, until, &got);
	if (turn == WIRE_LATE)
		give_up(db, commits);
	else if (turn != WIRE_DONE)
		link_fail(db->link);
	if (turn != WIRE_DONE)
		return ST_UNAVAILABLE;
	link_answered(db->link);
	st = judge(db, got);
	if (st == ST_OK)
		*res = got;
	else
		wire_clear(got);
	return st;
}

static enum status
script(struct db *db, const char *sql, int64_t timeout_ms, const char *name)
{
	struct pg_result *res = NULL;
	enum status st;

	st =
	    ask(db, &(struct wire_query){ .sql = sql }, timeout_ms, name, &res);
	wire_clear(res);
	return st;
}

/* What was prepared in another session, or is no good, is forgotten. */
static enum status
forget(struct db *db)
{
	enum status st = ST_OK;

	if (db->session == db->link->session && !db->stale)
		return ST_OK;
	if (db->session == db->link->session)
		st = script(
		    db, "DEALLOCATE ALL", db->query_timeout_ms, "deallocate");
	if (st == ST_OK) {
		db->session = db->link->session;
		db->nprepared = 0;
		db->stale = false;
	}
	return st;
}

static enum status
prepare(struct db *db, const struct db_stmt *stmt)
{
	const struct wire_query q = {
		.name = stmt->name, .sql = stmt->sql, .nparams = stmt->nparams
	};
	struct pg_result *res = NULL;
	enum status st = forget(db);
	size_t i;

	for (i = 0; st == ST_OK && i < db->nprepared; i++)
		if (db->prepared[i] == stmt)
			return ST_OK;
	if (st != ST_OK)
		return st;
	if (db->nprepared == PREPARED_MAX)
		abort(); /* more statements than the program has */
	st = ask(db, &q, db->query_timeout_ms, stmt->name, &res);
	wire_clear(res);
	if (st == ST_OK)
		db->prepared[db->nprepared++] = stmt;
	return st;
}

/* Can a question be asked? What is left of a transaction whose session is lost
 * is none. */
static bool
askable(struct db *db)
{
	bool lost = db->begun != 0 && db->begun != db->link->session + 1;

	/* Which may have to make another. */
	return !lost && link_ready(db->link) &&
	       (db->begun == 0 || db->begun == db->link->session + 1);
}

static bool refused(struct db *db, const struct db_stmt *stmt);

static enum status
query_once(struct db *db, const struct db_stmt *stmt, const char *const *params,
    struct pg_result **res)
{
	const struct wire_query q = {
		.name = stmt->name, .nparams = stmt->nparams, .params = params
	};
	enum status st;

	db->fate = FATE_ALONE;
	if (!askable(db) || refused(db, stmt))
		return ST_UNAVAILABLE;
	st = prepare(db, stmt);
	if (st != ST_OK)
		return st;
	metrics_add(METRIC_DB_QUERIES, 1);
	return ask(db, &q, db->query_timeout_ms, stmt->name, res);
}

/* Who has a whole table of a statement's, or waits for it. What refers to an
 * app needs that table too. */
static const struct db_stmt table_locks = { "table_locks",
	"SELECT 1 FROM pg_locks AS l JOIN pg_class AS c ON c.oid = l.relation"
	" WHERE l.locktype = 'relation' AND l.database = (SELECT oid"
	" FROM pg_database WHERE datname = current_database())"
	" AND l.mode IN ('ShareLock', 'ShareRowExclusiveLock',"
	" 'ExclusiveLock', 'AccessExclusiveLock')"
	" AND l.pid IS DISTINCT FROM pg_backend_pid()"
	" AND (strpos($1, ' ' || c.relname) > 0 OR (c.relname = 'apps'"
	" AND $1 ~ 'INTO (users|used_jtis|app_uses)')) LIMIT 1",
	1 };

/* If so, it is refused for a while. */
static bool
is_table_locked(struct db *db, const struct db_stmt *stmt)
{
	struct pg_result *res = NULL;
	enum status st;
	int rows;

	st = query_once(db, &table_locks, &stmt->sql, &res);
	rows = st == ST_OK ? wire_rows(res) : 0;
	wire_clear(res);
	if (rows > 0)
		refusals_add(&db->refusals, stmt);
	return rows > 0;
}

/* What waited in vain: was it for one row, or for all? Not within a
 * transaction, which has failed. */
static void
examine(struct db *db)
{
	const struct db_stmt *stmt = db->suspect;

	if (stmt == NULL || !link_is_up(db->link) || !wire_idle(db->link->wire))
		return;
	db->suspect = NULL;
	(void)is_table_locked(db, stmt);
}

/* Is it refused at once? While commits hang what would be one; and what a
 * table's lock keeps out, for it would keep out the next one too. */
static bool
refused(struct db *db, const struct db_stmt *stmt)
{
	const struct refusals *r = &db->refusals;

	if (refusals_has(r, stmt))
		return true;
	if (refusals_are_wary(r) && stmt != &table_locks &&
	    is_table_locked(db, stmt))
		return true;
	return refusals_has_commits(r) && wire_idle(db->link->wire) &&
	       refusals_is_write(stmt);
}

/* Was it another's doing, and is there time for another try? After a pause, for
 * two that clash would clash again. */
static bool
again(const struct db *db, int64_t until_us)
{
	uint32_t r;

	if ((db->fate != FATE_RETRY && db->fate != FATE_STALE) ||
	    clock_mono_us() >= until_us)
		return false;
	crypto_random(&r, sizeof r);
	(void)poll(NULL, 0, (int)(r % CLASH_PAUSE_MS));
	return true;
}

/* Half the time for new tries: each may take the server's whole. */
static int64_t
retry_until(const struct db *db)
{
	return clock_mono_us() + db->query_timeout_ms * 500;
}

enum status
db_query(struct db *db, const struct db_stmt *stmt, const char *const *params,
    struct db_result **out)
{
	int64_t until = retry_until(db);
	struct pg_result *res;
	enum status st;

	do
		st = query_once(db, stmt, params, &res);
	while (st != ST_OK && db->begun == 0 && again(db, until));
	if (st != ST_OK && db->fate == FATE_LOCKED) {
		db->suspect = stmt;
		examine(db);
	}
	if (st != ST_OK)
		return st;
	/* Not within a transaction: what it hangs on may come later. */
	if (wire_idle(db->link->wire))
		retry_settle(&db->link->retry);
	*out = mem_alloc(sizeof **out);
	(*out)->res = res;
	return ST_OK;
}

enum status
db_script(struct db *db, const char *sql, int64_t timeout_ms)
{
	if (!askable(db))
		return ST_UNAVAILABLE;
	return script(db, sql, timeout_ms, "script");
}

enum status
db_attempt(struct db *db, const char *sql, int64_t timeout_ms)
{
	if (!askable(db))
		return ST_UNAVAILABLE;
	return script(db, sql, timeout_ms, attempted);
}

enum status
db_begin(struct db *db, const char *actor)
{
	static const struct db_stmt set_actor = { "set_actor",
		"SELECT set_config('postern.actor', $1, true),"
		" set_config('postern.request_id', $2, true),"
		" set_config('postern.remote', $3, true)",
		3 };
	const char *params[] = { actor, db->cause.request_id,
		db->cause.remote };
	struct db_result *res = NULL;
	enum status st;

	db->fate = FATE_ALONE;
	if (refusals_has_commits(&db->refusals) || !askable(db))
		return ST_UNAVAILABLE;
	st = script(db, "BEGIN", db->query_timeout_ms, "begin");
	if (st != ST_OK)
		return st;
	db->begun = db->link->session + 1;
	st = db_query(db, &set_actor, params, &res);
	db_result_free(res);
	if (st != ST_OK)
		db_rollback(db);
	return st;
}

/* A COMMIT of a failed transaction answers ROLLBACK, and is no error; nor is
 * one of none. */
enum status
db_commit(struct db *db)
{
	struct pg_result *res = NULL;
	enum status st;

	if (!askable(db) || wire_idle(db->link->wire))
		return ST_UNAVAILABLE;
	db->begun = 0;
	st = ask(db, &(struct wire_query){ .sql = "COMMIT" },
	    db->query_timeout_ms, committing, &res);
	if (st == ST_OK && strcmp(wire_tag(res), "COMMIT") != 0)
		st = ST_UNAVAILABLE;
	if (st == ST_OK)
		retry_settle(&db->link->retry);
	else if (db->fate == FATE_LOCKED)
		refusals_add_commits(&db->refusals); /* another one's hangs */
	wire_clear(res);
	return st;
}

/* What has failed is still what has failed. */
void
db_rollback(struct db *db)
{
	enum fate fate = db->fate;

	if (askable(db) && !wire_idle(db->link->wire))
		(void)!script(db, "ROLLBACK", db->query_timeout_ms, "rollback");
	db->begun = 0;
	db->fate = fate;
}

enum status
db_transact(struct db *db, const char *actor,
    enum status (*body)(struct db *db, void *arg), void *arg)
{
	int64_t until = retry_until(db);
	enum status st;

	do {
		st = db_begin(db, actor);
		if (st != ST_OK)
			continue;
		st = body(db, arg);
		if (st == ST_OK)
			st = db_commit(db);
		if (st != ST_OK)
			db_rollback(db);
	} while (st != ST_OK && again(db, until));
	return st;
}

int
db_rows(const struct db_result *res)
{
	return wire_rows(res->res);
}

const char *
db_text(const struct db_result *res, int row, int col)
{
	return wire_text(res->res, row, col);
}

size_t
db_len(const struct db_result *res, int row, int col)
{
	return wire_len(res->res, row, col);
}

bool
db_null(const struct db_result *res, int row, int col)
{
	return wire_null(res->res, row, col);
}

void
db_result_free(struct db_result *res)
{
	if (res == NULL)
		return;
	wire_clear(res->res);
	free(res);
}

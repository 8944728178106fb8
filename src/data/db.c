/*
 * Questions to the database: prepared statements, transactions, and what an
 * answer's SQLSTATE means. Whatever is not the caller's fault is
 * ST_UNAVAILABLE, and a link that failed once is not asked again.
 */
#include "data/db.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "data/link.h"

#include <stdlib.h>
#include <string.h>

enum { PREPARED_MAX = 64 };

struct db {
	struct link *link;
	int64_t query_timeout_ms;
	const struct db_stmt *prepared[PREPARED_MAX];
	size_t nprepared;
	uint64_t session; /* in which they are */
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
	db->link = link_new(&profile);
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
	return db->link->due_us;
}

uint64_t
db_generation(const struct db *db)
{
	return db->link->generation;
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

const char *
db_state(const struct db *db)
{
	return db->link->state;
}

const char *
db_error(const struct db *db)
{
	return buf_str(&db->link->error);
}

static const char committing[] = "commit", attempted[] = "attempt";

/* Ended for the sake of a lock: a wait, a time-out or a deadlock. */
static bool
is_locked(const char *code)
{
	return strcmp(code, "55P03") == 0 || strcmp(code, "57014") == 0 ||
	       strcmp(code, "40P01") == 0;
}

/* SQLSTATE (PostgreSQL's appendix A) to status. */
static enum status
judge(struct db *db, const struct pg_result *res, const char *what)
{
	const char *code;

	if (wire_unreplicated(db->link->wire)) {
		log_error("commit_not_replicated", LOG_S("statement", what));
		return ST_UNAVAILABLE;
	}
	if (wire_is_rows(res) || wire_is_command(res))
		return ST_OK;
	code = wire_sqlstate(res);
	link_set_error(db->link, wire_message(res));
	if (strcmp(code, "23505") == 0)
		return ST_CONFLICT;
	if (strcmp(code, "23503") == 0)
		return ST_NOT_FOUND; /* the app went meanwhile */
	if (strncmp(code, "22", 2) == 0 || strncmp(code, "54", 2) == 0)
		return ST_INVALID;
	if (what == attempted && is_locked(code))
		return ST_LOCKED;
	log_error("query_failed", LOG_S("statement", what),
	    LOG_S("sqlstate", code), LOG_S("error", buf_str(&db->link->error)));
	/* A query that the server ended, or its wait for a lock, took longer
	 * than ours may. Only commits wait for each other when a standby is
	 * away: queries do well. Without a code it is libpq's own error: no
	 * memory for an answer that came, so that nobody knows what the server
	 * has done. A read-only server is another server's standby now. */
	if (strcmp(code, "57014") == 0 ||
	    (strcmp(code, "55P03") == 0 && what != committing))
		link_stall(db->link, wire_message(res));
	else if (*code == '\0' || strcmp(code, "25006") == 0 ||
		 strncmp(code, "08", 2) == 0 || strncmp(code, "57P", 3) == 0)
		link_lose(db->link, wire_message(res));
	return ST_UNAVAILABLE;
}

/* Ask, and judge the answer: ST_OK with *res. */
static enum status
ask(struct db *db, const struct wire_query *q, int64_t timeout_ms,
    const char *what, struct pg_result **res)
{
	struct pg_result *got = link_ask(db->link, q, timeout_ms);
	enum status st;

	if (got == NULL)
		return ST_UNAVAILABLE;
	st = judge(db, got, what);
	if (st == ST_OK)
		*res = got;
	else
		wire_clear(got);
	return st;
}

static enum status
prepare(struct db *db, const struct db_stmt *stmt)
{
	const struct wire_query q = {
		.name = stmt->name, .sql = stmt->sql, .nparams = stmt->nparams
	};
	struct pg_result *res = NULL;
	enum status st;
	size_t i;

	if (db->session != db->link->session) {
		db->session = db->link->session;
		db->nprepared = 0;
	}
	for (i = 0; i < db->nprepared; i++)
		if (db->prepared[i] == stmt)
			return ST_OK;
	if (db->nprepared == PREPARED_MAX)
		abort(); /* more statements than the program has */
	st = ask(db, &q, db->query_timeout_ms, stmt->name, &res);
	wire_clear(res);
	if (st == ST_OK)
		db->prepared[db->nprepared++] = stmt;
	return st;
}

enum status
db_query(struct db *db, const struct db_stmt *stmt, const char *const *params,
    struct db_result **out)
{
	const struct wire_query q = {
		.name = stmt->name, .nparams = stmt->nparams, .params = params
	};
	struct pg_result *res;
	enum status st;

	if (!link_ready(db->link))
		return ST_UNAVAILABLE;
	st = prepare(db, stmt);
	if (st != ST_OK)
		return st;
	metrics_add(METRIC_DB_QUERIES, 1);
	st = ask(db, &q, db->query_timeout_ms, stmt->name, &res);
	if (st != ST_OK)
		return st;
	/* Not within a transaction: what it hangs on may come later. */
	if (wire_idle(db->link->wire))
		link_settle(db->link);
	*out = mem_alloc(sizeof **out);
	(*out)->res = res;
	return ST_OK;
}

static enum status
script(struct db *db, const char *sql, int64_t timeout_ms, const char *what)
{
	struct pg_result *res = NULL;
	enum status st;

	if (!link_ready(db->link))
		return ST_UNAVAILABLE;
	st =
	    ask(db, &(struct wire_query){ .sql = sql }, timeout_ms, what, &res);
	wire_clear(res);
	return st;
}

enum status
db_script(struct db *db, const char *sql, int64_t timeout_ms)
{
	return script(db, sql, timeout_ms, "script");
}

enum status
db_attempt(struct db *db, const char *sql, int64_t timeout_ms)
{
	return script(db, sql, timeout_ms, attempted);
}

enum status
db_begin(struct db *db, const char *actor)
{
	static const struct db_stmt set_actor = { "set_actor",
		"SELECT set_config('postern.actor', $1, true)", 1 };
	struct db_result *res = NULL;
	enum status st;

	st = db_script(db, "BEGIN", db->query_timeout_ms);
	if (st != ST_OK)
		return st;
	st = db_query(db, &set_actor, &actor, &res);
	db_result_free(res);
	if (st != ST_OK)
		db_rollback(db);
	return st;
}

/* A COMMIT of a failed transaction answers ROLLBACK, and is no error. */
enum status
db_commit(struct db *db)
{
	struct pg_result *res = NULL;
	enum status st;

	if (!link_is_up(db->link))
		return ST_UNAVAILABLE;
	st = ask(db, &(struct wire_query){ .sql = "COMMIT" },
	    db->query_timeout_ms, committing, &res);
	if (st == ST_OK && strcmp(wire_tag(res), "COMMIT") != 0)
		st = ST_UNAVAILABLE;
	if (st == ST_OK)
		link_settle(db->link);
	wire_clear(res);
	return st;
}

void
db_rollback(struct db *db)
{
	if (link_is_up(db->link) && !wire_idle(db->link->wire))
		(void)!db_script(db, "ROLLBACK", db->query_timeout_ms);
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

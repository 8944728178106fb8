/*
 * The one libpq connection of this process while it is up: queries with
 * deadlines, notifications, the heartbeat, errors told apart by SQLSTATE.
 * Whatever is not the caller's fault is ST_UNAVAILABLE, and a connection that
 * failed once is not asked again.
 */
#include "data/db_conn.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

enum { PATIENCE_MS = 500, HEARTBEAT_MS = 10000 };

struct db_result {
	PGresult *res;
};

struct db *
db_new(const char *conninfo, int64_t query_timeout_ms, int min_schema)
{
	struct db *db = mem_alloc(sizeof *db);

	db->conninfo = conninfo;
	db->query_timeout_ms = query_timeout_ms;
	db->min_schema = min_schema;
	db->fresh = true;
	db->fd = -1;
	db_connect_start(db);
	return db;
}

void
db_free(struct db *db)
{
	if (db == NULL)
		return;
	PQfinish(db->prover);
	PQfinish(db->conn);
	buf_free(&db->error);
	free(db);
}

int
db_fd(const struct db *db)
{
	return db->fd;
}

void
db_listen(struct db *db, const struct db_listener *listener)
{
	db->listener = listener;
}

uint32_t
db_events(const struct db *db)
{
	if ((db->phase == DB_CONNECTING || db->phase == DB_PROVER) &&
	    db->want_write)
		return EPOLLOUT;
	return EPOLLIN;
}

int64_t
db_wake_us(const struct db *db)
{
	switch (db->phase) {
	case DB_UP:
		return db->beating ? db->beat_deadline_us
				   : db->heard_us + HEARTBEAT_MS * 1000;
	case DB_DOWN:
		return db->retry_us;
	case DB_CONNECTING:
	case DB_SETTINGS:
	case DB_SCHEMA:
	case DB_LISTEN:
	case DB_NOTIFY:
	case DB_PROVER:
	case DB_PROOF:
	default:
		return db->deadline_us;
	}
}

uint64_t
db_generation(const struct db *db)
{
	return db->generation;
}

bool
db_is_up(const struct db *db)
{
	return db->phase == DB_UP;
}

const char *
db_state(const struct db *db)
{
	return db->state;
}

const char *
db_error(const struct db *db)
{
	return buf_str(&db->error);
}

/* Hand on the notifications that libpq has read. */
void
db_take_notes(struct db *db)
{
	static const char proof[] = "proof ";
	PGnotify *note;

	while (db->conn != NULL && (note = PQnotifies(db->conn)) != NULL) {
		if (strncmp(note->extra, proof, sizeof proof - 1) == 0)
			db->proved |= strcmp(note->extra + sizeof proof - 1,
					  db->nonce) == 0;
		else if (db->listener != NULL)
			db->listener->notified(db->listener->arg, note->extra);
		PQfreemem(note);
	}
}

/* Is there something to read (or the end of the connection)? */
static bool
readable(int fd, short events, int timeout)
{
	struct pollfd p = { .fd = fd, .events = events };

	return poll(&p, 1, timeout) > 0;
}

/* A server that can't write any more still answers: it is none of ours any
 * more. Frees res. */
static void
judge_beat(struct db *db, PGresult *res)
{
	bool fit = PQresultStatus(res) == PGRES_TUPLES_OK &&
		   PQgetvalue(res, 0, 0)[0] == 'f';

	PQclear(res);
	if (!fit)
		db_go_down(db, "unreachable", "the heartbeat failed");
}

/* The heartbeat's answer, as far as it is there. */
static void
take_beat(struct db *db)
{
	PGresult *res;

	while (db->beating && PQisBusy(db->conn) == 0) {
		res = PQgetResult(db->conn);
		if (res == NULL)
			db->beating = false;
		else
			judge_beat(db, res);
	}
}

/* A connection that died without a word, or a server that hangs, is noticed
 * by a query now and then. */
static void
beat(struct db *db)
{
	int64_t now = clock_mono_us();

	if (db->beating && now >= db->beat_deadline_us) {
		db_go_down(db, "unreachable", "no heartbeat");
	} else if (!db->beating && now - db->heard_us >= HEARTBEAT_MS * 1000) {
		if (PQsendQuery(db->conn,
			"SELECT pg_is_in_recovery() OR "
			"current_setting('transaction_read_only')::bool") !=
			1 ||
		    PQflush(db->conn) != 0)
			db_go_down(db, "unreachable", PQerrorMessage(db->conn));
		db->beating = db->phase == DB_UP;
		db->beat_deadline_us = db_in_ms(db->query_timeout_ms);
	}
}

/* While up and idle: notifications, and the end of a dead connection. libpq
 * tells of an end only on the second look. */
static void
step_up(struct db *db)
{
	while (db->phase == DB_UP && readable(db->fd, POLLIN, 0)) {
		if (PQconsumeInput(db->conn) != 1 ||
		    PQstatus(db->conn) != CONNECTION_OK) {
			db_go_down(db, "unreachable", PQerrorMessage(db->conn));
			return;
		}
		db_heard(db);
		take_beat(db);
		/* Each time, so that a pile of them takes no memory. */
		db_take_notes(db);
	}
	db_take_notes(db); /* also those that came with a query's result */
	if (db->phase == DB_UP)
		beat(db);
}

void
db_step(struct db *db)
{
	int64_t now;

	if (db->phase == DB_UP) {
		step_up(db);
		return;
	}
	now = clock_mono_us();
	if (db->phase == DB_DOWN) {
		if (now >= db->retry_us)
			db_connect_start(db);
	} else if (now >= db->deadline_us) {
		db_setup_expire(db);
	} else if (!readable(db->fd,
		       db_events(db) == EPOLLOUT ? POLLOUT : POLLIN, 0)) {
		return;
	} else if (db->phase == DB_CONNECTING) {
		if (db_connect_poll(db, db->conn))
			db_setup_start(db);
	} else if (db->phase == DB_PROVER) {
		db_prover_step(db);
	} else {
		db_setup_step(db);
	}
}

bool
db_wait(struct db *db, int64_t timeout_ms)
{
	int64_t until = db_in_ms(timeout_ms), now = clock_mono_us(), ms;
	struct pollfd p;

	while (db->phase != DB_UP && now < until) {
		ms = (until - now) / 1000 + 1;
		if (db_wake_us(db) > now && db_wake_us(db) < until)
			ms = (db_wake_us(db) - now) / 1000 + 1;
		p = (struct pollfd){ .fd = db->fd,
			.events =
			    db_events(db) == EPOLLOUT ? POLLOUT : POLLIN };
		(void)poll(&p, 1, (int)ms);
		db_step(db);
		now = clock_mono_us();
	}
	return db->phase == DB_UP;
}

/* Wait for the next result before the deadline; NULL at the end. False when
 * the connection failed or time is up. */
static bool
next_result(struct db *db, int64_t until, PGresult **res)
{
	struct pollfd p = { .fd = db->fd };
	int64_t left;
	int more;

	while ((more = PQflush(db->conn)) == 1 || PQisBusy(db->conn)) {
		left = until - clock_mono_us();
		if (more < 0 || left <= 0)
			return false;
		p.events = (short)(more == 1 ? POLLIN | POLLOUT : POLLIN);
		if (poll(&p, 1, (int)(left / 1000) + 1) < 0 && errno != EINTR)
			return false;
		if (PQconsumeInput(db->conn) != 1)
			return false;
	}
	*res = PQgetResult(db->conn);
	return true;
}

/* The last result of what was sent, the connection idle again. */
static PGresult *
collect(struct db *db, int64_t timeout_ms)
{
	int64_t until = timeout_ms > 0 ? db_in_ms(timeout_ms) : INT64_MAX / 2;
	PGresult *last = NULL, *res = NULL;

	for (;;) {
		if (!next_result(db, until, &res)) {
			PQclear(last);
			db->stalled = clock_mono_us() >= until;
			db_go_down(db, "unreachable",
			    db->stalled ? "a query timed out"
					: PQerrorMessage(db->conn));
			return NULL;
		}
		if (res == NULL)
			break;
		/* The first error of a script is the one that counts. */
		if (last != NULL && PQresultStatus(last) == PGRES_FATAL_ERROR) {
			PQclear(res);
			continue;
		}
		PQclear(last);
		last = res;
	}
	if (last == NULL || PQstatus(db->conn) != CONNECTION_OK) {
		PQclear(last);
		db_go_down(db, "unreachable", PQerrorMessage(db->conn));
		return NULL;
	}
	db_heard(db);
	return last;
}

static const char committing[] = "commit";

/* SQLSTATE (PostgreSQL's appendix A) to status. */
static enum status
judge(struct db *db, const PGresult *res, const char *what)
{
	const char *code = PQresultErrorField(res, PG_DIAG_SQLSTATE);

	if (db->unreplicated) {
		db->unreplicated = false;
		log_error("commit_not_replicated", LOG_S("statement", what));
		return ST_UNAVAILABLE;
	}
	if (PQresultStatus(res) == PGRES_TUPLES_OK ||
	    PQresultStatus(res) == PGRES_COMMAND_OK)
		return ST_OK;
	db_set_error(db, PQresultErrorMessage(res));
	if (code == NULL)
		code = "";
	if (strcmp(code, "23505") == 0)
		return ST_CONFLICT;
	if (strcmp(code, "23503") == 0)
		return ST_NOT_FOUND; /* the app went meanwhile */
	if (strncmp(code, "22", 2) == 0 || strncmp(code, "54", 2) == 0)
		return ST_INVALID;
	log_error("query_failed", LOG_S("statement", what),
	    LOG_S("sqlstate", code), LOG_S("error", buf_str(&db->error)));
	/* Without a code it is libpq's own error: no memory for an answer that
	 * came, so that nobody knows what the server has done. A read-only
	 * server is another server's standby now; a query that the server
	 * ended, or its wait for a lock, took longer than ours may. Only
	 * commits wait for each other when a standby is away: queries do well.
	 */
	db->stalled = strcmp(code, "57014") == 0 ||
		      (strcmp(code, "55P03") == 0 && what != committing);
	if (*code == '\0' || strcmp(code, "25006") == 0 ||
	    strncmp(code, "08", 2) == 0 || strncmp(code, "57P", 3) == 0 ||
	    db->stalled)
		db_go_down(db, "unreachable", PQresultErrorMessage(res));
	return ST_UNAVAILABLE;
}

/* Up, or so soon up that waiting is kinder than a 503; and nothing else on
 * its way. */
static bool
usable(struct db *db)
{
	PGresult *res;

	if (db->phase != DB_UP && db->fresh)
		(void)db_wait(db, PATIENCE_MS);
	if (db->phase != DB_UP)
		db->fresh = false; /* the next caller doesn't wait */
	if (db->phase == DB_UP && db->beating) {
		res = collect(db, db->query_timeout_ms);
		db->beating = false;
		if (res != NULL)
			judge_beat(db, res);
	}
	return db->phase == DB_UP;
}

static enum status
prepare(struct db *db, const struct db_stmt *stmt)
{
	PGresult *res;
	enum status st;
	size_t i;

	for (i = 0; i < db->nprepared; i++)
		if (db->prepared[i] == stmt)
			return ST_OK;
	if (db->nprepared == PREPARED_MAX)
		abort(); /* more statements than the program has */
	if (PQsendPrepare(
		db->conn, stmt->name, stmt->sql, stmt->nparams, NULL) != 1) {
		db_go_down(db, "unreachable", PQerrorMessage(db->conn));
		return ST_UNAVAILABLE;
	}
	res = collect(db, db->query_timeout_ms);
	if (res == NULL)
		return ST_UNAVAILABLE;
	st = judge(db, res, stmt->name);
	PQclear(res);
	if (st == ST_OK)
		db->prepared[db->nprepared++] = stmt;
	return st;
}

enum status
db_query(struct db *db, const struct db_stmt *stmt, const char *const *params,
    struct db_result **out)
{
	PGresult *res;
	enum status st;

	if (!usable(db))
		return ST_UNAVAILABLE;
	st = prepare(db, stmt);
	if (st != ST_OK)
		return st;
	metrics_add(METRIC_DB_QUERIES, 1);
	if (PQsendQueryPrepared(db->conn, stmt->name, stmt->nparams, params,
		NULL, NULL, 0) != 1) {
		db_go_down(db, "unreachable", PQerrorMessage(db->conn));
		return ST_UNAVAILABLE;
	}
	res = collect(db, db->query_timeout_ms);
	if (res == NULL)
		return ST_UNAVAILABLE;
	st = judge(db, res, stmt->name);
	if (st != ST_OK) {
		PQclear(res);
		return st;
	}
	/* Not within a transaction: what it hangs on may come later. */
	if (PQtransactionStatus(db->conn) == PQTRANS_IDLE)
		db->stalls = 0;
	*out = mem_alloc(sizeof **out);
	(*out)->res = res;
	return ST_OK;
}

enum status
db_script(struct db *db, const char *sql, int64_t timeout_ms)
{
	PGresult *res;
	enum status st;

	if (!usable(db))
		return ST_UNAVAILABLE;
	if (PQsendQuery(db->conn, sql) != 1) {
		db_go_down(db, "unreachable", PQerrorMessage(db->conn));
		return ST_UNAVAILABLE;
	}
	res = collect(db, timeout_ms);
	if (res == NULL)
		return ST_UNAVAILABLE;
	st = judge(db, res, "script");
	PQclear(res);
	return st;
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
	PGresult *res;
	enum status st;

	if (db->phase != DB_UP || PQsendQuery(db->conn, "COMMIT") != 1)
		return ST_UNAVAILABLE;
	res = collect(db, db->query_timeout_ms);
	if (res == NULL)
		return ST_UNAVAILABLE;
	st = judge(db, res, committing);
	if (st == ST_OK && strcmp(PQcmdStatus(res), "COMMIT") != 0)
		st = ST_UNAVAILABLE;
	if (st == ST_OK)
		db->stalls = 0;
	PQclear(res);
	return st;
}

void
db_rollback(struct db *db)
{
	if (db->phase == DB_UP && PQtransactionStatus(db->conn) != PQTRANS_IDLE)
		(void)!db_script(db, "ROLLBACK", db->query_timeout_ms);
}

int
db_rows(const struct db_result *res)
{
	return PQntuples(res->res);
}

const char *
db_text(const struct db_result *res, int row, int col)
{
	return PQgetvalue(res->res, row, col);
}

size_t
db_len(const struct db_result *res, int row, int col)
{
	return (size_t)PQgetlength(res->res, row, col);
}

bool
db_null(const struct db_result *res, int row, int col)
{
	return PQgetisnull(res->res, row, col) != 0;
}

void
db_result_free(struct db_result *res)
{
	if (res == NULL)
		return;
	PQclear(res->res);
	free(res);
}

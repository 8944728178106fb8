/*
 * The one libpq connection of this process: connecting without blocking,
 * queries with deadlines, errors told apart by SQLSTATE. Whatever is not the
 * caller's fault is ST_UNAVAILABLE, and a connection that failed once is not
 * asked again.
 */
#include "data/db.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/crypto.h"
#include "base/log.h"
#include "base/mem.h"

#include <errno.h>
#include <inttypes.h>
#include <libpq-fe.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { PREPARED_MAX = 64 };
enum { CONNECT_MS = 5000, PATIENCE_MS = 500 };
enum { BACKOFF_MIN_MS = 100, BACKOFF_MAX_MS = 5000 };

enum db_phase { DB_DOWN, DB_CONNECTING, DB_SETTINGS, DB_SCHEMA, DB_UP };

struct db {
	const char *conninfo; /* the caller's, who keeps it */
	int64_t query_timeout_ms;
	int min_schema;
	PGconn *conn;
	enum db_phase phase;
	const char *state; /* a constant, for db_state */
	const char *told;  /* the state last logged, once each */
	struct buf error;
	bool want_write; /* while connecting */
	int fd;
	uint64_t generation;
	int64_t deadline_us; /* of connecting and setting up */
	int64_t retry_us;    /* when down */
	int64_t backoff_ms;
	bool fresh; /* the first attempt after a start or a loss */
	const struct db_stmt *prepared[PREPARED_MAX];
	size_t nprepared;
};

struct db_result {
	PGresult *res;
};

static void go_down(struct db *db, const char *state, const char *error);

static int64_t
in_ms(int64_t ms)
{
	return clock_mono_us() + ms * 1000;
}

static void
set_error(struct db *db, const char *text)
{
	size_t n = strlen(text);

	while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == ' '))
		n--;
	buf_reset(&db->error);
	buf_add(&db->error, text, n);
}

static void
no_notice(void *arg, const PGresult *res)
{
	(void)arg;
	(void)res;
}

/* libpq changes its socket while it tries several hosts. */
static void
note_socket(struct db *db)
{
	int fd = db->conn != NULL ? PQsocket(db->conn) : -1;

	if (fd == db->fd)
		return;
	db->fd = fd;
	db->generation++;
}

static void
drop(struct db *db)
{
	PQfinish(db->conn);
	db->conn = NULL;
	db->nprepared = 0;
	note_socket(db);
	db->generation++; /* the number may come back for another socket */
}

static void
connect_start(struct db *db)
{
	static const char *const keys[] = { "connect_timeout", "keepalives",
		"keepalives_idle", "keepalives_interval", "keepalives_count",
		"tcp_user_timeout", "fallback_application_name", "dbname",
		"client_encoding", NULL };
	const char *const values[] = { "5", "1", "10", "3", "3", "5000",
		"postern", db->conninfo, "UTF8", NULL };

	db->phase = DB_CONNECTING;
	if (db->told == NULL)
		db->state = "connecting";
	db->want_write = true;
	db->deadline_us = in_ms(CONNECT_MS);
	db->conn = PQconnectStartParams(keys, values, 1);
	if (db->conn == NULL)
		abort();
	PQsetNoticeReceiver(db->conn, no_notice, NULL);
	db->fd = -1;
	note_socket(db);
	/* No socket at all: its error now, not at the deadline. */
	if (PQstatus(db->conn) == CONNECTION_BAD)
		go_down(db, "unreachable", PQerrorMessage(db->conn));
}

/* Half to the whole of the backoff, so that workers don't come back as one. */
static int64_t
jittered(int64_t ms)
{
	uint32_t r;

	crypto_random(&r, sizeof r);
	return ms / 2 + (int64_t)(r % (uint32_t)(ms / 2 + 1));
}

/* The attempt, or the connection, failed. */
static void
go_down(struct db *db, const char *state, const char *error)
{
	bool lost = db->phase == DB_UP;

	set_error(db, error);
	if (lost || db->told == NULL || strcmp(db->told, state) != 0)
		log_warn(lost ? "database_lost" : "database_unavailable",
		    LOG_S("state", state), LOG_S("error", buf_str(&db->error)));
	drop(db);
	db->phase = DB_DOWN;
	db->state = state;
	db->told = lost ? NULL : state;
	/* A lost connection is tried anew at once, then ever more slowly. */
	db->fresh = lost;
	db->backoff_ms = lost                  ? 0
			 : db->backoff_ms == 0 ? BACKOFF_MIN_MS
					       : 2 * db->backoff_ms;
	if (db->backoff_ms > BACKOFF_MAX_MS)
		db->backoff_ms = BACKOFF_MAX_MS;
	db->retry_us = in_ms(jittered(db->backoff_ms));
	if (lost)
		connect_start(db);
}

/* Connected, but not to be used: asked again about each second. */
static void
go_unfit(struct db *db, const char *state)
{
	go_down(db, state, state);
	db->backoff_ms = BACKOFF_MIN_MS;
	db->retry_us = in_ms(jittered(1000));
}

struct db *
db_new(const char *conninfo, int64_t query_timeout_ms, int min_schema)
{
	struct db *db = mem_alloc(sizeof *db);

	db->conninfo = conninfo;
	db->query_timeout_ms = query_timeout_ms;
	db->min_schema = min_schema;
	db->fresh = true;
	db->fd = -1;
	connect_start(db);
	return db;
}

void
db_free(struct db *db)
{
	if (db == NULL)
		return;
	PQfinish(db->conn);
	buf_free(&db->error);
	free(db);
}

void
db_abandon(struct db *db)
{
	if (db->conn != NULL && PQsocket(db->conn) >= 0)
		close(PQsocket(db->conn));
	db->conn = NULL;
	db->fd = -1;
	db->phase = DB_DOWN;
}

int
db_fd(const struct db *db)
{
	return db->fd;
}

uint32_t
db_events(const struct db *db)
{
	if (db->phase == DB_CONNECTING && db->want_write)
		return EPOLLOUT;
	return EPOLLIN;
}

int64_t
db_wake_us(const struct db *db)
{
	switch (db->phase) {
	case DB_UP:
		return INT64_MAX;
	case DB_DOWN:
		return db->retry_us;
	case DB_CONNECTING:
	case DB_SETTINGS:
	case DB_SCHEMA:
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

/* What each connection is told once, and asked: can it write, and has it our
 * table of migrations? */
static void
send_settings(struct db *db)
{
	struct buf sql = { 0 };

	buf_addf(&sql,
	    "SET statement_timeout = %" PRId64 ";"
	    "SET idle_in_transaction_session_timeout = 10000;"
	    "SET TimeZone = 'UTC';"
	    "SET client_min_messages = warning;"
	    "SELECT (pg_is_in_recovery() OR "
	    "current_setting('transaction_read_only')::bool)::int,"
	    " (to_regclass('postern_migrations') IS NOT NULL)::int",
	    db->query_timeout_ms);
	db->phase = DB_SETTINGS;
	if (PQsetnonblocking(db->conn, 1) != 0 ||
	    PQsendQuery(db->conn, buf_str(&sql)) != 1 || PQflush(db->conn) != 0)
		go_down(db, "unreachable", PQerrorMessage(db->conn));
	buf_free(&sql);
}

static void
go_up(struct db *db)
{
	db->phase = DB_UP;
	db->state = "up";
	db->told = NULL;
	db->fresh = false;
	db->backoff_ms = 0;
	buf_reset(&db->error);
	log_info("database_up", LOG_S("host", PQhost(db->conn)),
	    LOG_S("port", PQport(db->conn)));
}

static void
step_settings(struct db *db, PGresult *res)
{
	if (PQresultStatus(res) == PGRES_COMMAND_OK)
		return; /* of a SET */
	if (PQresultStatus(res) != PGRES_TUPLES_OK)
		go_down(db, "unreachable", PQerrorMessage(db->conn));
	else if (db->min_schema == 0)
		db->phase = DB_SCHEMA; /* nothing to ask: up at the end */
	else if (PQgetvalue(res, 0, 0)[0] != '0')
		go_unfit(db, "read_only");
	else if (PQgetvalue(res, 0, 1)[0] != '1')
		go_unfit(db, "schema_missing");
}

static void
step_schema(struct db *db, PGresult *res)
{
	if (PQresultStatus(res) != PGRES_TUPLES_OK)
		go_down(db, "unreachable", PQerrorMessage(db->conn));
	else if (atoi(PQgetvalue(res, 0, 0)) < db->min_schema)
		go_unfit(db, "schema_outdated");
}

/* A query of the set-up has no more results. */
static void
step_next(struct db *db)
{
	if (db->phase == DB_SCHEMA) {
		go_up(db);
		return;
	}
	db->phase = DB_SCHEMA;
	if (PQsendQuery(db->conn,
		"SELECT coalesce(max(version), 0) FROM postern_migrations") !=
		1 ||
	    PQflush(db->conn) != 0)
		go_down(db, "unreachable", PQerrorMessage(db->conn));
}

static void
step_setup(struct db *db)
{
	PGresult *res;

	if (PQconsumeInput(db->conn) != 1) {
		go_down(db, "unreachable", PQerrorMessage(db->conn));
		return;
	}
	while ((db->phase == DB_SETTINGS || db->phase == DB_SCHEMA) &&
	       PQisBusy(db->conn) == 0) {
		res = PQgetResult(db->conn);
		if (res == NULL)
			step_next(db);
		else if (db->phase == DB_SETTINGS)
			step_settings(db, res);
		else if (PQresultStatus(res) != PGRES_COMMAND_OK)
			step_schema(db, res);
		PQclear(res);
	}
}

static void
step_connecting(struct db *db)
{
	switch (PQconnectPoll(db->conn)) {
	case PGRES_POLLING_READING:
		db->want_write = false;
		break;
	case PGRES_POLLING_WRITING:
		db->want_write = true;
		break;
	case PGRES_POLLING_OK:
		note_socket(db);
		send_settings(db);
		return;
	case PGRES_POLLING_ACTIVE:
	case PGRES_POLLING_FAILED:
	default:
		go_down(db, "unreachable", PQerrorMessage(db->conn));
		return;
	}
	note_socket(db);
}

/* Is there something to read (or the end of the connection)? */
static bool
readable(int fd, short events, int timeout)
{
	struct pollfd p = { .fd = fd, .events = events };

	return poll(&p, 1, timeout) > 0;
}

/* While up and idle: notifications, and the end of a dead connection. libpq
 * tells of an end only on the second look. */
static void
step_up(struct db *db)
{
	PGnotify *note;

	while (readable(db->fd, POLLIN, 0)) {
		if (PQconsumeInput(db->conn) != 1 ||
		    PQstatus(db->conn) != CONNECTION_OK) {
			go_down(db, "unreachable", PQerrorMessage(db->conn));
			return;
		}
		while ((note = PQnotifies(db->conn)) != NULL)
			PQfreemem(note);
	}
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
			connect_start(db);
	} else if (now >= db->deadline_us) {
		go_down(db, "unreachable", "connecting timed out");
	} else if (db->phase == DB_CONNECTING) {
		if (readable(db->fd, db->want_write ? POLLOUT : POLLIN, 0))
			step_connecting(db);
	} else {
		step_setup(db);
	}
}

bool
db_wait(struct db *db, int64_t timeout_ms)
{
	int64_t until = in_ms(timeout_ms), now = clock_mono_us(), ms;
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

/* Up, or so soon up that waiting is kinder than a 503. */
static bool
usable(struct db *db)
{
	if (db->phase != DB_UP && db->fresh)
		(void)db_wait(db, PATIENCE_MS);
	if (db->phase != DB_UP)
		db->fresh = false; /* the next caller doesn't wait */
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
	int64_t until = timeout_ms > 0 ? in_ms(timeout_ms) : INT64_MAX / 2;
	PGresult *last = NULL, *res = NULL;

	for (;;) {
		if (!next_result(db, until, &res)) {
			PQclear(last);
			go_down(db, "unreachable",
			    clock_mono_us() >= until
				? "a query timed out"
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
		go_down(db, "unreachable", PQerrorMessage(db->conn));
		return NULL;
	}
	return last;
}

/* SQLSTATE (PostgreSQL's appendix A) to status. */
static enum status
judge(struct db *db, const PGresult *res, const char *what)
{
	const char *code = PQresultErrorField(res, PG_DIAG_SQLSTATE);

	if (PQresultStatus(res) == PGRES_TUPLES_OK ||
	    PQresultStatus(res) == PGRES_COMMAND_OK)
		return ST_OK;
	set_error(db, PQresultErrorMessage(res));
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
	/* A read-only server is another server's standby now. */
	if (strcmp(code, "25006") == 0 || strncmp(code, "08", 2) == 0 ||
	    strncmp(code, "57P", 3) == 0)
		go_down(db, "unreachable", PQresultErrorMessage(res));
	return ST_UNAVAILABLE;
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
		go_down(db, "unreachable", PQerrorMessage(db->conn));
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
	if (PQsendQueryPrepared(db->conn, stmt->name, stmt->nparams, params,
		NULL, NULL, 0) != 1) {
		go_down(db, "unreachable", PQerrorMessage(db->conn));
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
		go_down(db, "unreachable", PQerrorMessage(db->conn));
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
	st = judge(db, res, "commit");
	if (st == ST_OK && strcmp(PQcmdStatus(res), "COMMIT") != 0)
		st = ST_UNAVAILABLE;
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

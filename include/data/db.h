#ifndef POSTERN_DATA_DB_H
#define POSTERN_DATA_DB_H

#include "base/status.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * One connection of this process to Postgres (link.h), opened after fork, never
 * shared. It connects without blocking, comes back by itself with
 * backoff and jitter, prepares each statement once a connection, and gives
 * every query a deadline: after one time-out the connection counts as lost.
 */
struct db;

/* A statement, a static constant of a store; prepared at its first use. */
struct db_stmt {
	const char *name; /* unique in the program */
	const char *sql;
	int nparams;
};

/* A result: rows and columns of text. Opaque; freed with db_result_free. */
struct db_result;

/*
 * conninfo: a libpq conninfo or URI, several hosts allowed; copied by libpq
 * only. query_timeout_ms bounds each query; min_schema is the lowest
 * migration that will do (0 = any, the tool's). Starts connecting.
 */
struct db *db_new(
    const char *conninfo, int64_t query_timeout_ms, int min_schema);
void db_free(struct db *db);

/*
 * Notifications of a channel. Each new connection listens to it and proves
 * that it hears; then, before it counts as up, renewed is called: whatever was
 * told in between may have been missed. So it is when a primary turns out to
 * have been replaced: what it said doesn't count. notified gets each payload in
 * the order of arrival. Both are called by db_step, and by what waits for a
 * connection to come up; never between a query's result and its caller, who
 * has the row in hand before the notifications that came with it are told.
 */
struct db_listener {
	const char *channel; /* an identifier that needs no quotes */
	void (*notified)(void *arg, const char *payload);
	void (*renewed)(void *arg);
	void *arg;
};

/* Call it before the first db_step; listener is the caller's and stays. */
void db_listen(struct db *db, const struct db_listener *listener);

/* The socket to wait for (-1 = none), with which of EPOLLIN/EPOLLOUT, and the
 * monotonic µs at which db_step wants to be called anyway (INT64_MAX = never).
 */
int db_fd(const struct db *db);
uint32_t db_events(const struct db *db);
int64_t db_wake_us(const struct db *db);

/* A number that changes with each new socket: descriptors are re-used. */
uint64_t db_generation(const struct db *db);

/* Go on with connecting, notice a lost connection, take in what came. Never
 * blocks. */
void db_step(struct db *db);

/* Wait until the connection is up, at most timeout_ms. */
bool db_wait(struct db *db, int64_t timeout_ms);

/* Is it up: connected, writable, schema at least min_schema? */
bool db_is_up(const struct db *db);

/* Can news arrive: is it up, and the listener's channel proved? While it can't,
 * what was told before may not be so any more. */
bool db_hears(const struct db *db);

/* The monotonic µs at which the last question was sent that the server has
 * answered, 0 = none yet: until then all news has arrived. It stands still
 * while news can't arrive, and within a transaction; otherwise it is not much
 * older than ten seconds. */
int64_t db_answered_us(const struct db *db);

/* Does the server that it is up with say on which timeline it is? If not, a
 * primary that was replaced can't be told by it. */
bool db_tells_timeline(const struct db *db);

/* Why it is not up: a short constant ("connecting", "schema_outdated",
 * "read_only", "old_timeline", "unreachable"); "up" if it is. */
const char *db_state(const struct db *db);

/* Why requests can't be served by it, likewise, NULL if they can: of a
 * connection that is up what was found out last, at most a minute ago. It asks
 * nothing; one that is being made is waited for, as for a question. */
const char *db_unready(struct db *db);

/* Did the last error say that this role may not do that? */
bool db_denied(const struct db *db);

/* Has each host refused in its turn, or one that takes writes been found unfit?
 * A server keeps trying; who waits for it may give up. */
bool db_in_vain(const struct db *db);

/* The last error's text, for the operator only; "" if none. */
const char *db_error(const struct db *db);

/*
 * Execute a statement with text parameters (NULL = SQL NULL). ST_OK with
 * *res (which may have no rows), else an error, *res untouched: ST_NOT_FOUND
 * when the app that the row belongs to went meanwhile, ST_INVALID for values
 * Postgres can't hold, ST_UNAVAILABLE for all that is not the caller's fault.
 * Outside a transaction it is one of its own.
 */
enum status db_query(struct db *db, const struct db_stmt *stmt,
    const char *const *params, struct db_result **res) MUST_CHECK;

/*
 * The request that changes are made for from here on, for app_events: its id,
 * and the client's address as ASCII without spaces. NULL = there is none, as
 * in the beginning. Borrowed until the next call.
 */
struct db_cause {
	const char *request_id;
	const char *remote;
};
void db_set_cause(struct db *db, const struct db_cause *cause);

/*
 * A transaction. actor (who does it, for app_events) is set for its length as
 * postern.actor, the cause beside it. db_commit's ST_OK means the server said
 * so; anything else means not done, or not known. db_rollback undoes; it never
 * fails visibly.
 */
enum status db_begin(struct db *db, const char *actor) MUST_CHECK;
enum status db_commit(struct db *db) MUST_CHECK;
void db_rollback(struct db *db);

/*
 * A whole transaction: body, which may be called again when another one's
 * change or a deadlock undid it, and so leaves nothing behind that a failed
 * call made. Its status is the transaction's, unless the commit has another.
 */
enum status db_transact(struct db *db, const char *actor,
    enum status (*body)(struct db *db, void *arg), void *arg) MUST_CHECK;

/* One or more statements as a simple query, for the tool's migrations: its
 * deadline is timeout_ms (0 = none). */
enum status db_script(
    struct db *db, const char *sql, int64_t timeout_ms) MUST_CHECK;

/* The same, of what others may have locked: ST_LOCKED when a lock or a
 * time-out of the server's ended it, which nobody else is told. */
enum status db_attempt(
    struct db *db, const char *sql, int64_t timeout_ms) MUST_CHECK;

int db_rows(const struct db_result *res);
/* Text of a field, "" if null; borrowed. */
const char *db_text(const struct db_result *res, int row, int col);
size_t db_len(const struct db_result *res, int row, int col);
bool db_null(const struct db_result *res, int row, int col);
void db_result_free(struct db_result *res);

#endif

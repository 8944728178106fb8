#ifndef POSTERN_DATA_WIRE_H
#define POSTERN_DATA_WIRE_H

#include "base/buf.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * libpq alone: one connection of it, what is sent and what comes back. It
 * decides nothing; link.c does. For those of src/data/ that are about a
 * connection (tools/check-includes).
 */
struct wire;

/* An answer: libpq's PGresult by its own tag. */
struct pg_result;

/* What libpq is told of a connection to be made. */
enum { WIRE_KEYS = 24 };
struct wire_args {
	const char *keys[WIRE_KEYS]; /* NULL ends them */
	const char *values[WIRE_KEYS];
	size_t n;
};

/* One more; what was said before of the same key no longer counts. */
void wire_add(struct wire_args *args, const char *key, const char *value);

enum wire_turn {
	WIRE_DONE,
	WIRE_WAITS, /* for its socket */
	WIRE_FAILED,
	WIRE_LATE /* its time is over */
};

/* Each option that a conninfo itself gives a value; false where it can't be
 * parsed, libpq's words on which nobody gets. What is handed to each is gone
 * afterwards. */
bool wire_parse(const char *conninfo,
    void (*each)(void *arg, const char *key, const char *value), void *arg);

/* Each option that has a value by any means: the conninfo, a service file, the
 * environment, libpq's default. None where one of them can't be read. No
 * password file is looked into, so of password there may be another value. */
void wire_options(const char *conninfo,
    void (*each)(void *arg, const char *key, const char *value), void *arg);

/* Begin to connect; a dbname in args may be a whole conninfo. Never NULL; the
 * caller frees (NULL is nothing). */
struct wire *wire_new(const struct wire_args *args);
void wire_free(struct wire *w);

/* One step of connecting, whenever the socket is ready: WIRE_DONE when there
 * is a session, WIRE_WAITS or WIRE_FAILED. */
enum wire_turn wire_connect(struct wire *w);

/* libpq's socket, which it changes while it tries several hosts, -1 = none;
 * and whether to wait for writing. */
int wire_fd(const struct wire *w);
bool wire_wants_write(const struct wire *w);

/* Is it beyond use? */
bool wire_broken(const struct wire *w);

/* Is there no transaction, and nothing on its way? */
bool wire_idle(const struct wire *w);

/* The last error of the connection's own; borrowed. */
const char *wire_error(const struct wire *w);

/* Of the server that was tried last: as the conninfo names it; and the IP
 * address, "" = none. Borrowed. */
const char *wire_host(const struct wire *w);
const char *wire_port(const struct wire *w);
const char *wire_address(const struct wire *w);
/* The backend's process id, as the other end told it. */
int wire_backend(const struct wire *w);

/* A simple query where name is NULL; with name and sql a statement to be
 * prepared; with a name alone the execution of one, with text parameters. */
struct wire_query {
	const char *name;
	const char *sql;
	int nparams;
	const char *const *params;
};

/* Send it, as far as the socket takes it; false when that failed. */
bool wire_send(struct wire *w, const struct wire_query *q);

/* Read what there is; false when the connection has ended. */
bool wire_read(struct wire *w);

/* The next result of what was sent, if it is there: WIRE_WAITS if not, and
 * WIRE_DONE with *res, NULL behind the last. The caller frees it. */
enum wire_turn wire_next(struct wire *w, struct pg_result **res);

/*
 * Wait for all results of what was sent, until a monotonic µs. WIRE_DONE with
 * *res, which the caller frees: the first error, else the last; WIRE_FAILED;
 * WIRE_LATE.
 */
enum wire_turn wire_collect(
    struct wire *w, int64_t until_us, struct pg_result **res);

/* The notifications that were read, in the order of their arrival. */
void wire_notes(
    struct wire *w, void (*each)(void *arg, const char *payload), void *arg);

/* Did the server say of what was sent last that it is committed, but not on
 * its synchronous standby? */
bool wire_unreplicated(const struct wire *w);

/* Of an answer: rows; a command's success; or neither, then its SQLSTATE (""
 * = libpq's own error), the constraint that it broke ("" = none), whether the
 * session ends with it, and the server's one sentence: neither its context nor
 * SQL. */
bool wire_is_rows(const struct pg_result *res);
bool wire_is_command(const struct pg_result *res);
const char *wire_sqlstate(const struct pg_result *res);
const char *wire_constraint(const struct pg_result *res);
bool wire_is_fatal(const struct pg_result *res);
const char *wire_message(const struct pg_result *res);
/* Such a text, or libpq's own, as one line. */
void wire_add_line(struct buf *out, const char *text);
const char *wire_tag(struct pg_result *res); /* "COMMIT" */
int wire_rows(const struct pg_result *res);
const char *wire_text(const struct pg_result *res, int row, int col);
size_t wire_len(const struct pg_result *res, int row, int col);
bool wire_null(const struct pg_result *res, int row, int col);
void wire_clear(struct pg_result *res);

#endif

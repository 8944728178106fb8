/*
 * libpq, which is met nowhere else: a connection, what is sent, and what comes.
 * It is made without blocking, and no result is waited for longer than until a
 * deadline.
 */
#include "data/wire.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"

#include <errno.h>
#include <libpq-fe.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <string.h>
#include <sys/param.h>

#define SPACE " \t\r\n"

struct wire {
	PGconn *conn;
	bool want_write; /* while connecting */
	bool unreplicated;
	size_t said;      /* of libpq's text what was an earlier answer's */
	struct buf words; /* what the server said last of all */
};

/* Hand on what has a value; some of it is secret. */
static void
hand_on(PQconninfoOption *options,
    void (*each)(void *arg, const char *key, const char *value), void *arg)
{
	PQconninfoOption *o;

	for (o = options; o != NULL && o->keyword != NULL; o++)
		if (o->val != NULL) {
			each(arg, o->keyword, o->val);
			explicit_bzero(o->val, strlen(o->val));
		}
	PQconninfoFree(options);
}

void
wire_add(struct wire_args *args, const char *key, const char *value)
{
	if (args->n + 1 == WIRE_KEYS)
		abort(); /* more than hosts.c and link.c have to say */
	args->keys[args->n] = key;
	args->values[args->n++] = value;
}

bool
wire_parse(const char *conninfo,
    void (*each)(void *arg, const char *key, const char *value), void *arg)
{
	PQconninfoOption *options = PQconninfoParse(conninfo, NULL);

	hand_on(options, each, arg);
	return options != NULL;
}

/* Only of a connection does libpq tell them. The last option here has a value
 * that it refuses: after it has read all, and before it goes anywhere. */
void
wire_options(const char *conninfo,
    void (*each)(void *arg, const char *key, const char *value), void *arg)
{
	static const char *const keys[] = { "dbname", "password",
		"channel_binding", NULL };
	const char *const values[] = { conninfo, "x", "no-such", NULL };
	PGconn *conn = PQconnectStartParams(keys, values, 1);

	if (conn == NULL)
		abort(); /* no memory */
	hand_on(PQconninfo(conn), each, arg);
	PQfinish(conn);
}

/*
 * Of the server's notices two count. A commit that waits for a synchronous
 * standby and is cancelled answers COMMIT, with a warning: the primary alone
 * has it, and a failover would lose it. And why it ends a session that was
 * asked nothing.
 */
static void
note_notice(void *arg, const PGresult *res)
{
	struct wire *w = arg;
	const char *from = PQresultErrorField(res, PG_DIAG_SOURCE_FUNCTION);

	if (from != NULL && strcmp(from, "SyncRepWaitForLSN") == 0)
		w->unreplicated = true;
	if (wire_is_fatal(res)) {
		buf_reset(&w->words);
		buf_adds(&w->words, wire_message(res));
	}
}

struct wire *
wire_new(const struct wire_args *args)
{
	struct wire *w = mem_alloc(sizeof *w);

	w->conn = PQconnectStartParams(args->keys, args->values, 1);
	if (w->conn == NULL)
		abort(); /* no memory */
	w->want_write = true;
	PQsetNoticeReceiver(w->conn, note_notice, w);
	/* What ends a session is told by the connection's error alone. */
	PQsetErrorVerbosity(w->conn, PQERRORS_TERSE);
	PQsetErrorContextVisibility(w->conn, PQSHOW_CONTEXT_NEVER);
	return w;
}

void
wire_free(struct wire *w)
{
	if (w == NULL)
		return;
	PQfinish(w->conn);
	buf_free(&w->words);
	free(w);
}

enum wire_turn
wire_connect(struct wire *w)
{
	switch (PQconnectPoll(w->conn)) {
	case PGRES_POLLING_READING:
		w->want_write = false;
		return WIRE_WAITS;
	case PGRES_POLLING_WRITING:
		w->want_write = true;
		return WIRE_WAITS;
	case PGRES_POLLING_OK:
		w->want_write = false;
		return PQsetnonblocking(w->conn, 1) == 0 ? WIRE_DONE
							 : WIRE_FAILED;
	default:
		return WIRE_FAILED;
	}
}

int
wire_fd(const struct wire *w)
{
	return PQsocket(w->conn);
}

bool
wire_wants_write(const struct wire *w)
{
	return w->want_write;
}

bool
wire_broken(const struct wire *w)
{
	return PQstatus(w->conn) == CONNECTION_BAD;
}

bool
wire_idle(const struct wire *w)
{
	return PQtransactionStatus(w->conn) == PQTRANS_IDLE;
}

const char *
wire_error(const struct wire *w)
{
	const char *text = PQerrorMessage(w->conn);

	if (w->words.len > 0)
		return buf_str(&w->words);
	return strlen(text) > w->said ? text + w->said : text;
}

const char *
wire_host(const struct wire *w)
{
	return PQhost(w->conn);
}

const char *
wire_port(const struct wire *w)
{
	return PQport(w->conn);
}

const char *
wire_address(const struct wire *w)
{
	return PQhostaddr(w->conn);
}

int
wire_backend(const struct wire *w)
{
	return PQbackendPID(w->conn);
}

bool
wire_send(struct wire *w, const struct wire_query *q)
{
	int sent;

	w->unreplicated = false;
	w->said = 0;
	if (q->name == NULL)
		sent = PQsendQuery(w->conn, q->sql);
	else if (q->sql != NULL)
		sent =
		    PQsendPrepare(w->conn, q->name, q->sql, q->nparams, NULL);
	else
		sent = PQsendQueryPrepared(
		    w->conn, q->name, q->nparams, q->params, NULL, NULL, 0);
	return sent == 1 && PQflush(w->conn) >= 0;
}

bool
wire_read(struct wire *w)
{
	return PQconsumeInput(w->conn) == 1 &&
	       PQstatus(w->conn) == CONNECTION_OK;
}

enum wire_turn
wire_next(struct wire *w, struct pg_result **res)
{
	if (PQisBusy(w->conn))
		return WIRE_WAITS;
	*res = PQgetResult(w->conn);
	w->said = strlen(PQerrorMessage(w->conn));
	return WIRE_DONE;
}

/* Wait until the next result is there. */
static enum wire_turn
await(struct wire *w, int64_t until_us)
{
	struct pollfd p = { .fd = PQsocket(w->conn) };
	int64_t left;
	int more;

	while ((more = PQflush(w->conn)) == 1 || PQisBusy(w->conn)) {
		left = until_us - clock_mono_us();
		if (left <= 0)
			return WIRE_LATE;
		if (more < 0)
			return WIRE_FAILED;
		p.events = (short)(more == 1 ? POLLIN | POLLOUT : POLLIN);
		left = MIN(left / 1000 + 1, INT_MAX);
		if (poll(&p, 1, (int)left) < 0 && errno != EINTR)
			return WIRE_FAILED;
		if (PQconsumeInput(w->conn) != 1)
			return WIRE_FAILED;
	}
	return WIRE_DONE;
}

enum wire_turn
wire_collect(struct wire *w, int64_t until_us, struct pg_result **res)
{
	PGresult *last = NULL, *next;
	enum wire_turn turn;

	while ((turn = await(w, until_us)) == WIRE_DONE &&
	       (next = PQgetResult(w->conn)) != NULL) {
		/* The first error of a script is the one that counts. */
		if (last != NULL && PQresultStatus(last) == PGRES_FATAL_ERROR) {
			PQclear(next);
			continue;
		}
		PQclear(last);
		last = next;
	}
	if (turn == WIRE_DONE &&
	    (last == NULL || PQstatus(w->conn) != CONNECTION_OK))
		turn = WIRE_FAILED;
	if (turn != WIRE_DONE) {
		PQclear(last);
		return turn;
	}
	w->said = strlen(PQerrorMessage(w->conn));
	*res = last;
	return turn;
}

void
wire_notes(
    struct wire *w, void (*each)(void *arg, const char *payload), void *arg)
{
	PGnotify *note;

	while ((note = PQnotifies(w->conn)) != NULL) {
		each(arg, note->extra);
		PQfreemem(note);
	}
}

bool
wire_unreplicated(const struct wire *w)
{
	return w->unreplicated;
}

bool
wire_is_rows(const struct pg_result *res)
{
	return PQresultStatus(res) == PGRES_TUPLES_OK;
}

bool
wire_is_command(const struct pg_result *res)
{
	return PQresultStatus(res) == PGRES_COMMAND_OK;
}

const char *
wire_sqlstate(const struct pg_result *res)
{
	const char *code = PQresultErrorField(res, PG_DIAG_SQLSTATE);

	return code != NULL ? code : "";
}

const char *
wire_constraint(const struct pg_result *res)
{
	const char *name = PQresultErrorField(res, PG_DIAG_CONSTRAINT_NAME);

	return name != NULL ? name : "";
}

bool
wire_is_fatal(const struct pg_result *res)
{
	const char *is = PQresultErrorField(res, PG_DIAG_SEVERITY_NONLOCALIZED);

	return is != NULL &&
	       (strcmp(is, "FATAL") == 0 || strcmp(is, "PANIC") == 0);
}

const char *
wire_message(const struct pg_result *res)
{
	const char *text = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);

	return text != NULL ? text : PQresultErrorMessage(res);
}

void
wire_add_line(struct buf *out, const char *text)
{
	size_t space;

	for (text += strspn(text, SPACE); *text != '\0'; text += space) {
		buf_add(out, text, strcspn(text, SPACE));
		text += strcspn(text, SPACE);
		space = strspn(text, SPACE);
		if (text[space] != '\0')
			buf_addc(out, ' ');
	}
}

const char *
wire_tag(struct pg_result *res)
{
	return PQcmdStatus(res);
}

int
wire_rows(const struct pg_result *res)
{
	return PQntuples(res);
}

const char *
wire_text(const struct pg_result *res, int row, int col)
{
	return PQgetvalue(res, row, col);
}

size_t
wire_len(const struct pg_result *res, int row, int col)
{
	return (size_t)PQgetlength(res, row, col);
}

bool
wire_null(const struct pg_result *res, int row, int col)
{
	return PQgetisnull(res, row, col) != 0;
}

void
wire_clear(struct pg_result *res)
{
	PQclear(res);
}

/*
 * Making a connection and losing it: what libpq is told, which of several
 * hosts comes first, when the next attempt is due.
 */
#include "data/db_conn.h"

#include "base/clock.h"
#include "base/crypto.h"
#include "base/log.h"
#include "base/metrics.h"

#include <stdlib.h>
#include <string.h>
#include <sys/param.h>

enum { CONNECT_MS = 5000 };
enum { BACKOFF_MIN_MS = 100, BACKOFF_MAX_MS = 5000, STALL_MS = 1000 };

int64_t
db_in_ms(int64_t ms)
{
	return clock_mono_us() + ms * 1000;
}

void
db_set_error(struct db *db, const char *text)
{
	size_t n = strlen(text);

	while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == ' '))
		n--;
	buf_reset(&db->error);
	buf_add(&db->error, text, n);
}

/*
 * Of the server's notices one counts. A commit that waits for a synchronous
 * standby and is cancelled answers COMMIT, with a warning: the primary alone
 * has it, and a failover would lose it.
 */
static void
note_notice(void *arg, const PGresult *res)
{
	struct db *db = arg;
	const char *from = PQresultErrorField(res, PG_DIAG_SOURCE_FUNCTION);

	if (from != NULL && strcmp(from, "SyncRepWaitForLSN") == 0)
		db->unreplicated = true;
}

/* libpq changes its socket while it tries several hosts. */
void
db_note_socket(struct db *db)
{
	const PGconn *conn = db->phase == DB_PROVER ? db->prover : db->conn;
	int fd = conn != NULL ? PQsocket(conn) : -1;

	if (fd == db->fd)
		return;
	db->fd = fd;
	db->generation++;
}

static void
drop(struct db *db)
{
	PQfinish(db->prover);
	PQfinish(db->conn);
	db->prover = db->conn = NULL;
	db->nprepared = 0;
	db->beating = false;
	db_note_socket(db);
	db->generation++; /* the number may come back for another socket */
}

/* The members of a comma-separated list, number first coming first. */
static void
rotate_list(const char *list, size_t first, struct buf *out)
{
	const char *from = list;

	for (; first > 0 && strchr(from, ',') != NULL; first--)
		from = strchr(from, ',') + 1;
	buf_adds(out, from);
	if (from != list) {
		buf_addc(out, ',');
		buf_add(out, list, (size_t)(from - list) - 1);
	}
}

static size_t
list_len(const char *list)
{
	size_t n = 1;

	for (; *list != '\0'; list++)
		n += *list == ',';
	return n;
}

static bool
is_host_list(const PQconninfoOption *o)
{
	return o->val != NULL && strchr(o->val, ',') != NULL &&
	       (strcmp(o->keyword, "host") == 0 ||
		   strcmp(o->keyword, "hostaddr") == 0 ||
		   strcmp(o->keyword, "port") == 0);
}

enum { CONNECT_KEYS = 16 };

/* What libpq is told, and the memory behind it. */
struct connect_args {
	const char *keys[CONNECT_KEYS];
	const char *values[CONNECT_KEYS];
	size_t n;
	struct buf lists[3];
	size_t nlists;
};

static void
add_arg(struct connect_args *a, const char *key, const char *value)
{
	a->keys[a->n] = key;
	a->values[a->n++] = value;
}

/*
 * libpq's time-outs for each host are not kept by its non-blocking way of
 * connecting, so a first host that hangs would never give way to the second;
 * nor does one that refuses us: after an attempt that failed, the next one
 * begins with the next host. And of several hosts only the primary will do.
 */
static void
add_hosts(struct db *db, struct connect_args *a)
{
	PQconninfoOption *options = PQconninfoParse(db->conninfo, NULL), *o;
	bool attrs = false;

	if (db->failed)
		db->first_host++;
	db->failed = false;
	db->hosts = 0;
	for (o = options; o != NULL && o->keyword != NULL; o++) {
		if (strcmp(o->keyword, "target_session_attrs") == 0)
			attrs = o->val != NULL;
		if (!is_host_list(o))
			continue;
		db->hosts = MAX(db->hosts, list_len(o->val));
		rotate_list(o->val, db->first_host % list_len(o->val),
		    &a->lists[a->nlists]);
		add_arg(a,
		    o->keyword[0] == 'p'    ? "port"
		    : o->keyword[4] == '\0' ? "host"
					    : "hostaddr",
		    buf_str(&a->lists[a->nlists++]));
	}
	if (db->hosts > 0 && !attrs)
		add_arg(a, "target_session_attrs", "read-write");
	PQconninfoFree(options);
}

PGconn *
db_connect_with(struct db *db)
{
	struct connect_args a = { 0 };
	PGconn *conn;
	size_t i;

	/* The conninfo's own word counts for what stands before it. */
	add_arg(&a, "keepalives", "1");
	add_arg(&a, "keepalives_idle", "10");
	add_arg(&a, "keepalives_interval", "3");
	add_arg(&a, "keepalives_count", "3");
	add_arg(&a, "tcp_user_timeout", "5000");
	add_arg(&a, "fallback_application_name", "postern");
	add_arg(&a, "dbname", db->conninfo);
	add_arg(&a, "connect_timeout", "5");
	add_arg(&a, "client_encoding", "UTF8");
	add_hosts(db, &a);
	conn = PQconnectStartParams(a.keys, a.values, 1);
	if (conn == NULL)
		abort();
	PQsetNoticeReceiver(conn, note_notice, db);
	for (i = 0; i < a.nlists; i++)
		buf_free(&a.lists[i]);
	return conn;
}

void
db_connect_start(struct db *db)
{
	db->phase = DB_CONNECTING;
	if (db->told == NULL)
		db->state = "connecting";
	db->want_write = true;
	db->proved = false;
	db->deadline_us = db_in_ms(CONNECT_MS);
	db->conn = db_connect_with(db);
	db->fd = -1;
	db_note_socket(db);
	/* No socket at all: its error now, not at the deadline. */
	if (PQstatus(db->conn) == CONNECTION_BAD)
		db_go_down(db, "unreachable", PQerrorMessage(db->conn));
}

void
db_heard(struct db *db)
{
	db->heard_us = clock_mono_us();
	metrics_heard(db->heard_us);
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
void
db_go_down(struct db *db, const char *state, const char *error)
{
	bool lost = db->phase == DB_UP, again = lost && !db->stalled;

	db_set_error(db, error);
	/* What was told still counts: nothing else tells it until the next
	 * connection is proved. */
	if (lost) {
		db_take_notes(db);
		metrics_add(METRIC_DB_LOSSES, 1);
		metrics_set(METRIC_DB_UP, 0);
	}
	if (lost || db->told == NULL || strcmp(db->told, state) != 0)
		log_warn(lost ? "database_lost" : "database_unavailable",
		    LOG_S("state", state), LOG_S("error", buf_str(&db->error)));
	drop(db);
	db->phase = DB_DOWN;
	db->state = state;
	db->told = lost ? NULL : state;
	db->failed = !lost;
	/* A lost connection is tried anew at once, then ever more slowly. */
	db->fresh = again;
	if (again)
		db->backoff_ms = 0;
	else if (lost)
		db->backoff_ms = STALL_MS << MIN(db->stalls, 3);
	else
		db->backoff_ms = MAX(2 * db->backoff_ms, BACKOFF_MIN_MS);
	if (db->stalled)
		db->stalls++;
	db->backoff_ms = MIN(db->backoff_ms, BACKOFF_MAX_MS);
	db->stalled = false;
	db->retry_us = db_in_ms(jittered(db->backoff_ms));
	if (again)
		db_connect_start(db);
}

/* Connected, but not to be used: asked again about each second. */
void
db_go_unfit(struct db *db, const char *state, const char *error)
{
	db_go_down(db, state, error);
	db->backoff_ms = BACKOFF_MIN_MS;
	db->retry_us = db_in_ms(jittered(1000));
}

/* One step of connecting; false while it goes on or has failed. */
bool
db_connect_poll(struct db *db, PGconn *conn)
{
	bool done = false;

	switch (PQconnectPoll(conn)) {
	case PGRES_POLLING_READING:
		db->want_write = false;
		break;
	case PGRES_POLLING_WRITING:
		db->want_write = true;
		break;
	case PGRES_POLLING_OK:
		db->want_write = false;
		done = true;
		break;
	case PGRES_POLLING_ACTIVE:
	case PGRES_POLLING_FAILED:
	default:
		db_go_down(db, "unreachable", PQerrorMessage(conn));
		return false;
	}
	db_note_socket(db);
	return done;
}

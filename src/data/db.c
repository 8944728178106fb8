/*
 * The one libpq connection of this process: connecting without blocking,
 * queries with deadlines, notifications, errors told apart by SQLSTATE.
 * Whatever is not the caller's fault is ST_UNAVAILABLE, and a connection that
 * failed once is not asked again.
 *
 * LISTEN is proved before the connection counts as up: a pooler that gives
 * each transaction another server connection answers LISTEN with OK, and then
 * nothing ever arrives. A notification to oneself is proof enough on a direct
 * connection. Through a pooler (told by a backend that has another process id
 * than libpq was told) it has to come while we are idle: another connection,
 * the prover, sends it.
 */
#include "data/db.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/crypto.h"
#include "base/hex.h"
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
#include <sys/param.h>
#include <unistd.h>

enum { PREPARED_MAX = 64 };
enum { CONNECT_MS = 5000, PATIENCE_MS = 500, PROOF_MS = 1000 };
enum { HEARTBEAT_MS = 10000 };
enum { BACKOFF_MIN_MS = 100, BACKOFF_MAX_MS = 5000 };

enum { NONCE_BYTES = 16 };

/* In this order; without a listener DB_UP follows DB_SCHEMA. */
enum db_phase {
	DB_DOWN,
	DB_CONNECTING,
	DB_SETTINGS,
	DB_SCHEMA,
	DB_LISTEN,
	DB_NOTIFY, /* oneself */
	DB_PROVER, /* the prover connects and notifies */
	DB_PROOF,  /* its notification has to arrive */
	DB_UP
};

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
	bool fresh;        /* the first attempt after a start or a loss */
	bool failed;       /* the last attempt */
	size_t hosts;      /* that conninfo names; 0 = not a list */
	size_t first_host; /* the one to begin with */
	PGconn *prover;
	bool prover_asked;
	const struct db_listener *listener;
	char nonce[2 * NONCE_BYTES + 1];
	bool pooled; /* something stands between us and the server */
	bool proved;
	int64_t heard_us; /* when the server last said something */
	bool beating;     /* a heartbeat is on its way */
	int64_t beat_deadline_us;
	bool unreplicated; /* a commit is told, but not on the standby */
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
static void
note_socket(struct db *db)
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
	note_socket(db);
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

static PGconn *
connect_with(struct db *db)
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

static void
connect_start(struct db *db)
{
	db->phase = DB_CONNECTING;
	if (db->told == NULL)
		db->state = "connecting";
	db->want_write = true;
	db->proved = false;
	db->deadline_us = in_ms(CONNECT_MS);
	db->conn = connect_with(db);
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
	db->failed = !lost;
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
go_unfit(struct db *db, const char *state, const char *error)
{
	go_down(db, state, error);
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
	PQfinish(db->prover);
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

/* Send a query of the set-up; its results are read by step_setup. */
static void
send_setup(struct db *db, enum db_phase phase, const char *sql)
{
	db->phase = phase;
	if (PQsendQuery(db->conn, sql) != 1 || PQflush(db->conn) != 0)
		go_down(db, "unreachable", PQerrorMessage(db->conn));
}

/*
 * What each connection is told once, and asked: can it write, and has it our
 * table of migrations? A commit that waits for a synchronous standby is under
 * no time-out of the server, even when we have gone; it holds the one lock of
 * all that notify, our proof too. So those that we must have given up are
 * ended, and waits for that lock, which no statement_timeout covers either, end
 * before our patience.
 */
static void
send_settings(struct db *db)
{
	struct buf sql = { 0 };

	buf_addf(&sql,
	    "SET statement_timeout = %" PRId64 ";"
	    "SET lock_timeout = %" PRId64 ";"
	    "SET idle_in_transaction_session_timeout = 10000;"
	    "SET TimeZone = 'UTC';"
	    "SET client_min_messages = warning;"
	    "SELECT (pg_is_in_recovery() OR "
	    "current_setting('transaction_read_only')::bool)::int,"
	    " (to_regclass('postern_migrations') IS NOT NULL)::int,"
	    " (SELECT count(pg_terminate_backend(pid))"
	    " FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
	    " AND usename = current_user"
	    " AND application_name = current_setting('application_name')"
	    " AND query_start + interval '%" PRId64 " ms' <"
	    " clock_timestamp())",
	    db->query_timeout_ms, db->query_timeout_ms * 3 / 4,
	    db->query_timeout_ms);
	if (PQsetnonblocking(db->conn, 1) != 0)
		go_down(db, "unreachable", PQerrorMessage(db->conn));
	else
		send_setup(db, DB_SETTINGS, buf_str(&sql));
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
	db->heard_us = clock_mono_us();
	db->unreplicated = false;
	buf_reset(&db->error);
	log_info("database_up", LOG_S("host", PQhost(db->conn)),
	    LOG_S("port", PQport(db->conn)));
	if (db->listener != NULL)
		db->listener->renewed(db->listener->arg);
}

/* A query that notifies the channel with a nonce that is new each time. */
static void
add_notify(struct db *db, struct buf *sql)
{
	unsigned char raw[NONCE_BYTES];

	crypto_random(raw, sizeof raw);
	hex_encode(raw, sizeof raw, db->nonce);
	buf_addf(sql, "SELECT pg_backend_pid(), pg_notify('%s', 'proof %s')",
	    db->listener->channel, db->nonce);
}

/* Hand on the notifications that libpq has read. */
static void
take_notes(struct db *db)
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
		go_unfit(db, "read_only", "the server can't write");
	else if (PQgetvalue(res, 0, 1)[0] != '1')
		go_unfit(db, "schema_missing", "run: postern migrate");
}

static void
step_schema(struct db *db, PGresult *res)
{
	if (PQresultStatus(res) != PGRES_TUPLES_OK)
		go_down(db, "unreachable", PQerrorMessage(db->conn));
	else if (atoi(PQgetvalue(res, 0, 0)) < db->min_schema)
		go_unfit(db, "schema_outdated", "run: postern migrate");
}

/* LISTEN's answer, or who it was that notified: a pooler gave libpq another
 * process id than the server's. */
static void
step_listen(struct db *db, PGresult *res)
{
	if (PQresultStatus(res) == PGRES_TUPLES_OK)
		db->pooled =
		    atoi(PQgetvalue(res, 0, 0)) != PQbackendPID(db->conn);
	else if (PQresultStatus(res) != PGRES_COMMAND_OK)
		go_down(db, "unreachable", PQerrorMessage(db->conn));
}

static void
start_proof(struct db *db)
{
	db->phase = DB_PROOF;
	db->deadline_us = in_ms(PROOF_MS);
}

static void
start_prover(struct db *db)
{
	db->phase = DB_PROVER;
	db->proved = false;
	db->prover_asked = false;
	db->want_write = true;
	db->prover = connect_with(db);
	note_socket(db);
	if (PQstatus(db->prover) == CONNECTION_BAD)
		go_down(db, "unreachable", PQerrorMessage(db->prover));
}

/* A query of the set-up has no more results. */
static void
step_next(struct db *db)
{
	struct buf sql = { 0 };

	switch (db->phase) {
	case DB_SETTINGS:
		send_setup(db, DB_SCHEMA,
		    "SELECT coalesce(max(version), 0) FROM postern_migrations");
		break;
	case DB_SCHEMA:
		if (db->listener == NULL) {
			go_up(db);
			break;
		}
		buf_addf(&sql, "LISTEN %s", db->listener->channel);
		send_setup(db, DB_LISTEN, buf_str(&sql));
		break;
	case DB_LISTEN:
		add_notify(db, &sql);
		send_setup(db, DB_NOTIFY, buf_str(&sql));
		break;
	case DB_NOTIFY:
		if (db->pooled)
			start_prover(db);
		else
			start_proof(db);
		break;
	case DB_DOWN:
	case DB_CONNECTING:
	case DB_PROVER:
	case DB_PROOF:
	case DB_UP:
	default:
		break;
	}
	buf_free(&sql);
}

/* In a phase whose query may have more to say? */
static bool
setting_up(const struct db *db)
{
	return db->phase >= DB_SETTINGS && db->phase <= DB_NOTIFY;
}

static void
step_result(struct db *db, PGresult *res)
{
	if (res == NULL)
		step_next(db);
	else if (db->phase == DB_SETTINGS)
		step_settings(db, res);
	else if (db->phase == DB_LISTEN || db->phase == DB_NOTIFY)
		step_listen(db, res);
	else if (PQresultStatus(res) != PGRES_COMMAND_OK)
		step_schema(db, res);
	PQclear(res);
}

static void
step_setup(struct db *db)
{
	if (PQconsumeInput(db->conn) != 1) {
		go_down(db, "unreachable", PQerrorMessage(db->conn));
		return;
	}
	while (setting_up(db) && PQisBusy(db->conn) == 0)
		step_result(db, PQgetResult(db->conn));
	take_notes(db);
	if (db->phase == DB_PROOF && db->proved)
		go_up(db);
}

/* One step of connecting; false while it goes on or has failed. */
static bool
poll_connect(struct db *db, PGconn *conn)
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
		go_down(db, "unreachable", PQerrorMessage(conn));
		return false;
	}
	note_socket(db);
	return done;
}

/* The prover notifies, and goes. */
static void
step_prover(struct db *db)
{
	struct buf sql = { 0 };
	PGresult *res;

	if (PQstatus(db->prover) != CONNECTION_OK) {
		if (!poll_connect(db, db->prover))
			return;
	}
	if (!db->prover_asked) {
		db->prover_asked = true;
		add_notify(db, &sql);
		if (PQsendQuery(db->prover, buf_str(&sql)) != 1)
			go_down(db, "unreachable", PQerrorMessage(db->prover));
		buf_free(&sql);
		return;
	}
	if (PQconsumeInput(db->prover) != 1) {
		go_down(db, "unreachable", PQerrorMessage(db->prover));
		return;
	}
	if (PQisBusy(db->prover))
		return;
	res = PQgetResult(db->prover);
	if (PQresultStatus(res) != PGRES_TUPLES_OK) {
		go_down(db, "unreachable", PQerrorMessage(db->prover));
	} else {
		PQfinish(db->prover);
		db->prover = NULL;
		start_proof(db);
		note_socket(db);
	}
	PQclear(res);
}

/* Is there something to read (or the end of the connection)? */
static bool
readable(int fd, short events, int timeout)
{
	struct pollfd p = { .fd = fd, .events = events };

	return poll(&p, 1, timeout) > 0;
}

/* The heartbeat's answer, as far as it is there. A server that can't write any
 * more still answers: it is none of ours. */
static void
take_beat(struct db *db)
{
	PGresult *res;
	bool fit;

	while (db->beating && PQisBusy(db->conn) == 0) {
		res = PQgetResult(db->conn);
		if (res == NULL)
			db->beating = false;
		fit = res == NULL || (PQresultStatus(res) == PGRES_TUPLES_OK &&
					 PQgetvalue(res, 0, 0)[0] == 'f');
		PQclear(res);
		if (!fit)
			go_down(db, "unreachable", "the heartbeat failed");
	}
}

/* A connection that died without a word, or a server that hangs, is noticed
 * by a query now and then. */
static void
beat(struct db *db)
{
	int64_t now = clock_mono_us();

	if (db->beating && now >= db->beat_deadline_us) {
		go_down(db, "unreachable", "no heartbeat");
	} else if (!db->beating && now - db->heard_us >= HEARTBEAT_MS * 1000) {
		if (PQsendQuery(db->conn,
			"SELECT pg_is_in_recovery() OR "
			"current_setting('transaction_read_only')::bool") !=
			1 ||
		    PQflush(db->conn) != 0)
			go_down(db, "unreachable", PQerrorMessage(db->conn));
		db->beating = db->phase == DB_UP;
		db->beat_deadline_us = in_ms(db->query_timeout_ms);
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
			go_down(db, "unreachable", PQerrorMessage(db->conn));
			return;
		}
		db->heard_us = clock_mono_us();
		take_beat(db);
	}
	take_notes(db); /* also those that came with a query's result */
	if (db->phase == DB_UP)
		beat(db);
}

/* The deadline of setting up is over. */
static void
expire(struct db *db)
{
	if (db->phase == DB_PROOF) {
		go_unfit(db, "without_notifications",
		    "notifications don't arrive: a pooler in front of Postgres "
		    "has to give each client a session of its own "
		    "(pgbouncer: pool_mode = session)");
		return;
	}
	go_down(db, "unreachable",
	    db->phase == DB_PROVER
		? "no second connection through the pooler in time: it needs "
		  "room for one more than there are workers"
		: "connecting timed out");
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
		expire(db);
	} else if (!readable(db->fd,
		       db_events(db) == EPOLLOUT ? POLLOUT : POLLIN, 0)) {
		return;
	} else if (db->phase == DB_CONNECTING) {
		if (poll_connect(db, db->conn))
			send_settings(db);
	} else if (db->phase == DB_PROVER) {
		step_prover(db);
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
	db->heard_us = clock_mono_us();
	return last;
}

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

/* Up, or so soon up that waiting is kinder than a 503; and nothing else on
 * its way. */
static bool
usable(struct db *db)
{
	if (db->phase != DB_UP && db->fresh)
		(void)db_wait(db, PATIENCE_MS);
	if (db->phase != DB_UP)
		db->fresh = false; /* the next caller doesn't wait */
	if (db->phase == DB_UP && db->beating) {
		PQclear(collect(db, db->query_timeout_ms));
		db->beating = false;
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

/*
 * From a connection to one that counts as up: its settings, what the server
 * is, and the proof that notifications arrive.
 *
 * A pooler that gives each transaction another server connection answers
 * LISTEN with OK, and then nothing ever arrives. A notification to oneself is
 * proof enough on a direct connection. Through a pooler (told by a backend that
 * has another process id than libpq was told) it has to come while we are idle:
 * another connection, the prover, sends it.
 */
#include "data/db_conn.h"

#include "base/clock.h"
#include "base/crypto.h"
#include "base/hex.h"
#include "base/log.h"
#include "base/metrics.h"

#include <inttypes.h>
#include <stdlib.h>

enum { PROOF_MS = 1000 };

/* Send a query of the set-up; its results are read by step_setup. */
static void
send_setup(struct db *db, enum db_phase phase, const char *sql)
{
	db->phase = phase;
	if (PQsendQuery(db->conn, sql) != 1 || PQflush(db->conn) != 0)
		db_go_down(db, "unreachable", PQerrorMessage(db->conn));
}

/*
 * What each connection is told once, and asked: can it write, and has it our
 * table of migrations? A commit that waits for a synchronous standby is under
 * no time-out of the server, even when we have gone; it holds the one lock of
 * all that notify, our proof too. So those that we must have given up are
 * ended, and waits for that lock, which no statement_timeout covers either, end
 * before our patience.
 */
void
db_setup_start(struct db *db)
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
		db_go_down(db, "unreachable", PQerrorMessage(db->conn));
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
	db_heard(db);
	metrics_add(METRIC_DB_CONNECTS, 1);
	metrics_set(METRIC_DB_UP, 1);
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

static void
step_settings(struct db *db, PGresult *res)
{
	if (PQresultStatus(res) == PGRES_COMMAND_OK)
		return; /* of a SET */
	if (PQresultStatus(res) != PGRES_TUPLES_OK)
		db_go_down(db, "unreachable", PQerrorMessage(db->conn));
	else if (db->min_schema == 0)
		db->phase = DB_SCHEMA; /* nothing to ask: up at the end */
	else if (PQgetvalue(res, 0, 0)[0] != '0')
		db_go_unfit(db, "read_only", "the server can't write");
	else if (PQgetvalue(res, 0, 1)[0] != '1')
		db_go_unfit(db, "schema_missing", "run: postern migrate");
}

static void
step_schema(struct db *db, PGresult *res)
{
	if (PQresultStatus(res) != PGRES_TUPLES_OK)
		db_go_down(db, "unreachable", PQerrorMessage(db->conn));
	else if (atoi(PQgetvalue(res, 0, 0)) < db->min_schema)
		db_go_unfit(db, "schema_outdated", "run: postern migrate");
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
		db_go_down(db, "unreachable", PQerrorMessage(db->conn));
}

static void
start_proof(struct db *db)
{
	db->phase = DB_PROOF;
	db->deadline_us = db_in_ms(PROOF_MS);
}

static void
start_prover(struct db *db)
{
	db->phase = DB_PROVER;
	db->proved = false;
	db->prover_asked = false;
	db->want_write = true;
	db->prover = db_connect_with(db);
	db_note_socket(db);
	if (PQstatus(db->prover) == CONNECTION_BAD)
		db_go_down(db, "unreachable", PQerrorMessage(db->prover));
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

void
db_setup_step(struct db *db)
{
	if (PQconsumeInput(db->conn) != 1) {
		db_go_down(db, "unreachable", PQerrorMessage(db->conn));
		return;
	}
	while (setting_up(db) && PQisBusy(db->conn) == 0)
		step_result(db, PQgetResult(db->conn));
	db_take_notes(db);
	if (db->phase == DB_PROOF && db->proved)
		go_up(db);
}

/* The prover notifies, and goes. */
void
db_prover_step(struct db *db)
{
	struct buf sql = { 0 };
	PGresult *res;

	if (PQstatus(db->prover) != CONNECTION_OK) {
		if (!db_connect_poll(db, db->prover))
			return;
	}
	if (!db->prover_asked) {
		db->prover_asked = true;
		add_notify(db, &sql);
		if (PQsendQuery(db->prover, buf_str(&sql)) != 1)
			db_go_down(
			    db, "unreachable", PQerrorMessage(db->prover));
		buf_free(&sql);
		return;
	}
	if (PQconsumeInput(db->prover) != 1) {
		db_go_down(db, "unreachable", PQerrorMessage(db->prover));
		return;
	}
	if (PQisBusy(db->prover))
		return;
	res = PQgetResult(db->prover);
	if (PQresultStatus(res) != PGRES_TUPLES_OK) {
		db_go_down(db, "unreachable", PQerrorMessage(db->prover));
	} else {
		PQfinish(db->prover);
		db->prover = NULL;
		start_proof(db);
		db_note_socket(db);
	}
	PQclear(res);
}

/* The deadline of setting up is over. */
void
db_setup_expire(struct db *db)
{
	if (db->phase == DB_PROOF) {
		db_go_unfit(db, "without_notifications",
		    "notifications don't arrive: a pooler in front of Postgres "
		    "has to give each client a session of its own "
		    "(pgbouncer: pool_mode = session)");
		return;
	}
	db_go_down(db, "unreachable",
	    db->phase == DB_PROVER
		? "no second connection through the pooler in time: it needs "
		  "room for one more than there are workers"
		: "connecting timed out");
}

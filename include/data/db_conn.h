#ifndef POSTERN_DATA_DB_CONN_H
#define POSTERN_DATA_DB_CONN_H

#include "base/buf.h"
#include "data/db.h"

#include <libpq-fe.h>

/*
 * The connection, for src/data/db*.c alone: db_connect.c makes and loses it,
 * db_setup.c brings it up, db.c uses it.
 */
enum { PREPARED_MAX = 64, NONCE_BYTES = 16 };

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
	bool stalled;      /* it is lost because a query timed out */
	unsigned stalls;   /* in a row */
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

/* The monotonic µs that are ms milliseconds away. */
int64_t db_in_ms(int64_t ms);

/* Keep the text of an error, for db_error. */
void db_set_error(struct db *db, const char *text);

/* The server said something, now. */
void db_heard(struct db *db);

/* libpq changes its socket while it tries several hosts: look again. */
void db_note_socket(struct db *db);

/* A connection to the next host that is due, being made. */
PGconn *db_connect_with(struct db *db);

/* Begin to connect; the phase is DB_CONNECTING, or DB_DOWN already. */
void db_connect_start(struct db *db);

/* One step of connecting, db's own connection or the prover; false while it
 * goes on or has failed. */
bool db_connect_poll(struct db *db, PGconn *conn);

/*
 * The attempt, or the connection, failed: state and error say why. One that
 * was up is tried anew at once, unless a query timed out: whatever it hangs on
 * would hold the next caller too. db_go_unfit: it connects, but is not to be
 * used, and is asked again about each second.
 */
void db_go_down(struct db *db, const char *state, const char *error);
void db_go_unfit(struct db *db, const char *state, const char *error);

/* Connected: send the first query of the set-up. Then, whenever there is
 * something to read (or to write), a step of it; the phase tells which. */
void db_setup_start(struct db *db);
void db_setup_step(struct db *db);
void db_prover_step(struct db *db);

/* The deadline of connecting and setting up is over. */
void db_setup_expire(struct db *db);

/* Hand on the notifications that libpq has read. */
void db_take_notes(struct db *db);

#endif

#ifndef POSTERN_DATA_PROFILE_H
#define POSTERN_DATA_PROFILE_H

#include "base/buf.h"
#include "data/db.h"
#include "data/requirements.h"
#include "data/timeline.h"
#include "data/wire.h"

/*
 * What has to be so before a link counts as up: the questions of setting it up,
 * and what their answers mean. For src/data/{profile,link,db,schema}.c.
 */
struct profile {
	const char *conninfo; /* the caller's, which stays */
	int64_t query_timeout_ms;
	int min_schema; /* of a database that can be written: what the program
			   knows; 0 = any at all */
	const struct db_listener *listener; /* NULL = it hears nothing */
};

/* What is known of the session at hand. */
enum { SETUP_NONCE = 16, SETUP_ADDRESS = 64 };
struct setup {
	const struct profile *profile;
	int backend; /* the process id that libpq was told */
	/* The server's own words: its process, and when that was started (µs of
	 * the epoch); its address, "" = a socket file; its timeline, which not
	 * every server tells. */
	int pid;
	int64_t started_us;
	char address[SETUP_ADDRESS];
	struct timeline timeline;
	char nonce[2 * SETUP_NONCE + 1];
	bool proved; /* that notification has come */
	bool asked;  /* one that asks to look at the schema at once */
	bool pooled; /* something stands between us and the server */
	/* Of what requests need (requirements.h) the weightiest that is not so,
	 * NULL = all is; and as it comes from the question on its way, with the
	 * texts of all. When that was asked, and will be again. */
	const struct fact *unready;
	const struct fact *found;
	struct buf *faults;
	bool settled; /* it has been up: what is found now ends it no more */
	int64_t reviewed_us;
	int64_t review_us;
};

/* Good, where state is NULL; else the state's name, a constant, and why: an
 * error of NULL is libpq's, of an answer that did not come off; borrowed. */
struct verdict {
	const char *state;
	const char *error;
};

/* How long a question may take; then what else a role, a database or a server
 * may have set otherwise. */
void profile_ask_times(struct setup *s, struct buf *sql);
void profile_ask_settings(struct setup *s, struct buf *sql);
struct verdict profile_judge_command(
    struct setup *s, const struct pg_result *res);

/* Which one is it? */
void profile_ask_server(struct setup *s, struct buf *sql);
struct verdict profile_judge_server(
    struct setup *s, const struct pg_result *res);

/* Is all of requirements.h so? Only what is fatal ends the attempt, and nothing
 * what is up: the heartbeat does. It is looked at again after a minute, or soon
 * where something makes one wonder. */
bool profile_wants_facts(const struct setup *s);
void profile_ask_facts(struct setup *s, struct buf *sql);
struct verdict profile_judge_facts(
    struct setup *s, const struct pg_result *res);
bool profile_wants_review(const struct setup *s);
void profile_doubt(struct setup *s);

/* What was found counts. True if that is news. */
bool profile_conclude(struct setup *s);

/* Of postern_migrations AS m: the schema's version, and which one programs have
 * to know that serve it. An older table has no such column, and all may. */
#define PROFILE_SCHEMA                                                         \
	"coalesce(max(m.version), 0),"                                         \
	" coalesce(max((to_jsonb(m) ->> 'serves_from')::int), 0)"

/* On which timeline is it? A server that won't say is served all the same. One
 * that was replaced is not, whichever process found out. */
void profile_ask_timeline(struct setup *s, struct buf *sql);
struct verdict profile_judge_timeline(
    struct setup *s, const struct pg_result *res);
struct verdict profile_judge_replaced(const struct setup *s);

bool profile_wants_news(const struct setup *s);
void profile_ask_listen(struct setup *s, struct buf *sql);

/* A notification with a new nonce; the answer tells whether a pooler is in
 * between. */
void profile_ask_notify(struct setup *s, struct buf *sql);
struct verdict profile_judge_notify(
    struct setup *s, const struct pg_result *res);

/* One that has come: the proof, or for the listener. arg is a struct setup. */
void profile_take_note(void *arg, const char *payload);

/* Through a pooler another connection notifies. */
bool profile_wants_prover(const struct setup *s);
struct verdict profile_judge_rows(struct setup *s, const struct pg_result *res);

/* Asked on another connection: end the session's wait for a synchronous
 * standby, and nothing else. */
void profile_ask_cancel(struct setup *s, struct buf *sql);

/* Now and then, while it is up: can it still be written, may it be served, and
 * on which timeline is it? */
void profile_ask_beat(struct setup *s, struct buf *sql);
struct verdict profile_judge_beat(struct setup *s, const struct pg_result *res);

#endif

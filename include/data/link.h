#ifndef POSTERN_DATA_LINK_H
#define POSTERN_DATA_LINK_H

#include "base/log.h"
#include "data/hosts.h"
#include "data/profile.h"
#include "data/retry.h"

/*
 * A connection that is kept: made without blocking, set up, judged, listened
 * to, noticed when it is lost and made again. What has to be so before it
 * counts as up is its profile. For src/data/{link,phases,db}.c.
 */

/* In this order, less what a profile does without. */
enum link_phase {
	LINK_DOWN,
	LINK_RESOLVING, /* the names of hosts */
	LINK_CONNECTING,
	LINK_TIMES,
	LINK_SETTINGS,
	LINK_SERVER,
	LINK_TIMELINE,
	LINK_FACTS,
	LINK_LISTEN,
	LINK_NOTIFY, /* oneself */
	LINK_PROVER, /* another connection through the pooler is made */
	LINK_PROVES, /* it notifies */
	LINK_PROOF,  /* that notification has to arrive */
	LINK_ARRIVED,
	LINK_CANCELLER, /* by link_cancel: another connection is made */
	LINK_CANCELS,   /* it ends a wait */
	LINK_CANCELLED, /* what waited has to come to its end */
	LINK_UP,
	LINK_BEAT,   /* up, with a heartbeat on its way */
	LINK_REVIEW, /* up, and looked at anew */
	LINK_PHASES
};

struct link;

/* What a phase is; all of it may be NULL. */
struct phase {
	const char *name; /* of its question, for the log */
	/* Does this link go through it? */
	bool (*wanted)(const struct setup *s);
	/* It begins: what is done, and what is asked; then each result of it */
	void (*enter)(struct link *l);
	void (*ask)(struct setup *s, struct buf *sql);
	struct verdict (*judge)(struct setup *s, const struct pg_result *res);
	/* There is something to read, or to write while connecting. */
	void (*ready)(struct link *l);
	/* due_us is over: what is done, or how it ends and why. */
	void (*over)(struct link *l);
	enum retry_end end;
	struct verdict late;
	enum link_phase next;
};

/* Written by link.c and phases.c; db.c reads it. */
struct link {
	const struct phase *phases; /* LINK_PHASES of them */
	struct profile profile;
	struct setup setup;
	struct hosts *hosts;
	struct wire *wire;
	struct wire *other; /* the prover, or the canceller */
	enum link_phase phase;
	int64_t due_us;    /* when the phase is over, or something to be done */
	const char *state; /* a constant, for db_state */
	struct buf error;  /* the last one */
	struct buf faults; /* for the setup */
	int fd;
	uint64_t generation; /* of the socket */
	uint64_t session;    /* with each one what was prepared is gone */
	struct retry retry;
	int64_t patience_ms; /* what one caller may wait for this attempt */
	const char *asked;   /* the last question, as the log names it */
	int64_t sent_us;     /* when that was */
	int64_t answered_us; /* of db_answered_us */
};

/* Starts connecting; profile is copied, phases stay. The caller frees. */
struct link *link_new(
    const struct profile *profile, const struct phase *phases);
void link_free(struct link *l);

/* As the functions of db.h that are called so. */
void link_listen(struct link *l, const struct db_listener *listener);
uint32_t link_events(const struct link *l);
int64_t link_due_us(const struct link *l);
void link_step(struct link *l);
bool link_is_up(const struct link *l);
bool link_hears(const struct link *l);
bool link_in_vain(const struct link *l);

/* Wait until it can be asked, at most timeout_ms. */
bool link_wait(struct link *l, int64_t timeout_ms);

/* Can it be asked, or so soon that waiting is kinder than a 503? */
bool link_ready(struct link *l);

/* Send a question, whose name is a constant, on a link that is ready; false
 * when it was lost with it. */
bool link_send(struct link *l, const struct wire_query *q, const char *name);

/* What has become of it: there is an answer; the connection failed, in
 * libpq's words; or it is no good any more, or was too slow to be tried anew at
 * once, in the caller's. */
void link_answered(struct link *l);
void link_fail(struct link *l);
void link_end(struct link *l, enum retry_end why, const char *error);

/* By what it answered it may not do any more: that is looked at next. */
void link_doubt(struct link *l);

/*
 * What was asked may be a commit that waits for a synchronous standby, which no
 * time-out of the server ends: end that wait, and keep the session. Until then
 * nothing else can be asked.
 */
void link_cancel(struct link *l);

/* Did the server say of what was asked last that it is committed, but not on
 * its synchronous standby? Then the log has it. */
bool link_unreplicated(struct link *l);

/* Keep the text of an error, for db_error, as one line. */
void link_set_error(struct link *l, const char *text);

/* A line of trouble with the database: which server it is, what was asked, and
 * the last error. sqlstate may be NULL. */
void link_log(const struct link *l, enum log_level level, const char *event,
    const char *sqlstate);

/*
 * What the phases do it with.
 */

/* How long one caller may be kept waiting for an attempt. */
enum { LINK_PATIENCE_MS = 500 };

/* On to the next phase that this link goes through. */
void link_advance(struct link *l);

/* The attempt, or the link, has come to its end. error may be libpq's own. */
void link_go_down(
    struct link *l, enum retry_end why, const char *state, const char *error);

/* The phase is over, or something to be done, in so many ms. */
void link_due_in(struct link *l, int64_t ms);

/* The one of its connections that is waited for; its socket, which libpq
 * changes while it tries several hosts, is the link's from now on. */
struct wire *link_current(const struct link *l);
void link_note_socket(struct link *l);

/* Is there something to read from it? */
bool link_can_read(const struct link *l);

/* Judge the results that have come, and hand on the notifications that libpq
 * has read. */
void link_take_results(struct link *l);
void link_take_notes(struct link *l);

/*
 * The answer to what was asked last is whole. What was told before the question
 * came ahead of it, but not while there is a transaction; and on the way up
 * nobody listens yet.
 */
void link_note_answer(struct link *l);

/* Up, and answered now. The next question is due in a while whatever is told
 * meanwhile: how far news has come is known by questions alone. */
void link_rest(struct link *l);

#endif

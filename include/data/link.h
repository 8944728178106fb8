#ifndef POSTERN_DATA_LINK_H
#define POSTERN_DATA_LINK_H

#include "data/hosts.h"
#include "data/profile.h"

/*
 * A connection that is kept: made without blocking, set up, judged, listened
 * to, noticed when it is lost and made again. What has to be so before it
 * counts as up is its profile. For src/data/{link,db}.c.
 */

/* In this order, less what a profile does without. */
enum link_phase {
	LINK_DOWN,
	LINK_RESOLVING, /* the names of hosts */
	LINK_CONNECTING,
	LINK_SETTINGS,
	LINK_SCHEMA,
	LINK_LISTEN,
	LINK_NOTIFY, /* oneself */
	LINK_PROVER, /* another connection through the pooler is made */
	LINK_PROVES, /* it notifies */
	LINK_PROOF,  /* that notification has to arrive */
	LINK_ARRIVED,
	LINK_UP,
	LINK_BEAT, /* up, with a heartbeat on its way */
	LINK_PHASES
};

/* Written by link.c alone; db.c reads it. */
struct link {
	struct profile profile;
	struct setup setup;
	struct hosts *hosts;
	struct wire *wire;
	struct wire *prover;
	enum link_phase phase;
	int64_t due_us;    /* when the phase is over, or something to be done */
	const char *state; /* a constant, for db_state */
	struct buf error;  /* the last one */
	int fd;
	uint64_t generation; /* of the socket */
	uint64_t session;    /* with each one what was prepared is gone */
	unsigned failures;   /* attempts in a row, since it was up */
	unsigned stalls;     /* ends of that kind, in a row */
	int64_t backoff_ms;  /* the last one */
	int64_t patience_ms; /* what one caller may wait for this attempt */
	int64_t sent_us;     /* the last question */
	int64_t answered_us; /* of db_answered_us */
};

/* Starts connecting; profile is copied. The caller frees. */
struct link *link_new(const struct profile *profile);
void link_free(struct link *l);

/* As the functions of db.h that are called so. */
void link_listen(struct link *l, const struct db_listener *listener);
uint32_t link_events(const struct link *l);
void link_step(struct link *l);
bool link_wait(struct link *l, int64_t timeout_ms);
bool link_is_up(const struct link *l);
bool link_hears(const struct link *l);

/* Up, or so soon up that waiting is kinder than a 503; and nothing else on its
 * way. Else no question can be asked. */
bool link_ready(struct link *l);

/*
 * Ask, on a link that is up, and wait at most timeout_ms (0 = without end) for
 * the answer, which the caller frees with wire_clear. NULL: the link is lost,
 * for it failed or said nothing in time.
 */
struct pg_result *link_ask(
    struct link *l, const struct wire_query *q, int64_t timeout_ms);

/* Keep the text of an error, for db_error. */
void link_set_error(struct link *l, const char *text);

/* The link is no good any more: by what it answered; or it answers, but what
 * it does takes longer than a query may: then it is not tried anew at once. */
void link_lose(struct link *l, const char *error);
void link_stall(struct link *l, const char *error);

/* Something whole was done in time: what stalled it is over. */
void link_settle(struct link *l);

#endif

/*
 * A connection as one machine: the phases of its life, and in one table what
 * each of them does and which one comes next. On the way up it is told its
 * settings, and asked what the server is; then, where there is a listener, that
 * notifications arrive has to be proved (profile.c).
 */
#include "data/link.h"

#include "base/clock.h"
#include "base/crypto.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/param.h>

enum { CONNECT_MS = 5000, PROOF_MS = 1000, HEARTBEAT_MS = 10000 };
enum { BACKOFF_MIN_MS = 100, BACKOFF_MAX_MS = 5000 };
enum { UNFIT_MS = 1000, STALL_MS = 1000, STALLS_MAX = 3 };
enum { PATIENCE_MS = 500 };

/* Why it goes down. */
enum link_end {
	END_FAILED,
	END_STALLED, /* it is there, but was not done in time */
	END_UNFIT    /* it can be connected to, but not used */
};

/* What a phase is; all of it may be NULL. */
struct phase {
	/* Does this link go through it? */
	bool (*wanted)(const struct setup *s);
	/* It begins: what is done, and what is asked; then each result of it */
	void (*enter)(struct link *l);
	void (*ask)(struct setup *s, struct buf *sql);
	struct verdict (*judge)(struct setup *s, const struct pg_result *res);
	/* There is something to read, or to write while connecting. */
	void (*ready)(struct link *l);
	/* due_us is over. */
	void (*late)(struct link *l);
	enum link_phase next;
};
static const struct phase phases[LINK_PHASES];

bool
link_is_up(const struct link *l)
{
	return l->phase >= LINK_UP;
}

/* The monotonic µs that are ms milliseconds away. */
static int64_t
in_ms(int64_t ms)
{
	return clock_mono_us() + ms * 1000;
}

/* The one that is waited for. */
static struct wire *
current(const struct link *l)
{
	return l->prover != NULL ? l->prover : l->wire;
}

/* libpq changes its socket while it tries several hosts. */
static void
note_socket(struct link *l)
{
	int fd = -1;

	if (current(l) != NULL)
		fd = wire_fd(current(l));
	else if (l->phase == LINK_RESOLVING)
		fd = hosts_fd(l->hosts);
	if (fd == l->fd)
		return;
	l->fd = fd;
	l->generation++;
}

static void ask(struct link *l);

static void
enter(struct link *l, enum link_phase phase)
{
	while (phases[phase].wanted != NULL && !phases[phase].wanted(&l->setup))
		phase = phases[phase].next;
	l->phase = phase;
	if (phases[phase].enter != NULL)
		phases[phase].enter(l);
	if (l->phase == phase && phases[phase].ask != NULL)
		ask(l);
}

static void
advance(struct link *l)
{
	enter(l, phases[l->phase].next);
}

void
link_set_error(struct link *l, const char *text)
{
	size_t n = strlen(text);

	while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == ' '))
		n--;
	buf_reset(&l->error);
	buf_add(&l->error, text, n);
}

/* Up, and answered now. The next question is due in a while whatever is told
 * meanwhile: how far news has come is known by questions alone. */
static void
rest(struct link *l)
{
	metrics_heard(clock_mono_us());
	l->due_us = in_ms(HEARTBEAT_MS);
}

/*
 * The answer to what was asked last is whole. What was told before the question
 * came ahead of it, but not while there is a transaction; and on the way up
 * nobody listens yet.
 */
static void
note_answer(struct link *l)
{
	if (link_hears(l) && wire_idle(l->wire))
		l->answered_us = l->sent_us;
}

/* Notifications, as they go to the listener. */
struct notes {
	struct link *link;
	bool proved; /* the one that we wait for was among them */
};

static void
take_note(void *arg, const char *payload)
{
	struct notes *n = arg;
	const struct db_listener *to = n->link->profile.listener;

	if (!profile_is_proof(&n->link->setup, payload, &n->proved) &&
	    to != NULL)
		to->notified(to->arg, payload);
}

/* Hand on the notifications that libpq has read. */
static bool
take_notes(struct link *l)
{
	struct notes n = { .link = l };

	if (l->wire != NULL)
		wire_notes(l->wire, take_note, &n);
	return n.proved;
}

/* Half to the whole of the backoff, so that workers don't come back as one. */
static int64_t
jittered(int64_t ms)
{
	uint32_t r;

	crypto_random(&r, sizeof r);
	return ms / 2 + (int64_t)(r % (uint32_t)(ms / 2 + 1));
}

/* A lost link is tried anew at once, then ever more slowly; whatever one hangs
 * on would hold the next caller too. Returns ms. */
static int64_t
back_off(struct link *l, enum link_end why, bool lost)
{
	if (why == END_UNFIT) {
		l->backoff_ms = BACKOFF_MIN_MS;
		return UNFIT_MS;
	}
	if (!lost)
		l->backoff_ms = MAX(2 * l->backoff_ms, BACKOFF_MIN_MS);
	else if (why == END_STALLED)
		l->backoff_ms = STALL_MS << MIN(l->stalls, STALLS_MAX);
	else
		l->backoff_ms = 0;
	l->backoff_ms = MIN(l->backoff_ms, BACKOFF_MAX_MS);
	if (why == END_STALLED)
		l->stalls++;
	return l->backoff_ms;
}

static void
drop(struct link *l)
{
	wire_free(l->prover);
	wire_free(l->wire);
	l->prover = l->wire = NULL;
	note_socket(l);
	l->generation++; /* the number may come back for another socket */
	l->session++;
}

/* The attempt, or the link, has come to its end. error may be libpq's own. */
static void
go_down(struct link *l, enum link_end why, const char *state, const char *error)
{
	bool lost = link_is_up(l), again = lost && why != END_STALLED;

	link_set_error(l, error);
	/* What was told still counts: nothing else tells it until the next
	 * connection is proved. */
	if (lost) {
		(void)take_notes(l);
		metrics_add(METRIC_DB_LOSSES, 1);
		metrics_set(METRIC_DB_UP, 0);
	}
	if (lost || l->failures == 0 || strcmp(l->state, state) != 0)
		log_warn(lost ? "database_lost" : "database_unavailable",
		    LOG_S("state", state), LOG_S("error", buf_str(&l->error)));
	l->phase = LINK_DOWN;
	drop(l);
	l->state = state;
	l->failures = lost ? 0 : l->failures + 1;
	l->patience_ms = again ? PATIENCE_MS : 0;
	l->due_us = in_ms(jittered(back_off(l, why, lost)));
	if (!lost)
		hosts_next(l->hosts);
	if (again)
		advance(l);
}

/* By libpq's word. */
static void
fail(struct link *l)
{
	go_down(l, END_FAILED, "unreachable", wire_error(current(l)));
}

/* Ask the phase's question; its results come by take_results. */
static void
ask(struct link *l)
{
	struct buf sql = { 0 };

	phases[l->phase].ask(&l->setup, &sql);
	l->sent_us = clock_mono_us();
	if (!wire_send(
		current(l), &(struct wire_query){ .sql = buf_str(&sql) }))
		fail(l);
	buf_free(&sql);
}

/* A result of it. */
static void
judge(struct link *l, const struct pg_result *res)
{
	struct verdict v = phases[l->phase].judge(&l->setup, res);

	if (v.state == NULL)
		return;
	if (v.error == NULL)
		fail(l);
	else
		go_down(l, link_is_up(l) ? END_FAILED : END_UNFIT, v.state,
		    v.error);
}

/* What has come of the answer. */
static void
take_results(struct link *l)
{
	struct pg_result *res;

	while (phases[l->phase].judge != NULL &&
	       wire_next(current(l), &res) == WIRE_DONE) {
		if (res == NULL) {
			note_answer(l);
			advance(l);
		} else {
			judge(l, res);
		}
		wire_clear(res);
	}
}

static void
go_on_resolving(struct link *l)
{
	enum wire_turn turn = hosts_turn(l->hosts);

	l->due_us = hosts_due_us(l->hosts);
	note_socket(l);
	if (turn == WIRE_DONE)
		advance(l);
	else if (turn == WIRE_FAILED)
		go_down(l, END_FAILED, "unreachable", hosts_error(l->hosts));
}

static void
resolve(struct link *l)
{
	if (l->failures == 0)
		l->state = "connecting";
	hosts_start(l->hosts);
	go_on_resolving(l);
}

static void
connect_now(struct link *l)
{
	l->due_us = in_ms(CONNECT_MS);
	l->wire = wire_new(hosts_args(l->hosts));
	l->fd = -1;
	note_socket(l);
	/* No socket at all: its error now, not at the deadline. */
	if (wire_broken(l->wire))
		fail(l);
}

static void
go_on_connecting(struct link *l)
{
	enum wire_turn turn = wire_connect(current(l));

	if (turn == WIRE_FAILED) {
		fail(l);
		return;
	}
	note_socket(l);
	if (turn == WIRE_DONE)
		advance(l);
}

static void
begin_session(struct link *l)
{
	l->setup.backend = wire_backend(l->wire);
}

static void
time_out(struct link *l)
{
	go_down(l, END_FAILED, "unreachable", "connecting timed out");
}

static void
connect_prover(struct link *l)
{
	l->prover = wire_new(hosts_args(l->hosts));
	note_socket(l);
	if (wire_broken(l->prover))
		fail(l);
}

static void
prover_late(struct link *l)
{
	go_down(l, END_FAILED, "unreachable",
	    "no second connection through the pooler in time: it needs room "
	    "for one more than there are workers");
}

static void
wait_for_proof(struct link *l)
{
	wire_free(l->prover);
	l->prover = NULL;
	note_socket(l);
	l->due_us = in_ms(PROOF_MS);
}

static void
take_answer(struct link *l)
{
	if (!wire_read(current(l))) {
		fail(l);
		return;
	}
	take_results(l);
	/* Not before: the proof may come ahead of its query's end. */
	if (l->phase == LINK_PROOF && take_notes(l))
		advance(l);
}

static void
proof_late(struct link *l)
{
	go_down(l, END_UNFIT, "without_notifications",
	    "notifications don't arrive: a pooler in front of Postgres has to "
	    "give each client a session of its own (pgbouncer: pool_mode = "
	    "session)");
}

static void
arrive(struct link *l)
{
	const struct db_listener *listener = l->profile.listener;

	l->state = "up";
	l->failures = 0;
	l->patience_ms = 0;
	l->backoff_ms = 0;
	metrics_add(METRIC_DB_CONNECTS, 1);
	metrics_set(METRIC_DB_UP, 1);
	buf_reset(&l->error);
	log_info("database_up", LOG_S("host", wire_host(l->wire)),
	    LOG_S("port", wire_port(l->wire)));
	if (listener != NULL)
		listener->renewed(listener->arg);
	advance(l);
}

static bool
readable(int fd, short events, int timeout)
{
	struct pollfd p = { .fd = fd, .events = events };

	return poll(&p, 1, timeout) > 0;
}

/* Notifications, the heartbeat's answer, and the end of a dead connection.
 * libpq tells of an end only on the second look. */
static void
hear(struct link *l)
{
	do {
		if (!wire_read(l->wire)) {
			fail(l);
			return;
		}
		metrics_heard(clock_mono_us());
		take_results(l);
		/* Each time, so that a pile of them takes no memory. */
		(void)take_notes(l);
	} while (link_is_up(l) && readable(l->fd, POLLIN, 0));
}

/* A connection that died without a word, or a server that hangs, is noticed by
 * a query now and then. */
static void
beat(struct link *l)
{
	l->due_us = in_ms(l->profile.query_timeout_ms);
}

static void
beat_late(struct link *l)
{
	go_down(l, END_FAILED, "unreachable", "no heartbeat");
}

/* The life of a link; from each of them the other way is go_down. */
static const struct phase phases[LINK_PHASES] = {
	/*    wanted, enter, ask, judge, ready, late, next */
	[LINK_DOWN] = { NULL, NULL, NULL, NULL, NULL, advance, LINK_RESOLVING },
	[LINK_RESOLVING] = { NULL, resolve, NULL, NULL, go_on_resolving,
	    go_on_resolving, LINK_CONNECTING },
	[LINK_CONNECTING] = { NULL, connect_now, NULL, NULL, go_on_connecting,
	    time_out, LINK_SETTINGS },
	[LINK_SETTINGS] = { NULL, begin_session, profile_ask_settings,
	    profile_judge_settings, take_answer, time_out, LINK_SCHEMA },
	[LINK_SCHEMA] = { profile_wants_schema, NULL, profile_ask_schema,
	    profile_judge_schema, take_answer, time_out, LINK_LISTEN },
	[LINK_LISTEN] = { profile_wants_news, NULL, profile_ask_listen,
	    profile_judge_listen, take_answer, time_out, LINK_NOTIFY },
	[LINK_NOTIFY] = { profile_wants_news, NULL, profile_ask_notify,
	    profile_judge_notify, take_answer, time_out, LINK_PROVER },
	[LINK_PROVER] = { profile_wants_prover, connect_prover, NULL, NULL,
	    go_on_connecting, prover_late, LINK_PROVES },
	[LINK_PROVES] = { profile_wants_prover, NULL, profile_ask_notify,
	    profile_judge_prover, take_answer, prover_late, LINK_PROOF },
	[LINK_PROOF] = { profile_wants_news, wait_for_proof, NULL, NULL,
	    take_answer, proof_late, LINK_ARRIVED },
	[LINK_ARRIVED] = { NULL, arrive, NULL, NULL, NULL, NULL, LINK_UP },
	[LINK_UP] = { NULL, rest, NULL, NULL, hear, advance, LINK_BEAT },
	[LINK_BEAT] = { NULL, beat, profile_ask_beat, profile_judge_beat, hear,
	    beat_late, LINK_UP },
};

struct link *
link_new(const struct profile *profile)
{
	struct link *l = mem_alloc(sizeof *l);

	l->profile = *profile;
	l->setup.profile = &l->profile;
	l->hosts = hosts_new(profile->conninfo);
	l->fd = -1;
	l->patience_ms = PATIENCE_MS;
	enter(l, LINK_RESOLVING);
	return l;
}

void
link_free(struct link *l)
{
	if (l == NULL)
		return;
	wire_free(l->prover);
	wire_free(l->wire);
	hosts_free(l->hosts);
	buf_free(&l->error);
	free(l);
}

void
link_listen(struct link *l, const struct db_listener *listener)
{
	l->profile.listener = listener;
}

/* Does it wait for its socket to take something? */
static bool
writes(const struct link *l)
{
	return (l->phase == LINK_CONNECTING || l->phase == LINK_PROVER) &&
	       wire_wants_write(current(l));
}

uint32_t
link_events(const struct link *l)
{
	return writes(l) ? EPOLLOUT : EPOLLIN;
}

bool
link_hears(const struct link *l)
{
	return link_is_up(l) && profile_wants_news(&l->setup);
}

void
link_step(struct link *l)
{
	const struct phase *p = &phases[l->phase];

	if (p->ready != NULL &&
	    readable(l->fd, writes(l) ? POLLOUT : POLLIN, 0))
		p->ready(l);
	if (link_is_up(l))
		(void)take_notes(l); /* those that came with a result */
	if (clock_mono_us() >= l->due_us)
		phases[l->phase].late(l);
}

bool
link_wait(struct link *l, int64_t timeout_ms)
{
	int64_t until = in_ms(timeout_ms), now = clock_mono_us();

	while (!link_is_up(l) && now < until) {
		(void)readable(l->fd, writes(l) ? POLLOUT : POLLIN,
		    (int)((MIN(MAX(l->due_us, now), until) - now) / 1000 + 1));
		link_step(l);
		now = clock_mono_us();
	}
	return link_is_up(l);
}

/* The last result of what was sent, the link idle again; NULL where it is
 * lost. */
static struct pg_result *
collect(struct link *l, int64_t timeout_ms)
{
	int64_t until = timeout_ms > 0 ? in_ms(timeout_ms) : INT64_MAX / 2;
	struct pg_result *res;

	switch (wire_collect(l->wire, until, &res)) {
	case WIRE_DONE:
		note_answer(l);
		if (l->phase == LINK_UP)
			rest(l);
		return res;
	case WIRE_LATE:
		link_stall(l, "a query timed out");
		return NULL;
	case WIRE_WAITS:
	case WIRE_FAILED:
	default:
		fail(l);
		return NULL;
	}
}

bool
link_ready(struct link *l)
{
	struct pg_result *res;

	if (!link_is_up(l) && l->patience_ms > 0 &&
	    !link_wait(l, l->patience_ms))
		l->patience_ms = 0; /* the next caller doesn't wait */
	if (l->phase == LINK_BEAT) {
		res = collect(l, l->profile.query_timeout_ms);
		if (res != NULL) {
			judge(l, res);
			wire_clear(res);
		}
		if (l->phase == LINK_BEAT)
			advance(l);
	}
	return link_is_up(l);
}

struct pg_result *
link_ask(struct link *l, const struct wire_query *q, int64_t timeout_ms)
{
	l->sent_us = clock_mono_us();
	if (!wire_send(l->wire, q)) {
		fail(l);
		return NULL;
	}
	return collect(l, timeout_ms);
}

void
link_lose(struct link *l, const char *error)
{
	go_down(l, END_FAILED, "unreachable", error);
}

void
link_stall(struct link *l, const char *error)
{
	go_down(l, END_STALLED, "unreachable", error);
}

void
link_settle(struct link *l)
{
	l->stalls = 0;
}

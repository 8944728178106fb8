/*
 * A connection as one machine: the phases of its life, and in one table what
 * each of them does and which one comes next. On the way up it is told its
 * settings, and asked what the server is; then, where there is a listener, that
 * notifications arrive has to be proved (profile.c).
 */
#include "data/link.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "data/trouble.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/param.h>

enum { CONNECT_MS = 5000, PROOF_MS = 1000, HEARTBEAT_MS = 10000 };
enum { CANCEL_MS = 1000 };
enum { PATIENCE_MS = 500 };

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
static const struct phase phases[LINK_PHASES];

bool
link_is_up(const struct link *l)
{
	return l->phase >= LINK_UP;
}

bool
link_in_vain(const struct link *l)
{
	unsigned n = l->retry.failures;

	return n >= hosts_ways(l->hosts) ||
	       (n > 0 && strcmp(l->state, "unreachable") != 0);
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
	return l->other != NULL ? l->other : l->wire;
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
	buf_reset(&l->error);
	wire_add_line(&l->error, text);
}

void
link_log(const struct link *l, enum log_level level, const char *event,
    const char *sqlstate)
{
	const struct trouble t = { .state = link_is_up(l) ? NULL : l->state,
		.statement = l->asked,
		.sqlstate = sqlstate,
		.error = buf_str(&l->error) };

	trouble_log(&t, l->wire, &l->setup, level, event);
}

bool
link_unreplicated(struct link *l)
{
	if (!wire_unreplicated(l->wire))
		return false;
	link_set_error(l, "committed, but not on the synchronous standby");
	link_log(l, LOG_LVL_ERROR, "commit_not_replicated", NULL);
	return true;
}

/* Up, and answered now. The next question is due in a while whatever is told
 * meanwhile: how far news has come is known by questions alone. */
static void
rest(struct link *l)
{
	metrics_heard(clock_mono_us());
	if (l->due_us == 0)
		return;
	l->due_us = in_ms(HEARTBEAT_MS);
	if (profile_wants_facts(&l->setup))
		l->due_us = MIN(l->due_us, l->setup.review_us);
}

/* With nothing on its way; whether it can serve is known. */
static void
settle(struct link *l)
{
	const struct setup *s = &l->setup;
	struct trouble t = { NULL };

	if (profile_conclude(&l->setup)) {
		if (s->unready != NULL) {
			t.state = s->unready->state;
			t.error = buf_str(s->faults);
		}
		trouble_log(&t, l->wire, s,
		    s->unready != NULL ? LOG_LVL_WARN : LOG_LVL_INFO,
		    s->unready != NULL ? "not_ready" : "ready");
	}
	rest(l);
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

/* Hand on the notifications that libpq has read. */
static void
take_notes(struct link *l)
{
	if (l->wire != NULL)
		wire_notes(l->wire, profile_take_note, &l->setup);
	if (l->setup.asked && l->phase == LINK_UP) {
		l->setup.asked = false;
		link_doubt(l);
	}
}

static void
drop(struct link *l)
{
	wire_free(l->other);
	wire_free(l->wire);
	l->other = l->wire = NULL;
	note_socket(l);
	l->generation++; /* the number may come back for another socket */
	l->session++;
}

/* It has a session that was up. */
static bool
has_arrived(const struct link *l)
{
	return l->phase > LINK_ARRIVED;
}

/* The attempt, or the link, has come to its end. error may be libpq's own. */
static void
go_down(
    struct link *l, enum retry_end why, const char *state, const char *error)
{
	bool lost = has_arrived(l), again = lost && why != END_STALLED;
	bool told =
	    !lost && l->retry.failures > 0 && strcmp(l->state, state) == 0;

	link_set_error(l, error);
	l->state = state;
	/* What was told still counts: nothing else tells it until the next
	 * connection is proved. */
	if (lost) {
		take_notes(l);
		metrics_add(METRIC_DB_LOSSES, 1);
		metrics_set(METRIC_DB_UP, 0);
	}
	if (!told)
		link_log(l, LOG_LVL_WARN,
		    lost ? "database_lost" : "database_unavailable", NULL);
	l->phase = LINK_DOWN;
	drop(l);
	l->patience_ms = again ? PATIENCE_MS : 0;
	l->due_us = in_ms(retry_after(&l->retry, why, lost));
	if (!lost)
		hosts_next(l->hosts);
	if (again)
		advance(l);
}

/* A primary that another has replaced: nothing that it said counts. */
static void
leave(struct link *l, const struct verdict *v)
{
	const struct db_listener *listener = l->profile.listener;

	hosts_leave(l->hosts, l->wire);
	go_down(l, END_FAILED, v->state, v->error);
	if (listener != NULL)
		listener->renewed(listener->arg);
}

/* Has this process, or another, met the one that replaced it? */
static bool
leave_replaced(struct link *l)
{
	const struct verdict v = profile_judge_replaced(&l->setup);

	if (l->phase != LINK_UP || v.state == NULL)
		return false;
	leave(l, &v);
	return true;
}

/* By libpq's word. What could not be cancelled would hold the next one too. */
void
link_fail(struct link *l)
{
	bool cancelling = has_arrived(l) && l->other != NULL;

	go_down(l, cancelling ? END_STALLED : END_FAILED, "unreachable",
	    wire_error(current(l)));
}

bool
link_send(struct link *l, const struct wire_query *q, const char *name)
{
	if (l->other == NULL) {
		l->asked = name;
		l->sent_us = clock_mono_us();
	}
	if (wire_send(current(l), q))
		return true;
	link_fail(l);
	return false;
}

/* Ask the phase's question; its results come by take_results. */
static void
ask(struct link *l)
{
	struct buf sql = { 0 };

	phases[l->phase].ask(&l->setup, &sql);
	(void)link_send(l, &(struct wire_query){ .sql = buf_str(&sql) },
	    phases[l->phase].name);
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
		link_fail(l);
	else if (!link_is_up(l))
		go_down(l, END_UNFIT, v.state, v.error);
	else if (profile_judge_replaced(&l->setup).state != NULL)
		leave(l, &v);
	else
		go_down(l, END_FAILED, v.state, v.error);
}

/* What has come of the answer. */
static void
take_results(struct link *l)
{
	struct pg_result *res;

	while (phases[l->phase].judge != NULL &&
	       wire_next(current(l), &res) == WIRE_DONE) {
		if (res == NULL && l->other == NULL)
			note_answer(l);
		if (res == NULL)
			advance(l);
		else
			judge(l, res);
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
	if (l->retry.failures == 0)
		l->state = "connecting";
	l->setup =
	    (struct setup){ .profile = &l->profile, .faults = &l->faults };
	l->asked = NULL;
	hosts_start(l->hosts);
	go_on_resolving(l);
}

/* No socket at all: its error now, not at the deadline. */
static void
begin_connecting(struct link *l)
{
	note_socket(l);
	if (wire_broken(current(l)))
		link_fail(l);
}

static void
connect_now(struct link *l)
{
	l->due_us = in_ms(CONNECT_MS);
	l->wire = wire_new(hosts_args(l->hosts));
	l->fd = -1;
	begin_connecting(l);
}

static void
go_on_connecting(struct link *l)
{
	enum wire_turn turn = wire_connect(current(l));

	if (turn == WIRE_FAILED) {
		link_fail(l);
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
connect_prover(struct link *l)
{
	l->other = wire_new(hosts_args(l->hosts));
	begin_connecting(l);
}

/* The other connection has done its work. */
static void
drop_other(struct link *l)
{
	wire_free(l->other);
	l->other = NULL;
	note_socket(l);
}

static void
wait_for_proof(struct link *l)
{
	drop_other(l);
	l->due_us = in_ms(PROOF_MS);
}

static void
take_answer(struct link *l)
{
	if (!wire_read(current(l))) {
		link_fail(l);
		return;
	}
	take_results(l);
	take_notes(l);
	if (l->phase == LINK_PROOF && l->setup.proved)
		advance(l);
}

static void
arrive(struct link *l)
{
	const struct db_listener *listener = l->profile.listener;

	l->state = "up";
	l->patience_ms = 0;
	retry_up(&l->retry);
	metrics_add(METRIC_DB_CONNECTS, 1);
	metrics_set(METRIC_DB_UP, 1);
	l->asked = NULL;
	buf_reset(&l->error);
	link_log(l, LOG_LVL_INFO, "database_up", NULL);
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
			link_fail(l);
			return;
		}
		metrics_heard(clock_mono_us());
		take_results(l);
		/* Each time, so that a pile of them takes no memory. */
		take_notes(l);
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
connect_canceller(struct link *l)
{
	l->due_us = in_ms(CANCEL_MS);
	l->patience_ms = PATIENCE_MS;
	l->other = wire_new(hosts_same(l->hosts, l->wire));
	begin_connecting(l);
}

/* The answer is nobody's any more. */
static void
take_end(struct link *l)
{
	struct pg_result *res;
	enum wire_turn turn;

	if (!wire_read(l->wire)) {
		link_fail(l);
		return;
	}
	while ((turn = wire_next(l->wire, &res)) == WIRE_DONE && res != NULL)
		wire_clear(res);
	if (turn != WIRE_DONE)
		return;
	(void)link_unreplicated(l);
	advance(l);
	note_answer(l);
}

/* clang-format off */
#define TOO_LATE(end_, state_, error_) \
	.end = (end_), .late = { state_, error_ }
#define LATE TOO_LATE(END_FAILED, "unreachable", "connecting timed out")
#define PROVER_LATE TOO_LATE(END_FAILED, "unreachable", \
	"no second connection through the pooler in time: it needs room for " \
	"one more than there are workers")
#define PROOF_LATE TOO_LATE(END_UNFIT, "without_notifications", \
	"notifications don't arrive: a pooler in front of Postgres has to " \
	"give each client a session of its own (pgbouncer: pool_mode = " \
	"session)")
#define CANCEL_LATE TOO_LATE(END_STALLED, "unreachable", "a query timed out")
#define BEAT_LATE TOO_LATE(END_FAILED, "unreachable", "no heartbeat")

/* The life of a link; from each of them the other way is go_down. */
static const struct phase phases[LINK_PHASES] = {
	[LINK_DOWN] = { .over = advance, .next = LINK_RESOLVING },
	[LINK_RESOLVING] = { .enter = resolve,
	    .ready = go_on_resolving, .over = go_on_resolving, .next = LINK_CONNECTING },
	[LINK_CONNECTING] = { .enter = connect_now,
	    .ready = go_on_connecting, LATE, .next = LINK_TIMES },
	[LINK_TIMES] = { .name = "times", .enter = begin_session,
	    .ask = profile_ask_times, .judge = profile_judge_command,
	    .ready = take_answer, LATE, .next = LINK_SETTINGS },
	[LINK_SETTINGS] = { .name = "settings",
	    .ask = profile_ask_settings, .judge = profile_judge_rows,
	    .ready = take_answer, LATE, .next = LINK_SERVER },
	[LINK_SERVER] = { .name = "server",
	    .ask = profile_ask_server, .judge = profile_judge_server,
	    .ready = take_answer, LATE, .next = LINK_TIMELINE },
	[LINK_TIMELINE] = { .name = "timeline",
	    .ask = profile_ask_timeline, .judge = profile_judge_timeline,
	    .ready = take_answer, LATE, .next = LINK_FACTS },
	[LINK_FACTS] = { .name = "facts", .wanted = profile_wants_facts,
	    .ask = profile_ask_facts, .judge = profile_judge_facts,
	    .ready = take_answer, LATE, .next = LINK_LISTEN },
	[LINK_LISTEN] = { .name = "listen", .wanted = profile_wants_news,
	    .ask = profile_ask_listen, .judge = profile_judge_command,
	    .ready = take_answer, LATE, .next = LINK_NOTIFY },
	[LINK_NOTIFY] = { .name = "notify", .wanted = profile_wants_news,
	    .ask = profile_ask_notify, .judge = profile_judge_notify,
	    .ready = take_answer, LATE, .next = LINK_PROVER },
	[LINK_PROVER] = { .wanted = profile_wants_prover, .enter = connect_prover,
	    .ready = go_on_connecting, PROVER_LATE, .next = LINK_PROVES },
	[LINK_PROVES] = { .name = "notify", .wanted = profile_wants_prover,
	    .ask = profile_ask_notify, .judge = profile_judge_rows,
	    .ready = take_answer, PROVER_LATE, .next = LINK_PROOF },
	[LINK_PROOF] = { .wanted = profile_wants_news, .enter = wait_for_proof,
	    .ready = take_answer, PROOF_LATE, .next = LINK_ARRIVED },
	[LINK_ARRIVED] = { .enter = arrive,
	    .next = LINK_UP },
	[LINK_CANCELLER] = { .enter = connect_canceller,
	    .ready = go_on_connecting, CANCEL_LATE, .next = LINK_CANCELS },
	[LINK_CANCELS] = { .name = "cancel",
	    .ask = profile_ask_cancel, .judge = profile_judge_rows,
	    .ready = take_answer, CANCEL_LATE, .next = LINK_CANCELLED },
	[LINK_CANCELLED] = { .enter = drop_other,
	    .ready = take_end, CANCEL_LATE, .next = LINK_UP },
	[LINK_UP] = { .enter = settle,
	    .ready = hear, .over = advance, .next = LINK_BEAT },
	[LINK_BEAT] = { .name = "heartbeat", .enter = beat,
	    .ask = profile_ask_beat, .judge = profile_judge_beat,
	    .ready = hear, BEAT_LATE, .next = LINK_REVIEW },
	[LINK_REVIEW] = { .name = "facts", .wanted = profile_wants_review,
	    .enter = beat, .ask = profile_ask_facts,
	    .judge = profile_judge_facts,
	    .ready = hear, BEAT_LATE, .next = LINK_UP },
};
/* clang-format on */

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
	wire_free(l->other);
	wire_free(l->wire);
	hosts_free(l->hosts);
	buf_free(&l->error);
	buf_free(&l->faults);
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
	return (l->phase == LINK_CONNECTING || l->phase == LINK_PROVER ||
		   l->phase == LINK_CANCELLER) &&
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

int64_t
link_due_us(const struct link *l)
{
	return l->phase == LINK_UP &&
		       profile_judge_replaced(&l->setup).state != NULL
		   ? 0
		   : l->due_us;
}

void
link_step(struct link *l)
{
	const struct phase *p = &phases[l->phase];

	if (leave_replaced(l))
		return;
	if (p->ready != NULL &&
	    readable(l->fd, writes(l) ? POLLOUT : POLLIN, 0))
		p->ready(l);
	if (link_is_up(l))
		take_notes(l); /* those that came with a result */
	if (clock_mono_us() < l->due_us)
		return;
	p = &phases[l->phase];
	if (p->over != NULL)
		p->over(l);
	else
		go_down(l, p->end, p->late.state, p->late.error);
}

/* Until something comes, or the phase is over, or it is until_us. */
static void
wait_and_step(struct link *l, int64_t until_us)
{
	int64_t now = clock_mono_us();
	int64_t left = MIN(MAX(l->due_us, now), until_us) - now;

	(void)readable(
	    l->fd, writes(l) ? POLLOUT : POLLIN, (int)(left / 1000 + 1));
	link_step(l);
}

bool
link_wait(struct link *l, int64_t timeout_ms)
{
	int64_t until = in_ms(timeout_ms);

	while (l->phase != LINK_UP && clock_mono_us() < until)
		wait_and_step(l, until);
	return l->phase == LINK_UP;
}

bool
link_ready(struct link *l)
{
	while (l->phase == LINK_BEAT || l->phase == LINK_REVIEW)
		wait_and_step(l, l->due_us);
	(void)leave_replaced(l);
	if (l->phase != LINK_UP && l->patience_ms > 0 &&
	    !link_wait(l, l->patience_ms))
		l->patience_ms = 0; /* the next caller doesn't wait */
	return l->phase == LINK_UP;
}

void
link_answered(struct link *l)
{
	note_answer(l);
	if (l->phase == LINK_UP)
		rest(l);
}

void
link_end(struct link *l, enum retry_end why, const char *error)
{
	go_down(l, why, "unreachable", error);
}

void
link_doubt(struct link *l)
{
	profile_doubt(&l->setup);
	l->due_us = 0;
}

void
link_cancel(struct link *l)
{
	enter(l, LINK_CANCELLER);
}

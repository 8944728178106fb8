/*
 * The life of a link, in one table: what each of its phases does, and which one
 * comes next. On the way up it is told its settings, and asked what the server
 * is; then, where there is a listener, that notifications arrive has to be
 * proved (profile.c).
 */
#include "data/phases.h"

#include "base/clock.h"
#include "base/metrics.h"
#include "data/trouble.h"

#include <sys/param.h>

enum { CONNECT_MS = 5000, PROOF_MS = 1000, CANCEL_MS = 1000 };

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
	link_rest(l);
}

static void
go_on_resolving(struct link *l)
{
	enum wire_turn turn = hosts_turn(l->hosts);

	l->due_us = hosts_due_us(l->hosts);
	link_note_socket(l);
	if (turn == WIRE_DONE)
		link_advance(l);
	else if (turn == WIRE_FAILED)
		link_go_down(
		    l, END_FAILED, "unreachable", hosts_error(l->hosts));
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
	link_note_socket(l);
	if (wire_broken(link_current(l)))
		link_fail(l);
}

static void
connect_now(struct link *l)
{
	link_due_in(l, CONNECT_MS);
	l->wire = wire_new(hosts_args(l->hosts));
	l->fd = -1;
	begin_connecting(l);
}

static void
go_on_connecting(struct link *l)
{
	enum wire_turn turn = wire_connect(link_current(l));

	if (turn == WIRE_FAILED) {
		link_fail(l);
		return;
	}
	link_note_socket(l);
	if (turn == WIRE_DONE)
		link_advance(l);
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
	link_note_socket(l);
}

static void
wait_for_proof(struct link *l)
{
	drop_other(l);
	link_due_in(l, PROOF_MS);
}

static void
take_answer(struct link *l)
{
	if (!wire_read(link_current(l))) {
		link_fail(l);
		return;
	}
	link_take_results(l);
	link_take_notes(l);
	if (l->phase == LINK_PROOF && l->setup.proved)
		link_advance(l);
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
	link_advance(l);
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
		link_take_results(l);
		/* Each time, so that a pile of them takes no memory. */
		link_take_notes(l);
	} while (link_is_up(l) && link_can_read(l));
}

/* A connection that died without a word, or a server that hangs, is noticed by
 * a query now and then. */
static void
beat(struct link *l)
{
	link_due_in(l, l->profile.query_timeout_ms);
}

static void
connect_canceller(struct link *l)
{
	link_due_in(l, CANCEL_MS);
	l->patience_ms = LINK_PATIENCE_MS;
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
	link_advance(l);
	link_note_answer(l);
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

/* From each of them the other way is link_go_down. */
const struct phase phases_table[LINK_PHASES] = {
	[LINK_DOWN] = { .over = link_advance, .next = LINK_RESOLVING },
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
	    .ready = hear, .over = link_advance, .next = LINK_BEAT },
	[LINK_BEAT] = { .name = "heartbeat", .enter = beat,
	    .ask = profile_ask_beat, .judge = profile_judge_beat,
	    .ready = hear, BEAT_LATE, .next = LINK_REVIEW },
	[LINK_REVIEW] = { .name = "facts", .wanted = profile_wants_review,
	    .enter = beat, .ask = profile_ask_facts,
	    .judge = profile_judge_facts,
	    .ready = hear, BEAT_LATE, .next = LINK_UP },
};
/* clang-format on */

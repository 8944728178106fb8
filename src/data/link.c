/*
 * A connection as one machine: how it passes from phase to phase, what it asks
 * in them, how each comes to its end, and who waits for it. What is done in
 * them is phases.c's.
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

enum { HEARTBEAT_MS = 10000 };

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

void
link_due_in(struct link *l, int64_t ms)
{
	l->due_us = in_ms(ms);
}

struct wire *
link_current(const struct link *l)
{
	return l->other != NULL ? l->other : l->wire;
}

void
link_note_socket(struct link *l)
{
	int fd = -1;

	if (link_current(l) != NULL)
		fd = wire_fd(link_current(l));
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
	while (l->phases[phase].wanted != NULL &&
	       !l->phases[phase].wanted(&l->setup))
		phase = l->phases[phase].next;
	l->phase = phase;
	if (l->phases[phase].enter != NULL)
		l->phases[phase].enter(l);
	if (l->phase == phase && l->phases[phase].ask != NULL)
		ask(l);
}

void
link_advance(struct link *l)
{
	enter(l, l->phases[l->phase].next);
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

void
link_rest(struct link *l)
{
	metrics_heard(clock_mono_us());
	if (l->due_us == 0)
		return;
	link_due_in(l, HEARTBEAT_MS);
	if (profile_wants_facts(&l->setup))
		l->due_us = MIN(l->due_us, l->setup.review_us);
}

void
link_note_answer(struct link *l)
{
	if (link_hears(l) && wire_idle(l->wire))
		l->answered_us = l->sent_us;
}

void
link_take_notes(struct link *l)
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
	link_note_socket(l);
	l->generation++; /* the number may come back for another socket */
	l->session++;
}

/* It has a session that was up. */
static bool
has_arrived(const struct link *l)
{
	return l->phase > LINK_ARRIVED;
}

void
link_go_down(
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
		link_take_notes(l);
		metrics_add(METRIC_DB_LOSSES, 1);
		metrics_set(METRIC_DB_UP, 0);
	}
	if (!told)
		link_log(l, LOG_LVL_WARN,
		    lost ? "database_lost" : "database_unavailable", NULL);
	l->phase = LINK_DOWN;
	drop(l);
	l->patience_ms = again ? LINK_PATIENCE_MS : 0;
	link_due_in(l, retry_after(&l->retry, why, lost));
	if (!lost)
		hosts_next(l->hosts);
	if (again)
		link_advance(l);
}

/* A primary that another has replaced: nothing that it said counts. */
static void
leave(struct link *l, const struct verdict *v)
{
	const struct db_listener *listener = l->profile.listener;

	hosts_leave(l->hosts, l->wire);
	link_go_down(l, END_FAILED, v->state, v->error);
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

	link_go_down(l, cancelling ? END_STALLED : END_FAILED, "unreachable",
	    wire_error(link_current(l)));
}

bool
link_send(struct link *l, const struct wire_query *q, const char *name)
{
	if (l->other == NULL) {
		l->asked = name;
		l->sent_us = clock_mono_us();
	}
	if (wire_send(link_current(l), q))
		return true;
	link_fail(l);
	return false;
}

/* Ask the phase's question; its results come by take_results. */
static void
ask(struct link *l)
{
	struct buf sql = { 0 };

	l->phases[l->phase].ask(&l->setup, &sql);
	(void)link_send(l, &(struct wire_query){ .sql = buf_str(&sql) },
	    l->phases[l->phase].name);
	buf_free(&sql);
}

/* A result of it. */
static void
judge(struct link *l, const struct pg_result *res)
{
	struct verdict v = l->phases[l->phase].judge(&l->setup, res);

	if (v.state == NULL)
		return;
	if (v.error == NULL)
		link_fail(l);
	else if (!link_is_up(l))
		link_go_down(l, END_UNFIT, v.state, v.error);
	else if (profile_judge_replaced(&l->setup).state != NULL)
		leave(l, &v);
	else
		link_go_down(l, END_FAILED, v.state, v.error);
}

void
link_take_results(struct link *l)
{
	struct pg_result *res;

	while (l->phases[l->phase].judge != NULL &&
	       wire_next(link_current(l), &res) == WIRE_DONE) {
		if (res == NULL && l->other == NULL)
			link_note_answer(l);
		if (res == NULL)
			link_advance(l);
		else
			judge(l, res);
		wire_clear(res);
	}
}

struct link *
link_new(const struct profile *profile, const struct phase *phases)
{
	struct link *l = mem_alloc(sizeof *l);

	l->profile = *profile;
	l->phases = phases;
	l->setup.profile = &l->profile;
	l->hosts = hosts_new(profile->conninfo);
	l->fd = -1;
	l->patience_ms = LINK_PATIENCE_MS;
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
	       wire_wants_write(link_current(l));
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

static bool
readable(int fd, short events, int timeout)
{
	struct pollfd p = { .fd = fd, .events = events };

	return poll(&p, 1, timeout) > 0;
}

bool
link_can_read(const struct link *l)
{
	return readable(l->fd, POLLIN, 0);
}

void
link_step(struct link *l)
{
	const struct phase *p = &l->phases[l->phase];

	if (leave_replaced(l))
		return;
	if (p->ready != NULL &&
	    readable(l->fd, writes(l) ? POLLOUT : POLLIN, 0))
		p->ready(l);
	if (link_is_up(l))
		link_take_notes(l); /* those that came with a result */
	if (clock_mono_us() < l->due_us)
		return;
	p = &l->phases[l->phase];
	if (p->over != NULL)
		p->over(l);
	else
		link_go_down(l, p->end, p->late.state, p->late.error);
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
	link_note_answer(l);
	if (l->phase == LINK_UP)
		link_rest(l);
}

void
link_end(struct link *l, enum retry_end why, const char *error)
{
	link_go_down(l, why, "unreachable", error);
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

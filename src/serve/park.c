/*
 * The waiting connections of a worker. They stay in its epoll set for as long
 * as they are open.
 */
#include "serve/park.h"

#include <string.h>
#include <sys/epoll.h>
#include <sys/param.h>

/* Memory for what has come of requests that are not whole. */
enum { HELD_MAX = 32 << 20 };

void
park_init(struct park *p, int epoll_fd)
{
	p->n = 0;
	p->epoll_fd = epoll_fd;
	p->silent_until = INT64_MAX;
}

static void
remove_at(struct park *p, size_t i)
{
	p->n--;
	memmove(
	    &p->conns[i], &p->conns[i + 1], (p->n - i) * sizeof p->conns[0]);
}

static void
free_at(struct park *p, size_t i)
{
	struct fcgi_conn *c = p->conns[i];

	remove_at(p, i);
	fcgi_conn_free(c);
}

static bool
is_silent(const struct fcgi_conn *c)
{
	enum fcgi_stage stage = fcgi_conn_stage(c);

	return stage == FCGI_SILENT || stage == FCGI_KEPT;
}

bool
park_drop(struct park *p)
{
	size_t i;

	if (p->n == 0)
		return false;
	for (i = 0; i < p->n && !is_silent(p->conns[i]); i++)
		;
	free_at(p, i < p->n ? i : 0);
	return true;
}

/* All of them may be large: the oldest that holds something goes. */
static void
bound_memory(struct park *p)
{
	size_t i, held = 0;

	for (i = 0; i < p->n; i++)
		held += fcgi_conn_held(p->conns[i]);
	for (i = 0; held > HELD_MAX && i + 1 < p->n;) {
		if (fcgi_conn_held(p->conns[i]) == 0) {
			i++;
			continue;
		}
		held -= fcgi_conn_held(p->conns[i]);
		free_at(p, i);
	}
}

void
park_put(struct park *p, struct fcgi_conn *c, bool known)
{
	struct epoll_event ev = { .events = EPOLLIN, .data = { .ptr = c } };

	if (!known &&
	    epoll_ctl(p->epoll_fd, EPOLL_CTL_ADD, fcgi_conn_fd(c), &ev) != 0) {
		fcgi_conn_free(c);
		return;
	}
	if (p->n == PARK_MAX)
		(void)park_drop(p);
	p->conns[p->n++] = c;
	if (fcgi_conn_held(c) > 0)
		bound_memory(p);
}

bool
park_take(struct park *p, const struct fcgi_conn *c)
{
	size_t i;

	for (i = 0; i < p->n && p->conns[i] != c; i++)
		;
	if (i == p->n)
		return false;
	remove_at(p, i);
	return true;
}

void
park_drop_kept(struct park *p)
{
	size_t i = 0;

	while (i < p->n)
		if (fcgi_conn_stage(p->conns[i]) == FCGI_KEPT)
			free_at(p, i);
		else
			i++;
}

static int64_t
due_us(const struct park *p, const struct fcgi_conn *c)
{
	return fcgi_conn_stage(c) == FCGI_SILENT ? p->silent_until
						 : fcgi_conn_due_us(c);
}

int64_t
park_due_us(const struct park *p)
{
	int64_t due = INT64_MAX;
	size_t i;

	for (i = 0; i < p->n; i++)
		due = MIN(due, due_us(p, p->conns[i]));
	return due;
}

void
park_expire(struct park *p, int64_t now)
{
	size_t i = 0;

	while (i < p->n)
		if (now >= due_us(p, p->conns[i]))
			free_at(p, i);
		else
			i++;
}

void
park_clear(struct park *p)
{
	while (p->n > 0)
		free_at(p, 0);
}

#ifndef POSTERN_SERVE_PARK_H
#define POSTERN_SERVE_PARK_H

#include "http/fcgi.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Where connections wait that have no request for us, or a part of one: none of
 * them holds the worker. Bounded in number and in memory; to make room the
 * oldest that is silent goes, else the oldest.
 */
enum { PARK_MAX = 64 };

struct park {
	struct fcgi_conn *conns[PARK_MAX]; /* oldest first */
	size_t n;
	int epoll_fd;
	int64_t
	    silent_until; /* when silent ones go; INT64_MAX: they may stay */
};

void park_init(struct park *p, int epoll_fd);

/* Let one wait; owned from here on. known: it is in the epoll set already, as
 * those are that park_take gives. */
void park_put(struct park *p, struct fcgi_conn *c, bool known);

/* Take one out, to be put back or freed. False when it is no longer there: it
 * made room while its event waited. */
bool park_take(struct park *p, const struct fcgi_conn *c);

/* Free one, to make room. False when there is none. */
bool park_drop(struct park *p);

/* Free those between two requests: they are kept no longer. */
void park_drop_kept(struct park *p);

/* When the next one's time is over; INT64_MAX: never. */
int64_t park_due_us(const struct park *p);

/* Free those whose time is over. */
void park_expire(struct park *p, int64_t now);

/* Free all. */
void park_clear(struct park *p);

#endif

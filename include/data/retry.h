#ifndef POSTERN_DATA_RETRY_H
#define POSTERN_DATA_RETRY_H

#include <stdbool.h>
#include <stdint.h>

/*
 * When a connection that has come to its end is tried anew. { 0 } is one that
 * has not been tried. For src/data/{retry,link,phases,db}.c.
 */
struct retry {
	unsigned failures; /* attempts in a row that came to nothing */
	unsigned stalls;   /* ends of that kind in a row */
	int64_t backoff_ms;
};

/* Why it has come to its end. */
enum retry_end {
	END_FAILED,
	END_STALLED, /* it is there, but something was not done in time */
	END_UNFIT    /* it can be connected to, but not used */
};

/*
 * In how many ms the next attempt is due. One that was up is tried anew at
 * once, unless it stalled: whatever that hangs on would hold the next caller
 * too. Then ever more slowly, and not all workers as one; one that is unfit
 * about each second.
 */
int64_t retry_after(struct retry *r, enum retry_end why, bool was_up);

/* It is up. */
void retry_up(struct retry *r);

/* Something whole was done in time: what stalled it is over. */
void retry_settle(struct retry *r);

#endif

#ifndef POSTERN_DATA_TIMELINE_H
#define POSTERN_DATA_TIMELINE_H

#include <stdbool.h>
#include <stdint.h>

/*
 * The highest timeline of each cluster that was met. Each promotion of a
 * standby begins a new one with a higher number: a server with a lower one that
 * takes writes was the primary before, and nobody has told it.
 */

/* What a server says of itself; { 0 } where it doesn't. */
struct timeline {
	uint64_t cluster; /* its system identifier */
	int64_t number;   /* from 1 */
	unsigned place;   /* of timeline_note's; not for others */
};

/* Share it with the processes that are forked from here on. Without it, each
 * process knows what it met itself. False if there is no memory. */
bool timelines_init(void);

/* As if none had been met: after a restore an earlier one is right again. */
void timelines_forget(void);

/* Note that t was met. More clusters than an operator has are not kept; those
 * are never behind, as what isn't known. */
void timeline_note(struct timeline *t);

/* The highest number of t's cluster, which was noted. */
int64_t timeline_highest(const struct timeline *t);
bool timeline_is_behind(const struct timeline *t);

#endif

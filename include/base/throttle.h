#ifndef POSTERN_BASE_THROTTLE_H
#define POSTERN_BASE_THROTTLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Token buckets in memory that the master shares with its workers: who did
 * something how often lately. Nothing is locked, so a worker that is killed in
 * the middle holds nobody up.
 *
 * The memory is bounded. Where strangers fill it, the bucket with the least
 * taken out of it is forgotten first: who has much against him stays, and
 * nobody is charged for another. Which buckets compete is decided by a keyed
 * hash of the subject, so that nobody can choose. Without throttle_init (the
 * tool, plain CGI) nothing is limited.
 */

/* What is counted; each has a table of its own, so that a flood of one kind
 * makes none of the others forget. */
enum throttle_kind {
	THROTTLE_FAILURES_ADDRESS,
	THROTTLE_FAILURES_KEY,
	THROTTLE_REGISTRATIONS,
	THROTTLE_APPS,
	THROTTLE_KINDS
};

/* A bucket holds n tokens and is full again after seconds; n 0: no limit. */
struct throttle_rate {
	int64_t n;
	int64_t seconds;
};

enum { THROTTLE_N_MAX = 1000000, THROTTLE_SECONDS_MAX = 86400 };

/* Make the memory, before the first fork. False if there is none. */
bool throttle_init(void);

/*
 * Take a token out of the bucket of subject. now_us is clock_mono_us(): the
 * wall clock may jump. 0 when there was one, or no limit; else the seconds
 * until there is one again, for Retry-After, and nothing was taken.
 */
int64_t throttle_take(enum throttle_kind kind, const void *subject, size_t len,
    const struct throttle_rate *rate, int64_t now_us);

#endif

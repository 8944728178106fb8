#ifndef POSTERN_BASE_METRICS_H
#define POSTERN_BASE_METRICS_H

#include "base/buf.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Counters in memory that the master shares with its workers. Each process
 * writes to a slot of its own, so nothing is locked; who asks gets the sum of
 * all slots. A slot outlives its worker and goes to the next one, so that
 * counters never fall. Without metrics_init (the tool, plain CGI) all of it
 * does nothing.
 */

enum metric_counter {
	METRIC_CACHE_HITS,
	METRIC_CACHE_HITS_UNKNOWN,
	METRIC_CACHE_MISSES,
	METRIC_CACHE_EVICTIONS,
	METRIC_CACHE_CLEARS,
	METRIC_NOTIFICATIONS,
	METRIC_TOKENS_OWN_READING,
	METRIC_VERDICT_HITS,
	METRIC_VERDICT_MISSES,
	METRIC_VERDICT_EVICTIONS,
	METRIC_DB_QUERIES,
	METRIC_DB_CONNECTS,
	METRIC_DB_LOSSES,
	METRIC_WORKERS_STARTED,
	METRIC_WORKERS_DIED,
	METRIC_COUNTERS
};

/* What a process is at, now; forgotten when its slot is given back. */
enum metric_gauge {
	METRIC_WORKERS,
	METRIC_DB_UP,
	METRIC_CACHE_APPS,
	METRIC_CACHE_UNKNOWN,
	METRIC_GAUGES
};

enum { METRICS_ROUTES = 40, METRICS_REASONS = 64 };

/*
 * Make the memory, before the first fork: slot 0 is the caller's, and slots is
 * how many processes there may be besides (0 = a single process). False if
 * there is no memory.
 */
bool metrics_init(size_t slots);

/* From here on this process writes to this slot (0 to slots). Its gauges are
 * 0. */
void metrics_use(size_t slot);

/* The process of this slot is gone: its gauges count no more. */
void metrics_give_back(size_t slot);

void metrics_add(enum metric_counter counter, uint64_t n);
void metrics_set(enum metric_gauge gauge, int64_t value);

/* When the listener last proved, or was heard to be, alive: µs, monotonic. */
void metrics_heard(int64_t at_us);

/* A request was answered: the index of its route (below METRICS_ROUTES), its
 * status, and how long it took in µs. */
void metrics_request(size_t route, int status, int64_t us);

/* It was refused: its route, and the index of the reason (below
 * METRICS_REASONS). */
void metrics_refusal(size_t route, size_t reason);

/* How routes and reasons are called; NULL behind the last. The route's text is
 * its labels, such as route="/v1/app",method="GET"; it is told arg. */
struct metrics_names {
	const char *(*route)(const void *arg, size_t i);
	const char *(*reason)(size_t i);
	const void *arg;
};

/*
 * Append everything in Prometheus' text format, version 0.0.4. What never
 * happened is left out where it has labels.
 */
void metrics_render(struct buf *out, const struct metrics_names *names);

/* Append the HELP and TYPE lines of a metric of the caller's own. */
void metrics_head(
    struct buf *out, const char *name, const char *type, const char *help);

#endif

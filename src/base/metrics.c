/*
 * Metrics: an anonymous shared mapping of one slot a process. Only a slot's
 * own process writes to it, with plain relaxed stores; a reader sees each
 * counter whole, and perhaps some of them a moment earlier than others.
 */
#include "base/metrics.h"

#include "base/clock.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <sys/mman.h>

typedef _Atomic uint64_t cell;

/* Statuses that have a cell of their own; the last is all others. */
static const int statuses[] = { 200, 201, 204, 304, 400, 401, 403, 404, 405,
	409, 412, 413, 415, 429, 500, 503, 0 };
enum { STATUSES = sizeof statuses / sizeof statuses[0] };

/* Upper bounds of the buckets in µs; beyond the last is +Inf. */
static const int64_t bounds[] = { 50, 100, 250, 500, 1000, 2500, 5000, 10000,
	25000, 50000, 100000, 250000, 500000, 1000000, 2500000, 10000000 };
enum { BOUNDS = sizeof bounds / sizeof bounds[0] };

/* On cache lines of its own. */
struct slot {
	_Alignas(64) cell counter[METRIC_COUNTERS];
	cell gauge[METRIC_GAUGES];
	cell request[METRICS_ROUTES][STATUSES];
	cell refusal[METRICS_ROUTES][METRICS_REASONS];
	cell bucket[BOUNDS + 1];
	cell duration_us;
	cell heard_us; /* 0 = nothing to hear */
};

/* Slots beyond highest were never used: a reader leaves their pages alone. */
struct shared {
	cell highest;
	struct slot slot[];
};

static struct shared *shared;
static struct slot *slots; /* [0] to [nslots] */
static size_t nslots;
static struct slot *mine;

static const struct {
	const char *name, *help;
} counters[METRIC_COUNTERS] = {
	[METRIC_CACHE_HITS] = { "postern_key_cache_hits_total",
	    "Requests whose app was at hand." },
	[METRIC_CACHE_HITS_UNKNOWN] = { "postern_key_cache_unknown_hits_total",
	    "Requests whose key was at hand as an unknown one." },
	[METRIC_CACHE_MISSES] = { "postern_key_cache_misses_total",
	    "Requests whose key had to be asked for." },
	[METRIC_CACHE_EVICTIONS] = { "postern_key_cache_evictions_total",
	    "Keys that made room for others." },
	[METRIC_CACHE_CLEARS] = { "postern_key_cache_clears_total",
	    "Times that all keys were dropped, as after a reconnect." },
	[METRIC_NOTIFICATIONS] = { "postern_notifications_total",
	    "Changes of apps that workers were told of." },
	[METRIC_TOKENS_OWN_READING] = { "postern_tokens_own_reading_total",
	    "Well-signed tokens that our own reading judged alone: libjwt "
	    "can't hold a number in them." },
	[METRIC_VERDICT_HITS] = { "postern_verdict_hits_total",
	    "Well-signed tokens of which it was known what they say." },
	[METRIC_VERDICT_MISSES] = { "postern_verdict_misses_total",
	    "Well-signed tokens that had to be read." },
	[METRIC_VERDICT_EVICTIONS] = { "postern_verdict_evictions_total",
	    "Verdicts that made room for others." },
	[METRIC_DB_QUERIES] = { "postern_database_queries_total",
	    "Queries sent to Postgres." },
	[METRIC_DB_CONNECTS] = { "postern_database_connects_total",
	    "Connections to Postgres that came up." },
	[METRIC_DB_LOSSES] = { "postern_database_losses_total",
	    "Connections to Postgres that were lost." },
	[METRIC_WORKERS_STARTED] = { "postern_workers_started_total",
	    "Workers that the master started." },
	[METRIC_WORKERS_DIED] = { "postern_workers_died_total",
	    "Workers that ended without being asked to." },
};

static const struct {
	const char *name, *help;
} gauges[METRIC_GAUGES] = {
	[METRIC_WORKERS] = { "postern_workers",
	    "Processes that serve requests." },
	[METRIC_DB_UP] = { "postern_database_up",
	    "Of these, how many have a connection to Postgres." },
	[METRIC_CACHE_APPS] = { "postern_key_cache_apps",
	    "Apps at hand, in all processes together." },
	[METRIC_CACHE_UNKNOWN] = { "postern_key_cache_unknown",
	    "Unknown keys at hand, in all processes together." },
};

bool
metrics_init(size_t n)
{
	void *p = mmap(NULL, sizeof *shared + (n + 1) * sizeof *slots,
	    PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE,
	    -1, 0);

	if (p == MAP_FAILED)
		return false;
	shared = p;
	slots = shared->slot;
	nslots = n;
	metrics_use(0);
	return true;
}

void
metrics_use(size_t slot)
{
	uint64_t highest;

	if (slots == NULL || slot > nslots)
		return;
	mine = &slots[slot];
	metrics_give_back(slot);
	highest = atomic_load_explicit(&shared->highest, memory_order_relaxed);
	while (highest < slot &&
	       !atomic_compare_exchange_weak(&shared->highest, &highest, slot))
		;
}

void
metrics_give_back(size_t slot)
{
	int i;

	if (slots == NULL || slot > nslots)
		return;
	for (i = 0; i < METRIC_GAUGES; i++)
		atomic_store_explicit(
		    &slots[slot].gauge[i], 0, memory_order_relaxed);
	atomic_store_explicit(&slots[slot].heard_us, 0, memory_order_relaxed);
}

/* One writer: no need for an atomic addition. */
static void
add(cell *c, uint64_t n)
{
	uint64_t v = atomic_load_explicit(c, memory_order_relaxed);

	atomic_store_explicit(c, v + n, memory_order_relaxed);
}

void
metrics_add(enum metric_counter counter, uint64_t n)
{
	if (mine != NULL)
		add(&mine->counter[counter], n);
}

void
metrics_set(enum metric_gauge gauge, int64_t value)
{
	if (mine != NULL)
		atomic_store_explicit(
		    &mine->gauge[gauge], (uint64_t)value, memory_order_relaxed);
}

void
metrics_heard(int64_t at_us)
{
	if (mine != NULL)
		atomic_store_explicit(
		    &mine->heard_us, (uint64_t)at_us, memory_order_relaxed);
}

void
metrics_request(size_t route, int status, int64_t us)
{
	size_t s = 0, b = 0;

	if (mine == NULL || route >= METRICS_ROUTES)
		return;
	while (s < STATUSES - 1 && statuses[s] != status)
		s++;
	while (b < BOUNDS && us > bounds[b])
		b++;
	add(&mine->request[route][s], 1);
	add(&mine->bucket[b], 1);
	add(&mine->duration_us, (uint64_t)us);
}

void
metrics_refusal(size_t route, size_t reason)
{
	if (mine != NULL && route < METRICS_ROUTES && reason < METRICS_REASONS)
		add(&mine->refusal[route][reason], 1);
}

static size_t
highest_slot(void)
{
	return (size_t)atomic_load_explicit(
	    &shared->highest, memory_order_relaxed);
}

/* The sum of a cell, given where slot 0 has it, over all slots. */
static uint64_t
sum(const cell *c)
{
	uint64_t total = 0;
	size_t i, highest = highest_slot();

	for (i = 0; i <= highest; i++)
		total += atomic_load_explicit(
		    (const cell *)((uintptr_t)c + i * sizeof *slots),
		    memory_order_relaxed);
	return total;
}

void
metrics_head(
    struct buf *out, const char *name, const char *type, const char *help)
{
	buf_addf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void
render_requests(struct buf *out, const struct metrics_names *names)
{
	uint64_t n;
	size_t r, s;

	metrics_head(out, "postern_requests_total", "counter",
	    "Requests answered, by route, method and status.");
	for (r = 0; r < METRICS_ROUTES && names->route(names->arg, r) != NULL;
	     r++)
		for (s = 0; s < STATUSES; s++) {
			n = sum(&slots->request[r][s]);
			if (n == 0)
				continue;
			buf_addf(out, "postern_requests_total{%s,status=",
			    names->route(names->arg, r));
			if (statuses[s] != 0)
				buf_addf(out, "\"%d\"} ", statuses[s]);
			else
				buf_adds(out, "\"other\"} ");
			buf_addf(out, "%" PRIu64 "\n", n);
		}
}

static void
render_refusals(struct buf *out, const struct metrics_names *names)
{
	uint64_t n;
	size_t r, why;

	metrics_head(out, "postern_refusals_total", "counter",
	    "Requests refused, by route, method and the reason that the log "
	    "gives.");
	for (r = 0; r < METRICS_ROUTES && names->route(names->arg, r) != NULL;
	     r++)
		for (why = 0; why < METRICS_REASONS; why++) {
			if (names->reason(why) == NULL)
				break;
			n = sum(&slots->refusal[r][why]);
			if (n > 0)
				buf_addf(out,
				    "postern_refusals_total{%s,reason=\"%s\"} "
				    "%" PRIu64 "\n",
				    names->route(names->arg, r),
				    names->reason(why), n);
		}
}

static void
render_durations(struct buf *out)
{
	static const char name[] = "postern_request_duration_seconds";
	uint64_t total = 0;
	size_t b;

	metrics_head(out, name, "histogram",
	    "From the request's first byte to its answer's making.");
	for (b = 0; b < BOUNDS; b++) {
		total += sum(&slots->bucket[b]);
		buf_addf(out, "%s_bucket{le=\"%g\"} %" PRIu64 "\n", name,
		    (double)bounds[b] / 1e6, total);
	}
	total += sum(&slots->bucket[BOUNDS]);
	buf_addf(out, "%s_bucket{le=\"+Inf\"} %" PRIu64 "\n", name, total);
	buf_addf(
	    out, "%s_sum %.6f\n", name, (double)sum(&slots->duration_us) / 1e6);
	buf_addf(out, "%s_count %" PRIu64 "\n", name, total);
}

/* The oldest listener counts: that one may miss a change. */
static void
render_listener_age(struct buf *out)
{
	int64_t now = clock_mono_us(), heard, oldest = now;
	size_t i, highest = highest_slot();

	for (i = 0; i <= highest; i++) {
		heard = (int64_t)atomic_load_explicit(
		    &slots[i].heard_us, memory_order_relaxed);
		if (heard != 0 && heard < oldest)
			oldest = heard;
	}
	metrics_head(out, "postern_listener_age_seconds", "gauge",
	    "Since the worker that heard from Postgres longest ago did.");
	buf_addf(out, "postern_listener_age_seconds %.3f\n",
	    (double)(now - oldest) / 1e6);
}

void
metrics_render(struct buf *out, const struct metrics_names *names)
{
	int i;

	if (slots == NULL)
		return;
	metrics_head(out, "postern_info", "gauge",
	    "The version; scope says whether one process or all workers of "
	    "its master are counted here.");
	buf_addf(out,
	    "postern_info{version=\"" POSTERN_VERSION "\",scope=\"%s\"} 1\n",
	    nslots > 0 ? "master" : "process");
	render_requests(out, names);
	render_refusals(out, names);
	render_durations(out);
	for (i = 0; i < METRIC_COUNTERS; i++) {
		metrics_head(
		    out, counters[i].name, "counter", counters[i].help);
		buf_addf(out, "%s %" PRIu64 "\n", counters[i].name,
		    sum(&slots->counter[i]));
	}
	for (i = 0; i < METRIC_GAUGES; i++) {
		metrics_head(out, gauges[i].name, "gauge", gauges[i].help);
		buf_addf(out, "%s %" PRIu64 "\n", gauges[i].name,
		    sum(&slots->gauge[i]));
	}
	render_listener_age(out);
}

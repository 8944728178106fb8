/*
 * Timelines: a small shared table. A place belongs to a cluster for good, and
 * what is known of it only grows, until all is forgotten: so no lock is needed.
 */
#include "data/timeline.h"

#include <stdatomic.h>
#include <stddef.h>
#include <sys/mman.h>

enum { PLACES = 16 };

struct table {
	struct {
		_Atomic uint64_t cluster; /* 0 = free */
		_Atomic int64_t highest;
	} place[PLACES];
};

static struct table own;
static struct table *table = &own;

bool
timelines_init(void)
{
	void *p = mmap(NULL, sizeof *table, PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return false;
	table = p;
	return true;
}

void
timelines_forget(void)
{
	size_t i;

	for (i = 0; i < PLACES; i++)
		atomic_store(&table->place[i].highest, 0);
}

/* The cluster's, made if need be; PLACES if there is no room. */
static unsigned
place_of(uint64_t cluster)
{
	uint64_t found;
	unsigned i;

	for (i = 0; i < PLACES; i++) {
		found = 0;
		if (atomic_compare_exchange_strong(
			&table->place[i].cluster, &found, cluster) ||
		    found == cluster)
			break;
	}
	return i;
}

void
timeline_note(struct timeline *t)
{
	int64_t known = 0;

	t->place = t->cluster != 0 ? place_of(t->cluster) : PLACES;
	if (t->place == PLACES)
		return;
	while (known < t->number &&
	       !atomic_compare_exchange_weak(
		   &table->place[t->place].highest, &known, t->number))
		;
}

int64_t
timeline_highest(const struct timeline *t)
{
	if (t->cluster == 0 || t->place >= PLACES)
		return t->number;
	return atomic_load_explicit(
	    &table->place[t->place].highest, memory_order_relaxed);
}

bool
timeline_is_behind(const struct timeline *t)
{
	return timeline_highest(t) > t->number;
}

/*
 * Which entries are kept, and how long: one table of all of them, and a list
 * for each of the two bounds, newest first. It asks nobody: what is not here
 * is key_lookup.c's to find.
 */
#include "auth/key_cache.h"

#include "auth/key_table.h"
#include "base/mem.h"
#include "base/metrics.h"

#include <stdlib.h>

struct lru {
	struct key_entry *newest, *oldest;
	size_t len, max;
};

struct key_cache {
	struct key_table table;
	struct lru apps, unknown;
	int64_t ttl_us;
};

static struct lru *
list_of(struct key_cache *kc, const struct key_entry *e)
{
	return e->state == KEY_UNKNOWN ? &kc->unknown : &kc->apps;
}

static void
lru_add(struct lru *l, struct key_entry *e)
{
	e->newer = NULL;
	e->older = l->newest;
	if (l->newest != NULL)
		l->newest->newer = e;
	else
		l->oldest = e;
	l->newest = e;
	l->len++;
}

static void
lru_remove(struct lru *l, struct key_entry *e)
{
	if (e->newer != NULL)
		e->newer->older = e->older;
	else
		l->newest = e->older;
	if (e->older != NULL)
		e->older->newer = e->newer;
	else
		l->oldest = e->newer;
	l->len--;
}

static void
tell_sizes(const struct key_cache *kc)
{
	metrics_set(METRIC_CACHE_APPS, (int64_t)kc->apps.len);
	metrics_set(METRIC_CACHE_UNKNOWN, (int64_t)kc->unknown.len);
}

static void
evict(struct key_cache *kc, struct key_entry *e)
{
	key_table_remove(&kc->table, e);
	lru_remove(list_of(kc, e), e);
	tell_sizes(kc);
	/* Whoever holds it: from here on nothing is known of its tokens. */
	verdict_owner_end(&e->current.verdicts);
	verdict_owner_end(&e->previous.verdicts);
	key_entry_release(e);
}

struct key_cache *
key_cache_new(size_t max, int64_t ttl_us)
{
	struct key_cache *kc = mem_alloc(sizeof *kc);

	key_table_init(&kc->table);
	kc->apps.max = max;
	kc->unknown.max = max > 0 ? KEY_UNKNOWN_MAX : 0;
	kc->ttl_us = ttl_us;
	return kc;
}

void
key_cache_free(struct key_cache *kc)
{
	if (kc == NULL)
		return;
	key_cache_clear(kc);
	key_table_free(&kc->table);
	free(kc);
}

/* When an entry's time is over: was it good when news was cut off, then the
 * same moment as for all. */
static int64_t
end_of(const struct key_cache *kc, const struct key_entry *e,
    const struct key_time *t)
{
	if (t->cut_off && e->until_us > t->told_us)
		return t->told_us + kc->ttl_us;
	return e->until_us;
}

struct key_entry *
key_cache_find(
    struct key_cache *kc, const char *public_key, const struct key_time *t)
{
	struct key_entry *e = key_table_find(&kc->table, public_key);

	if (e == NULL)
		return NULL;
	if (end_of(kc, e, t) <= t->now_us) {
		/* Or else its time may come again: news is cut off already, and
		 * the question that notices it is still to be asked. */
		if (t->cut_off || e->until_us <= t->told_us)
			evict(kc, e);
		return NULL;
	}
	if (e->newer != NULL) {
		lru_remove(list_of(kc, e), e);
		lru_add(list_of(kc, e), e);
	}
	e->refs++;
	return e;
}

void
key_cache_store(struct key_cache *kc, struct key_entry *e, int64_t now_us)
{
	struct lru *l = list_of(kc, e);
	struct key_entry *old = key_table_find(&kc->table, e->app.public_key);

	if (old != NULL)
		evict(kc, old);
	if (l->max == 0)
		return;
	if (l->len == l->max) {
		metrics_add(METRIC_CACHE_EVICTIONS, 1);
		evict(kc, l->oldest);
	}
	verdict_owner_begin(&e->current.verdicts);
	verdict_owner_begin(&e->previous.verdicts);
	e->until_us = now_us + kc->ttl_us;
	e->refs++;
	key_table_add(&kc->table, e);
	lru_add(l, e);
	tell_sizes(kc);
}

void
key_cache_drop(struct key_cache *kc, const char *public_key)
{
	struct key_entry *e = key_table_find(&kc->table, public_key);

	if (e == NULL)
		return;
	e->changed = true;
	evict(kc, e);
}

static void
clear_list(struct key_cache *kc, const struct lru *l)
{
	while (l->newest != NULL) {
		l->newest->changed = true;
		evict(kc, l->newest);
	}
}

void
key_cache_clear(struct key_cache *kc)
{
	clear_list(kc, &kc->apps);
	clear_list(kc, &kc->unknown);
}

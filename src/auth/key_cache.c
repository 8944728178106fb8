/*
 * The key cache: one tree of all entries, and a list for each of the two
 * bounds, newest first. A balanced tree (tsearch(3)) has no bad case that a
 * stranger's choice of keys could bring about.
 */
#include "auth/key_cache.h"

#include "base/mem.h"
#include "base/metrics.h"

#include <search.h>
#include <stdlib.h>
#include <string.h>

struct lru {
	struct key_entry *newest, *oldest;
	size_t len, max;
};

struct key_cache {
	void *tree; /* of struct key_entry, by public key */
	struct lru apps, unknown;
	int64_t ttl_us;
};

struct key_entry *
key_entry_new(struct app *app)
{
	struct key_entry *e = mem_alloc(sizeof *e);

	e->app = *app;
	e->refs = 1;
	memset(app, 0, sizeof *app);
	return e;
}

void
key_entry_release(struct key_entry *e)
{
	if (e == NULL || --e->refs > 0)
		return;
	app_clear(&e->app);
	secret_clear(&e->current);
	secret_clear(&e->previous);
	free(e);
}

static int
compare(const void *a, const void *b)
{
	const struct key_entry *x = a, *y = b;

	return strcmp(x->app.public_key, y->app.public_key);
}

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
	tdelete(e, &kc->tree, compare);
	lru_remove(list_of(kc, e), e);
	tell_sizes(kc);
	e->cached = false;
	key_entry_release(e);
}

/* The entry of a key, whatever its age. */
static struct key_entry *
look(const struct key_cache *kc, const char *public_key)
{
	const struct key_entry probe = { .app.public_key =
					     (char *)(uintptr_t)public_key };
	void *node = tfind(&probe, &kc->tree, compare);

	return node != NULL ? *(struct key_entry **)node : NULL;
}

struct key_cache *
key_cache_new(size_t max, int64_t ttl_us)
{
	struct key_cache *kc = mem_alloc(sizeof *kc);

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
	free(kc);
}

struct key_entry *
key_cache_find(struct key_cache *kc, const char *public_key, int64_t now_us)
{
	struct key_entry *e = look(kc, public_key);

	if (e == NULL)
		return NULL;
	if (e->until_us <= now_us) {
		evict(kc, e);
		return NULL;
	}
	lru_remove(list_of(kc, e), e);
	lru_add(list_of(kc, e), e);
	e->refs++;
	return e;
}

void
key_cache_store(struct key_cache *kc, struct key_entry *e, int64_t now_us)
{
	struct lru *l = list_of(kc, e);
	struct key_entry *old = look(kc, e->app.public_key);

	if (old != NULL)
		evict(kc, old);
	if (l->max == 0)
		return;
	if (l->len == l->max) {
		metrics_add(METRIC_CACHE_EVICTIONS, 1);
		evict(kc, l->oldest);
	}
	e->until_us = now_us + kc->ttl_us;
	e->cached = true;
	e->refs++;
	if (tsearch(e, &kc->tree, compare) == NULL)
		abort();
	lru_add(l, e);
	tell_sizes(kc);
}

void
key_cache_drop(struct key_cache *kc, const char *public_key)
{
	struct key_entry *e = look(kc, public_key);

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

/*
 * Where an app's keys come from, the cache or the database, and what news of
 * changes does to the cache. The order counts: a row is stored first, then the
 * notifications that came with it or after it are taken in, then the request
 * decides. The other way round, a notification that overtakes its row finds
 * nothing to drop, and a revoked key lives on.
 */
#include "auth/key_lookup.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "data/notify.h"

#include <stdlib.h>

/* An app that changes faster than it can be read is decided on by a row that
 * is as fresh as a query makes it, and not kept. */
enum { TRIES = 3 };

struct key_lookup {
	const struct config *cfg;
	struct db *db;
	const struct decoy *decoy;
	struct key_cache *cache;
	struct notify notify;
};

static void
changed(void *arg, const char *public_key)
{
	struct key_lookup *kl = arg;

	metrics_add(METRIC_NOTIFICATIONS, 1);
	key_cache_drop(kl->cache, public_key);
}

static void
lost(void *arg)
{
	struct key_lookup *kl = arg;

	metrics_add(METRIC_CACHE_CLEARS, 1);
	key_cache_clear(kl->cache);
}

struct key_lookup *
key_lookup_new(
    const struct config *cfg, struct db *db, const struct decoy *decoy)
{
	struct key_lookup *kl = mem_alloc(sizeof *kl);

	kl->cfg = cfg;
	kl->db = db;
	kl->decoy = decoy;
	kl->cache =
	    key_cache_new((size_t)cfg->cache_size, cfg->cache_ttl_ms * 1000);
	kl->notify =
	    (struct notify){ .changed = changed, .lost = lost, .arg = kl };
	notify_start(&kl->notify, db);
	return kl;
}

void
key_lookup_free(struct key_lookup *kl)
{
	if (kl == NULL)
		return;
	key_cache_free(kl->cache);
	free(kl);
}

static enum key_state
state_of(enum status st)
{
	if (st == ST_OK)
		return KEY_OPEN;
	return st == ST_KEY_MISSING ? KEY_NO_MASTER : KEY_REFUSED;
}

/* Open what the row has sealed. */
static void
open_row(
    const struct key_lookup *kl, const struct app *row, struct key_entry *e)
{
	const struct sealed current = { row->public_key, row->key_id,
		row->sealed };
	const struct sealed previous = { row->public_key, row->previous_key_id,
		row->previous_sealed };
	enum status st;

	e->state = state_of(material_open(kl->cfg, &current, &e->current));
	if (e->state != KEY_OPEN || previous.text == NULL ||
	    e->previous_until <= clock_wall())
		return;
	st = material_open(kl->cfg, &previous, &e->previous);
	e->previous_no_master = st == ST_KEY_MISSING;
}

/* Ask the database; *e is a new entry, with its sealed key if it is to be. */
static enum status
read_entry(const struct key_lookup *kl, const char *public_key, bool sealed,
    struct key_entry **e)
{
	struct app row = { 0 };
	enum status st;

	st = app_store_find(kl->db, public_key, &row);
	if (st == ST_OK) {
		*e = key_entry_new(&row, sealed);
		open_row(kl, &row, *e);
	} else if (st == ST_NOT_FOUND) {
		row.public_key = mem_strdup(public_key);
		*e = key_entry_new(&row, false);
		decoy_open(kl->decoy);
		st = ST_OK;
	}
	app_clear(&row);
	return st;
}

/* The row as it is now, with its sealed key; a key that is none is kept. */
static enum status
read_fresh(struct key_lookup *kl, const char *public_key, struct key_entry **e)
{
	int64_t asked_us = clock_mono_us();
	enum status st = read_entry(kl, public_key, true, e);

	if (st == ST_OK && (*e)->state == KEY_UNKNOWN) {
		key_cache_store(kl->cache, *e, asked_us);
		db_step(kl->db);
	}
	return st;
}

/* What the cache has of it. */
static struct key_entry *
at_hand(const struct key_lookup *kl, const char *public_key)
{
	const struct key_time t = { .now_us = clock_mono_us(),
		.told_us = db_answered_us(kl->db),
		.cut_off = !db_hears(kl->db) };

	return key_cache_find(kl->cache, public_key, &t);
}

enum status
key_lookup_find(struct key_lookup *kl, const char *public_key, bool fresh,
    struct key_entry **e)
{
	enum status st;
	int64_t asked_us;
	int tries;

	*e = at_hand(kl, public_key);
	/* What is known to be unknown needs no question: strangers' keys. */
	if (fresh && (*e == NULL || (*e)->state != KEY_UNKNOWN)) {
		key_entry_release(*e);
		*e = NULL;
		return read_fresh(kl, public_key, e);
	}
	metrics_add(*e == NULL                   ? METRIC_CACHE_MISSES
		    : (*e)->state == KEY_UNKNOWN ? METRIC_CACHE_HITS_UNKNOWN
						 : METRIC_CACHE_HITS,
	    1);
	/* The cache needs no ciphertexts. A row is as old as its question. */
	for (tries = 0; *e == NULL && tries < TRIES; tries++) {
		asked_us = clock_mono_us();
		st = read_entry(kl, public_key, false, e);
		/* The link may turn out to be lost only now. */
		if (st != ST_OK)
			*e = at_hand(kl, public_key);
		if (st != ST_OK)
			return *e != NULL ? ST_OK : st;
		key_cache_store(kl->cache, *e, asked_us);
		db_step(kl->db);
		if (!(*e)->changed || tries + 1 == TRIES)
			break;
		key_entry_release(*e);
		*e = NULL;
	}
	return ST_OK;
}

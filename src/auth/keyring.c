/*
 * Finding keys. The order counts: a row is stored first, then the
 * notifications that came with it or after it are taken in, then the request
 * decides. The other way round, a notification that overtakes its row finds
 * nothing to drop, and a revoked key lives on.
 */
#include "auth/keyring.h"

#include "auth/app_keys.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "data/notify.h"

#include <stdlib.h>

/* An app that changes faster than it can be read is decided on by a row that
 * is as fresh as a query makes it, and not kept. */
enum { TRIES = 3 };

struct keyring {
	const struct config *cfg;
	struct db *db;
	const struct app *decoy;
	struct key_cache *cache;
	struct notify notify;
};

static void
changed(void *arg, const char *public_key)
{
	struct keyring *kr = arg;

	metrics_add(METRIC_NOTIFICATIONS, 1);
	key_cache_drop(kr->cache, public_key);
}

static void
lost(void *arg)
{
	struct keyring *kr = arg;

	metrics_add(METRIC_CACHE_CLEARS, 1);
	key_cache_clear(kr->cache);
}

struct keyring *
keyring_new(const struct config *cfg, struct db *db, const struct app *decoy)
{
	struct keyring *kr = mem_alloc(sizeof *kr);

	kr->cfg = cfg;
	kr->db = db;
	kr->decoy = decoy;
	kr->cache =
	    key_cache_new((size_t)cfg->cache_size, cfg->cache_ttl_ms * 1000);
	kr->notify =
	    (struct notify){ .changed = changed, .lost = lost, .arg = kr };
	notify_start(&kr->notify, db);
	return kr;
}

void
keyring_free(struct keyring *kr)
{
	if (kr == NULL)
		return;
	key_cache_free(kr->cache);
	free(kr);
}

static enum key_state
state_of(enum status st)
{
	switch (st) {
	case ST_OK:
		return KEY_OPEN;
	case ST_KEY_MISSING:
		return KEY_NO_MASTER;
	case ST_NOT_FOUND:
	case ST_CONFLICT:
	case ST_OVERLAP:
	case ST_PRECONDITION:
	case ST_INVALID:
	case ST_TOO_LARGE:
	case ST_UNAVAILABLE:
	case ST_LOCKED:
	case ST_BROKEN:
	default:
		return KEY_REFUSED;
	}
}

/* Open what the row has sealed. */
static void
open_keys(const struct keyring *kr, const struct app *row, struct key_entry *e)
{
	enum status st;

	e->state =
	    state_of(app_keys_open(kr->cfg, row, false, &e->current.secret));
	if (e->state != KEY_OPEN || row->previous_sealed == NULL ||
	    e->previous_until <= clock_wall())
		return;
	st = app_keys_open(kr->cfg, row, true, &e->previous.secret);
	e->previous_no_master = st == ST_KEY_MISSING;
}

/* The same work where there is nothing to open. */
static void
open_decoy(const struct keyring *kr)
{
	struct secret unused = { 0 };

	if (app_keys_open(kr->cfg, kr->decoy, false, &unused) != ST_OK)
		abort();
	secret_clear(&unused);
}

/* Ask the database; *e is a new entry, with its sealed key if it is to be. */
static enum status
read_entry(const struct keyring *kr, const char *public_key, bool sealed,
    struct key_entry **e)
{
	struct app row = { 0 };
	enum status st;

	st = app_store_find(kr->db, public_key, &row);
	if (st == ST_OK) {
		*e = key_entry_new(&row, sealed);
		open_keys(kr, &row, *e);
	} else if (st == ST_NOT_FOUND) {
		row.public_key = mem_strdup(public_key);
		*e = key_entry_new(&row, false);
		open_decoy(kr);
		st = ST_OK;
	}
	app_clear(&row);
	return st;
}

/* The row as it is now, with its sealed key; a key that is none is kept. */
static enum status
read_fresh(struct keyring *kr, const char *public_key, struct key_entry **e)
{
	int64_t asked_us = clock_mono_us();
	enum status st = read_entry(kr, public_key, true, e);

	if (st == ST_OK && (*e)->state == KEY_UNKNOWN) {
		key_cache_store(kr->cache, *e, asked_us);
		db_step(kr->db);
	}
	return st;
}

/* What the cache has of it. */
static struct key_entry *
at_hand(const struct keyring *kr, const char *public_key)
{
	const struct key_time t = { .now_us = clock_mono_us(),
		.told_us = db_answered_us(kr->db),
		.cut_off = !db_hears(kr->db) };

	return key_cache_find(kr->cache, public_key, &t);
}

enum status
keyring_find(struct keyring *kr, const char *public_key, bool fresh,
    struct key_entry **e)
{
	enum status st;
	int64_t asked_us;
	int tries;

	*e = at_hand(kr, public_key);
	/* What is known to be unknown needs no question: strangers' keys. */
	if (fresh && (*e == NULL || (*e)->state != KEY_UNKNOWN)) {
		key_entry_release(*e);
		*e = NULL;
		return read_fresh(kr, public_key, e);
	}
	metrics_add(*e == NULL                   ? METRIC_CACHE_MISSES
		    : (*e)->state == KEY_UNKNOWN ? METRIC_CACHE_HITS_UNKNOWN
						 : METRIC_CACHE_HITS,
	    1);
	/* The cache needs no ciphertexts. A row is as old as its question. */
	for (tries = 0; *e == NULL && tries < TRIES; tries++) {
		asked_us = clock_mono_us();
		st = read_entry(kr, public_key, false, e);
		/* The link may turn out to be lost only now. */
		if (st != ST_OK)
			*e = at_hand(kr, public_key);
		if (st != ST_OK)
			return *e != NULL ? ST_OK : st;
		key_cache_store(kr->cache, *e, asked_us);
		db_step(kr->db);
		if (!(*e)->changed || tries + 1 == TRIES)
			break;
		key_entry_release(*e);
		*e = NULL;
	}
	return ST_OK;
}

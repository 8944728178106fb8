#ifndef POSTERN_AUTH_KEY_LOOKUP_H
#define POSTERN_AUTH_KEY_LOOKUP_H

#include "auth/decoy.h"
#include "auth/key_cache.h"
#include "base/config.h"
#include "base/status.h"
#include "data/db.h"

/*
 * From a public key to its app and open secret keys: the cache, else one
 * SELECT and an opening. Changes of apps reach the cache by notifications.
 */
struct key_lookup;

/* All of it stays the caller's, for as long. */
struct key_lookup *key_lookup_new(
    const struct config *cfg, struct db *db, const struct decoy *decoy);
void key_lookup_free(struct key_lookup *kl);

/*
 * Find the app; the caller has taken in (db_step) what was told before the
 * request came. ST_OK with *e, a reference for the caller, in
 * whatever state its key is; else ST_UNAVAILABLE. fresh asks the database in
 * any case and keeps the sealed key, for what changes the app; an entry from
 * the cache has none.
 */
enum status key_lookup_find(struct key_lookup *kl, const char *public_key,
    bool fresh, struct key_entry **e) MUST_CHECK;

#endif

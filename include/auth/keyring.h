#ifndef POSTERN_AUTH_KEYRING_H
#define POSTERN_AUTH_KEYRING_H

#include "auth/key_cache.h"
#include "base/config.h"
#include "base/status.h"
#include "data/db.h"

/*
 * From a public key to its app and open secret keys: the cache, else one
 * SELECT and an opening. Changes of apps reach the cache by notifications.
 */
struct keyring;

/* decoy is the caller's: a sealed app that is opened in place of one that is
 * not there. */
struct keyring *keyring_new(
    const struct config *cfg, struct db *db, const struct app *decoy);
void keyring_free(struct keyring *kr);

/*
 * Find the app; the caller has called db_step since the request came, so that
 * notifications are taken in. ST_OK with *e, a reference for the caller, in
 * whatever state its key is; else ST_UNAVAILABLE. fresh asks the database in
 * any case and keeps the sealed key, for what changes the app; an entry from
 * the cache has none.
 */
enum status keyring_find(struct keyring *kr, const char *public_key, bool fresh,
    struct key_entry **e) MUST_CHECK;

#endif

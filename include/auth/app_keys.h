#ifndef POSTERN_AUTH_APP_KEYS_H
#define POSTERN_AUTH_APP_KEYS_H

#include "base/config.h"
#include "base/public_key.h"
#include "base/secret.h"
#include "base/status.h"
#include "data/app_store.h"
#include "data/db.h"

/*
 * The keys that an app is given: both at its registration, another secret at
 * each rotation, unless it brings a key of its own; for the server and the tool
 * alike.
 */

/*
 * Register: new keys, sealed, inserted, committed. own is what the app brought,
 * and then there is no secret; NULL: one is drawn, and secret_hex is set, only
 * with ST_OK. ST_KEY_IN_USE if another app has own.
 */
enum status app_keys_create(const struct config *cfg, struct db *db,
    const struct app_new *new, const struct public_key *own, struct app *a,
    struct secret *secret_hex) MUST_CHECK;

/* Another secret for an app, or its own key; guard and grace as in
 * app_store_rotate. */
enum status app_keys_rotate(const struct config *cfg, struct db *db,
    const char *actor, const char *public_key, const char *guard,
    const struct app_grace *grace, const struct public_key *own, struct app *a,
    struct secret *secret_hex) MUST_CHECK;

#endif

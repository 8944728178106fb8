#ifndef POSTERN_AUTH_APP_KEYS_H
#define POSTERN_AUTH_APP_KEYS_H

#include "base/config.h"
#include "base/secret.h"
#include "base/status.h"
#include "data/app_store.h"
#include "data/db.h"
#include <stdint.h>

/*
 * An app's key pair: drawn here, sealed here, opened here, for the server and
 * the tool alike. A secret key in a struct secret is always the lowercase hex
 * characters that the client holds: that is the JWT's HMAC key.
 */

/* Register: new keys, sealed, inserted, committed. secret_hex is set only
 * with ST_OK. */
enum status app_keys_create(const struct config *cfg, struct db *db,
    const struct app_new *new, struct app *a,
    struct secret *secret_hex) MUST_CHECK;

/* A new secret for an app; guard and grace as in app_store_rotate. */
enum status app_keys_rotate(const struct config *cfg, struct db *db,
    const char *actor, const char *public_key, const char *guard,
    const struct app_grace *grace, struct app *a,
    struct secret *secret_hex) MUST_CHECK;

/*
 * The current (or previous) secret of a row as hex characters. goliauth's
 * format only while the settings accept it (else ST_BROKEN). The reason is
 * logged with the public key; ST_KEY_MISSING names the wanted fingerprint.
 */
enum status app_keys_open(const struct config *cfg, const struct app *a,
    bool previous, struct secret *secret_hex) MUST_CHECK;

/*
 * Seal a row's secret anew, bound to it, under the current master key: its
 * text is appended to *anew, which must be { 0 }. It is opened under the master
 * key that key_id names, current or former; NULL is goliauth's format, tried
 * under each, which the caller has to have allowed. ST_KEY_MISSING or ST_BROKEN
 * as in seal_open; nothing is logged.
 */
enum status app_keys_reseal(const struct config *cfg, const char *public_key,
    const char *key_id, const char *sealed, struct buf *anew) MUST_CHECK;

#endif

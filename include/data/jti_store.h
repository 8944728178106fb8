#ifndef POSTERN_DATA_JTI_STORE_H
#define POSTERN_DATA_JTI_STORE_H

#include "base/status.h"
#include "data/db.h"
#include <stddef.h>
#include <stdint.h>

/* The table used_jtis: tokens that were used, where each is good once. */

/*
 * Use a token's jti (any bytes; its SHA-256 is stored) for this app, kept
 * until good_until (seconds since the epoch, leeway included). ST_OK for one
 * caller only, whatever happens at the same time; ST_CONFLICT for all others.
 */
enum status jti_use(struct db *db, int64_t app_id, const char *jti, size_t len,
    double good_until) MUST_CHECK;

/* Delete a bounded number of those whose tokens have long expired. */
enum status jti_purge(struct db *db) MUST_CHECK;

#endif

#ifndef POSTERN_AUTH_TEND_H
#define POSTERN_AUTH_TEND_H

#include "auth/uses.h"
#include "base/config.h"
#include "data/db.h"
#include <stdint.h>

/*
 * What is done between requests, each at its time: uses are written down, what
 * deleted apps left is swept away, used jtis are purged.
 */
struct tend;

/* Both stay the caller's, for as long. */
struct tend *tend_new(const struct config *cfg, struct db *db);
void tend_free(struct tend *t); /* accepts NULL */

/* Borrowed: where uses are noted. */
struct uses *tend_uses(struct tend *t);

/* The monotonic µs at which tend_some wants to be called. */
int64_t tend_due_us(const struct tend *t);
void tend_some(struct tend *t);

/* What is left before the process ends. */
void tend_finish(struct tend *t);

/* This app has just been deleted: the first piece of it goes now. */
void tend_deleted(struct tend *t, int64_t app_id);

#endif

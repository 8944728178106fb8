#ifndef POSTERN_AUTH_JTI_PURGE_H
#define POSTERN_AUTH_JTI_PURGE_H

#include "base/config.h"
#include "data/db.h"
#include <stdint.h>

/* The purge of used jtis; there are none unless tokens are good once. */
struct jti_purge;

/* Both stay the caller's, for as long. */
struct jti_purge *jti_purge_new(const struct config *cfg, struct db *db);
void jti_purge_free(struct jti_purge *u); /* accepts NULL */

/* The monotonic µs at which jti_purge_some wants to be called. */
int64_t jti_purge_due_us(const struct jti_purge *u);

/* A bounded number of them goes; none while the database is away. */
void jti_purge_some(struct jti_purge *u);

#endif

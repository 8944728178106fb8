#ifndef POSTERN_AUTH_USED_JTIS_H
#define POSTERN_AUTH_USED_JTIS_H

#include "base/config.h"
#include "data/db.h"
#include <stdint.h>

/* The purge of used jtis; there are none unless tokens are good once. */
struct used_jtis;

/* Both stay the caller's, for as long. */
struct used_jtis *used_jtis_new(const struct config *cfg, struct db *db);
void used_jtis_free(struct used_jtis *u); /* accepts NULL */

/* The monotonic µs at which used_jtis_purge wants to be called. */
int64_t used_jtis_due_us(const struct used_jtis *u);

/* A bounded number of them goes; none while the database is away. */
void used_jtis_purge(struct used_jtis *u);

#endif

#ifndef POSTERN_AUTH_USES_H
#define POSTERN_AUTH_USES_H

#include "auth/key_cache.h"
#include "data/db.h"
#include <stdbool.h>
#include <stdint.h>

/*
 * When apps' secrets were last used, coarsely: the first use of each in a
 * round is noted, and a round ends about each minute with one write of all.
 */
struct uses;

struct uses *uses_new(struct db *db);
void uses_free(struct uses *u);

/* A token of this app has verified, with its previous secret or not. */
void uses_note(struct uses *u, struct key_entry *e, bool previous);

/* The monotonic µs at which uses_flush is due; INT64_MAX = nothing noted. */
int64_t uses_due_us(const struct uses *u);

/* Write what is noted. While the database is away it is kept, and due again
 * later. */
void uses_flush(struct uses *u);

#endif

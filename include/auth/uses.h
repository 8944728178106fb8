#ifndef POSTERN_AUTH_USES_H
#define POSTERN_AUTH_USES_H

#include "auth/key_entry.h"
#include "data/db.h"
#include <stdbool.h>
#include <stdint.h>

/*
 * When apps' secrets were last used, coarsely: the first use of each in a
 * round is noted, and about each minute a round ends and is written.
 */
struct uses;

struct uses *uses_new(struct db *db);
void uses_free(struct uses *u);

/* A token of this app has verified, with its previous secret or not. */
void uses_note(struct uses *u, struct key_entry *e, bool previous);

/* The monotonic µs at which uses_flush is due; INT64_MAX = nothing noted. */
int64_t uses_due_us(const struct uses *u);

/* Write a piece of what is noted, so much that no request waits long for it;
 * the rest of the round is due at once. While the database is away all is kept,
 * and due again later. */
void uses_flush(struct uses *u);

/* Write all of it, if the database is there, as far as that goes in 2 s: at the
 * end of a process. */
void uses_flush_all(struct uses *u);

#endif

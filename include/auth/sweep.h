#ifndef POSTERN_AUTH_SWEEP_H
#define POSTERN_AUTH_SWEEP_H

#include "data/db.h"
#include <stdint.h>

/*
 * Deleted apps' documents are taken away by the workers, in pieces between
 * requests: by the one that was asked to delete, and should it end before, by
 * any other that looks for what is left, about each minute.
 */
struct sweep;

struct sweep *sweep_new(struct db *db);
void sweep_free(struct sweep *s);

/* The monotonic µs at which sweep_tend is due. */
int64_t sweep_due_us(const struct sweep *s);

/* Take a piece away, if there is something to take away. */
void sweep_tend(struct sweep *s);

/* This app has just been deleted: take the first piece away now. */
void sweep_app(struct sweep *s, int64_t app_id);

#endif

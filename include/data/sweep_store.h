#ifndef POSTERN_DATA_SWEEP_STORE_H
#define POSTERN_DATA_SWEEP_STORE_H

#include "base/name.h"
#include "base/status.h"
#include "data/db.h"
#include <stdint.h>

/* What a deleted app leaves behind, taken away in pieces that hold nobody up,
 * by any number of processes at once. */

/* Where one is with an app; { id } at the beginning. */
struct sweep_place {
	int64_t app_id;
	char after[NAME_USER_MAX + 1]; /* the last user who went */
};

enum sweep_left {
	SWEEP_MORE, /* call again */
	SWEEP_HELD, /* what is left is in others' hands: try again later */
	SWEEP_GONE  /* nothing, nor the app's row */
};

/* The app that was deleted before all others but skip (from 0); ST_NOT_FOUND
 * when there is none. */
enum status sweep_store_find(
    struct db *db, int64_t skip, int64_t *app_id) MUST_CHECK;

/* Take away one piece of an app that is deleted; waits for no lock. */
enum status sweep_store_piece(
    struct db *db, struct sweep_place *place, enum sweep_left *left) MUST_CHECK;

#endif

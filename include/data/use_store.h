#ifndef POSTERN_DATA_USE_STORE_H
#define POSTERN_DATA_USE_STORE_H

#include "base/status.h"
#include "data/db.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* When secrets were used, coarsely: the table app_uses. */
struct app_use {
	int64_t app_id;
	bool previous;      /* which secret, */
	int64_t rotated_us; /* by the row as it was known */
	int64_t at_us;      /* monotonic */
};

/* Write down uses at once, each for the secret that it was by now; apps that
 * are gone are left out. */
enum status use_store_note(
    struct db *db, const struct app_use *uses, size_t n) MUST_CHECK;

#endif

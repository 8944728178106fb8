#ifndef POSTERN_DATA_RESEAL_STORE_H
#define POSTERN_DATA_RESEAL_STORE_H

#include "base/status.h"
#include "data/db.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Rows of apps with what is sealed in them, to be sealed anew under another
 * master key while the service goes on.
 */

enum { SLOT_CURRENT, SLOT_PREVIOUS, SLOTS };

struct sealed_row {
	int64_t id;
	char *public_key;
	struct sealed_slot {
		char *sealed; /* NULL = nothing there */
		char *key_id; /* NULL = goliauth's format */
		char *anew;   /* what is to take its place; NULL = nothing */
	} slot[SLOTS];
	/* It wasn't there when the schema was brought over, or a key or a
	 * secret of it was changed since; matters in goliauth's format. */
	bool altered;
	bool written; /* by reseal_store_write */
};
void sealed_row_clear(struct sealed_row *row);

/* A keyset page in order of id: at most limit rows with id > after. *rows is
 * an array of *n; the caller clears each and frees the array. */
enum status reseal_store_page(struct db *db, int64_t after, int limit,
    struct sealed_row **rows, size_t *n) MUST_CHECK;

/* The same rows once more, as they are now; those that are gone are left out.
 * Their ids are in order. */
enum status reseal_store_again(struct db *db, const int64_t *ids, size_t count,
    struct sealed_row **rows, size_t *n) MUST_CHECK;

/*
 * Put anew, sealed under key_id, in the place of what was read, in one
 * transaction. Neither updated_at nor rotated_at moves: to its client the app
 * is the same. A row that changed meanwhile, or that someone holds locked just
 * now, is left alone without waiting and isn't marked written. ST_OK means
 * committed; otherwise nothing is written, or it is not known.
 */
enum status reseal_store_write(struct db *db, const char *actor,
    const char *key_id, struct sealed_row *rows, size_t n) MUST_CHECK;

/* The greatest id of apps, 0 if there are none: how far there is to go. */
enum status reseal_store_last_id(struct db *db, int64_t *id) MUST_CHECK;

/* How many secrets hang on each master key (key_id NULL = goliauth's format),
 * previous ones included. The caller frees each key_id and the array. */
struct key_use {
	char *key_id;
	int64_t rows;
};
enum status reseal_store_key_uses(
    struct db *db, struct key_use **uses, size_t *n) MUST_CHECK;

#endif

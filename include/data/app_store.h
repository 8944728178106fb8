#ifndef POSTERN_DATA_APP_STORE_H
#define POSTERN_DATA_APP_STORE_H

#include "base/date.h"
#include "base/status.h"
#include "data/db.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The table apps. A time that isn't there is null, or of an end: never. All
 * strings are the struct's own. */
struct app {
	int64_t id;
	char *name;
	char *public_key;
	struct date created_at;
	struct date updated_at;
	struct date disabled_at;
	struct date expires_at;
	struct date previous_valid_until;
	struct date rotated_at; /* which secrets these are */
	char *sealed;           /* encrypted_secret_key */
	char *key_id;           /* master_key_id, NULL = goliauth's format */
	char *previous_sealed;  /* NULL = none */
	char *previous_key_id;
	struct date last_used_at;          /* of the secret that is there now */
	struct date previous_last_used_at; /* of the one before, since then */
};
void app_clear(struct app *a);

/* A new secret's row values, already sealed. */
struct app_secret_row {
	const char *sealed;
	const char *key_id;
};

/* ST_OK with *a, or ST_NOT_FOUND. a must be { 0 }; the caller clears it. */
enum status app_store_find(
    struct db *db, const char *public_key, struct app *a) MUST_CHECK;

/* Who registers what. */
struct app_new {
	const char *actor;
	const char *name;
	const char *expires_at; /* RFC 3339; NULL = never */
	int64_t invite_id;      /* one use of it is counted; 0 = none */
};

/* Insert; *a is the new row. One transaction; ST_OK means committed.
 * ST_PRECONDITION when the invite is no longer good. */
enum status app_store_insert(struct db *db, const struct app_new *new,
    const char *public_key, const struct app_secret_row *secret,
    struct app *a) MUST_CHECK;

/*
 * The changes below are each one transaction with its audit row. guard is the
 * row's encrypted_secret_key as the caller read it: ST_CONFLICT when it has
 * changed since, so that a rotation in between can't be undone or used; NULL
 * = no guard (admin, tool). ST_NOT_FOUND when there is no such app. a, where
 * it is there, gets the row after the change (may be NULL).
 */
struct app_patch {
	const char *name; /* NULL = as it is */
	bool set_expires_at;
	const char *expires_at; /* RFC 3339; NULL = never */
};
enum status app_store_patch(struct db *db, const char *actor,
    const char *public_key, const char *guard, const struct app_patch *patch,
    struct app *a) MUST_CHECK;
/* How the secret before goes on. */
struct app_grace {
	int64_t seconds;   /* it moves to the previous slot; 0 = it ends now */
	bool end_previous; /* and with it what is still in that slot; without
			      it ST_OVERLAP, as long as that is valid by the
			      database's clock. seconds 0 implies it. */
};
enum status app_store_rotate(struct db *db, const char *actor,
    const char *public_key, const char *guard,
    const struct app_secret_row *secret, const struct app_grace *grace,
    struct app *a) MUST_CHECK;
enum status app_store_end_previous(struct db *db, const char *actor,
    const char *public_key, const char *guard) MUST_CHECK;
/* From then on no reader finds it. What is left of *id, its documents above
 * all, is for sweep_store.h to take away. */
enum status app_store_delete(struct db *db, const char *actor,
    const char *public_key, const char *guard, int64_t *id) MUST_CHECK;
enum status app_store_set_disabled(struct db *db, const char *actor,
    const char *public_key, bool disabled, struct app *a) MUST_CHECK;

/* A keyset page in order of id: at most limit apps with id > after; of those,
 * if search is there (UTF-8; NULL = all), the ones that have it in their name
 * or at the beginning of their public key, in either case. */
struct app_page {
	int64_t after;
	int limit;
	const char *search;
};
/* *list is an array of *n apps; the caller clears each and frees the array. */
enum status app_store_list(struct db *db, const struct app_page *page,
    struct app **list, size_t *n) MUST_CHECK;

/* Apps by what they may do: all of them are one of the three. */
struct app_counts {
	int64_t active, disabled, expired;
};
enum status app_store_counts(
    struct db *db, struct app_counts *counts) MUST_CHECK;

#endif

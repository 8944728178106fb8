#ifndef POSTERN_DATA_USER_STORE_H
#define POSTERN_DATA_USER_STORE_H

#include "base/buf.h"
#include "base/date.h"
#include "base/status.h"
#include "data/db.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The table users: one JSON object for each app's user. Every statement has
 * the app's id in its key, so another app's user is an absent one.
 */
struct user_doc {
	struct buf json; /* the document as jsonb prints it */
	char etag[64];   /* with its quotes; never repeats for a user, also
			    not after delete and re-creation */
	bool created;    /* user_store_put made a new row */
};
void user_doc_clear(struct user_doc *d);

/* Entity-tags, each with its quotes and a NUL behind it, or one "*" for any;
 * text NULL is no condition. Borrowed. */
struct user_tags {
	const char *text;
	size_t len;
};

/* Whose document, and on which conditions. */
struct user_key {
	int64_t app_id;
	const char *user; /* as name_is_user takes it */
	struct user_tags match;
	struct user_tags none_match;
};

/* ST_OK or ST_NOT_FOUND; conditions are the caller's to check for a read. */
enum status user_store_get(
    struct db *db, const struct user_key *k, struct user_doc *d) MUST_CHECK;

/*
 * Create or replace in one statement. json passed json_check and goes to
 * jsonb as the bytes received. ST_PRECONDITION when a condition fails (also
 * If-Match on an absent row).
 */
enum status user_store_put(struct db *db, const struct user_key *k,
    const char *json, struct user_doc *d) MUST_CHECK;

/*
 * RFC 7396 merge patch of an existing document, atomically, in SQL (numbers
 * stay exact). ST_NOT_FOUND, ST_PRECONDITION; ST_TOO_LARGE when the result's
 * text would pass max bytes (nothing is changed then).
 */
enum status user_store_patch(struct db *db, const struct user_key *k,
    const char *json, size_t max, struct user_doc *d) MUST_CHECK;

/* ST_OK, ST_NOT_FOUND, ST_PRECONDITION. */
enum status user_store_delete(
    struct db *db, const struct user_key *k) MUST_CHECK;

/* Who has a document. */
struct user {
	char *user;
	char etag[64]; /* the document's */
	struct date created_at;
	struct date updated_at;
};
void user_clear(struct user *u);

/* A keyset page in byte order of the user's id: at most limit behind after (""
 * = from the start). */
struct user_page {
	int64_t app_id;
	const char *after;
	int limit;
};
/* *list is an array of *n users; the caller clears each and frees the array. */
enum status user_store_list(struct db *db, const struct user_page *page,
    struct user **list, size_t *n) MUST_CHECK;

#endif

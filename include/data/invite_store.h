#ifndef POSTERN_DATA_INVITE_STORE_H
#define POSTERN_DATA_INVITE_STORE_H

#include "base/date.h"
#include "base/secret.h"
#include "base/status.h"
#include "data/db.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The table invites: registration tokens with limits (RFC 7591's initial
 * access tokens). Only the SHA-256 of a token is stored.
 */
struct invite {
	int64_t id;
	char *label;
	int64_t uses, uses_max;
	struct date created_at;
	struct date expires_at;
	struct date revoked_at;
	char *state; /* good (it may register now), used_up, expired, revoked */
};
void invite_clear(struct invite *i);

/* Has this the form of an invite: "postern-invite-" and 64 hex digits? */
bool invite_is_token(const char *token, size_t len);

struct invite_new {
	const char *label;
	int64_t uses;           /* at least 1 */
	const char *expires_at; /* RFC 3339; NULL = without end */
};

/* Make one; actor is for app_events. ST_OK with *token, which is nowhere else,
 * and *i. */
enum status invite_store_create(struct db *db, const char *actor,
    const struct invite_new *new, struct secret *token,
    struct invite *i) MUST_CHECK;

/* Which invite a token is, if it may register now; it is not used up by that.
 * ST_NOT_FOUND. */
enum status invite_store_find(
    struct db *db, const char *token, size_t len, int64_t *id) MUST_CHECK;

/* Count one use, in the caller's transaction; ST_PRECONDITION when it is used
 * up, expired or revoked. */
enum status invite_store_use(struct db *db, int64_t id) MUST_CHECK;

/* ST_NOT_FOUND; one that is revoked stays so. */
enum status invite_store_revoke(
    struct db *db, const char *actor, int64_t id, struct invite *i) MUST_CHECK;

/* All in order of id; the caller clears each and frees the array. */
enum status invite_store_list(
    struct db *db, struct invite **list, size_t *n) MUST_CHECK;

#endif

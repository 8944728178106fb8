/*
 * Invites in SQL.
 */
#include "data/invite_store.h"

#include "base/crypto.h"
#include "base/hex.h"
#include "base/mem.h"
#include "data/sql.h"

#include <stdlib.h>
#include <string.h>

enum { RANDOM_BYTES = 32 };

static const char PREFIX[] = "postern-invite-";

#define GOOD                                                                   \
	"revoked_at IS NULL AND uses < uses_max"                               \
	" AND (expires_at IS NULL OR expires_at > now())"
/* The columns that take_invite reads, in its order. */
#define COLUMNS                                                                \
	"id, label, uses, uses_max, extract(epoch FROM created_at),"           \
	" extract(epoch FROM expires_at), extract(epoch FROM revoked_at),"     \
	" CASE WHEN revoked_at IS NOT NULL THEN 'revoked'"                     \
	" WHEN uses >= uses_max THEN 'used_up'"                                \
	" WHEN expires_at <= now() THEN 'expired' ELSE 'good' END"

void
invite_clear(struct invite *i)
{
	free(i->label);
	free(i->state);
	memset(i, 0, sizeof *i);
}

static void
take_invite(const struct db_result *res, int row, struct invite *i)
{
	invite_clear(i);
	i->id = sql_number(res, row, 0);
	i->label = mem_strdup(db_text(res, row, 1));
	i->uses = sql_number(res, row, 2);
	i->uses_max = sql_number(res, row, 3);
	i->created_at = sql_time(res, row, 4);
	i->expires_at = sql_end(res, row, 5);
	i->revoked_at = sql_time(res, row, 6);
	i->state = mem_strdup(db_text(res, row, 7));
}

bool
invite_is_token(const char *token, size_t len)
{
	const size_t n = sizeof PREFIX - 1;

	return len == n + 2 * (size_t)RANDOM_BYTES &&
	       memcmp(token, PREFIX, n) == 0 &&
	       hex_is_public_key(token + n, len - n);
}

static void
hash_token(const char *token, size_t len, char *hex)
{
	unsigned char digest[CRYPTO_SHA256_LEN];

	crypto_sha256(token, len, digest);
	hex_encode(digest, sizeof digest, hex);
}

static void
draw_token(struct secret *token)
{
	unsigned char raw[RANDOM_BYTES];
	const size_t n = sizeof PREFIX - 1;

	crypto_random(raw, sizeof raw);
	secret_new(token, n + 2 * sizeof raw);
	memcpy(token->data, PREFIX, n);
	hex_encode(raw, sizeof raw, token->data + n);
	crypto_wipe(raw, sizeof raw);
}

/* A statement that gives one row of COLUMNS, in a transaction of its own. */
static enum status
change(struct db *db, const char *actor, const struct db_stmt *stmt,
    const char *const *params, struct invite *i)
{
	struct db_result *res = NULL;
	enum status st = sql_transact_row(db, actor, stmt, params, &res);

	if (st == ST_OK)
		take_invite(res, 0, i);
	db_result_free(res);
	return st;
}

enum status
invite_store_create(struct db *db, const char *actor,
    const struct invite_new *new, struct secret *token, struct invite *i)
{
	static const struct db_stmt create = { "invite_create",
		"INSERT INTO invites (label, token_hash, uses_max, expires_at)"
		" VALUES ($1, $2, $3::bigint, $4::timestamptz)"
		" RETURNING " COLUMNS,
		4 };
	char hash[2 * CRYPTO_SHA256_LEN + 1], max[BUF_DECIMAL];
	const char *params[] = { new->label, hash, buf_decimal(new->uses, max),
		new->expires_at };
	struct secret made = { 0 };
	enum status st;

	draw_token(&made);
	hash_token(made.data, made.len, hash);
	st = change(db, actor, &create, params, i);
	if (st == ST_OK)
		secret_move(token, &made);
	secret_clear(&made);
	return st;
}

enum status
invite_store_find(struct db *db, const char *token, size_t len, int64_t *id)
{
	/* The server's role may not see more of an invite than this needs. */
	static const struct db_stmt find = { "invite_find",
		"SELECT id FROM invites WHERE token_hash = $1 AND " GOOD, 1 };
	char hash[2 * CRYPTO_SHA256_LEN + 1];
	const char *params[] = { hash };

	hash_token(token, len, hash);
	return sql_query_id(db, &find, params, id);
}

enum status
invite_store_use(struct db *db, int64_t id)
{
	static const struct db_stmt use = { "invite_use",
		"UPDATE invites SET uses = uses + 1 WHERE id = $1::bigint"
		" AND " GOOD " RETURNING id",
		1 };
	char text[BUF_DECIMAL];
	const char *params[] = { buf_decimal(id, text) };
	struct db_result *res = NULL;
	enum status st;

	st = sql_query_row(db, &use, params, ST_PRECONDITION, &res);
	db_result_free(res);
	return st;
}

enum status
invite_store_revoke(
    struct db *db, const char *actor, int64_t id, struct invite *i)
{
	static const struct db_stmt revoke = { "invite_revoke",
		"UPDATE invites SET revoked_at = coalesce(revoked_at, now())"
		" WHERE id = $1::bigint RETURNING " COLUMNS,
		1 };
	char text[BUF_DECIMAL];
	const char *params[] = { buf_decimal(id, text) };

	return change(db, actor, &revoke, params, i);
}

enum status
invite_store_list(struct db *db, struct invite **list, size_t *n)
{
	static const struct db_stmt all = { "invite_list",
		"SELECT " COLUMNS " FROM invites ORDER BY id", 0 };
	struct db_result *res = NULL;
	enum status st;
	size_t i;

	st = db_query(db, &all, NULL, &res);
	if (st != ST_OK)
		return st;
	*n = (size_t)db_rows(res);
	*list = mem_alloc(*n * sizeof **list);
	for (i = 0; i < *n; i++)
		take_invite(res, (int)i, &(*list)[i]);
	db_result_free(res);
	return ST_OK;
}

/*
 * Tokens that were used. The table is an ordinary logged one: what was used
 * stays used after a crash, and on a standby that was promoted.
 */
#include "data/jti_store.h"

#include "base/crypto.h"
#include "base/hex.h"
#include "data/sql.h"

#include <inttypes.h>
#include <stdio.h>

enum status
jti_use(struct db *db, int64_t app_id, const char *jti, size_t len,
    double good_until)
{
	static const struct db_stmt use = { "jti_use",
		"INSERT INTO used_jtis (app_id, jti_hash, expires_at)"
		" VALUES ($1::bigint, $2, to_timestamp(least($3::float8,"
		" 32503680000)))"
		" ON CONFLICT DO NOTHING RETURNING 1",
		3 };
	unsigned char digest[CRYPTO_SHA256_LEN];
	char hash[2 * CRYPTO_SHA256_LEN + 1], id[24], until[32];
	const char *params[] = { id, hash, until };
	struct db_result *res = NULL;
	enum status st;

	crypto_sha256(jti, len, digest);
	hex_encode(digest, sizeof digest, hash);
	snprintf(id, sizeof id, "%" PRId64, app_id);
	snprintf(until, sizeof until, "%.17g", good_until);
	st = sql_query_row(db, &use, params, ST_CONFLICT, &res);
	db_result_free(res);
	return st;
}

/* An hour more than needed: clocks differ, and are set back. */
enum status
jti_purge(struct db *db)
{
	static const struct db_stmt purge = { "jti_purge",
		"WITH old AS MATERIALIZED (SELECT app_id, jti_hash"
		" FROM used_jtis WHERE expires_at < now() - interval '1 hour'"
		" ORDER BY expires_at LIMIT 5000 FOR UPDATE SKIP LOCKED)"
		" DELETE FROM used_jtis AS u USING old"
		" WHERE u.app_id = old.app_id AND u.jti_hash = old.jti_hash",
		0 };
	struct db_result *res = NULL;
	enum status st;

	st = db_query(db, &purge, NULL, &res);
	db_result_free(res);
	return st;
}

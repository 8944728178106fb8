/*
 * The table users in SQL: each operation is one statement, conditions
 * included, so that no other request comes between a check and its change.
 */
#include "data/user_store.h"

#include "base/json.h"
#include "data/sql.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* clang-format off */
/* Creation time and version: never the same twice for a user, also not after
 * it was deleted and made again. */
#define ETAG                                                                   \
	"'\"' || to_hex(" SQL_EPOCH_US("u.created_at") ")"                     \
	" || '-' || u.version || '\"'"
/* clang-format on */
#define RESULT " RETURNING " ETAG ", u.information::text"
#define KEY " u.app_id = $1::bigint AND u.user_id = $2"
/* A parameter of tags: null = no condition; '*' = any. */
#define MATCH(p)                                                               \
	" AND (" p "::text[] IS NULL OR '*' = ANY(" p ")"                      \
	" OR " ETAG " = ANY(" p "))"
#define NONE_MATCH(p)                                                          \
	" AND (" p "::text[] IS NULL OR NOT ('*' = ANY(" p ")"                 \
	" OR " ETAG " = ANY(" p ")))"

void
user_doc_clear(struct user_doc *d)
{
	buf_free(&d->json);
	memset(d, 0, sizeof *d);
}

/* The tags as a text[] literal. */
static void
add_tags(struct buf *out, const struct user_tags *tags)
{
	const char *p = tags->text, *end = p + tags->len;

	buf_addc(out, '{');
	for (; p < end; p++) {
		buf_adds(out, out->len > 1 ? ",\"" : "\"");
		for (; *p != '\0'; p++) {
			if (*p == '"' || *p == '\\')
				buf_addc(out, '\\');
			buf_addc(out, *p);
		}
		buf_addc(out, '"');
	}
	buf_addc(out, '}');
}

/* The four parameters that every statement begins with. */
struct key_params {
	char app_id[24];
	struct buf match;
	struct buf none_match;
	const char *p[6];
};

static void
key_params(struct key_params *kp, const struct user_key *k)
{
	memset(kp, 0, sizeof *kp);
	snprintf(kp->app_id, sizeof kp->app_id, "%" PRId64, k->app_id);
	kp->p[0] = kp->app_id;
	kp->p[1] = k->user;
	if (k->match.text != NULL) {
		add_tags(&kp->match, &k->match);
		kp->p[2] = buf_str(&kp->match);
	}
	if (k->none_match.text != NULL) {
		add_tags(&kp->none_match, &k->none_match);
		kp->p[3] = buf_str(&kp->none_match);
	}
}

static void
key_params_clear(struct key_params *kp)
{
	buf_free(&kp->match);
	buf_free(&kp->none_match);
}

static void
take_doc(const struct db_result *res, struct user_doc *d)
{
	snprintf(d->etag, sizeof d->etag, "%s", db_text(res, 0, 0));
	buf_reset(&d->json);
	buf_add(&d->json, db_text(res, 0, 1), db_len(res, 0, 1));
}

enum status
user_store_get(struct db *db, const struct user_key *k, struct user_doc *d)
{
	static const struct db_stmt get = { "user_get",
		"SELECT " ETAG ", u.information::text FROM users AS u"
		" WHERE" KEY,
		2 };
	struct db_result *res = NULL;
	struct key_params kp;
	enum status st;

	key_params(&kp, k);
	st = sql_query_row(db, &get, kp.p, ST_NOT_FOUND, &res);
	if (st == ST_OK)
		take_doc(res, d);
	db_result_free(res);
	key_params_clear(&kp);
	return st;
}

/*
 * With If-Match only an existing row can do, so nothing may be inserted. An app
 * can't be deleted while a document is put into it, nor get one afterwards:
 * what sweeps it must have seen the last.
 */
enum status
user_store_put(struct db *db, const struct user_key *k, const char *json,
    struct user_doc *d)
{
	static const struct db_stmt upsert = { "user_put",
		"WITH app AS MATERIALIZED (SELECT id FROM apps"
		" WHERE id = $1::bigint AND deleted_at IS NULL FOR KEY SHARE),"
		" put AS (INSERT INTO users AS u (app_id, user_id, information)"
		" SELECT id, $2, $5::jsonb FROM app"
		" ON CONFLICT (app_id, user_id) DO UPDATE SET"
		" information = excluded.information,"
		" version = u.version + 1, updated_at = now()"
		" WHERE true" MATCH("$3") NONE_MATCH("$4") RESULT
		", (u.version = 1)::int)"
		" SELECT put.* FROM app LEFT JOIN put ON true",
		5 };
	static const struct db_stmt update = { "user_replace",
		"UPDATE users AS u SET information = $5::jsonb,"
		" version = u.version + 1, updated_at = now()"
		" WHERE" KEY MATCH("$3") NONE_MATCH("$4") RESULT ", 0",
		5 };
	struct db_result *res = NULL;
	struct key_params kp;
	enum status st;

	key_params(&kp, k);
	kp.p[4] = json;
	if (k->match.text != NULL)
		st = sql_query_row(db, &update, kp.p, ST_PRECONDITION, &res);
	else
		st = sql_query_row(db, &upsert, kp.p, ST_NOT_FOUND, &res);
	if (st == ST_OK && db_null(res, 0, 0))
		st = ST_PRECONDITION;
	if (st == ST_OK) {
		take_doc(res, d);
		d->created = db_text(res, 0, 2)[0] == '1';
	}
	db_result_free(res);
	key_params_clear(&kp);
	return st;
}

/* No row was changed: because there is none, or because of a condition? */
static enum status
why_not(struct db *db, const struct user_key *k)
{
	struct user_doc d = { 0 };
	enum status st;

	if (k->match.text == NULL && k->none_match.text == NULL)
		return ST_NOT_FOUND;
	st = user_store_get(db, k, &d);
	user_doc_clear(&d);
	return st == ST_OK ? ST_PRECONDITION : st;
}

/*
 * The new document is made once, in a locked row's sub-select; a result that
 * is too large comes back as its size alone, with nothing changed.
 */
enum status
user_store_patch(struct db *db, const struct user_key *k, const char *json,
    size_t max, struct user_doc *d)
{
	static const struct db_stmt patch = { "user_patch",
		"WITH old AS MATERIALIZED (SELECT app_id, user_id,"
		" postern_merge_patch(information, $5::jsonb) AS merged"
		" FROM users AS u WHERE" KEY MATCH("$3") NONE_MATCH(
		    "$4") " FOR UPDATE), sized AS MATERIALIZED (SELECT *,"
			  " octet_length(merged::text) <= $6::bigint AS fits "
			  "FROM old),"
			  " new AS (UPDATE users AS u SET information = "
			  "sized.merged,"
			  " version = u.version + 1, updated_at = now() FROM "
			  "sized"
			  " WHERE u.app_id = sized.app_id AND u.user_id = "
			  "sized.user_id"
			  " AND sized.fits" RESULT ")"
			  " SELECT new.*, sized.fits FROM sized LEFT JOIN new "
			  "ON true",
		6 };
	struct db_result *res = NULL;
	struct key_params kp;
	char bound[24];
	enum status st;

	key_params(&kp, k);
	snprintf(bound, sizeof bound, "%zu", max);
	kp.p[4] = json;
	kp.p[5] = bound;
	st = db_query(db, &patch, kp.p, &res);
	if (st == ST_OK && db_rows(res) == 0)
		st = why_not(db, k);
	else if (st == ST_OK && db_text(res, 0, 2)[0] != 't')
		st = ST_TOO_LARGE;
	else if (st == ST_OK && db_null(res, 0, 0))
		st = ST_CONFLICT;
	if (st == ST_OK)
		take_doc(res, d);
	db_result_free(res);
	key_params_clear(&kp);
	return st;
}

enum status
user_store_delete(struct db *db, const struct user_key *k)
{
	static const struct db_stmt delete = { "user_delete",
		"DELETE FROM users AS u WHERE" KEY MATCH("$3")
		    NONE_MATCH("$4") " RETURNING 1",
		4 };
	struct db_result *res = NULL;
	struct key_params kp;
	enum status st;

	key_params(&kp, k);
	st = db_query(db, &delete, kp.p, &res);
	if (st == ST_OK && db_rows(res) == 0)
		st = why_not(db, k);
	db_result_free(res);
	key_params_clear(&kp);
	return st;
}

static void
add_user(struct buf *out, const struct db_result *res, int row)
{
	static const char *const names[] = { "user", "etag", "created_at",
		"updated_at" };
	int col;

	for (col = 0; col < 4; col++) {
		buf_addf(out, "%s\"%s\":", col ? "," : "{", names[col]);
		json_add_string(
		    out, db_text(res, row, col), db_len(res, row, col));
	}
	buf_addc(out, '}');
}

/* One row more than the page tells whether there is a next. */
enum status
user_store_list(struct db *db, int64_t app_id, const char *after, int limit,
    struct buf *out)
{
	static const struct db_stmt page = { "user_list",
		"SELECT u.user_id, " ETAG ","
		" " SQL_TIME("u.created_at") ", " SQL_TIME(
		    "u.updated_at") " FROM users AS u WHERE u.app_id = "
				    "$1::bigint"
				    " AND u.user_id > $2 ORDER BY u.user_id "
				    "LIMIT $3::int",
		3 };
	char id[24], count[16];
	const char *params[] = { id, after, count };
	struct db_result *res = NULL;
	enum status st;
	int i, n;

	snprintf(id, sizeof id, "%" PRId64, app_id);
	snprintf(count, sizeof count, "%d", limit + 1);
	st = db_query(db, &page, params, &res);
	if (st != ST_OK)
		return st;
	n = db_rows(res) > limit ? limit : db_rows(res);
	buf_adds(out, "{\"users\":[");
	for (i = 0; i < n; i++) {
		if (i > 0)
			buf_addc(out, ',');
		add_user(out, res, i);
	}
	buf_adds(out, "],\"next\":");
	if (db_rows(res) > limit)
		json_add_string(
		    out, db_text(res, n - 1, 0), db_len(res, n - 1, 0));
	else
		buf_adds(out, "null");
	buf_adds(out, "}\n");
	db_result_free(res);
	return ST_OK;
}

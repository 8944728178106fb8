/*
 * The table users in SQL: each operation is one statement, conditions
 * included, so that no other request comes between a check and its change.
 */
#include "data/user_store.h"

#include "base/mem.h"
#include "data/sql.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Creation time and version: never the same twice for a user, also not after
 * it was deleted and made again. A time that no clock reaches has one as well.
 */
#define ETAG                                                                   \
	"'\"' || to_hex((extract(epoch FROM greatest(least(u.created_at,"      \
	" '9999-12-31 23:59:59.999999Z'), '0001-01-01 00:00Z'))"               \
	" * 1000000)::bigint) || '-' || u.version || '\"'"
#define RESULT " RETURNING " ETAG ", u.information::text"
#define KEY " u.app_id = $1::bigint AND u.user_id = $2"
/* Tags that are asked for, and those that must not be: null = no condition;
 * '*' = any. */
#define CONDITIONS                                                             \
	" AND ($3::text[] IS NULL OR $3 && ARRAY['*', " ETAG "])"              \
	" AND ($4::text[] IS NULL OR NOT $4 && ARRAY['*', " ETAG "])"

void
user_doc_clear(struct user_doc *d)
{
	buf_free(&d->json);
	memset(d, 0, sizeof *d);
}

/* The tags as a text[]; NULL where there is no condition. */
static const char *
add_tags(struct buf *out, const struct user_tags *tags)
{
	const char *p;

	if (tags->text == NULL)
		return NULL;
	for (p = tags->text; p < tags->text + tags->len; p += strlen(p) + 1)
		sql_array_add(out, p);
	return sql_array_end(out);
}

/* The four parameters that every statement begins with. */
struct key_params {
	char app_id[BUF_DECIMAL];
	struct buf match;
	struct buf none_match;
	const char *p[6];
};

static void
key_params(struct key_params *kp, const struct user_key *k)
{
	memset(kp, 0, sizeof *kp);
	kp->p[0] = buf_decimal(k->app_id, kp->app_id);
	kp->p[1] = k->user;
	kp->p[2] = add_tags(&kp->match, &k->match);
	kp->p[3] = add_tags(&kp->none_match, &k->none_match);
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
		" WHERE true" CONDITIONS RESULT ", (u.version = 1)::int)"
		" SELECT put.* FROM app LEFT JOIN put ON true",
		5 };
	static const struct db_stmt update = { "user_replace",
		"UPDATE users AS u SET information = $5::jsonb,"
		" version = u.version + 1, updated_at = now()"
		" WHERE" KEY CONDITIONS RESULT ", 0",
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
		" FROM users AS u WHERE" KEY CONDITIONS " FOR UPDATE),"
		" sized AS MATERIALIZED (SELECT *,"
		" octet_length(merged::text) <= $6::bigint AS fits FROM old),"
		" new AS (UPDATE users AS u SET information = sized.merged,"
		" version = u.version + 1, updated_at = now() FROM sized"
		" WHERE u.app_id = sized.app_id AND u.user_id = sized.user_id"
		" AND sized.fits" RESULT ")"
		" SELECT new.*, sized.fits FROM sized LEFT JOIN new ON true",
		6 };
	struct db_result *res = NULL;
	struct key_params kp;
	char bound[BUF_DECIMAL];
	enum status st;

	key_params(&kp, k);
	kp.p[4] = json;
	kp.p[5] = buf_decimal((int64_t)max, bound);
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
		"DELETE FROM users AS u WHERE" KEY CONDITIONS " RETURNING 1",
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

void
user_clear(struct user *u)
{
	free(u->user);
	memset(u, 0, sizeof *u);
}

static void
take_user(const struct db_result *res, int row, struct user *u)
{
	u->user = mem_strdup(db_text(res, row, 0));
	snprintf(u->etag, sizeof u->etag, "%s", db_text(res, row, 1));
	u->created_at = sql_time(res, row, 2);
	u->updated_at = sql_time(res, row, 3);
}

enum status
user_store_list(
    struct db *db, const struct user_page *page, struct user **list, size_t *n)
{
	static const struct db_stmt stmt = { "user_list",
		"SELECT u.user_id, " ETAG ", extract(epoch FROM u.created_at),"
		" extract(epoch FROM u.updated_at) FROM users AS u"
		" WHERE u.app_id = $1::bigint AND u.user_id > $2"
		" ORDER BY u.user_id LIMIT $3::int",
		3 };
	char id[BUF_DECIMAL], count[BUF_DECIMAL];
	const char *params[] = { buf_decimal(page->app_id, id), page->after,
		buf_decimal(page->limit, count) };
	struct db_result *res = NULL;
	enum status st;
	int i;

	st = db_query(db, &stmt, params, &res);
	if (st != ST_OK)
		return st;
	*n = (size_t)db_rows(res);
	*list = mem_alloc(*n * sizeof **list);
	for (i = 0; i < db_rows(res); i++)
		take_user(res, i, &(*list)[i]);
	db_result_free(res);
	return ST_OK;
}

/*
 * The table apps in SQL. Every statement returns the same columns, read by one
 * function; every change is a transaction with its actor, so that the audit
 * row is its own.
 */
#include "data/app_store.h"

#include "base/json.h"
#include "base/mem.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The columns that take_app reads, in its order. */
#define TIME(column)                                                           \
	"to_char(" column " AT TIME ZONE 'UTC', "                              \
	"'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"
#define EPOCH(column) "extract(epoch FROM " column ")::float8"
/* clang-format off */
#define COLUMNS                                                                \
	"id, name, public_key, "                                               \
	TIME("created_at") ", " TIME("updated_at") ", "                        \
	TIME("disabled_at") ", "                                               \
	TIME("expires_at") ", " EPOCH("expires_at") ", "                       \
	TIME("previous_valid_until") ", " EPOCH("previous_valid_until") ", "   \
	"encrypted_secret_key, master_key_id, "                                \
	"previous_encrypted_secret_key, previous_master_key_id"
/* clang-format on */

/* Of a change with a guard: the row, if it is still as the caller read it. */
#define GUARDED                                                                \
	" WHERE public_key = $1"                                               \
	" AND ($2::text IS NULL OR encrypted_secret_key = $2)"

void
app_clear(struct app *a)
{
	free(a->name);
	free(a->public_key);
	free(a->created_at);
	free(a->updated_at);
	free(a->disabled_at);
	free(a->expires_at);
	free(a->previous_valid_until);
	free(a->sealed);
	free(a->key_id);
	free(a->previous_sealed);
	free(a->previous_key_id);
	memset(a, 0, sizeof *a);
}

static char *
take(const struct db_result *res, int row, int col)
{
	return db_null(res, row, col) ? NULL
				      : mem_strdup(db_text(res, row, col));
}

static void
take_app(const struct db_result *res, int row, struct app *a)
{
	app_clear(a);
	a->id = strtoll(db_text(res, row, 0), NULL, 10);
	a->name = mem_strdup(db_text(res, row, 1));
	a->public_key = mem_strdup(db_text(res, row, 2));
	a->created_at = mem_strdup(db_text(res, row, 3));
	a->updated_at = mem_strdup(db_text(res, row, 4));
	a->disabled_at = take(res, row, 5);
	a->expires_at = take(res, row, 6);
	a->expires_epoch = strtod(db_text(res, row, 7), NULL);
	a->previous_valid_until = take(res, row, 8);
	a->previous_epoch = strtod(db_text(res, row, 9), NULL);
	a->sealed = mem_strdup(db_text(res, row, 10));
	a->key_id = take(res, row, 11);
	a->previous_sealed = take(res, row, 12);
	a->previous_key_id = take(res, row, 13);
}

enum status
app_store_find(struct db *db, const char *public_key, struct app *a)
{
	static const struct db_stmt find = { "app_find",
		"SELECT " COLUMNS " FROM apps WHERE public_key = $1", 1 };
	struct db_result *res = NULL;
	enum status st;

	st = db_query(db, &find, &public_key, &res);
	if (st == ST_OK && db_rows(res) == 0)
		st = ST_NOT_FOUND;
	if (st == ST_OK)
		take_app(res, 0, a);
	db_result_free(res);
	return st;
}

/* One statement in a transaction of its own; *a, if wanted, is the row. */
static enum status
change(struct db *db, const char *actor, const struct db_stmt *stmt,
    const char *const *params, struct app *a)
{
	struct db_result *res = NULL;
	enum status st;

	st = db_begin(db, actor);
	if (st != ST_OK)
		return st;
	st = db_query(db, stmt, params, &res);
	if (st == ST_OK && db_rows(res) == 0)
		st = ST_NOT_FOUND;
	if (st == ST_OK)
		st = db_commit(db);
	if (st == ST_OK && a != NULL)
		take_app(res, 0, a);
	if (st != ST_OK)
		db_rollback(db);
	db_result_free(res);
	return st;
}

/* params[0] is the key, params[1] the guard: a row that is there and was not
 * changed has another sealed key than the caller read. */
static enum status
change_guarded(struct db *db, const char *actor, const struct db_stmt *stmt,
    const char *const *params, struct app *a)
{
	struct app now = { 0 };
	enum status st, found;

	st = change(db, actor, stmt, params, a);
	if (st != ST_NOT_FOUND || params[1] == NULL)
		return st;
	found = app_store_find(db, params[0], &now);
	app_clear(&now);
	return found == ST_OK ? ST_CONFLICT : found;
}

enum status
app_store_insert(struct db *db, const char *actor, const char *name,
    const char *public_key, const struct app_secret_row *secret, struct app *a)
{
	static const struct db_stmt insert = { "app_insert",
		"INSERT INTO apps (name, public_key, encrypted_secret_key,"
		" master_key_id) VALUES ($1, $2, $3, $4) RETURNING " COLUMNS,
		4 };
	const char *params[] = { name, public_key, secret->sealed,
		secret->key_id };

	return change(db, actor, &insert, params, a);
}

enum status
app_store_rename(struct db *db, const char *actor, const char *public_key,
    const char *guard, const char *name, struct app *a)
{
	static const struct db_stmt rename_stmt = { "app_rename",
		"UPDATE apps SET name = $3, updated_at = now()" GUARDED
		" RETURNING " COLUMNS,
		3 };
	const char *params[] = { public_key, guard, name };

	return change_guarded(db, actor, &rename_stmt, params, a);
}

enum status
app_store_rotate(struct db *db, const char *actor, const char *public_key,
    const char *guard, const struct app_secret_row *secret,
    int64_t grace_seconds, struct app *a)
{
	static const struct db_stmt rotate = { "app_rotate",
		"UPDATE apps SET previous_encrypted_secret_key ="
		" CASE WHEN $5::bigint > 0 THEN encrypted_secret_key END,"
		" previous_master_key_id ="
		" CASE WHEN $5::bigint > 0 THEN master_key_id END,"
		" previous_valid_until = CASE WHEN $5::bigint > 0"
		" THEN now() + make_interval(secs => $5::bigint) END,"
		" encrypted_secret_key = $3, master_key_id = $4,"
		" updated_at = now()" GUARDED " RETURNING " COLUMNS,
		5 };
	char grace[24];
	const char *params[] = { public_key, guard, secret->sealed,
		secret->key_id, grace };

	snprintf(grace, sizeof grace, "%" PRId64, grace_seconds);
	return change_guarded(db, actor, &rotate, params, a);
}

enum status
app_store_end_previous(
    struct db *db, const char *actor, const char *public_key, const char *guard)
{
	static const struct db_stmt end = { "app_end_previous",
		"UPDATE apps SET previous_encrypted_secret_key = NULL,"
		" previous_master_key_id = NULL, previous_valid_until = NULL,"
		" updated_at = now()" GUARDED " RETURNING id",
		2 };
	const char *params[] = { public_key, guard };

	return change_guarded(db, actor, &end, params, NULL);
}

enum status
app_store_delete(
    struct db *db, const char *actor, const char *public_key, const char *guard)
{
	static const struct db_stmt delete = { "app_delete",
		"DELETE FROM apps" GUARDED " RETURNING id", 2 };
	const char *params[] = { public_key, guard };

	return change_guarded(db, actor, &delete, params, NULL);
}

enum status
app_store_set_disabled(struct db *db, const char *actor, const char *public_key,
    bool disabled, struct app *a)
{
	static const struct db_stmt set = { "app_set_disabled",
		"UPDATE apps SET disabled_at = CASE WHEN $2::bool"
		" THEN coalesce(disabled_at, now()) END, updated_at = now()"
		" WHERE public_key = $1 RETURNING " COLUMNS,
		2 };
	const char *params[] = { public_key, disabled ? "t" : "f" };

	return change(db, actor, &set, params, a);
}

enum status
app_store_list(
    struct db *db, int64_t after, int limit, struct app **list, size_t *n)
{
	static const struct db_stmt page = { "app_list",
		"SELECT " COLUMNS " FROM apps WHERE id > $1::bigint"
		" ORDER BY id LIMIT $2::int",
		2 };
	char from[24], count[16];
	const char *params[] = { from, count };
	struct db_result *res = NULL;
	enum status st;
	int i;

	snprintf(from, sizeof from, "%" PRId64, after);
	snprintf(count, sizeof count, "%d", limit);
	st = db_query(db, &page, params, &res);
	if (st != ST_OK)
		return st;
	*n = (size_t)db_rows(res);
	*list = mem_alloc(*n * sizeof **list);
	for (i = 0; i < db_rows(res); i++)
		take_app(res, i, &(*list)[i]);
	db_result_free(res);
	return ST_OK;
}

enum status
app_store_key_uses(struct db *db, struct key_use **uses, size_t *n)
{
	static const struct db_stmt count = { "app_key_uses",
		"SELECT k, count(*) FROM ("
		" SELECT master_key_id AS k FROM apps UNION ALL"
		" SELECT previous_master_key_id FROM apps"
		" WHERE previous_encrypted_secret_key IS NOT NULL) AS t"
		" GROUP BY k ORDER BY k NULLS FIRST",
		0 };
	struct db_result *res = NULL;
	enum status st;
	int i;

	st = db_query(db, &count, NULL, &res);
	if (st != ST_OK)
		return st;
	*n = (size_t)db_rows(res);
	*uses = mem_alloc(*n * sizeof **uses);
	for (i = 0; i < db_rows(res); i++) {
		(*uses)[i].key_id = take(res, i, 0);
		(*uses)[i].rows = strtoll(db_text(res, i, 1), NULL, 10);
	}
	db_result_free(res);
	return ST_OK;
}

static void
add_member(struct buf *b, const char *name, const char *value)
{
	buf_addf(b, ",\"%s\":", name);
	if (value == NULL)
		buf_adds(b, "null");
	else
		json_add_string(b, value, strlen(value));
}

void
app_json_members(struct buf *b, const struct app *a)
{
	buf_addf(b, "\"id\":%" PRId64, a->id);
	add_member(b, "name", a->name);
	add_member(b, "public_key", a->public_key);
	add_member(b, "created_at", a->created_at);
	add_member(b, "updated_at", a->updated_at);
	add_member(b, "disabled_at", a->disabled_at);
	add_member(b, "expires_at", a->expires_at);
	add_member(b, "previous_valid_until", a->previous_valid_until);
}

void
app_json(struct buf *b, const struct app *a)
{
	buf_addc(b, '{');
	app_json_members(b, a);
	buf_addc(b, '}');
}

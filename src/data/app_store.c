/*
 * The table apps in SQL. Every statement returns the same columns, read by one
 * function; every change is a transaction with its actor, so that the audit
 * row is its own.
 */
#include "data/app_store.h"

#include "base/mem.h"
#include "data/invite_store.h"
#include "data/sql.h"

#include <stdlib.h>
#include <string.h>

/* The columns that take_app reads, in its order. */
#define COLUMNS                                                                \
	"id, name, public_key, extract(epoch FROM created_at),"                \
	" extract(epoch FROM updated_at), extract(epoch FROM disabled_at),"    \
	" extract(epoch FROM expires_at),"                                     \
	" extract(epoch FROM previous_valid_until),"                           \
	" extract(epoch FROM rotated_at), encrypted_secret_key,"               \
	" master_key_id, previous_encrypted_secret_key,"                       \
	" previous_master_key_id,"                                             \
	" (SELECT extract(epoch FROM last_used_at) FROM app_uses"              \
	" WHERE app_id = apps.id),"                                            \
	" (SELECT extract(epoch FROM previous_last_used_at) FROM app_uses"     \
	" WHERE app_id = apps.id)"

/* Of a change with a guard: the row, if it is still as the caller read it.
 * What is deleted is there for nobody; its documents may still go (sweep.c). */
#define GUARDED                                                                \
	" WHERE public_key = $1 AND deleted_at IS NULL"                        \
	" AND ($2::text IS NULL OR encrypted_secret_key = $2)"

void
app_clear(struct app *a)
{
	free(a->name);
	free(a->public_key);
	free(a->sealed);
	free(a->key_id);
	free(a->previous_sealed);
	free(a->previous_key_id);
	memset(a, 0, sizeof *a);
}

/* A use counts as one of the secret that is there now, or of the one before,
 * only if it is younger than the rotation between them. */
static void
take_uses(const struct db_result *res, int row, struct app *a)
{
	int64_t since = a->rotated_at.there ? a->rotated_at.us : DATE_MIN_US;
	struct date used = sql_time(res, row, 13);

	if (used.us > since)
		a->last_used_at = used;
	used = sql_time(res, row, 14);
	if (used.us > since && a->previous_sealed != NULL)
		a->previous_last_used_at = used;
}

/* No overlap is without an end: one that was made so by hand is over. */
static void
take_app(const struct db_result *res, int row, struct app *a)
{
	app_clear(a);
	a->id = sql_number(res, row, 0);
	a->name = mem_strdup(db_text(res, row, 1));
	a->public_key = mem_strdup(db_text(res, row, 2));
	a->created_at = sql_time(res, row, 3);
	a->updated_at = sql_time(res, row, 4);
	a->disabled_at = sql_time(res, row, 5);
	a->expires_at = sql_end(res, row, 6);
	a->previous_valid_until = sql_end(res, row, 7);
	a->rotated_at = sql_time(res, row, 8);
	a->sealed = mem_strdup(db_text(res, row, 9));
	a->key_id = sql_take(res, row, 10);
	a->previous_sealed = sql_take(res, row, 11);
	a->previous_key_id = sql_take(res, row, 12);
	take_uses(res, row, a);
}

/* An unknown key costs what a known one does: there is always a row, if need
 * be one like any app's, but of no app, whose id is 0. */
enum status
app_store_find(struct db *db, const char *public_key, struct app *a)
{
	static const struct db_stmt find = { "app_find",
		"SELECT " COLUMNS " FROM (SELECT id, name, public_key,"
		" created_at, updated_at, disabled_at, expires_at,"
		" previous_valid_until, rotated_at, encrypted_secret_key,"
		" master_key_id, previous_encrypted_secret_key,"
		" previous_master_key_id FROM apps"
		" WHERE public_key = $1 AND deleted_at IS NULL"
		" UNION ALL SELECT 0, 'An app', $1, timestamptz 'epoch',"
		" timestamptz 'epoch', NULL, NULL, NULL, NULL,"
		" repeat('0', 120), '0000000000000000', NULL, NULL"
		" LIMIT 1) AS apps",
		1 };
	struct db_result *res = NULL;
	struct app found = { 0 };
	enum status st;

	st = db_query(db, &find, &public_key, &res);
	if (st == ST_OK && db_rows(res) != 1)
		st = ST_BROKEN;
	if (st == ST_OK)
		take_app(res, 0, &found);
	db_result_free(res);
	if (st == ST_OK && found.id == 0)
		st = ST_NOT_FOUND;
	if (st != ST_OK) {
		app_clear(&found);
		return st;
	}
	app_clear(a);
	*a = found;
	return ST_OK;
}

/* One statement in a transaction of its own; *a, if wanted, is the row. */
static enum status
change(struct db *db, const char *actor, const struct db_stmt *stmt,
    const char *const *params, struct app *a)
{
	struct db_result *res = NULL;
	enum status st = sql_transact_row(db, actor, stmt, params, &res);

	if (st == ST_OK && a != NULL)
		take_app(res, 0, a);
	db_result_free(res);
	return st;
}

/* Why was no row changed? params[0] is the key, params[1] the guard: there is
 * none, it has another sealed key than the caller read, or it is otherwise. */
static enum status
why_not(struct db *db, const char *const *params, enum status otherwise)
{
	struct app now = { 0 };
	enum status st = app_store_find(db, params[0], &now);

	if (st == ST_OK && params[1] != NULL &&
	    strcmp(now.sealed, params[1]) != 0)
		st = ST_CONFLICT;
	else if (st == ST_OK)
		st = otherwise;
	app_clear(&now);
	return st;
}

static enum status
change_guarded(struct db *db, const char *actor, const struct db_stmt *stmt,
    const char *const *params, struct app *a)
{
	enum status st = change(db, actor, stmt, params, a);

	if (st != ST_NOT_FOUND || params[1] == NULL)
		return st;
	return why_not(db, params, ST_CONFLICT);
}

struct insertion {
	int64_t invite_id; /* taken first, 0 = none */
	const char *const *params;
	struct db_result *res; /* by the last try */
};

static enum status
insert_app(struct db *db, void *arg)
{
	static const struct db_stmt insert = { "app_insert",
		"INSERT INTO apps (name, public_key, encrypted_secret_key,"
		" master_key_id, expires_at)"
		" VALUES ($1, $2, $3, $4, $5::timestamptz)"
		" RETURNING " COLUMNS,
		5 };
	struct insertion *i = arg;
	enum status st = ST_OK;

	db_result_free(i->res);
	i->res = NULL;
	if (i->invite_id != 0)
		st = invite_store_use(db, i->invite_id);
	if (st == ST_OK)
		st = sql_query_row(
		    db, &insert, i->params, ST_NOT_FOUND, &i->res);
	return st;
}

enum status
app_store_insert(struct db *db, const struct app_new *new,
    const char *public_key, const struct app_secret_row *secret, struct app *a)
{
	const char *params[] = { new->name, public_key, secret->sealed,
		secret->key_id, new->expires_at };
	struct insertion i = { new->invite_id, params, NULL };
	enum status st = db_transact(db, new->actor, insert_app, &i);

	if (st == ST_OK)
		take_app(i.res, 0, a);
	db_result_free(i.res);
	return st;
}

enum status
app_store_patch(struct db *db, const char *actor, const char *public_key,
    const char *guard, const struct app_patch *patch, struct app *a)
{
	static const struct db_stmt stmt = { "app_patch",
		"UPDATE apps SET name = coalesce($3, name), expires_at ="
		" CASE WHEN $4::bool THEN $5::timestamptz ELSE expires_at END,"
		" updated_at = now()" GUARDED " RETURNING " COLUMNS,
		5 };
	const char *params[] = { public_key, guard, patch->name,
		patch->set_expires_at ? "t" : "f", patch->expires_at };

	return change_guarded(db, actor, &stmt, params, a);
}

enum status
app_store_rotate(struct db *db, const char *actor, const char *public_key,
    const char *guard, const struct app_secret_row *secret,
    const struct app_grace *grace, struct app *a)
{
	static const struct db_stmt rotate = { "app_rotate",
		"UPDATE apps SET encrypted_secret_key = $3, master_key_id = $4,"
		" previous_encrypted_secret_key = CASE WHEN $5::bigint > 0"
		" THEN encrypted_secret_key END, previous_master_key_id ="
		" CASE WHEN $5 > 0 THEN master_key_id END,"
		" previous_valid_until = CASE WHEN $5 > 0"
		" THEN now() + make_interval(secs => $5) END,"
		" rotated_at = now(), updated_at = now()" GUARDED
		" AND ($6::bool OR (previous_encrypted_secret_key IS NOT NULL"
		" AND nullif(previous_valid_until, 'infinity') > now())"
		" IS NOT TRUE) RETURNING " COLUMNS,
		6 };
	bool end = grace->end_previous || grace->seconds == 0;
	char seconds[BUF_DECIMAL];
	const char *params[] = { public_key, guard, secret->sealed,
		secret->key_id, buf_decimal(grace->seconds, seconds),
		end ? "t" : "f" };
	enum status st = change(db, actor, &rotate, params, a);

	return st == ST_NOT_FOUND ? why_not(db, params, ST_OVERLAP) : st;
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

/* The key that takes the old one's place is no hex: nobody can ask for it. */
enum status
app_store_delete(struct db *db, const char *actor, const char *public_key,
    const char *guard, int64_t *id)
{
	static const struct db_stmt mark = { "app_delete",
		"UPDATE apps SET deleted_at = now(), updated_at = now(),"
		" public_key = 'deleted-' || id, encrypted_secret_key = '',"
		" master_key_id = NULL, previous_encrypted_secret_key = NULL,"
		" previous_master_key_id = NULL,"
		" previous_valid_until = NULL" GUARDED " RETURNING id",
		2 };
	const char *params[] = { public_key, guard };
	struct db_result *res = NULL;
	enum status st = sql_transact_row(db, actor, &mark, params, &res);

	if (st == ST_OK)
		*id = sql_number(res, 0, 0);
	db_result_free(res);
	if (st == ST_NOT_FOUND && guard != NULL)
		st = why_not(db, params, ST_CONFLICT);
	return st;
}

enum status
app_store_set_disabled(struct db *db, const char *actor, const char *public_key,
    bool disabled, struct app *a)
{
	static const struct db_stmt set = { "app_set_disabled",
		"UPDATE apps SET disabled_at = CASE WHEN $2::bool"
		" THEN coalesce(disabled_at, now()) END, updated_at = now()"
		" WHERE public_key = $1 AND deleted_at IS NULL"
		" RETURNING " COLUMNS,
		2 };
	const char *params[] = { public_key, disabled ? "t" : "f" };

	return change(db, actor, &set, params, a);
}

enum status
app_store_list(
    struct db *db, const struct app_page *page, struct app **list, size_t *n)
{
	/* Not LIKE: nothing in the text searched for means anything else. */
	static const struct db_stmt stmt = { "app_list",
		"SELECT " COLUMNS " FROM apps WHERE id > $1::bigint"
		" AND deleted_at IS NULL AND ($3::text IS NULL"
		" OR strpos(lower(name), lower($3)) > 0"
		" OR starts_with(public_key, lower($3)))"
		" ORDER BY id LIMIT $2::int",
		3 };
	char from[BUF_DECIMAL], count[BUF_DECIMAL];
	const char *params[] = { buf_decimal(page->after, from),
		buf_decimal(page->limit, count), page->search };
	struct db_result *res = NULL;
	enum status st;
	int i;

	st = db_query(db, &stmt, params, &res);
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
app_store_counts(struct db *db, struct app_counts *counts)
{
	static const struct db_stmt count = { "app_counts",
		"SELECT count(*) FILTER (WHERE disabled_at IS NOT NULL),"
		" count(*) FILTER (WHERE disabled_at IS NULL"
		" AND expires_at <= now()), count(*) FROM apps"
		" WHERE deleted_at IS NULL",
		0 };
	struct db_result *res = NULL;
	enum status st;

	st = db_query(db, &count, NULL, &res);
	if (st != ST_OK)
		return st;
	counts->disabled = sql_number(res, 0, 0);
	counts->expired = sql_number(res, 0, 1);
	counts->active =
	    sql_number(res, 0, 2) - counts->disabled - counts->expired;
	db_result_free(res);
	return ST_OK;
}

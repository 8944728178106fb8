/*
 * The table apps in SQL. Every statement returns the same columns, read by one
 * function; every change is a transaction with its actor, so that the audit
 * row is its own.
 */
#include "data/app_store.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "data/invite_store.h"
#include "data/sql.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A use counts as one of the secret that is there now, or of the one before,
 * only if it is younger than the rotation between them. */
#define USED(column, condition)                                                \
	"(SELECT " SQL_TIME(                                                   \
	    "u." column) " FROM app_uses AS u"                                 \
			 " WHERE u.app_id = apps.id AND u." column " >"        \
			 " coalesce(apps.rotated_at, '-infinity')" condition   \
			 ")"

/* Microseconds since the epoch; 0 = never. */
#define ROTATED "coalesce(" SQL_EPOCH_US("rotated_at") ", 0)"

/* The columns that take_app reads, in its order. No overlap is without an end:
 * one that was made so by hand is over. */
/* clang-format off */
#define COLUMNS                                                                \
	"id, name, public_key, "                                               \
	SQL_TIME("created_at") ", " SQL_TIME("updated_at") ", "                \
	SQL_TIME("disabled_at") ", disabled_at IS NOT NULL, "                  \
	SQL_TIME(SQL_NO_END("expires_at")) ", "                                \
	SQL_EPOCH(SQL_NO_END("expires_at")) ", "                               \
	SQL_TIME(SQL_NO_END("previous_valid_until")) ", "                      \
	SQL_EPOCH(SQL_NO_END("previous_valid_until")) ", "                     \
	"encrypted_secret_key, master_key_id, "                                \
	"previous_encrypted_secret_key, previous_master_key_id, "              \
	USED("last_used_at", "") ", "                                          \
	USED("previous_last_used_at",                                          \
	    " AND apps.previous_encrypted_secret_key IS NOT NULL") ", "        \
	ROTATED
/* clang-format on */

/* What is deleted is there for nobody; its documents may still go (sweep.c). */
#define LIVE " deleted_at IS NULL"

/* Of a change with a guard: the row, if it is still as the caller read it. */
#define GUARDED                                                                \
	" WHERE public_key = $1 AND" LIVE                                      \
	" AND ($2::text IS NULL OR encrypted_secret_key = $2)"

/* The previous secret is valid: as keyring.c has it, by this clock. */
#define OVERLAPS                                                               \
	"previous_encrypted_secret_key IS NOT NULL"                            \
	" AND " SQL_NO_END("previous_valid_until") " > now()"

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
	free(a->last_used_at);
	free(a->previous_last_used_at);
	memset(a, 0, sizeof *a);
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
	a->disabled_at = sql_take(res, row, 5);
	a->disabled = db_text(res, row, 6)[0] != 'f';
	a->expires_at = sql_take(res, row, 7);
	a->expires_epoch = db_null(res, row, 8)
			       ? INFINITY
			       : strtod(db_text(res, row, 8), NULL);
	a->previous_valid_until = sql_take(res, row, 9);
	a->previous_epoch = strtod(db_text(res, row, 10), NULL);
	a->sealed = mem_strdup(db_text(res, row, 11));
	a->key_id = sql_take(res, row, 12);
	a->previous_sealed = sql_take(res, row, 13);
	a->previous_key_id = sql_take(res, row, 14);
	a->last_used_at = sql_take(res, row, 15);
	a->previous_last_used_at = sql_take(res, row, 16);
	a->rotated_us = strtoll(db_text(res, row, 17), NULL, 10);
}

/* Of the table what COLUMNS names; and a row like any app's, but of no app,
 * whose id is 0. */
#define STORED                                                                 \
	"id, name, public_key, created_at, updated_at, disabled_at,"           \
	" expires_at, previous_valid_until, encrypted_secret_key,"             \
	" master_key_id, previous_encrypted_secret_key,"                       \
	" previous_master_key_id, rotated_at"
#define ZEROS_30 "000000000000000000000000000000"
#define NOBODY                                                                 \
	"0, 'An app', $1, timestamptz 'epoch', timestamptz 'epoch', NULL,"     \
	" NULL, NULL, '" ZEROS_30 ZEROS_30 ZEROS_30 ZEROS_30 "',"              \
	" '0000000000000000', NULL, NULL, NULL"

/* An unknown key costs what a known one does: there is always a row. */
enum status
app_store_find(struct db *db, const char *public_key, struct app *a)
{
	static const struct db_stmt find = { "app_find",
		"SELECT " COLUMNS " FROM (SELECT " STORED
		" FROM apps WHERE public_key = $1 AND" LIVE
		" UNION ALL SELECT " NOBODY " LIMIT 1) AS apps",
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
		"UPDATE apps SET previous_encrypted_secret_key ="
		" CASE WHEN $5::bigint > 0 THEN encrypted_secret_key END,"
		" previous_master_key_id ="
		" CASE WHEN $5::bigint > 0 THEN master_key_id END,"
		" previous_valid_until = CASE WHEN $5::bigint > 0"
		" THEN now() + make_interval(secs => $5::bigint) END,"
		" encrypted_secret_key = $3, master_key_id = $4,"
		" rotated_at = now(), updated_at = now()" GUARDED
		" AND ($6::bool OR (" OVERLAPS ") IS NOT TRUE)"
		" RETURNING " COLUMNS,
		6 };
	bool end = grace->end_previous || grace->seconds == 0;
	char seconds[24];
	const char *params[] = { public_key, guard, secret->sealed,
		secret->key_id, seconds, end ? "t" : "f" };
	enum status st;

	snprintf(seconds, sizeof seconds, "%" PRId64, grace->seconds);
	st = change(db, actor, &rotate, params, a);
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
		" previous_master_key_id = NULL, previous_valid_until = "
		"NULL" GUARDED " RETURNING id",
		2 };
	const char *params[] = { public_key, guard };
	struct db_result *res = NULL;
	enum status st = sql_transact_row(db, actor, &mark, params, &res);

	if (st == ST_OK)
		*id = strtoll(db_text(res, 0, 0), NULL, 10);
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
		" WHERE public_key = $1 AND" LIVE " RETURNING " COLUMNS,
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
		"SELECT " COLUMNS " FROM apps WHERE id > $1::bigint AND" LIVE
		" AND ($3::text IS NULL"
		" OR strpos(lower(name), lower($3)) > 0"
		" OR starts_with(public_key, lower($3)))"
		" ORDER BY id LIMIT $2::int",
		3 };
	char from[24], count[16];
	const char *params[] = { from, count, page->search };
	struct db_result *res = NULL;
	enum status st;
	int i;

	snprintf(from, sizeof from, "%" PRId64, page->after);
	snprintf(count, sizeof count, "%d", page->limit);
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

enum { USE_COLUMNS = 4 };

/* Append to each column's array, as Postgres writes them. */
static void
add_use(
    struct buf arrays[USE_COLUMNS], const struct app_use *use, int64_t now_us)
{
	int i;

	for (i = 0; i < USE_COLUMNS; i++)
		buf_addc(&arrays[i], arrays[i].len == 0 ? '{' : ',');
	buf_addf(&arrays[0], "%" PRId64, use->app_id);
	buf_addc(&arrays[1], use->previous ? 't' : 'f');
	buf_addf(&arrays[2], "%.6f", (double)(now_us - use->at_us) / 1e6);
	buf_addf(&arrays[3], "%" PRId64, use->rotated_us);
}

struct uses {
	const struct app_use *uses;
	size_t n;
};

/* Ages, not times: the clock is the database's. The transaction has begun
 * before they are taken, so that a use rather seems earlier than it was. */
static enum status
write_uses(struct db *db, void *arg)
{
	/* In order of id, so that two writers don't wait for each other; the
	 * app can't go while its use is written. A secret that was current to
	 * who had not heard of a rotation is the previous one; what he took
	 * for the previous one is gone. */
	/* clang-format off */
	static const struct db_stmt note = { "app_note_uses",
		"WITH a AS (SELECT id, rotated_at, " ROTATED " AS epoch"
		" FROM apps WHERE id = ANY ($1::bigint[]) AND" LIVE
		" ORDER BY id FOR KEY SHARE),"
		" t AS (SELECT a.*, u.previous, u.epoch = a.epoch AS same,"
		" now() - make_interval(secs => u.age) AS at"
		" FROM unnest($1::bigint[], $2::bool[], $3::float8[],"
		" $4::bigint[]) AS u (id, previous, age, epoch)"
		" JOIN a ON a.id = u.id),"
		" n AS (SELECT id, previous OR NOT same AS previous,"
		" CASE WHEN same THEN greatest(at,"
		" rotated_at + interval '1 microsecond') ELSE at END AS at"
		" FROM t WHERE same OR (NOT previous AND at > rotated_at))"
		" INSERT INTO app_uses AS u"
		" (app_id, last_used_at, previous_last_used_at)"
		" SELECT id, max(at) FILTER (WHERE NOT previous),"
		" max(at) FILTER (WHERE previous)"
		" FROM n GROUP BY id ORDER BY id"
		" ON CONFLICT (app_id) DO UPDATE SET last_used_at ="
		" greatest(u.last_used_at, excluded.last_used_at),"
		" previous_last_used_at = greatest(u.previous_last_used_at,"
		" excluded.previous_last_used_at)",
		4 };
	/* clang-format on */
	struct buf arrays[USE_COLUMNS] = { { 0 } };
	const char *params[USE_COLUMNS];
	const struct uses *u = arg;
	struct db_result *res = NULL;
	int64_t now_us = clock_mono_us();
	enum status st;
	size_t i;

	for (i = 0; i < u->n; i++)
		add_use(arrays, &u->uses[i], now_us);
	for (i = 0; i < USE_COLUMNS; i++) {
		buf_addc(&arrays[i], '}');
		params[i] = buf_str(&arrays[i]);
	}
	st = db_query(db, &note, params, &res);
	for (i = 0; i < USE_COLUMNS; i++)
		buf_free(&arrays[i]);
	db_result_free(res);
	return st;
}

enum status
app_store_note_uses(struct db *db, const struct app_use *uses, size_t n)
{
	struct uses u = { uses, n };

	return db_transact(db, "", write_uses, &u);
}

enum status
app_store_key_uses(struct db *db, struct key_use **uses, size_t *n)
{
	static const struct db_stmt count = { "app_key_uses",
		"SELECT k, count(*) FROM ("
		" SELECT master_key_id AS k FROM apps WHERE" LIVE
		" UNION ALL SELECT previous_master_key_id FROM apps"
		" WHERE previous_encrypted_secret_key IS NOT NULL AND" LIVE
		") AS t"
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
		(*uses)[i].key_id = sql_take(res, i, 0);
		(*uses)[i].rows = strtoll(db_text(res, i, 1), NULL, 10);
	}
	db_result_free(res);
	return ST_OK;
}

enum status
app_store_counts(struct db *db, struct app_counts *counts)
{
	static const struct db_stmt count = { "app_counts",
		"SELECT count(*) FILTER (WHERE disabled_at IS NOT NULL),"
		" count(*) FILTER (WHERE disabled_at IS NULL"
		" AND expires_at <= now()), count(*) FROM apps WHERE" LIVE,
		0 };
	struct db_result *res = NULL;
	enum status st;

	st = db_query(db, &count, NULL, &res);
	if (st != ST_OK)
		return st;
	counts->disabled = strtoll(db_text(res, 0, 0), NULL, 10);
	counts->expired = strtoll(db_text(res, 0, 1), NULL, 10);
	counts->active = strtoll(db_text(res, 0, 2), NULL, 10) -
			 counts->disabled - counts->expired;
	db_result_free(res);
	return ST_OK;
}

void
app_json_members(struct buf *b, const struct app *a)
{
	buf_adds(b, "\"id\":");
	buf_addn(b, a->id);
	json_add_member(b, "name", a->name);
	json_add_member(b, "public_key", a->public_key);
	json_add_member(b, "created_at", a->created_at);
	json_add_member(b, "updated_at", a->updated_at);
	json_add_member(b, "disabled_at", a->disabled_at);
	json_add_member(b, "expires_at", a->expires_at);
	json_add_member(b, "previous_valid_until", a->previous_valid_until);
	json_add_member(b, "last_used_at", a->last_used_at);
	json_add_member(b, "previous_last_used_at", a->previous_last_used_at);
}

void
app_json(struct buf *b, const struct app *a)
{
	buf_addc(b, '{');
	app_json_members(b, a);
	buf_addc(b, '}');
}

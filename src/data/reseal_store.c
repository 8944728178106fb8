/*
 * Sealing anew, in SQL. No row is waited for and none is locked for longer than
 * one statement and its commit, so that no request has to wait either.
 */
#include "data/reseal_store.h"

#include "base/buf.h"
#include "base/mem.h"
#include "data/sql.h"

#include <stdlib.h>
#include <string.h>

#define COLUMNS                                                                \
	"id, public_key, encrypted_secret_key, master_key_id,"                 \
	" previous_encrypted_secret_key, previous_master_key_id,"              \
	" NOT keys_as_found"

void
sealed_row_clear(struct sealed_row *row)
{
	int i;

	free(row->public_key);
	for (i = 0; i < SLOTS; i++) {
		free(row->slot[i].sealed);
		free(row->slot[i].key_id);
		free(row->slot[i].anew);
	}
	memset(row, 0, sizeof *row);
}

static void
take_rows(const struct db_result *res, struct sealed_row **rows, size_t *n)
{
	struct sealed_row *row;
	int i, slot;

	*n = (size_t)db_rows(res);
	*rows = mem_alloc(*n * sizeof **rows);
	for (i = 0; i < db_rows(res); i++) {
		row = &(*rows)[i];
		row->id = sql_number(res, i, 0);
		row->public_key = mem_strdup(db_text(res, i, 1));
		for (slot = 0; slot < SLOTS; slot++) {
			row->slot[slot].sealed = sql_take(res, i, 2 + 2 * slot);
			row->slot[slot].key_id = sql_take(res, i, 3 + 2 * slot);
		}
		row->altered = db_text(res, i, 6)[0] == 't';
	}
}

enum status
reseal_store_page(struct db *db, int64_t after, int limit,
    struct sealed_row **rows, size_t *n)
{
	static const struct db_stmt page = { "reseal_page",
		"SELECT " COLUMNS " FROM apps WHERE id > $1::bigint"
		" AND deleted_at IS NULL ORDER BY id LIMIT $2::int",
		2 };
	char from[BUF_DECIMAL], count[BUF_DECIMAL];
	const char *params[] = { buf_decimal(after, from),
		buf_decimal(limit, count) };
	struct db_result *res = NULL;
	enum status st;

	st = db_query(db, &page, params, &res);
	if (st == ST_OK)
		take_rows(res, rows, n);
	db_result_free(res);
	return st;
}

enum status
reseal_store_again(struct db *db, const int64_t *ids, size_t count,
    struct sealed_row **rows, size_t *n)
{
	static const struct db_stmt again = { "reseal_again",
		"SELECT " COLUMNS " FROM apps WHERE id = ANY ($1::bigint[])"
		" AND deleted_at IS NULL ORDER BY id",
		1 };
	struct buf array = { 0 };
	const char *params[1];
	struct db_result *res = NULL;
	enum status st;
	size_t i;

	for (i = 0; i < count; i++)
		sql_array_add_number(&array, ids[i]);
	params[0] = sql_array_end(&array);
	st = db_query(db, &again, params, &res);
	if (st == ST_OK)
		take_rows(res, rows, n);
	db_result_free(res);
	buf_free(&array);
	return st;
}

/* What is to be written, a column an array: id, public key, and for each slot
 * what was read and what takes its place. */
enum { ID, PUBLIC_KEY, WAS, ANEW = WAS + SLOTS, ARRAYS = ANEW + SLOTS };

static void
add_row(struct buf arrays[ARRAYS], const struct sealed_row *row)
{
	int i;

	sql_array_add_number(&arrays[ID], row->id);
	sql_array_add(&arrays[PUBLIC_KEY], row->public_key);
	for (i = 0; i < SLOTS; i++) {
		sql_array_add(&arrays[WAS + i], row->slot[i].sealed);
		sql_array_add(&arrays[ANEW + i], row->slot[i].anew);
	}
}

static bool
to_write(const struct sealed_row *row)
{
	return row->slot[SLOT_CURRENT].anew != NULL ||
	       row->slot[SLOT_PREVIOUS].anew != NULL;
}

struct update {
	const char *const *params;
	struct db_result *written; /* by the last try */
};

/*
 * A row is written if it is free and still as it was read; a sealed text that
 * stays the same is nobody's business. SKIP LOCKED: whoever has a row locked
 * isn't waited for while the other rows are held.
 */
static enum status
update(struct db *db, void *arg)
{
	static const struct db_stmt write = { "reseal_write",
		"WITH n AS MATERIALIZED (SELECT * FROM unnest($2::bigint[],"
		" $3::text[], $4::text[], $5::text[], $6::text[], $7::text[])"
		" AS t (id, public_key, was, previous_was, anew,"
		" previous_anew)),"
		" free AS MATERIALIZED (SELECT id FROM apps"
		" WHERE id = ANY ($2::bigint[]) ORDER BY id"
		" FOR NO KEY UPDATE SKIP LOCKED)"
		" UPDATE apps AS a SET encrypted_secret_key ="
		" coalesce(n.anew, a.encrypted_secret_key),"
		" master_key_id = CASE WHEN n.anew IS NULL"
		" THEN a.master_key_id ELSE $1 END,"
		" previous_encrypted_secret_key = coalesce(n.previous_anew,"
		" a.previous_encrypted_secret_key),"
		" previous_master_key_id = CASE WHEN n.previous_anew IS NULL"
		" THEN a.previous_master_key_id ELSE $1 END"
		" FROM n JOIN free ON free.id = n.id WHERE a.id = n.id"
		" AND a.public_key = n.public_key AND (n.anew IS NULL"
		" OR a.encrypted_secret_key = n.was)"
		" AND (n.previous_anew IS NULL"
		" OR a.previous_encrypted_secret_key = n.previous_was)"
		" RETURNING a.id",
		1 + ARRAYS };
	struct update *u = arg;
	enum status st;

	db_result_free(u->written);
	u->written = NULL;
	st = sql_name_event(db, "resealed");
	if (st == ST_OK)
		st = db_query(db, &write, u->params, &u->written);
	return st;
}

static int
compare(const void *a, const void *b)
{
	const struct sealed_row *x = a, *y = b;

	return (x->id > y->id) - (x->id < y->id);
}

/* The rows are in order of id, what was written is not. */
static void
mark(struct sealed_row *rows, size_t n, const struct db_result *written)
{
	struct sealed_row key = { 0 }, *row;
	int i;

	for (i = 0; i < db_rows(written); i++) {
		key.id = sql_number(written, i, 0);
		row = bsearch(&key, rows, n, sizeof *rows, compare);
		if (row != NULL)
			row->written = true;
	}
}

enum status
reseal_store_write(struct db *db, const char *actor, const char *key_id,
    struct sealed_row *rows, size_t n)
{
	struct buf arrays[ARRAYS] = { { 0 } };
	const char *params[1 + ARRAYS] = { key_id };
	struct update u = { .params = params };
	enum status st;
	size_t i;

	for (i = 0; i < n; i++)
		if (to_write(&rows[i]))
			add_row(arrays, &rows[i]);
	for (i = 0; i < ARRAYS; i++)
		params[1 + i] = sql_array_end(&arrays[i]);
	st = db_transact(db, actor, update, &u);
	if (st == ST_OK)
		mark(rows, n, u.written);
	db_result_free(u.written);
	for (i = 0; i < ARRAYS; i++)
		buf_free(&arrays[i]);
	return st;
}

enum status
reseal_store_last_id(struct db *db, int64_t *id)
{
	static const struct db_stmt last = { "reseal_last_id",
		"SELECT coalesce(max(id), 0) FROM apps", 0 };

	return sql_query_id(db, &last, NULL, id);
}

enum status
reseal_store_key_uses(struct db *db, struct key_use **uses, size_t *n)
{
	static const struct db_stmt count = { "reseal_key_uses",
		"SELECT k, count(*) FROM ("
		"SELECT master_key_id AS k FROM apps WHERE deleted_at IS NULL"
		" UNION ALL SELECT previous_master_key_id FROM apps"
		" WHERE previous_encrypted_secret_key IS NOT NULL"
		" AND deleted_at IS NULL) AS t"
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
		(*uses)[i].rows = sql_number(res, i, 1);
	}
	db_result_free(res);
	return ST_OK;
}

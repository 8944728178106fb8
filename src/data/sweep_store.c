/*
 * Deleted apps, in SQL. Documents go in order of their users, from where the
 * piece before ended: what it left dead isn't walked through again.
 */
#include "data/sweep_store.h"

#include "base/buf.h"
#include "data/sql.h"

#include <stdio.h>

enum status
sweep_store_find(struct db *db, int64_t skip, int64_t *app_id)
{
	static const struct db_stmt find = { "sweep_find",
		"SELECT id FROM apps WHERE deleted_at IS NOT NULL"
		" ORDER BY deleted_at, id OFFSET $1::bigint LIMIT 1",
		1 };
	char offset[BUF_DECIMAL];
	const char *params[] = { buf_decimal(skip, offset) };

	return sql_query_id(db, &find, params, app_id);
}

/* The row, when there are no documents any more: in their order, or the plan is
 * to read everybody's until one is found. Who inserts one by hand holds the
 * row, and isn't waited for. */
static enum status
take_row(struct db *db, const char *app_id, enum sweep_left *left)
{
	static const struct db_stmt take = { "sweep_app",
		"DELETE FROM apps WHERE id = (SELECT id FROM apps AS a"
		" WHERE a.id = $1::bigint AND a.deleted_at IS NOT NULL"
		" AND (SELECT user_id FROM users WHERE app_id = $1::bigint"
		" ORDER BY user_id LIMIT 1) IS NULL"
		" FOR UPDATE SKIP LOCKED) RETURNING 1",
		1 };
	struct db_result *res = NULL;
	enum status st;

	st = db_query(db, &take, &app_id, &res);
	if (st == ST_OK)
		*left = db_rows(res) > 0 ? SWEEP_GONE : SWEEP_HELD;
	db_result_free(res);
	return st;
}

/*
 * At most 1,000 documents, and of large ones fewer: 8 MiB as they are stored,
 * but one in any case. One piece of an app at a time: the row is locked, in a
 * way that foreign keys don't mind.
 */
static enum status
take_users(struct db *db, const char *const *params, struct db_result **res)
{
	static const struct db_stmt take = { "sweep_users",
		"WITH app AS MATERIALIZED (SELECT id FROM apps"
		" WHERE id = $1::bigint AND deleted_at IS NOT NULL"
		" FOR NO KEY UPDATE SKIP LOCKED),"
		" found AS MATERIALIZED (SELECT user_id,"
		" pg_column_size(information) AS size FROM users"
		" WHERE app_id = $1::bigint AND user_id > $2"
		" AND (SELECT true FROM app)"
		" ORDER BY user_id LIMIT 1000 FOR UPDATE SKIP LOCKED),"
		" piece AS MATERIALIZED (SELECT user_id FROM ("
		"SELECT *, sum(size) OVER (ORDER BY user_id) - size AS before"
		" FROM found) AS f WHERE before < 8388608),"
		" gone AS (DELETE FROM users WHERE app_id = $1::bigint"
		" AND user_id = ANY (ARRAY(SELECT user_id FROM piece)))"
		" SELECT max(user_id), EXISTS (SELECT FROM app),"
		" EXISTS (SELECT FROM apps WHERE id = $1::bigint"
		" AND deleted_at IS NOT NULL),"
		" count(*) = 1000 OR count(*) < (SELECT count(*) FROM found)"
		" FROM piece",
		2 };

	return db_query(db, &take, params, res);
}

enum status
sweep_store_piece(
    struct db *db, struct sweep_place *place, enum sweep_left *left)
{
	char id[BUF_DECIMAL];
	const char *params[] = { buf_decimal(place->app_id, id), place->after };
	struct db_result *res = NULL;
	bool whole = place->after[0] == '\0';
	enum status st;

	st = take_users(db, params, &res);
	if (st != ST_OK)
		goto out;
	if (db_text(res, 0, 1)[0] != 't') {
		*left = db_text(res, 0, 2)[0] == 't' ? SWEEP_HELD : SWEEP_GONE;
	} else if (db_text(res, 0, 3)[0] == 't') {
		snprintf(place->after, sizeof place->after, "%s",
		    db_text(res, 0, 0));
		*left = SWEEP_MORE;
	} else {
		st = take_row(db, params[0], left);
		place->after[0] = '\0';
		/* Some were passed by, which may be free by now. */
		if (st == ST_OK && *left == SWEEP_HELD && !whole)
			*left = SWEEP_MORE;
	}
out:
	db_result_free(res);
	return st;
}

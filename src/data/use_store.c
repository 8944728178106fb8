/*
 * Uses of secrets in SQL: what a worker has noted, in one call. Which secret
 * each of them was by now is found out there (sql/019_uses.sql).
 */
#include "data/use_store.h"

#include "base/clock.h"
#include "data/sql.h"

#include <stdio.h>

/* What is noted, a column an array. */
enum { APP_ID, PREVIOUS, AGE, ROTATED, ARRAYS };

static void
add_use(struct buf arrays[ARRAYS], const struct app_use *use, int64_t now_us)
{
	char age[32];

	snprintf(age, sizeof age, "%.6f", (double)(now_us - use->at_us) / 1e6);
	sql_array_add_number(&arrays[APP_ID], use->app_id);
	sql_array_add(&arrays[PREVIOUS], use->previous ? "t" : "f");
	sql_array_add(&arrays[AGE], age);
	sql_array_add_number(&arrays[ROTATED], use->rotated_us);
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
	/* What the function does is said for db.c, which reads there what a
	 * statement needs. */
	static const struct db_stmt note = { "use_note",
		"SELECT postern_note_uses($1::bigint[], $2::bool[],"
		" $3::float8[], $4::bigint[]) /* INSERT INTO app_uses */",
		4 };
	struct buf arrays[ARRAYS] = { { 0 } };
	const char *params[ARRAYS];
	const struct uses *u = arg;
	struct db_result *res = NULL;
	int64_t now_us = clock_mono_us();
	enum status st;
	size_t i;

	for (i = 0; i < u->n; i++)
		add_use(arrays, &u->uses[i], now_us);
	for (i = 0; i < ARRAYS; i++)
		params[i] = sql_array_end(&arrays[i]);
	st = db_query(db, &note, params, &res);
	for (i = 0; i < ARRAYS; i++)
		buf_free(&arrays[i]);
	db_result_free(res);
	return st;
}

enum status
use_store_note(struct db *db, const struct app_use *uses, size_t n)
{
	struct uses u = { uses, n };

	return db_transact(db, "", write_uses, &u);
}

#include "data/sql.h"

#include "base/mem.h"

#include <stdlib.h>

char *
sql_take(const struct db_result *res, int row, int col)
{
	return db_null(res, row, col) ? NULL
				      : mem_strdup(db_text(res, row, col));
}

enum status
sql_query_row(struct db *db, const struct db_stmt *stmt,
    const char *const *params, enum status none, struct db_result **res)
{
	enum status st = db_query(db, stmt, params, res);

	return st == ST_OK && db_rows(*res) == 0 ? none : st;
}

struct row {
	const struct db_stmt *stmt;
	const char *const *params;
	struct db_result **res;
};

static enum status
query_row(struct db *db, void *arg)
{
	const struct row *r = arg;

	db_result_free(*r->res);
	*r->res = NULL;
	return sql_query_row(db, r->stmt, r->params, ST_NOT_FOUND, r->res);
}

enum status
sql_transact_row(struct db *db, const char *actor, const struct db_stmt *stmt,
    const char *const *params, struct db_result **res)
{
	struct row r = { stmt, params, res };

	*res = NULL;
	return db_transact(db, actor, query_row, &r);
}

enum status
sql_name_event(struct db *db, const char *event)
{
	static const struct db_stmt name = { "name_event",
		"SELECT set_config('postern.event', $1, true)", 1 };
	struct db_result *res = NULL;
	enum status st;

	st = db_query(db, &name, &event, &res);
	db_result_free(res);
	return st;
}

enum status
sql_query_id(struct db *db, const struct db_stmt *stmt,
    const char *const *params, int64_t *id)
{
	struct db_result *res = NULL;
	enum status st;

	st = sql_query_row(db, stmt, params, ST_NOT_FOUND, &res);
	if (st == ST_OK)
		*id = strtoll(db_text(res, 0, 0), NULL, 10);
	db_result_free(res);
	return st;
}

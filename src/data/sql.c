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
sql_query_id(struct db *db, const struct db_stmt *stmt,
    const char *const *params, int64_t *id)
{
	struct db_result *res = NULL;
	enum status st;

	st = db_query(db, stmt, params, &res);
	if (st == ST_OK && db_rows(res) == 0)
		st = ST_NOT_FOUND;
	if (st == ST_OK)
		*id = strtoll(db_text(res, 0, 0), NULL, 10);
	db_result_free(res);
	return st;
}

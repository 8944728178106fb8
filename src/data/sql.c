#include "data/sql.h"

#include "base/mem.h"

char *
sql_take(const struct db_result *res, int row, int col)
{
	return db_null(res, row, col) ? NULL
				      : mem_strdup(db_text(res, row, col));
}

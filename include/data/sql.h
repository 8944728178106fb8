#ifndef POSTERN_DATA_SQL_H
#define POSTERN_DATA_SQL_H

#include "base/status.h"
#include "data/db.h"
#include <stdint.h>

/* What the stores' statements share. */

/* A timestamptz as RFC 3339 in UTC, with microseconds; null stays null. */
#define SQL_TIME(column)                                                       \
	"to_char(" column " AT TIME ZONE 'UTC', "                              \
	"'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"

/* Seconds since the epoch. */
#define SQL_EPOCH(column) "extract(epoch FROM " column ")::float8"

/* A copy of a field, which the caller frees; NULL if it is null. */
char *sql_take(const struct db_result *res, int row, int col);

/* db_query of what is about a row; none if it yields none. The caller frees
 * *res in any case. */
enum status sql_query_row(struct db *db, const struct db_stmt *stmt,
    const char *const *params, enum status none,
    struct db_result **res) MUST_CHECK;

/* The one number that stmt is about; ST_NOT_FOUND if it yields no row. */
enum status sql_query_id(struct db *db, const struct db_stmt *stmt,
    const char *const *params, int64_t *id) MUST_CHECK;

#endif

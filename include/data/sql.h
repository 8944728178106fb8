#ifndef POSTERN_DATA_SQL_H
#define POSTERN_DATA_SQL_H

#include "data/db.h"

/* What the stores' statements share. */

/* A timestamptz as RFC 3339 in UTC, with microseconds; null stays null. */
#define SQL_TIME(column)                                                       \
	"to_char(" column " AT TIME ZONE 'UTC', "                              \
	"'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"

/* Seconds since the epoch. */
#define SQL_EPOCH(column) "extract(epoch FROM " column ")::float8"

/* A copy of a field, which the caller frees; NULL if it is null. */
char *sql_take(const struct db_result *res, int row, int col);

#endif

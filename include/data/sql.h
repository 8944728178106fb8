#ifndef POSTERN_DATA_SQL_H
#define POSTERN_DATA_SQL_H

#include "base/status.h"
#include "data/db.h"
#include <stdint.h>

/* What the stores' statements share. */

/* What RFC 3339 can't say (±infinity, before the year 1, beyond 9999) comes as
 * the nearest that it can: a time that is there is never null. */
#define SQL_BOUNDED(column)                                                    \
	"CASE WHEN " column " IS NOT NULL THEN least(greatest(" column ", "    \
	"timestamptz '0001-01-01 00:00:00+00'), "                              \
	"timestamptz '9999-12-31 23:59:59.999999+00') END"

/* clang-format off */
/* A timestamptz as RFC 3339 in UTC, with microseconds; null stays null. */
#define SQL_TIME(column)                                                       \
	"to_char((" SQL_BOUNDED(column) ") AT TIME ZONE 'UTC', "               \
	"'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"
/* clang-format on */

/* Seconds since the epoch, ±Infinity too. */
#define SQL_EPOCH(column) "extract(epoch FROM " column ")::float8"

/* Microseconds since the epoch, a bigint; bounded as above. */
#define SQL_EPOCH_US(column)                                                   \
	"(extract(epoch FROM " SQL_BOUNDED(column) ") * 1000000)::bigint"

/* A time until which something holds: 'infinity' is no end, as null is. */
#define SQL_NO_END(column) "nullif(" column ", 'infinity')"

/* A copy of a field, which the caller frees; NULL if it is null. */
char *sql_take(const struct db_result *res, int row, int col);

/* db_query of what is about a row; none if it yields none. The caller frees
 * *res in any case. */
enum status sql_query_row(struct db *db, const struct db_stmt *stmt,
    const char *const *params, enum status none,
    struct db_result **res) MUST_CHECK;

/* The same in a transaction of its own, whose actor is for app_events; without
 * a row ST_NOT_FOUND. *res is what its last try gave. */
enum status sql_transact_row(struct db *db, const char *actor,
    const struct db_stmt *stmt, const char *const *params,
    struct db_result **res) MUST_CHECK;

/* For the rest of the transaction: what is done here, as the triggers on
 * apps and app_events want to know it (postern.event). */
enum status sql_name_event(struct db *db, const char *event) MUST_CHECK;

/* The one number that stmt is about; ST_NOT_FOUND if it yields no row. */
enum status sql_query_id(struct db *db, const struct db_stmt *stmt,
    const char *const *params, int64_t *id) MUST_CHECK;

#endif

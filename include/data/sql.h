#ifndef POSTERN_DATA_SQL_H
#define POSTERN_DATA_SQL_H

#include "base/buf.h"
#include "base/date.h"
#include "base/status.h"
#include "data/db.h"
#include <stdint.h>

/* What the stores' statements share. */

/* A copy of a field, which the caller frees; NULL if it is null. */
char *sql_take(const struct db_result *res, int row, int col);

/* A field that is an integer; 0 if it is null. */
int64_t sql_number(const struct db_result *res, int row, int col);

/* A field that is extract(epoch FROM a timestamptz). What RFC 3339 can't say
 * (±infinity, before the year 1, beyond 9999) is the nearest that it can: a
 * time that is there stays there. */
struct date sql_time(const struct db_result *res, int row, int col);

/* The same of a time until which something holds: 'infinity' is no end, as
 * null is. */
struct date sql_end(const struct db_result *res, int row, int col);

/* An array as Postgres reads it, element by element (NULL is null), whatever
 * their type. sql_array_end gives the whole, which is array's; { 0 } is the
 * beginning of one. */
void sql_array_add(struct buf *array, const char *text);
void sql_array_add_number(struct buf *array, int64_t n);
const char *sql_array_end(struct buf *array);

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

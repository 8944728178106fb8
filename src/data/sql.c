/*
 * What the stores' statements share: fields of a row as C has them, arrays as
 * Postgres reads them, and the ways to ask for one row.
 */
#include "data/sql.h"

#include "base/mem.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>

char *
sql_take(const struct db_result *res, int row, int col)
{
	return db_null(res, row, col) ? NULL
				      : mem_strdup(db_text(res, row, col));
}

int64_t
sql_number(const struct db_result *res, int row, int col)
{
	return strtoll(db_text(res, row, col), NULL, 10);
}

/* The digits behind a point, six of them. */
static int64_t
micros(const char *p)
{
	int64_t us = 0;
	int i;

	for (i = 0; i < 6; i++)
		us = 10 * us + (isdigit((unsigned char)*p) ? *p++ - '0' : 0);
	return us;
}

/* A numeric, or "Infinity", with or without a sign. */
static int64_t
microseconds(const char *text)
{
	bool negative = *text == '-';
	const char *p = text + negative;
	int64_t us = INT64_MAX, seconds;
	char *end;

	if (isdigit((unsigned char)*p)) {
		seconds = strtoll(p, &end, 10);
		if (seconds <= DATE_MAX_US / 1000000)
			us = seconds * 1000000 +
			     (*end == '.' ? micros(end + 1) : 0);
	}
	return negative ? MAX(-us, DATE_MIN_US) : MIN(us, DATE_MAX_US);
}

struct date
sql_time(const struct db_result *res, int row, int col)
{
	if (db_null(res, row, col))
		return (struct date){ 0 };
	return (struct date){ true, microseconds(db_text(res, row, col)) };
}

struct date
sql_end(const struct db_result *res, int row, int col)
{
	if (strcmp(db_text(res, row, col), "Infinity") == 0)
		return (struct date){ 0 };
	return sql_time(res, row, col);
}

void
sql_array_add(struct buf *array, const char *text)
{
	buf_addc(array, array->len == 0 ? '{' : ',');
	if (text == NULL) {
		buf_adds(array, "NULL");
		return;
	}
	buf_addc(array, '"');
	for (; *text != '\0'; text++) {
		if (*text == '"' || *text == '\\')
			buf_addc(array, '\\');
		buf_addc(array, *text);
	}
	buf_addc(array, '"');
}

void
sql_array_add_number(struct buf *array, int64_t n)
{
	char text[BUF_DECIMAL];

	sql_array_add(array, buf_decimal(n, text));
}

const char *
sql_array_end(struct buf *array)
{
	buf_adds(array, array->len == 0 ? "{}" : "}");
	return buf_str(array);
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
		*id = sql_number(res, 0, 0);
	db_result_free(res);
	return st;
}

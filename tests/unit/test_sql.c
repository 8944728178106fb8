/* data/sql: arrays as Postgres reads them. */
#include "data/sql.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define N(a) (sizeof(a) / sizeof(a)[0])

static void
arrays(void **state)
{
	static const struct {
		size_t n;
		const char *elements[3];
		const char *text;
	} rows[] = {
		{ 0, { NULL }, "{}" },
		{ 1, { "" }, "{\"\"}" },
		{ 1, { NULL }, "{NULL}" },
		{ 2, { "NULL", NULL }, "{\"NULL\",NULL}" },
		{ 3, { "a", "b c", "1.5" }, "{\"a\",\"b c\",\"1.5\"}" },
		{ 1, { "\"a\"" }, "{\"\\\"a\\\"\"}" },
		{ 1, { "\\" }, "{\"\\\\\"}" },
		{ 2, { "{,}", "'\n" }, "{\"{,}\",\"'\n\"}" },
	};
	size_t i, j;

	(void)state;
	for (i = 0; i < N(rows); i++) {
		struct buf array = { 0 };

		for (j = 0; j < rows[i].n; j++)
			sql_array_add(&array, rows[i].elements[j]);
		assert_string_equal(sql_array_end(&array), rows[i].text);
		buf_free(&array);
	}
}

static void
numbers(void **state)
{
	struct buf array = { 0 };

	(void)state;
	sql_array_add_number(&array, INT64_MIN);
	sql_array_add_number(&array, 0);
	sql_array_add_number(&array, INT64_MAX);
	assert_string_equal(sql_array_end(&array),
	    "{\"-9223372036854775808\",\"0\",\"9223372036854775807\"}");
	buf_free(&array);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(arrays),
		cmocka_unit_test(numbers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

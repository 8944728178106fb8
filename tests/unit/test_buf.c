/* base/buf.h: contents, the NUL behind them, growth and wiping. */

#include "base/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

static void
test_empty(void **state)
{
	struct buf b = { 0 };

	(void)state;
	assert_string_equal(buf_str(&b), "");
	buf_reset(&b);
	buf_wipe(&b);
	buf_free(&b);
	buf_add(&b, NULL, 0);
	assert_int_equal(b.len, 0);
	assert_non_null(b.data);
	assert_int_equal(b.data[0], '\0');
	buf_free(&b);
	assert_null(b.data);
	assert_int_equal(b.cap, 0);
}

static void
test_append(void **state)
{
	struct buf b = { 0 };

	(void)state;
	buf_adds(&b, "ab");
	buf_addc(&b, 'c');
	buf_addf(&b, "-%d-%s", 42, "x");
	buf_add(&b, "\0z", 2);
	assert_int_equal(b.len, 10);
	assert_memory_equal(b.data, "abc-42-x\0z", 11);
	buf_reset(&b);
	assert_string_equal(buf_str(&b), "");
	assert_int_equal(b.len, 0);
	buf_free(&b);
}

static void
test_growth(void **state)
{
	struct buf b = { 0 };
	size_t i;

	(void)state;
	for (i = 0; i < 100000; i++) {
		buf_addc(&b, (char)('a' + i % 26));
		assert_true(b.len < b.cap);
		assert_int_equal(b.data[b.len], '\0');
	}
	for (i = 0; i < b.len; i++)
		assert_int_equal(b.data[i], 'a' + i % 26);
	buf_free(&b);
}

/* A formatted text of every length around the first block's size. */
static void
test_format_edges(void **state)
{
	struct buf b = { 0 };
	int n;

	(void)state;
	for (n = 0; n < 300; n++) {
		buf_addf(&b, "%*s", n, "");
		assert_int_equal(b.len, n);
		assert_int_equal(strlen(b.data), n);
		buf_free(&b);
	}
}

static void
test_reserve(void **state)
{
	struct buf b = { 0 };
	char *data;

	(void)state;
	buf_adds(&b, "x");
	buf_reserve(&b, 5000);
	assert_int_equal(b.len, 1);
	data = b.data;
	for (int i = 0; i < 5000; i++)
		buf_addc(&b, 'y');
	assert_ptr_equal(data, b.data);
	buf_free(&b);
}

static void
test_wipe(void **state)
{
	struct buf b = { 0 };
	size_t i;

	(void)state;
	buf_adds(&b, "a secret that is longer than one block of sixty-four "
		     "bytes, so that it moves");
	buf_wipe(&b);
	assert_int_equal(b.len, 0);
	for (i = 0; i < b.cap; i++)
		assert_int_equal(b.data[i], 0);
	buf_free(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_append),
		cmocka_unit_test(test_growth),
		cmocka_unit_test(test_format_edges),
		cmocka_unit_test(test_reserve),
		cmocka_unit_test(test_wipe),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

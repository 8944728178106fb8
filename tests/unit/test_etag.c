/* etag: If-Match and If-None-Match (RFC 9110 sections 8.8.3 and 13.1). */
#include "http/etag.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#define TAG "\"5f3a-1\""

static void
lists(void **state)
{
	static const struct {
		const char *value;
		bool strong, weak; /* is TAG in it? */
	} rows[] = {
		{ TAG, true, true },
		{ "W/" TAG, false, true },
		{ " \t" TAG "\t ", true, true },
		{ "\"b\", " TAG, true, true },
		{ TAG ",\"b\"", true, true },
		{ "\"b\",W/" TAG, false, true },
		{ "W/" TAG "," TAG, true, true },
		{ ",, ,\t" TAG ",,", true, true },
		{ "*", true, true },
		{ " * ", true, true },
		{ "*,", true, true },
		{ "\"\"", false, false },
		{ "W/\"\"", false, false },
		{ "\"b\"", false, false },
		{ "\"5F3A-1\"", false, false },
		{ "\"*\"", false, false },
		{ "\"a,b\"", false, false },
		{ "\"a\\\"", false, false },
		{ "\"{NULL}\"", false, false },
		{ "\"!#$%&'()+,-./:;<=>?@[\\]^_`{|}~\"", false, false },
		{ "\"\xff\"", false, false },
		{ "\"5f3a-1\xff\"", false, false },
		{ "\"\xc3\xa9\", " TAG, true, true },
		/* What compressing web servers make of it. */
		{ "\"5f3a-1-gzip\"", true, true },
		{ "\"5f3a-1-br\"", true, true },
		{ "\"5f3a-1-zstd\"", true, true },
		{ "\"5f3a-1;gzip\"", true, true },
		{ "W/\"5f3a-1-gzip\"", false, true },
		{ "\"b-gzip\", \"5f3a-1-gzip\"", true, true },
		{ "\"5f3a-1-gzip-gzip\"", false, false },
		{ "\"5f3a-1-GZIP\"", false, false },
		{ "\"5f3a-1-x\"", false, false },
		{ "\"5f3a-1gzip\"", false, false },
		{ "\"-gzip\"", false, false },
		{ "\"5f3a-1;br\"", false, false },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct etag_list strong = { 0 }, weak = { 0 };

		etag_list_add(&strong, rows[i].value, false);
		etag_list_add(&weak, rows[i].value, true);
		assert_true(strong.there && weak.there);
		if (strong.malformed || weak.malformed)
			fail_msg("grammar: %s", rows[i].value);
		if (etag_list_holds(&strong, TAG) != rows[i].strong ||
		    etag_list_holds(&weak, TAG) != rows[i].weak)
			fail_msg("match: %s", rows[i].value);
		etag_list_clear(&strong);
		etag_list_clear(&weak);
		assert_false(strong.there);
	}
}

static void
malformed(void **state)
{
	static const char *const bad[] = { "", " ", ",", ", ,", "a", "5f3a-1",
		"'5f3a-1'", "\"", "\"5f3a-1", "5f3a-1\"", "W/", "W/5f3a-1",
		"w/" TAG, "W /" TAG, "W/ " TAG, "W/W/" TAG, "**", "* *", "*,*",
		"*, " TAG, TAG ", *", TAG TAG, TAG " " TAG, TAG ";" TAG,
		TAG ", b", "b, " TAG, TAG ", \"", "\"a b\"", "\"a\tb\"",
		"\"a\x7f\"", "\"a\x01\"", "\"a\"b\"", "{" TAG "}", "NULL",
		"\"\"\"", TAG "\n", TAG "\r\n" };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct etag_list l = { 0 };

		etag_list_add(&l, bad[i], true);
		if (!l.malformed)
			fail_msg("taken: %s", bad[i]);
		/* For good, whatever follows. */
		etag_list_add(&l, TAG, true);
		assert_true(l.malformed);
		etag_list_clear(&l);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lists),
		cmocka_unit_test(malformed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

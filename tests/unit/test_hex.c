/* base/hex.h: both directions, every byte, and what is no public key. */

#include "base/hex.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define N(a) (sizeof(a) / sizeof((a)[0]))

static void
test_every_byte(void **state)
{
	unsigned char in[256], out[256];
	char hex[513], one[3];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof in; i++)
		in[i] = (unsigned char)i;
	hex_encode(in, sizeof in, hex);
	for (i = 0; i < sizeof in; i++) {
		snprintf(one, sizeof one, "%02x", (unsigned)i);
		assert_memory_equal(hex + 2 * i, one, 2);
	}
	assert_int_equal(hex[512], '\0');
	assert_true(hex_decode(hex, 512, out, sizeof out));
	assert_memory_equal(in, out, sizeof in);
}

static void
test_empty(void **state)
{
	unsigned char out = 0x5a;
	char hex[1] = { 'x' };

	(void)state;
	hex_encode(&out, 0, hex);
	assert_int_equal(hex[0], '\0');
	assert_true(hex_decode("", 0, &out, 0));
	assert_int_equal(out, 0x5a);
}

/* All pairs of characters: good ones are the lowercase digits' only. */
static void
test_every_pair(void **state)
{
	static const char digits[] = "0123456789abcdef";
	const char *hi, *lo;
	unsigned char out;
	char s[2];
	int a, b;

	(void)state;
	for (a = 0; a < 256; a++)
		for (b = 0; b < 256; b++) {
			s[0] = (char)a;
			s[1] = (char)b;
			out = 0;
			hi = memchr(digits, a, 16);
			lo = memchr(digits, b, 16);
			assert_int_equal(hex_decode(s, 2, &out, 1),
			    hi != NULL && lo != NULL);
			if (hi != NULL && lo != NULL)
				assert_int_equal(
				    out, (hi - digits) << 4 | (lo - digits));
			else
				assert_int_equal(out, 0);
		}
}

static void
test_refused(void **state)
{
	static const char *const bad[] = { "0", "000", "0g", "g0", "AB", "aB",
		"0x00", " 00 ", "00 0", "0\n", "--", "0\xff", "000000000g",
		"0000000000" /* five bytes do not go in four */ };
	unsigned char out[5];
	size_t i, k;

	(void)state;
	for (i = 0; i < N(bad); i++) {
		memset(out, 0x5a, sizeof out);
		if (hex_decode(bad[i], strlen(bad[i]), out, 4))
			fail_msg("taken: '%s'", bad[i]);
		for (k = 0; k < 5; k++)
			assert_true(out[k] == 0x5a || out[k] == 0);
		assert_int_equal(out[4], 0x5a);
	}
}

static void
test_public_key(void **state)
{
	char key[131];
	size_t len;

	(void)state;
	memset(key, 'a', sizeof key);
	for (len = 0; len <= 130; len++)
		assert_int_equal(hex_is_public_key(key, len),
		    len >= 32 && len <= 128 && len % 2 == 0);
	key[31] = 'A';
	assert_false(hex_is_public_key(key, 32));
	key[31] = '\0';
	assert_false(hex_is_public_key(key, 32));
	key[31] = '9';
	assert_true(hex_is_public_key(key, 32));
	key[0] = 'g';
	assert_false(hex_is_public_key(key, 32));
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_byte),
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_every_pair),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_public_key),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The small parsers of base/: lists of good and bad texts for each. */

#include "base/base64url.h"
#include "base/bearer.h"
#include "base/decimal.h"
#include "base/name.h"
#include "base/percent.h"
#include "base/query.h"
#include "base/utf8.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define N(a) (sizeof(a) / sizeof((a)[0]))
/* Its versions differ about braces in a macro. */
/* clang-format off */
#define T(s) { (s), sizeof(s) - 1 }
/* clang-format on */

struct text {
	const char *s;
	size_t len;
};

typedef bool predicate(const char *s, size_t len);

static void
all(predicate *is, bool want, const struct text *list, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (is(list[i].s, list[i].len) != want)
			fail_msg("[%zu] '%s' is %s", i, list[i].s,
			    want ? "refused" : "taken");
}

static void
test_u64(void **state)
{
	static const struct {
		const char *s;
		uint64_t min, max, value;
	} good[] = {
		{ "0", 0, 0, 0 },
		{ "007", 1, 7, 7 },
		{ "18446744073709551615", 0, UINT64_MAX, UINT64_MAX },
		{ "18446744073709551614", 0, UINT64_MAX, UINT64_MAX - 1 },
	};
	static const char *const bad[] = { "", "-1", "+1", " 1", "1 ", "1.0",
		"0x1", "1e1", "a", "18446744073709551616",
		"18446744073709551620", "99999999999999999999999" };
	uint64_t v = 5;
	size_t i;

	(void)state;
	for (i = 0; i < N(bad); i++)
		assert_false(
		    decimal_parse(bad[i], strlen(bad[i]), 0, UINT64_MAX, &v));
	assert_false(decimal_parse("1\0", 2, 0, 9, &v));
	assert_false(decimal_parse("1", 1, 2, 9, &v));
	assert_false(decimal_parse("10", 2, 2, 9, &v));
	assert_int_equal(v, 5);
	for (i = 0; i < N(good); i++) {
		assert_true(decimal_parse(good[i].s, strlen(good[i].s),
		    good[i].min, good[i].max, &v));
		assert_true(v == good[i].value);
	}
}

/* covers: RFC8725-3.7 */
static void
test_utf8(void **state)
{
	static const struct text good[] = { T(""), T("abc"), T("\0"), T("\x7f"),
		T("\xc2\x80"), T("\xdf\xbf"), T("\xe0\xa0\x80"),
		T("\xed\x9f\xbf"), T("\xee\x80\x80"), T("\xef\xbf\xbf"),
		T("\xf0\x90\x80\x80"), T("\xf4\x8f\xbf\xbf") };
	static const struct text bad[] = { T("\x80"), T("\xbf"), T("\xc0\x80"),
		T("\xc0\xaf"), T("\xc1\xbf"), T("\xc2"), T("\xc2\x41"),
		T("\xc2\xc0"), T("\xe0\x80\xaf"), T("\xe0\x9f\xbf"),
		T("\xe1\x80"), T("\xed\xa0\x80"), T("\xed\xbf\xbf"),
		T("\xf0\x80\x80\x80"), T("\xf0\x8f\xbf\xbf"),
		T("\xf4\x90\x80\x80"), T("\xf5\x80\x80\x80"), T("\xf0\x90\x80"),
		T("\xf8\x88\x80\x80\x80"), T("\xfe"), T("\xff"),
		T("a\xe1\x80\x62") };

	(void)state;
	all(utf8_valid, true, good, N(good));
	all(utf8_valid, false, bad, N(bad));
}

static void
test_control(void **state)
{
	char c;
	int i;

	(void)state;
	assert_false(utf8_has_control("", 0));
	for (i = 0; i < 256; i++) {
		c = (char)i;
		assert_int_equal(
		    utf8_has_control(&c, 1), i < 0x20 || i == 0x7f);
	}
	assert_true(utf8_has_control("ab\x1f", 3));
}

/* RFC 4648 section 10, without padding, and the two characters of 62, 63. */
/* covers: RFC8725-3.4, RFC7515-2 */
static void
test_base64url(void **state)
{
	static const struct {
		struct text raw;
		const char *text;
	} good[] = {
		{ T(""), "" },
		{ T("f"), "Zg" },
		{ T("fo"), "Zm8" },
		{ T("foo"), "Zm9v" },
		{ T("foob"), "Zm9vYg" },
		{ T("fooba"), "Zm9vYmE" },
		{ T("foobar"), "Zm9vYmFy" },
		{ T("\0"), "AA" },
		{ T("\xfb\xff\xbf"), "-_-_" },
		{ T("\xff\xff\xff\xff"), "_____w" },
	};
	static const struct text bad[] = { T("Z"), T("Zm9vY"), T("Zg=="),
		T("Zg="), T("Zh"), T("Zm9"), T("Zm+v"), T("Zm/v"), T("Zm 9"),
		T("Zm9v\n"), T(" Zm9"), T("Zm9v."), T("Zm\0v"), T("Zm{v"),
		T("Zm\xffv"), T("_____x") };
	struct buf b = { 0 };
	size_t i;

	(void)state;
	for (i = 0; i < N(good); i++) {
		buf_reset(&b);
		assert_true(
		    base64url_decode(good[i].text, strlen(good[i].text), &b));
		assert_int_equal(b.len, good[i].raw.len);
		assert_memory_equal(b.data, good[i].raw.s, b.len);
		buf_reset(&b);
		base64url_encode(&b, good[i].raw.s, good[i].raw.len);
		assert_string_equal(buf_str(&b), good[i].text);
	}
	buf_reset(&b);
	buf_adds(&b, "kept");
	for (i = 0; i < N(bad); i++) {
		assert_false(base64url_decode(bad[i].s, bad[i].len, &b));
		assert_string_equal(buf_str(&b), "kept");
		assert_int_equal(b.len, 4);
	}
	buf_free(&b);
}

static void
test_percent(void **state)
{
	static const char *const bad[] = { "%", "%4", "a%", "%4g", "%g4",
		"%%41", "% 1", "%+1", "%0x", "ab%f" };
	struct buf b = { 0 }, back = { 0 };
	char c;
	int i;
	size_t k;

	(void)state;
	assert_true(percent_decode("a+b%2fC%2Fd%2520%00", 19, &b));
	assert_int_equal(b.len, 11);
	assert_memory_equal(b.data, "a+b/C/d%20", 11);
	buf_reset(&b);
	buf_adds(&b, "kept");
	for (k = 0; k < N(bad); k++) {
		assert_false(percent_decode(bad[k], strlen(bad[k]), &b));
		assert_string_equal(buf_str(&b), "kept");
	}
	buf_reset(&b);
	percent_encode(&b, "aZ09-._~ /%\xc3\xbc\0", 14);
	assert_string_equal(buf_str(&b), "aZ09-._~%20%2F%25%C3%BC%00");
	for (i = 0; i < 256; i++) {
		c = (char)i;
		buf_reset(&b);
		buf_reset(&back);
		percent_encode(&b, &c, 1);
		assert_true(percent_decode(b.data, b.len, &back));
		assert_int_equal(back.len, 1);
		assert_int_equal(back.data[0], c);
	}
	buf_free(&b);
	buf_free(&back);
}

/* covers: RFC6750-2 */
static void
test_bearer(void **state)
{
	static const char *const good[] = { "Bearer a.b-c_~+/9",
		"bearer a.b-c_~+/9", "BEARER   a.b-c_~+/9",
		"bEaReR a.b-c_~+/9" };
	static const char *const bad[] = { "", "Bearer", "Bearer ", "Bearer  ",
		"Bearera", "Bearer\ta", " Bearer a", "Bearer a ", "Bearer a b",
		"Bearer a,b", "Bearer a, Bearer b", "Basic a.b.c",
		"Bearer =", "Bearer a=b", "Bearer \"a\"", "Bearer a\n",
		"Bearer \xc3\xbc", "Bearer: a", "Bear a", "Bearer  \ta",
		"Token a" };
	const char *token, *was = "untouched";
	size_t len, i;

	(void)state;
	for (i = 0; i < N(good); i++) {
		assert_true(bearer_parse(good[i], &token, &len));
		assert_int_equal(len, 10);
		assert_string_equal(token, "a.b-c_~+/9");
	}
	for (i = 0; i < N(bad); i++) {
		token = was;
		len = 7;
		if (bearer_parse(bad[i], &token, &len))
			fail_msg("taken: '%s'", bad[i]);
		assert_ptr_equal(token, was);
		assert_int_equal(len, 7);
	}
	assert_true(bearer_parse("Bearer a==", &token, &len));
	assert_int_equal(len, 3);
}

static void
test_words(void **state)
{
	static const struct text b64_good[] = { T("a"), T("A9-._~+/"), T("a="),
		T("a====") };
	static const struct text b64_bad[] = { T(""), T("="), T("a=b"),
		T("a b"), T("a\0"), T("a=\0"), T("\0"), T("a,"), T("\xc3\xbc"),
		T("a\n") };
	static const struct text id_good[] = { T("a"), T("A-z_0.9:"),
		T("01234567890123456789012345678901234567890123456789"
		  "01234567890123456789012345678901234567890123456789"
		  "0123456789012345678901234567") };
	static const struct text id_bad[] = { T(""), T(" "), T("a b"), T("a\n"),
		T("a\0"), T("a/b"), T("a\"b"), T("\xc3\xbc"),
		T("01234567890123456789012345678901234567890123456789"
		  "01234567890123456789012345678901234567890123456789"
		  "01234567890123456789012345678") };

	(void)state;
	all(bearer_is_b64token, true, b64_good, N(b64_good));
	all(bearer_is_b64token, false, b64_bad, N(b64_bad));
	all(name_is_request_id, true, id_good, N(id_good));
	all(name_is_request_id, false, id_bad, N(id_bad));
}

static void
test_user_id(void **state)
{
	static const struct text good[] = { T("a"), T(" "), T("a/b?c%d"),
		T("\xc3\xbc"), T("..") };
	static const struct text bad[] = { T(""), T("a\0"), T("a\n"), T("\x1f"),
		T("\x7f"), T("\xff"), T("\xed\xa0\x80") };
	char s[256];

	(void)state;
	all(name_is_user, true, good, N(good));
	all(name_is_user, false, bad, N(bad));
	memset(s, 'a', sizeof s);
	assert_true(name_is_user(s, 255));
	assert_false(name_is_user(s, 256));
	memcpy(s + 253, "\xe2\x82\xac", 3);
	assert_false(name_is_user(s, 255)); /* cut within a character */
}

static void
test_label(void **state)
{
	static const struct text good[] = { T("a"), T(" a "), T("a b"),
		T("\xc3\xbc"), T("\xc2\x85x"), T("\xe2\x80\x8b"), /* ZWSP */
		T("\xe1\xa0\x8e"), /* U+180E: not white since Unicode 6.3 */
		T("\xef\xbb\xbf"), T("a\xe2\x80\xae") };
	static const struct text bad[] = { T(""), T(" "), T("   "), T("\t"),
		T("a\t"), T("a\0"), T("a\x7f"), T("a\n"), T("\xff"),
		T("a\xc0\xaf"), T("\xc2\x85"), T("\xc2\xa0"), T("\xe1\x9a\x80"),
		T("\xe2\x80\x80"), T("\xe2\x80\x8a"), T("\xe2\x80\xa8"),
		T("\xe2\x80\xa9"), T("\xe2\x80\xaf"), T("\xe2\x81\x9f"),
		T("\xe3\x80\x80"), T(" \xc2\xa0\xe3\x80\x80 ") };
	struct buf b = { 0 };
	int i;

	(void)state;
	all(name_is_label, true, good, N(good));
	all(name_is_label, false, bad, N(bad));
	for (i = 0; i < 100; i++)
		buf_adds(&b, "\xf0\x9f\x98\x80");
	assert_true(name_is_label(b.data, b.len));
	buf_addc(&b, 'a');
	assert_false(name_is_label(b.data, b.len));
	buf_free(&b);
}

static void
add_utf8(struct buf *b, uint32_t cp)
{
	if (cp < 0x80) {
		buf_addc(b, (char)cp);
	} else if (cp < 0x800) {
		buf_addc(b, (char)(0xc0 | cp >> 6));
	} else if (cp < 0x10000) {
		buf_addc(b, (char)(0xe0 | cp >> 12));
		buf_addc(b, (char)(0x80 | (cp >> 6 & 0x3f)));
	} else {
		buf_addc(b, (char)(0xf0 | cp >> 18));
		buf_addc(b, (char)(0x80 | (cp >> 12 & 0x3f)));
		buf_addc(b, (char)(0x80 | (cp >> 6 & 0x3f)));
	}
	if (cp >= 0x80)
		buf_addc(b, (char)(0x80 | (cp & 0x3f)));
}

/* Is left, the character, right a name; and which, if one? */
static bool
named(const char *left, uint32_t cp, const char *right, struct buf *name)
{
	struct buf b = { 0 };
	bool ok;

	buf_adds(&b, left);
	add_utf8(&b, cp);
	buf_adds(&b, right);
	buf_reset(name);
	ok = name_take_app(b.data, b.len, name);
	if (!ok)
		assert_int_equal(name->len, 0);
	buf_free(&b);
	return ok;
}

static bool
in(uint32_t cp, const uint32_t (*ranges)[2], size_t n)
{
	while (n-- > 0)
		if (cp >= ranges[n][0] && cp <= ranges[n][1])
			return true;
	return false;
}

/* Every character there is: inside a name, at its ends, and alone. */
static void
test_name_characters(void **state)
{
	static const uint32_t white[][2] = { { 0x9, 0xd }, { 0x20, 0x20 },
		{ 0x85, 0x85 }, { 0xa0, 0xa0 }, { 0x1680, 0x1680 },
		{ 0x2000, 0x200a }, { 0x2028, 0x2029 }, { 0x202f, 0x202f },
		{ 0x205f, 0x205f }, { 0x3000, 0x3000 } };
	static const uint32_t hidden[][2] = { { 0, 0x1f }, { 0x7f, 0x9f },
		{ 0x61c, 0x61c }, { 0x200b, 0x200b }, { 0x200e, 0x200f },
		{ 0x2028, 0x202e }, { 0x2060, 0x2060 }, { 0x2066, 0x2069 },
		{ 0xfeff, 0xfeff }, { 0xfdd0, 0xfdef } };
	struct buf name = { 0 };
	uint32_t cp;

	(void)state;
	for (cp = 1; cp <= 0x10ffff; cp++) {
		bool is_white = in(cp, white, N(white));
		bool bad = in(cp, hidden, N(hidden)) ||
			   (cp & 0xffff) == 0xfffe || (cp & 0xffff) == 0xffff;

		if (cp == 0xd800)
			cp = 0xe000;
		if (named("a", cp, "b", &name) == bad)
			fail_msg("U+%04X inside", (unsigned)cp);
		if (named("a", cp, "", &name) != (is_white || !bad) ||
		    named("", cp, "a", &name) != (is_white || !bad))
			fail_msg("U+%04X at an end", (unsigned)cp);
		if (is_white)
			assert_string_equal(buf_str(&name), "a");
		if (named("", cp, "", &name) !=
		    !(is_white || bad || cp == 0x200c || cp == 0x200d))
			fail_msg("U+%04X alone", (unsigned)cp);
	}
	buf_free(&name);
}

static void
test_app_name(void **state)
{
	static const struct {
		struct text sent;
		const char *kept; /* NULL = refused */
	} rows[] = {
		{ T("a"), "a" },
		{ T(" \t\n a b \r\n\xe3\x80\x80"), "a b" },
		{ T("\xc2\xa0 a\xc2\xa0"
		    "b \xc2\x85"),
		    "a\xc2\xa0"
		    "b" },
		{ T("a  b"), "a  b" },
		{ T("Gr\xc3\xb6\xc3\x9f"
		    "e \xe2\x9c\x93"),
		    "Gr\xc3\xb6\xc3\x9f"
		    "e \xe2\x9c\x93" },
		/* A family, and a Persian word: joiners stay. */
		{ T("\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x91\xa7"),
		    "\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x91\xa7" },
		{ T("\xd9\x85\xdb\x8c\xe2\x80\x8c\xd8\xae"),
		    "\xd9\x85\xdb\x8c\xe2\x80\x8c\xd8\xae" },
		{ T(""), NULL },
		{ T(" \t\n"), NULL },
		{ T("\xe2\x80\x8d \xe2\x80\x8c"), NULL },
		{ T("a\0"), NULL },
		{ T("a\0b"), NULL },
		{ T("a\nb"), NULL },
		{ T("a\xe2\x80\xae"
		    "b"),
		    NULL },
		{ T("\xef\xbb\xbf"
		    "a"),
		    NULL },
		{ T("a\xff"), NULL },
		{ T(" \xff a"), NULL },
		{ T("a \xff"), NULL },
		{ T("a\xc0\xaf"), NULL },
		{ T("\xed\xa0\x80"), NULL },
	};
	struct buf b = { 0 }, name = { 0 };
	size_t i;

	(void)state;
	for (i = 0; i < N(rows); i++) {
		buf_reset(&name);
		if (name_take_app(rows[i].sent.s, rows[i].sent.len, &name) !=
		    (rows[i].kept != NULL))
			fail_msg("row %zu", i);
		assert_string_equal(
		    buf_str(&name), rows[i].kept != NULL ? rows[i].kept : "");
	}
	/* 100 characters, not bytes, and not the space around. */
	buf_adds(&b, "     ");
	for (i = 0; i < 100; i++)
		buf_adds(&b, "\xf0\x9f\x98\x80");
	buf_adds(&b, "     ");
	buf_reset(&name);
	assert_true(name_take_app(b.data, b.len, &name));
	assert_int_equal(name.len, 400);
	buf_addc(&b, 'a');
	assert_false(name_take_app(b.data, b.len, &name));
	buf_free(&b);
	buf_free(&name);
}

static void
test_query(void **state)
{
	static const struct {
		const char *query, *value; /* NULL = absent */
		bool bad;
	} cases[] = {
		{ "", NULL, false },
		{ "x=1", NULL, false },
		{ "aa=1&A=2", NULL, false },
		{ "=a", NULL, false },
		{ "a=1", "1", false },
		{ "a", "", false },
		{ "a=", "", false },
		{ "x=1&a=2&y=3", "2", false },
		{ "&&a=2&", "2", false },
		{ "a=b=c", "b=c", false },
		{ "a=b+c%2B%26%3d", "b c+&=", false },
		{ "%61=1", "1", false },
		{ "%6=1&a=2", "2", false },
		{ "x=%&a=2", "2", false },
		{ "a=%3C;b=1", "<;b=1", false },
		{ "a=1&a=2", NULL, true },
		{ "a=1&a=1", NULL, true },
		{ "a=1&%61=2", NULL, true },
		{ "a&a", NULL, true },
		{ "a=%", NULL, true },
		{ "a=%4", NULL, true },
		{ "a=%zz", NULL, true },
		{ "a=ok&a=%", NULL, true },
		{ "a=12%+3", NULL, true },
	};
	struct buf b = { 0 };
	bool bad, found;
	size_t i;

	(void)state;
	for (i = 0; i < N(cases); i++) {
		buf_reset(&b);
		bad = !cases[i].bad;
		found = query_find(cases[i].query, "a", &b, &bad);
		if (bad != cases[i].bad ||
		    found != (cases[i].value != NULL || cases[i].bad))
			fail_msg("'%s': found %d, bad %d", cases[i].query,
			    found, bad);
		assert_int_equal(b.len, strlen(buf_str(&b)));
		if (cases[i].value != NULL)
			assert_string_equal(buf_str(&b), cases[i].value);
	}
	buf_free(&b);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_u64),
		cmocka_unit_test(test_utf8),
		cmocka_unit_test(test_control),
		cmocka_unit_test(test_base64url),
		cmocka_unit_test(test_percent),
		cmocka_unit_test(test_bearer),
		cmocka_unit_test(test_words),
		cmocka_unit_test(test_user_id),
		cmocka_unit_test(test_label),
		cmocka_unit_test(test_name_characters),
		cmocka_unit_test(test_app_name),
		cmocka_unit_test(test_query),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

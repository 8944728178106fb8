/*
 * base/json.h: what is JSON to us and what is not, by lists; what json-c takes
 * and we must refuse; duplicates, depth and numbers at their bounds.
 */

#include "base/json.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <json.h>
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

struct refusal {
	struct text t;
	enum json_fault fault;
};

/* Good texts: both readers take them, to the last byte. */
static const struct text good[] = {
	T("{}"), T(" \t\r\n{ } \t\r\n"), T("{\"\":\"\"}"),
	T("{\"a\":[],\"b\":{},\"c\":null,\"d\":true,\"e\":false}"),
	T("{ \"a\" : [ 1 , 2 , { \"b\" : 3 } ] }\n"),
	T("{\"a\":0,\"b\":-0,\"c\":0.0,\"d\":-0.5e-7,\"e\":1E+2,\"f\":0e0}"),
	T("{\"a\":1e308,\"b\":5e-324,\"c\":1e400,\"d\":123456789012345678901}"),
	T("{\"a\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\u20AC\\ud83d\\ude00\"}"),
	T("{\"a\":\"\x7f\xc2\x80\xe2\x82\xac\xf4\x8f\xbf\xbf\"}"),
	T("{\"a\":{\"a\":{\"a\":1}},\"b\":[{\"a\":1},{\"a\":1}]}"),
	T("{\"a\":1,\"A\":1,\"a \":1,\"aa\":1,\"\":1,\"\\u0001\":1}"),
	T("{\"\\u00e9\":1,\"e\xcc\x81\":1}"), /* bytes count, not NFC */
};

/* SECURITY section 3: json-c, as strict as it gets, takes all of these. */
static const struct refusal lenient[] = {
	{ T("{\"a\":NaN}"), JSON_SYNTAX },
	{ T("{\"a\":Infinity}"), JSON_SYNTAX },
	{ T("{\"a\":-Infinity}"), JSON_SYNTAX },
	{ T("{'a':1}"), JSON_SYNTAX },
	{ T("{\"a\":\"\n\"}"), JSON_SYNTAX },
	{ T("{\"a\":\"\x01\"}"), JSON_SYNTAX },
	{ T("{\"a\x1f\":1}"), JSON_SYNTAX },
	{ T("{\"a\":1,\"a\":2}"), JSON_DUPLICATE },
	{ T("{\"a\":1,\"\\u0061\":2}"), JSON_DUPLICATE },
	{ T("{\"a\":\"\xc0\xaf\"}"), JSON_ENCODING },
	{ T("{\"a\":\"\xed\xa0\x80\"}"), JSON_ENCODING },
	{ T("{\"a\":\"\\ud800\"}"), JSON_ENCODING },
	{ T("{\"a\":\"\\udc00\"}"), JSON_ENCODING },
	{ T("{\"a\":1.}"), JSON_SYNTAX },
	{ T("{\"a\\u0000b\":1}"), JSON_NUL },
	{ T("{\"a\":\"\\u0000\"}"), JSON_NUL },
	{ T("{\"a\":1}\0junk"), JSON_SYNTAX },
	{ T("[]"), JSON_NOT_OBJECT },
	{ T("{\"a\":1e131072}"), JSON_NUMBER },
};

static const struct refusal bad[] = {
	/* structure */
	{ T(""), JSON_SYNTAX },
	{ T(" "), JSON_SYNTAX },
	{ T("\0"), JSON_SYNTAX },
	{ T("{"), JSON_SYNTAX },
	{ T("}"), JSON_SYNTAX },
	{ T("{]"), JSON_SYNTAX },
	{ T("{\"a\""), JSON_SYNTAX },
	{ T("{\"a\":"), JSON_SYNTAX },
	{ T("{\"a\":1"), JSON_SYNTAX },
	{ T("{\"a\":1,"), JSON_SYNTAX },
	{ T("{\"a\":1,}"), JSON_SYNTAX },
	{ T("{,}"), JSON_SYNTAX },
	{ T("{,\"a\":1}"), JSON_SYNTAX },
	{ T("{\"a\" 1}"), JSON_SYNTAX },
	{ T("{\"a\"}"), JSON_SYNTAX },
	{ T("{a:1}"), JSON_SYNTAX },
	{ T("{1:1}"), JSON_SYNTAX },
	{ T("{\"a\":'b'}"), JSON_SYNTAX },
	{ T("{\"a\":1 \"b\":2}"), JSON_SYNTAX },
	{ T("{\"a\":[1,]}"), JSON_SYNTAX },
	{ T("{\"a\":[,1]}"), JSON_SYNTAX },
	{ T("{\"a\":[1 2]}"), JSON_SYNTAX },
	{ T("{\"a\":[1}"), JSON_SYNTAX },
	{ T("{\"a\":[}]"), JSON_SYNTAX },
	{ T("{\"a\":1}]"), JSON_SYNTAX },
	{ T("{}{}"), JSON_SYNTAX },
	{ T("{},"), JSON_SYNTAX },
	{ T("{} x"), JSON_SYNTAX },
	{ T("{}\0"), JSON_SYNTAX },
	{ T("{\0}"), JSON_SYNTAX },
	{ T("{}\f"), JSON_SYNTAX },
	{ T("{}\v"), JSON_SYNTAX },
	{ T("\xef\xbb\xbf{}"), JSON_SYNTAX },
	{ T("{}\xc2\xa0"), JSON_SYNTAX },
	{ T("{/* */}"), JSON_SYNTAX },
	{ T("{} // x"), JSON_SYNTAX },
	/* literals */
	{ T("{\"a\":TRUE}"), JSON_SYNTAX },
	{ T("{\"a\":tru}"), JSON_SYNTAX },
	{ T("{\"a\":truex}"), JSON_SYNTAX },
	{ T("{\"a\":nul"), JSON_SYNTAX },
	{ T("{\"a\":nan}"), JSON_SYNTAX },
	{ T("{\"a\":undefined}"), JSON_SYNTAX },
	{ T("{\"a\":-}"), JSON_SYNTAX },
	/* numbers */
	{ T("{\"a\":01}"), JSON_SYNTAX },
	{ T("{\"a\":-01}"), JSON_SYNTAX },
	{ T("{\"a\":00}"), JSON_SYNTAX },
	{ T("{\"a\":+1}"), JSON_SYNTAX },
	{ T("{\"a\":.5}"), JSON_SYNTAX },
	{ T("{\"a\":-.5}"), JSON_SYNTAX },
	{ T("{\"a\":1.e1}"), JSON_SYNTAX },
	{ T("{\"a\":1e}"), JSON_SYNTAX },
	{ T("{\"a\":1e+}"), JSON_SYNTAX },
	{ T("{\"a\":1e1.5}"), JSON_SYNTAX },
	{ T("{\"a\":1e+-1}"), JSON_SYNTAX },
	{ T("{\"a\":--1}"), JSON_SYNTAX },
	{ T("{\"a\":0x1}"), JSON_SYNTAX },
	{ T("{\"a\":1_0}"), JSON_SYNTAX },
	{ T("{\"a\":1e-16384}"), JSON_NUMBER },
	{ T("{\"a\":1e99999999999999999999999}"), JSON_NUMBER },
	{ T("{\"a\":1e-99999999999999999999999}"), JSON_NUMBER },
	{ T("{\"a\":1e18446744073709551616}"), JSON_NUMBER },
	/* strings */
	{ T("{\"a\":\"}"), JSON_SYNTAX },
	{ T("{\"a\":\"\\\"}"), JSON_SYNTAX },
	{ T("{\"a\":\"\\"), JSON_SYNTAX },
	{ T("{\"a\":\"\\x41\"}"), JSON_SYNTAX },
	{ T("{\"a\":\"\\'\"}"), JSON_SYNTAX },
	{ T("{\"a\":\"\\U0041\"}"), JSON_SYNTAX },
	{ T("{\"a\":\"\\\0\"}"), JSON_SYNTAX },
	{ T("{\"a\":\"\\u004\"}"), JSON_SYNTAX },
	{ T("{\"a\":\"\\u00g1\"}"), JSON_SYNTAX },
	{ T("{\"a\":\"\\u"), JSON_SYNTAX },
	{ T("{\"a\":\"\0\"}"), JSON_SYNTAX },
	{ T("{\"a\":\"\t\"}"), JSON_SYNTAX },
	{ T("{\"a\":\"\\ud800x\"}"), JSON_ENCODING },
	{ T("{\"a\":\"\\ud800\\n\"}"), JSON_ENCODING },
	{ T("{\"a\":\"\\ud800\\u0041\"}"), JSON_ENCODING },
	{ T("{\"a\":\"\\ud800\\ud800\"}"), JSON_ENCODING },
	{ T("{\"a\":\"\\udc00\\ud800\"}"), JSON_ENCODING },
	{ T("{\"\\uDFFF\":1}"), JSON_ENCODING },
	{ T("{\"a\":\"\x80\"}"), JSON_ENCODING },
	{ T("{\"a\":\"\xff\"}"), JSON_ENCODING },
	{ T("{\"a\":\"\xe2\x82\"}"), JSON_ENCODING },
	{ T("{\"a\":\"\xf4\x90\x80\x80\"}"), JSON_ENCODING },
	{ T("{\"a\xc1\x81\":1}"), JSON_ENCODING },
	/* names that are alike once unescaped, at any depth */
	{ T("{\"\":1,\"\":2}"), JSON_DUPLICATE },
	{ T("{\"/\":1,\"\\/\":2}"), JSON_DUPLICATE },
	{ T("{\"\\n\":1,\"\\u000a\":2}"), JSON_DUPLICATE },
	{ T("{\"\xc3\xa9\":1,\"\\u00E9\":2}"), JSON_DUPLICATE },
	{ T("{\"\xf0\x9f\x98\x80\":1,\"\\uD83D\\uDE00\":2}"), JSON_DUPLICATE },
	{ T("{\"a\":1,\"b\":{\"a\":2},\"a\":3}"), JSON_DUPLICATE },
	{ T("{\"x\":[{\"a\":1},{\"b\":1,\"b\":2}]}"), JSON_DUPLICATE },
	{ T("{\"alg\":\"none\",\"typ\":1,\"alg\":\"HS256\"}"), JSON_DUPLICATE },
	/* well-formed, but no object */
	{ T("1"), JSON_NOT_OBJECT },
	{ T("\"a\""), JSON_NOT_OBJECT },
	{ T(" null "), JSON_NOT_OBJECT },
	{ T("[{}]"), JSON_NOT_OBJECT },
	{ T("[1"), JSON_SYNTAX },
};

static bool
lenient_takes(const struct text *t)
{
	struct json_tokener *tok = json_tokener_new_ex(JSON_MAX_DEPTH + 1);
	struct json_object *o;
	bool ok;

	o = json_tokener_parse_ex(tok, t->s, (int)t->len);
	ok = o != NULL && json_tokener_get_error(tok) == json_tokener_success;
	json_object_put(o);
	json_tokener_free(tok);
	return ok;
}

/* On a copy of exactly its length, so that sanitizers see a byte too far. */
static enum json_fault
check(const struct text *t, struct json_facts *facts)
{
	char *copy = test_malloc(t->len > 0 ? t->len : 1);
	enum json_fault fault;

	memcpy(copy, t->s, t->len);
	fault = json_check(copy, t->len, facts);
	test_free(copy);
	return fault;
}

static void
refuse(const struct refusal *r)
{
	struct json_facts facts = { 0 };
	enum json_fault fault = check(&r->t, &facts);
	struct json *j = json_parse(r->t.s, r->t.len);

	if (fault != r->fault)
		fail_msg("'%s': %d, not %d", r->t.s, fault, r->fault);
	assert_true(facts.at <= r->t.len);
	/* What is not to be stored has numbers of any size. */
	assert_int_equal(j != NULL, fault == JSON_NUMBER);
	assert_non_null(json_fault_text(fault));
	json_free(j);
}

static void
test_good(void **state)
{
	struct json *j;
	size_t i;

	(void)state;
	for (i = 0; i < N(good); i++) {
		if (check(&good[i], NULL) != JSON_OK)
			fail_msg("'%s' is refused", good[i].s);
		assert_true(lenient_takes(&good[i]));
		j = json_parse(good[i].s, good[i].len);
		assert_non_null(j);
		json_free(j);
	}
	json_free(NULL);
}

/* covers: RFC8725-3.7 */
static void
test_bad(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < N(bad); i++)
		refuse(&bad[i]);
}

/* covers: ASVS-V13.1.1 */
static void
test_differential(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < N(lenient); i++) {
		if (!lenient_takes(&lenient[i].t))
			fail_msg("'%s': json-c refuses", lenient[i].t.s);
		refuse(&lenient[i]);
	}
}

/* No proper prefix of a good text is good, but for white space at its end. */
static void
test_prefixes(void **state)
{
	struct text t;
	size_t i, end;

	(void)state;
	for (i = 0; i < N(good); i++) {
		t = good[i];
		for (end = t.len; t.s[end - 1] != '}'; end--)
			;
		for (t.len = 0; t.len < end; t.len++)
			assert_int_not_equal(check(&t, NULL), JSON_OK);
	}
}

static void
repeat(struct buf *b, const char *s, size_t n)
{
	while (n-- > 0)
		buf_adds(b, s);
}

static enum json_fault
nested(int depth, bool arrays)
{
	struct buf b = { 0 };
	enum json_fault fault;
	struct json *j;

	buf_adds(&b, "{\"a\":");
	repeat(&b, arrays ? "[" : "{\"a\":", (size_t)depth - 1);
	buf_adds(&b, "1");
	repeat(&b, arrays ? "]" : "}", (size_t)depth - 1);
	buf_adds(&b, "}");
	fault = json_check(b.data, b.len, NULL);
	j = json_parse(b.data, b.len);
	assert_int_equal(j != NULL, fault == JSON_OK);
	json_free(j);
	buf_free(&b);
	return fault;
}

/* covers: API4:2023 */
static void
test_depth(void **state)
{
	int arrays;

	(void)state;
	for (arrays = 0; arrays < 2; arrays++) {
		assert_int_equal(nested(1, arrays), JSON_OK);
		assert_int_equal(nested(JSON_MAX_DEPTH, arrays), JSON_OK);
		assert_int_equal(
		    nested(JSON_MAX_DEPTH + 1, arrays), JSON_DEPTH);
		assert_int_equal(nested(100000, arrays), JSON_DEPTH);
	}
}

/* A number of that many digits before and after the point, and an exponent. */
static enum json_fault
number(size_t whole, size_t fraction, const char *exponent)
{
	struct buf b = { 0 };
	enum json_fault fault;

	buf_adds(&b, "{\"a\":-");
	repeat(&b, "9", whole);
	if (fraction > 0)
		buf_addc(&b, '.');
	repeat(&b, "9", fraction);
	buf_addf(&b, "%s}", exponent);
	fault = json_check(b.data, b.len, NULL);
	buf_free(&b);
	return fault;
}

static void
test_number_bounds(void **state)
{
	static const struct {
		size_t whole, fraction;
		const char *exponent;
		enum json_fault fault;
	} cases[] = {
		{ 131072, 0, "", JSON_OK },
		{ 131073, 0, "", JSON_NUMBER },
		{ 1, 16383, "", JSON_OK },
		{ 1, 16384, "", JSON_NUMBER },
		{ 131072, 16383, "", JSON_OK },
		{ 1, 0, "e131071", JSON_OK },
		{ 1, 0, "E+131072", JSON_NUMBER },
		{ 2, 0, "e131071", JSON_NUMBER },
		{ 1, 0, "e000000000000000000000000001", JSON_OK },
		{ 1, 0, "e-16383", JSON_OK },
		{ 1, 1, "e-16382", JSON_OK },
		{ 1, 1, "e-16383", JSON_NUMBER },
		{ 1, 0, "e4294967296", JSON_NUMBER },
		{ 1, 0, "e-4294967296", JSON_NUMBER },
	};
	size_t i;

	(void)state;
	for (i = 0; i < N(cases); i++)
		if (number(cases[i].whole, cases[i].fraction,
			cases[i].exponent) != cases[i].fault)
			fail_msg("%zu.%zu%s", cases[i].whole, cases[i].fraction,
			    cases[i].exponent);
}

/* The text and its expansion are no shorter than the number written out. */
static void
test_expansion(void **state)
{
	static const struct {
		struct text t;
		size_t full; /* length of the text with numbers in full */
	} cases[] = {
		{ T("{\"a\":12345.678}"), 15 },
		{ T("{\"a\":1e3}"), 10 },
		{ T("{\"a\":1e100}"), 107 },
		{ T("{\"a\":1.5e100}"), 107 },
		{ T("{\"a\":1e-1}"), 9 },
		{ T("{\"a\":1e-100}"), 108 },
		{ T("{\"a\":1.5e-100}"), 109 },
		{ T("{\"a\":-1.5E-9}"), 19 },
		{ T("{\"a\":[1e10,1e10,1e10]}"), 43 },
	};
	struct json_facts facts;
	size_t i;

	(void)state;
	for (i = 0; i < N(cases); i++) {
		assert_int_equal(check(&cases[i].t, &facts), JSON_OK);
		assert_true(cases[i].t.len + facts.expansion >= cases[i].full);
		assert_true(
		    cases[i].t.len + facts.expansion <= cases[i].full + 20);
	}
	assert_int_equal(check(&cases[0].t, &facts), JSON_OK);
	assert_int_equal(facts.expansion, 0);
}

static void
names(struct buf *b, int n, const char *format)
{
	int i;

	buf_reset(b);
	buf_addc(b, '{');
	for (i = 0; i < n; i++) {
		buf_adds(b, i > 0 ? ",\"" : "\"");
		buf_addf(b, "%s%06d\":0", format, i);
	}
	buf_addc(b, '}');
}

/* Many names, with long common prefixes: no choice of them is slow. */
/* covers: API4:2023 */
static void
test_many_names(void **state)
{
	static const char *const prefixes[] = { "", "\\u0061",
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" };
	struct buf b = { 0 };
	clock_t start;
	size_t i;

	(void)state;
	for (i = 0; i < N(prefixes); i++) {
		names(&b, 100000, prefixes[i]);
		start = clock();
		assert_int_equal(json_check(b.data, b.len, NULL), JSON_OK);
		assert_true(clock() - start < 10 * CLOCKS_PER_SEC);
		b.len--;
		buf_addf(&b, ",\"%s000077\":1}", prefixes[i]);
		assert_int_equal(
		    json_check(b.data, b.len, NULL), JSON_DUPLICATE);
	}
	buf_free(&b);
}

static struct json *
parse(const char *s)
{
	struct json *j = json_parse(s, strlen(s));

	if (j == NULL)
		fail_msg("'%s' is refused", s);
	return j;
}

static void
test_kinds(void **state)
{
	static const char *const known[] = { "n", "b", "i", "r", "s", "a", "o",
		NULL };
	static const char *const fewer[] = { "n", "b", "i", "r", "a", "o",
		NULL };
	struct json *j =
	    parse("{\"n\":null,\"b\":true,\"i\":-1,\"r\":1.0,"
		  "\"\\u0073\":\"x\\u00e9\",\"a\":[],\"o\":{\"z\":1}}");
	const char *s = NULL;
	size_t len = 9;

	(void)state;
	assert_int_equal(json_member_kind(j, "z"), JSON_ABSENT);
	assert_int_equal(json_member_kind(j, "N"), JSON_ABSENT);
	assert_int_equal(json_member_kind(j, "n"), JSON_NULL);
	assert_int_equal(json_member_kind(j, "b"), JSON_BOOL);
	assert_int_equal(json_member_kind(j, "i"), JSON_NUMBER_INT);
	assert_int_equal(json_member_kind(j, "r"), JSON_NUMBER_REAL);
	assert_int_equal(json_member_kind(j, "s"), JSON_STRING);
	assert_int_equal(json_member_kind(j, "a"), JSON_ARRAY);
	assert_int_equal(json_member_kind(j, "o"), JSON_OBJECT);
	assert_false(json_member_string(j, "i", &s, &len));
	assert_false(json_member_string(j, "z", &s, &len));
	assert_false(json_member_string(j, "n", &s, &len));
	assert_null(s);
	assert_int_equal(len, 9);
	assert_true(json_member_string(j, "s", &s, &len));
	assert_int_equal(len, 3);
	assert_string_equal(s, "x\xc3\xa9");
	assert_null(json_unknown_member(j, known));
	assert_string_equal(json_unknown_member(j, fewer), "s");
	json_free(j);
	j = parse("{}");
	assert_null(json_unknown_member(j, fewer));
	json_free(j);
}

/* Strings stay where they are while others are asked for, and however often. */
static void
test_strings(void **state)
{
	struct json *j = parse("{\"a\":\"one\" ,\"b\":\"\",\"c\":\"\xc3\xa9\","
			       "\"d\":\"a\\\"b\"}");
	static const char *const want[] = { "one", "", "\xc3\xa9", "a\"b" };
	const char *first[4], *s;
	char name[2] = "a";
	size_t i, k, len;

	(void)state;
	for (k = 0; k < 200; k++)
		for (i = 0; i < 4; i++) {
			name[0] = (char)('a' + i);
			assert_true(json_member_string(j, name, &s, &len));
			assert_int_equal(len, strlen(want[i]));
			assert_string_equal(s, want[i]);
			if (k == 0)
				first[i] = s;
			assert_string_equal(first[i], want[i]);
		}
	json_free(j);
}

/* Integers that json-c would clamp are reals, and no int64. */
static void
test_numbers(void **state)
{
	static const struct {
		const char *text;
		double value; /* INFINITY = none */
		bool is_int;
		int64_t n;
	} cases[] = {
		{ "0", 0, true, 0 },
		{ "-0", 0, true, 0 },
		{ "-7", -7, true, -7 },
		{ "9223372036854775806", 0x1p63, true, INT64_MAX - 1 },
		{ "9223372036854775807", 0x1p63, true, INT64_MAX },
		{ "9223372036854775808", 0x1p63, false, 0 },
		{ "9999999999999999999", 1e19, false, 0 },
		{ "18446744073709551615", 0x1p64, false, 0 },
		{ "18446744073709551616", 0x1p64, false, 0 },
		{ "100000000000000000000000000000", 1e29, false, 0 },
		{ "-9223372036854775807", -0x1p63, true, INT64_MIN + 1 },
		{ "-9223372036854775808", -0x1p63, true, INT64_MIN },
		{ "-9223372036854775809", -0x1p63, false, 0 },
		{ "-100000000000000000000000000000", -1e29, false, 0 },
		{ "1.0", 1, false, 0 },
		{ "1e0", 1, false, 0 },
		{ "1.5e3", 1500, false, 0 },
		{ "1e308", 1e308, false, 0 },
		{ "5e-324", 5e-324, false, 0 },
		{ "1e-400", 0, false, 0 },
		{ "1e309", INFINITY, false, 0 },
		{ "-1e400", -INFINITY, false, 0 },
		{ "1e99999999999999999999", INFINITY, false, 0 },
		{ "-1E+999999", -INFINITY, false, 0 },
		{ "1e-99999999999999999999", 0, false, 0 },
		{ "\"1\"", NAN, false, 0 },
		{ "null", NAN, false, 0 },
		{ "true", NAN, false, 0 },
		{ "[1]", NAN, false, 0 },
	};
	struct buf b = { 0 };
	struct json *j;
	int64_t n;
	double d;
	size_t i;

	(void)state;
	for (i = 0; i < N(cases); i++) {
		buf_reset(&b);
		buf_addf(&b, "{\"x\":[%s,%s],\"a\":%s}", cases[i].text,
		    cases[i].text, cases[i].text);
		j = parse(b.data);
		d = 42;
		n = 42;
		if (json_member_number(j, "a", &d) == isnan(cases[i].value))
			fail_msg("as a number: %s", cases[i].text);
		assert_true(d == (isnan(cases[i].value) ? 42 : cases[i].value));
		if (json_member_int(j, "a", &n) != cases[i].is_int)
			fail_msg("as an integer: %s", cases[i].text);
		assert_true(n == (cases[i].is_int ? cases[i].n : 42));
		assert_false(json_member_int(j, "b", &n));
		assert_false(json_member_number(j, "b", &d));
		json_free(j);
	}
	buf_free(&b);
}

/* What jansson can hold, and nothing else; at any depth. */
static void
test_numbers_fit(void **state)
{
	static const struct {
		const char *number;
		bool fits;
	} cases[] = {
		{ "0", true },
		{ "-0", true },
		{ "9223372036854775807", true },
		{ "9223372036854775808", false },
		{ "-9223372036854775808", true },
		{ "-9223372036854775809", false },
		{ "10014255632117358197", false },
		{ "18446744073709551615", false },
		{ "18446744073709551616", false },
		{ "9223372036854775808.0", true },
		{ "9223372036854775808e0", true },
		{ "1.7976931348623157e308", true },
		{ "1.7976931348623158e308", true },
		{ "1.7976931348623159e308", false },
		{ "-1.7976931348623159e308", false },
		{ "1e308", true },
		{ "1E308", true },
		{ "1e309", false },
		{ "-1e309", false },
		{ "1e300000", false },
		{ "0.0000000001e318", true },
		{ "0.0000000001e319", false },
		{ "0e400", true },
		{ "0.0E999999", true },
		{ "1e-400", true },
		{ "1e-300000", true },
	};
	static const char *const at[] = { "{\"a\":%s}", "{\"b\":[0,[%s]]}",
		"{\"\\u0061\":{\"b\":{\"c\":%s }}}",
		"{\"x\":1e5,\"y\":%s,\"z\":1}" };
	struct buf b = { 0 };
	struct json *j;
	const char *slot;
	size_t i, k;

	(void)state;
	for (i = 0; i < N(cases); i++)
		for (k = 0; k < N(at); k++) {
			slot = strstr(at[k], "%s");
			buf_reset(&b);
			buf_add(&b, at[k], (size_t)(slot - at[k]));
			buf_adds(&b, cases[i].number);
			buf_adds(&b, slot + 2);
			j = parse(b.data);
			if (json_numbers_fit(j) != cases[i].fits)
				fail_msg("%s", b.data);
			json_free(j);
		}
	/* By digits alone. */
	for (i = 308; i <= 310; i++) {
		buf_reset(&b);
		buf_adds(&b, "{\"a\":1");
		for (k = 1; k < i; k++)
			buf_addc(&b, '0');
		buf_adds(&b, ".5}");
		j = parse(b.data);
		assert_int_equal(json_numbers_fit(j), i <= 309);
		json_free(j);
	}
	buf_free(&b);
}

static void
test_has(void **state)
{
	static const char *const yes[] = { "{\"a\":\"x\"}", "{\"a\":[\"x\"]}",
		"{\"a\":[\"y\",\"x\",\"\"]}", "{\"a\":[\"x\",\"x\"]}",
		"{\"a\":\"\\u0078\"}" };
	static const char *const no[] = { "{}", "{\"a\":\"\"}", "{\"a\":\"X\"}",
		"{\"a\":\"xx\"}", "{\"a\":\"x \"}", "{\"a\":[]}",
		"{\"a\":[\"y\"]}", "{\"a\":[\"x\",1]}", "{\"a\":[null,\"x\"]}",
		"{\"a\":[[\"x\"]]}", "{\"a\":{\"x\":\"x\"}}", "{\"a\":null}",
		"{\"a\":1}", "{\"b\":\"x\"}" };
	struct json *j;
	size_t i;

	(void)state;
	for (i = 0; i < N(yes) + N(no); i++) {
		j = parse(i < N(yes) ? yes[i] : no[i - N(yes)]);
		assert_int_equal(json_member_has(j, "a", "x"), i < N(yes));
		json_free(j);
	}
}

/* What json_add_string writes is JSON, and means the same. */
static void
test_add_string(void **state)
{
	struct buf b = { 0 }, all = { 0 };
	const char *s;
	struct json *j;
	size_t len;
	int c;

	(void)state;
	json_add_string(&b, "a\"b\\c\n\x01/\xc3\xbc", 11);
	assert_memory_equal(b.data, "\"a\\\"b\\\\c\\", 9);
	for (c = 1; c < 0x80; c++)
		buf_addc(&all, (char)c);
	buf_adds(&all, "\xc2\x80\xe2\x80\xa8\xf4\x8f\xbf\xbf");
	buf_reset(&b);
	buf_adds(&b, "{\"a\":");
	json_add_string(&b, all.data, all.len);
	buf_addc(&b, '}');
	j = parse(b.data);
	assert_true(json_member_string(j, "a", &s, &len));
	assert_int_equal(len, all.len);
	assert_memory_equal(s, all.data, len);
	json_free(j);
	buf_reset(&b);
	json_add_string(&b, "", 0);
	assert_string_equal(buf_str(&b), "\"\"");
	buf_free(&b);
	buf_free(&all);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_differential),
		cmocka_unit_test(test_prefixes),
		cmocka_unit_test(test_depth),
		cmocka_unit_test(test_number_bounds),
		cmocka_unit_test(test_expansion),
		cmocka_unit_test(test_many_names),
		cmocka_unit_test(test_kinds),
		cmocka_unit_test(test_strings),
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_numbers_fit),
		cmocka_unit_test(test_has),
		cmocka_unit_test(test_add_string),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

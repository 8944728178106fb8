/* token: the shape of the raw bytes, what a good MAC does not excuse, and an
 * allocator that fails: never a yes for a forged token. */
#include "auth/token.h"
#include "base/base64url.h"
#include "base/buf.h"
#include "base/crypto.h"
#include "base/secret.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define NOW 1700000000.0
#define HS256 "{\"alg\":\"HS256\",\"typ\":\"JWT\"}"
#define EXP "\"exp\":1700000100"

static char no_audience[] = "";
static char audience[] = "https://api.example";

static struct config cfg = {
	.jwt_algorithm = CRYPTO_SHA256,
	.jwt_leeway = 30,
	.jwt_require_exp = true,
	.jwt_audience = no_audience,
};

static struct secret key;
static const struct token_key by_key = { &key, NULL, NULL };

/* Sign any bytes as header and payload, as a client with the key can. */
static void
sign(const char *header, const char *payload, enum crypto_hash hash,
    struct buf *out)
{
	unsigned char mac[CRYPTO_MAC_MAX];

	buf_reset(out);
	base64url_encode(out, header, strlen(header));
	buf_addc(out, '.');
	base64url_encode(out, payload, strlen(payload));
	assert_true(
	    crypto_hmac(hash, key.data, key.len, out->data, out->len, mac));
	buf_addc(out, '.');
	base64url_encode(out, mac, crypto_mac_len(hash));
}

static enum problem
judge_at(const char *header, const char *payload, enum crypto_hash hash,
    const struct config *c, double now)
{
	struct token_claims claims = { 0 };
	struct token_parts t;
	struct buf text = { 0 };
	enum problem p;

	sign(header, payload, hash, &text);
	assert_true(token_split(text.data, text.len, &t));
	if (!token_mac_ok(&t, &key, c->jwt_algorithm))
		p = P_INVALID_CREDENTIALS;
	else
		p = token_judge(&t, &by_key, c, now, &claims);
	if (p != P_NONE)
		assert_null(claims.payload.data);
	token_claims_clear(&claims);
	buf_free(&text);
	return p;
}

static enum problem
judge(const char *header, const char *payload)
{
	return judge_at(header, payload, CRYPTO_SHA256, &cfg, NOW);
}

/* covers: RFC8725-3.4, RFC7515-2 */
static void
shape(void **state)
{
	/* 43 characters; the last one has its four unused bits zero. */
	static const char mac[] = "0123456789012345678901234567890123456789012";
	static const char *const bad[] = {
		"",
		".",
		"..",
		"...",
		"e30",
		"e30.e30",
		"e30.e30.",
		"e30..%s",
		".e30.%s",
		"e30.e30.%s.",
		"e30.e30.%s.e30",
		"e30.e30.e30.e30.%s",
		"e30=.e30.%s",
		"e30.e30.%s=",
		"e3 0.e30.%s",
		"e30.e30.%s ",
		" e30.e30.%s",
		"e30.e3+.%s",
		"e30.e3/.%s",
		"e30.e30.%s\n",
		"e.e30.%s",
		"e30.e30ab.%s",
		"e31.e30.%s",
		"e30.e30.A%s",
		"e30.e30.e30",
		"e30.{}.%s",
	};
	struct token_parts t;
	char text[256];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		/* Formats of the table above, with at most one %s. */
		const char *at = strstr(bad[i], "%s");

		if (at == NULL)
			snprintf(text, sizeof text, "%s", bad[i]);
		else
			snprintf(text, sizeof text, "%.*s%s%s",
			    (int)(at - bad[i]), bad[i], mac, at + 2);
		if (token_split(text, strlen(text), &t))
			fail_msg("taken: %s", text);
	}
	snprintf(text, sizeof text, "e30.e30.%s", mac);
	assert_false(token_split(text, strlen(text), &t)); /* not canonical */
	text[strlen(text) - 1] = 'A';
	assert_true(token_split(text, strlen(text), &t));
	text[2] = '\0';
	assert_false(token_split(text, 51, &t)); /* a NUL inside */
}

/* covers: RFC8725-3.4, API4:2023 */
static void
longest(void **state)
{
	struct token_parts t;
	struct buf b = { 0 };
	size_t i;

	(void)state;
	buf_adds(&b, "e30.");
	for (i = 0; b.len < TOKEN_MAX - 44; i++)
		buf_addc(&b, 'A');
	buf_adds(&b, ".AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
	assert_int_equal(b.len, TOKEN_MAX);
	assert_true(token_split(b.data, b.len, &t));
	buf_addc(&b, 'A');
	assert_false(token_split(b.data, b.len, &t));
	buf_free(&b);
}

/* covers: RFC8725-3.1, RFC8725-3.7, RFC8725-3.10, RFC8725-3.11, RFC7515-4,
 * RFC7515-4.1.11, ASVS-V3.5.3 */
static void
headers(void **state)
{
	static const struct {
		const char *header;
		enum problem p;
	} rows[] = {
		{ HS256, P_NONE },
		{ "{\"alg\":\"HS256\"}", P_NONE },
		{ "{\"typ\":\"jwt\",\"alg\":\"HS256\"}", P_NONE },
		{ "{\"alg\":\"HS256\",\"kid\":\"../../etc\"}", P_NONE },
		{ "{\"alg\":\"hs256\"}", P_TOKEN_ALGORITHM },
		{ "{\"alg\":\"none\"}", P_TOKEN_ALGORITHM },
		{ "{\"alg\":\"HS384\"}", P_TOKEN_ALGORITHM },
		{ "{\"alg\":\"RS256\"}", P_TOKEN_ALGORITHM },
		{ "{\"alg\":\"HS256\\u0000\"}", P_TOKEN_MALFORMED },
		{ "{\"alg\":null}", P_TOKEN_ALGORITHM },
		{ "{\"alg\":256}", P_TOKEN_ALGORITHM },
		{ "{\"alg\":[\"HS256\"]}", P_TOKEN_ALGORITHM },
		{ "{}", P_TOKEN_ALGORITHM },
		{ "{\"alg\":\"HS256\",\"alg\":\"HS256\"}", P_TOKEN_MALFORMED },
		{ "{\"alg\":\"none\",\"alg\":\"HS256\"}", P_TOKEN_MALFORMED },
		{ "{\"alg\":\"HS256\",\"\\u0061lg\":\"none\"}",
		    P_TOKEN_MALFORMED },
		{ "{\"alg\":\"HS256\",\"crit\":[\"exp\"]}", P_TOKEN_MALFORMED },
		{ "{\"alg\":\"HS256\",\"crit\":[]}", P_TOKEN_MALFORMED },
		{ "{\"alg\":\"HS256\",\"crit\":null}", P_TOKEN_MALFORMED },
		{ "{\"alg\":\"HS256\",\"typ\":\"at+jwt\"}", P_TOKEN_MALFORMED },
		{ "{\"alg\":\"HS256\",\"typ\":\"JWE\"}", P_TOKEN_MALFORMED },
		{ "{\"alg\":\"HS256\",\"typ\":1}", P_TOKEN_MALFORMED },
		{ "{\"alg\":\"HS256\",\"typ\":null}", P_TOKEN_MALFORMED },
		{ "[]", P_TOKEN_MALFORMED },
		{ "\"HS256\"", P_TOKEN_MALFORMED },
		{ "{\"alg\":\"HS256\"", P_TOKEN_MALFORMED },
		{ "{\"alg\":\"HS256\"} x", P_TOKEN_MALFORMED },
		{ "\xef\xbb\xbf{\"alg\":\"HS256\"}", P_TOKEN_MALFORMED },
		{ "{'alg':'HS256'}", P_TOKEN_MALFORMED },
	};
	size_t i, k;

	(void)state;
	/* Again, and again after a good one: what is known of that, or was
	 * read before, changes nothing. */
	for (i = 0; i < sizeof rows / sizeof rows[0]; i++)
		for (k = 0; k < 3; k++) {
			if (judge(rows[i].header, "{" EXP "}") != rows[i].p)
				fail_msg("header %s", rows[i].header);
			if (k > 0)
				assert_int_equal(
				    judge(HS256, "{" EXP "}"), P_NONE);
		}
}

/* covers: RFC8725-3.7, RFC8725-3.8, RFC7515-4, RFC7519-2, RFC7519-4.1 */
static void
claims(void **state)
{
	static const struct {
		const char *payload;
		enum problem p;
	} rows[] = {
		{ "{" EXP "}", P_NONE },
		{ "{" EXP ",\"sub\":\"u\"}", P_NONE },
		{ "{\"exp\":1700000000.5}", P_NONE },
		{ "{\"exp\":1699999971}", P_NONE }, /* within the leeway */
		{ "{\"exp\":1699999970}", P_TOKEN_EXPIRED },
		{ "{\"exp\":0}", P_TOKEN_EXPIRED },
		{ "{\"exp\":-1}", P_TOKEN_EXPIRED },
		{ "{\"exp\":1e300}", P_NONE },
		{ "{}", P_TOKEN_WITHOUT_EXP },
		{ "{\"exp\":null}", P_TOKEN_MALFORMED },
		{ "{\"exp\":\"1700000100\"}", P_TOKEN_MALFORMED },
		{ "{\"exp\":true}", P_TOKEN_MALFORMED },
		{ "{\"exp\":[1700000100]}", P_TOKEN_MALFORMED },
		{ "{\"exp\":{}}", P_TOKEN_MALFORMED },
		{ "{\"exp\":NaN}", P_TOKEN_MALFORMED },
		{ "{\"exp\":Infinity}", P_TOKEN_MALFORMED },
		{ "{\"exp\":-Infinity}", P_TOKEN_MALFORMED },
		{ "{\"exp\":1e}", P_TOKEN_MALFORMED },
		{ "{\"exp\":01700000100}", P_TOKEN_MALFORMED },
		{ "{\"exp\":+1700000100}", P_TOKEN_MALFORMED },
		{ "{\"exp\":\"1e999\"}", P_TOKEN_MALFORMED },
		{ "{" EXP ",\"nbf\":1700000030}", P_NONE },
		{ "{" EXP ",\"nbf\":1700000031}", P_TOKEN_NOT_YET_VALID },
		{ "{" EXP ",\"nbf\":\"0\"}", P_TOKEN_MALFORMED },
		{ "{" EXP ",\"iat\":1700000031}", P_TOKEN_NOT_YET_VALID },
		{ "{" EXP ",\"iat\":1}", P_NONE },
		{ "{" EXP ",\"iat\":\"1\"}", P_TOKEN_MALFORMED },
		{ "{" EXP ",\"sub\":\"\"}", P_TOKEN_SUBJECT },
		{ "{" EXP ",\"sub\":null}", P_TOKEN_SUBJECT },
		{ "{" EXP ",\"sub\":0}", P_TOKEN_SUBJECT },
		{ "{" EXP ",\"sub\":1.5}", P_TOKEN_SUBJECT },
		{ "{" EXP ",\"sub\":false}", P_TOKEN_SUBJECT },
		{ "{" EXP ",\"sub\":[]}", P_TOKEN_SUBJECT },
		{ "{" EXP ",\"sub\":[\"u\"]}", P_TOKEN_SUBJECT },
		{ "{" EXP ",\"sub\":{}}", P_TOKEN_SUBJECT },
		{ "{" EXP "," EXP "}", P_TOKEN_MALFORMED },
		{ "{" EXP ",\"a\":{\"b\":1,\"b\":2}}", P_TOKEN_MALFORMED },
		{ "{" EXP ",\"a\":\"\xc0\xaf\"}", P_TOKEN_MALFORMED },
		{ "{" EXP ",\"a\":\"\xed\xa0\x80\"}", P_TOKEN_MALFORMED },
		{ "{" EXP ",\"a\":\"\\ud800\"}", P_TOKEN_MALFORMED },
		{ "{" EXP ",\"a\":\"\\u0000\"}", P_TOKEN_MALFORMED },
		{ "[]", P_TOKEN_MALFORMED },
		{ "[1,2]", P_TOKEN_MALFORMED },
		{ "null", P_TOKEN_MALFORMED },
		{ "1", P_TOKEN_MALFORMED },
		{ "{" EXP "}{}", P_TOKEN_MALFORMED },
		{ "{" EXP ",}", P_TOKEN_MALFORMED },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof rows / sizeof rows[0]; i++)
		if (judge(HS256, rows[i].payload) != rows[i].p)
			fail_msg("payload %s: %s", rows[i].payload,
			    problem_code(judge(HS256, rows[i].payload)));
}

/* Header or payload with the number where its %s is. */
static char *
with(const char *fmt, const char *number)
{
	static char text[256];
	const char *at = strstr(fmt, "%s");

	snprintf(text, sizeof text, "%.*s%s%s", (int)(at - fmt), fmt, number,
	    at + 2);
	return text;
}

static void
expect(enum problem p, enum problem wanted, const char *number)
{
	if (p != wanted)
		fail_msg("%s: %s, not %s", number, problem_code(p),
		    problem_code(wanted));
}

static void
large_anywhere(const char *n)
{
	static const char *const payloads[] = { "{" EXP ",\"uid\":%s}",
		"{\"uid\":%s," EXP "}", "{" EXP ",\"a\":[{\"b\":[%s]}]}",
		"{" EXP ",\"\\u0061\":%s}" };
	static const char header[] = "{\"alg\":\"HS256\",\"x\":%s}";
	size_t i;

	for (i = 0; i < sizeof payloads / sizeof payloads[0]; i++)
		expect(judge(HS256, with(payloads[i], n)), P_NONE, n);
	/* Twice: the header may be known by then. */
	expect(judge(with(header, n), "{" EXP "}"), P_NONE, n);
	expect(judge(with(header, n), "{" EXP "}"), P_NONE, n);
}

static void
large_time(const char *n, bool ahead)
{
	enum problem early = ahead ? P_TOKEN_NOT_YET_VALID : P_NONE;
	struct config c = cfg;

	expect(judge(HS256, with("{\"exp\":%s}", n)),
	    ahead ? P_NONE : P_TOKEN_EXPIRED, n);
	expect(judge(HS256, with("{" EXP ",\"nbf\":%s}", n)), early, n);
	expect(judge(HS256, with("{" EXP ",\"iat\":%s}", n)), early, n);
	c.jwt_max_age = 60;
	expect(judge_at(HS256, with("{" EXP ",\"iat\":%s}", n), CRYPTO_SHA256,
		   &c, NOW),
	    ahead ? P_TOKEN_NOT_YET_VALID : P_TOKEN_TOO_OLD, n);
}

static void
large_excuses_nothing(const char *n)
{
	expect(
	    judge(HS256, with("{" EXP ",\"sub\":%s}", n)), P_TOKEN_SUBJECT, n);
	expect(judge(HS256, with("{" EXP ",\"a\":%s,\"a\":1}", n)),
	    P_TOKEN_MALFORMED, n);
	expect(judge(with("{\"alg\":\"none\",\"x\":%s}", n), "{" EXP "}"),
	    P_TOKEN_ALGORITHM, n);
	expect(judge(with("{\"alg\":\"HS256\",\"crit\":%s}", n), "{" EXP "}"),
	    P_TOKEN_MALFORMED, n);
}

/*
 * A number is a number of any size, wherever it stands; libjwt's parser can't
 * hold some of these. As exp, nbf and iat: far ahead, or long past.
 */
/* covers: RFC7519-2, RFC7519-4.1 */
static void
large_numbers(void **state)
{
	static const struct {
		const char *number;
		bool ahead;
	} rows[] = {
		{ "9223372036854775807", true },
		{ "9223372036854775808", true },
		{ "10014255632117358197", true },
		{ "18446744073709551615", true },
		{ "18446744073709551616", true },
		{ "100000000000000000000000000000000000000000000", true },
		{ "9223372036854775808.5", true },
		{ "1e300", true },
		{ "1.7976931348623157e308", true },
		{ "1e309", true },
		{ "1e400", true },
		{ "1E+999999999999", true },
		{ "-9223372036854775808", false },
		{ "-9223372036854775809", false },
		{ "-18446744073709551616", false },
		{ "-1e308", false },
		{ "-1e400", false },
		{ "-1e999999", false },
		{ "1e-400", false },
		{ "1e-999999", false },
		{ "0e999999", false },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		large_anywhere(rows[i].number);
		large_time(rows[i].number, rows[i].ahead);
		large_excuses_nothing(rows[i].number);
	}
}

/* covers: RFC8725-3.9, RFC7519-4.1 */
static void
settings(void **state)
{
	struct config c = cfg;

	(void)state;
	c.jwt_require_exp = false;
	assert_int_equal(judge_at(HS256, "{}", CRYPTO_SHA256, &c, NOW), P_NONE);
	assert_int_equal(judge_at(HS256, "{\"exp\":1}", CRYPTO_SHA256, &c, NOW),
	    P_TOKEN_EXPIRED);
	c.jwt_max_age = 60;
	assert_int_equal(
	    judge_at(HS256, "{}", CRYPTO_SHA256, &c, NOW), P_TOKEN_WITHOUT_IAT);
	assert_int_equal(
	    judge_at(HS256, "{\"iat\":1699999911}", CRYPTO_SHA256, &c, NOW),
	    P_NONE);
	assert_int_equal(
	    judge_at(HS256, "{\"iat\":1699999909}", CRYPTO_SHA256, &c, NOW),
	    P_TOKEN_TOO_OLD);
	c = cfg;
	c.jwt_audience = audience;
	assert_int_equal(judge_at(HS256, "{" EXP "}", CRYPTO_SHA256, &c, NOW),
	    P_TOKEN_AUDIENCE);
	assert_int_equal(
	    judge_at(HS256, "{" EXP ",\"aud\":[\"x\",\"https://api.example\"]}",
		CRYPTO_SHA256, &c, NOW),
	    P_NONE);
	assert_int_equal(
	    judge_at(HS256, "{" EXP ",\"aud\":\"https://api.example/\"}",
		CRYPTO_SHA256, &c, NOW),
	    P_TOKEN_AUDIENCE);
}

/* covers: RFC8725-3.1, RFC8725-3.2, ASVS-V6.2.4, ASVS-V6.2.5 */
static void
algorithms(void **state)
{
	static const char hs512[] = "{\"alg\":\"HS512\"}";
	static const char hs384[] = "{\"alg\":\"HS384\"}";
	struct config c = cfg;

	(void)state;
	assert_int_equal(judge_at(hs512, "{" EXP "}", CRYPTO_SHA512, &c, NOW),
	    P_INVALID_CREDENTIALS);
	assert_int_equal(judge_at(hs512, "{" EXP "}", CRYPTO_SHA256, &c, NOW),
	    P_TOKEN_ALGORITHM);
	c.jwt_algorithm = CRYPTO_SHA512;
	assert_int_equal(
	    judge_at(hs512, "{" EXP "}", CRYPTO_SHA512, &c, NOW), P_NONE);
	assert_int_equal(judge_at(hs512, "{" EXP "}", CRYPTO_SHA512, &cfg, NOW),
	    P_INVALID_CREDENTIALS);
	/* The header is known, but not as good for this. */
	assert_int_equal(judge_at(hs512, "{" EXP "}", CRYPTO_SHA256, &cfg, NOW),
	    P_TOKEN_ALGORITHM);
	assert_int_equal(
	    judge_at(hs512, "{" EXP "}", CRYPTO_SHA512, &c, NOW), P_NONE);
	assert_int_equal(judge_at(hs384, "{" EXP "}", CRYPTO_SHA384, &c, NOW),
	    P_INVALID_CREDENTIALS);
	/* The MAC and the name must be of the key's algorithm. */
	assert_int_equal(judge_at(HS256, "{" EXP "}", CRYPTO_SHA512, &c, NOW),
	    P_TOKEN_ALGORITHM);
}

/* covers: RFC8725-3.3, ASVS-V3.5.3 */
static void
empty_key(void **state)
{
	struct secret none = { 0 };
	const struct token_key by_none = { &none, NULL, NULL };
	struct token_claims c = { 0 };
	struct token_parts t;
	struct buf text = { 0 };

	(void)state;
	sign(HS256, "{" EXP "}", CRYPTO_SHA256, &text);
	assert_true(token_split(text.data, text.len, &t));
	assert_false(token_mac_ok(&t, &none, CRYPTO_SHA256));
	assert_int_not_equal(token_judge(&t, &by_none, &cfg, NOW, &c), P_NONE);
	buf_free(&text);
}

/* Each bit of a good token changed once: none verifies. */
/* covers: RFC8725-3.3, ASVS-V3.5.3 */
static void
every_bit(void **state)
{
	struct token_parts t;
	struct buf text = { 0 };
	size_t i;
	int bit;

	(void)state;
	sign(HS256, "{" EXP "}", CRYPTO_SHA256, &text);
	for (i = 0; i < text.len; i++)
		for (bit = 0; bit < 8; bit++) {
			text.data[i] = (char)(text.data[i] ^ (1 << bit));
			if (token_split(text.data, text.len, &t))
				assert_false(
				    token_mac_ok(&t, &key, CRYPTO_SHA256));
			text.data[i] = (char)(text.data[i] ^ (1 << bit));
		}
	buf_free(&text);
}

static void
minted(void **state)
{
	struct token_claims c = { 0 };
	struct token_parts t;
	struct buf text = { 0 };

	(void)state;
	assert_true(token_mint(
	    &key, CRYPTO_SHA256, "{" EXP ",\"sub\":\"J\\u00fcrgen\"}", &text));
	assert_true(token_split(text.data, text.len, &t));
	assert_true(token_mac_ok(&t, &key, CRYPTO_SHA256));
	assert_int_equal(token_judge(&t, &by_key, &cfg, NOW, &c), P_NONE);
	assert_true(c.has_sub);
	assert_string_equal(buf_str(&c.sub), "J\xc3\xbcrgen");
	token_claims_clear(&c);
	buf_reset(&text);
	assert_false(token_mint(&key, CRYPTO_SHA256, "[]", &text));
	buf_free(&text);
}

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#endif

#ifndef SANITIZED /* which has an allocator of its own */
/* An allocator that fails the nth time, for this program and all libraries. */
#define EXPORTED __attribute__((visibility("default"))) void *
extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
static volatile long fail_at; /* 0 = never */

static volatile long calls;

static int
fails(void)
{
	calls++;
	return fail_at > 0 && --fail_at == 0;
}

EXPORTED
malloc(size_t n)
{
	return fails() ? NULL : __libc_malloc(n);
}

EXPORTED
calloc(size_t a, size_t b)
{
	return fails() ? NULL : __libc_calloc(a, b);
}

EXPORTED
realloc(void *p, size_t n)
{
	return fails() ? NULL : __libc_realloc(p, n);
}

enum { YES = 0, NO = 1, UNTOUCHED = 2, DIED = -1 };

/* Not under valgrind, which has an allocator of its own, too. */
static bool
allocator_is_ours(void)
{
	long before = calls;

	free(strdup("x"));
	return calls != before;
}

/*
 * In a child: judge a token while the nth allocation fails; out of memory may
 * end the process. UNTOUCHED is a yes with fewer than n allocations. Without
 * the MAC check libjwt alone has to see the forgery.
 */
static int
judge_starved(const struct buf *text, bool check_mac, long nth)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		struct token_claims c = { 0 };
		struct token_parts t;
		bool yes;

		signal(SIGSEGV, SIG_DFL); /* not cmocka's */
		signal(SIGABRT, SIG_DFL);
		fail_at = nth;
		yes = token_split(text->data, text->len, &t) &&
		      (!check_mac || token_mac_ok(&t, &key, CRYPTO_SHA256)) &&
		      token_judge(&t, &by_key, &cfg, NOW, &c) == P_NONE;
		_exit(!yes ? NO : fail_at == 0 ? YES : UNTOUCHED);
	}
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : DIED;
}

/* covers: RFC8725-3.1, RFC8725-3.3, ASVS-V6.2.1 */
static void
starved(void **state)
{
	struct buf good = { 0 }, forged = { 0 };
	long n;
	int rc;

	(void)state;
	sign(HS256, "{" EXP "}", CRYPTO_SHA256, &good);
	buf_add(&forged, good.data, good.len);
	forged.data[forged.len - 2] =
	    forged.data[forged.len - 2] == 'A' ? 'B' : 'A';
	for (n = 1; n < 1000; n++) {
		rc = judge_starved(&forged, true, n);
		assert_true(rc == NO || rc == DIED);
		rc = judge_starved(&forged, false, n);
		assert_true(rc == NO || rc == DIED);
		if (judge_starved(&good, true, n) == UNTOUCHED)
			break;
	}
	/* libjwt's and its JSON library's allocations count, too. */
	assert_in_range(n, 30, 999);
	buf_free(&good);
	buf_free(&forged);
}
#endif

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(shape), cmocka_unit_test(longest),
		cmocka_unit_test(headers), cmocka_unit_test(claims),
		cmocka_unit_test(large_numbers), cmocka_unit_test(settings),
		cmocka_unit_test(algorithms), cmocka_unit_test(empty_key),
		cmocka_unit_test(every_bit), cmocka_unit_test(minted),
#ifndef SANITIZED
		cmocka_unit_test(starved), /* the last */
#endif
	};
	size_t n = sizeof tests / sizeof tests[0];
	int rc;

#ifndef SANITIZED
	n -= !allocator_is_ours();
#endif
	secret_init();
	secret_set(&key,
	    "6f0c0e5f7be2a3b1c4d5968778695a4b3c2d1e0f112233445566778899aabbcc",
	    64);
	rc = _cmocka_run_group_tests("token", tests, n, NULL, NULL);
	secret_clear(&key);
	return rc;
}

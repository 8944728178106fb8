/* auth/verdict_table.h and auth/material.h: what is known of a token is what
 * reading it gives, for as long as its owner is asked for; bounds, order,
 * wiping. */
#include "auth/key_cache.h"
#include "auth/material.h"
#include "base/base64url.h"
#include "base/crypto.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define NOW 1700000000.0
#define HEADER "{\"alg\":\"HS256\"}"
#define EXP "\"exp\":1700000100"

static char nothing[] = "", service[] = "https://api.example";

static struct config cfg = {
	.jwt_algorithm = CRYPTO_SHA256,
	.jwt_leeway = 30,
	.jwt_require_exp = true,
	.jwt_audience = nothing,
};

/* A material, and a token that it signed. */
struct fixture {
	struct material m;
	struct buf text;
	struct token_parts t;
};

static void
sign_as(struct fixture *f, const char *header, enum crypto_hash hash,
    const char *payload)
{
	const struct config c = { .jwt_algorithm = hash };
	const struct judging j = { .cfg = &c };
	unsigned char mac[CRYPTO_MAC_MAX];
	struct buf *b = &f->text;

	buf_reset(b);
	base64url_encode(b, header, strlen(header));
	buf_addc(b, '.');
	base64url_encode(b, payload, strlen(payload));
	assert_true(crypto_hmac(
	    hash, f->m.secret.data, f->m.secret.len, b->data, b->len, mac));
	buf_addc(b, '.');
	base64url_encode(b, mac, crypto_mac_len(hash));
	assert_true(token_split(b->data, b->len, &f->t));
	assert_true(material_verifies(&f->m, &f->t, &j));
}

static void
sign(struct fixture *f, const char *payload)
{
	sign_as(f, HEADER, CRYPTO_SHA256, payload);
}

static void
begin(struct fixture *f, const char *secret)
{
	memset(f, 0, sizeof *f);
	secret_set(&f->m.secret, secret, strlen(secret));
	verdict_owner_begin(&f->m.verdicts);
}

static void
end(struct fixture *f)
{
	material_clear(&f->m);
	buf_free(&f->text);
}

static bool
knows(struct verdicts *vs, const struct fixture *f)
{
	struct token_claims c = { 0 };
	bool yes = verdicts_find(vs, &f->m.verdicts, &f->t, &c);

	token_claims_clear(&c);
	return yes;
}

static enum problem
judge(struct verdicts *vs, struct fixture *f, const struct config *c,
    double now, struct token_claims *claims)
{
	const struct judging j = { c, vs, "", now };

	return material_judge(&f->m, &f->t, &j, claims);
}

static enum problem
judge_at(struct verdicts *vs, struct fixture *f, double now)
{
	struct token_claims c = { 0 };
	enum problem p = judge(vs, f, &cfg, now, &c);

	token_claims_clear(&c);
	return p;
}

static void
assert_same(const struct token_claims *a, const struct token_claims *b)
{
	assert_string_equal(buf_str(&a->payload), buf_str(&b->payload));
	assert_int_equal(a->has_sub, b->has_sub);
	assert_int_equal(a->sub.len, b->sub.len);
	assert_memory_equal(buf_str(&a->sub), buf_str(&b->sub), a->sub.len);
	assert_int_equal(a->own_reading, b->own_reading);
	assert_int_equal(a->times.has_exp, b->times.has_exp);
	assert_int_equal(a->times.has_nbf, b->times.has_nbf);
	assert_int_equal(a->times.has_iat, b->times.has_iat);
	assert_true(!a->times.has_exp || a->times.exp == b->times.exp);
}

/* Is it known after it was judged, and judged alike then? */
/* covers: RFC8725-3.3 */
static void
test_known(void **state)
{
	static const struct {
		const char *payload;
		bool known;
	} rows[] = {
		{ "{" EXP "}", true },
		{ "{" EXP ",\"sub\":\"ada\"}", true },
		{ "{" EXP ",\"sub\":\"J\\u00fcrgen\",\"nbf\":1,\"iat\":2.5}",
		    true },
		{ "{" EXP ",\"a\":{\"b\":[1,2]},\"s\":\"\\\"\"}", true },
		{ "{\"exp\":18446744073709551615}", true },
		{ "{\"exp\":1e400}", true },
		/* Refusals, by each of the steps. */
		{ "{}", false },
		{ "{\"exp\":1}", false },
		{ "{\"exp\":\"1\"}", false },
		{ "{" EXP ",\"nbf\":1800000000}", false },
		{ "{" EXP ",\"iat\":1800000000}", false },
		{ "{" EXP ",\"sub\":\"\"}", false },
		{ "{" EXP ",\"sub\":null}", false },
		{ "{" EXP "," EXP "}", false },
		{ "{" EXP ",}", false },
		{ "[]", false },
	};
	struct verdicts *vs = verdicts_new(64);
	struct token_claims cold = { 0 }, warm = { 0 };
	struct fixture f;
	enum problem p;
	size_t i;

	(void)state;
	begin(&f, "0123456789abcdef0123456789abcdef");
	for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		sign(&f, rows[i].payload);
		assert_false(knows(vs, &f));
		p = judge(vs, &f, &cfg, NOW, &cold);
		if (knows(vs, &f) != rows[i].known)
			fail_msg("%s", rows[i].payload);
		assert_int_equal(p == P_NONE, rows[i].known);
		assert_int_equal(judge(vs, &f, &cfg, NOW, &warm), p);
		assert_same(&cold, &warm);
		token_claims_clear(&cold);
		token_claims_clear(&warm);
	}
	end(&f);
	verdicts_free(vs);
}

/* The longest subject that is kept, and one that is longer. */
static void
test_long_subjects(void **state)
{
	struct verdicts *vs = verdicts_new(64);
	struct fixture f;
	char payload[256];
	int n;

	(void)state;
	begin(&f, "0123456789abcdef0123456789abcdef");
	for (n = VERDICT_SUB_MAX - 1; n <= VERDICT_SUB_MAX + 1; n++) {
		snprintf(payload, sizeof payload, "{" EXP ",\"sub\":\"%0*d\"}",
		    n, 7);
		sign(&f, payload);
		assert_int_equal(judge_at(vs, &f, NOW), P_NONE);
		assert_int_equal(knows(vs, &f), n <= VERDICT_SUB_MAX);
		assert_int_equal(judge_at(vs, &f, NOW), P_NONE);
	}
	end(&f);
	verdicts_free(vs);
}

/* What the clock and the settings say is asked at each use. */
/* covers: RFC8725-3.3 */
static void
test_judged_again(void **state)
{
	struct verdicts *vs = verdicts_new(64);
	struct token_claims c = { 0 };
	struct config other = cfg;
	struct fixture f;

	(void)state;
	begin(&f, "0123456789abcdef0123456789abcdef");
	sign(&f, "{" EXP ",\"nbf\":1699999900,\"iat\":1699999900}");
	assert_int_equal(judge_at(vs, &f, NOW), P_NONE);
	assert_true(knows(vs, &f));
	assert_int_equal(judge_at(vs, &f, NOW + 129), P_NONE);
	assert_int_equal(judge_at(vs, &f, NOW + 130), P_TOKEN_EXPIRED);
	assert_int_equal(judge_at(vs, &f, NOW - 131), P_TOKEN_NOT_YET_VALID);
	assert_int_equal(judge_at(vs, &f, NOW), P_NONE);
	other.jwt_max_age = 60;
	assert_int_equal(judge(vs, &f, &other, NOW, &c), P_TOKEN_TOO_OLD);
	assert_null(c.payload.data);
	end(&f);
	verdicts_free(vs);
}

static void
test_audience(void **state)
{
	struct verdicts *vs = verdicts_new(64);
	struct token_claims c = { 0 };
	struct config wants = cfg;
	struct fixture f;
	int i;

	(void)state;
	wants.jwt_audience = service;
	begin(&f, "0123456789abcdef0123456789abcdef");
	for (i = 0; i < 2; i++) {
		sign(&f, "{" EXP ",\"aud\":\"https://other.example\"}");
		assert_int_equal(
		    judge(vs, &f, &wants, NOW, &c), P_TOKEN_AUDIENCE);
		assert_false(knows(vs, &f));
		sign(&f, "{" EXP ",\"aud\":[\"x\",\"https://api.example\"]}");
		assert_int_equal(judge(vs, &f, &wants, NOW, &c), P_NONE);
		assert_true(knows(vs, &f));
		token_claims_clear(&c);
	}
	end(&f);
	verdicts_free(vs);
}

static void
test_single_use(void **state)
{
	struct verdicts *vs = verdicts_new(64);
	struct token_claims c = { 0 };
	struct config once = cfg;
	struct fixture f;
	int i;

	(void)state;
	once.jwt_single_use = true;
	begin(&f, "0123456789abcdef0123456789abcdef");
	sign(&f, "{" EXP ",\"jti\":\"one\"}");
	/* Also one that is known, if only by mistake. */
	for (i = 0; i < 2; i++) {
		assert_int_equal(judge(vs, &f, &once, NOW, &c), P_NONE);
		assert_string_equal(buf_str(&c.jti), "one");
		token_claims_clear(&c);
		assert_int_equal(knows(vs, &f), i > 0);
		assert_int_equal(judge_at(vs, &f, NOW), P_NONE);
	}
	end(&f);
	verdicts_free(vs);
}

/* The same token, byte by byte, under another owner or after its end. */
/* covers: RFC8725-3.3 */
static void
test_owners(void **state)
{
	struct verdicts *vs = verdicts_new(64);
	struct fixture a, b;

	(void)state;
	begin(&a, "0123456789abcdef0123456789abcdef");
	begin(&b, "0123456789abcdef0123456789abcdef");
	assert_true(a.m.verdicts.serial != b.m.verdicts.serial);
	sign(&a, "{" EXP "}");
	sign(&b, "{" EXP "}");
	assert_memory_equal(a.t.signature, b.t.signature, a.t.signature_len);
	assert_int_equal(judge_at(vs, &a, NOW), P_NONE);
	assert_true(knows(vs, &a));
	assert_false(knows(vs, &b));
	verdict_owner_end(&a.m.verdicts);
	assert_false(knows(vs, &a));
	/* None is kept of an owner that has ended... */
	assert_int_equal(judge_at(vs, &a, NOW), P_NONE);
	assert_false(knows(vs, &a));
	assert_null(a.m.verdicts.first);
	/* ...and none comes back with the next one in its place. */
	verdict_owner_begin(&a.m.verdicts);
	assert_false(knows(vs, &a));
	assert_int_equal(judge_at(vs, &a, NOW), P_NONE);
	assert_true(knows(vs, &a));
	assert_false(knows(vs, &b));
	end(&a);
	end(&b);
	verdicts_free(vs);
}

/* A MAC's first 32 bytes are looked for. */
/* covers: RFC8725-3.3 */
static void
test_digest(void **state)
{
	struct verdicts *vs = verdicts_new(8);
	struct fixture f;
	size_t i;

	(void)state;
	begin(&f, "0123456789abcdef0123456789abcdef");
	sign(&f, "{" EXP "}");
	assert_int_equal(judge_at(vs, &f, NOW), P_NONE);
	for (i = 0; i < 8 * sizeof f.t.digest; i++) {
		f.t.digest[i / 8] ^= (unsigned char)(1 << i % 8);
		assert_false(knows(vs, &f));
		f.t.digest[i / 8] ^= (unsigned char)(1 << i % 8);
	}
	assert_true(knows(vs, &f));
	end(&f);
	verdicts_free(vs);
}

static void
test_algorithms(void **state)
{
	struct verdicts *vs = verdicts_new(8);
	struct token_claims c = { 0 };
	struct config all = cfg;
	struct fixture f;

	(void)state;
	all.jwt_algorithm = CRYPTO_SHA512;
	begin(&f, "0123456789abcdef0123456789abcdef");
	sign_as(&f, "{\"alg\":\"HS512\"}", CRYPTO_SHA512, "{" EXP "}");
	assert_int_equal(judge(vs, &f, &all, NOW, &c), P_NONE);
	token_claims_clear(&c);
	assert_true(knows(vs, &f));
	all.jwt_algorithm = CRYPTO_SHA384;
	sign_as(&f, "{\"alg\":\"HS384\"}", CRYPTO_SHA384, "{" EXP "}");
	assert_false(knows(vs, &f));
	assert_int_equal(judge(vs, &f, &all, NOW, &c), P_NONE);
	token_claims_clear(&c);
	assert_true(knows(vs, &f));
	end(&f);
	verdicts_free(vs);
}

static void
sign_nth(struct fixture *f, unsigned n)
{
	char payload[64];

	snprintf(payload, sizeof payload, "{" EXP ",\"sub\":\"user-%u\"}", n);
	sign(f, payload);
}

static size_t
count(struct verdicts *vs, struct fixture *f, unsigned n)
{
	size_t known = 0;
	unsigned i;

	for (i = 0; i < n; i++) {
		sign_nth(f, i);
		known += knows(vs, f);
	}
	return known;
}

/* Of more tokens than there are places; the least recently used goes. */
static void
test_bounds(void **state)
{
	static const size_t sizes[] = { 0, 1, 2, 7, 8, 9, 64, 100 };
	struct verdicts *vs;
	struct fixture f;
	size_t i, known;
	unsigned n;

	(void)state;
	begin(&f, "0123456789abcdef0123456789abcdef");
	for (i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		vs = verdicts_new(sizes[i]);
		for (n = 0; n < 1000; n++) {
			sign_nth(&f, n);
			assert_int_equal(judge_at(vs, &f, NOW), P_NONE);
			assert_int_equal(knows(vs, &f), sizes[i] > 0);
		}
		known = count(vs, &f, 1000);
		assert_in_range(known, sizes[i] / 8 * 8, sizes[i]);
		verdict_owner_end(&f.m.verdicts);
		verdict_owner_begin(&f.m.verdicts);
		assert_int_equal(count(vs, &f, 1000), 0);
		verdicts_free(vs);
	}
	end(&f);
}

static void
test_least_recently_used(void **state)
{
	struct verdicts *vs = verdicts_new(8); /* one set */
	struct fixture f;
	unsigned n;

	(void)state;
	begin(&f, "0123456789abcdef0123456789abcdef");
	for (n = 0; n < 100; n++) {
		sign_nth(&f, 0);
		assert_int_equal(judge_at(vs, &f, NOW), P_NONE);
		sign_nth(&f, 1 + n);
		assert_int_equal(judge_at(vs, &f, NOW), P_NONE);
		sign_nth(&f, 0);
		assert_true(knows(vs, &f));
	}
	end(&f);
	verdicts_free(vs);
}

/* What was there of a verdict is wiped where it was. */
static void
test_wiped(void **state)
{
	static const unsigned char zero[192];
	struct verdicts *vs = verdicts_new(64);
	const void *place;
	struct fixture f;

	(void)state;
	begin(&f, "0123456789abcdef0123456789abcdef");
	sign(&f, "{" EXP ",\"sub\":\"someone\"}");
	assert_int_equal(judge_at(vs, &f, NOW), P_NONE);
	place = f.m.verdicts.first;
	assert_non_null(place);
	assert_memory_not_equal(place, zero, sizeof zero);
	verdict_owner_end(&f.m.verdicts);
	assert_memory_equal(place, zero, sizeof zero);
	end(&f);
	verdicts_free(vs);
}

/* -- with the key cache */

static struct key_entry *
make_entry(const char *public_key, const struct fixture *f)
{
	struct app row = { .id = 1,
		.public_key = (char *)(uintptr_t)public_key };
	struct key_entry *e = key_entry_new(&row, false);

	e->state = KEY_OPEN;
	secret_set(&e->current.secret, f->m.secret.data, f->m.secret.len);
	secret_set(&e->previous.secret, f->m.secret.data, f->m.secret.len);
	return e;
}

static enum problem
use(struct verdicts *vs, struct material *m, const struct fixture *f)
{
	const struct judging j = { &cfg, vs, "", NOW };
	struct token_claims c = { 0 };
	enum problem p = material_judge(m, &f->t, &j, &c);

	token_claims_clear(&c);
	return p;
}

static bool
is_known(struct verdicts *vs, const struct material *m, const struct fixture *f)
{
	struct token_claims c = { 0 };
	bool yes = verdicts_find(vs, &m->verdicts, &f->t, &c);

	token_claims_clear(&c);
	return yes;
}

/* Each way out of the cache, while somebody holds the entry. */
static void
test_entry_goes(void **state)
{
	static const char one[] = "00000000000000000000000000000001";
	static const char two[] = "00000000000000000000000000000002";
	const struct key_time late = { .now_us = 2000, .told_us = 2000 };
	struct verdicts *vs = verdicts_new(64);
	struct key_cache *kc = key_cache_new(1, 1000);
	struct key_entry *e, *other;
	struct fixture f;
	int way;

	(void)state;
	begin(&f, "0123456789abcdef0123456789abcdef");
	sign(&f, "{" EXP ",\"sub\":\"ada\"}");
	for (way = 0; way < 5; way++) {
		e = make_entry(one, &f);
		/* Not in the cache yet: nothing is kept. */
		assert_int_equal(use(vs, &e->current, &f), P_NONE);
		assert_false(is_known(vs, &e->current, &f));
		key_cache_store(kc, e, 0);
		assert_int_equal(use(vs, &e->current, &f), P_NONE);
		assert_true(is_known(vs, &e->current, &f));
		/* One secret's verdict is not the other's. */
		assert_false(is_known(vs, &e->previous, &f));
		assert_int_equal(use(vs, &e->previous, &f), P_NONE);
		assert_true(is_known(vs, &e->previous, &f));
		other = make_entry(way == 3 ? two : one, &f);
		if (way == 0)
			key_cache_drop(kc, one);
		else if (way == 1)
			key_cache_clear(kc);
		else if (way == 2 || way == 3)
			key_cache_store(kc, other, 0);
		else
			assert_null(key_cache_find(kc, one, &late));
		assert_null(e->current.verdicts.first);
		assert_null(e->previous.verdicts.first);
		assert_false(is_known(vs, &e->current, &f));
		assert_false(is_known(vs, &e->previous, &f));
		assert_false(is_known(vs, &other->current, &f));
		/* Nothing is stored for one that is marked changed, or gone. */
		assert_int_equal(use(vs, &e->current, &f), P_NONE);
		assert_null(e->current.verdicts.first);
		key_entry_release(e);
		key_entry_release(other);
	}
	key_cache_free(kc);
	end(&f);
	verdicts_free(vs);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_known),
		cmocka_unit_test(test_long_subjects),
		cmocka_unit_test(test_judged_again),
		cmocka_unit_test(test_audience),
		cmocka_unit_test(test_single_use),
		cmocka_unit_test(test_owners),
		cmocka_unit_test(test_digest),
		cmocka_unit_test(test_algorithms),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_least_recently_used),
		cmocka_unit_test(test_wiped),
		cmocka_unit_test(test_entry_goes),
	};

	secret_init();
	return cmocka_run_group_tests_name("verdict", tests, NULL, NULL);
}

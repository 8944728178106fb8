/* material_reseal: from each key and format to the current one, and nothing
 * else. */
#include "auth/material.h"
#include "base/buf.h"
#include "base/crypto.h"
#include "base/hex.h"
#include "base/seal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const char PUBLIC[] = "5b1e0c77a2f94d3886e5b0c19d2f7a44";
static const char OTHER[] = "5b1e0c77a2f94d3886e5b0c19d2f7a45";
static const char RAW[] = "thirty-two bytes of a secret key";

enum { NOW, THEN, EARLIER, LOST, MASTERS };

static struct master_key masters[MASTERS];
static struct config cfg;

static int
setup(void **state)
{
	static const char *const hex[MASTERS] = {
		"9f1c4be2a07d5836c2e81f94d3b7605a"
		"e4926b0fd871c35a4ce0937f16b28d05",
		"0c5e9b1d7f42a8630d91e7c4b25f6a83",
		"e16f0a9c5b7d2348a1c96e0f7d5b3824c8f0a6e19d7b5234",
		"7a0d4c9e1b6f8325d7e90a4c6b1f8352",
	};
	const char *why;
	int i;

	(void)state;
	for (i = 0; i < MASTERS; i++)
		assert_true(
		    master_key_init(&masters[i], hex[i], strlen(hex[i]), &why));
	cfg.master_key = masters[NOW];
	cfg.master_keys_old.key[0] = masters[THEN];
	cfg.master_keys_old.key[1] = masters[EARLIER];
	cfg.master_keys_old.n = 2;
	return 0;
}

static int
teardown(void **state)
{
	int i;

	(void)state;
	for (i = 0; i < MASTERS; i++)
		master_key_clear(&masters[i]);
	return 0;
}

/* As goliauth seals: no additional data. */
static void
seal_unbound(const struct master_key *mk, struct buf *out)
{
	unsigned char box[CRYPTO_NONCE_LEN + sizeof RAW - 1 + CRYPTO_TAG_LEN];
	char hex[2 * sizeof box + 1];
	const struct crypto_gcm g = { mk->key.data, mk->key.len, box,
		CRYPTO_NONCE_LEN, NULL, 0 };

	crypto_random(box, CRYPTO_NONCE_LEN);
	assert_true(
	    crypto_gcm_seal(&g, RAW, sizeof RAW - 1, box + CRYPTO_NONCE_LEN));
	hex_encode(box, sizeof box, hex);
	buf_adds(out, hex);
}

static void
seal_bound(const struct master_key *mk, const char *public_key, struct buf *out)
{
	struct secret raw = { 0 };

	secret_set(&raw, RAW, sizeof RAW - 1);
	seal_key(mk, public_key, &raw, out);
	secret_clear(&raw);
}

static void
assert_resealed(const char *key_id, const struct buf *sealed)
{
	const struct sealed was = { PUBLIC, key_id, buf_str(sealed) };
	struct buf anew = { 0 };
	struct secret raw = { 0 };

	assert_int_equal(material_reseal(&cfg, &was, &anew), ST_OK);
	assert_string_not_equal(buf_str(&anew), buf_str(sealed));
	assert_int_equal(seal_open(&masters[NOW], masters[NOW].id, PUBLIC,
			     buf_str(&anew), &raw),
	    ST_OK);
	assert_int_equal(raw.len, sizeof RAW - 1);
	assert_memory_equal(raw.data, RAW, raw.len);
	secret_clear(&raw);
	assert_int_equal(seal_open(&masters[NOW], masters[NOW].id, OTHER,
			     buf_str(&anew), &raw),
	    ST_BROKEN);
	assert_int_equal(
	    seal_open(&masters[NOW], NULL, PUBLIC, buf_str(&anew), &raw),
	    ST_BROKEN);
	buf_free(&anew);
}

/* covers: ASVS-V6.2.4 */
static void
from_each_key(void **state)
{
	struct buf sealed = { 0 };
	int i;

	(void)state;
	for (i = NOW; i <= EARLIER; i++) {
		buf_reset(&sealed);
		seal_bound(&masters[i], PUBLIC, &sealed);
		assert_resealed(masters[i].id, &sealed);
		buf_reset(&sealed);
		seal_unbound(&masters[i], &sealed);
		assert_resealed(NULL, &sealed);
	}
	buf_free(&sealed);
}

static void
assert_refused(const char *key_id, const char *sealed, enum status want)
{
	const struct sealed was = { PUBLIC, key_id, sealed };
	struct buf anew = { 0 };

	assert_int_equal(material_reseal(&cfg, &was, &anew), want);
	assert_int_equal(anew.len, 0);
	buf_free(&anew);
}

/* covers: ASVS-V6.2.7 */
static void
what_does_not_open(void **state)
{
	struct buf sealed = { 0 };

	(void)state;
	seal_bound(&masters[LOST], PUBLIC, &sealed);
	assert_refused(masters[LOST].id, buf_str(&sealed), ST_KEY_MISSING);
	/* Under a name that is another's. */
	assert_refused(masters[THEN].id, buf_str(&sealed), ST_BROKEN);
	assert_refused(NULL, buf_str(&sealed), ST_BROKEN);
	assert_refused("", buf_str(&sealed), ST_KEY_MISSING);
	buf_reset(&sealed);
	seal_unbound(&masters[LOST], &sealed);
	assert_refused(NULL, buf_str(&sealed), ST_BROKEN);
	buf_reset(&sealed);
	seal_bound(&masters[THEN], OTHER, &sealed);
	assert_refused(masters[THEN].id, buf_str(&sealed), ST_BROKEN);
	assert_refused(masters[THEN].id, "", ST_BROKEN);
	assert_refused(NULL, "zz", ST_BROKEN);
	buf_free(&sealed);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(from_each_key),
		cmocka_unit_test(what_does_not_open),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}

/* crypto and seal: published vectors, round trips, and what must not open. */
#include "base/buf.h"
#include "base/crypto.h"
#include "base/hex.h"
#include "base/seal.h"

#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char MASTER[] = "9f1c4be2a07d5836c2e81f94d3b7605a"
			     "e4926b0fd871c35a4ce0937f16b28d05";
static const char PUBLIC[] = "5b1e0c77a2f94d3886e5b0c19d2f7a44";

/* covers: ASVS-V6.2.2 */
static void
hmac_vectors(void **state)
{
	/* RFC 4231, test case 2. */
	static const struct {
		enum crypto_hash hash;
		const char *mac;
	} v[] = {
		{ CRYPTO_SHA256, "5bdcc146bf60754e6a042426089575c7"
				 "5a003f089d2739839dec58b964ec3843" },
		{ CRYPTO_SHA384, "af45d2e376484031617f78d2b58a6b1b"
				 "9c7ef464f5a01b47e42ec3736322445e"
				 "8e2240ca5e69e2c78b3239ecfab21649" },
		{ CRYPTO_SHA512, "164b7a7bfcf819e2e395fbe73b56e0a3"
				 "87bd64222e831fd610270cd7ea250554"
				 "9758bf75c05a994a6d034f65f8f0e6fd"
				 "caeab1a34d4a6b4b636e070a38bce737" },
	};
	static const char text[] = "what do ya want for nothing?";
	unsigned char mac[CRYPTO_MAC_MAX];
	char hex[2 * CRYPTO_MAC_MAX + 1];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof v / sizeof v[0]; i++) {
		assert_true(
		    crypto_hmac(v[i].hash, "Jefe", 4, text, strlen(text), mac));
		hex_encode(mac, crypto_mac_len(v[i].hash), hex);
		assert_string_equal(hex, v[i].mac);
	}
	assert_false(crypto_hmac(CRYPTO_SHA256, "", 0, "x", 1, mac));
}

/* covers: ASVS-V6.2.1, ASVS-V6.2.2, ASVS-V6.2.3 */
static void
gcm_vector(void **state)
{
	/* The GCM specification (McGrew, Viega), test case 4: with
	 * additional data. */
	static const char key[] = "feffe9928665731c6d6a8f9467308308";
	static const char iv[] = "cafebabefacedbaddecaf888";
	static const char aad[] = "feedfacedeadbeeffeedfacedeadbeefabaddad2";
	static const char plain[] =
	    "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
	    "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39";
	static const char sealed[] =
	    "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e"
	    "21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091"
	    "5bc94fbc3221a5db94fae95ae7121a47";
	unsigned char k[16], n[12], a[20], p[60], c[76], back[60];
	char hex[153];
	struct crypto_gcm g = { k, sizeof k, n, sizeof n, a, sizeof a };

	(void)state;
	assert_true(hex_decode(key, 32, k, sizeof k));
	assert_true(hex_decode(iv, 24, n, sizeof n));
	assert_true(hex_decode(aad, 40, a, sizeof a));
	assert_true(hex_decode(plain, 120, p, sizeof p));
	assert_true(crypto_gcm_seal(&g, p, 60, c));
	hex_encode(c, 76, hex);
	assert_string_equal(hex, sealed);
	assert_true(crypto_gcm_open(&g, c, 60, back));
	assert_memory_equal(p, back, 60);
	c[75] ^= 1;
	assert_false(crypto_gcm_open(&g, c, 60, back));
	memset(p, 0, sizeof p);
	assert_memory_equal(p, back, 60); /* wiped */
	c[75] ^= 1;
	g.noncelen = 16; /* another length is no nonce of ours */
	assert_false(crypto_gcm_seal(&g, p, 60, c));
	assert_false(crypto_gcm_open(&g, c, 60, back));
	g.noncelen = sizeof n;
	g.keylen = 15;
	assert_false(crypto_gcm_open(&g, c, 60, back));
}

/* covers: RFC8725-3.5, ASVS-V2.10.2 */
static void
master_keys(void **state)
{
	static const char *const bad[] = {
		"",
		"9f1c4be2a07d5836c2e81f94d3b7605",
		"9f1c4be2a07d5836c2e81f94d3b7605g",
		"00000000000000000000000000000000",
		"ffffffffffffffffffffffffffffffffffffffffffffffff",
		"000102030405060708090a0b0c0d0e0f",
		"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e"
		"1f",
		"0f0e0d0c0b0a09080706050403020100",
		"0123456789abcdef0123456789abcdef",
		"deadbeefdeadbeefdeadbeefdeadbeef",
		"2b7e151628aed2a6abf7158809cf4f3c",
	};
	static const size_t lens[] = { 32, 48, 64 };
	struct master_key mk = { 0 };
	const char *why;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		why = NULL;
		assert_false(
		    master_key_init(&mk, bad[i], strlen(bad[i]), &why));
		assert_non_null(why);
		master_key_clear(&mk);
	}
	for (i = 0; i < sizeof lens / sizeof lens[0]; i++) {
		assert_true(master_key_init(&mk, MASTER, lens[i], &why));
		assert_int_equal(mk.key.len, lens[i] / 2);
		assert_int_equal(strlen(mk.id), SEAL_KEY_ID_LEN);
		master_key_clear(&mk);
	}
}

static void
either_case(void **state)
{
	struct master_key mk = { 0 }, up = { 0 };
	char upper[65];
	const char *why;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof upper; i++)
		upper[i] = (char)toupper((unsigned char)MASTER[i]);
	assert_true(master_key_init(&mk, MASTER, 64, &why));
	assert_true(master_key_init(&up, upper, 64, &why));
	assert_string_equal(mk.id, up.id);
	master_key_clear(&mk);
	master_key_clear(&up);
}

/* covers: ASVS-V6.2.6 */
static void
round_trip(void **state)
{
	struct master_key mk = { 0 };
	struct secret raw = { 0 }, back = { 0 };
	struct buf a = { 0 }, b = { 0 };
	const char *why;
	size_t len;

	(void)state;
	assert_true(master_key_init(&mk, MASTER, 64, &why));
	for (len = 16; len <= 64; len += 16) {
		secret_new(&raw, len);
		crypto_random(raw.data, len);
		buf_reset(&a);
		buf_reset(&b);
		seal_key(&mk, PUBLIC, &raw, &a);
		seal_key(&mk, PUBLIC, &raw, &b);
		assert_int_equal(a.len, 2 * (len + 28));
		assert_string_not_equal(buf_str(&a), buf_str(&b));
		assert_int_equal(
		    seal_open(&mk, mk.id, PUBLIC, buf_str(&a), &back), ST_OK);
		assert_int_equal(back.len, len);
		assert_memory_equal(back.data, raw.data, len);
		secret_clear(&back);
		secret_clear(&raw);
	}
	buf_free(&a);
	buf_free(&b);
	master_key_clear(&mk);
}

/* Every byte changed, every cut, another row, another format: none opens. */
/* covers: ASVS-V6.2.1, ASVS-V6.2.7 */
static void
never_opens(void **state)
{
	struct master_key mk = { 0 };
	struct secret raw = { 0 }, back = { 0 };
	struct buf box = { 0 };
	const char *why;
	size_t i, len;
	char saved;

	(void)state;
	assert_true(master_key_init(&mk, MASTER, 64, &why));
	secret_new(&raw, 32);
	crypto_random(raw.data, 32);
	seal_key(&mk, PUBLIC, &raw, &box);
	len = box.len;
	for (i = 0; i < len; i++) {
		saved = box.data[i];
		box.data[i] = saved == '0' ? '1' : '0';
		assert_int_equal(
		    seal_open(&mk, mk.id, PUBLIC, box.data, &back), ST_BROKEN);
		box.data[i] = 'G';
		assert_int_equal(
		    seal_open(&mk, mk.id, PUBLIC, box.data, &back), ST_BROKEN);
		box.data[i] = '\0';
		assert_int_equal(
		    seal_open(&mk, mk.id, PUBLIC, box.data, &back), ST_BROKEN);
		box.data[i] = saved;
	}
	assert_int_equal(
	    seal_open(&mk, mk.id, "5b1e0c77a2f94d3886e5b0c19d2f7a45", box.data,
		&back),
	    ST_BROKEN);
	/* The downgrade: our ciphertext passed off as goliauth's. */
	assert_int_equal(
	    seal_open(&mk, NULL, PUBLIC, box.data, &back), ST_BROKEN);
	assert_int_equal(
	    seal_open(&mk, "0000000000000000", PUBLIC, box.data, &back),
	    ST_KEY_MISSING);
	assert_null(back.data);
	secret_clear(&raw);
	buf_free(&box);
	master_key_clear(&mk);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hmac_vectors),
		cmocka_unit_test(gcm_vector),
		cmocka_unit_test(master_keys),
		cmocka_unit_test(either_case),
		cmocka_unit_test(round_trip),
		cmocka_unit_test(never_opens),
	};

	secret_init();
	return cmocka_run_group_tests_name("seal", tests, NULL, NULL);
}

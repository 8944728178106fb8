/* public_key and jwk: which keys are taken and which are not, what they are
 * called, and what they verify. */
#include "base/base64url.h"
#include "base/buf.h"
#include "base/crypto_key.h"
#include "base/json.h"
#include "base/jwk.h"
#include "base/public_key.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "pem.h"

/* RFC 7515 appendices A.2 and A.3, RFC 8037 appendix A.2 */
#define N                                                                      \
	"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw" \
	"-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b3269" \
	"0r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS" \
	"-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aG" \
	"hyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXp" \
	"oQ"
#define X "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"
#define Y "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"
#define POINT "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"

#define RSA "\"kty\":\"RSA\",\"n\":\"" N "\",\"e\":\"AQAB\""
#define EC "\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" X "\",\"y\":\"" Y "\""
#define OKP "\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"" POINT "\""

#define CLAIMS                                                                 \
	"eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxl" \
	"LmNvbS9pc19yb290Ijp0cnVlfQ"

static struct public_key *
read_key(const char *text, const char **why)
{
	return jwk_key_from_text(text, strlen(text), why);
}

static struct public_key *
must_read(const char *text)
{
	const char *why = NULL;
	struct public_key *k = read_key(text, &why);

	if (k == NULL)
		fail_msg("%s: %s", why, text);
	return k;
}

static void
assert_refused(const char *text, const char *word)
{
	const char *why = NULL;
	struct public_key *k = read_key(text, &why);

	if (k != NULL)
		fail_msg("taken: %s", text);
	assert_non_null(why);
	if (strstr(why, word) == NULL)
		fail_msg("'%s' is not in '%s': %s", word, why, text);
}

/* Written and read again it is the same. */
static void
assert_canonical(struct public_key *k)
{
	const struct buf *der = public_key_der(k);
	struct public_key *again;
	const char *why;
	size_t i;

	assert_true(der->len <= PUBLIC_KEY_DER_MAX);
	again =
	    public_key_from_der(public_key_alg(k), der->data, der->len, &why);
	assert_non_null(again);
	assert_true(public_key_same(k, again));
	public_key_free(again);
	again = must_read(public_key_pem(k));
	assert_string_equal(public_key_kid(again), public_key_kid(k));
	public_key_free(again);
	for (i = 0; i < PUBLIC_KEY_ALGS; i++) {
		again = public_key_from_der(
		    (enum public_key_alg)i, der->data, der->len, &why);
		if (again != NULL)
			assert_string_equal(
			    public_key_kid(again), public_key_kid(k));
		public_key_free(again);
		again = public_key_from_der(
		    (enum public_key_alg)i, der->data, der->len - 1, &why);
		assert_null(again);
	}
}

/* covers: RFC8725-3.1, RFC8725-3.2 */
static void
jwks(void **state)
{
	static const struct {
		const char *alg, *text;
	} good[] = {
		{ "RS256", "{" RSA "}" },
		{ "RS256", "{" RSA ",\"alg\":\"RS256\",\"use\":\"sig\"}" },
		{ "RS256", "{" RSA ",\"key_ops\":[\"verify\"],\"ext\":true}" },
		{ "RS256", "{" RSA ",\"key_ops\":[\"sign\",\"verify\"]}" },
		{ "RS256", "{" RSA ",\"kid\":\"x\",\"x5c\":[\"MIIC\"],"
			   "\"x5u\":\"https://x.example\"}" },
		{ "ES256", " \n{" EC "}\n" },
		{ "ES256", "{" EC ",\"alg\":\"ES256\",\"kid\":null}" },
		{ "EdDSA/Ed25519", "{" OKP "}" },
		{ "EdDSA", "{" OKP ",\"alg\":\"EdDSA\"}" },
		{ "Ed25519", "{" OKP ",\"alg\":\"Ed25519\"}" },
	};
	struct public_key *k;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof good / sizeof good[0]; i++) {
		k = must_read(good[i].text);
		assert_string_equal(
		    public_key_alg_name(public_key_alg(k)), good[i].alg);
		assert_canonical(k);
		public_key_free(k);
	}
}

/* covers: RFC8725-3.1, RFC8725-3.4, RFC8725-3.5 */
static void
bad_jwks(void **state)
{
	static const struct {
		const char *why, *text;
	} bad[] = {
		{ "JSON", "{" },
		{ "JSON", "{}x" },
		{ "twice", "{" RSA ",\"e\":\"AQAB\"}" },
		{ "twice", "{" RSA ",\"\\u006b\\u0074\\u0079\":\"RSA\"}" },
		{ "neither", "" },
		{ "neither", "[]" },
		{ "neither", "\"x\"" },
		{ "none of", "{}" },
		{ "none of", "{\"kty\":1}" },
		{ "none of",
		    "{\"kty\":\"rsa\",\"n\":\"" N "\",\"e\":\"AQAB\"}" },
		{ "none of",
		    "{\"kty\":\"OKP\",\"crv\":\"Ed448\",\"x\":\"" POINT "\"}" },
		{ "none of",
		    "{\"kty\":\"OKP\",\"crv\":\"X25519\",\"x\":\"" POINT
		    "\"}" },
		{ "none of", "{\"kty\":\"EC\",\"crv\":\"P-384\",\"x\":\"" X
			     "\",\"y\":\"" Y "\"}" },
		{ "none of", "{\"kty\":\"EC\",\"crv\":\"secp256k1\",\"x\":\"" X
			     "\",\"y\":\"" Y "\"}" },
		{ "none of", "{\"kty\":\"EC\",\"crv\":\"p-256\",\"x\":\"" X
			     "\",\"y\":\"" Y "\"}" },
		{ "none of", "{\"kty\":\"EC\",\"crv\":\"Ed25519\",\"x\":\"" X
			     "\",\"y\":\"" Y "\"}" },
		{ "set of", "{\"keys\":[{" RSA "}]}" },
		{ "private", "{\"kty\":\"oct\",\"k\":\"AAAA\"}" },
		{ "private", "{" RSA ",\"d\":\"AQAB\"}" },
		{ "private", "{" RSA ",\"p\":\"AQAB\"}" },
		{ "private", "{" RSA ",\"q\":\"AQAB\"}" },
		{ "private", "{" RSA ",\"dp\":\"AQAB\"}" },
		{ "private", "{" RSA ",\"dq\":\"AQAB\"}" },
		{ "private", "{" RSA ",\"qi\":\"AQAB\"}" },
		{ "private", "{" RSA ",\"oth\":[]}" },
		{ "private", "{" EC ",\"d\":null}" },
		{ "private", "{" OKP ",\"d\":\"\"}" },
		{ "private", "{" OKP ",\"k\":\"\"}" },
		{ "alg", "{" RSA ",\"alg\":\"RS512\"}" },
		{ "alg", "{" RSA ",\"alg\":\"PS256\"}" },
		{ "alg", "{" RSA ",\"alg\":\"rs256\"}" },
		{ "alg", "{" RSA ",\"alg\":\"ES256\"}" },
		{ "alg", "{" RSA ",\"alg\":\"HS256\"}" },
		{ "alg", "{" RSA ",\"alg\":\"none\"}" },
		{ "alg", "{" RSA ",\"alg\":\"RSA-OAEP\"}" },
		{ "alg", "{" RSA ",\"alg\":null}" },
		{ "alg", "{" RSA ",\"alg\":[\"RS256\"]}" },
		{ "alg", "{" EC ",\"alg\":\"ES384\"}" },
		{ "alg", "{" EC ",\"alg\":\"ES256K\"}" },
		{ "alg", "{" OKP ",\"alg\":\"Ed448\"}" },
		{ "alg", "{" OKP ",\"alg\":\"eddsa\"}" },
		{ "use", "{" RSA ",\"use\":\"enc\"}" },
		{ "use", "{" RSA ",\"use\":\"SIG\"}" },
		{ "use", "{" RSA ",\"use\":1}" },
		{ "use", "{" EC ",\"use\":null}" },
		{ "key_ops", "{" RSA ",\"key_ops\":[]}" },
		{ "key_ops", "{" RSA ",\"key_ops\":[\"sign\"]}" },
		{ "key_ops", "{" RSA ",\"key_ops\":\"verify\"}" },
		{ "key_ops", "{" RSA ",\"key_ops\":null}" },
		{ "key_ops", "{" RSA ",\"key_ops\":[\"verify\",1]}" },
		{ "key_ops", "{" RSA ",\"key_ops\":[\"verify\",\"encrypt\"]}" },
		{ "key_ops",
		    "{" EC ",\"key_ops\":[\"verify\",\"deriveKey\"]}" },
		{ "e is not", "{\"kty\":\"RSA\",\"n\":\"" N "\"}" },
		{ "e is not",
		    "{\"kty\":\"RSA\",\"n\":\"" N "\",\"e\":\"AQ\"}" },
		{ "e is not",
		    "{\"kty\":\"RSA\",\"n\":\"" N "\",\"e\":\"Aw\"}" },
		{ "e is not",
		    "{\"kty\":\"RSA\",\"n\":\"" N "\",\"e\":\"AAEAAQ\"}" },
		{ "e is not", "{\"kty\":\"RSA\",\"n\":\"" N "\",\"e\":65537}" },
		{ "e is not",
		    "{\"kty\":\"RSA\",\"n\":\"" N "\",\"e\":\"AQAC\"}" },
		{ "number", "{\"kty\":\"RSA\",\"e\":\"AQAB\"}" },
		{ "number", "{\"kty\":\"RSA\",\"n\":1,\"e\":\"AQAB\"}" },
		{ "number",
		    "{\"kty\":\"RSA\",\"n\":\"" N "=\",\"e\":\"AQAB\"}" },
		{ "number",
		    "{\"kty\":\"RSA\",\"n\":\"" N "==\",\"e\":\"AQAB\"}" },
		{ "number",
		    "{\"kty\":\"RSA\",\"n\":\" " N "\",\"e\":\"AQAB\"}" },
		{ "zero octet", "{\"kty\":\"RSA\",\"n\":\"\",\"e\":\"AQAB\"}" },
		{ "zero octet",
		    "{\"kty\":\"RSA\",\"n\":\"AAAA\",\"e\":\"AQAB\"}" },
		{ "4096", "{\"kty\":\"RSA\",\"n\":\"AQAB\",\"e\":\"AQAB\"}" },
		{ "4096",
		    "{\"kty\":\"RSA\",\"n\":\"" N N N "\",\"e\":\"AQAB\"}" },
		{ "curve", "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" Y
			   "\",\"y\":\"" X "\"}" },
		{ "curve", "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":"
			   "\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\","
			   "\"y\":"
			   "\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}" },
		{ "number", "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" X
			    "AA\",\"y\":\"" Y "\"}" },
		{ "32 octets",
		    "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AAAA" Y
		    "\",\"y\":\"" Y "\"}" },
		{ "32 octets",
		    "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AAAA\","
		    "\"y\":\"" Y "\"}" },
		{ "number",
		    "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" X "\"}" },
		{ "number", "{\"kty\":\"OKP\",\"crv\":\"Ed25519\"}" },
		{ "32 octets", "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":"
			       "\"AAAA\"}" },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_refused(bad[i].text, bad[i].why);
}

/* covers: RFC8725-3.5 */
static void
pems(void **state)
{
	struct public_key *k;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof good_pem / sizeof good_pem[0]; i++) {
		k = must_read(good_pem[i].pem);
		assert_string_equal(
		    public_key_alg_name(public_key_alg(k)), good_pem[i].alg);
		assert_string_equal(public_key_pem(k), good_pem[i].pem);
		assert_canonical(k);
		public_key_free(k);
	}
	for (i = 0; i < sizeof bad_pem / sizeof bad_pem[0]; i++)
		assert_refused(bad_pem[i].pem, bad_pem[i].why);
}

/* RFC 7638 section 3.1, RFC 8037 appendix A.3 */
static void
thumbprints(void **state)
{
	static const char rfc7638[] =
	    "{\"kty\":\"RSA\",\"n\":\"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAF"
	    "bWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n"
	    "3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR"
	    "0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91Cb"
	    "OpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniI"
	    "qbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw\",\"e\":\"AQAB\",\"alg\":"
	    "\"RS256\",\"kid\":\"2011-04-29\"}";
	struct public_key *k = must_read(rfc7638);

	(void)state;
	assert_string_equal(
	    public_key_kid(k), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
	public_key_free(k);
	k = must_read("{" OKP "}");
	assert_string_equal(
	    public_key_kid(k), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
	public_key_free(k);
}

static bool
verifies(const struct public_key *k, const char *text, const char *sig)
{
	struct buf raw = { 0 };
	bool ok;

	assert_true(base64url_decode(sig, strlen(sig), &raw));
	ok = public_key_verify(
	    k, text, strlen(text), (const unsigned char *)raw.data, raw.len);
	buf_free(&raw);
	return ok;
}

static const struct {
	const char *key, *text, *sig;
} signatures[] = {
	{ "{" RSA "}", "eyJhbGciOiJSUzI1NiJ9." CLAIMS,
	    "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AA"
	    "uHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAyn"
	    "RFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZR"
	    "mB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnv"
	    "Wh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_Ioy"
	    "pGlUPQGe77Rw" },
	{ "{" EC "}", "eyJhbGciOiJFUzI1NiJ9." CLAIMS,
	    "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApm"
	    "WQxfKTUJqPP3-Kg6NU1Q" },
	{ "{" OKP "}",
	    "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc",
	    "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhV"
	    "sPt9g7sVvpAr_MuM0KAg" },
};
enum { SIGNATURES = sizeof signatures / sizeof signatures[0] };

/* covers: RFC8725-3.3 */
static void
published(void **state)
{
	struct public_key *k;
	char text[512], sig[512];
	size_t i, j;

	(void)state;
	for (i = 0; i < SIGNATURES; i++) {
		k = must_read(signatures[i].key);
		assert_true(verifies(k, signatures[i].text, signatures[i].sig));
		for (j = 0; j < SIGNATURES; j++)
			assert_int_equal(i == j,
			    verifies(k, signatures[i].text, signatures[j].sig));
		strcpy(text, signatures[i].text);
		text[7] ^= 1;
		assert_false(verifies(k, text, signatures[i].sig));
		for (j = 0; j < 40; j++) {
			strcpy(sig, signatures[i].sig);
			sig[j] = sig[j] == 'A' ? 'B' : 'A';
			assert_false(verifies(k, signatures[i].text, sig));
		}
		public_key_free(k);
	}
}

/* Of lengths, and of numbers that no signature has. */
static void
no_signatures(void **state)
{
	/* r and s, each 0, 1, n - 1, n, or the greatest; FIPS 186-5 section
	 * 6.4.2 */
	static const char *const numbers[] = {
		"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
		"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE",
		"_____wAAAAD__________7zm-q2nF56E87nKwvxjJVA",
		"_____wAAAAD__________7zm-q2nF56E87nKwvxjJVE",
		"__________________________________________8",
	};
	enum { NUMBERS = sizeof numbers / sizeof numbers[0] };
	struct public_key *k;
	struct buf sig = { 0 };
	unsigned char zeros[CRYPTO_SIGNATURE_MAX + 1] = { 0 };
	size_t i, j;

	(void)state;
	k = must_read("{" EC "}");
	for (i = 0; i < NUMBERS; i++)
		for (j = 0; j < NUMBERS; j++) {
			buf_reset(&sig);
			assert_true(base64url_decode(numbers[i], 43, &sig));
			assert_true(base64url_decode(numbers[j], 43, &sig));
			assert_int_equal(sig.len, 64);
			assert_false(public_key_verify(k, "x", 1,
			    (const unsigned char *)sig.data, sig.len));
		}
	public_key_free(k);
	for (i = 0; i < SIGNATURES; i++) {
		k = must_read(signatures[i].key);
		for (j = 0; j <= sizeof zeros; j++)
			assert_false(public_key_verify(k, "x", 1, zeros, j));
		public_key_free(k);
	}
	buf_free(&sig);
}

/* The eight of small order (RFC 7748's curve has no others), the ways to spell
 * ys that are too large, and one that is on no list. */
/* covers: RFC8725-3.4 */
static void
ed25519_points(void **state)
{
	static const struct {
		const char *why;
		unsigned char first, middle, last;
	} bad[] = {
		{ "small order", 0x00, 0x00, 0x00 },
		{ "small order", 0x00, 0x00, 0x80 },
		{ "small order", 0x01, 0x00, 0x00 },
		{ "small order", 0x01, 0x00, 0x80 },
		{ "small order", 0xec, 0xff, 0x7f },
		{ "small order", 0xec, 0xff, 0xff },
		{ "one way", 0xed, 0xff, 0x7f },
		{ "one way", 0xed, 0xff, 0xff },
		{ "one way", 0xee, 0xff, 0x7f },
		{ "one way", 0xee, 0xff, 0xff },
		{ "one way", 0xff, 0xff, 0x7f },
		{ "one way", 0xff, 0xff, 0xff },
	};
	static const char *const small[] = {
		"JuiVj8KyJ7BFw_SJ8u-Y8NXfrAXTxjM5sTgCiG1T_AU",
		"JuiVj8KyJ7BFw_SJ8u-Y8NXfrAXTxjM5sTgCiG1T_IU",
		"xxdqcD1N2E-6PAt2DRBnDyogU_osOczGTsf9d5KsA3o",
		"xxdqcD1N2E-6PAt2DRBnDyogU_osOczGTsf9d5KsA_o",
	};
	unsigned char point[32];
	struct buf text = { 0 };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		memset(point, bad[i].middle, sizeof point);
		point[0] = bad[i].first;
		point[31] = bad[i].last;
		buf_reset(&text);
		buf_adds(
		    &text, "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"");
		base64url_encode(&text, point, sizeof point);
		buf_adds(&text, "\"}");
		assert_refused(buf_str(&text), bad[i].why);
	}
	for (i = 0; i < sizeof small / sizeof small[0]; i++) {
		buf_reset(&text);
		buf_addf(&text,
		    "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"%s\"}",
		    small[i]);
		assert_refused(buf_str(&text), "small order");
	}
	buf_free(&text);
}

/* By y: which of the smallest have an x, and either sign of it. */
/* covers: RFC8725-3.4 */
static void
ed25519_curve(void **state)
{
	static const unsigned char none[] = { 2, 7, 8, 11, 12, 13, 17, 20, 22,
		31 };
	unsigned char point[32] = { 0 };
	struct public_key *k;
	struct buf text = { 0 };
	unsigned y, sign;

	(void)state;
	for (y = 2; y < 34; y++)
		for (sign = 0; sign < 2; sign++) {
			point[0] = (unsigned char)y;
			point[31] = (unsigned char)(sign << 7);
			buf_reset(&text);
			buf_adds(&text,
			    "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"");
			base64url_encode(&text, point, sizeof point);
			buf_adds(&text, "\"}");
			if (memchr(none, (int)y, sizeof none) != NULL) {
				assert_refused(buf_str(&text), "curve");
				continue;
			}
			k = must_read(buf_str(&text));
			public_key_free(k);
		}
	buf_free(&text);
}

/* covers: RFC8725-3.1 */
static void
names(void **state)
{
	static const char *const tokens[] = { "RS256", "ES256", "EdDSA",
		"Ed25519", "EdDSA/Ed25519", "rs256", "RS512", "PS256", "HS256",
		"none", "" };
	/* By enum public_key_alg: which of tokens it takes. */
	static const unsigned takes[PUBLIC_KEY_ALGS] = { 1, 2, 4, 8, 4 | 8 };
	enum public_key_alg found;
	unsigned a, i;

	(void)state;
	for (a = 0; a < PUBLIC_KEY_ALGS; a++) {
		const char *name = public_key_alg_name((enum public_key_alg)a);

		assert_true(public_key_alg_find(name, strlen(name), &found));
		assert_int_equal(found, a);
		assert_false(
		    public_key_alg_find(name, strlen(name) - 1, &found));
		for (i = 0; i < sizeof tokens / sizeof tokens[0]; i++)
			assert_int_equal(takes[a] >> i & 1,
			    public_key_alg_is((enum public_key_alg)a, tokens[i],
				strlen(tokens[i])));
		name = public_key_alg_told((enum public_key_alg)a);
		assert_true(public_key_alg_is(
		    (enum public_key_alg)a, name, strlen(name)));
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(jwks),
		cmocka_unit_test(bad_jwks),
		cmocka_unit_test(pems),
		cmocka_unit_test(thumbprints),
		cmocka_unit_test(published),
		cmocka_unit_test(no_signatures),
		cmocka_unit_test(ed25519_points),
		cmocka_unit_test(ed25519_curve),
		cmocka_unit_test(names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * Key pairs in libcrypto, beside crypto.c the one file that meets it. Where
 * it has no memory the process ends: that is no verdict about a signature.
 */
#include "base/crypto_key.h"

#include "base/mem.h"

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <string.h>

enum { ED25519_SIGNATURE = 64, DER_MAX = 2 + 2 * (3 + CRYPTO_COORDINATE) };
enum { EXPONENT = 65537, GROUP_MAX = 64 };

struct crypto_key {
	enum crypto_key_kind kind;
	EVP_PKEY *pkey;
	size_t signature_len;
};

static void
must(bool done)
{
	if (!done)
		abort();
}

/* Whatever it was that libcrypto said no to, it had the memory to look. */
static void
must_have_looked(void)
{
	unsigned long e;

	while ((e = ERR_get_error()) != 0)
		must(ERR_GET_REASON(e) != ERR_R_MALLOC_FAILURE);
}

static EVP_PKEY *
from_params(const char *type, OSSL_PARAM *params)
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
	EVP_PKEY *pkey = NULL;

	must(ctx != NULL && EVP_PKEY_fromdata_init(ctx) == 1);
	if (EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_PUBLIC_KEY, params) != 1)
		pkey = NULL;
	EVP_PKEY_CTX_free(ctx);
	return pkey;
}

static EVP_PKEY *
rsa_new(const unsigned char *p, size_t len)
{
	unsigned char native[CRYPTO_SIGNATURE_MAX];
	unsigned e = EXPONENT;
	OSSL_PARAM params[3];
	BIGNUM *n;

	if (len > sizeof native)
		return NULL;
	n = BN_bin2bn(p, (int)len, NULL);
	must(n != NULL && BN_bn2nativepad(n, native, (int)len) == (int)len);
	BN_free(n);
	params[0] = OSSL_PARAM_construct_BN(OSSL_PKEY_PARAM_RSA_N, native, len);
	params[1] = OSSL_PARAM_construct_uint(OSSL_PKEY_PARAM_RSA_E, &e);
	params[2] = OSSL_PARAM_construct_end();
	return from_params("RSA", params);
}

static EVP_PKEY *
p256_new(const unsigned char *p, size_t len)
{
	unsigned char point[1 + 2 * CRYPTO_COORDINATE] = { 4 };
	char group[] = "P-256";
	OSSL_PARAM params[3];

	if (len != sizeof point - 1)
		return NULL;
	memcpy(point + 1, p, len);
	params[0] = OSSL_PARAM_construct_utf8_string(
	    OSSL_PKEY_PARAM_GROUP_NAME, group, 0);
	params[1] = OSSL_PARAM_construct_octet_string(
	    OSSL_PKEY_PARAM_PUB_KEY, point, sizeof point);
	params[2] = OSSL_PARAM_construct_end();
	return from_params("EC", params);
}

/*
 * Is there a point with this y (RFC 8032 section 5.1.3)? x² = u / v is a square
 * where u v is one; libcrypto doesn't look before it verifies, and then no
 * signature would do. Its two points with x = 0 are none that anybody holds.
 */
static bool
is_ed25519_point(const unsigned char *point)
{
	static const unsigned char constant[CRYPTO_COORDINATE] = { 0x52, 0x03,
		0x6c, 0xee, 0x2b, 0x6f, 0xfe, 0x73, 0x8c, 0xc7, 0x40, 0x79,
		0x77, 0x79, 0xe8, 0x98, 0x00, 0x70, 0x0a, 0x4d, 0x41, 0x41,
		0xd8, 0xab, 0x75, 0xeb, 0x4d, 0xca, 0x13, 0x59, 0x78, 0xa3 };
	unsigned char text[CRYPTO_COORDINATE];
	BN_CTX *ctx = BN_CTX_new();
	BIGNUM *p = BN_new(), *u = BN_new(), *v = BN_new();
	BIGNUM *d = BN_bin2bn(constant, sizeof constant, NULL), *y;
	int symbol;

	memcpy(text, point, sizeof text);
	text[sizeof text - 1] &= 0x7f; /* the sign of x */
	y = BN_lebin2bn(text, sizeof text, NULL);
	must(ctx != NULL && p != NULL && u != NULL && v != NULL && d != NULL &&
	     y != NULL);
	must(BN_set_bit(p, 255) && BN_sub_word(p, 19) &&
	     BN_mod_sqr(u, y, p, ctx) && BN_mod_mul(v, d, u, p, ctx) &&
	     BN_add_word(v, 1) && BN_add(u, u, p) && BN_sub_word(u, 1) &&
	     BN_mod_mul(u, u, v, p, ctx));
	symbol = BN_kronecker(u, p, ctx);
	must(symbol != -2);
	BN_free(p);
	BN_free(u);
	BN_free(v);
	BN_free(d);
	BN_free(y);
	BN_CTX_free(ctx);
	return symbol == 1;
}

static EVP_PKEY *
ed25519_new(const unsigned char *p, size_t len)
{
	if (len != CRYPTO_COORDINATE || !is_ed25519_point(p))
		return NULL;
	return EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, p, len);
}

/* Takes pkey; len is that of RSA's signatures. */
static struct crypto_key *
wrap(enum crypto_key_kind kind, EVP_PKEY *pkey, size_t len)
{
	struct crypto_key *k = mem_alloc(sizeof *k);

	k->kind = kind;
	k->pkey = pkey;
	k->signature_len = kind == CRYPTO_KEY_RSA ? len : ED25519_SIGNATURE;
	return k;
}

struct crypto_key *
crypto_key_new(enum crypto_key_kind kind, const unsigned char *p, size_t len)
{
	EVP_PKEY *pkey = NULL;

	switch (kind) {
	case CRYPTO_KEY_RSA:
		pkey = rsa_new(p, len);
		break;
	case CRYPTO_KEY_P256:
		pkey = p256_new(p, len);
		break;
	case CRYPTO_KEY_ED25519:
		pkey = ed25519_new(p, len);
		break;
	}
	must_have_looked();
	if (pkey == NULL)
		return NULL;
	return wrap(kind, pkey, len);
}

/* Nobody is asked for a pass phrase. */
static int
no_phrase(char *buf, int size, int writing, void *arg)
{
	(void)buf;
	(void)size;
	(void)writing;
	(void)arg;
	return -1;
}

static bool
find_kind(const EVP_PKEY *pkey, enum crypto_key_kind *kind)
{
	char group[GROUP_MAX];

	if (EVP_PKEY_is_a(pkey, "RSA"))
		*kind = CRYPTO_KEY_RSA;
	else if (EVP_PKEY_is_a(pkey, "ED25519"))
		*kind = CRYPTO_KEY_ED25519;
	else if (EVP_PKEY_is_a(pkey, "EC") &&
		 EVP_PKEY_get_group_name(pkey, group, sizeof group, NULL) ==
		     1 &&
		 strcmp(group, "prime256v1") == 0)
		*kind = CRYPTO_KEY_P256;
	else
		return false;
	return true;
}

struct crypto_key *
crypto_key_from_private(const char *pem, size_t len)
{
	BIO *bio = BIO_new_mem_buf(pem, (int)len);
	enum crypto_key_kind kind;
	struct crypto_key *k = NULL;
	EVP_PKEY *pkey;

	must(bio != NULL);
	pkey = PEM_read_bio_PrivateKey(bio, NULL, no_phrase, NULL);
	BIO_free(bio);
	if (pkey != NULL && find_kind(pkey, &kind))
		k = wrap(kind, pkey, (size_t)EVP_PKEY_get_size(pkey));
	else
		EVP_PKEY_free(pkey);
	must_have_looked();
	return k;
}

enum crypto_key_kind
crypto_key_kind(const struct crypto_key *k)
{
	return k->kind;
}

static BIGNUM *
take_number(const EVP_PKEY *pkey, const char *name)
{
	BIGNUM *n = NULL;

	must(EVP_PKEY_get_bn_param(pkey, name, &n) == 1);
	return n;
}

static size_t
rsa_numbers(const EVP_PKEY *pkey, unsigned char out[CRYPTO_SIGNATURE_MAX])
{
	BIGNUM *n = take_number(pkey, OSSL_PKEY_PARAM_RSA_N);
	BIGNUM *e = take_number(pkey, OSSL_PKEY_PARAM_RSA_E);
	size_t len = (size_t)BN_num_bytes(n);

	if (!BN_is_word(e, EXPONENT) || len > CRYPTO_SIGNATURE_MAX)
		len = 0;
	else
		(void)BN_bn2bin(n, out);
	BN_free(n);
	BN_free(e);
	return len;
}

static size_t
p256_numbers(const EVP_PKEY *pkey, unsigned char *out)
{
	BIGNUM *x = take_number(pkey, OSSL_PKEY_PARAM_EC_PUB_X);
	BIGNUM *y = take_number(pkey, OSSL_PKEY_PARAM_EC_PUB_Y);
	bool ok =
	    BN_bn2binpad(x, out, CRYPTO_COORDINATE) > 0 &&
	    BN_bn2binpad(y, out + CRYPTO_COORDINATE, CRYPTO_COORDINATE) > 0;

	BN_free(x);
	BN_free(y);
	return ok ? 2 * CRYPTO_COORDINATE : 0;
}

size_t
crypto_key_numbers(
    const struct crypto_key *k, unsigned char out[CRYPTO_SIGNATURE_MAX])
{
	size_t len = CRYPTO_SIGNATURE_MAX;

	switch (k->kind) {
	case CRYPTO_KEY_RSA:
		return rsa_numbers(k->pkey, out);
	case CRYPTO_KEY_P256:
		return p256_numbers(k->pkey, out);
	default:
		must(EVP_PKEY_get_raw_public_key(k->pkey, out, &len) == 1);
		return len;
	}
}

void
crypto_key_free(struct crypto_key *k)
{
	if (k == NULL)
		return;
	EVP_PKEY_free(k->pkey);
	free(k);
}

/* 0 < number < n, the order of P-256 (SP 800-186 section 3.2.1.3). */
static bool
in_range(const unsigned char number[CRYPTO_COORDINATE])
{
	static const unsigned char zero[CRYPTO_COORDINATE],
	    order[CRYPTO_COORDINATE] = { 0xff, 0xff, 0xff, 0xff, 0x00, 0x00,
		    0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
		    0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9,
		    0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51 };

	return memcmp(number, zero, sizeof zero) != 0 &&
	       memcmp(number, order, sizeof order) < 0;
}

/* The number as an INTEGER of DER; its length. */
static size_t
put_integer(unsigned char *out, const unsigned char *number)
{
	size_t skip = 0, pad;

	while (skip < CRYPTO_COORDINATE - 1 && number[skip] == 0)
		skip++;
	pad = number[skip] >> 7;
	out[0] = 0x02;
	out[1] = (unsigned char)(pad + CRYPTO_COORDINATE - skip);
	out[2] = 0;
	memcpy(out + 2 + pad, number + skip, CRYPTO_COORDINATE - skip);
	return 2 + out[1];
}

/* What libcrypto calls a signature, of r and s; its length, 0 = it is none. */
static size_t
to_der(const unsigned char *sig, unsigned char der[DER_MAX])
{
	const unsigned char *r = sig, *s = sig + CRYPTO_COORDINATE;
	size_t n = 2;

	if (!in_range(r) || !in_range(s))
		return 0;
	n += put_integer(der + n, r);
	n += put_integer(der + n, s);
	der[0] = 0x30;
	der[1] = (unsigned char)(n - 2);
	return n;
}

bool
crypto_key_verify(const struct crypto_key *k, const void *p, size_t n,
    const unsigned char *sig, size_t siglen)
{
	const EVP_MD *md = k->kind != CRYPTO_KEY_ED25519 ? EVP_sha256() : NULL;
	unsigned char der[DER_MAX];
	EVP_MD_CTX *ctx;
	bool ok;

	if (siglen != k->signature_len)
		return false;
	if (k->kind == CRYPTO_KEY_P256) {
		siglen = to_der(sig, der);
		sig = der;
		if (siglen == 0)
			return false;
	}
	ctx = EVP_MD_CTX_new();
	must(ctx != NULL &&
	     EVP_DigestVerifyInit(ctx, NULL, md, NULL, k->pkey) == 1);
	ok = EVP_DigestVerify(ctx, sig, siglen, p, n) == 1;
	EVP_MD_CTX_free(ctx);
	must_have_looked();
	return ok;
}

/* r and s of what libcrypto calls a signature. */
static void
from_der(const unsigned char *der, size_t len, unsigned char *sig)
{
	ECDSA_SIG *pair = d2i_ECDSA_SIG(NULL, &der, (long)len);

	must(pair != NULL);
	must(BN_bn2binpad(ECDSA_SIG_get0_r(pair), sig, CRYPTO_COORDINATE) > 0 &&
	     BN_bn2binpad(ECDSA_SIG_get0_s(pair), sig + CRYPTO_COORDINATE,
		 CRYPTO_COORDINATE) > 0);
	ECDSA_SIG_free(pair);
}

size_t
crypto_key_sign(const struct crypto_key *k, const void *p, size_t n,
    unsigned char sig[CRYPTO_SIGNATURE_MAX])
{
	const EVP_MD *md = k->kind != CRYPTO_KEY_ED25519 ? EVP_sha256() : NULL;
	unsigned char made[CRYPTO_SIGNATURE_MAX];
	size_t len = sizeof made;
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	bool ok;

	must(ctx != NULL);
	ok = EVP_DigestSignInit(ctx, NULL, md, NULL, k->pkey) == 1 &&
	     EVP_DigestSign(ctx, made, &len, p, n) == 1;
	EVP_MD_CTX_free(ctx);
	must_have_looked();
	if (!ok)
		return 0;
	if (k->kind == CRYPTO_KEY_P256)
		from_der(made, len, sig);
	else
		memcpy(sig, made, len);
	return k->signature_len;
}

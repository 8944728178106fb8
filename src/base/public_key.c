/*
 * Public keys by strict rules: whatever way one comes (base/jwk.c), it is
 * brought down to its numbers, which are judged and written anew. So a key has
 * one thumbprint and one DER, and nothing is left of what came with it.
 */
#include "base/public_key.h"

#include "base/base64url.h"
#include "base/crypto.h"
#include "base/crypto_key.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>
#include <sys/param.h>

enum { RSA_MIN = 2048 / 8, RSA_MAX = 4096 / 8, RSA_BITS_MIN = 2048 };
enum { POINT = 32 };

struct public_key {
	enum public_key_alg alg;
	struct crypto_key *key;
	struct buf der, pem;
	char kid[PUBLIC_KEY_KID + 1];
};

/* As it is kept, as clients are told, and what a token may say. */
static const struct {
	const char *kept, *told, *other;
	enum crypto_key_kind kind;
} algs[PUBLIC_KEY_ALGS] = {
	[PUBLIC_KEY_RS256] = { "RS256", "RS256", NULL, CRYPTO_KEY_RSA },
	[PUBLIC_KEY_ES256] = { "ES256", "ES256", NULL, CRYPTO_KEY_P256 },
	[PUBLIC_KEY_EDDSA] = { "EdDSA", "EdDSA", NULL, CRYPTO_KEY_ED25519 },
	[PUBLIC_KEY_ED25519] = { "Ed25519", "Ed25519", NULL,
	    CRYPTO_KEY_ED25519 },
	[PUBLIC_KEY_EITHER] = { "EdDSA/Ed25519", "EdDSA", "Ed25519",
	    CRYPTO_KEY_ED25519 },
};

static bool
same(const char *s, size_t len, const char *name)
{
	return name != NULL && len == strlen(name) && memcmp(s, name, len) == 0;
}

const char *
public_key_alg_name(enum public_key_alg alg)
{
	return algs[alg].kept;
}

const char *
public_key_alg_told(enum public_key_alg alg)
{
	return algs[alg].told;
}

bool
public_key_alg_find(const char *name, size_t len, enum public_key_alg *alg)
{
	unsigned a;

	for (a = 0; a < PUBLIC_KEY_ALGS; a++)
		if (same(name, len, algs[a].kept)) {
			*alg = (enum public_key_alg)a;
			return true;
		}
	return false;
}

bool
public_key_alg_is(enum public_key_alg alg, const char *name, size_t len)
{
	return same(name, len, algs[alg].told) ||
	       same(name, len, algs[alg].other);
}

static unsigned
remainder_of(const unsigned char *p, size_t len, unsigned divisor)
{
	unsigned r = 0;

	while (len-- > 0)
		r = (r << 8 | *p++) % divisor;
	return r;
}

/*
 * CVE-2017-15361: such a modulus is a power of 65537 modulo each small prime.
 * A random one is that for all of these with a probability of 2^-154 or so.
 * (M. Nemec et al., "The Return of Coppersmith's Attack", 2017.)
 */
static bool
is_roca(const unsigned char *n, size_t len)
{
	static const unsigned char primes[] = { 3, 5, 7, 11, 13, 17, 19, 23, 29,
		31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101,
		103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163,
		167 };
	unsigned want, power;
	size_t i;

	for (i = 0; i < sizeof primes; i++) {
		want = remainder_of(n, len, primes[i]);
		power = 1;
		while (power != want) {
			power = power * 65537 % primes[i];
			if (power == 1)
				return false;
		}
	}
	return true;
}

static const char *
rsa_fault(const unsigned char *n, size_t len)
{
	unsigned bits = (unsigned)len * 8, top;

	if (len == 0 || n[0] == 0)
		return "has an n that begins with a zero octet";
	for (top = n[0]; top < 0x80; top <<= 1)
		bits--;
	if (bits < RSA_BITS_MIN || len > RSA_MAX)
		return "is of RSA, but not of 2048 to 4096 bits";
	if (n[len - 1] % 2 == 0)
		return "has an even modulus";
	if (is_roca(n, len))
		return "has a modulus whose factors can be found "
		       "(CVE-2017-15361): make another pair";
	return NULL;
}

/* y, with its least byte first, against 2^255 - 19. */
static bool
below_p(const unsigned char y[POINT])
{
	size_t i;

	if (y[POINT - 1] != 0x7f)
		return true;
	for (i = POINT - 2; i > 0; i--)
		if (y[i] != 0xff)
			return true;
	return y[0] < 0xed;
}

/*
 * y is to be below p = 2^255 - 19 (RFC 8032 section 5.1.3), and the point not
 * of an order of 8 or less: under such a one a signature may be good for any
 * message, which libcrypto doesn't look at. There are eight, of five ys.
 */
static const char *
ed25519_fault(const unsigned char *point)
{
	static const unsigned char small[][POINT] = {
		{ 0x00 },
		{ 0x01 },
		{ [0] = 0xec, [1 ... 30] = 0xff, [31] = 0x7f },
		{ 0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3,
		    0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf, 0xac, 0x05,
		    0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53,
		    0xfc, 0x05 },
		{ 0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c,
		    0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a, 0x20, 0x53, 0xfa,
		    0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac,
		    0x03, 0x7a },
	};
	unsigned char y[POINT];
	size_t i;

	memcpy(y, point, sizeof y);
	y[POINT - 1] &= 0x7f;
	if (!below_p(y))
		return "has a point that is not spelt in the one way";
	for (i = 0; i < sizeof small / sizeof small[0]; i++)
		if (memcmp(y, small[i], sizeof y) == 0)
			return "has a point of small order";
	return NULL;
}

static void
add_u16(struct buf *b, size_t n)
{
	buf_addc(b, (char)(n >> 8));
	buf_addc(b, (char)n);
}

/* Up to where the numbers begin. */
static const char P256_HEAD[] =
    "\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48"
    "\xce\x3d\x03\x01\x07\x03\x42\x00\x04";
static const char ED25519_HEAD[] =
    "\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00";
static const char RSA_ALGORITHM[] =
    "\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00";
static const char RSA_EXPONENT[] = "\x02\x03\x01\x00\x01";
enum { RSA_HEAD = 4 + sizeof RSA_ALGORITHM - 1 + 4 + 1 + 4 + 4 };

/* RFC 8017 appendix A.1.1 in RFC 3279's envelope; all lengths take two bytes.
 */
static void
add_rsa_der(struct buf *b, const unsigned char *n, size_t len)
{
	size_t pad = n[0] >> 7, number = pad + len;
	size_t pair = 4 + number + sizeof RSA_EXPONENT - 1;

	buf_add(b, "\x30\x82", 2);
	add_u16(b, sizeof RSA_ALGORITHM - 1 + 4 + 1 + 4 + pair);
	buf_add(b, RSA_ALGORITHM, sizeof RSA_ALGORITHM - 1);
	buf_add(b, "\x03\x82", 2);
	add_u16(b, 1 + 4 + pair);
	buf_add(b, "\x00\x30\x82", 3);
	add_u16(b, pair);
	buf_add(b, "\x02\x82", 2);
	add_u16(b, number);
	buf_add(b, "\x00", pad);
	buf_add(b, n, len);
	buf_add(b, RSA_EXPONENT, sizeof RSA_EXPONENT - 1);
}

static void
add_der(struct buf *b, enum crypto_key_kind kind, const unsigned char *p,
    size_t len)
{
	switch (kind) {
	case CRYPTO_KEY_RSA:
		add_rsa_der(b, p, len);
		return;
	case CRYPTO_KEY_P256:
		buf_add(b, P256_HEAD, sizeof P256_HEAD - 1);
		break;
	case CRYPTO_KEY_ED25519:
		buf_add(b, ED25519_HEAD, sizeof ED25519_HEAD - 1);
		break;
	}
	buf_add(b, p, len);
}

/* Base64 in lines of 64 characters, from base64url. */
static void
add_pem(struct buf *b, const struct buf *der)
{
	struct buf url = { 0 };
	size_t i;

	base64url_encode(&url, der->data, der->len);
	buf_adds(b, "-----BEGIN PUBLIC KEY-----");
	for (i = 0; i < url.len || i % 4 != 0; i++) {
		if (i % 64 == 0)
			buf_addc(b, '\n');
		if (i >= url.len)
			buf_addc(b, '=');
		else if (url.data[i] == '-')
			buf_addc(b, '+');
		else if (url.data[i] == '_')
			buf_addc(b, '/');
		else
			buf_addc(b, url.data[i]);
	}
	buf_adds(b, "\n-----END PUBLIC KEY-----\n");
	buf_free(&url);
}

static void
add_number(struct buf *b, const char *name, const unsigned char *p, size_t len)
{
	buf_addf(b, "\"%s\":\"", name);
	base64url_encode(b, p, len);
	buf_addc(b, '"');
}

/* RFC 7638 section 3.2: the required members, in the order of their names. */
static void
set_kid(struct public_key *k, const unsigned char *p, size_t len)
{
	unsigned char digest[CRYPTO_SHA256_LEN];
	struct buf text = { 0 };

	switch (algs[k->alg].kind) {
	case CRYPTO_KEY_RSA:
		buf_adds(&text, "{\"e\":\"AQAB\",\"kty\":\"RSA\",");
		add_number(&text, "n", p, len);
		break;
	case CRYPTO_KEY_P256:
		buf_adds(&text, "{\"crv\":\"P-256\",\"kty\":\"EC\",");
		add_number(&text, "x", p, POINT);
		buf_addc(&text, ',');
		add_number(&text, "y", p + POINT, POINT);
		break;
	case CRYPTO_KEY_ED25519:
		buf_adds(&text, "{\"crv\":\"Ed25519\",\"kty\":\"OKP\",");
		add_number(&text, "x", p, len);
		break;
	}
	buf_addc(&text, '}');
	crypto_sha256(text.data, text.len, digest);
	buf_reset(&text);
	base64url_encode(&text, digest, sizeof digest);
	memcpy(k->kid, text.data, sizeof k->kid);
	buf_free(&text);
}

struct public_key *
public_key_new(enum public_key_alg alg, const unsigned char *p, size_t len,
    const char **why)
{
	enum crypto_key_kind kind = algs[alg].kind;
	struct crypto_key *key;
	struct public_key *k;

	*why = NULL;
	if (kind == CRYPTO_KEY_RSA)
		*why = rsa_fault(p, len);
	else if (kind == CRYPTO_KEY_ED25519)
		*why = ed25519_fault(p);
	if (*why != NULL)
		return NULL;
	*why = "has a point that is not on its curve";
	key = crypto_key_new(kind, p, len);
	if (key == NULL)
		return NULL;
	k = mem_alloc(sizeof *k);
	k->alg = alg;
	k->key = key;
	add_der(&k->der, kind, p, len);
	add_pem(&k->pem, &k->der);
	set_kid(k, p, len);
	return k;
}

void
public_key_free(struct public_key *k)
{
	if (k == NULL)
		return;
	crypto_key_free(k->key);
	buf_free(&k->der);
	buf_free(&k->pem);
	free(k);
}

/* Where the numbers stand in a DER of this kind, if it is one. */
static bool
find_numbers(enum crypto_key_kind kind, const char *der, size_t derlen,
    size_t *at, size_t *len)
{
	static const size_t tail = sizeof RSA_EXPONENT - 1;

	switch (kind) {
	case CRYPTO_KEY_RSA:
		if (derlen < RSA_HEAD + RSA_MIN + tail ||
		    memcmp(der + derlen - tail, RSA_EXPONENT, tail) != 0)
			return false;
		*at = RSA_HEAD + (der[RSA_HEAD] == 0);
		*len = derlen - *at - tail;
		return true;
	case CRYPTO_KEY_P256:
		*at = sizeof P256_HEAD - 1;
		*len = 2 * POINT;
		break;
	default:
		*at = sizeof ED25519_HEAD - 1;
		*len = POINT;
		break;
	}
	return derlen == *at + *len;
}

bool
public_key_der_is(enum public_key_alg alg, const char *der, size_t len)
{
	switch (algs[alg].kind) {
	case CRYPTO_KEY_RSA:
		/* Behind one length or another. */
		return memmem(der, MIN(len, RSA_HEAD), RSA_ALGORITHM,
			   sizeof RSA_ALGORITHM - 1) != NULL;
	case CRYPTO_KEY_P256:
		return len >= sizeof P256_HEAD - 1 &&
		       memcmp(der, P256_HEAD, sizeof P256_HEAD - 1) == 0;
	default:
		return len >= sizeof ED25519_HEAD - 1 &&
		       memcmp(der, ED25519_HEAD, sizeof ED25519_HEAD - 1) == 0;
	}
}

/* What we write for the same numbers has to be what came. */
struct public_key *
public_key_from_der(
    enum public_key_alg alg, const char *der, size_t len, const char **why)
{
	struct public_key *k;
	size_t at, n;

	*why = algs[alg].kind == CRYPTO_KEY_RSA
		   ? "is of RSA, but not of 2048 to 4096 bits with e = 65537"
		   : "has a point that is not one of its curve, in full";
	if (!find_numbers(algs[alg].kind, der, len, &at, &n))
		return NULL;
	k = public_key_new(alg, (const unsigned char *)der + at, n, why);
	if (k == NULL)
		return NULL;
	if (k->der.len == len && memcmp(k->der.data, der, len) == 0)
		return k;
	public_key_free(k);
	*why = "is not spelt in the one way";
	return NULL;
}

bool
public_key_same(const struct public_key *a, const struct public_key *b)
{
	return a->alg == b->alg && strcmp(a->kid, b->kid) == 0;
}

enum public_key_alg
public_key_alg(const struct public_key *k)
{
	return k->alg;
}

const char *
public_key_kid(const struct public_key *k)
{
	return k->kid;
}

const struct buf *
public_key_der(const struct public_key *k)
{
	return &k->der;
}

const char *
public_key_pem(const struct public_key *k)
{
	return buf_str(&k->pem);
}

bool
public_key_verify(const struct public_key *k, const void *p, size_t n,
    const unsigned char *sig, size_t siglen)
{
	return crypto_key_verify(k->key, p, n, sig, siglen);
}

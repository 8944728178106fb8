#ifndef POSTERN_BASE_PUBLIC_KEY_H
#define POSTERN_BASE_PUBLIC_KEY_H

#include "base/buf.h"
#include <stdbool.h>
#include <stddef.h>

/*
 * An app's own key, its public half: RSA of 2048 to 4096 bits with e = 65537,
 * P-256, or Ed25519. Each has one algorithm (RFC 8725 section 3.1): RS256,
 * ES256, or that of RFC 8032, which has two names: EdDSA (RFC 8037) and Ed25519
 * (RFC 9864), of which a JWK's alg may pin one.
 */
enum public_key_alg {
	PUBLIC_KEY_RS256,
	PUBLIC_KEY_ES256,
	PUBLIC_KEY_EDDSA,   /* by this name alone */
	PUBLIC_KEY_ED25519, /* by this name alone */
	PUBLIC_KEY_EITHER,  /* by either of the two */
	PUBLIC_KEY_ALGS
};

/* The characters of a thumbprint, base64url of SHA-256; the bytes of the
 * longest DER. */
enum { PUBLIC_KEY_KID = 43, PUBLIC_KEY_DER_MAX = 550 };

struct public_key;

/*
 * Of an RSA key's modulus, of x and y of P-256, or of an Ed25519 point; or NULL
 * with *why, a constant that completes "the key ...". Refused are other sizes,
 * an even modulus or one known to be weak (ROCA), a point that is not on its
 * curve, and of Ed25519 one of small order or not spelt in the one way. The
 * caller frees.
 */
struct public_key *public_key_new(enum public_key_alg alg,
    const unsigned char *p, size_t len, const char **why);

/* From what public_key_der gave; *why as above for all else. */
struct public_key *public_key_from_der(
    enum public_key_alg alg, const char *der, size_t len, const char **why);

/* Does this begin as the DER of such a key does? */
bool public_key_der_is(enum public_key_alg alg, const char *der, size_t len);

void public_key_free(struct public_key *k);

/* The same key, to be used alike? */
bool public_key_same(const struct public_key *a, const struct public_key *b);

enum public_key_alg public_key_alg(const struct public_key *k);

/* The name of an algorithm, as it is kept; and back, false if it is none. */
const char *public_key_alg_name(enum public_key_alg alg);
bool public_key_alg_find(
    const char *name, size_t len, enum public_key_alg *alg);

/* Is this a token's alg under such a key? RFC 7515 section 4.1.1: exactly. */
bool public_key_alg_is(enum public_key_alg alg, const char *name, size_t len);

/* What clients are told to put into alg. */
const char *public_key_alg_told(enum public_key_alg alg);

/* The thumbprint of RFC 7638, with SHA-256. */
const char *public_key_kid(const struct public_key *k);

/* A SubjectPublicKeyInfo (RFC 5280 section 4.1.2.7), always the same for a key;
 * as DER, and as PEM. Borrowed. */
const struct buf *public_key_der(const struct public_key *k);
const char *public_key_pem(const struct public_key *k);

/* Is sig the key's signature of the n bytes at p? As crypto_key_verify. */
bool public_key_verify(const struct public_key *k, const void *p, size_t n,
    const unsigned char *sig, size_t siglen);

#endif

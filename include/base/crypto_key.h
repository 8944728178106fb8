#ifndef POSTERN_BASE_CRYPTO_KEY_H
#define POSTERN_BASE_CRYPTO_KEY_H

#include <stdbool.h>
#include <stddef.h>

/*
 * libcrypto's part of public keys: made once, asked often. Which numbers make a
 * key that is good is for base/public_key.h to say.
 */

enum crypto_key_kind { CRYPTO_KEY_RSA, CRYPTO_KEY_P256, CRYPTO_KEY_ED25519 };

/* Bytes of a coordinate, or of r or s; and of the longest signature. */
enum { CRYPTO_COORDINATE = 32, CRYPTO_SIGNATURE_MAX = 512 };

struct crypto_key;

/*
 * RSA: n, without leading zeros, of CRYPTO_SIGNATURE_MAX bytes at most; e is
 * 65537. P-256: x, then y. Ed25519: the point as RFC 8032 has it. NULL if
 * libcrypto makes no key of it: a point that is not on the curve P-256.
 */
struct crypto_key *crypto_key_new(
    enum crypto_key_kind kind, const unsigned char *p, size_t len);
void crypto_key_free(struct crypto_key *k);

/*
 * Is sig the signature of the n bytes at p? RSASSA-PKCS1-v1_5 with SHA-256, as
 * long as the modulus; ECDSA with SHA-256, r and s of 32 bytes each (RFC 7518
 * section 3.4), neither 0 nor beyond the group's order; Ed25519 (RFC 8032).
 */
bool crypto_key_verify(const struct crypto_key *k, const void *p, size_t n,
    const unsigned char *sig, size_t siglen);

#endif

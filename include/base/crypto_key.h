#ifndef POSTERN_BASE_CRYPTO_KEY_H
#define POSTERN_BASE_CRYPTO_KEY_H

#include <stdbool.h>
#include <stddef.h>

/*
 * libcrypto's part of key pairs: made once, asked often. Which numbers make a
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
 * A key that signs too, from its PEM (RFC 7468 sections 10 and 11, or what
 * openssl made before), not encrypted; NULL if there is none of the three
 * kinds. What libcrypto copied is wiped by crypto_key_free. For the tool.
 */
struct crypto_key *crypto_key_from_private(const char *pem, size_t len);

enum crypto_key_kind crypto_key_kind(const struct crypto_key *k);

/* Its public half, as crypto_key_new takes it; the length, 0 where it has
 * another e or is too long. */
size_t crypto_key_numbers(
    const struct crypto_key *k, unsigned char out[CRYPTO_SIGNATURE_MAX]);

/* Sign the n bytes at p, in the form that crypto_key_verify takes; the length,
 * 0 where it fails. */
size_t crypto_key_sign(const struct crypto_key *k, const void *p, size_t n,
    unsigned char sig[CRYPTO_SIGNATURE_MAX]);

/*
 * Is sig the signature of the n bytes at p? RSASSA-PKCS1-v1_5 with SHA-256, as
 * long as the modulus; ECDSA with SHA-256, r and s of 32 bytes each (RFC 7518
 * section 3.4), neither 0 nor beyond the group's order; Ed25519 (RFC 8032).
 */
bool crypto_key_verify(const struct crypto_key *k, const void *p, size_t n,
    const unsigned char *sig, size_t siglen);

#endif

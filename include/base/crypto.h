#ifndef POSTERN_BASE_CRYPTO_H
#define POSTERN_BASE_CRYPTO_H

#include <stdbool.h>
#include <stddef.h>

/* libcrypto, met in this module only. Out of memory it fails, and the process
 * with it. */

enum { CRYPTO_SHA256_LEN = 32, CRYPTO_MAC_MAX = 64 };
enum { CRYPTO_NONCE_LEN = 12, CRYPTO_TAG_LEN = 16 };

/* The HMAC hash: HS256, HS384, HS512 (RFC 7518 section 3.2). */
enum crypto_hash { CRYPTO_SHA256, CRYPTO_SHA384, CRYPTO_SHA512 };

/* n bytes from libcrypto's CSPRNG; aborts if it fails: a repeated GCM nonce
 * would give the key away. */
void crypto_random(void *p, size_t n);

/* SHA-256 (FIPS 180-4) of n bytes into out[32]. */
void crypto_sha256(const void *p, size_t n, unsigned char *out);

/* Length in bytes of a hash's MAC: 32, 48, 64. */
size_t crypto_mac_len(enum crypto_hash hash);

/*
 * HMAC (RFC 2104) with EVP_MAC over n bytes into out (crypto_mac_len bytes).
 * False only if keylen is 0; out is zeroed then.
 */
bool crypto_hmac(enum crypto_hash hash, const void *key, size_t keylen,
    const void *p, size_t n, unsigned char *out);

/* A key and the text under it; keylen bytes and n bytes. */
struct crypto_signed {
	const void *key;
	size_t keylen;
	const void *p;
	size_t n;
};

/* crypto_hmac keeps its last key until the next: no more, from here on. */
void crypto_forget_keys(void);

/*
 * Is mac (maclen bytes) the HMAC of s? Constant time. A shortened MAC is never
 * one, nor is any under an empty key.
 */
bool crypto_hmac_ok(enum crypto_hash hash, const struct crypto_signed *s,
    const unsigned char *mac, size_t maclen);

/* What AES-GCM works with; other lengths of key and nonce are refused. */
struct crypto_gcm {
	const void *key; /* 16, 24 or 32 bytes */
	size_t keylen;
	const void *nonce; /* CRYPTO_NONCE_LEN */
	size_t noncelen;
	const void *aad; /* additional data, of any length */
	size_t aadlen;
};

/*
 * AES-GCM (SP 800-38D) with a 96-bit nonce and a 128-bit tag, and no others.
 * crypto_gcm_seal writes n bytes of ciphertext, then the tag, to out (n + 16).
 * crypto_gcm_open takes ciphertext and tag (n + 16 bytes) and writes n bytes;
 * on a bad tag it wipes out and returns false.
 */
bool crypto_gcm_seal(
    const struct crypto_gcm *g, const void *p, size_t n, unsigned char *out);
bool crypto_gcm_open(
    const struct crypto_gcm *g, const void *c, size_t n, unsigned char *out);

/* Constant-time equality. */
bool crypto_equal(const void *a, const void *b, size_t n);

/* Overwrite n bytes; not optimised away. */
void crypto_wipe(void *p, size_t n);

#endif

#ifndef POSTERN_BASE_CRYPTO_H
#define POSTERN_BASE_CRYPTO_H

#include <stdbool.h>
#include <stddef.h>

/* libcrypto, met in this module only. */

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
 * False only if libcrypto fails (keylen 0 too); out is zeroed then.
 */
bool crypto_hmac(enum crypto_hash hash, const void *key, size_t keylen,
    const void *p, size_t n, unsigned char *out);

/*
 * AES-GCM (SP 800-38D) with a key of 16, 24 or 32 bytes, a 12-byte nonce and
 * a 16-byte tag. crypto_gcm_seal writes n bytes of ciphertext, then the tag,
 * to out (n + 16). crypto_gcm_open takes ciphertext and tag (n + 16 bytes)
 * and writes n bytes; on a bad tag it wipes out and returns false.
 */
bool crypto_gcm_seal(const void *key, size_t keylen, const void *nonce,
    const void *aad, size_t aadlen, const void *p, size_t n,
    unsigned char *out);
bool crypto_gcm_open(const void *key, size_t keylen, const void *nonce,
    const void *aad, size_t aadlen, const void *c, size_t n,
    unsigned char *out);

/* Constant-time equality. */
bool crypto_equal(const void *a, const void *b, size_t n);

/* Overwrite n bytes; not optimised away. */
void crypto_wipe(void *p, size_t n);

#endif

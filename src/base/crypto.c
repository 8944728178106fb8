/*
 * The use of libcrypto: random bytes, SHA-256, HMAC and AES-GCM. A cipher's
 * context lives for one call, so that OpenSSL wipes the key that it copied. An
 * HMAC's is made once, and holds the last key, in OpenSSL's own memory, until
 * the next call or crypto_forget_keys.
 *
 * Where it fails it has no memory. That is no verdict about what a peer sent,
 * so it ends the process; of the calls below only the last step of opening a
 * sealed text may say no.
 */
#include "base/crypto.h"

#include <limits.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>

void
crypto_random(void *p, size_t n)
{
	if (n > INT_MAX || RAND_bytes(p, (int)n) != 1)
		abort();
}

void
crypto_sha256(const void *p, size_t n, unsigned char *out)
{
	if (EVP_Digest(p, n, out, NULL, EVP_sha256(), NULL) != 1)
		abort();
}

size_t
crypto_mac_len(enum crypto_hash hash)
{
	static const size_t lens[] = { 32, 48, 64 };

	return lens[hash];
}

/* One for each hash. */
static EVP_MAC_CTX *contexts[3];

static void
must(bool done)
{
	if (!done)
		abort();
}

/* A context is made once: fetching walks the providers. */
static EVP_MAC_CTX *
hmac_context(enum crypto_hash hash)
{
	static const char *const digests[] = { "SHA256", "SHA384", "SHA512" };
	char digest[8];
	OSSL_PARAM params[2];
	EVP_MAC *mac;

	if (contexts[hash] != NULL)
		return contexts[hash];
	mac = EVP_MAC_fetch(NULL, OSSL_MAC_NAME_HMAC, NULL);
	must(mac != NULL);
	contexts[hash] = EVP_MAC_CTX_new(mac);
	must(contexts[hash] != NULL);
	EVP_MAC_free(mac);
	memcpy(digest, digests[hash], strlen(digests[hash]) + 1);
	params[0] =
	    OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0);
	params[1] = OSSL_PARAM_construct_end();
	must(EVP_MAC_CTX_set_params(contexts[hash], params) == 1);
	return contexts[hash];
}

bool
crypto_hmac(enum crypto_hash hash, const void *key, size_t keylen,
    const void *p, size_t n, unsigned char *out)
{
	EVP_MAC_CTX *ctx = hmac_context(hash);
	size_t want = crypto_mac_len(hash), got = 0;

	if (keylen == 0) {
		memset(out, 0, want);
		return false;
	}
	must(EVP_MAC_init(ctx, key, keylen, NULL) == 1 &&
	     EVP_MAC_update(ctx, p, n) == 1 &&
	     EVP_MAC_final(ctx, out, &got, want) == 1 && got == want);
	return true;
}

void
crypto_forget_keys(void)
{
	static const unsigned char nobody[CRYPTO_MAC_MAX];
	size_t i;

	/* Another key takes the place of the last one, and of all that was
	 * derived from it. */
	for (i = 0; i < sizeof contexts / sizeof contexts[0]; i++)
		must(contexts[i] == NULL || EVP_MAC_init(contexts[i], nobody,
						sizeof nobody, NULL) == 1);
}

bool
crypto_hmac_ok(enum crypto_hash hash, const struct crypto_signed *s,
    const unsigned char *mac, size_t maclen)
{
	unsigned char want[CRYPTO_MAC_MAX];
	bool ok;

	ok = crypto_hmac(hash, s->key, s->keylen, s->p, s->n, want) &&
	     maclen == crypto_mac_len(hash) && crypto_equal(want, mac, maclen);
	crypto_wipe(want, sizeof want);
	return ok;
}

/* NULL for a key of another length, or a nonce: OpenSSL takes 12 bytes unless
 * told otherwise, whatever is there. */
static const EVP_CIPHER *
gcm_cipher(const struct crypto_gcm *g)
{
	if (g->noncelen != CRYPTO_NONCE_LEN)
		return NULL;
	switch (g->keylen) {
	case 16:
		return EVP_aes_128_gcm();
	case 24:
		return EVP_aes_192_gcm();
	case 32:
		return EVP_aes_256_gcm();
	default:
		return NULL;
	}
}

/* Begun in one direction, with the additional data read. */
static EVP_CIPHER_CTX *
gcm_begin(const struct crypto_gcm *g, const EVP_CIPHER *cipher, int encrypt)
{
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	int len;

	must(ctx != NULL &&
	     EVP_CipherInit_ex(ctx, cipher, NULL, g->key, g->nonce, encrypt) ==
		 1 &&
	     (g->aadlen == 0 || EVP_CipherUpdate(ctx, NULL, &len, g->aad,
				    (int)g->aadlen) == 1));
	return ctx;
}

bool
crypto_gcm_seal(
    const struct crypto_gcm *g, const void *p, size_t n, unsigned char *out)
{
	const EVP_CIPHER *cipher = gcm_cipher(g);
	EVP_CIPHER_CTX *ctx;
	int len = 0, last = 0;

	if (cipher == NULL || n > INT_MAX / 2 || g->aadlen > INT_MAX / 2)
		return false;
	ctx = gcm_begin(g, cipher, 1);
	must(EVP_EncryptUpdate(ctx, out, &len, p, (int)n) == 1 &&
	     (size_t)len == n &&
	     EVP_EncryptFinal_ex(ctx, out + n, &last) == 1 && last == 0 &&
	     EVP_CIPHER_CTX_ctrl(
		 ctx, EVP_CTRL_AEAD_GET_TAG, CRYPTO_TAG_LEN, out + n) == 1);
	EVP_CIPHER_CTX_free(ctx);
	return true;
}

bool
crypto_gcm_open(
    const struct crypto_gcm *g, const void *c, size_t n, unsigned char *out)
{
	const EVP_CIPHER *cipher = gcm_cipher(g);
	unsigned char tag[CRYPTO_TAG_LEN];
	EVP_CIPHER_CTX *ctx;
	int len = 0, last = 0;
	bool ok;

	if (cipher == NULL || n > INT_MAX / 2 || g->aadlen > INT_MAX / 2)
		return false;
	/* Always the whole tag: OpenSSL would verify one of a single byte. */
	memcpy(tag, (const unsigned char *)c + n, sizeof tag);
	ctx = gcm_begin(g, cipher, 0);
	must(EVP_DecryptUpdate(ctx, out, &len, c, (int)n) == 1 &&
	     (size_t)len == n &&
	     EVP_CIPHER_CTX_ctrl(
		 ctx, EVP_CTRL_AEAD_SET_TAG, CRYPTO_TAG_LEN, tag) == 1);
	ok = EVP_DecryptFinal_ex(ctx, out + n, &last) == 1 && last == 0;
	EVP_CIPHER_CTX_free(ctx);
	if (!ok)
		OPENSSL_cleanse(out, n); /* unauthenticated plaintext */
	return ok;
}

bool
crypto_equal(const void *a, const void *b, size_t n)
{
	return CRYPTO_memcmp(a, b, n) == 0;
}

void
crypto_wipe(void *p, size_t n)
{
	if (p != NULL)
		OPENSSL_cleanse(p, n);
}

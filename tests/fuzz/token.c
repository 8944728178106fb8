/*
 * The whole verification of a bearer token, from the header's value on, with
 * known keys: a secret, and an app's own of each kind. The first byte says
 * which one, and what the rest is: an Authorization value as a stranger sends
 * it, of which only the genuine tokens may pass; or header and payload (apart
 * by a NUL), signed here as the key's holder may sign anything, of which only
 * what RFC 8725 allows by another library's reading may pass. Each token is
 * judged three times: without verdicts, by a table that doesn't know it, and by
 * one that may.
 */
#include "fuzz.h"

#include "auth/material.h"
#include "auth/token.h"
#include "base/base64url.h"
#include "base/bearer.h"
#include "base/jwk.h"
#include "base/mem.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <string.h>

#define NOW 1700000000.0

/* Bits of the first byte. */
enum { SIGNED = 1, KIND_SHIFT = 1, HASH_SHIFT = 3 };

enum { SECRET, RS256, ES256, EDDSA, KINDS };

static const char *const genuine[][2] = {
	{ "{\"alg\":\"%s\"}", "{\"exp\":1700000100}" },
	{ "{\"alg\":\"%s\",\"typ\":\"JWT\"}",
	    "{\"sub\":\"ann\",\"exp\":1700000100.5,\"iat\":1}" },
};
enum { GENUINE = sizeof genuine / sizeof genuine[0] };

static const char *const hash_names[] = { "HS256", "HS384", "HS512" };
static const char *const alg_names[KINDS] = { "HS256", "RS256", "ES256",
	"EdDSA" };
static struct material keys[KINDS];
static EVP_PKEY *private_keys[KINDS];
static struct verdicts *verdicts;
static struct config cfg;
static char *tokens[KINDS][GENUINE];

/* r and s of 32 bytes each, from the DER of libcrypto. */
static void
to_numbers(const unsigned char *der, unsigned char out[64])
{
	const unsigned char *p = der + 2;
	size_t i, len;

	for (i = 0; i < 2; i++, p += len) {
		len = p[1];
		p += 2;
		if (*p == 0) {
			p++;
			len--;
		}
		memset(out + 32 * i, 0, 32);
		memcpy(out + 32 * i + 32 - len, p, len);
	}
}

static void
add_signature(int kind, struct buf *out)
{
	const EVP_MD *md = kind == EDDSA ? NULL : EVP_sha256();
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	unsigned char sig[CRYPTO_SIGNATURE_MAX], numbers[64];
	size_t len = sizeof sig;

	FUZZ_MUST(EVP_DigestSignInit(ctx, NULL, md, NULL, private_keys[kind]));
	FUZZ_MUST(EVP_DigestSign(
	    ctx, sig, &len, (const unsigned char *)out->data, out->len));
	EVP_MD_CTX_free(ctx);
	buf_addc(out, '.');
	if (kind == ES256)
		to_numbers(sig, numbers);
	base64url_encode(out, kind == ES256 ? numbers : sig,
	    kind == ES256 ? sizeof numbers : len);
}

static void
add_mac(enum crypto_hash hash, struct buf *out)
{
	const struct secret *s = &keys[SECRET].secret;
	unsigned char mac[CRYPTO_MAC_MAX];

	FUZZ_MUST(crypto_hmac(hash, s->data, s->len, out->data, out->len, mac));
	buf_addc(out, '.');
	base64url_encode(out, mac, crypto_mac_len(hash));
}

static void
sign(const void *header, size_t hlen, const void *payload, size_t plen,
    int kind, enum crypto_hash hash, struct buf *out)
{
	base64url_encode(out, header, hlen);
	buf_addc(out, '.');
	base64url_encode(out, payload, plen);
	if (kind == SECRET)
		add_mac(hash, out);
	else
		add_signature(kind, out);
}

static void
make_key(int kind)
{
	BIO *bio = BIO_new(BIO_s_mem());
	const char *why;
	char *pem;
	long len;

	private_keys[kind] = kind == RS256 ? EVP_RSA_gen(2048)
			     : kind == ES256
				 ? EVP_EC_gen("P-256")
				 : EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	FUZZ_MUST(private_keys[kind] != NULL);
	FUZZ_MUST(PEM_write_bio_PUBKEY(bio, private_keys[kind]));
	len = BIO_get_mem_data(bio, &pem);
	keys[kind].own = jwk_key_from_text(pem, (size_t)len, &why);
	FUZZ_MUST(keys[kind].own != NULL);
	BIO_free(bio);
}

static void
make_tokens(int kind)
{
	struct buf header = { 0 }, text = { 0 };
	const char *at;
	size_t i;

	for (i = 0; i < GENUINE; i++) {
		buf_reset(&header);
		buf_reset(&text);
		at = strstr(genuine[i][0], "%s");
		buf_add(&header, genuine[i][0], (size_t)(at - genuine[i][0]));
		buf_adds(&header, alg_names[kind]);
		buf_adds(&header, at + 2);
		sign(header.data, header.len, genuine[i][1],
		    strlen(genuine[i][1]), kind, CRYPTO_SHA256, &text);
		tokens[kind][i] = mem_strdup(buf_str(&text));
	}
	buf_free(&header);
	buf_free(&text);
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	int kind;

	(void)argc;
	(void)argv;
	cfg = *fuzz_config();
	cfg.own_key_audience_optional = true;
	verdicts = verdicts_new(64);
	secret_set(&keys[SECRET].secret, FUZZ_SECRET, strlen(FUZZ_SECRET));
	for (kind = SECRET; kind < KINDS; kind++) {
		if (kind != SECRET)
			make_key(kind);
		make_tokens(kind);
	}
	return 0;
}

/* Alike, but for what is only read for tokens that are good once. */
static void
same(const struct token_claims *a, const struct token_claims *b)
{
	FUZZ_MUST(a->has_sub == b->has_sub && a->sub.len == b->sub.len);
	FUZZ_MUST(memcmp(buf_str(&a->sub), buf_str(&b->sub), a->sub.len) == 0);
	FUZZ_MUST(a->payload.len == b->payload.len);
	FUZZ_MUST(memcmp(buf_str(&a->payload), buf_str(&b->payload),
		      a->payload.len) == 0);
	FUZZ_MUST(a->own_reading == b->own_reading);
}

/* Cold and warm it is what it is without a table. */
static enum problem
judge(struct material *m, struct token_parts *t, const struct config *c,
    struct token_claims *claims)
{
	const struct judging j = { c, verdicts, FUZZ_PUBLIC, NOW };
	const struct token_key key = { &m->secret, m->own, FUZZ_PUBLIC };
	struct token_claims known = { 0 };
	enum problem p;
	int i;

	if (!material_verifies(m, t, &j))
		return P_INVALID_CREDENTIALS;
	p = token_judge(t, &key, c, NOW, claims);
	verdict_owner_begin(&m->verdicts);
	for (i = 0; i < 2; i++) {
		FUZZ_MUST(material_verifies(m, t, &j));
		FUZZ_MUST(material_judge(m, t, &j, &known) == p);
		if (p == P_NONE)
			same(claims, &known);
		token_claims_clear(&known);
	}
	FUZZ_MUST((m->verdicts.first != NULL) ==
		  (p == P_NONE && claims->sub.len <= VERDICT_SUB_MAX));
	verdict_owner_end(&m->verdicts);
	return p;
}

/* A token's way through all of our checks. */
static bool
passes(const char *value, struct material *m, const struct config *c,
    struct token_parts *t, struct token_claims *claims)
{
	const char *text;
	size_t len;

	return bearer_parse(value, &text, &len) && token_split(text, len, t) &&
	       judge(m, t, c, claims) == P_NONE;
}

static void
as_stranger(const char *value, int kind)
{
	struct token_claims claims = { 0 };
	struct token_parts t;
	size_t i;

	if (passes(value, &keys[kind], &cfg, &t, &claims)) {
		for (i = 0; i < GENUINE; i++)
			if (strcmp(t.text, tokens[kind][i]) == 0)
				break;
		FUZZ_MUST(i < GENUINE);
		FUZZ_MUST(claims.has_sub == (i == 1));
		FUZZ_MUST(strcmp(buf_str(&claims.payload), genuine[i][1]) == 0);
	}
	token_claims_clear(&claims);
}

/* What another base64url reading gives for a part that we took. */
static void
take_part(const char *p, size_t len, struct buf *out)
{
	FUZZ_MUST(base64url_decode(p, len, out));
}

static void
as_holder(const char *data, size_t size, int kind, enum crypto_hash hash)
{
	struct config c = cfg;
	struct token_claims claims = { 0 };
	struct token_parts t;
	struct buf value = { 0 }, header = { 0 }, payload = { 0 };
	struct buf token = { 0 };
	size_t hlen = strnlen(data, size);
	size_t from = hlen < size ? hlen + 1 : size;

	c.jwt_algorithm = hash;
	buf_adds(&value, "Bearer ");
	sign(data, hlen, data + from, size - from, kind, hash, &token);
	buf_adds(&value, buf_str(&token));
	if (passes(buf_str(&value), &keys[kind], &c, &t, &claims)) {
		take_part(t.text, t.header_len, &header);
		take_part(t.text + t.header_len + 1,
		    t.signed_len - t.header_len - 1, &payload);
		FUZZ_MUST(
		    oracle_token_ok(&header, &payload, NOW,
			kind == SECRET ? hash_names[hash] : alg_names[kind]) ||
		    (kind == EDDSA &&
			oracle_token_ok(&header, &payload, NOW, "Ed25519")));
		FUZZ_MUST(claims.has_sub == (claims.sub.len > 0));
	}
	token_claims_clear(&claims);
	buf_free(&token);
	buf_free(&value);
	buf_free(&header);
	buf_free(&payload);
}

/* covers: RFC8725-3.1, RFC8725-3.3, RFC8725-3.4, ASVS-V3.5.3 */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t mode = fuzz_byte(&data, &size);
	char *text = fuzz_text(data, size);
	int kind = (mode >> KIND_SHIFT) % KINDS;

	if (mode & SIGNED)
		as_holder(text, size, kind,
		    (enum crypto_hash)((mode >> HASH_SHIFT) % 3));
	else
		as_stranger(text, kind);
	free(text);
	return 0;
}

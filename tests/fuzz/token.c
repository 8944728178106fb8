/*
 * The whole verification of a bearer token, from the header's value on, with a
 * known key. The first byte says what the rest is: an Authorization value as a
 * stranger sends it, of which only the genuine tokens may pass; or header and
 * payload (apart by a NUL), signed here as the key's holder may sign anything,
 * of which only what RFC 8725 allows by another library's reading may pass.
 * Each token is judged three times: without verdicts, by a table that doesn't
 * know it, and by one that may.
 */
#include "fuzz.h"

#include "auth/material.h"
#include "auth/token.h"
#include "base/base64url.h"
#include "base/bearer.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

#define NOW 1700000000.0

enum { SIGNED = 1, WIDE = 2, SHIFT = 2 };

static const char *const genuine[][2] = {
	{ "{\"alg\":\"HS256\"}", "{\"exp\":1700000100}" },
	{ "{\"alg\":\"HS256\",\"typ\":\"JWT\"}",
	    "{\"sub\":\"ann\",\"exp\":1700000100.5,\"iat\":1}" },
};
enum { GENUINE = sizeof genuine / sizeof genuine[0] };

static const char *const alg_names[] = { "HS256", "HS384", "HS512" };
static struct material key;
static struct verdicts *verdicts;
static char *tokens[GENUINE];
static struct config narrow, wide;

static void
sign(const void *header, size_t hlen, const void *payload, size_t plen,
    enum crypto_hash hash, struct buf *out)
{
	unsigned char mac[CRYPTO_MAC_MAX];

	base64url_encode(out, header, hlen);
	buf_addc(out, '.');
	base64url_encode(out, payload, plen);
	FUZZ_MUST(crypto_hmac(
	    hash, key.secret.data, key.secret.len, out->data, out->len, mac));
	buf_addc(out, '.');
	base64url_encode(out, mac, crypto_mac_len(hash));
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct buf text = { 0 };
	size_t i;

	(void)argc;
	(void)argv;
	wide = narrow = *fuzz_config();
	wide.jwt_algorithms = JWT_HS256 | JWT_HS384 | JWT_HS512;
	verdicts = verdicts_new(64);
	secret_set(&key.secret, FUZZ_SECRET, strlen(FUZZ_SECRET));
	for (i = 0; i < GENUINE; i++) {
		buf_reset(&text);
		sign(genuine[i][0], strlen(genuine[i][0]), genuine[i][1],
		    strlen(genuine[i][1]), CRYPTO_SHA256, &text);
		tokens[i] = mem_strdup(buf_str(&text));
	}
	buf_free(&text);
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
judge(const struct token_parts *t, const struct config *cfg,
    struct token_claims *claims)
{
	const struct judging j = { cfg, verdicts, NOW };
	struct token_claims known = { 0 };
	enum problem p = token_judge(t, &key.secret, cfg, NOW, claims);
	int i;

	verdict_owner_begin(&key.verdicts);
	for (i = 0; i < 2; i++) {
		FUZZ_MUST(material_judge(&key, t, &j, &known) == p);
		if (p == P_NONE)
			same(claims, &known);
		token_claims_clear(&known);
	}
	FUZZ_MUST((key.verdicts.first != NULL) ==
		  (p == P_NONE && claims->sub.len <= VERDICT_SUB_MAX));
	verdict_owner_end(&key.verdicts);
	return p;
}

/* A token's way through all of our checks. */
static bool
passes(const char *value, const struct config *cfg, struct token_parts *t,
    struct token_claims *claims)
{
	const char *text;
	size_t len;

	return bearer_parse(value, &text, &len) && token_split(text, len, t) &&
	       token_mac_ok(t, &key.secret) && judge(t, cfg, claims) == P_NONE;
}

static void
as_stranger(const char *value)
{
	struct token_claims claims = { 0 };
	struct token_parts t;
	size_t i;

	if (passes(value, &narrow, &t, &claims)) {
		for (i = 0; i < GENUINE; i++)
			if (strcmp(t.text, tokens[i]) == 0)
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
as_holder(const char *data, size_t size, const struct config *cfg,
    enum crypto_hash hash)
{
	struct token_claims claims = { 0 };
	struct token_parts t;
	struct buf value = { 0 }, header = { 0 }, payload = { 0 };
	size_t hlen = strnlen(data, size);
	size_t from = hlen < size ? hlen + 1 : size;

	buf_adds(&value, "Bearer ");
	struct buf token = { 0 };
	sign(data, hlen, data + from, size - from, hash, &token);
	buf_adds(&value, buf_str(&token));
	if (passes(buf_str(&value), cfg, &t, &claims)) {
		take_part(t.text, t.header_len, &header);
		take_part(t.text + t.header_len + 1,
		    t.signed_len - t.header_len - 1, &payload);
		FUZZ_MUST((cfg->jwt_algorithms & (1u << hash)) != 0);
		FUZZ_MUST(
		    oracle_token_ok(&header, &payload, NOW, alg_names[hash]));
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

	if (mode & SIGNED)
		as_holder(text, size, mode & WIDE ? &wide : &narrow,
		    (enum crypto_hash)((mode >> SHIFT) % 3));
	else
		as_stranger(text);
	free(text);
	return 0;
}

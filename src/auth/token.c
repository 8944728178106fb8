/*
 * JSON Web Tokens: the shape of the raw bytes, our MAC over them or the
 * signature, the one strict reading of header and payload, and libjwt's
 * verdict. libjwt chooses the algorithm by the token, compares its name without
 * case, skips characters that are no base64url, looks at no key's size or curve
 * and can answer 0 without having verified: so it only sees tokens that passed
 * all else, and its answer counts only together with the algorithm that was
 * pinned. What it can't judge is decided without it.
 */
#include "auth/token.h"

#include "base/base64url.h"
#include "base/json.h"
#include "base/metrics.h"

#include <errno.h>
#include <jwt.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { HEADER_KEPT_MAX = 128 };

/* By enum crypto_hash: the JOSE name (RFC 7518 section 3.1), and libjwt's. */
static const struct {
	const char *name;
	jwt_alg_t jwt;
} hashes[] = {
	{ "HS256", JWT_ALG_HS256 },
	{ "HS384", JWT_ALG_HS384 },
	{ "HS512", JWT_ALG_HS512 },
};

/* Of an own key: none where libjwt knows no such algorithm. */
static const jwt_alg_t own_algs[PUBLIC_KEY_ALGS] = {
	[PUBLIC_KEY_RS256] = JWT_ALG_RS256,
	[PUBLIC_KEY_ES256] = JWT_ALG_ES256,
	[PUBLIC_KEY_EDDSA] = JWT_ALG_NONE,
	[PUBLIC_KEY_ED25519] = JWT_ALG_NONE,
	[PUBLIC_KEY_EITHER] = JWT_ALG_NONE,
};

/* As long as any that we verify; the rest is refused before any work. */
static bool
is_signature_len(size_t len)
{
	return len == 32 || len == 48 || len == 64 ||
	       (len >= 256 && len <= CRYPTO_SIGNATURE_MAX);
}

/* One part: non-empty canonical base64url (RFC 7515 section 2). */
static bool
part_ok(const char *p, size_t len)
{
	return len > 0 && base64url_decode_to(p, len, NULL);
}

bool
token_split(const char *text, size_t len, struct token_parts *t)
{
	const char *dot1, *dot2, *end = text + len;
	size_t last;

	if (len == 0 || len > TOKEN_MAX || text[len] != '\0')
		return false;
	dot1 = memchr(text, '.', len);
	if (dot1 == NULL)
		return false;
	dot2 = memchr(dot1 + 1, '.', (size_t)(end - dot1) - 1);
	if (dot2 == NULL)
		return false;
	last = (size_t)(end - dot2) - 1;
	t->signature_len = BASE64URL_BYTES(last);
	/* A third dot is no base64url, so five parts (JWE) end here too. */
	if (!part_ok(text, (size_t)(dot1 - text)) ||
	    !part_ok(dot1 + 1, (size_t)(dot2 - dot1) - 1) ||
	    !is_signature_len(t->signature_len) ||
	    !base64url_decode_to(dot2 + 1, last, t->signature))
		return false;
	t->text = text;
	t->len = len;
	t->header_len = (size_t)(dot1 - text);
	t->signed_len = (size_t)(dot2 - text);
	return true;
}

bool
token_mac_ok(const struct token_parts *t, const struct secret *key,
    enum crypto_hash hash)
{
	const struct crypto_signed s = { key->data, key->len, t->text,
		t->signed_len };

	return crypto_hmac_ok(hash, &s, t->signature, t->signature_len);
}

bool
token_signature_ok(const struct token_parts *t, const struct public_key *own)
{
	return public_key_verify(
	    own, t->text, t->signed_len, t->signature, t->signature_len);
}

void
token_claims_clear(struct token_claims *c)
{
	buf_free(&c->payload);
	buf_free(&c->sub);
	buf_free(&c->jti);
	c->has_sub = false;
}

/* RFC 8725 sections 3.1, 3.2: exact bytes, and only what the key is for. */
static bool
is_alg(const struct token_key *key, const struct config *cfg, const char *s,
    size_t len)
{
	const char *name = hashes[cfg->jwt_algorithm].name;

	if (key->own != NULL)
		return public_key_alg_is(public_key_alg(key->own), s, len);
	return len == strlen(name) && memcmp(s, name, len) == 0;
}

/* RFC 8725 section 3.11: no other kind of token passes for a JWT. libjwt takes
 * the short name alone. */
static bool
typ_ok(const struct json *j, bool *readable)
{
	const char *s;
	size_t len;

	*readable = true;
	if (json_member_kind(j, "typ") == JSON_ABSENT)
		return true;
	if (!json_member_string(j, "typ", &s, &len))
		return false;
	if (strcasecmp(s, "JWT") == 0)
		return true;
	*readable = false;
	return strcasecmp(s, "application/jwt") == 0;
}

/* The JOSE header (RFC 7515 section 4), and whether libjwt can read it. */
static enum problem
read_header(const struct token_parts *t, const struct token_key *key,
    const struct config *cfg, bool *readable)
{
	struct buf text = { 0 };
	struct json *j = NULL;
	const char *s;
	enum problem p = P_TOKEN_MALFORMED;
	size_t len;

	if (base64url_decode(t->text, t->header_len, &text))
		j = json_parse(buf_str(&text), text.len);
	if (j == NULL)
		goto out;
	/* RFC 7515 section 4.1.11: we understand no extension. */
	if (json_member_kind(j, "crit") != JSON_ABSENT || !typ_ok(j, readable))
		goto out;
	p = P_TOKEN_ALGORITHM;
	if (!json_member_string(j, "alg", &s, &len) ||
	    !is_alg(key, cfg, s, len))
		goto out;
	*readable = *readable && json_numbers_fit(j);
	p = P_NONE;
out:
	json_free(j);
	buf_free(&text);
	return p;
}

/*
 * Whatever else their tokens say, all that a library makes have one header: the
 * last good one is known by its bytes, and by what it was good for.
 */
static enum problem
judge_header(const struct token_parts *t, const struct token_key *key,
    const struct config *cfg, bool *readable)
{
	static struct {
		char text[HEADER_KEPT_MAX];
		size_t len;
		bool own;
		unsigned alg; /* enum public_key_alg, or crypto_hash */
		bool readable;
	} last;
	bool own = key->own != NULL;
	unsigned alg = own ? (unsigned)public_key_alg(key->own)
			   : (unsigned)cfg->jwt_algorithm;
	enum problem p;

	if (t->header_len == last.len && own == last.own && alg == last.alg &&
	    memcmp(t->text, last.text, last.len) == 0) {
		*readable = last.readable;
		return P_NONE;
	}
	p = read_header(t, key, cfg, readable);
	if (p == P_NONE && t->header_len <= sizeof last.text) {
		memcpy(last.text, t->text, t->header_len);
		last.len = t->header_len;
		last.own = own;
		last.alg = alg;
		last.readable = *readable;
	}
	return p;
}

bool
token_decode_payload(const struct token_parts *t, struct buf *payload)
{
	return base64url_decode(t->text + t->header_len + 1,
	    t->signed_len - t->header_len - 1, payload);
}

static enum problem
judge_layer(const struct token_parts *t, const struct token_key *key,
    const struct config *cfg, struct buf *payload, bool *readable)
{
	enum problem p = judge_header(t, key, cfg, readable);

	if (p == P_NONE && !token_decode_payload(t, payload))
		p = P_TOKEN_MALFORMED;
	return p;
}

enum problem
token_payload(const struct token_parts *t, const struct token_key *key,
    const struct config *cfg, struct buf *payload)
{
	bool readable;

	return judge_layer(t, key, cfg, payload, &readable);
}

/* What libjwt is to find, JWT_ALG_NONE where it can't be asked. */
static jwt_alg_t
libjwt_alg(const struct token_key *key, const struct config *cfg)
{
	return key->own != NULL ? own_algs[public_key_alg(key->own)]
				: hashes[cfg->jwt_algorithm].jwt;
}

/*
 * libjwt's verdict. rc 0 alone proves nothing: with an empty key, or when its
 * copy of the key can't be allocated, it has not verified and says "none".
 */
static bool
libjwt_agrees(
    const struct token_parts *t, const struct token_key *key, jwt_alg_t alg)
{
	const char *k = key->secret->data;
	size_t len = key->secret->len;
	jwt_t *jwt = NULL;
	bool ok = false;

	if (key->own != NULL) {
		k = public_key_pem(key->own);
		len = strlen(k);
	}
	if (len == 0 || alg == JWT_ALG_NONE)
		return false;
	errno = 0;
	if (jwt_decode(&jwt, t->text, (const unsigned char *)k, (int)len) == 0)
		ok = jwt_get_alg(jwt) == alg;
	/* No memory is no verdict, and would refuse a good token. */
	if (!ok && errno == ENOMEM)
		abort();
	jwt_free(jwt);
	return ok;
}

/*
 * A NumericDate (RFC 7519 section 2): absent, or a number, infinite where it
 * is beyond double: such a time is far ahead, or long past. False on any other
 * type.
 */
static bool
numeric_date(const struct json *j, const char *name, bool *there, double *out)
{
	*there = json_member_kind(j, name) != JSON_ABSENT;
	return !*there || json_member_number(j, name, out);
}

static bool
read_times(const struct json *j, struct token_times *t)
{
	return numeric_date(j, "exp", &t->has_exp, &t->exp) &&
	       numeric_date(j, "nbf", &t->has_nbf, &t->nbf) &&
	       numeric_date(j, "iat", &t->has_iat, &t->iat);
}

/* RFC 7519 sections 4.1.4 to 4.1.6, with leeway, and the maximum age. */
static enum problem
judge_times(const struct token_times *t, const struct config *cfg, double now)
{
	double leeway = (double)cfg->jwt_leeway;

	if (!t->has_exp && cfg->jwt_require_exp)
		return P_TOKEN_WITHOUT_EXP;
	if (t->has_exp && now >= t->exp + leeway)
		return P_TOKEN_EXPIRED;
	if (t->has_nbf && t->nbf > now + leeway)
		return P_TOKEN_NOT_YET_VALID;
	if (t->has_iat && t->iat > now + leeway)
		return P_TOKEN_NOT_YET_VALID;
	if (cfg->jwt_max_age > 0) {
		if (!t->has_iat)
			return P_TOKEN_WITHOUT_IAT;
		if (now > t->iat + (double)cfg->jwt_max_age + leeway)
			return P_TOKEN_TOO_OLD;
	}
	return P_NONE;
}

/* sub: absent, or a non-empty string: absence means more power, so it must
 * never come by accident. */
static enum problem
read_subject(const struct json *j, struct token_claims *claims)
{
	const char *s;
	size_t len;

	if (json_member_kind(j, "sub") == JSON_ABSENT)
		return P_NONE;
	if (!json_member_string(j, "sub", &s, &len) || len == 0)
		return P_TOKEN_SUBJECT;
	buf_add(&claims->sub, s, len);
	claims->has_sub = true;
	return P_NONE;
}

/* RFC 7519 section 4.1.7: for tokens that are good once. */
static enum problem
read_id(
    const struct json *j, const struct config *cfg, struct token_claims *claims)
{
	const char *s;
	size_t len;

	if (!cfg->jwt_single_use)
		return P_NONE;
	if (json_member_kind(j, "jti") == JSON_ABSENT)
		return P_TOKEN_WITHOUT_JTI;
	if (!json_member_string(j, "jti", &s, &len) || len == 0 ||
	    !claims->times.has_exp)
		return P_TOKEN_MALFORMED;
	buf_add(&claims->jti, s, len);
	return P_NONE;
}

/*
 * RFC 7519 section 4.1.3, RFC 8725 section 3.9. The pair of an own key may sign
 * for other services too, whose tokens are not to be good here: they name the
 * app, which X-Public-Key alone would not bind them to.
 */
static bool
audience_ok(
    const struct json *j, const struct token_key *key, const struct config *cfg)
{
	bool ok = cfg->jwt_audience[0] == '\0' ||
		  json_member_has(j, "aud", cfg->jwt_audience);

	if (key->own == NULL || (cfg->own_key_audience_optional &&
				    json_member_kind(j, "aud") == JSON_ABSENT))
		return ok;
	return ok && json_member_has(j, "aud", key->public_key);
}

static bool
read_claims(const struct json *j, const struct token_key *key,
    const struct config *cfg, struct token_claims *claims)
{
	if (!read_times(j, &claims->times))
		return false;
	claims->audience = audience_ok(j, key, cfg);
	claims->fault = read_subject(j, claims);
	if (claims->fault == P_NONE)
		claims->fault = read_id(j, cfg, claims);
	return true;
}

/*
 * The one strict reading, and libjwt's agreement, as far as it can be asked:
 * its parser holds no number beyond int64 or double, and refuses the token; and
 * it knows no EdDSA. There the signature and our reading decide alone. Many
 * clients set exp to 2^64 - 1.
 */
static enum problem
read_token(const struct token_parts *t, const struct token_key *key,
    const struct config *cfg, struct token_claims *claims)
{
	jwt_alg_t alg = libjwt_alg(key, cfg);
	struct json *j;
	bool readable, ok;
	enum problem p = judge_layer(t, key, cfg, &claims->payload, &readable);

	if (p != P_NONE)
		return p;
	j = json_parse(buf_str(&claims->payload), claims->payload.len);
	if (j == NULL)
		return P_TOKEN_MALFORMED;
	claims->own_reading =
	    !readable || alg == JWT_ALG_NONE || !json_numbers_fit(j);
	ok = (claims->own_reading || libjwt_agrees(t, key, alg)) &&
	     read_claims(j, key, cfg, claims);
	json_free(j);
	return ok ? P_NONE : P_TOKEN_MALFORMED;
}

enum problem
token_claims_judge(
    const struct token_claims *c, const struct config *cfg, double now)
{
	enum problem p = judge_times(&c->times, cfg, now);

	if (c->own_reading)
		metrics_add(METRIC_TOKENS_OWN_READING, 1);
	if (p != P_NONE)
		return p;
	/* RFC 7519 section 4.1.3, RFC 8725 section 3.9 */
	if (!c->audience)
		return P_TOKEN_AUDIENCE;
	return c->fault;
}

enum problem
token_judge(const struct token_parts *t, const struct token_key *key,
    const struct config *cfg, double now, struct token_claims *claims)
{
	struct token_claims c = { 0 };
	enum problem p = read_token(t, key, cfg, &c);

	if (p == P_NONE)
		p = token_claims_judge(&c, cfg, now);
	if (p == P_NONE) {
		*claims = c;
		memset(&c, 0, sizeof c);
	}
	token_claims_clear(&c);
	return p;
}

bool
token_mint(const struct secret *key, enum crypto_hash hash, const char *claims,
    struct buf *out)
{
	jwt_t *jwt = NULL;
	char *text = NULL;
	bool ok = false;

	if (key->len == 0 ||
	    json_check(claims, strlen(claims), NULL) != JSON_OK)
		return false;
	if (jwt_new(&jwt) != 0)
		return false;
	if (jwt_add_grants_json(jwt, claims) == 0 &&
	    jwt_set_alg(jwt, hashes[hash].jwt, (const unsigned char *)key->data,
		(int)key->len) == 0)
		text = jwt_encode_str(jwt);
	if (text != NULL) {
		buf_adds(out, text);
		crypto_wipe(text, strlen(text));
		free(text);
		ok = true;
	}
	jwt_free(jwt);
	return ok;
}

bool
token_sign(const struct crypto_key *key, const char *alg, const char *claims,
    struct buf *out)
{
	unsigned char sig[CRYPTO_SIGNATURE_MAX];
	struct buf header = { 0 }, text = { 0 };
	size_t len = 0;

	if (json_check(claims, strlen(claims), NULL) != JSON_OK)
		return false;
	buf_addf(&header, "{\"alg\":\"%s\",\"typ\":\"JWT\"}", alg);
	base64url_encode(&text, header.data, header.len);
	buf_addc(&text, '.');
	base64url_encode(&text, claims, strlen(claims));
	len = crypto_key_sign(key, text.data, text.len, sig);
	if (len > 0) {
		buf_add(out, text.data, text.len);
		buf_addc(out, '.');
		base64url_encode(out, sig, len);
	}
	buf_free(&text);
	buf_free(&header);
	return len > 0;
}

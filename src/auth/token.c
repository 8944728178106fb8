/*
 * JSON Web Tokens: the shape of the raw bytes, our MAC over them, the one
 * strict reading of header and payload, and libjwt's verdict. libjwt chooses
 * the algorithm by the token, compares its name without case, skips characters
 * that are no base64url and can answer 0 without having verified: so it only
 * sees tokens that passed all else, and its answer counts only together with
 * the algorithm that was pinned. What its parser can't hold it can't judge:
 * such a token is decided without it.
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

/* By enum crypto_hash: the JOSE name (RFC 7518 section 3.1), libjwt's, ours. */
static const struct {
	const char *name;
	jwt_alg_t jwt;
	unsigned bit;
} algorithms[] = {
	{ "HS256", JWT_ALG_HS256, JWT_HS256 },
	{ "HS384", JWT_ALG_HS384, JWT_HS384 },
	{ "HS512", JWT_ALG_HS512, JWT_HS512 },
};

/* The hash whose MAC has this length; the length is fixed before any JSON of
 * the token is read (RFC 8725 section 3.1: the verifier pins). */
static bool
hash_by_length(size_t len, enum crypto_hash *hash)
{
	unsigned h;

	for (h = CRYPTO_SHA256; h <= CRYPTO_SHA512; h++)
		if (crypto_mac_len((enum crypto_hash)h) == len) {
			*hash = (enum crypto_hash)h;
			return true;
		}
	return false;
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
	size_t mac_len;

	if (len == 0 || len > TOKEN_MAX || text[len] != '\0')
		return false;
	dot1 = memchr(text, '.', len);
	if (dot1 == NULL)
		return false;
	dot2 = memchr(dot1 + 1, '.', (size_t)(end - dot1) - 1);
	if (dot2 == NULL)
		return false;
	mac_len = (size_t)(end - dot2) - 1;
	t->mac_len = BASE64URL_BYTES(mac_len);
	/* A third dot is no base64url, so five parts (JWE) end here too. */
	if (!part_ok(text, (size_t)(dot1 - text)) ||
	    !part_ok(dot1 + 1, (size_t)(dot2 - dot1) - 1) ||
	    !hash_by_length(t->mac_len, &t->hash) ||
	    !base64url_decode_to(dot2 + 1, mac_len, t->mac))
		return false;
	t->text = text;
	t->len = len;
	t->header_len = (size_t)(dot1 - text);
	t->signed_len = (size_t)(dot2 - text);
	return true;
}

bool
token_mac_ok(const struct token_parts *t, const struct secret *key)
{
	const struct crypto_signed s = { key->data, key->len, t->text,
		t->signed_len };

	return crypto_hmac_ok(t->hash, &s, t->mac, t->mac_len);
}

void
token_claims_clear(struct token_claims *c)
{
	buf_free(&c->payload);
	buf_free(&c->sub);
	buf_free(&c->jti);
	c->has_sub = false;
}

/* The JOSE header (RFC 7515 section 4), and whether libjwt can read it. */
static enum problem
read_header(const struct token_parts *t, bool *readable)
{
	struct buf text = { 0 };
	struct json *j = NULL;
	const char *s, *alg = algorithms[t->hash].name;
	enum problem p = P_TOKEN_MALFORMED;
	size_t len;

	if (base64url_decode(t->text, t->header_len, &text))
		j = json_parse(buf_str(&text), text.len);
	if (j == NULL)
		goto out;
	/* RFC 7515 section 4.1.11: we understand no extension. */
	if (json_member_kind(j, "crit") != JSON_ABSENT)
		goto out;
	/* RFC 8725 section 3.11: no other kind of token passes for a JWT. */
	if (json_member_kind(j, "typ") != JSON_ABSENT &&
	    (!json_member_string(j, "typ", &s, &len) || len != 3 ||
		strcasecmp(s, "JWT") != 0))
		goto out;
	p = P_TOKEN_ALGORITHM;
	/* RFC 8725 section 3.1: exact bytes. */
	if (!json_member_string(j, "alg", &s, &len) || len != strlen(alg) ||
	    memcmp(s, alg, len) != 0)
		goto out;
	*readable = json_numbers_fit(j);
	p = P_NONE;
out:
	json_free(j);
	buf_free(&text);
	return p;
}

/*
 * Whatever else their tokens say, all that a library makes have one header: the
 * last good one is known by its bytes.
 */
static enum problem
judge_header(
    const struct token_parts *t, const struct config *cfg, bool *readable)
{
	static struct {
		char text[HEADER_KEPT_MAX];
		size_t len;
		enum crypto_hash hash;
		bool readable;
	} last;
	enum problem p = P_NONE;

	if (t->header_len == last.len && t->hash == last.hash &&
	    memcmp(t->text, last.text, last.len) == 0) {
		*readable = last.readable;
	} else {
		p = read_header(t, readable);
		if (p == P_NONE && t->header_len <= sizeof last.text) {
			memcpy(last.text, t->text, t->header_len);
			last.len = t->header_len;
			last.hash = t->hash;
			last.readable = *readable;
		}
	}
	/* RFC 8725 section 3.2: only what is allowed. */
	if (p == P_NONE && (cfg->jwt_algorithms & algorithms[t->hash].bit) == 0)
		p = P_TOKEN_ALGORITHM;
	return p;
}

bool
token_decode_payload(const struct token_parts *t, struct buf *payload)
{
	return base64url_decode(t->text + t->header_len + 1,
	    t->signed_len - t->header_len - 1, payload);
}

static enum problem
judge_layer(const struct token_parts *t, const struct config *cfg,
    struct buf *payload, bool *readable)
{
	enum problem p = judge_header(t, cfg, readable);

	if (p == P_NONE && !token_decode_payload(t, payload))
		p = P_TOKEN_MALFORMED;
	return p;
}

enum problem
token_payload(
    const struct token_parts *t, const struct config *cfg, struct buf *payload)
{
	bool readable;

	return judge_layer(t, cfg, payload, &readable);
}

/*
 * libjwt's verdict. rc 0 alone proves nothing: with an empty key, or when its
 * copy of the key can't be allocated, it has not verified and says "none".
 */
static bool
libjwt_agrees(const struct token_parts *t, const struct secret *key)
{
	jwt_t *jwt = NULL;
	bool ok = false;

	if (key->len == 0)
		return false;
	errno = 0;
	if (jwt_decode(&jwt, t->text, (const unsigned char *)key->data,
		(int)key->len) == 0)
		ok = jwt_get_alg(jwt) == algorithms[t->hash].jwt;
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

static bool
read_claims(
    const struct json *j, const struct config *cfg, struct token_claims *claims)
{
	if (!read_times(j, &claims->times))
		return false;
	claims->audience = cfg->jwt_audience[0] == '\0' ||
			   json_member_has(j, "aud", cfg->jwt_audience);
	claims->fault = read_subject(j, claims);
	if (claims->fault == P_NONE)
		claims->fault = read_id(j, cfg, claims);
	return true;
}

/*
 * The one strict reading, and libjwt's agreement, as far as it can be asked:
 * its parser holds no number beyond int64 or double, and refuses the token.
 * There our MAC and our reading decide alone. Many clients set exp to 2^64 - 1.
 */
static enum problem
read_token(const struct token_parts *t, const struct secret *key,
    const struct config *cfg, struct token_claims *claims)
{
	struct json *j;
	bool readable, ok;
	enum problem p = judge_layer(t, cfg, &claims->payload, &readable);

	if (p != P_NONE)
		return p;
	j = json_parse(buf_str(&claims->payload), claims->payload.len);
	if (j == NULL)
		return P_TOKEN_MALFORMED;
	claims->own_reading = !readable || !json_numbers_fit(j);
	ok = (claims->own_reading || libjwt_agrees(t, key)) &&
	     read_claims(j, cfg, claims);
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
token_judge(const struct token_parts *t, const struct secret *key,
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
token_mint(const struct secret *key, const char *claims, struct buf *out)
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
	    jwt_set_alg(jwt, JWT_ALG_HS256, (const unsigned char *)key->data,
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

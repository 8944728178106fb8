#ifndef POSTERN_AUTH_TOKEN_H
#define POSTERN_AUTH_TOKEN_H

#include "base/buf.h"
#include "base/config.h"
#include "base/crypto.h"
#include "base/crypto_key.h"
#include "base/public_key.h"
#include "base/secret.h"
#include "http/problem.h"
#include <stdbool.h>
#include <stddef.h>

/*
 * JWT (RFC 7519) in JWS compact form (RFC 7515), by the rules of RFC 8725. The
 * only user of libjwt. Order of decision: shape of the raw bytes; our own MAC
 * over them, or the signature under the app's own key; one strict reading of
 * header and payload; libjwt. Nothing passes unless all agree; libjwt is not
 * asked about what it doesn't know: EdDSA, the type application/jwt, and a
 * number that its parser can't hold (beyond int64 or double).
 */

enum { TOKEN_MAX = 8192, TOKEN_DIGEST = 32 };

/* A token's three parts and decoded signature: shape checked, nothing more. */
struct token_parts {
	const char *text; /* the whole, borrowed */
	size_t len;
	size_t header_len; /* up to the first dot */
	size_t signed_len; /* up to the second dot: what the signature covers */
	unsigned char signature[CRYPTO_SIGNATURE_MAX];
	size_t signature_len;
	/* By what its verdict is found; set by material_verifies. */
	unsigned char digest[TOKEN_DIGEST];
};

/* RFC 7515 section 7.1: text[len] is a NUL, for libjwt; length, alphabet,
 * exactly three non-empty parts, canonical base64url, a signature of 32, 48 or
 * 64 bytes, or as long as an RSA key may be, 256 to 512. */
bool token_split(
    const char *text, size_t len, struct token_parts *t) MUST_CHECK;

/* Does the MAC by this hash verify under this key (its ASCII characters)?
 * Constant time; computes one HMAC whatever the outcome, also for a signature
 * of another length. An empty key never verifies. */
bool token_mac_ok(const struct token_parts *t, const struct secret *key,
    enum crypto_hash hash) MUST_CHECK;

/* Does the signature verify under an app's own key? */
bool token_signature_ok(
    const struct token_parts *t, const struct public_key *own) MUST_CHECK;

/* What a token is judged by; it says by which algorithm (RFC 8725 section
 * 3.1). */
struct token_key {
	const struct secret *secret;  /* where own is NULL */
	const struct public_key *own; /* the app's own */
	const char *public_key;       /* the app's: aud under an own key */
};

/*
 * The rest of the JWS layer (RFC 7515 section 5.2) for a token whose signature
 * is good: the header is judged, and the payload's bytes, whatever they are,
 * are appended. Else the 401 that names the fault.
 */
enum problem token_payload(const struct token_parts *t,
    const struct token_key *key, const struct config *cfg,
    struct buf *payload) MUST_CHECK;

/* The payload's bytes are appended, whatever they are; false if they are not
 * base64url, as they are after token_split. */
bool token_decode_payload(
    const struct token_parts *t, struct buf *payload) MUST_CHECK;

/* NumericDates (RFC 7519 section 2) of a token; may be infinite. */
struct token_times {
	double exp, nbf, iat;
	bool has_exp, has_nbf, has_iat;
};

/* What a good token says. */
struct token_claims {
	struct buf payload; /* the payload's JSON, as signed */
	struct buf sub;     /* empty: an app token */
	bool has_sub;
	struct buf jti; /* filled only where the settings ask for it */
	struct token_times times;
	bool audience;      /* its aud is what settings and key want */
	bool own_reading;   /* libjwt can't judge it */
	enum problem fault; /* of sub or jti; P_NONE */
};
void token_claims_clear(struct token_claims *c);

/*
 * Judge a token whose signature is good under key: header, libjwt's verdict,
 * claims against the clock and the settings. P_NONE with *claims, or the 401
 * that names the fault (RFC 8725 section 3; RFC 7519 section 4.1).
 */
enum problem token_judge(const struct token_parts *t,
    const struct token_key *key, const struct config *cfg, double now,
    struct token_claims *claims) MUST_CHECK;

/* The last part of it: what a token said when it was read, now. */
enum problem token_claims_judge(const struct token_claims *c,
    const struct config *cfg, double now) MUST_CHECK;

/*
 * Mint with HMAC by this hash through libjwt: claims is a JSON object text.
 * Appends the compact form to out; false if libjwt fails or claims is no
 * object.
 */
bool token_mint(const struct secret *key, enum crypto_hash hash,
    const char *claims, struct buf *out) MUST_CHECK;

/* The same with a private key, of which alg is the algorithm's name, through
 * libcrypto. */
bool token_sign(const struct crypto_key *key, const char *alg,
    const char *claims, struct buf *out) MUST_CHECK;

#endif

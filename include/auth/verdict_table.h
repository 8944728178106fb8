#ifndef POSTERN_AUTH_VERDICT_TABLE_H
#define POSTERN_AUTH_VERDICT_TABLE_H

#include "auth/token.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Verdicts: what good tokens said, so that each is read once and not at each
 * request. A bounded table of this process, in memory that is not dumped. Under
 * a secret it is asked only about a token whose MAC was computed over the bytes
 * at hand and found to be the token's signature: by that MAC, and by the serial
 * number of the material that it was computed under, a hit says that these very
 * bytes were read strictly and that libjwt agreed. Under an app's own key the
 * digest is an HMAC of ours over serial number and token, and a hit stands for
 * the signature as well. No token is kept, no refusal, and nothing that the
 * clock decides.
 */
struct verdicts;

/* Longer subjects are not kept, nor are their verdicts. */
enum { VERDICT_SUB_MAX = 92 };

/* Whose verdicts these are: a material's, for as long as it may be asked for.
 * { 0 } has none, and none are kept. */
struct verdict_owner {
	uint64_t serial; /* never used twice; 0 = none */
	struct verdict *first;
};

/* From now on verdicts are kept, under a serial number of their own. */
void verdict_owner_begin(struct verdict_owner *o);

/* All of them are wiped, no more are kept; o is { 0 } afterwards. Accepts
 * { 0 }. */
void verdict_owner_end(struct verdict_owner *o);

/* At most n verdicts; 0: none. Owners must end before the table is freed. */
struct verdicts *verdicts_new(size_t n);
void verdicts_free(struct verdicts *vs);

/* Set t->digest to what a verdict about it under an own key is found by; false
 * where none is kept. */
bool verdicts_digest(const struct verdicts *vs, const struct verdict_owner *o,
    struct token_parts *t) MUST_CHECK;

/* Is there a verdict about the token of this digest? */
bool verdicts_has(const struct verdicts *vs, const struct verdict_owner *o,
    const struct token_parts *t) MUST_CHECK;

/*
 * What the token said, whose signature is good under o's material: *claims,
 * which must be { 0 }, without payload and jti. It is still to be judged by the
 * clock and the settings. False if it is not known.
 */
bool verdicts_find(struct verdicts *vs, const struct verdict_owner *o,
    const struct token_parts *t, struct token_claims *claims) MUST_CHECK;

/* Keep what a token said that verdicts_find did not know, if there is room for
 * it; the one that was used least recently may make way. */
void verdicts_keep(struct verdicts *vs, struct verdict_owner *o,
    const struct token_parts *t, const struct token_claims *claims);

#endif

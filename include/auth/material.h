#ifndef POSTERN_AUTH_MATERIAL_H
#define POSTERN_AUTH_MATERIAL_H

#include "auth/token.h"
#include "auth/verdict.h"
#include "base/config.h"
#include "base/secret.h"

/*
 * What an app's tokens are verified with, current or previous, and the verdicts
 * about tokens that it verified. { 0 } is none.
 */
struct material {
	struct secret secret; /* hex characters; empty = none */
	struct verdict_owner verdicts;
};

/* Wipes both; accepts { 0 }. */
void material_clear(struct material *m);

/* What a token is judged by. */
struct judging {
	const struct config *cfg;
	struct verdicts *verdicts; /* of these settings */
	double now;                /* seconds since the epoch */
};

/*
 * token_judge for a token whose MAC was found to be good under m's secret. If
 * it is known what the token says, that is judged, and it is not read again;
 * the outcome is the same.
 */
enum problem material_judge(struct material *m, const struct token_parts *t,
    const struct judging *j, struct token_claims *claims) MUST_CHECK;

#endif

#ifndef POSTERN_AUTH_MATERIAL_H
#define POSTERN_AUTH_MATERIAL_H

#include "auth/token.h"
#include "auth/verdict_table.h"
#include "base/buf.h"
#include "base/config.h"
#include "base/seal.h"
#include "base/secret.h"
#include "base/status.h"

/*
 * What an app's tokens are verified with, current or previous: drawn, sealed,
 * opened and used here, for the server and the tool alike; and the verdicts
 * about tokens that it verified. { 0 } is none.
 */
struct material {
	/* As the client holds it, in lowercase hex: these characters are the
	 * JWT's HMAC key. Empty where the app brought its own key. */
	struct secret secret;
	struct public_key *own; /* NULL where it is a secret */
	struct verdict_owner verdicts;
};

/* Wipes all of it; accepts { 0 }. */
void material_clear(struct material *m);

bool material_is_there(const struct material *m);

/* In constant time: the same, however it was sealed? */
bool material_same(const struct material *a, const struct material *b);

/* Seal an app's own key for the row of public_key, under the current master
 * key; appended to *sealed. */
void material_seal_own(const struct config *cfg, const char *public_key,
    const struct public_key *own, struct buf *sealed);

/* Draw a new secret: its hex characters into *hex, and its text, sealed for
 * the row of public_key under the current master key, appended to *sealed. */
void material_draw(const struct config *cfg, const char *public_key,
    struct buf *sealed, struct secret *hex);

/*
 * Open what a row has sealed; goliauth's format only while the settings accept
 * it (else ST_BROKEN). m must be { 0 }. The reason is logged with the public
 * key; ST_KEY_MISSING names the wanted fingerprint.
 */
enum status material_open(const struct config *cfg, const struct sealed *s,
    struct material *m) MUST_CHECK;

/*
 * Seal it anew, bound to its row, under the current master key: its text is
 * appended to *anew, which must be { 0 }. goliauth's format the caller has to
 * have allowed. ST_KEY_MISSING or ST_BROKEN as in seal_open_any; nothing is
 * logged.
 */
enum status material_reseal(const struct config *cfg, const struct sealed *s,
    struct buf *anew) MUST_CHECK;

/* What a token is judged by. */
struct judging {
	const struct config *cfg;
	struct verdicts *verdicts; /* of these settings */
	const char *public_key;    /* the app's */
	double now;                /* seconds since the epoch */
};

/*
 * Does the signature verify? Of no material it never does. What m is decides by
 * what algorithm, whatever the token says. Under an own key it is enough that
 * these very bytes did before. t->digest is set for material_judge.
 */
bool material_verifies(const struct material *m, struct token_parts *t,
    const struct judging *j) MUST_CHECK;

/*
 * The classic mistake of clients: does it verify with the secret's hex or
 * base64 decoded before use? Up to two HMACs more.
 */
bool material_suspects_encoding(const struct material *m,
    const struct token_parts *t, const struct config *cfg);

/*
 * token_judge for a token that m verifies. If it is known what the token says,
 * that is judged, and it is not read again; the outcome is the same.
 */
enum problem material_judge(struct material *m, const struct token_parts *t,
    const struct judging *j, struct token_claims *claims) MUST_CHECK;

#endif

/*
 * An app's material, and the verdicts that hang on it.
 */
#include "auth/material.h"

void
material_clear(struct material *m)
{
	verdict_owner_end(&m->verdicts);
	secret_clear(&m->secret);
}

/* A known token, its payload that of the request at hand; *known is used up. */
static enum problem
judge_known(const struct token_parts *t, const struct judging *j,
    struct token_claims *known, struct token_claims *claims)
{
	enum problem p = token_claims_judge(known, j->cfg, j->now);

	if (p == P_NONE && !token_decode_payload(t, &known->payload))
		p = P_TOKEN_MALFORMED;
	if (p == P_NONE)
		*claims = *known;
	else
		token_claims_clear(known);
	return p;
}

enum problem
material_judge(struct material *m, const struct token_parts *t,
    const struct judging *j, struct token_claims *claims)
{
	struct token_claims known = { 0 };
	enum problem p;

	/* Nothing is kept of tokens that are good once. */
	if (j->cfg->jwt_single_use)
		return token_judge(t, &m->secret, j->cfg, j->now, claims);
	if (verdicts_find(j->verdicts, &m->verdicts, t, &known))
		return judge_known(t, j, &known, claims);
	p = token_judge(t, &m->secret, j->cfg, j->now, claims);
	if (p == P_NONE)
		verdicts_keep(j->verdicts, &m->verdicts, t, claims);
	return p;
}

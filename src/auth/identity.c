/*
 * Who it turned out to be, nobody at first; and what every decision begins
 * with, the bearer token, or ends with, a refusal.
 */
#include "auth/identity.h"

#include "base/bearer.h"

#include <string.h>

/* Of identities without an app. */
static const struct key_app no_app;

void
identity_init(struct identity *id)
{
	memset(id, 0, sizeof *id);
	id->app = &no_app;
}

void
identity_clear(struct identity *id)
{
	key_entry_release(id->key);
	token_claims_clear(&id->claims);
	identity_init(id);
}

enum problem
identity_bearer(const struct request *req, struct identity *id,
    const char **token, size_t *len)
{
	if (req->authorization == NULL)
		return identity_refuse(id, P_TOKEN_MISSING, "no_authorization");
	if (req->credential_doubled)
		return identity_refuse(
		    id, P_INVALID_CREDENTIALS, "credential_doubled");
	if (!bearer_parse(req->authorization, token, len))
		return identity_refuse(
		    id, P_INVALID_CREDENTIALS, "not_a_bearer_token");
	return P_NONE;
}

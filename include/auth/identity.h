#ifndef POSTERN_AUTH_IDENTITY_H
#define POSTERN_AUTH_IDENTITY_H

#include "auth/key_entry.h"
#include "auth/token.h"
#include "http/problem.h"
#include "http/request.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Who it turned out to be. */
struct identity {
	struct key_entry *key;     /* a reference, or NULL */
	const struct key_app *app; /* key's, or an empty one; sealed only where
				  need is NEED_APP_CURRENT */
	struct token_claims claims;
	bool by_previous;       /* signed with the previous secret */
	const char *actor_kind; /* "app", "user", "admin", "registration",
				   "metrics", "invite", "open" */
	int64_t invite_id;
	const char *reason;  /* of a refusal, for the log only */
	const char *cause;   /* what a 429 or 503 would have been refused for */
	int64_t retry_after; /* of a 429, in seconds */
};
void identity_init(struct identity *id); /* nobody */
void identity_clear(struct identity *id);

/* A refusal: p, and its reason for the operator's log. Here, so that who reads
 * a caller sees that it is p. */
static inline enum problem
identity_refuse(struct identity *id, enum problem p, const char *reason)
{
	id->reason = reason;
	return p;
}

/* The request's bearer token, len bytes in it (RFC 6750 section 2.1), or the
 * problem with it. */
enum problem identity_bearer(const struct request *req, struct identity *id,
    const char **token, size_t *len) MUST_CHECK;

#endif

#ifndef POSTERN_AUTH_LIMITS_H
#define POSTERN_AUTH_LIMITS_H

#include "auth/identity.h"
#include "base/config.h"

/*
 * How often something may be done (POSTERN_LIMIT_...). Limits come behind the
 * decision, never before it, so that nobody can be locked out by another: a
 * good token is never refused for what others did.
 */

/*
 * A decision p that is no yes, in *id as auth_decide leaves it. Credentials
 * that were sent and are wrong are taken from the buckets of the client's
 * address and of the public key: where one is empty, that 401 becomes a 429
 * with id->retry_after, id->cause being the reason. Every other p is
 * returned as it is. So is a named 401 (an expired token, say): its signature
 * was good, and its client has to know.
 */
enum problem limits_failure(const struct config *cfg, const struct request *req,
    enum problem p, struct identity *id) MUST_CHECK;

/* A registration that nobody vouches for: P_NONE, or 429 with
 * id->retry_after. */
enum problem limits_registration(const struct config *cfg,
    const struct request *req, struct identity *id) MUST_CHECK;

/* A request that the app of id makes with a good token (POSTERN_LIMIT_APP). */
enum problem limits_app(
    const struct config *cfg, struct identity *id) MUST_CHECK;

#endif

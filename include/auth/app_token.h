#ifndef POSTERN_AUTH_APP_TOKEN_H
#define POSTERN_AUTH_APP_TOKEN_H

#include "auth/identity.h"
#include "auth/uses.h"
#include "base/buf.h"
#include "base/config.h"
#include "data/db.h"
#include "http/route.h"

/*
 * Tokens of apps and of their users: yes or no. Holds the keys and verdicts
 * that are at hand, and the decoy.
 */
struct app_auth;

/* All of it stays the caller's, for as long. */
struct app_auth *app_auth_new(
    const struct config *cfg, struct db *db, struct uses *uses);
void app_auth_free(struct app_auth *aa); /* accepts NULL */

/* As auth_decide for what needs such a token, before the limits on failures. */
enum problem app_auth_decide(struct app_auth *aa, enum need need,
    const struct request *req, const struct buf *user,
    struct identity *id) MUST_CHECK;

/* auth_reread. */
bool app_auth_reread(struct app_auth *aa, struct identity *id) MUST_CHECK;

#endif

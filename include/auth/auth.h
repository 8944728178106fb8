#ifndef POSTERN_AUTH_AUTH_H
#define POSTERN_AUTH_AUTH_H

#include "auth/token.h"
#include "base/config.h"
#include "data/app_store.h"
#include "data/db.h"
#include "http/problem.h"
#include "http/request.h"
#include "http/route.h"

/*
 * Who is asking: yes or no. Holds the decoy, a made-up sealed app that stands
 * in for an unknown key, so that like costs alike by time.
 */
struct auth;

struct auth *auth_new(const struct config *cfg, struct db *db);
void auth_free(struct auth *au);

/* Who it turned out to be. */
struct identity {
	struct app app; /* of a token; else empty */
	struct token_claims claims;
	bool by_previous;       /* signed with the previous secret */
	const char *actor_kind; /* "app", "admin", "registration", "open" */
	const char *reason;     /* of a refusal, for the log only */
};
void identity_clear(struct identity *id);

/*
 * Decide need for this request. user is the decoded {user}, NULL if the route
 * has none. P_NONE with *id filled as far as need asks; 401, 403 or 503
 * otherwise, id->reason saying why for the operator's log.
 */
enum problem auth_decide(struct auth *au, enum need need,
    const struct request *req, const struct buf *user,
    struct identity *id) MUST_CHECK;

#endif

#ifndef POSTERN_AUTH_AUTH_H
#define POSTERN_AUTH_AUTH_H

#include "auth/key_cache.h"
#include "auth/token.h"
#include "base/config.h"
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

/* Work of its own between requests: the monotonic µs at which auth_tend wants
 * to be called. auth_finish does what is left before the process ends. */
int64_t auth_due_us(const struct auth *au);
void auth_tend(struct auth *au);
void auth_finish(struct auth *au);

/* This app has just been deleted: what it leaves behind is taken away, a little
 * of it now. */
void auth_sweep(struct auth *au, int64_t app_id);

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

/*
 * Decide need for this request. user is the decoded {user}, NULL if the route
 * has none. P_NONE with *id filled as far as need asks; 401, 403, 429 or 503
 * otherwise, id->reason saying why for the operator's log. 503 is also what
 * would be a 401, were it not for news that can't arrive.
 */
enum problem auth_decide(struct auth *au, enum need need,
    const struct request *req, const struct buf *user,
    struct identity *id) MUST_CHECK;

/*
 * After a change of the app was a conflict: is the row's secret still the one
 * that id was decided by, only sealed anew (postern reseal)? Then id has the
 * row as it is now, and the caller may try again.
 */
bool auth_resealed(struct auth *au, struct identity *id) MUST_CHECK;

#endif

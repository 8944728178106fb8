#ifndef POSTERN_AUTH_AUTH_H
#define POSTERN_AUTH_AUTH_H

#include "auth/identity.h"
#include "auth/uses.h"
#include "base/config.h"
#include "data/db.h"
#include "http/problem.h"
#include "http/request.h"
#include "http/route.h"

/* Who is asking: yes or no. */
struct auth;

/* Notes uses of keys in uses; all of it stays the caller's, for as long. */
struct auth *auth_new(
    const struct config *cfg, struct db *db, struct uses *uses);
void auth_free(struct auth *au); /* accepts NULL */

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
 * After a change of the app was a conflict: its row is read again. Is its
 * secret still the one that id was decided by, only sealed anew (postern
 * reseal)? Then id has the row as it is now, and the caller may try again.
 */
bool auth_reread(struct auth *au, struct identity *id) MUST_CHECK;

#endif

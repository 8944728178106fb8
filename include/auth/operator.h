#ifndef POSTERN_AUTH_OPERATOR_H
#define POSTERN_AUTH_OPERATOR_H

#include "auth/identity.h"
#include "base/config.h"
#include "data/db.h"
#include "http/route.h"

/*
 * Who has a token of the operator's: the admin's, a registrar's or the
 * metrics', or an invite; and who may register without one. need is
 * NEED_REGISTRAR, NEED_ADMIN or NEED_METRICS. P_NONE with id->actor_kind, and
 * the invite's id; else as auth_decide, before the limits on failures.
 */
enum problem operator_decide(const struct config *cfg, struct db *db,
    enum need need, const struct request *req, struct identity *id) MUST_CHECK;

#endif

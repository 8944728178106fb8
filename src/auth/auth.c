/*
 * Who is asking: chooses who decides, the one for the operator's tokens or the
 * one for apps' and users'. It looks over every "no": the limits, and whether
 * it may be said at all.
 */
#include "auth/auth.h"

#include "auth/app_token.h"
#include "auth/limits.h"
#include "auth/operator.h"
#include "base/mem.h"

#include <stdlib.h>

struct auth {
	const struct config *cfg;
	struct db *db;
	struct app_auth *apps;
};

struct auth *
auth_new(const struct config *cfg, struct db *db, struct uses *uses)
{
	struct auth *au = mem_alloc(sizeof *au);

	au->cfg = cfg;
	au->db = db;
	au->apps = app_auth_new(cfg, db, uses);
	return au;
}

void
auth_free(struct auth *au)
{
	if (au == NULL)
		return;
	app_auth_free(au->apps);
	free(au);
}

static enum problem
decide(struct auth *au, enum need need, const struct request *req,
    const struct buf *user, struct identity *id)
{
	switch (need) {
	case NEED_NOBODY:
		return P_NONE;
	case NEED_REGISTRAR:
	case NEED_ADMIN:
	case NEED_METRICS:
		return operator_decide(au->cfg, au->db, need, req, id);
	default:
		return app_auth_decide(au->apps, need, req, user, id);
	}
}

/*
 * A "no" by what is known of an app holds only while changes of it are told:
 * elsewhere it may have been made, enabled, extended or rotated. It is behind
 * the limits, or whoever guesses could do so without end.
 */
static enum problem
doubt(const struct auth *au, enum problem p, struct identity *id)
{
	if (p != P_INVALID_CREDENTIALS || id->key == NULL || db_hears(au->db))
		return p;
	id->cause = id->reason;
	return identity_refuse(id, P_UNAVAILABLE, db_state(au->db));
}

enum problem
auth_decide(struct auth *au, enum need need, const struct request *req,
    const struct buf *user, struct identity *id)
{
	enum problem p = decide(au, need, req, user, id);

	if (p == P_NONE)
		return p;
	return doubt(au, limits_failure(au->cfg, req, p, id), id);
}

bool
auth_reread(struct auth *au, struct identity *id)
{
	return app_auth_reread(au->apps, id);
}

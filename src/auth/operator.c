/*
 * The operator's tokens, for the admin, registrars and metrics. So are the
 * invites that stand for a registrar's, and registration by anyone, where that
 * is allowed.
 */
#include "auth/operator.h"

#include "auth/limits.h"
#include "data/invite_store.h"

/* An invite is known by its form, so that no other token is asked for. */
static enum problem
decide_invite(struct db *db, const char *token, size_t len, struct identity *id)
{
	enum status st;

	if (!invite_is_token(token, len))
		return identity_refuse(
		    id, P_INVALID_CREDENTIALS, "operator_token_bad");
	st = invite_store_find(db, token, len, &id->invite_id);
	if (st == ST_NOT_FOUND)
		return identity_refuse(
		    id, P_INVALID_CREDENTIALS, "invite_not_good");
	if (st != ST_OK)
		return identity_refuse(id, P_UNAVAILABLE, db_state(db));
	id->actor_kind = "invite";
	return P_NONE;
}

/*
 * Who has this token of the operator's, NULL if it is none or not for need. All
 * are compared, whichever matches: the time tells nothing.
 */
static const char *
holder(const struct config *cfg, enum need need, const char *token, size_t len)
{
	bool admin = secret_equal(&cfg->admin_token, token, len);
	bool registrar = secret_equal(&cfg->registration_token, token, len);
	bool metrics = secret_equal(&cfg->metrics_token, token, len);

	if (admin)
		return "admin";
	if (need == NEED_REGISTRAR && registrar)
		return "registration";
	if (need == NEED_METRICS && metrics)
		return "metrics";
	return NULL;
}

static enum problem
decide_token(const struct config *cfg, struct db *db, enum need need,
    const struct request *req, struct identity *id)
{
	const char *token;
	size_t len;
	enum problem p;

	p = identity_bearer(req, id, &token, &len);
	if (p == P_TOKEN_MISSING)
		return identity_refuse(id, P_CREDENTIALS_MISSING, id->reason);
	if (p != P_NONE)
		return p;
	id->actor_kind = holder(cfg, need, token, len);
	if (id->actor_kind != NULL)
		return P_NONE;
	if (need == NEED_REGISTRAR)
		return decide_invite(db, token, len, id);
	return identity_refuse(id, P_INVALID_CREDENTIALS, "operator_token_bad");
}

/*
 * Anyone may register, but strangers only so often. Whoever has a token is not
 * held up by them; an invite is not looked at, and so not used, while there is
 * no need.
 */
static enum problem
decide_open(const struct config *cfg, struct db *db, const struct request *req,
    struct identity *id)
{
	struct identity limited;
	const char *token;
	size_t len;
	enum problem p;

	if (identity_bearer(req, id, &token, &len) == P_NONE)
		id->actor_kind = holder(cfg, NEED_REGISTRAR, token, len);
	if (id->actor_kind != NULL)
		return P_NONE;
	identity_init(id);
	p = limits_registration(cfg, req, id);
	limited = *id;
	if (p != P_NONE &&
	    decide_token(cfg, db, NEED_REGISTRAR, req, id) != P_NONE) {
		*id = limited;
		return p;
	}
	if (p == P_NONE)
		id->actor_kind = "open";
	return P_NONE;
}

enum problem
operator_decide(const struct config *cfg, struct db *db, enum need need,
    const struct request *req, struct identity *id)
{
	if (need == NEED_REGISTRAR && cfg->registration == REG_CLOSED)
		return identity_refuse(
		    id, P_REGISTRATION_CLOSED, "registration_closed");
	if (need == NEED_REGISTRAR && cfg->registration == REG_OPEN)
		return decide_open(cfg, db, req, id);
	return decide_token(cfg, db, need, req, id);
}

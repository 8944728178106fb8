/*
 * The decision about an app's or a user's token. Every way to a "no" for an
 * unknown key, a bad signature or a disabled app does the same work, on a
 * decoy where there is no app, and gives the same answer.
 */
#include "auth/app_token.h"

#include "auth/decoy.h"
#include "auth/key_lookup.h"
#include "auth/limits.h"
#include "base/clock.h"
#include "base/hex.h"
#include "base/log.h"
#include "base/mem.h"
#include "data/jti_store.h"

#include <stdlib.h>
#include <string.h>

struct app_auth {
	const struct config *cfg;
	struct db *db;
	struct uses *uses;
	struct decoy *decoy;
	struct key_lookup *keys;
	struct verdicts *verdicts;
};

struct app_auth *
app_auth_new(const struct config *cfg, struct db *db, struct uses *uses)
{
	struct app_auth *aa = mem_alloc(sizeof *aa);

	aa->cfg = cfg;
	aa->db = db;
	aa->uses = uses;
	aa->decoy = decoy_new(cfg);
	aa->keys = key_lookup_new(cfg, db, aa->decoy);
	aa->verdicts = verdicts_new((size_t)cfg->verdicts);
	return aa;
}

void
app_auth_free(struct app_auth *aa)
{
	if (aa == NULL)
		return;
	key_lookup_free(aa->keys); /* with all that own a verdict */
	verdicts_free(aa->verdicts);
	decoy_free(aa->decoy);
	free(aa);
}

/* Both credentials of an app's request, their shape checked. */
static enum problem
credentials(
    const struct request *req, struct identity *id, struct token_parts *t)
{
	const char *token;
	size_t len;
	enum problem p;

	if (req->authorization == NULL && req->public_key == NULL)
		return identity_refuse(
		    id, P_CREDENTIALS_MISSING, "no_credentials");
	if (req->credential_doubled)
		return identity_refuse(
		    id, P_INVALID_CREDENTIALS, "credential_doubled");
	if (req->public_key == NULL)
		return identity_refuse(
		    id, P_PUBLIC_KEY_MISSING, "no_public_key");
	p = identity_bearer(req, id, &token, &len);
	if (p != P_NONE)
		return p;
	if (!hex_is_public_key(req->public_key, strlen(req->public_key)))
		return identity_refuse(
		    id, P_INVALID_CREDENTIALS, "public_key_malformed");
	if (!token_split(token, len, t))
		return identity_refuse(
		    id, P_INVALID_CREDENTIALS, "token_malformed");
	return P_NONE;
}

/*
 * Find the app. One that is not there, or must not be used, leaves id->reason
 * set; the caller goes on with the decoy. Only what the caller should try
 * again is a problem.
 */
static enum problem
find(struct app_auth *aa, const char *public_key, bool fresh,
    struct identity *id)
{
	double now = clock_wall();
	struct key_entry *e;

	if (key_lookup_find(aa->keys, public_key, fresh, &id->key) != ST_OK)
		return identity_refuse(id, P_UNAVAILABLE, db_state(aa->db));
	e = id->key;
	id->app = &e->app;
	if (e->state == KEY_UNKNOWN)
		return identity_refuse(id, P_NONE, "key_unknown");
	if (e->disabled)
		return identity_refuse(id, P_NONE, "app_disabled");
	if (e->expires <= now)
		return identity_refuse(id, P_NONE, "app_expired");
	if (e->state == KEY_NO_MASTER)
		return identity_refuse(
		    id, P_KEY_UNAVAILABLE, "master_key_missing");
	if (e->state != KEY_OPEN)
		return identity_refuse(id, P_NONE, "sealed_key_refused");
	return P_NONE;
}

/*
 * Which material verifies: always two HMACs on the way to a "no", or in place
 * of one what an own key takes; a decoy is a secret, for a signature's time is
 * not to be had for nothing. Without a reason to refuse, the app's may.
 */
static struct material *
verify(const struct app_auth *aa, struct token_parts *t,
    const struct judging *j, struct identity *id)
{
	const struct material *decoy = decoy_material(aa->decoy);
	const struct material *cur = decoy, *prev = decoy;
	struct key_entry *e = id->key;

	if (id->reason == NULL) {
		cur = &e->current;
		if (material_is_there(&e->previous) &&
		    e->previous_until > clock_wall())
			prev = &e->previous;
	}
	if (material_verifies(cur, t, j) && cur != decoy)
		return &e->current;
	if (material_verifies(prev, t, j) && prev != decoy) {
		id->by_previous = true;
		return &e->previous;
	}
	return NULL;
}

/* Why nothing verifies: at debug level also what may help the client. */
static void
explain(const struct app_auth *aa, const struct request *req,
    const struct token_parts *t, struct identity *id)
{
	if (id->reason == NULL)
		id->reason = "signature_bad";
	if (log_wants(LOG_LVL_DEBUG) &&
	    material_suspects_encoding(&id->key->current, t, aa->cfg)) {
		id->reason = "secret_encoding_suspected";
		log_debug("secret_encoding_suspected",
		    LOG_S("request_id", req->id),
		    LOG_S("hint", "the HMAC key is the secret key's characters "
				  "as they stand, not decoded"));
	}
}

/* The secret that the token may be signed with can't be opened: no verdict. */
static bool
previous_closed(const struct key_entry *e)
{
	return e->previous_no_master && e->previous_until > clock_wall();
}

static enum problem
decide_token(struct app_auth *aa, const struct request *req, bool fresh,
    struct identity *id)
{
	struct token_parts t;
	struct judging judging = { .cfg = aa->cfg,
		.verdicts = aa->verdicts,
		.public_key = req->public_key };
	struct material *material;
	enum problem p;

	p = credentials(req, id, &t);
	if (p != P_NONE)
		return p;
	p = find(aa, req->public_key, fresh, id);
	if (p != P_NONE)
		return p;
	material = verify(aa, &t, &judging, id);
	if (material == NULL && id->reason == NULL && previous_closed(id->key))
		return identity_refuse(
		    id, P_KEY_UNAVAILABLE, "master_key_missing");
	if (material == NULL) {
		explain(aa, req, &t, id);
		return P_INVALID_CREDENTIALS;
	}
	judging.now = clock_wall();
	p = material_judge(material, &t, &judging, &id->claims);
	if (p != P_NONE)
		return identity_refuse(id, p, problem_code(p));
	id->actor_kind = id->claims.has_sub ? "user" : "app";
	uses_note(aa->uses, id->key, id->by_previous);
	return P_NONE;
}

/* Is the token user's own? Bytewise: near-equal subjects are other users. */
static bool
is_self(const struct buf *user, const struct buf *sub)
{
	return user != NULL && user->len == sub->len &&
	       memcmp(buf_str(user), buf_str(sub), sub->len) == 0;
}

/* What kind of token the route asks for (RFC 8725 section 3.12). */
static enum problem
decide_kind(enum need need, const struct buf *user, struct identity *id)
{
	bool has_sub = id->claims.has_sub;

	switch (need) {
	case NEED_TOKEN:
		return P_NONE;
	case NEED_APP:
	case NEED_APP_CURRENT:
		if (has_sub)
			return identity_refuse(
			    id, P_APP_TOKEN_REQUIRED, "user_token");
		if (need == NEED_APP_CURRENT && id->by_previous)
			return identity_refuse(
			    id, P_PREVIOUS_SECRET, "previous_secret");
		return P_NONE;
	case NEED_APP_OR_SELF:
		if (has_sub && !is_self(user, &id->claims.sub))
			return identity_refuse(id, P_OTHER_USER, "other_user");
		return P_NONE;
	case NEED_USER:
		if (!has_sub)
			return identity_refuse(
			    id, P_USER_TOKEN_REQUIRED, "app_token");
		return P_NONE;
	default:
		return identity_refuse(id, P_INTERNAL, "policy_unknown");
	}
}

/* Use the token up, where one is good once: the last step of a yes. */
static enum problem
use_up(struct app_auth *aa, struct identity *id)
{
	const struct buf *jti = &id->claims.jti;
	enum status st;

	if (!aa->cfg->jwt_single_use)
		return P_NONE;
	st = jti_use(aa->db, id->app->id, jti->data, jti->len,
	    id->claims.times.exp + (double)aa->cfg->jwt_leeway);
	if (st == ST_CONFLICT)
		return identity_refuse(id, P_TOKEN_REPLAYED, "token_replayed");
	if (st != ST_OK)
		return identity_refuse(id, P_UNAVAILABLE, db_state(aa->db));
	return P_NONE;
}

enum problem
app_auth_decide(struct app_auth *aa, enum need need, const struct request *req,
    const struct buf *user, struct identity *id)
{
	enum problem p = decide_token(aa, req, need == NEED_APP_CURRENT, id);

	if (p == P_NONE)
		p = decide_kind(need, user, id);
	/* Before a token that is good once is used up. */
	if (p == P_NONE)
		p = limits_app(aa->cfg, id);
	return p != P_NONE ? p : use_up(aa, id);
}

bool
app_auth_reread(struct app_auth *aa, struct identity *id)
{
	struct key_entry *now = NULL;
	const struct key_entry *was = id->key;

	if (key_lookup_find(aa->keys, was->app.public_key, true, &now) != ST_OK)
		return false;
	if (now->state != KEY_OPEN || now->disabled ||
	    now->expires <= clock_wall() ||
	    !material_same(&was->current, &now->current)) {
		key_entry_release(now);
		return false;
	}
	key_entry_release(id->key);
	id->key = now;
	id->app = &now->app;
	return true;
}

/*
 * Who is asking. Tokens of apps and users, and the operator's registration
 * and admin tokens, are decided here and nowhere else. Every way to a "no"
 * for an unknown key, a bad signature or a disabled app does the same work,
 * on a decoy where there is no app, and gives the same answer.
 */
#include "auth/auth.h"

#include "auth/app_keys.h"
#include "auth/keyring.h"
#include "auth/limits.h"
#include "auth/sweep.h"
#include "auth/uses.h"
#include "base/base64url.h"
#include "base/bearer.h"
#include "base/clock.h"
#include "base/crypto.h"
#include "base/hex.h"
#include "base/log.h"
#include "base/mem.h"
#include "data/invite_store.h"
#include "data/jti_store.h"

#include <stdlib.h>
#include <string.h>
#include <sys/param.h>

enum { PURGE_MS = 60000 };

struct auth {
	const struct config *cfg;
	struct db *db;
	struct keyring *keys;
	struct verdicts *verdicts;
	struct uses *uses;
	struct sweep *sweep;
	struct app decoy; /* sealed like any app; no client has its secret */
	struct secret decoy_secret;
	int64_t purge_us; /* when used jtis are looked through next */
};

/* Of identities without an app. */
static const struct key_app no_app;

struct auth *
auth_new(const struct config *cfg, struct db *db)
{
	struct auth *au = mem_alloc(sizeof *au);
	unsigned char bytes[32];
	char hex[2 * sizeof bytes + 1];
	struct secret raw = { 0 };
	struct buf sealed = { 0 };

	au->cfg = cfg;
	au->db = db;
	au->keys = keyring_new(cfg, db, &au->decoy);
	au->verdicts = verdicts_new((size_t)cfg->verdicts);
	au->uses = uses_new(db);
	au->sweep = sweep_new(db);
	au->purge_us = INT64_MAX;
	if (cfg->jwt_single_use)
		au->purge_us = clock_mono_us() + PURGE_MS * 1000;
	crypto_random(bytes, sizeof bytes);
	hex_encode(bytes, sizeof bytes, hex);
	au->decoy.public_key = mem_strdup(hex);
	secret_new(&raw, (size_t)cfg->key_bytes);
	crypto_random(raw.data, raw.len);
	seal_key(&cfg->master_key, hex, &raw, &sealed);
	au->decoy.sealed = mem_strdup(buf_str(&sealed));
	au->decoy.key_id = mem_strdup(cfg->master_key.id);
	if (app_keys_open(cfg, &au->decoy, false, &au->decoy_secret) != ST_OK)
		abort();
	secret_clear(&raw);
	buf_free(&sealed);
	return au;
}

void
auth_free(struct auth *au)
{
	if (au == NULL)
		return;
	keyring_free(au->keys); /* with all that own a verdict */
	verdicts_free(au->verdicts);
	uses_free(au->uses);
	sweep_free(au->sweep);
	app_clear(&au->decoy);
	secret_clear(&au->decoy_secret);
	free(au);
}

int64_t
auth_due_us(const struct auth *au)
{
	int64_t due = MIN(uses_due_us(au->uses), sweep_due_us(au->sweep));

	return MIN(due, au->purge_us);
}

static void
purge_jtis(struct auth *au)
{
	if (db_is_up(au->db) && jti_purge(au->db) != ST_OK)
		log_warn("jti_purge_failed", LOG_S("error", db_error(au->db)));
	au->purge_us = clock_mono_us() + PURGE_MS * 1000;
}

void
auth_tend(struct auth *au)
{
	int64_t now = clock_mono_us();

	if (now >= uses_due_us(au->uses))
		uses_flush(au->uses);
	if (now >= sweep_due_us(au->sweep))
		sweep_tend(au->sweep);
	if (now >= au->purge_us)
		purge_jtis(au);
}

void
auth_finish(struct auth *au)
{
	uses_flush_all(au->uses);
	/* Not every process lives for a round: a CGI has one request. */
	sweep_tend(au->sweep);
	if (au->cfg->jwt_single_use)
		purge_jtis(au);
}

void
auth_sweep(struct auth *au, int64_t app_id)
{
	sweep_app(au->sweep, app_id);
}

void
identity_init(struct identity *id)
{
	memset(id, 0, sizeof *id);
	id->app = &no_app;
}

void
identity_clear(struct identity *id)
{
	key_entry_release(id->key);
	token_claims_clear(&id->claims);
	identity_init(id);
}

/* A refusal with its reason for the operator's log. */
static enum problem
refuse(struct identity *id, enum problem p, const char *reason)
{
	id->reason = reason;
	return p;
}

/* The bearer credential, or the problem with it. */
static enum problem
bearer(const struct request *req, struct identity *id, const char **token,
    size_t *len)
{
	if (req->authorization == NULL)
		return refuse(id, P_TOKEN_MISSING, "no_authorization");
	if (req->credential_doubled)
		return refuse(id, P_INVALID_CREDENTIALS, "credential_doubled");
	if (!bearer_parse(req->authorization, token, len))
		return refuse(id, P_INVALID_CREDENTIALS, "not_a_bearer_token");
	return P_NONE;
}

/* An invite is known by its form, so that no other token is asked for. */
static enum problem
decide_invite(
    struct auth *au, const char *token, size_t len, struct identity *id)
{
	enum status st;

	if (!invite_is_token(token, len))
		return refuse(id, P_INVALID_CREDENTIALS, "operator_token_bad");
	st = invite_store_find(au->db, token, len, &id->invite_id);
	if (st == ST_NOT_FOUND)
		return refuse(id, P_INVALID_CREDENTIALS, "invite_not_good");
	if (st != ST_OK)
		return refuse(id, P_UNAVAILABLE, db_state(au->db));
	id->actor_kind = "invite";
	return P_NONE;
}

/*
 * Who has this token of the operator's, NULL if it is none or not for need. All
 * are compared, whichever matches: the time tells nothing.
 */
static const char *
operator_kind(
    const struct config *cfg, enum need need, const char *token, size_t len)
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
decide_operator(struct auth *au, enum need need, const struct request *req,
    struct identity *id)
{
	const char *token;
	size_t len;
	enum problem p;

	p = bearer(req, id, &token, &len);
	if (p == P_TOKEN_MISSING)
		return refuse(id, P_CREDENTIALS_MISSING, id->reason);
	if (p != P_NONE)
		return p;
	id->actor_kind = operator_kind(au->cfg, need, token, len);
	if (id->actor_kind != NULL)
		return P_NONE;
	if (need == NEED_REGISTRAR)
		return decide_invite(au, token, len, id);
	return refuse(id, P_INVALID_CREDENTIALS, "operator_token_bad");
}

/*
 * Anyone may register, but strangers only so often. Whoever has a token is not
 * held up by them; an invite is not looked at, and so not used, while there is
 * no need.
 */
static enum problem
decide_open(struct auth *au, const struct request *req, struct identity *id)
{
	struct identity limited;
	const char *token;
	size_t len;
	enum problem p;

	if (bearer(req, id, &token, &len) == P_NONE)
		id->actor_kind =
		    operator_kind(au->cfg, NEED_REGISTRAR, token, len);
	if (id->actor_kind != NULL)
		return P_NONE;
	identity_init(id);
	p = limits_registration(au->cfg, req, id);
	limited = *id;
	if (p != P_NONE &&
	    decide_operator(au, NEED_REGISTRAR, req, id) != P_NONE) {
		*id = limited;
		return p;
	}
	if (p == P_NONE)
		id->actor_kind = "open";
	return P_NONE;
}

static enum problem
decide_registrar(
    struct auth *au, const struct request *req, struct identity *id)
{
	switch (au->cfg->registration) {
	case REG_CLOSED:
		return refuse(id, P_REGISTRATION_CLOSED, "registration_closed");
	case REG_OPEN:
		return decide_open(au, req, id);
	case REG_TOKEN:
	default:
		return decide_operator(au, NEED_REGISTRAR, req, id);
	}
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
		return refuse(id, P_CREDENTIALS_MISSING, "no_credentials");
	if (req->credential_doubled)
		return refuse(id, P_INVALID_CREDENTIALS, "credential_doubled");
	if (req->public_key == NULL)
		return refuse(id, P_PUBLIC_KEY_MISSING, "no_public_key");
	p = bearer(req, id, &token, &len);
	if (p != P_NONE)
		return p;
	if (!hex_is_public_key(req->public_key, strlen(req->public_key)))
		return refuse(
		    id, P_INVALID_CREDENTIALS, "public_key_malformed");
	if (!token_split(token, len, t))
		return refuse(id, P_INVALID_CREDENTIALS, "token_malformed");
	return P_NONE;
}

/*
 * Find the app. One that is not there, or must not be used, leaves id->reason
 * set; the caller goes on with the decoy. Only what the caller should try
 * again is a problem.
 */
static enum problem
load(struct auth *au, const char *public_key, bool fresh, struct identity *id)
{
	double now = clock_wall();
	struct key_entry *e;

	if (keyring_find(au->keys, public_key, fresh, &id->key) != ST_OK)
		return refuse(id, P_UNAVAILABLE, db_state(au->db));
	e = id->key;
	id->app = &e->app;
	if (e->state == KEY_UNKNOWN)
		return refuse(id, P_NONE, "key_unknown");
	if (e->disabled)
		return refuse(id, P_NONE, "app_disabled");
	if (e->expires <= now)
		return refuse(id, P_NONE, "app_expired");
	if (e->state == KEY_NO_MASTER)
		return refuse(id, P_KEY_UNAVAILABLE, "master_key_missing");
	if (e->state != KEY_OPEN)
		return refuse(id, P_NONE, "sealed_key_refused");
	return P_NONE;
}

/* Which material verifies: always two HMACs on the way to a "no". Without a
 * reason to refuse, the app's own may. */
static struct material *
verify(const struct auth *au, const struct token_parts *t, struct identity *id)
{
	const struct secret *decoy = &au->decoy_secret;
	const struct secret *cur = decoy, *prev = decoy;
	struct key_entry *e = id->key;

	if (id->reason == NULL) {
		cur = &e->current.secret;
		if (e->previous.secret.len > 0 &&
		    e->previous_until > clock_wall())
			prev = &e->previous.secret;
	}
	if (token_mac_ok(t, cur) && cur != decoy)
		return &e->current;
	if (token_mac_ok(t, prev) && prev != decoy) {
		id->by_previous = true;
		return &e->previous;
	}
	return NULL;
}

/*
 * The classic mistake of clients: the key's hex or base64 decoded before use.
 * Only looked for when the operator asked for debug lines.
 */
static bool
encoding_suspected(const struct token_parts *t, const struct secret *key)
{
	struct secret raw = { 0 };
	struct buf b64 = { 0 };
	bool yes = false;

	if (key->len == 0)
		return false;
	secret_new(&raw, key->len / 2);
	if (hex_decode(key->data, key->len, (unsigned char *)raw.data, raw.len))
		yes = token_mac_ok(t, &raw);
	if (!yes && base64url_decode(key->data, key->len, &b64)) {
		secret_set(&raw, b64.data, b64.len);
		yes = token_mac_ok(t, &raw);
	}
	secret_clear(&raw);
	buf_free(&b64);
	return yes;
}

static void
explain(
    const struct request *req, const struct token_parts *t, struct identity *id)
{
	if (id->reason == NULL)
		id->reason = "signature_bad";
	if (log_wants(LOG_LVL_DEBUG) &&
	    encoding_suspected(t, &id->key->current.secret)) {
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
decide_token(
    struct auth *au, const struct request *req, bool fresh, struct identity *id)
{
	struct token_parts t;
	struct judging judging = { .cfg = au->cfg, .verdicts = au->verdicts };
	struct material *material;
	enum problem p;

	p = credentials(req, id, &t);
	if (p != P_NONE)
		return p;
	p = load(au, req->public_key, fresh, id);
	if (p != P_NONE)
		return p;
	material = verify(au, &t, id);
	if (material == NULL && id->reason == NULL && previous_closed(id->key))
		return refuse(id, P_KEY_UNAVAILABLE, "master_key_missing");
	if (material == NULL) {
		explain(req, &t, id);
		return P_INVALID_CREDENTIALS;
	}
	judging.now = clock_wall();
	p = material_judge(material, &t, &judging, &id->claims);
	if (p != P_NONE)
		return refuse(id, p, problem_code(p));
	id->actor_kind = id->claims.has_sub ? "user" : "app";
	uses_note(au->uses, id->key, id->by_previous);
	return P_NONE;
}

/* What kind of token the route asks for (RFC 8725 section 3.12). */
static enum problem
decide_kind(enum need need, const struct buf *user, struct identity *id)
{
	const struct buf *sub = &id->claims.sub;

	switch (need) {
	case NEED_APP_CURRENT:
		if (id->claims.has_sub)
			return refuse(id, P_APP_TOKEN_REQUIRED, "user_token");
		if (id->by_previous)
			return refuse(id, P_PREVIOUS_SECRET, "previous_secret");
		return P_NONE;
	case NEED_APP:
		if (id->claims.has_sub)
			return refuse(id, P_APP_TOKEN_REQUIRED, "user_token");
		return P_NONE;
	case NEED_APP_OR_SELF:
		if (!id->claims.has_sub)
			return P_NONE;
		/* Bytewise: near-equal subjects are other users. */
		if (user == NULL || user->len != sub->len ||
		    memcmp(buf_str(user), buf_str(sub), sub->len) != 0)
			return refuse(id, P_OTHER_USER, "other_user");
		return P_NONE;
	case NEED_USER:
		if (!id->claims.has_sub)
			return refuse(id, P_USER_TOKEN_REQUIRED, "app_token");
		return P_NONE;
	case NEED_TOKEN:
		return P_NONE;
	case NEED_NOBODY:
	case NEED_REGISTRAR:
	case NEED_ADMIN:
	case NEED_METRICS:
	default:
		return refuse(id, P_INTERNAL, "policy_unknown");
	}
}

/* Use the token up, where one is good once: the last step of a yes. */
static enum problem
use_up(struct auth *au, struct identity *id)
{
	const struct buf *jti = &id->claims.jti;
	enum status st;

	if (!au->cfg->jwt_single_use)
		return P_NONE;
	st = jti_use(au->db, id->app->id, jti->data, jti->len,
	    id->claims.times.exp + (double)au->cfg->jwt_leeway);
	if (st == ST_CONFLICT)
		return refuse(id, P_TOKEN_REPLAYED, "token_replayed");
	if (st != ST_OK)
		return refuse(id, P_UNAVAILABLE, db_state(au->db));
	return P_NONE;
}

static enum problem
decide(struct auth *au, enum need need, const struct request *req,
    const struct buf *user, struct identity *id)
{
	enum problem p;

	switch (need) {
	case NEED_NOBODY:
		return P_NONE;
	case NEED_REGISTRAR:
		return decide_registrar(au, req, id);
	case NEED_ADMIN:
	case NEED_METRICS:
		return decide_operator(au, need, req, id);
	case NEED_TOKEN:
	case NEED_APP:
	case NEED_APP_CURRENT:
	case NEED_APP_OR_SELF:
	case NEED_USER:
	default:
		p = decide_token(au, req, need == NEED_APP_CURRENT, id);
		if (p == P_NONE)
			p = decide_kind(need, user, id);
		/* Before a token that is good once is used up. */
		if (p == P_NONE)
			p = limits_app(au->cfg, id);
		return p != P_NONE ? p : use_up(au, id);
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
	return refuse(id, P_UNAVAILABLE, db_state(au->db));
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
auth_resealed(struct auth *au, struct identity *id)
{
	struct key_entry *now = NULL;
	const struct key_entry *was = id->key;
	bool same;

	if (keyring_find(au->keys, was->app.public_key, true, &now) != ST_OK)
		return false;
	same = now->state == KEY_OPEN && !now->disabled &&
	       now->expires > clock_wall() &&
	       secret_equal(&was->current.secret, now->current.secret.data,
		   now->current.secret.len);
	if (same) {
		key_entry_release(id->key);
		id->key = now;
		id->app = &now->app;
	} else {
		key_entry_release(now);
	}
	return same;
}

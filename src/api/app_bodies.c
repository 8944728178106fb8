/*
 * The bodies that /v1/app and /v1/apps share: an app's name and a rotation's
 * grace as callers send them, the answer with the app and its secret.
 */
#include "api/app_bodies.h"

#include "auth/grace.h"
#include "base/json.h"
#include "base/jwk.h"
#include "base/name.h"
#include "http/resource_json.h"

#include <string.h>

enum problem
api_take_name(struct call *c, const struct json *j, struct buf *name)
{
	const char *s;
	size_t len;

	if (!json_member_string(j, "name", &s, &len) ||
	    !name_take_app(s, len, name))
		return api_refuse(c, P_VALUE_INVALID,
		    "name must be a string of " NAME_APP_RULE ".");
	return P_NONE;
}

enum problem
api_app_name(struct call *c, struct buf *name)
{
	static const char *const known[] = { "name", NULL };
	struct json *j = NULL;
	enum problem p;

	p = api_body(c, known, &j);
	if (p == P_NONE)
		p = api_take_name(c, j, name);
	json_free(j);
	return p;
}

void
api_app_secret(struct call *c, int status, const struct app *a,
    const struct secret *secret)
{
	struct buf *b = &c->res->body;

	api_json(c, status);
	c->no_store = true;
	/* Room for all of it first: growing would leave copies to wipe. */
	buf_reserve(b, 2048);
	buf_addc(b, '{');
	resource_json_add_app_members(b, a, c->api->cfg);
	if (secret->len > 0)
		json_add_member(b, "secret_key", secret->data);
	buf_adds(b, "}\n");
}

void
api_app_answer(struct call *c, const struct app *a)
{
	api_json(c, 200);
	resource_json_add_app(&c->res->body, a, c->api->cfg);
	buf_addc(&c->res->body, '\n');
}

/* A body that may have jwk. A member twice within it is a fault of the key. */
static enum problem
take_body(struct call *c, const char *const *known, struct json **j)
{
	static const char jwk[] = "\"jwk\"";
	const struct buf *body = &c->req->body;
	struct json_facts facts;

	if (json_check(buf_str(body), body->len, &facts) == JSON_DUPLICATE &&
	    facts.member > 0 &&
	    strncmp(body->data + facts.member, jwk, sizeof jwk - 1) == 0)
		return api_refuse(
		    c, P_KEY_INVALID, "jwk has a member's name twice.");
	return api_body(c, known, j);
}

/* The app's own key, if there is one. */
static enum problem
take_jwk(struct call *c, const struct json *j, struct public_key **own)
{
	const char *why = "is not a JWK (RFC 7517), an object";
	struct json *jwk;

	*own = NULL;
	if (json_member_kind(j, "jwk") == JSON_ABSENT)
		return P_NONE;
	jwk = json_member_object(j, "jwk");
	if (jwk != NULL)
		*own = jwk_key(jwk, &why);
	json_free(jwk);
	if (*own == NULL)
		return api_refuse(c, P_KEY_INVALID, "The key of jwk %s.", why);
	return P_NONE;
}

enum problem
api_registration(struct call *c, struct buf *name, struct public_key **own)
{
	static const char *const known[] = { "jwk", "name", NULL };
	struct json *j = NULL;
	enum problem p;

	p = take_body(c, known, &j);
	if (p == P_NONE)
		p = api_take_name(c, j, name);
	if (p == P_NONE)
		p = take_jwk(c, j, own);
	json_free(j);
	return p;
}

enum problem
api_rotation(struct call *c, struct app_grace *grace, struct public_key **own)
{
	static const char *const known[] = { "end_previous", "grace_seconds",
		"jwk", NULL };
	struct json *j = NULL;
	enum problem p;

	*grace = (struct app_grace){ .seconds = GRACE_DEFAULT };
	if (c->req->body.len == 0)
		return P_NONE;
	p = take_body(c, known, &j);
	if (p == P_NONE &&
	    json_member_kind(j, "grace_seconds") != JSON_ABSENT &&
	    (!json_member_int(j, "grace_seconds", &grace->seconds) ||
		grace->seconds < 0 || grace->seconds > GRACE_MAX))
		p = api_refuse(c, P_VALUE_INVALID,
		    "grace_seconds must be an integer from 0 to %d.",
		    GRACE_MAX);
	if (p == P_NONE && json_member_kind(j, "end_previous") != JSON_ABSENT &&
	    !json_member_bool(j, "end_previous", &grace->end_previous))
		p = api_refuse(
		    c, P_VALUE_INVALID, "end_previous must be true or false.");
	if (p == P_NONE)
		p = take_jwk(c, j, own);
	json_free(j);
	return p;
}

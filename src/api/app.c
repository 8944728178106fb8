/*
 * /v1/app: the calling app itself, and /v1/whoami. What changes the app is
 * guarded by the sealed key that verified the request: a rotation in between
 * makes it a conflict, so an old secret never wins a race. After a conflict the
 * row is read again: where it has the same secret, only sealed anew, the change
 * is made once more, by c->who.app as it is now.
 */
#include "api/app_bodies.h"
#include "api/handlers.h"
#include "auth/app_keys.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static void
add_brief(struct buf *b, const struct key_app *a)
{
	buf_adds(b, "{\"id\":");
	buf_addn(b, a->id);
	json_add_member(b, "name", a->name);
	json_add_member(b, "public_key", a->public_key);
	json_add_member(b, "created_at", a->created_at);
	json_add_member(b, "updated_at", a->updated_at);
	buf_addc(b, '}');
}

enum problem
api_whoami(struct call *c)
{
	const struct key_app *a = c->who.app;
	struct buf *b = &c->res->body;

	api_json(c, 200);
	buf_adds(b, "{\"app\":");
	add_brief(b, a);
	/* The verified bytes themselves: they are one JSON object. */
	buf_adds(b, ",\"claims\":");
	buf_add(b, buf_str(&c->who.claims.payload), c->who.claims.payload.len);
	buf_adds(b, "}\n");
	return P_NONE;
}

/* An app that has gone since it was asked who it is has no credentials. */
static enum problem
own_problem(enum status st)
{
	return st == ST_NOT_FOUND ? P_INVALID_CREDENTIALS
				  : problem_from_status(st);
}

/* The row itself: what a key that is at hand stands for may be older. */
enum problem
api_app_get(struct call *c)
{
	struct app a = { 0 };
	enum problem p;

	p = own_problem(app_store_find(c->api->db, c->who.app->public_key, &a));
	if (p == P_NONE)
		api_app_answer(c, &a);
	app_clear(&a);
	return p;
}

enum problem
api_app_patch(struct call *c)
{
	struct app_patch patch = { 0 };
	struct app a = { 0 };
	struct buf name = { 0 };
	enum status st;
	enum problem p;

	p = api_app_name(c, &name);
	patch.name = buf_str(&name);
	if (p == P_NONE) {
		do
			st = app_store_patch(c->api->db, "app",
			    c->who.app->public_key, c->who.app->sealed, &patch,
			    &a);
		while (st == ST_CONFLICT && auth_reread(c->api->auth, &c->who));
		p = own_problem(st);
	}
	if (p == P_NONE)
		api_app_answer(c, &a);
	buf_free(&name);
	app_clear(&a);
	return p;
}

enum problem
api_app_delete(struct call *c)
{
	int64_t id;
	enum status st;

	c->res->status = 204;
	do
		st = app_store_delete(c->api->db, "app", c->who.app->public_key,
		    c->who.app->sealed, &id);
	while (st == ST_CONFLICT && auth_reread(c->api->auth, &c->who));
	if (st == ST_OK)
		tend_deleted(c->api->tend, id);
	return own_problem(st);
}

enum problem
api_app_end_previous(struct call *c)
{
	enum status st;

	c->res->status = 204;
	do
		st = app_store_end_previous(c->api->db, "app",
		    c->who.app->public_key, c->who.app->sealed);
	while (st == ST_CONFLICT && auth_reread(c->api->auth, &c->who));
	return own_problem(st);
}

enum problem
api_app_rotate(struct call *c)
{
	struct app a = { 0 };
	struct public_key *own = NULL;
	struct secret secret = { 0 };
	struct app_grace grace;
	enum status st;
	enum problem p;

	p = api_rotation(c, &grace, &own);
	if (p == P_NONE) {
		do
			st = app_keys_rotate(c->api->cfg, c->api->db, "app",
			    c->who.app->public_key, c->who.app->sealed, &grace,
			    own, &a, &secret);
		while (st == ST_CONFLICT && auth_reread(c->api->auth, &c->who));
		p = own_problem(st);
	}
	if (p == P_NONE)
		api_app_secret(c, 200, &a, &secret);
	public_key_free(own);
	secret_clear(&secret);
	app_clear(&a);
	return p;
}

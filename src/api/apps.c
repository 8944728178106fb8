/*
 * /v1/apps: registration.
 */
#include "api/api.h"
#include "auth/app_keys.h"
#include "base/mem.h"
#include "base/parse.h"

#include <stdlib.h>
#include <string.h>

/* The member "name" of the body, checked; *name borrows from j. */
static enum problem
take_name(struct call *c, const struct json *j, const char **name)
{
	size_t len;

	if (!json_member_string(j, "name", name, &len) ||
	    strlen(*name) != len || !parse_is_app_name(*name, len))
		return api_refuse(c, P_VALUE_INVALID,
		    "name must be a string of 1 to 100 characters, without "
		    "control characters and not only white space.");
	return P_NONE;
}

enum problem
api_app_name(struct call *c, char **name)
{
	static const char *const known[] = { "name", NULL };
	struct json *j = NULL;
	const char *s;
	enum problem p;

	p = api_body(c, known, &j);
	if (p == P_NONE)
		p = take_name(c, j, &s);
	if (p == P_NONE)
		*name = mem_strdup(s);
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
	app_json_members(b, a);
	buf_adds(b, ",\"secret_key\":\"");
	buf_add(b, secret->data, secret->len);
	buf_adds(b, "\"}\n");
}

/* 201 only after COMMIT: app_keys_create answers ST_OK for nothing less. */
enum problem
api_apps_create(struct call *c)
{
	struct app a = { 0 };
	struct secret secret = { 0 };
	struct buf location = { 0 };
	char *name = NULL;
	enum problem p;

	p = api_app_name(c, &name);
	if (p == P_NONE)
		p = problem_from_status(app_keys_create(c->api->cfg, c->api->db,
		    c->who.actor_kind, name, &a, &secret));
	if (p != P_NONE)
		goto out;
	api_app_secret(c, 201, &a, &secret);
	buf_add(&location, c->req->mount, c->req->mount_len);
	buf_addf(&location, "/v1/apps/%s", a.public_key);
	response_header(c->res, "Location", buf_str(&location));
out:
	free(name);
	buf_free(&location);
	secret_clear(&secret);
	app_clear(&a);
	return p;
}

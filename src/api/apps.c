/*
 * /v1/apps: registration, and the operator's view of the apps.
 */
#include "api/app_bodies.h"
#include "api/handlers.h"
#include "auth/app_keys.h"
#include "base/date.h"
#include "base/decimal.h"
#include "base/hex.h"
#include "base/name.h"
#include "base/query.h"
#include "data/event_store.h"
#include "http/resource_json.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>

/* An invite speaks by its number; all else by its kind. */
static const char *
actor(const struct call *c, char *text, size_t size)
{
	if (c->who.invite_id == 0)
		return c->who.actor_kind;
	snprintf(text, size, "invite:%" PRId64, c->who.invite_id);
	return text;
}

/* 201 only after COMMIT: app_keys_create answers ST_OK for nothing less. */
enum problem
api_apps_create(struct call *c)
{
	char text[32];
	struct app_new new = { .actor = actor(c, text, sizeof text),
		.invite_id = c->who.invite_id };
	struct app a = { 0 };
	struct public_key *own = NULL;
	struct secret secret = { 0 };
	struct buf location = { 0 };
	struct buf name = { 0 };
	enum status st;
	enum problem p;

	p = api_registration(c, &name, &own);
	if (p != P_NONE)
		goto out;
	new.name = buf_str(&name);
	st = app_keys_create(c->api->cfg, c->api->db, &new, own, &a, &secret);
	p = problem_from_status(st);
	if (st == ST_PRECONDITION) {
		/* The invite was good until just now. */
		c->who.reason = "invite_not_good";
		p = P_INVALID_CREDENTIALS;
	}
	if (p != P_NONE)
		goto out;
	api_app_secret(c, 201, &a, &secret);
	buf_add(&location, c->req->mount, c->req->mount_len);
	buf_addf(&location, "/v1/apps/%s", a.public_key);
	response_header(c->res, "Location", buf_str(&location));
out:
	buf_free(&name);
	buf_free(&location);
	public_key_free(own);
	secret_clear(&secret);
	app_clear(&a);
	return p;
}

/* Where there is more, next is the last one's id; else it is null. */
static void
end_page(struct buf *b, const int64_t *next)
{
	if (next != NULL)
		buf_addf(b, "],\"next\":%" PRId64 "}\n", *next);
	else
		buf_adds(b, "],\"next\":null}\n");
}

/* {"apps":[…],"next":…} */
static void
answer_page(struct call *c, struct app *list, size_t n, bool more)
{
	struct buf *b = &c->res->body;
	size_t i;

	api_json(c, 200);
	buf_adds(b, "{\"apps\":[");
	for (i = 0; i < n; i++) {
		if (i > 0)
			buf_addc(b, ',');
		resource_json_add_app(b, &list[i], c->api->cfg);
	}
	end_page(b, more ? &list[n - 1].id : NULL);
}

/* An id in the query: the next of the page before. What is not there leaves
 * *id as it is. */
static enum problem
take_id(struct call *c, const char *name, uint64_t min, int64_t *id)
{
	struct buf text = { 0 };
	uint64_t n = 0;
	bool bad = false, there;

	there = query_find(c->req->query, name, &text, &bad);
	if (there && !bad)
		bad = !decimal_parse(
		    buf_str(&text), text.len, min, INT64_MAX, &n);
	buf_free(&text);
	if (bad)
		return api_refuse(c, P_VALUE_INVALID,
		    "%s must be the next of the page before.", name);
	if (there)
		*id = (int64_t)n;
	return P_NONE;
}

/* The query's search: part of a name, or a key or its beginning. Empty if it is
 * not there. */
static enum problem
take_search(struct call *c, struct buf *text)
{
	bool bad = false, there;

	there = query_find(c->req->query, "search", text, &bad);
	if (there && !bad)
		bad = !name_is_label(buf_str(text), text->len) &&
		      !hex_is_public_key(buf_str(text), text->len);
	if (bad)
		return api_refuse(c, P_VALUE_INVALID,
		    "search must be " NAME_LABEL_RULE ", or a public key.");
	return P_NONE;
}

static enum problem
take_page(struct call *c, struct app_page *page, struct buf *search)
{
	enum problem p;

	p = api_limit(c, &page->limit);
	if (p == P_NONE)
		p = take_id(c, "after", 0, &page->after);
	if (p == P_NONE)
		p = take_search(c, search);
	if (p == P_NONE && search->len > 0)
		page->search = buf_str(search);
	return p;
}

enum problem
api_apps_list(struct call *c)
{
	struct app_page page = { 0 };
	struct buf search = { 0 };
	struct app *list = NULL;
	size_t i, limit, n = 0;
	enum problem p;

	p = take_page(c, &page, &search);
	limit = (size_t)page.limit;
	page.limit++; /* one more tells whether there is another page */
	if (p == P_NONE)
		p = problem_from_status(
		    app_store_list(c->api->db, &page, &list, &n));
	if (p == P_NONE)
		answer_page(c, list, MIN(n, limit), n > limit);
	for (i = 0; i < n; i++)
		app_clear(&list[i]);
	free(list);
	buf_free(&search);
	return p;
}

/* The {public_key} of the path; what is none names no app. */
static enum problem
take_key(const struct call *c, const char **public_key)
{
	*public_key = buf_str(&c->match.param);
	return hex_is_public_key(*public_key, c->match.param.len) ? P_NONE
								  : P_NOT_FOUND;
}

/* What a change, or a look, came to; a is cleared. */
static enum problem
answer_status(struct call *c, enum status st, struct app *a)
{
	enum problem p = problem_from_status(st);

	if (p == P_NONE)
		api_app_answer(c, a);
	app_clear(a);
	return p;
}

enum problem
api_apps_get(struct call *c)
{
	struct app a = { 0 };
	const char *key;
	enum problem p;

	p = take_key(c, &key);
	if (p != P_NONE)
		return p;
	return answer_status(c, app_store_find(c->api->db, key, &a), &a);
}

/* expires_at: a time of RFC 3339, kept in date, or null for never. */
static enum problem
take_expiry(struct call *c, const struct json *j, struct app_patch *patch,
    char date[DATE_SIZE])
{
	const char *s;
	size_t len;

	if (json_member_kind(j, "expires_at") == JSON_ABSENT)
		return P_NONE;
	patch->set_expires_at = true;
	if (json_member_kind(j, "expires_at") == JSON_NULL)
		return P_NONE;
	if (!json_member_string(j, "expires_at", &s, &len) ||
	    !date_parse(s, len, date))
		return api_refuse(c, P_VALUE_INVALID,
		    "expires_at must be a time such as 2030-01-31T00:00:00Z, "
		    "or null.");
	patch->expires_at = date;
	return P_NONE;
}

enum problem
api_apps_patch(struct call *c)
{
	static const char *const known[] = { "expires_at", "name", NULL };
	struct app_patch patch = { 0 };
	struct json *j = NULL;
	struct buf name = { 0 };
	struct app a = { 0 };
	char date[DATE_SIZE];
	const char *key;
	enum problem p;

	p = api_body(c, known, &j);
	if (p == P_NONE && json_member_kind(j, "name") != JSON_ABSENT) {
		p = api_take_name(c, j, &name);
		patch.name = buf_str(&name);
	}
	if (p == P_NONE)
		p = take_expiry(c, j, &patch, date);
	if (p == P_NONE)
		p = take_key(c, &key);
	if (p == P_NONE)
		p = answer_status(c,
		    app_store_patch(
			c->api->db, c->who.actor_kind, key, NULL, &patch, &a),
		    &a);
	json_free(j);
	buf_free(&name);
	return p;
}

enum problem
api_apps_delete(struct call *c)
{
	const char *key;
	int64_t id;
	enum problem p;

	p = take_key(c, &key);
	if (p == P_NONE)
		p = problem_from_status(app_store_delete(
		    c->api->db, c->who.actor_kind, key, NULL, &id));
	if (p != P_NONE)
		return p;
	tend_deleted(c->api->tend, id);
	c->res->status = 204;
	return P_NONE;
}

enum problem
api_apps_rotate(struct call *c)
{
	struct app a = { 0 };
	struct public_key *own = NULL;
	struct secret secret = { 0 };
	const char *key;
	struct app_grace grace;
	enum problem p;

	p = api_rotation(c, &grace, &own);
	if (p == P_NONE)
		p = take_key(c, &key);
	if (p == P_NONE)
		p = problem_from_status(app_keys_rotate(c->api->cfg, c->api->db,
		    c->who.actor_kind, key, NULL, &grace, own, &a, &secret));
	if (p == P_NONE)
		api_app_secret(c, 200, &a, &secret);
	public_key_free(own);
	secret_clear(&secret);
	app_clear(&a);
	return p;
}

static enum problem
set_disabled(struct call *c, bool disabled)
{
	struct app a = { 0 };
	const char *key;
	enum problem p;

	p = take_key(c, &key);
	if (p != P_NONE)
		return p;
	return answer_status(c,
	    app_store_set_disabled(
		c->api->db, c->who.actor_kind, key, disabled, &a),
	    &a);
}

enum problem
api_apps_disable(struct call *c)
{
	return set_disabled(c, true);
}

enum problem
api_apps_enable(struct call *c)
{
	return set_disabled(c, false);
}

/* {"events":[…],"next":…}, the newest first. */
static void
answer_events(struct call *c, struct app_event *list, size_t n, bool more)
{
	struct buf *b = &c->res->body;
	size_t i;

	api_json(c, 200);
	buf_adds(b, "{\"events\":[");
	for (i = 0; i < n; i++) {
		if (i > 0)
			buf_addc(b, ',');
		resource_json_add_event(b, &list[i]);
	}
	end_page(b, more ? &list[n - 1].id : NULL);
}

/* The trail outlives its app: only a key that never was has none. */
enum problem
api_apps_events(struct call *c)
{
	struct event_page page = { .before = INT64_MAX };
	struct app_event *list = NULL;
	size_t i, n = 0;
	int limit;
	enum problem p;

	p = api_limit(c, &limit);
	if (p == P_NONE)
		p = take_id(c, "before", 1, &page.before);
	if (p == P_NONE)
		p = take_key(c, &page.public_key);
	page.limit = limit + 1;
	if (p == P_NONE)
		p = problem_from_status(
		    event_store_list(c->api->db, &page, &list, &n));
	if (p == P_NONE)
		answer_events(
		    c, list, MIN(n, (size_t)limit), n > (size_t)limit);
	for (i = 0; i < n; i++)
		app_event_clear(&list[i]);
	free(list);
	return p;
}

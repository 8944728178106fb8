/*
 * /v1/users and /v1/me: the users' information. The document is the body, both
 * ways; it goes to Postgres as the bytes received.
 */
#include "api/handlers.h"
#include "base/json.h"
#include "base/name.h"
#include "base/query.h"
#include "data/user_store.h"
#include "http/resource_json.h"

#include <stdlib.h>
#include <string.h>
#include <sys/param.h>

/*
 * jsonb prints a space behind each comma and colon and writes exponents out,
 * so a document may come back longer than it went in; this bounds by how much.
 */
enum { GROWTH = 2 };

static struct user_tags
tags_of(const struct etag_list *l)
{
	static const struct user_tags any = { "*", 2 }, none = { NULL, 0 };
	struct user_tags tags = { buf_str(&l->tags), l->tags.len };

	return !l->there ? none : l->any ? any : tags;
}

/* Whose document: {user}, or the token's subject for /v1/me. */
static enum problem
take_key(struct call *c, struct user_key *k)
{
	const struct buf *user = &c->match.param;

	if (user->len == 0 && !c->match.param_bad)
		user = &c->who.claims.sub;
	if (c->match.param_bad || !name_is_user(buf_str(user), user->len))
		return api_refuse(
		    c, P_VALUE_INVALID, "A user is " NAME_USER_RULE ".");
	k->app_id = c->who.app->id;
	k->user = buf_str(user);
	k->match = tags_of(&c->req->if_match);
	k->none_match = tags_of(&c->req->if_none_match);
	return P_NONE;
}

static enum problem
check_document(struct call *c)
{
	const struct buf *body = &c->req->body;
	struct json_facts facts = { 0 };
	enum json_fault fault;

	fault = json_check(buf_str(body), body->len, &facts);
	if (fault != JSON_OK)
		return api_refuse(
		    c, P_JSON_INVALID, "%s", json_fault_text(fault));
	if (body->len + facts.expansion >
	    GROWTH * (size_t)c->api->cfg->max_body)
		return api_refuse(c, P_BODY_TOO_LARGE,
		    "Written out in full, the document's numbers are larger "
		    "than this server takes.");
	return P_NONE;
}

static void
add_document(struct call *c, const struct user_doc *d)
{
	buf_add(&c->res->body, buf_str(&d->json), d->json.len);
	buf_addc(&c->res->body, '\n');
}

/*
 * Of a write: the document as it is stored, not as it was sent (jsonb rewrites
 * it), and said to be that, so that the tag is this content's (RFC 9110
 * sections 8.7 and 9.3.4).
 */
static void
answer_document(struct call *c, const struct user_doc *d, int status)
{
	struct buf path = { 0 };

	api_json(c, status);
	request_add_path(c->req, &path);
	response_header(c->res, "Content-Location", buf_str(&path));
	response_header(c->res, "ETag", d->etag);
	add_document(c, d);
	buf_free(&path);
}

enum problem
api_users_get(struct call *c)
{
	struct user_key k;
	struct user_doc d = { 0 };
	enum problem p;

	p = take_key(c, &k);
	if (p == P_NONE)
		p = problem_from_status(user_store_get(c->api->db, &k, &d));
	if (p == P_NONE)
		p = api_json_tagged(c, d.etag);
	if (p == P_NONE && c->res->status == 200)
		add_document(c, &d);
	user_doc_clear(&d);
	return p;
}

enum problem
api_users_put(struct call *c)
{
	struct user_key k;
	struct user_doc d = { 0 };
	enum problem p;

	p = take_key(c, &k);
	if (p == P_NONE)
		p = check_document(c);
	if (p == P_NONE)
		p = problem_from_status(
		    user_store_put(c->api->db, &k, buf_str(&c->req->body), &d));
	if (p == P_NONE)
		answer_document(c, &d, d.created ? 201 : 200);
	user_doc_clear(&d);
	return p;
}

enum problem
api_users_patch(struct call *c)
{
	size_t max = GROWTH * (size_t)c->api->cfg->max_body;
	struct user_key k;
	struct user_doc d = { 0 };
	enum problem p;

	p = take_key(c, &k);
	if (p == P_NONE)
		p = check_document(c);
	if (p == P_NONE)
		p = problem_from_status(user_store_patch(
		    c->api->db, &k, buf_str(&c->req->body), max, &d));
	if (p == P_NONE)
		answer_document(c, &d, 200);
	user_doc_clear(&d);
	return p;
}

enum problem
api_users_delete(struct call *c)
{
	struct user_key k;
	enum problem p;

	p = take_key(c, &k);
	if (p != P_NONE)
		return p;
	c->res->status = 204;
	return problem_from_status(user_store_delete(c->api->db, &k));
}

/* {"users":[…],"next":…}: where there is more, next is the last one's id. */
static void
answer_users(struct call *c, const struct user *list, size_t n, bool more)
{
	struct buf *b = &c->res->body;
	size_t i;

	api_json(c, 200);
	buf_adds(b, "{\"users\":[");
	for (i = 0; i < n; i++) {
		if (i > 0)
			buf_addc(b, ',');
		resource_json_add_user(b, &list[i]);
	}
	buf_addc(b, ']');
	json_add_member(b, "next", more ? list[n - 1].user : NULL);
	buf_adds(b, "}\n");
}

static enum problem
take_after(struct call *c, struct buf *after)
{
	bool bad = false, there;

	there = query_find(c->req->query, "after", after, &bad);
	if (bad || (there && !name_is_user(buf_str(after), after->len)))
		return api_refuse(c, P_VALUE_INVALID,
		    "after must be the next of the page before.");
	return P_NONE;
}

enum problem
api_users_list(struct call *c)
{
	struct user_page page = { .app_id = c->who.app->id };
	struct buf after = { 0 };
	struct user *list = NULL;
	size_t i, limit, n = 0;
	enum problem p;

	p = api_limit(c, &page.limit);
	limit = (size_t)page.limit;
	page.limit++; /* one more tells whether there is another page */
	if (p == P_NONE)
		p = take_after(c, &after);
	page.after = buf_str(&after);
	if (p == P_NONE)
		p = problem_from_status(
		    user_store_list(c->api->db, &page, &list, &n));
	if (p == P_NONE)
		answer_users(c, list, MIN(n, limit), n > limit);
	for (i = 0; i < n; i++)
		user_clear(&list[i]);
	free(list);
	buf_free(&after);
	return p;
}

/*
 * The way of a request: the gate's decision before all routing, else the
 * route, its policy, its body, its handler.
 */
#include "api/api.h"

#include "api/answer.h"
#include "api/handlers.h"
#include "api/routes.h"
#include "base/address.h"
#include "base/ascii.h"
#include "http/media.h"

#include <string.h>
#include <strings.h>

/* The longest address that the trail takes (sql/015_trail.sql). */
enum { REMOTE_MAX = 64 };

bool
api_wants_body(const struct request *req)
{
	return req->gate == GATE_NO;
}

/* application/json, a merge patch (RFC 7396 section 4) where that is meant. */
static bool
media_type_ok(const char *type, enum body_kind kind)
{
	return media_type_is(type, "application/json") ||
	       (kind == BODY_MERGE_PATCH &&
		   media_type_is(type, "application/merge-patch+json"));
}

/* 413, 415, 400, in this order. */
static enum problem
check_body(const struct request *req, enum body_kind kind, enum fcgi_body body)
{
	if (req->content_length_bad)
		return P_BAD_REQUEST;
	if (body == FCGI_BODY_TOO_LARGE && kind != BODY_NONE)
		return P_BODY_TOO_LARGE;
	if (body == FCGI_BODY_BROKEN)
		return P_BODY_INCOMPLETE;
	if (kind == BODY_NONE)
		return P_NONE;
	if (req->body.len == 0)
		return kind == BODY_JSON_OPTIONAL ? P_NONE : P_BODY_REQUIRED;
	if (!media_type_ok(req->content_type, kind) ||
	    (*req->content_encoding != '\0' &&
		strcasecmp(req->content_encoding, "identity") != 0))
		return P_MEDIA_TYPE;
	return P_NONE;
}

/*
 * What must not be done half understood: conditions that are none, and a body
 * that is a part (RFC 9110 sections 13.1 and 14.5). Where nothing has a tag,
 * none can match: a write on that condition isn't done either.
 */
static enum problem
check_conditions(struct call *c)
{
	const struct request *req = c->req;
	const struct route *r = c->match.route;

	if (req->if_match.malformed || req->if_none_match.malformed)
		return api_refuse(c, P_BAD_REQUEST,
		    "If-Match and If-None-Match are * or a list of "
		    "entity-tags.");
	if (req->content_range && r->body != BODY_NONE)
		return api_refuse(c, P_BAD_REQUEST,
		    "Content-Range: a body is taken whole, never a part.");
	if (r->method != M_GET && !routes_is_conditional(r) &&
	    ((req->if_match.there && !req->if_match.any) ||
		req->if_none_match.any))
		return P_PRECONDITION_FAILED;
	return P_NONE;
}

/* Two opinions on what is asked: whichever was believed, the web server or
 * another may go by the other one. */
static enum problem
check_params(struct call *c)
{
	if (c->req->param_doubled == NULL)
		return P_NONE;
	c->who.reason = "param_doubled";
	return api_refuse(c, P_BAD_REQUEST,
	    "The web server sent the parameter %s twice, with different "
	    "values.",
	    c->req->param_doubled);
}

static enum problem
run_route(struct call *c, enum fcgi_body body)
{
	const struct route *r;
	enum problem p;

	p = check_params(c);
	if (p != P_NONE)
		return p;
	route_find(c->routes, c->nroutes, c->req, &c->match);
	r = c->match.route;
	if (c->match.allowed == 0)
		return P_NO_ROUTE;
	if (c->req->method == M_OPTIONS) {
		/* Of too many params the gate's may be among the missing. */
		if (c->req->params_excess)
			return P_BAD_REQUEST;
		answer_options(c);
		return P_NONE;
	}
	if (r == NULL)
		return P_METHOD_NOT_ALLOWED;
	p = auth_decide(
	    c->api->auth, r->need, c->req, &c->match.param, &c->who);
	if (p != P_NONE)
		return p;
	if (c->req->params_excess)
		return P_BAD_REQUEST;
	p = check_body(c->req, r->body, body);
	if (p == P_NONE)
		p = check_conditions(c);
	return p == P_NONE ? r->handler(c) : p;
}

/* Path, method and body are not looked at: only a verified token is a yes. */
static enum problem
run_gate(struct call *c)
{
	enum problem p = check_params(c);

	if (p != P_NONE)
		return p;
	p = auth_decide(c->api->auth, NEED_TOKEN, c->req, NULL, &c->who);
	if (p == P_NONE && c->req->params_excess)
		p = P_BAD_REQUEST;
	if (p == P_NONE)
		api_gate_yes(c);
	return p;
}

/* Who asked, as far as the operator's proxies are to be believed. */
static const char *
remote(
    const struct api *api, const struct request *req, char text[ADDRESS_TEXT])
{
	const struct address_list *trusted = &api->cfg->trusted_proxies;
	struct address a;

	if (trusted->n == 0 ||
	    !address_client(req->remote_addr, req->forwarded_for, trusted, &a))
		return req->remote_addr;
	address_text(&a, text);
	return text;
}

/* May it stand in the trail? A web server may hand on anything. */
static bool
is_address_like(const char *s)
{
	size_t n = strlen(s);

	return n > 0 && n <= REMOTE_MAX && ascii_all_alnum_or(s, n, ".:%[]/_-");
}

/* What is changed from here on is this request's doing. */
static void
set_cause(const struct call *c)
{
	const struct db_cause cause = { c->req->id,
		is_address_like(c->remote) ? c->remote : NULL };

	db_set_cause(c->api->db, &cause);
}

static void
end_cause(const struct call *c)
{
	db_set_cause(c->api->db, &(struct db_cause){ NULL, NULL });
}

void
api_answer(struct api *api, const struct request *req, enum fcgi_body body,
    struct response *res)
{
	struct call c = { .api = api, .req = req, .res = res };
	char client[ADDRESS_TEXT];
	enum problem p;

	c.routes = routes_all(&c.nroutes);
	c.remote = remote(api, req, client);
	set_cause(&c);
	identity_init(&c.who);
	p = req->gate != GATE_NO ? run_gate(&c) : run_route(&c, body);
	answer_finish(&c, p);
	end_cause(&c);
	identity_clear(&c.who);
	buf_free(&c.match.param);
	buf_free(&c.detail_buf);
}

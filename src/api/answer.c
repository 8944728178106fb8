/*
 * What every answer gets, whoever made it: the headers of all, those of CORS, a
 * refusal's form.
 */
#include "api/answer.h"

#include "api/access_log.h"
#include "base/utf8.h"
#include "http/field.h"

#include <stdio.h>
#include <string.h>

/* The longest list of headers that a preflight gets its way with. */
enum { CORS_HEADERS_MAX = 1024 };

/* RFC 5789 section 3.1 */
static void
add_accept_patch(struct call *c)
{
	response_header(c->res, "Accept-Patch",
	    "application/merge-patch+json, application/json");
}

static void
add_allow(struct call *c)
{
	struct buf allow = { 0 };

	route_allow(c->match.allowed, &allow);
	response_header(c->res, "Allow", buf_str(&allow));
	buf_free(&allow);
}

static void
render_problem(struct call *c, enum problem p)
{
	struct response *res = c->res;
	char status[16], seconds[BUF_DECIMAL];

	problem_render(res, p, c->detail, c->req, c->api->cfg->realm);
	if (p == P_METHOD_NOT_ALLOWED)
		add_allow(c);
	if (res->status == 429)
		response_header(res, "Retry-After",
		    buf_decimal(c->who.retry_after, seconds));
	if (p == P_MEDIA_TYPE && c->req->method == M_PATCH)
		add_accept_patch(c);
	/* nginx's auth_request knows 2xx, 401 and 403; all else is its 500. It
	 * drops bodies, but its variables can carry a header to the client. */
	if (c->req->gate == GATE_NGINX) {
		snprintf(status, sizeof status, "%d", res->status);
		response_header(res, "X-Postern-Status", status);
		response_header(res, "X-Postern-Problem", buf_str(&res->body));
		if (res->status != 401)
			res->status = 403;
	}
}

/* Is origin one of the space-separated list? "*" allows any. */
static bool
origin_allowed(const char *list, const char *origin)
{
	size_t n;

	if (*origin == '\0' || utf8_has_control(origin, strlen(origin)))
		return false;
	for (; *list != '\0'; list += n + strspn(list + n, " ,")) {
		n = strcspn(list, " ,");
		if ((n == 1 && *list == '*') ||
		    (n == strlen(origin) && strncmp(list, origin, n) == 0))
			return true;
	}
	return false;
}

/*
 * What a page may send. Frameworks and tracing add headers of their own
 * (traceparent, baggage ...), and one that is not allowed stops each call of
 * the page; so what was asked for is allowed. That gives nothing away: a list
 * would protect what a browser adds by itself, cookies, and there are none
 * here; an origin that is allowed has to know a token, and with it needs no
 * browser.
 */
static const char *
cors_headers(const struct request *req)
{
	if (strlen(req->cors_headers) <= CORS_HEADERS_MAX &&
	    field_is_token_list(req->cors_headers))
		return req->cors_headers;
	return "Authorization, Content-Type, If-Match, If-None-Match, "
	       "X-Public-Key, X-Request-Id";
}

/* The Fetch standard's CORS headers; credentials are headers, never cookies,
 * so Access-Control-Allow-Credentials is not among them. */
static void
add_cors(struct call *c)
{
	const struct request *req = c->req;
	struct buf allow = { 0 };

	if (*c->api->cfg->cors_origins == '\0' || req->gate != GATE_NO)
		return;
	response_header(c->res, "Vary",
	    req->method != M_OPTIONS
		? "Origin"
		: "Origin, Access-Control-Request-Headers");
	if (!origin_allowed(c->api->cfg->cors_origins, req->origin))
		return;
	response_header(c->res, "Access-Control-Allow-Origin", req->origin);
	response_header(c->res, "Access-Control-Expose-Headers",
	    "Content-Location, ETag, Location, Retry-After, WWW-Authenticate, "
	    "X-Request-Id");
	if (req->method != M_OPTIONS || c->match.allowed == 0)
		return;
	route_allow(c->match.allowed, &allow);
	response_header(
	    c->res, "Access-Control-Allow-Methods", buf_str(&allow));
	response_header(
	    c->res, "Access-Control-Allow-Headers", cors_headers(req));
	response_header(c->res, "Access-Control-Max-Age", "600");
	buf_free(&allow);
}

static void
add_common(struct call *c, enum problem p)
{
	const char *cache = "private, no-cache";

	if (c->public && p == P_NONE)
		cache = "public, no-cache";
	else if (c->no_store || c->who.actor_kind == NULL ||
		 (p != P_NONE && c->who.app->id == 0))
		cache = "no-store";
	response_header(c->res, "Cache-Control", cache);
	response_header(c->res, "X-Request-Id", c->req->id);
	add_cors(c);
}

void
answer_options(struct call *c)
{
	c->res->status = 204;
	add_allow(c);
	if (c->match.allowed & M_PATCH)
		add_accept_patch(c);
}

void
answer_finish(struct call *c, enum problem p)
{
	if (p != P_NONE)
		render_problem(c, p);
	add_common(c, p);
	access_log(c, p);
}

/*
 * The way of a request: the gate's decision before all routing, else the
 * route, its policy, its body, its handler. The table below is the policy of
 * the whole server.
 */
#include "api/api.h"

#include "base/address.h"
#include "base/clock.h"
#include "base/decimal.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/query.h"
#include "base/utf8.h"
#include "http/field.h"
#include "http/media.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* The longest list of headers that a preflight gets its way with. */
enum { CORS_HEADERS_MAX = 1024 };

/* The longest address that the trail takes (sql/015_trail.sql). */
enum { REMOTE_MAX = 64 };

static const struct route routes[] = {
	{ M_POST, "/v1/apps", NEED_REGISTRAR, BODY_JSON, api_apps_create },
	{ M_GET, "/v1/apps", NEED_ADMIN, BODY_NONE, api_apps_list },
	{ M_GET, "/v1/apps/{public_key}", NEED_ADMIN, BODY_NONE, api_apps_get },
	{ M_PATCH, "/v1/apps/{public_key}", NEED_ADMIN, BODY_MERGE_PATCH,
	    api_apps_patch },
	{ M_DELETE, "/v1/apps/{public_key}", NEED_ADMIN, BODY_NONE,
	    api_apps_delete },
	{ M_POST, "/v1/apps/{public_key}/rotate", NEED_ADMIN,
	    BODY_JSON_OPTIONAL, api_apps_rotate },
	{ M_POST, "/v1/apps/{public_key}/disable", NEED_ADMIN, BODY_NONE,
	    api_apps_disable },
	{ M_POST, "/v1/apps/{public_key}/enable", NEED_ADMIN, BODY_NONE,
	    api_apps_enable },
	{ M_GET, "/v1/apps/{public_key}/events", NEED_ADMIN, BODY_NONE,
	    api_apps_events },
	{ M_GET, "/v1/whoami", NEED_TOKEN, BODY_NONE, api_whoami },
	{ M_GET, "/v1/app", NEED_APP, BODY_NONE, api_app_get },
	{ M_PATCH, "/v1/app", NEED_APP_CURRENT, BODY_MERGE_PATCH,
	    api_app_patch },
	{ M_DELETE, "/v1/app", NEED_APP_CURRENT, BODY_NONE, api_app_delete },
	{ M_POST, "/v1/app/rotate", NEED_APP_CURRENT, BODY_JSON_OPTIONAL,
	    api_app_rotate },
	{ M_DELETE, "/v1/app/previous-secret", NEED_APP_CURRENT, BODY_NONE,
	    api_app_end_previous },
	{ M_GET, "/v1/users", NEED_APP, BODY_NONE, api_users_list },
	{ M_GET, "/v1/users/{user}", NEED_APP_OR_SELF, BODY_NONE,
	    api_users_get },
	{ M_PUT, "/v1/users/{user}", NEED_APP_OR_SELF, BODY_JSON,
	    api_users_put },
	{ M_PATCH, "/v1/users/{user}", NEED_APP_OR_SELF, BODY_MERGE_PATCH,
	    api_users_patch },
	{ M_DELETE, "/v1/users/{user}", NEED_APP_OR_SELF, BODY_NONE,
	    api_users_delete },
	{ M_GET, "/v1/me", NEED_USER, BODY_NONE, api_users_get },
	{ M_PUT, "/v1/me", NEED_USER, BODY_JSON, api_users_put },
	{ M_PATCH, "/v1/me", NEED_USER, BODY_MERGE_PATCH, api_users_patch },
	{ M_DELETE, "/v1/me", NEED_USER, BODY_NONE, api_users_delete },
	{ M_GET, "/healthz", NEED_NOBODY, BODY_NONE, api_healthz },
	{ M_GET, "/readyz", NEED_NOBODY, BODY_NONE, api_readyz },
	{ M_GET, "/openapi.json", NEED_NOBODY, BODY_NONE, api_openapi },
	{ M_GET, "/metrics", NEED_METRICS, BODY_NONE, api_metrics },
};

/* The gates stand behind the routes. */
_Static_assert(
    sizeof routes / sizeof routes[0] + GATE_AUTHORIZER < METRICS_ROUTES,
    "every route is counted");

enum { ROUTES = sizeof routes / sizeof routes[0] };

const struct route *
api_route_at(size_t i)
{
	return i < ROUTES ? &routes[i] : NULL;
}

enum problem
api_refuse(struct call *c, enum problem p, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	buf_reset(&c->detail_buf);
	buf_adds(&c->detail_buf, text);
	c->detail = buf_str(&c->detail_buf);
	return p;
}

void
api_json(struct call *c, int status)
{
	c->res->status = status;
	c->res->content_type = "application/json";
}

enum problem
api_json_tagged(struct call *c, const char *etag)
{
	const struct request *req = c->req;

	if (req->if_match.there && !etag_list_holds(&req->if_match, etag))
		return P_PRECONDITION_FAILED;
	if (!req->if_none_match.there ||
	    !etag_list_holds(&req->if_none_match, etag))
		api_json(c, 200);
	else
		c->res->status = 304;
	response_header(c->res, "ETag", etag);
	return P_NONE;
}

enum problem
api_limit(struct call *c, int *limit)
{
	struct buf text = { 0 };
	bool bad = false, there;
	uint64_t n = 50;

	there = query_find(c->req->query, "limit", &text, &bad);
	if (there && !bad)
		bad = !decimal_parse(buf_str(&text), text.len, 1, 200, &n);
	buf_free(&text);
	if (bad)
		return api_refuse(
		    c, P_VALUE_INVALID, "limit must be 1 to 200.");
	*limit = (int)n;
	return P_NONE;
}

enum problem
api_body(struct call *c, const char *const *known, struct json **j)
{
	const struct buf *body = &c->req->body;
	const char *unknown;
	enum json_fault fault;

	fault = json_check(buf_str(body), body->len, NULL);
	if (fault != JSON_OK)
		return api_refuse(
		    c, P_JSON_INVALID, "%s", json_fault_text(fault));
	*j = json_parse(buf_str(body), body->len);
	if (*j == NULL)
		return P_JSON_INVALID;
	unknown = known != NULL ? json_unknown_member(*j, known) : NULL;
	if (unknown == NULL)
		return P_NONE;
	json_free(*j);
	*j = NULL;
	return api_refuse(c, P_VALUE_INVALID,
	    "The body has a member that is not known here.");
}

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

/* Writes that judge conditions by themselves, in one step with the change. */
static bool
is_conditional(const struct route *r)
{
	return r->handler == api_users_put || r->handler == api_users_patch ||
	       r->handler == api_users_delete;
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
	if (r->method != M_GET && !is_conditional(r) &&
	    ((req->if_match.there && !req->if_match.any) ||
		req->if_none_match.any))
		return P_PRECONDITION_FAILED;
	return P_NONE;
}

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
	route_find(routes, ROUTES, c->req, &c->match);
	r = c->match.route;
	if (c->match.allowed == 0)
		return P_NO_ROUTE;
	if (c->req->method == M_OPTIONS) {
		/* Of too many params the gate's may be among the missing. */
		if (c->req->params_excess)
			return P_BAD_REQUEST;
		c->res->status = 204;
		add_allow(c);
		if (c->match.allowed & M_PATCH)
			add_accept_patch(c);
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
	size_t n = strspn(s, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
			     "abcdefghijklmnopqrstuvwxyz.:%[]/_-");

	return n > 0 && n <= REMOTE_MAX && s[n] == '\0';
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

/* The line of the log, and the count, of an answer. */
static void
account(const struct call *c, enum problem p)
{
	static const char *const gates[] = { "", "gate", "gate_nginx",
		"authorizer" };
	const struct route *r = c->match.route;
	const char *route = r != NULL ? r->pattern : gates[c->req->gate];
	const char *reason = "";
	int64_t us = clock_mono_us() - c->req->start_us;
	size_t counted = api_metrics_route(
	    r != NULL ? (size_t)(r - routes) : SIZE_MAX, c->req->gate);

	if (p != P_NONE)
		reason =
		    c->who.reason != NULL ? c->who.reason : problem_code(p);
	log_info("request", LOG_S("request_id", c->req->id),
	    LOG_S("method", c->req->method_name), LOG_S("route", route),
	    LOG_N("status", c->res->status), LOG_N("app_id", c->who.app->id),
	    LOG_S("reason", reason), LOG_S("remote", c->remote),
	    LOG_N("us", us), LOG_LAST("cause", c->who.cause));
	metrics_request(counted, c->res->status, us);
	if (p != P_NONE)
		metrics_refusal(counted, api_metrics_reason(reason, p));
}

void
api_answer(struct api *api, const struct request *req, enum fcgi_body body,
    struct response *res)
{
	struct call c = { .api = api, .req = req, .res = res };
	char client[ADDRESS_TEXT];
	enum problem p;

	/* Notifications first: what was revoked is refused from here on. */
	db_step(api->db);
	c.remote = remote(api, req, client);
	set_cause(&c);
	identity_init(&c.who);
	p = req->gate != GATE_NO ? run_gate(&c) : run_route(&c, body);
	if (p != P_NONE)
		render_problem(&c, p);
	add_common(&c, p);
	account(&c, p);
	end_cause(&c);
	identity_clear(&c.who);
	buf_free(&c.match.param);
	buf_free(&c.detail_buf);
}

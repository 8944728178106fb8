/*
 * What handlers share: a request's query and body, read, and the beginning of
 * an answer.
 */
#include "api/call.h"

#include "base/decimal.h"
#include "base/query.h"

#include <stdarg.h>
#include <stdio.h>

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

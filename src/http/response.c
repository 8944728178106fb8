/*
 * Answers in the making and their rendering as a CGI response (RFC 3875
 * section 6). Nothing leaves before the whole answer is known.
 */
#include "http/response.h"

#include <stddef.h>
#include <string.h>

/* Bytes of a buffer that are kept for the next answer. */
enum { KEEP_MAX = 16384 };

void
response_header(struct response *res, const char *name, const char *value)
{
	size_t n;

	buf_adds(&res->headers, name);
	buf_adds(&res->headers, ": ");
	for (;; value += n + 1) {
		n = strcspn(value, "\r\n");
		buf_add(&res->headers, value, n);
		if (value[n] == '\0')
			break;
	}
	buf_adds(&res->headers, "\r\n");
}

const char *
response_reason(int status)
{
	static const struct {
		int status;
		const char *reason;
	} reasons[] = {
		{ 200, "OK" },
		{ 201, "Created" },
		{ 204, "No Content" },
		{ 304, "Not Modified" },
		{ 400, "Bad Request" },
		{ 401, "Unauthorized" },
		{ 403, "Forbidden" },
		{ 404, "Not Found" },
		{ 405, "Method Not Allowed" },
		{ 409, "Conflict" },
		{ 412, "Precondition Failed" },
		{ 413, "Content Too Large" },
		{ 415, "Unsupported Media Type" },
		{ 429, "Too Many Requests" },
		{ 500, "Internal Server Error" },
		{ 503, "Service Unavailable" },
	};
	size_t i;

	for (i = 0; i < sizeof reasons / sizeof reasons[0]; i++)
		if (reasons[i].status == status)
			return reasons[i].reason;
	return "Unknown";
}

void
response_render(const struct response *res, bool head, struct buf *out)
{
	buf_reserve(out, res->headers.len + res->body.len + 256);
	buf_adds(out, "Status: ");
	buf_addn(out, res->status);
	buf_addc(out, ' ');
	buf_adds(out, response_reason(res->status));
	buf_adds(out, "\r\n");
	buf_add(out, buf_str(&res->headers), res->headers.len);
	if (res->content_type != NULL) {
		buf_adds(out, "Content-Type: ");
		buf_adds(out, res->content_type);
		buf_adds(out, "\r\n");
	}
	/* RFC 9110 section 8.6: none in 204 and 304. */
	if (res->status != 204 && res->status != 304) {
		buf_adds(out, "Content-Length: ");
		buf_addn(out, (int64_t)res->body.len);
		buf_adds(out, "\r\n");
	}
	buf_adds(out, "\r\n");
	if (!head && res->status != 204 && res->status != 304)
		buf_add(out, buf_str(&res->body), res->body.len);
}

void
response_reset(struct response *res)
{
	struct response fresh = { .headers = res->headers, .body = res->body };

	buf_shrink(&fresh.headers, KEEP_MAX);
	buf_shrink(&fresh.body, KEEP_MAX);
	*res = fresh;
}

void
response_clear(struct response *res)
{
	buf_free(&res->headers);
	buf_free(&res->body);
	memset(res, 0, sizeof *res);
}

#ifndef POSTERN_HTTP_RESPONSE_H
#define POSTERN_HTTP_RESPONSE_H

#include "base/buf.h"
#include <stdbool.h>

/* An answer in the making: nothing is sent before it is complete. */
struct response {
	int status;
	struct buf headers; /* "Name: value\r\n" lines */
	struct buf body;
	const char *content_type; /* of the body; NULL with an empty one */
};

/* Append a header. value must not hold CR, LF or NUL: those are dropped. */
void response_header(struct response *res, const char *name, const char *value);

/* The reason phrase of a status (RFC 9110 section 15). */
const char *response_reason(int status);

/*
 * The CGI answer (RFC 3875 section 6): "Status: NNN Reason" first on every
 * path (lighttpd's authorizer takes an answer without it for consent), then
 * the headers, Content-Type and Content-Length, and the body unless head.
 */
void response_render(const struct response *res, bool head, struct buf *out);

/* Wiped and ready for the next answer, its memory kept as far as it is small.
 */
void response_reset(struct response *res);

/* Forget everything made so far, wiping it; headers too. */
void response_clear(struct response *res);

#endif

#ifndef POSTERN_CLI_URL_H
#define POSTERN_CLI_URL_H

#include "base/buf.h"
#include <stdbool.h>

/* Where a site is: what stands before /v1/. { 0 } is an empty one. */
struct url {
	bool tls;
	bool loopback;     /* a name or address of this machine */
	struct buf origin; /* "https://host:port" */
	struct buf base;   /* "" or "/api": no trailing slash */
};

/*
 * Read an absolute URL (RFC 3986) as a person types it: http or https, a host
 * name or address (IPv6 in brackets), a port, a path of plain characters. NULL
 * with *u filled, or a sentence that says what is wrong. The caller clears u,
 * which must be { 0 }.
 */
const char *url_parse(const char *s, struct url *u);
void url_clear(struct url *u);

#endif

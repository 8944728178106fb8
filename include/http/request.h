#ifndef POSTERN_HTTP_REQUEST_H
#define POSTERN_HTTP_REQUEST_H

#include "base/buf.h"
#include "http/etag.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum method {
	M_OTHER = 0,
	M_GET = 1,
	M_HEAD = 2,
	M_POST = 4,
	M_PUT = 8,
	M_PATCH = 16,
	M_DELETE = 32,
	M_OPTIONS = 64
};

/* Who asks for the gate's decision, and how it may be answered. */
enum gate { GATE_NO, GATE_PLAIN, GATE_NGINX, GATE_AUTHORIZER };

enum { REQUEST_MAX_SEGMENTS = 8, REQUEST_MAX_PARAMS = 256 };
enum { REQUEST_MAX_PARAM_BYTES = 65536 };

/* A raw path segment, borrowed, not yet percent-decoded. */
struct segment {
	const char *p;
	size_t len;
};

/*
 * Everything of one request. Strings are borrowed from the params (valid until
 * fcgi_finish) unless they are a buf; "" when absent, except where said.
 */
struct request {
	enum method method;
	const char *method_name;
	enum gate gate;
	char id[129]; /* X-Request-Id, theirs or made */
	struct segment path[REQUEST_MAX_SEGMENTS];
	size_t npath;              /* 0 = "/", SIZE_MAX = no such route */
	const char *query;         /* without '?' */
	const char *mount;         /* what was stripped from the URI's path */
	size_t mount_len;          /* (for Location) */
	const char *authorization; /* NULL when absent */
	const char *public_key;    /* NULL when absent */
	bool credential_doubled;   /* one of the two arrived twice */
	const char *param_doubled; /* the name of what decides (method, URI,
				      length ...) and came with two values */
	const char *content_type;
	const char *content_encoding;
	int64_t content_length; /* -1 when unknown */
	bool content_length_bad;
	bool content_range; /* the body is a part of something */
	struct etag_list if_match;
	struct etag_list if_none_match;
	const char *origin;
	const char *cors_headers; /* Access-Control-Request-Headers */
	const char *remote_addr;
	const char *forwarded_for; /* NULL when absent */
	bool params_excess;        /* too many, or too long */
	struct buf body;
	struct buf uri;   /* made, where REQUEST_URI is absent */
	int64_t start_us; /* clock_mono_us at its beginning */
};

/*
 * Fill req from the params. The path rule (the same under every server and
 * mount): REQUEST_URI without scheme and authority, cut at '?' or '#', then
 * without base (POSTERN_BASE_PATH), or, if SCRIPT_NAME ends in .fcgi or .cgi,
 * without it or its directory; without REQUEST_URI it is SCRIPT_NAME plus
 * PATH_INFO. authorizer is whether the FastCGI role is that one. Never fails:
 * what is wrong is in the fields. req must be { 0 }.
 */
void request_init(struct request *req, char *const *params, bool authorizer,
    const char *base);
void request_clear(struct request *req);

/* The value of a NAME=value with the Authorization header, perhaps behind
 * Apache's REDIRECT_, and behind how many of those; NULL for any other. */
char *request_authorization(char *param, size_t *redirects);

/* Append the path that was asked for, mount and all, as it may stand in a
 * header; there is one where a route matched. */
void request_add_path(const struct request *req, struct buf *out);

#endif

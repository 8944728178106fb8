#ifndef POSTERN_CLI_HTTP_H
#define POSTERN_CLI_HTTP_H

#include "base/buf.h"
#include <stdbool.h>
#include <stddef.h>

/*
 * The tool's HTTP client, which is libcurl's. A request goes out as it is
 * given: its path isn't tidied, its headers may come twice, its method be
 * anybody's own. Redirects are not followed, so that no credentials get to
 * another host; no cookie, .netrc or .curlrc takes part. The environment says
 * which proxy is asked (http_proxy, https_proxy, all_proxy, no_proxy) and who
 * is trusted (CURL_CA_BUNDLE, SSL_CERT_FILE, SSL_CERT_DIR), as it does to
 * curl(1); what is loopback is asked directly. What comes back is a stranger's.
 */

/* Where a site is: what stands before /v1/. { 0 } is an empty one. */
struct http_site {
	bool tls;
	bool loopback;     /* a name or address of this machine */
	struct buf origin; /* "https://host:port" */
	struct buf base;   /* "" or "/api": no trailing slash */
};

/*
 * Read an absolute URL (RFC 3986) as a person types it: http or https, a host
 * name or address (IPv6 in brackets), a port, a path of plain characters. NULL
 * with *site filled, or a sentence that says what is wrong. The caller clears
 * site, which must be { 0 }.
 */
const char *http_site_parse(const char *s, struct http_site *site);
void http_site_clear(struct http_site *site);

enum { HTTP_HEAD_MAX = 1 << 18, HTTP_BODY_MAX = 1 << 20 };

struct http_request {
	const struct http_site *site;
	const char *path; /* behind the site's base: "/v1/..." */
	const char *method;
	const char *agent;  /* of User-Agent */
	struct buf headers; /* "Name: value\n" each; wiped by the caller */
	const char *body;   /* NULL: none; its type is one of the headers */
	size_t body_len;
	bool chunked;  /* without Content-Length, by HTTP/1.1 */
	int timeout_s; /* for the whole exchange */
};

/* { 0 } is an empty one. */
struct http_answer {
	int status;       /* 200 to 599 */
	struct buf head;  /* status line and headers as received */
	struct buf body;  /* cut at HTTP_BODY_MAX */
	struct buf fault; /* why there is no whole answer: one line */
	const char *hint; /* what may lie behind the fault; NULL: unknown */
	double sent;      /* wall clock before and after */
	double received;
};

/*
 * Ask. True with a whole answer, also one whose body was cut or that refuses
 * what it hasn't read; false with a fault. The caller clears *a, which must be
 * { 0 }, whatever the outcome.
 */
bool http_ask(const struct http_request *q, struct http_answer *a)
    __attribute__((warn_unused_result));
void http_answer_clear(struct http_answer *a);

/*
 * The value of the first header of that name (in any case), appended without
 * the spaces around it. False if there is none.
 */
bool http_header(
    const struct http_answer *a, const char *name, struct buf *value);

#endif

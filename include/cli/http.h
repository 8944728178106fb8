#ifndef POSTERN_CLI_HTTP_H
#define POSTERN_CLI_HTTP_H

#include "base/buf.h"
#include <stdbool.h>
#include <stddef.h>

/*
 * HTTP requests by way of curl(1), a child process: no library of ours speaks
 * TLS to servers. What goes to it goes through its stdin, so that nothing of a
 * request stands in the list of processes; what comes back is a stranger's.
 * Redirects are not followed, no proxy, cookie or .curlrc takes part.
 */

struct http_request {
	const char *method;
	const char *url;    /* absolute, of plain characters */
	struct buf headers; /* "Name: value\n" each; wiped by the caller */
	const char *body;   /* NULL: none */
	size_t body_len;
	bool chunked;  /* without Content-Length */
	int timeout_s; /* for the whole exchange */
};

enum http_outcome {
	HTTP_ANSWERED,
	HTTP_NO_CURL, /* it can't be started; fault says why */
	HTTP_FAILED   /* no whole answer; fault says why */
};

/* { 0 } is an empty one. */
struct http_answer {
	int status;       /* 200 to 599 */
	struct buf head;  /* status line and headers as received */
	struct buf body;  /* cut at 1 MiB */
	struct buf fault; /* curl's message, one line */
	int curl;         /* its exit status */
	double sent;      /* wall clock before and after */
	double received;
};

/* Ask. The caller clears *a, which must be { 0 }, whatever the outcome. */
enum http_outcome http_ask(const struct http_request *q, struct http_answer *a);
void http_answer_clear(struct http_answer *a);

/*
 * The value of the first header of that name (in any case), appended without
 * the spaces around it. False if there is none.
 */
bool http_header(
    const struct http_answer *a, const char *name, struct buf *value);

/*
 * Split what curl writes (the header sections of interim answers, that of the
 * answer, the body) into a's status, head and body. False if it is no HTTP.
 */
bool http_split(const char *p, size_t len, struct http_answer *a);

#endif

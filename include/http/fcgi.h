#ifndef POSTERN_HTTP_FCGI_H
#define POSTERN_HTTP_FCGI_H

#include "base/buf.h"
#include "http/record.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * One exchange with the web server: FastCGI over an accepted connection (the
 * only use of libfcgi), or plain CGI over the environment and descriptors 0
 * and 1. libfcgi's own accept and stop paths are not used: they lose requests
 * (it has no read time-outs, and a signal cuts a body short). It gets to read
 * what http/record.h has seen to be a whole request, and so never waits.
 */

enum fcgi_role { FCGI_ROLE_RESPONDER = 1, FCGI_ROLE_AUTHORIZER_ = 2 };

struct fcgi_conn; /* one connection, which may be kept for further requests */

/* Once a process, before the first connection: what is kept of a request
 * (copied), and the seconds that one may take to come. */
void fcgi_init(const struct record_limits *limits, int64_t timeout_s);

/* Wrap an accepted socket; owned from here on. */
struct fcgi_conn *fcgi_conn_new(int fd);

/* The connection's descriptor, -1 once it is closed. */
int fcgi_conn_fd(const struct fcgi_conn *c);

/* What a look at a connection came to. */
enum fcgi_news {
	FCGI_WAIT,  /* there is more to come */
	FCGI_READY, /* a request: fcgi_begin, and answer it */
	FCGI_GONE /* closed by its peer, or against the protocol: to be freed */
};

/*
 * Look at what has come, without waiting. Management records are answered here.
 * To be called again when there is more to read.
 */
enum fcgi_news fcgi_look(struct fcgi_conn *c);

/* Where a connection is that has to wait. */
enum fcgi_stage {
	FCGI_SILENT, /* it has not said anything yet */
	FCGI_KEPT,   /* between two requests */
	FCGI_HALF,   /* a request is there in part */
	FCGI_BODY,   /* all of it but the body */
	FCGI_CLOSING /* answered, and closed on our side */
};
enum fcgi_stage fcgi_conn_stage(const struct fcgi_conn *c);

/* When it is to be given up, on the monotonic clock; INT64_MAX: not by time. */
int64_t fcgi_conn_due_us(const struct fcgi_conn *c);

/* Bytes of memory that it holds of a request in part. */
size_t fcgi_conn_held(const struct fcgi_conn *c);

/*
 * Begin with the request that fcgi_look found. False: there is none after all,
 * no answer is possible; the caller frees the connection.
 */
bool fcgi_begin(struct fcgi_conn *c);

/* Were there more params than are kept? Then some are missing. */
bool fcgi_params_excess(const struct fcgi_conn *c);

/* NAME=value strings of the request, NULL at the end; borrowed. */
char **fcgi_params(const struct fcgi_conn *c);
enum fcgi_role fcgi_conn_role(const struct fcgi_conn *c);

/* What came of reading a body. */
enum fcgi_body { FCGI_BODY_OK, FCGI_BODY_TOO_LARGE, FCGI_BODY_BROKEN };

/*
 * Read the body to its end into out, at most max bytes; expected is
 * CONTENT_LENGTH or -1 when unknown. More than max: TOO_LARGE (a bounded rest
 * is drained). A stream error, an abort, or another count than expected:
 * BROKEN.
 */
enum fcgi_body fcgi_read_body(
    struct fcgi_conn *c, int64_t expected, size_t max, struct buf *out);

/*
 * Write the answer and end the request; what was not read of its body is passed
 * over. False when the peer is gone. After it fcgi_conn_fd tells whether the
 * connection is open still, to be looked at: for another request, or for the
 * rest of a body that was too long to be waited for. The Authorization and key
 * params are wiped.
 */
bool fcgi_finish(struct fcgi_conn *c, const char *answer, size_t len);

/* Close what is open; accepts NULL. */
void fcgi_conn_free(struct fcgi_conn *c);

/* Plain CGI: params are environ, the body is on fd 0, the answer goes to 1. */
struct fcgi_conn *fcgi_cgi_new(char **environ_params);

#endif

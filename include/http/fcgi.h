#ifndef POSTERN_HTTP_FCGI_H
#define POSTERN_HTTP_FCGI_H

#include "base/buf.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * One exchange with the web server: FastCGI over an accepted connection (the
 * only use of libfcgi), or plain CGI over the environment and descriptors 0
 * and 1. libfcgi's own accept and stop paths are not used: they lose requests
 * (it has no read time-outs, and a signal cuts a body short).
 */

enum fcgi_role { FCGI_ROLE_RESPONDER = 1, FCGI_ROLE_AUTHORIZER_ = 2 };

struct fcgi_conn; /* one connection, which may be kept for further requests */

/* Once a process, before the first connection. */
void fcgi_init(void);

/* Wrap an accepted socket; owned from here on. */
struct fcgi_conn *fcgi_conn_new(int fd);

/* The connection's descriptor, -1 once it is closed. */
int fcgi_conn_fd(const struct fcgi_conn *c);

/*
 * Read a request's params. False: the stream ended early or broke the
 * protocol, no answer is possible; the caller frees the connection.
 * Blocks until the watchdog (serve/worker.c) shuts the socket down.
 */
bool fcgi_begin(struct fcgi_conn *c);

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
 * Write the answer and end the request. False when the peer is gone. After it
 * fcgi_conn_fd tells whether the connection was kept (FCGI_KEEP_CONN) and is
 * good for another fcgi_begin. The Authorization and key params are wiped.
 */
bool fcgi_finish(struct fcgi_conn *c, const char *answer, size_t len);

/* Close what is open; accepts NULL. */
void fcgi_conn_free(struct fcgi_conn *c);

/* Plain CGI: params are environ, the body is on fd 0, the answer goes to 1. */
struct fcgi_conn *fcgi_cgi_new(char **environ_params);

#endif

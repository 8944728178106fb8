/*
 * FastCGI by libfcgi, over connections that the worker accepted itself, and
 * plain CGI behind the same functions. A stream that ended early looks like a
 * short success to libfcgi's callers: every read is followed by a look at its
 * error, and the count of a body must be the one announced.
 */
#include "http/fcgi.h"

#include "base/crypto.h"
#include "base/mem.h"
#include "base/parse.h"
#include "http/request.h"

#include <errno.h>
#include <fcgiapp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>
#include <sys/socket.h>
#include <unistd.h>

/* A body that is too large is read on for this much, so that the web server
 * gets to the answer instead of a broken pipe. */
enum { DRAIN_MAX = 2 << 20 };
enum { CHUNK = 8192, READER_MAX = 65536, PIECE = 1024 };

struct fcgi_conn {
	FCGX_Request r;
	char **params;
	bool cgi;
	bool begun;              /* between fcgi_begin and fcgi_finish */
	bool body_done;          /* STDIN was read to its end */
	int64_t taken;           /* bytes of CGI's body so far */
	unsigned char *in, *out; /* libfcgi's buffers, to be wiped */
	size_t in_size, out_size;
};

/*
 * How libfcgi's reader begins, private to it, in the version that this was
 * written for; believed only where its public fields agree.
 */
struct reader {
	unsigned char *buff;
	int bufflen;
	unsigned char *mbuff;
	unsigned char *buff_stop; /* behind the last byte of its last read */
};

void
fcgi_init(void)
{
	/* How long closing waits for a peer that doesn't (milliseconds). */
	setenv("LIBFCGI_OS_CLOSE_POLL_TIMEOUT", "500", 0);
	if (FCGX_Init() != 0)
		abort();
}

struct fcgi_conn *
fcgi_conn_new(int fd)
{
	struct fcgi_conn *c = mem_alloc(sizeof *c);

	/* No listening socket: on a bad connection libfcgi would accept
	 * another one behind our back; accept(-1) fails instead. */
	FCGX_InitRequest(&c->r, -1, 0);
	c->r.ipcFd = fd;
	return c;
}

struct fcgi_conn *
fcgi_cgi_new(char **environ_params)
{
	struct fcgi_conn *c = mem_alloc(sizeof *c);

	c->cgi = true;
	c->params = environ_params;
	c->r.ipcFd = -1;
	return c;
}

int
fcgi_conn_fd(const struct fcgi_conn *c)
{
	return c->r.ipcFd;
}

/* The reader's buffer, if it is where we think. */
static void
find_reader(struct fcgi_conn *c)
{
	const FCGX_Stream *in = c->r.in;
	const struct reader *r = in->data;

	if (r->bufflen < 0 || r->bufflen > READER_MAX ||
	    (uintptr_t)r->buff > (uintptr_t)in->rdNext ||
	    (uintptr_t)in->stop > (uintptr_t)r->buff_stop ||
	    (uintptr_t)r->buff_stop > (uintptr_t)r->buff + (size_t)r->bufflen)
		return;
	c->in = r->buff;
	c->in_size = (size_t)r->bufflen;
}

/*
 * libfcgi gives its buffers back unwiped: tokens came through the one, and a
 * new secret key goes through the other. Each read begins at the buffer's
 * start, so its end tells nothing about those before: all of it is wiped.
 */
static void
wipe_buffers(struct fcgi_conn *c, size_t answer_len)
{
	size_t at;

	/* In pieces: from 2 KiB on libc has a way that starts slowly. */
	for (at = 0; c->in != NULL && at < c->in_size; at += PIECE)
		explicit_bzero(c->in + at, MIN(PIECE, c->in_size - at));
	if (c->out != NULL)
		explicit_bzero(c->out, MIN(answer_len, c->out_size));
	c->in = c->out = NULL;
}

bool
fcgi_begin(struct fcgi_conn *c)
{
	c->begun = c->body_done = false;
	if (c->cgi)
		return c->begun = true;
	c->r.keepConnection = 1; /* or libfcgi closes it before it reads */
	if (FCGX_Accept_r(&c->r) != 0)
		return false;
	c->begun = true;
	c->params = c->r.envp;
	c->out = c->r.out->wrNext;
	c->out_size = (size_t)(c->r.out->stop - c->r.out->wrNext);
	find_reader(c);
	return FCGX_GetError(c->r.in) == 0;
}

char **
fcgi_params(const struct fcgi_conn *c)
{
	return c->params;
}

enum fcgi_role
fcgi_conn_role(const struct fcgi_conn *c)
{
	return !c->cgi && c->r.role == FCGI_ROLE_AUTHORIZER_
		   ? FCGI_ROLE_AUTHORIZER_
		   : FCGI_ROLE_RESPONDER;
}

static const char *
param(const struct fcgi_conn *c, const char *name)
{
	size_t n = strlen(name);
	char **p;

	for (p = c->params; *p != NULL; p++)
		if (strncmp(*p, name, n) == 0 && (*p)[n] == '=')
			return *p + n + 1;
	return "";
}

/*
 * How much of CGI's body is still to be read. Without CONTENT_LENGTH there is
 * none (RFC 3875 section 4.2), and to read would wait for ever; but Apache
 * hands a chunked body over without it, and only the end tells its length.
 */
static int64_t
cgi_left(const struct fcgi_conn *c)
{
	const char *length = param(c, "CONTENT_LENGTH");
	uint64_t n;

	if (*length == '\0')
		return *param(c, "HTTP_TRANSFER_ENCODING") != '\0' ? INT64_MAX
								   : 0;
	if (!parse_u64(length, strlen(length), 0, INT64_MAX, &n))
		return 0;
	return (int64_t)n - c->taken;
}

/* Up to n bytes; fewer only at the end or on an error (-1). */
static ssize_t
read_some(struct fcgi_conn *c, char *p, size_t n)
{
	ssize_t got;

	if (!c->cgi) {
		got = FCGX_GetStr(p, (int)n, c->r.in);
		return FCGX_GetError(c->r.in) != 0 ? -1 : got;
	}
	n = (size_t)MIN((int64_t)n, cgi_left(c));
	if (n == 0)
		return 0;
	do
		got = read(STDIN_FILENO, p, n);
	while (got < 0 && errno == EINTR);
	if (got > 0)
		c->taken += got;
	return got;
}

enum fcgi_body
fcgi_read_body(
    struct fcgi_conn *c, int64_t expected, size_t max, struct buf *out)
{
	char chunk[CHUNK];
	int64_t total = 0;
	ssize_t got = 0, most = 0;

	while ((got = read_some(c, chunk, sizeof chunk)) > 0) {
		total += got;
		most = got > most ? got : most;
		if (total <= (int64_t)max)
			buf_add(out, chunk, (size_t)got);
		if (total > (int64_t)max + DRAIN_MAX)
			break;
	}
	crypto_wipe(chunk, (size_t)most);
	c->body_done = got == 0;
	if (got < 0)
		return FCGI_BODY_BROKEN;
	if (total > (int64_t)max || expected > (int64_t)max)
		return FCGI_BODY_TOO_LARGE;
	if (expected >= 0 && total != expected)
		return FCGI_BODY_BROKEN;
	return FCGI_BODY_OK;
}

/* libfcgi frees params unwiped, and a bearer token is a secret. */
static void
wipe_credentials(char **params)
{
	char *equals;
	size_t redirects;

	for (; params != NULL && *params != NULL; params++) {
		equals = strchr(*params, '=');
		if (equals != NULL &&
		    request_is_authorization(
			*params, (size_t)(equals - *params), &redirects))
			crypto_wipe(equals, strlen(equals));
	}
}

static bool
write_all(int fd, const char *p, size_t len)
{
	ssize_t n;

	while (len > 0) {
		n = write(fd, p, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		p += n;
		len -= (size_t)n;
	}
	return true;
}

/*
 * Under Apache's mod_cgid descriptors 0 and 1 are one socket: to end with input
 * unread would reset it, and cost the client the answer.
 */
static void
cgi_linger(struct fcgi_conn *c)
{
	char chunk[CHUNK];
	int64_t total = 0;
	ssize_t got;

	shutdown(STDOUT_FILENO, SHUT_WR);
	while (!c->body_done && total < DRAIN_MAX &&
	       (got = read_some(c, chunk, sizeof chunk)) > 0)
		total += got;
	crypto_wipe(chunk, sizeof chunk);
}

bool
fcgi_finish(struct fcgi_conn *c, const char *answer, size_t len)
{
	bool ok;

	wipe_credentials(c->params);
	c->begun = false;
	if (c->cgi) {
		ok = write_all(STDOUT_FILENO, answer, len);
		cgi_linger(c);
		return ok;
	}
	/* The stream that closes last writes the end of the request: closing
	 * the empty one first makes it one write with the answer. */
	ok = len <= INT32_MAX && FCGX_FClose(c->r.err) == 0 &&
	     FCGX_PutStr(answer, (int)len, c->r.out) == (int)len &&
	     FCGX_FClose(c->r.out) == 0;
	wipe_buffers(c, len);
	/* With all of STDIN read nothing more can come, and closing at once
	 * spares the wait for the web server's own close. Unread input keeps
	 * libfcgi's lingering close: a plain one would reset the answer. */
	if (c->body_done)
		FCGX_Detach(&c->r);
	else
		c->r.keepConnection = 0;
	if (!ok)
		c->r.keepConnection = 0;
	FCGX_Finish_r(&c->r);
	c->params = NULL;
	if (c->r.ipcFd >= 0)
		FCGX_Attach(&c->r);
	return ok;
}

void
fcgi_conn_free(struct fcgi_conn *c)
{
	if (c == NULL)
		return;
	if (!c->cgi && c->begun) { /* its peer went away in the params */
		wipe_credentials(c->params);
		wipe_buffers(c, 0);
	}
	if (!c->cgi)
		FCGX_Free(&c->r, c->r.ipcFd >= 0);
	free(c);
}

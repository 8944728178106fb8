/*
 * FastCGI by libfcgi, over connections that the worker accepted itself, and
 * plain CGI behind the same functions.
 *
 * What has come is looked at in the socket (MSG_PEEK). If that is a whole
 * request and nothing else, as it nearly always is, libfcgi reads it there.
 * Else it is taken out and kept until it is one, and libfcgi reads it from the
 * spool, a file in memory.
 *
 * A stream that ended early looks like a short success to libfcgi's callers:
 * every read is followed by a look at its error, and the count of a body must
 * be the one announced.
 */
#include "http/fcgi.h"

#include "base/clock.h"
#include "base/crypto.h"
#include "base/decimal.h"
#include "base/mem.h"
#include "http/request.h"

#include <errno.h>
#include <fcgiapp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/param.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CHUNK = 8192, READER_MAX = 65536, PIECE = 1024, SEEN = 65536 };
/* A request has this long for its params; and a peer, to take note of an
 * answer that came before its body's end. */
enum { HALF_US = 5000000, LINGER_US = 2000000 };

/* Where libfcgi reads a request. */
enum source {
	FROM_READER, /* from what was taken, once it is laid in the spool */
	FROM_SPOOL,  /* it is laid there */
	FROM_SOCKET
};

struct fcgi_conn {
	FCGX_Request r;
	int fd;
	struct record_reader reader;
	int64_t since_us; /* of a request in part, or of closing; 0 = neither */
	enum source source;
	size_t plain_len; /* of one that was not FROM_READER */
	bool half;        /* a request, or a record, was seen in part */
	bool served;      /* a request before */
	bool closing;
	char **params;
	bool cgi;
	bool begun;              /* between fcgi_begin and fcgi_finish */
	bool body_done;          /* STDIN was read to its end */
	int64_t taken;           /* bytes of CGI's body so far */
	unsigned char *in, *out; /* libfcgi's buffers, to be wiped */
	size_t in_size, out_size;
};

static struct record_limits limits;
static int64_t timeout_us;
static int spool = -1; /* the file in memory */
static unsigned char seen[SEEN];

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

static bool
open_spool(void)
{
	if (spool < 0)
		spool = memfd_create("request", MFD_CLOEXEC);
	return spool >= 0;
}

void
fcgi_init(const struct record_limits *l, int64_t timeout_s)
{
	limits = *l;
	timeout_us = timeout_s * 1000000;
	if (FCGX_Init() != 0 || !open_spool())
		abort();
}

struct fcgi_conn *
fcgi_conn_new(int fd)
{
	struct fcgi_conn *c = mem_alloc(sizeof *c);

	/* No listening socket: on a bad connection libfcgi would accept
	 * another one behind our back; accept(-1) fails instead. */
	FCGX_InitRequest(&c->r, -1, 0);
	c->fd = fd;
	record_init(&c->reader, &limits);
	return c;
}

struct fcgi_conn *
fcgi_cgi_new(char **environ_params)
{
	struct fcgi_conn *c = mem_alloc(sizeof *c);

	c->cgi = true;
	c->params = environ_params;
	c->fd = -1;
	return c;
}

int
fcgi_conn_fd(const struct fcgi_conn *c)
{
	return c->fd;
}

/* In pieces: from 2 KiB on libc has a way that starts slowly. */
static void
wipe(unsigned char *p, size_t n)
{
	size_t at;

	for (at = 0; at < n; at += PIECE)
		explicit_bzero(p + at, MIN(PIECE, n - at));
}

/* Are the n bytes that are seen one request, and no more, that libfcgi reads
 * as we do? */
static bool
is_plain(struct record_reader *r, size_t n)
{
	unsigned id = r->id;

	if (record_begun(r))
		return false;
	r->keeping = false;
	if (record_read(r, seen, n) == n && record_ready(r) && r->plain)
		return true;
	r->id = id;
	record_next(r);
	return false;
}

static bool
send_reply(struct fcgi_conn *c)
{
	struct buf *reply = &c->reader.reply;
	ssize_t n;

	if (reply->len == 0)
		return true;
	n = send(
	    c->fd, buf_str(reply), reply->len, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n != (ssize_t)reply->len)
		return false; /* it doesn't listen */
	buf_reset(reply);
	return true;
}

/* Take what is seen out of the socket, as far as it belongs to one request. */
static enum fcgi_news
take(struct fcgi_conn *c, size_t n)
{
	struct record_reader *r = &c->reader;
	size_t used;

	c->source = FROM_READER;
	r->keeping = true;
	used = record_read(r, seen, n);
	if (recv(c->fd, seen, used, MSG_DONTWAIT) != (ssize_t)used ||
	    !send_reply(c) || r->phase == RECORD_BROKEN)
		return FCGI_GONE;
	c->half = record_begun(r);
	if (!c->half)
		c->since_us = 0;
	else if (c->since_us == 0)
		c->since_us = clock_mono_us();
	return record_ready(r) ? FCGI_READY : FCGI_WAIT;
}

/* Lay a request where libfcgi can read it. */
static bool
lay(const void *p, size_t n)
{
	return open_spool() && pwrite(spool, p, n, 0) == (ssize_t)n &&
	       lseek(spool, 0, SEEK_SET) == 0;
}

/*
 * libfcgi reads on behind a request, as far as there is something: of a
 * connection that is kept, that would be lost.
 */
static enum fcgi_news
take_plain(struct fcgi_conn *c, size_t n)
{
	c->source = c->reader.keep ? FROM_SPOOL : FROM_SOCKET;
	c->plain_len = n;
	if (c->reader.keep &&
	    (recv(c->fd, seen, n, MSG_DONTWAIT) != (ssize_t)n || !lay(seen, n)))
		return FCGI_GONE;
	return FCGI_READY;
}

/* What is on its way nearly always comes at once: most are whole when they are
 * looked at again. */
static enum fcgi_news
judge(struct fcgi_conn *c, size_t n)
{
	bool first = !c->half && !record_begun(&c->reader);

	if (is_plain(&c->reader, n))
		return take_plain(c, n);
	c->half = true;
	return first ? FCGI_WAIT : take(c, n);
}

enum fcgi_news
fcgi_look(struct fcgi_conn *c)
{
	enum fcgi_news news = FCGI_WAIT;
	ssize_t n;

	n = recv(c->fd, seen, sizeof seen,
	    c->closing ? MSG_DONTWAIT : MSG_PEEK | MSG_DONTWAIT);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? FCGI_WAIT
							 : FCGI_GONE;
	if (n == 0)
		return FCGI_GONE;
	if (!c->closing)
		news = judge(c, (size_t)n);
	wipe(seen, (size_t)n);
	return news;
}

enum fcgi_stage
fcgi_conn_stage(const struct fcgi_conn *c)
{
	if (c->closing)
		return FCGI_CLOSING;
	if (c->half)
		return c->reader.phase < RECORD_STDIN ? FCGI_HALF : FCGI_BODY;
	return c->served ? FCGI_KEPT : FCGI_SILENT;
}

int64_t
fcgi_conn_due_us(const struct fcgi_conn *c)
{
	if (c->closing)
		return c->since_us + LINGER_US;
	if (c->since_us == 0)
		return INT64_MAX;
	if (c->reader.phase < RECORD_STDIN)
		return c->since_us + MIN(HALF_US, timeout_us);
	return c->since_us + timeout_us;
}

size_t
fcgi_conn_held(const struct fcgi_conn *c)
{
	return c->reader.params.cap + c->reader.body.cap;
}

/*
 * The reader's buffer, if it is where we think. A plain request that has room
 * in it came with the first read, and there was no other; what takes more than
 * one may be anywhere in it.
 */
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
	if (c->source != FROM_READER && c->plain_len <= c->in_size)
		c->in_size = MAX(c->plain_len,
		    (size_t)((uintptr_t)r->buff_stop - (uintptr_t)r->buff));
}

/*
 * libfcgi gives its buffers back unwiped: tokens came through the one, and a
 * new secret key goes through the other.
 */
static void
wipe_buffers(struct fcgi_conn *c, size_t answer_len)
{
	if (c->in != NULL)
		wipe(c->in, c->in_size);
	if (c->out != NULL)
		explicit_bzero(c->out, MIN(answer_len, c->out_size));
	c->in = c->out = NULL;
}

static bool
lay_taken(const struct fcgi_conn *c)
{
	struct buf text = { 0 };
	bool ok;

	record_frame(&c->reader, &text);
	ok = lay(buf_str(&text), text.len);
	buf_free(&text);
	return ok;
}

static void
empty_spool(void)
{
	if (spool >= 0 && ftruncate(spool, 0) != 0)
		abort();
}

bool
fcgi_begin(struct fcgi_conn *c)
{
	int *fd;

	c->begun = c->body_done = false;
	if (c->cgi)
		return c->begun = true;
	if (c->source == FROM_READER && !lay_taken(c))
		return false;
	fd = c->source == FROM_SOCKET ? &c->fd : &spool;
	c->r.ipcFd = *fd;
	c->r.keepConnection = 1; /* or libfcgi closes it before it reads */
	/* It doesn't linger when it closes: we do, where there is need. */
	FCGX_Detach(&c->r);
	if (FCGX_Accept_r(&c->r) != 0) {
		*fd = -1; /* it closed that */
		return false;
	}
	c->begun = true;
	c->params = c->r.envp;
	c->out = c->r.out->wrNext;
	c->out_size = (size_t)(c->r.out->stop - c->r.out->wrNext);
	find_reader(c);
	return FCGX_GetError(c->r.in) == 0;
}

bool
fcgi_params_excess(const struct fcgi_conn *c)
{
	return c->reader.excess;
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
	if (!decimal_parse(length, strlen(length), 0, INT64_MAX, &n))
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
		if (total > (int64_t)max + RECORD_DRAIN_MAX)
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
	size_t redirects;
	char *value;

	for (; params != NULL && *params != NULL; params++) {
		value = request_authorization(*params, &redirects);
		if (value != NULL)
			crypto_wipe(value, strlen(value));
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
	while (!c->body_done && total < RECORD_DRAIN_MAX &&
	       (got = read_some(c, chunk, sizeof chunk)) > 0)
		total += got;
	crypto_wipe(chunk, sizeof chunk);
}

/* The body that nobody wanted, of a request that is whole: to close upon it
 * would reset the answer. */
static void
skip_body(struct fcgi_conn *c)
{
	char chunk[CHUNK];
	ssize_t got, most = 0;

	if (c->body_done || c->source != FROM_SOCKET ||
	    c->reader.phase != RECORD_WHOLE)
		return;
	while ((got = read_some(c, chunk, sizeof chunk)) > 0)
		most = MAX(most, got);
	crypto_wipe(chunk, (size_t)most);
}

/* What becomes of the connection once its answer is written, or could not be:
 * FCGI_KEEP_CONN counts where the next request's beginning is known. */
static void
end_request(struct fcgi_conn *c, bool ok)
{
	const struct record_reader *r = &c->reader;
	bool keep = r->keep && (r->phase == RECORD_WHOLE || r->body_len == 0);

	c->closing = !keep && !record_ended(r);
	c->r.keepConnection = ok && (keep || c->closing);
	FCGX_Finish_r(&c->r);
	c->fd = c->r.ipcFd;
	c->params = NULL;
	c->served = true;
	c->half = false;
	c->since_us = 0;
	if (c->fd < 0)
		return;
	record_next(&c->reader);
	if (c->closing) {
		shutdown(c->fd, SHUT_WR);
		c->since_us = clock_mono_us();
	}
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
	skip_body(c);
	if (c->source != FROM_SOCKET)
		empty_spool();
	c->r.ipcFd = c->fd;
	/* The stream that closes last writes the end of the request: closing
	 * the empty one first makes it one write with the answer. */
	ok = len <= INT32_MAX && FCGX_FClose(c->r.err) == 0 &&
	     FCGX_PutStr(answer, (int)len, c->r.out) == (int)len &&
	     FCGX_FClose(c->r.out) == 0;
	wipe_buffers(c, len);
	end_request(c, ok);
	return ok;
}

void
fcgi_conn_free(struct fcgi_conn *c)
{
	if (c == NULL)
		return;
	if (!c->cgi) {
		if (c->begun) { /* libfcgi read otherwise than we did */
			wipe_credentials(c->params);
			wipe_buffers(c, 0);
			empty_spool();
		}
		FCGX_Free(&c->r, 0);
		record_clear(&c->reader);
	}
	if (c->fd >= 0)
		close(c->fd);
	free(c);
}

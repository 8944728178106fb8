/*
 * A FastCGI connection, from its bytes to the bytes of the answer, through
 * libfcgi, http/fcgi, the request and the whole of the API, the database being
 * absent. If the first byte is odd, the rest is the raw stream; else it is a
 * list of records to encode: kind, length, content.
 *
 * libfcgi aborts on two things by itself: lengths in params whose sum passes
 * INT_MAX, and FCGI_GET_VALUES that name known values more often than there
 * are (a stack overflow that its canary stops). The socket is private for that
 * reason; here they are kept from it, and counted. And it leaks 48 bytes for
 * each management record of a type that it doesn't know: those go through
 * without a look for leaks.
 */
#include "fuzz.h"

#include "api/api.h"
#include "base/log.h"
#include "base/metrics.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum {
	VERSION = 1,
	HEAD = 8,
	STREAM_MAX = 65536,
	REQUESTS_MAX = 16,
	BODY_MAX = 512
};
enum { BEGIN = 1, ABORT, END, PARAMS, STDIN, STDOUT, STDERR, DATA, GET_VALUES };
/* A length that is claimed is allocated; from 2^30 on sums overflow. */
enum { CLAIM_MAX = 4 << 20, KNOWN_VALUES_MAX = 3 };

static struct config cfg;
static struct api api;
static uint64_t runs, withheld, requests;

static void
tell(void)
{
	fprintf(stderr, "fcgi: %llu streams, %llu requests, %llu withheld\n",
	    (unsigned long long)runs, (unsigned long long)requests,
	    (unsigned long long)withheld);
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	cfg = *fuzz_config();
	cfg.max_body = BODY_MAX;
	api.cfg = &cfg;
	(void)metrics_init(0);
	api.db = db_new(api.cfg->database_url.data, 100, 1);
	api.auth = auth_new(api.cfg, api.db);
	fcgi_init();
	atexit(tell);
	return 0;
}

static void
add_record(struct buf *out, uint8_t type, const char *p, size_t n)
{
	const char head[HEAD] = { VERSION, (char)type, 0,
		type == GET_VALUES ? 0 : 1, (char)(n >> 8), (char)n, 0, 0 };

	buf_add(out, head, sizeof head);
	buf_add(out, p, n);
}

static void
add_param(struct buf *out, const char *p, size_t n, uint8_t type)
{
	const char *eq = n > 0 ? memchr(p, '=', n) : NULL;
	size_t name = eq != NULL ? (size_t)(eq - p) : n;
	size_t value = eq != NULL ? n - name - 1 : 0;
	struct buf b = { 0 };

	if (name > 127) {
		buf_addc(&b, (char)0x80);
		buf_addc(&b, 0);
		buf_addc(&b, 0);
	}
	buf_addc(&b, (char)name);
	if (value > 127) {
		buf_addc(&b, (char)0x80);
		buf_addc(&b, 0);
		buf_addc(&b, 0);
	}
	buf_addc(&b, (char)value);
	buf_add(&b, p, name);
	if (eq != NULL)
		buf_add(&b, eq + 1, value);
	add_record(out, type, buf_str(&b), b.len);
	buf_free(&b);
}

/* Kinds of the list: what a web server might send, in any order. */
static void
encode(const uint8_t *data, size_t size, struct buf *out)
{
	char begin[HEAD] = { 0 };
	uint8_t kind;
	size_t n;

	while (size > 0 && out->len < STREAM_MAX - 600) {
		kind = fuzz_byte(&data, &size) & 7;
		n = fuzz_byte(&data, &size);
		if (n > size)
			n = size;
		switch (kind) {
		case 0:
			begin[1] = n > 0 ? (char)data[0] : 1;
			begin[2] = n > 1 ? (char)data[1] : 0;
			add_record(out, BEGIN, begin, sizeof begin);
			break;
		case 1:
			add_param(out, (const char *)data, n, PARAMS);
			break;
		case 2:
			add_record(out, PARAMS, "", 0);
			break;
		case 3:
			add_record(out, STDIN, (const char *)data, n);
			break;
		case 4:
			add_record(out, STDIN, "", 0);
			break;
		case 5:
			add_record(out, ABORT, (const char *)data, n);
			break;
		case 6:
			buf_add(out, data, n);
			break;
		default:
			add_param(out, (const char *)data, n, GET_VALUES);
		}
		data += n;
		size -= n;
	}
}

/* A name's or value's length (FastCGI 3.4); false at the end. */
static bool
take_length(const unsigned char **p, const unsigned char *end, size_t *len)
{
	if (*p == end)
		return false;
	*len = *(*p)++;
	if (*len < 128)
		return true;
	if (end - *p < 3)
		return false;
	*len = (*len & 127) << 24 | (size_t)(*p)[0] << 16 |
	       (size_t)(*p)[1] << 8 | (*p)[2];
	*p += 3;
	return true;
}

static bool
is_value(const unsigned char *p, size_t len)
{
	static const char *const names[] = { "FCGI_MAX_CONNS", "FCGI_MAX_REQS",
		"FCGI_MPXS_CONNS" };
	size_t i;

	for (i = 0; i < sizeof names / sizeof names[0]; i++)
		if (len == strlen(names[i]) && memcmp(p, names[i], len) == 0)
			return true;
	return false;
}

/* Does a stream of pairs claim too much, or ask for too many known values? */
static bool
pairs_abort(const struct buf *b)
{
	const unsigned char *p = (const unsigned char *)buf_str(b);
	const unsigned char *end = p + b->len;
	size_t name, value, known = 0;

	while (take_length(&p, end, &name) && take_length(&p, end, &value)) {
		if (name > CLAIM_MAX || value > CLAIM_MAX)
			return true;
		if (name + value > (size_t)(end - p))
			return false;
		known += is_value(p, name);
		p += name + value;
	}
	return known > KNOWN_VALUES_MAX;
}

/* A record as libfcgi finds it. */
struct record {
	const unsigned char *p; /* its head */
	size_t len;             /* of its content, as far as it is there */
	size_t skip;            /* to the next one */
};

/*
 * The record at p, if there is one. libfcgi forgets the padding of what ends a
 * phase, and then reads it as records: padded says whether that is so here.
 */
static bool
take_record(const unsigned char *p, size_t left, bool padded, struct record *r)
{
	if (left < HEAD)
		return false;
	r->p = p;
	r->len = (size_t)p[4] << 8 | p[5];
	r->skip = HEAD + r->len;
	if (padded || (p[1] != BEGIN && (p[1] != PARAMS || r->len > 0)))
		r->skip += p[6];
	if (r->len > left - HEAD)
		r->len = left - HEAD;
	if (r->skip > left)
		r->skip = left;
	return true;
}

/* Could libfcgi, wherever it is in the stream, read a length of this size? */
static bool
claims_anywhere(const struct buf *s)
{
	const unsigned char *p = (const unsigned char *)buf_str(s);
	const unsigned char *at = p;
	size_t len;

	for (; p < (const unsigned char *)buf_str(s) + s->len; at = ++p)
		if (*p >= 128 &&
		    take_length(&at, (const unsigned char *)buf_str(s) + s->len,
			&len) &&
		    len > CLAIM_MAX)
			return true;
	return false;
}

/* Records that move libfcgi from where ours are: padding that it forgets, and
 * management records that it doesn't know. */
static bool
is_odd(const struct record *r)
{
	const unsigned char *p = r->p;

	return (p[6] > 0 && (p[1] == BEGIN || r->len == 0)) ||
	       (p[2] == 0 && p[3] == 0 && p[1] != GET_VALUES);
}

/*
 * The two that libfcgi aborts on. Its params are the content of all PARAMS
 * records up to an empty one; other records between end them for it, and are
 * looked at as if they did not.
 */
static bool
aborts(const struct buf *s, bool padded)
{
	const unsigned char *p = (const unsigned char *)buf_str(s);
	size_t left = s->len;
	struct buf params = { 0 }, values = { 0 };
	struct record r;
	bool yes = false;

	while (!yes && take_record(p, left, padded, &r)) {
		yes = is_odd(&r) && claims_anywhere(s);
		if (p[1] == BEGIN || (p[1] == PARAMS && r.len == 0))
			buf_reset(&params);
		if (p[1] == PARAMS) {
			buf_add(&params, p + HEAD, r.len);
			yes = yes || pairs_abort(&params);
		} else if (p[1] == GET_VALUES) {
			buf_reset(&values);
			buf_add(&values, p + HEAD, r.len);
			yes = yes || pairs_abort(&values);
		}
		p += r.skip;
		left -= r.skip;
	}
	buf_free(&params);
	buf_free(&values);
	return yes;
}

/* Without a database nobody is let in: a yes is for what asks for nobody. */
static void
check_verdict(const struct request *req, const struct response *res)
{
	FUZZ_MUST(res->status >= 200 && res->status < 600);
	if (res->status >= 300)
		return;
	FUZZ_MUST(req->gate == GATE_NO);
	FUZZ_MUST(req->method == M_OPTIONS || req->npath == 1);
}

/* As serve/worker.c serves one request. */
static void
serve(struct fcgi_conn *c)
{
	struct request req = { 0 };
	struct response res = { 0 };
	struct buf answer = { 0 };
	enum fcgi_body body = FCGI_BODY_OK;

	requests++;
	request_init(&req, fcgi_params(c),
	    fcgi_conn_role(c) == FCGI_ROLE_AUTHORIZER_, "");
	if (api_wants_body(&req) && !req.content_length_bad)
		body = fcgi_read_body(c, req.content_length,
		    (size_t)api.cfg->max_body, &req.body);
	api_answer(&api, &req, body, &res);
	check_verdict(&req, &res);
	response_render(
	    &res, req.method == M_HEAD && req.gate == GATE_NO, &answer);
	(void)fcgi_finish(c, buf_str(&answer), answer.len);
	buf_free(&answer);
	response_clear(&res);
	request_clear(&req);
}

static void
serve_conn(int fd)
{
	struct fcgi_conn *c = fcgi_conn_new(fd);
	int n;

	for (n = 0; n < REQUESTS_MAX && fcgi_conn_fd(c) >= 0; n++) {
		if (!fcgi_begin(c))
			break;
		serve(c);
	}
	fcgi_conn_free(c);
}

/*
 * What went back are whole records, and each request's answer begins with its
 * status: an empty one that counts as complete is consent to lighttpd.
 */
static void
check_answers(const unsigned char *p, size_t left)
{
	struct buf out = { 0 };
	size_t n, skip;

	for (; left > 0; p += skip, left -= skip) {
		FUZZ_MUST(left >= HEAD && p[0] == VERSION);
		n = (size_t)p[4] << 8 | p[5];
		skip = HEAD + n + p[6];
		FUZZ_MUST(skip <= left);
		if (p[1] == STDOUT)
			buf_add(&out, p + HEAD, n);
		if (p[1] != END)
			continue;
		FUZZ_MUST(n == 8);
		FUZZ_MUST(p[HEAD + 4] != 0 ||
			  strncmp(buf_str(&out), "Status: ", 8) == 0);
		buf_reset(&out);
	}
	buf_free(&out);
}

/* LeakSanitizer's, where it is linked: not in the build for coverage. */
extern void __lsan_disable(void) __attribute__((weak));
extern void __lsan_enable(void) __attribute__((weak));

/* Is there a management record (of no request) other than FCGI_GET_VALUES? */
static bool
leaks(const struct buf *s, bool padded)
{
	const unsigned char *p = (const unsigned char *)buf_str(s);
	size_t left = s->len;
	struct record r;

	for (; take_record(p, left, padded, &r); p += r.skip, left -= r.skip)
		if (p[2] == 0 && p[3] == 0 && p[1] != GET_VALUES)
			return true;
	return false;
}

static void
exchange(const struct buf *stream)
{
	static unsigned char answers[1 << 20];
	const struct timeval patience = { .tv_usec = 20000 };
	size_t len = 0;
	ssize_t n;
	int fd[2], size = sizeof answers;

	FUZZ_MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd) == 0);
	setsockopt(fd[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
	/* Nobody reads before the end; the watchdog's part in the server. */
	setsockopt(fd[1], SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
	FUZZ_MUST(
	    write(fd[0], buf_str(stream), stream->len) == (ssize_t)stream->len);
	shutdown(fd[0], SHUT_WR);
	serve_conn(fd[1]);
	while ((n = read(fd[0], answers + len, sizeof answers - len)) > 0)
		len += (size_t)n;
	FUZZ_MUST(len < sizeof answers);
	close(fd[0]);
	check_answers(answers, len);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf stream = { 0 };

	runs++;
	if (fuzz_byte(&data, &size) & 1)
		buf_add(&stream, data, size < STREAM_MAX ? size : STREAM_MAX);
	else
		encode(data, size, &stream);
	if (aborts(&stream, true) || aborts(&stream, false)) {
		withheld++;
	} else if (__lsan_disable != NULL &&
		   (leaks(&stream, true) || leaks(&stream, false))) {
		__lsan_disable();
		exchange(&stream);
		__lsan_enable();
	} else {
		exchange(&stream);
	}
	buf_free(&stream);
	return 0;
}

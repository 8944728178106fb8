/*
 * A FastCGI connection, from its bytes to the bytes of the answer, through
 * libfcgi, http/fcgi, the request and the whole of the API, the database being
 * absent. If the first byte is odd, the rest is the raw stream; else it is a
 * list of records to encode: kind, length, content.
 *
 * Nothing is kept from libfcgi here: what it can't bear (lengths in params
 * whose sum passes INT_MAX, FCGI_GET_VALUES that name known values more often
 * than there are) doesn't reach it.
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

enum { VERSION = 1, HEAD = 8, STREAM_MAX = 65536, BODY_MAX = 512 };
enum { BEGIN = 1, ABORT, END, PARAMS, STDIN, STDOUT, STDERR, DATA, GET_VALUES };

static struct config cfg;
static struct api api;
static uint64_t runs, requests;

static void
tell(void)
{
	fprintf(stderr, "fcgi: %llu streams, %llu requests\n",
	    (unsigned long long)runs, (unsigned long long)requests);
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
	api.tend = tend_new(api.cfg, api.db);
	api.auth = auth_new(api.cfg, api.db, tend_uses(api.tend));
	fcgi_init(&(struct record_limits){ BODY_MAX, 1, 1 }, 30);
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
	req.params_excess = req.params_excess || fcgi_params_excess(c);
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

/* Its peer has said all that it will. */
static void
serve_conn(int fd)
{
	struct fcgi_conn *c = fcgi_conn_new(fd);
	enum fcgi_news news;

	while (fcgi_conn_fd(c) >= 0 && (news = fcgi_look(c)) != FCGI_GONE) {
		if (news != FCGI_READY)
			continue;
		FUZZ_MUST(fcgi_begin(c));
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
	exchange(&stream);
	buf_free(&stream);
	return 0;
}

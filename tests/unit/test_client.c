/* cli/http.h: requests go out as they were given, and of what comes back no
 * more is taken than is promised. */

#include "cli/http.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

enum { PATIENCE_S = 30, SEEN_MAX = 1 << 18 };

/* A child that serves one connection, and the site that leads to it. */
struct server {
	pid_t pid;
	int listener;
	int seen; /* what the child writes of the request */
	struct http_site site;
};

static void
send_all(int fd, const char *p, size_t n)
{
	ssize_t done;

	for (; n > 0; p += done, n -= (size_t)done) {
		done = send(fd, p, n, MSG_NOSIGNAL);
		if (done <= 0)
			return;
	}
}

/* The header section and the body, if there is one, have come. */
static bool
is_whole(const char *request)
{
	const char *body = strstr(request, "\r\n\r\n");
	const char *length = strstr(request, "\r\nContent-Length: ");

	if (body == NULL)
		return false;
	if (strstr(request, "\r\nTransfer-Encoding: chunked\r\n") != NULL)
		return strstr(body + 2, "\r\n0\r\n\r\n") != NULL;
	return length == NULL || length > body ||
	       strlen(body + 4) >= strtoul(length + 18, NULL, 10);
}

static void
serve(int listener, int out, const char *answer, size_t len)
{
	static char request[SEEN_MAX];
	int fd = accept(listener, NULL, NULL);
	bool held = true;
	size_t n = 0;
	ssize_t got = 1;

	while (got > 0 && !is_whole(request) && n < sizeof request - 1) {
		got = read(fd, request + n, sizeof request - 1 - n);
		n += got > 0 ? (size_t)got : 0;
		if (held && strstr(request, "\r\n\r\n") != NULL &&
		    strstr(request, "\r\nExpect: 100-continue\r\n") != NULL) {
			send_all(fd, "HTTP/1.1 100 Continue\r\n\r\n", 25);
			held = false;
		}
	}
	send_all(fd, answer, len);
	shutdown(fd, SHUT_WR);
	(void)!write(out, request, n < 60000 ? n : 60000);
	close(fd);
}

static void
start(struct server *s, const char *answer, size_t len)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof a;
	char url[64];
	int ends[2];

	memset(s, 0, sizeof *s);
	s->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(s->listener, (struct sockaddr *)&a, size), 0);
	assert_int_equal(listen(s->listener, 8), 0);
	assert_int_equal(
	    getsockname(s->listener, (struct sockaddr *)&a, &size), 0);
	assert_int_equal(pipe(ends), 0);
	s->pid = fork();
	if (s->pid == 0) {
		alarm(PATIENCE_S);
		serve(s->listener, ends[1], answer, len);
		_exit(0);
	}
	close(ends[1]);
	s->seen = ends[0];
	snprintf(url, sizeof url, "http://127.0.0.1:%d", ntohs(a.sin_port));
	assert_null(http_site_parse(url, &s->site));
}

/* Another connection than the one that was served is waiting. */
static bool
is_asked_again(const struct server *s)
{
	struct pollfd p = { s->listener, POLLIN, 0 };

	return poll(&p, 1, 0) > 0;
}

/* What it saw, the caller frees it. */
static char *
stop(struct server *s)
{
	char *seen = calloc(1, SEEN_MAX);
	size_t n = 0;
	ssize_t got;

	while ((got = read(s->seen, seen + n, SEEN_MAX - 1 - n)) > 0)
		n += (size_t)got;
	assert_int_equal(waitpid(s->pid, NULL, 0), s->pid);
	close(s->seen);
	close(s->listener);
	http_site_clear(&s->site);
	return seen;
}

static bool
ask(struct server *s, struct http_request *q, const char *headers,
    struct http_answer *a)
{
	bool answered;

	q->site = &s->site;
	q->agent = "agent";
	q->timeout_s = PATIENCE_S;
	buf_adds(&q->headers, headers);
	answered = http_ask(q, a);
	buf_free(&q->headers);
	return answered;
}

static int
count(const char *text, const char *part)
{
	int n = 0;

	while ((text = strstr(text, part)) != NULL) {
		n++;
		text++;
	}
	return n;
}

#define OK_ANSWER "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"

static char large[70001];

static void
test_as_given(void **state)
{
	static const struct {
		struct http_request q;
		const char *headers;
		const char *has[5];
		const char *hasnt[3];
	} cases[] = {
		{ { .method = "GET", .path = "//v1/../a%2Fb/./c//" }, "",
		    { "GET //v1/../a%2Fb/./c// HTTP/1.1\r\n",
			"\r\nUser-Agent: agent\r\n" },
		    { "Content-", "Transfer-", "Expect" } },
		{ { .method = "GET", .path = "/%2e%2e/%C3%A9%20?a=b&&c" }, "",
		    { "GET /%2e%2e/%C3%A9%20?a=b&&c HTTP/1.1\r\n" }, { NULL } },
		{ { .method = "GET", .path = "/" },
		    "X-Public-Key: a\nX-Public-Key: b\n"
		    "Authorization: Bearer x\nauthorization: Bearer y\n",
		    { "\r\nX-Public-Key: a\r\n", "\r\nX-Public-Key: b\r\n",
			"\r\nAuthorization: Bearer x\r\n",
			"\r\nauthorization: Bearer y\r\n" },
		    { NULL } },
		{ { .method = "GET", .path = "/" },
		    "Host: another\nAccept: a\n",
		    { "\r\nHost: another\r\n", "\r\nAccept: a\r\n" },
		    { "Host: 127", "*/*" } },
		{ { .method = "BREW", .path = "/pot" }, "",
		    { "BREW /pot HTTP/1.1\r\n" }, { "Content-" } },
		{ { .method = "get", .path = "/" }, "",
		    { "get / HTTP/1.1\r\n" }, { NULL } },
		/* Without a body, and without a word of its length. */
		{ { .method = "POST", .path = "/" }, "",
		    { "POST / HTTP/1.1\r\n" },
		    { "Content-", "Transfer-", "Expect" } },
		{ { .method = "HEAD", .path = "/" }, "",
		    { "HEAD / HTTP/1.1\r\n" }, { "Content-" } },
		{ { .method = "GET", .path = "/", .body = "{}", .body_len = 2 },
		    "Content-Type: a/b\n",
		    { "GET / HTTP/1.1\r\n", "\r\nContent-Type: a/b\r\n",
			"\r\nContent-Length: 2\r\n", "\r\n\r\n{}" },
		    { "Transfer-", "Expect", "urlencoded" } },
		{ { .method = "PUT", .path = "/", .body = "", .body_len = 0 },
		    "Content-Type: a/b\n", { "\r\nContent-Length: 0\r\n" },
		    { "Transfer-", "Expect" } },
		{ { .method = "PUT",
		      .path = "/",
		      .body = large,
		      .body_len = sizeof large - 1 },
		    "Content-Type: a/b\n", { "\r\nContent-Length: 70000\r\n" },
		    { "Transfer-", "Expect" } },
		{ { .method = "PATCH",
		      .path = "/",
		      .body = "{}",
		      .body_len = 2,
		      .chunked = true },
		    "Content-Type: a/b\n",
		    { "PATCH / HTTP/1.1\r\n", "\r\nExpect: 100-continue\r\n",
			"\r\nTransfer-Encoding: chunked\r\n",
			"\r\n\r\n2\r\n{}\r\n0\r\n\r\n" },
		    { "Content-Length" } },
	};
	size_t i, j;

	(void)state;
	memset(large, 'x', sizeof large - 1);
	for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct http_request q = cases[i].q;
		struct http_answer a = { 0 };
		struct server s;
		char *seen;

		start(&s, OK_ANSWER, sizeof OK_ANSWER - 1);
		assert_true(ask(&s, &q, cases[i].headers, &a));
		assert_int_equal(a.status, 200);
		assert_true(a.sent <= a.received);
		http_answer_clear(&a);
		seen = stop(&s);
		for (j = 0; j < 5 && cases[i].has[j] != NULL; j++)
			if (count(seen, cases[i].has[j]) != 1)
				fail_msg("%zu: not once '%s' in '%.600s'", i,
				    cases[i].has[j], seen);
		for (j = 0; j < 3 && cases[i].hasnt[j] != NULL; j++)
			if (strstr(seen, cases[i].hasnt[j]) != NULL)
				fail_msg("%zu: '%s' in '%.600s'", i,
				    cases[i].hasnt[j], seen);
		free(seen);
	}
}

static void
test_answers(void **state)
{
	static const struct {
		const char *text;
		int status;    /* 0: no answer */
		const char *x; /* header X */
		const char *body;
	} cases[] = {
		{ OK_ANSWER, 200, NULL, "{}" },
		{ "HTTP/1.1 404 \r\nx:  a b \r\nX: c\r\n\r\nto the end", 404,
		    "a b", "to the end" },
		{ "HTTP/1.0 200\r\nX:\r\n\r\n", 200, "", "" },
		{ "HTTP/1.1 204 No\r\nX: a\r\n\r\n", 204, "a", "" },
		/* Sections of interim answers. */
		{ "HTTP/1.1 100 C\r\nX: no\r\n\r\nHTTP/1.1 103 E\r\nX: no\r\n"
		  "\r\nHTTP/1.1 200 OK\r\nX: a\r\nContent-Length: 1\r\n\r\nb",
		    200, "a", "b" },
		{ "HTTP/1.1 103 E\r\nX: no\r\n\r\nHTTP/1.1 200 OK\r\n"
		  "Content-Length: 1\r\n\r\nb",
		    200, NULL, "b" },
		/* Trailers. */
		{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
		  "1\r\na\r\n0\r\nX: no\r\n\r\n",
		    200, NULL, "a" },
		{ "", 0, NULL, NULL },
		{ "SSH-2.0-x\r\n", 0, NULL, NULL },
		{ "HTTP/1.1 100 C\r\n\r\n", 0, NULL, NULL },
		{ "HTTP/1.1 200 OK\r\nX: a", 0, NULL, NULL },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx", 0, NULL,
		    NULL },
		{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
		    0, NULL, NULL },
		{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
		  "1\r\na\r\n",
		    0, NULL, NULL },
		{ "HTTP/1.1 999 X\r\nContent-Length: 0\r\n\r\n", 0, NULL,
		    NULL },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct http_request q = { .method = "GET", .path = "/" };
		struct http_answer a = { 0 };
		struct buf x = { 0 };
		struct server s;
		bool answered;

		start(&s, cases[i].text, strlen(cases[i].text));
		answered = ask(&s, &q, "", &a);
		if (answered != (cases[i].status > 0) ||
		    a.status != cases[i].status)
			fail_msg("%zu: %d, %s", i, a.status, buf_str(&a.fault));
		assert_int_equal(a.fault.len > 0, !answered);
		assert_null(strchr(buf_str(&a.fault), '\n'));
		if (answered) {
			assert_string_equal(buf_str(&a.body), cases[i].body);
			if (http_header(&a, "X", &x) != (cases[i].x != NULL))
				fail_msg("%zu: X", i);
			if (cases[i].x != NULL)
				assert_string_equal(buf_str(&x), cases[i].x);
		} else
			assert_int_equal(a.head.len + a.body.len, 0);
		buf_free(&x);
		http_answer_clear(&a);
		free(stop(&s));
	}
}

/* Credentials don't leave for where a stranger points. */
static void
test_redirects(void **state)
{
	static const int statuses[] = { 301, 302, 303, 307, 308 };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof statuses / sizeof statuses[0]; i++) {
		struct http_request q = { .method = "GET", .path = "/" };
		struct http_answer a = { 0 };
		struct buf text = { 0 }, to = { 0 };
		struct server s, other;

		start(&other, OK_ANSWER, sizeof OK_ANSWER - 1);
		buf_addf(&text,
		    "HTTP/1.1 %d X\r\nLocation: %s/\r\nContent-Length: 0\r\n"
		    "\r\n",
		    statuses[i], buf_str(&other.site.origin));
		start(&s, text.data, text.len);
		assert_true(ask(&s, &q, "Authorization: Bearer x\n", &a));
		assert_int_equal(a.status, statuses[i]);
		assert_true(http_header(&a, "location", &to));
		assert_false(is_asked_again(&s) || is_asked_again(&other));
		free(stop(&s));
		/* The child still waits for its one connection. */
		assert_int_equal(waitpid(other.pid, NULL, WNOHANG), 0);
		assert_true(ask(&other, &q, "", &a));
		free(stop(&other));
		buf_free(&text);
		buf_free(&to);
		http_answer_clear(&a);
	}
}

static void
test_limits(void **state)
{
	struct http_request q = { .method = "GET", .path = "/" };
	struct http_answer a = { 0 };
	struct buf text = { 0 };
	struct server s;
	size_t n;

	(void)state;
	buf_adds(&text, "HTTP/1.1 200 OK\r\n\r\n");
	for (n = 0; n <= HTTP_BODY_MAX; n++)
		buf_addc(&text, 'x');
	start(&s, text.data, text.len);
	assert_true(ask(&s, &q, "", &a));
	assert_int_equal(a.status, 200);
	assert_int_equal(a.body.len, HTTP_BODY_MAX);
	free(stop(&s));
	http_answer_clear(&a);

	/* One byte less, and nothing is cut; the last piece fills it. */
	start(&s, text.data, text.len - 1);
	assert_true(ask(&s, &q, "", &a));
	assert_int_equal(a.body.len, HTTP_BODY_MAX);
	free(stop(&s));
	http_answer_clear(&a);

	buf_reset(&text);
	buf_adds(&text, "HTTP/1.1 200 OK\r\n");
	for (n = 0; n < HTTP_HEAD_MAX / 64; n++)
		buf_addf(&text, "X: %060d\r\n", 0);
	buf_adds(&text, "\r\n");
	start(&s, text.data, text.len);
	assert_false(ask(&s, &q, "", &a));
	assert_string_equal(
	    buf_str(&a.fault), "the answer's headers are larger than 256 KiB");
	free(stop(&s));
	http_answer_clear(&a);
	buf_free(&text);
}

/* A HEAD's answer has the length of a body that doesn't come; a refusal may
 * come before the body was read. */
static void
test_no_body_is_waited_for(void **state)
{
	static const char head[] =
	    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
	struct http_request q = { .method = "HEAD", .path = "/" };
	struct http_answer a = { 0 };
	struct server s;

	(void)state;
	start(&s, head, sizeof head - 1);
	assert_true(ask(&s, &q, "", &a));
	assert_int_equal(a.status, 200);
	free(stop(&s));
	http_answer_clear(&a);
}

/* What is loopback is asked without one, whatever the environment says. */
static void
test_proxy(void **state)
{
	static const char *const names[] = { "http_proxy", "all_proxy",
		"ALL_PROXY" };
	struct http_request q = { .method = "GET", .path = "/x" };
	struct http_answer a = { 0 };
	struct server s, proxy;
	char *seen;
	size_t i;

	(void)state;
	start(&proxy, OK_ANSWER, sizeof OK_ANSWER - 1);
	for (i = 0; i < sizeof names / sizeof names[0]; i++)
		setenv(names[i], buf_str(&proxy.site.origin), 1);
	start(&s, OK_ANSWER, sizeof OK_ANSWER - 1);
	assert_true(ask(&s, &q, "", &a));
	http_answer_clear(&a);
	seen = stop(&s);
	assert_non_null(strstr(seen, "GET /x HTTP/1.1\r\n"));
	free(seen);
	assert_false(is_asked_again(&proxy));

	/* Any other by it. */
	memset(&s.site, 0, sizeof s.site);
	assert_null(http_site_parse("http://site.invalid:81/api", &s.site));
	q.site = &s.site;
	assert_true(http_ask(&q, &a));
	http_answer_clear(&a);
	seen = stop(&proxy);
	assert_non_null(
	    strstr(seen, "GET http://site.invalid:81/api/x HTTP/1.1\r\n"));
	free(seen);
	for (i = 0; i < sizeof names / sizeof names[0]; i++)
		unsetenv(names[i]);
	http_site_clear(&s.site);
}

static void
test_sites(void **state)
{
	static const struct {
		const char *text, *origin, *base;
		bool loopback;
	} good[] = {
		{ "http://a.example", "http://a.example", "", false },
		{ "HTTPS://A.example:443/", "https://A.example:443", "",
		    false },
		{ "http://h/api//", "http://h", "/api", false },
		{ "http://h:81/a%20b/c", "http://h:81", "/a%20b/c", false },
		{ "http://h_1-2.example/", "http://h_1-2.example", "", false },
		{ "http://[2001:db8::1]:8080/x", "http://[2001:db8::1]:8080",
		    "/x", false },
		{ "http://10.0.0.1", "http://10.0.0.1", "", false },
		{ "http://localhost.example", "http://localhost.example", "",
		    false },
		{ "http://128.0.0.1", "http://128.0.0.1", "", false },
		{ "http://[::2]", "http://[::2]", "", false },
		{ "http://[::ffff:10.0.0.1]", "http://[::ffff:10.0.0.1]", "",
		    false },
		{ "http://localhost", "http://localhost", "", true },
		{ "http://a.LocalHost:81", "http://a.LocalHost:81", "", true },
		{ "http://127.0.0.1", "http://127.0.0.1", "", true },
		{ "http://127.255.0.9:1", "http://127.255.0.9:1", "", true },
		{ "http://127.1", "http://127.1", "", true },
		{ "http://0x7f000001", "http://0x7f000001", "", true },
		{ "http://2130706433", "http://2130706433", "", true },
		{ "http://0177.0.0.1", "http://0177.0.0.1", "", true },
		{ "http://0.0.0.0:1", "http://0.0.0.0:1", "", true },
		{ "http://[::1]:1", "http://[::1]:1", "", true },
		{ "http://[0:0::0:1]", "http://[0:0::0:1]", "", true },
		{ "http://[::]", "http://[::]", "", true },
		{ "http://[::ffff:127.0.0.1]", "http://[::ffff:127.0.0.1]", "",
		    true },
		{ "http://[::ffff:7f00:1]", "http://[::ffff:7f00:1]", "",
		    true },
	};
	static const char *const bad[] = { "", "h", "ftp://h", "http:/h",
		"http:///h", "https:////h", "http://:1",
		"http://h:", "http://h:0", "http://h:00", "http://h:65536",
		"http://h:-1", "http://h:1:2", "http://h:99999999999999999999",
		"http://@h", "http://a:b@h", "http://%31%32%37.0.0.1",
		"http://h%00", "http://[::1", "http://::1", "http://[::1]x",
		"http://[::1]:", "http://[]", "http://[", "http://]",
		"http://h[1]", "http://[::1%25lo]", "http://[::1%lo]",
		"http://[v1.a]", "http://[1.2.3.4]", "http://.h", "http://-h",
		"http://h?", "http://h#", "http://h/?", "http://h/a//b",
		"http://h/.", "http://h/a/..", "http://h/%2", "http://h/a;b" };
	struct http_site site = { 0 };
	const char *why;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof good / sizeof good[0]; i++) {
		why = http_site_parse(good[i].text, &site);
		if (why != NULL || site.loopback != good[i].loopback)
			fail_msg("%s: %d %s", good[i].text, site.loopback,
			    why != NULL ? why : "");
		assert_string_equal(buf_str(&site.origin), good[i].origin);
		assert_string_equal(buf_str(&site.base), good[i].base);
		http_site_clear(&site);
		memset(&site, 0, sizeof site);
	}
	for (i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		if (http_site_parse(bad[i], &site) == NULL)
			fail_msg("'%s' is taken", bad[i]);
		http_site_clear(&site);
		memset(&site, 0, sizeof site);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_as_given),
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_redirects),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_no_body_is_waited_for),
		cmocka_unit_test(test_proxy),
		cmocka_unit_test(test_sites),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* http/fcgi.h: what libfcgi, in this version, leaves of a request in memory.
 * Its buffers are found by a guess at what it keeps to itself. */
#include "http/fcgi.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { TOKEN = 40, MAPPING_MAX = 64 << 20 };

/* No memory of ours has the token: the peer makes it, in another process. */
static char
token_at(size_t i)
{
	return (char)('A' + (i * 7 + i / 5) % 26);
}

static void
add_record(struct buf *out, int type, const char *p, size_t n)
{
	const char head[RECORD_HEAD] = { 1, (char)type, 0, 1, (char)(n >> 8),
		(char)n, 0, 0 };

	buf_add(out, head, sizeof head);
	buf_add(out, p, n);
}

static void
add_param(struct buf *out, const char *name, const char *value, size_t n)
{
	const char lens[] = { (char)strlen(name), (char)(0x80 | n >> 24),
		(char)(n >> 16), (char)(n >> 8), (char)n };

	buf_add(out, lens, sizeof lens);
	buf_adds(out, name);
	buf_add(out, value, n);
}

/* A way to send a request. */
struct way {
	const char *name;
	size_t before, after; /* bytes of other params */
	size_t body;
	size_t piece; /* bytes sent at once, with a pause; 0 = all */
	bool keep, cut, answered;
};

static void
make_request(const struct way *way, struct buf *out)
{
	static const char pad[20000];
	const char begin[8] = { 0, 1, way->keep };
	char value[7 + TOKEN] = "Bearer ";
	struct buf params = { 0 };
	size_t i;

	for (i = 0; i < TOKEN; i++)
		value[7 + i] = token_at(i);
	add_param(&params, "HTTP_A", pad, way->before);
	add_param(&params, "HTTP_AUTHORIZATION", value, sizeof value);
	add_param(&params, "HTTP_B", pad, way->after);
	add_record(out, 1, begin, sizeof begin);
	add_record(out, 4, buf_str(&params), params.len);
	if (way->cut)
		return;
	add_record(out, 4, "", 0);
	if (way->body > 0)
		add_record(out, 5, pad, way->body);
	add_record(out, 5, "", 0);
}

/* The peer: sends, and waits for the end. */
static void
be_peer(const struct way *way, int fd)
{
	struct buf text = { 0 };
	size_t at, n;
	char c;

	make_request(way, &text);
	for (at = 0; at < text.len; at += n) {
		n = text.len - at;
		if (way->piece > 0 && n > way->piece)
			n = way->piece;
		if (send(fd, buf_str(&text) + at, n, 0) != (ssize_t)n)
			_exit(1);
		if (way->piece > 0)
			usleep(2000);
	}
	shutdown(fd, SHUT_WR);
	while (read(fd, &c, 1) > 0)
		;
	_exit(0);
}

static bool
token_in(const char *p, const char *end)
{
	size_t i;

	for (; p + TOKEN <= end; p++) {
		for (i = 0; i < TOKEN && p[i] == token_at(i); i++)
			;
		if (i == TOKEN)
			return true;
	}
	return false;
}

/* Is the token anywhere in what this process may write to? */
static bool
token_in_memory(void)
{
	static char line[512];
	FILE *maps = fopen("/proc/self/maps", "re");
	unsigned long from, to;
	char rights[5];
	bool found = false;

	assert_non_null(maps);
	while (!found && fgets(line, sizeof line, maps) != NULL)
		if (sscanf(line, "%lx-%lx %4s", &from, &to, rights) == 3 &&
		    strncmp(rights, "rw", 2) == 0 && to - from < MAPPING_MAX)
			found = token_in((const char *)from, (const char *)to);
	fclose(maps);
	return found;
}

static bool
authorized(struct fcgi_conn *c)
{
	char **p;

	for (p = fcgi_params(c); *p != NULL; p++)
		if (strncmp(*p, "HTTP_AUTHORIZATION=Bearer ", 26) == 0)
			return strlen(*p) == 26 + TOKEN &&
			       token_in(*p + 26, *p + 26 + TOKEN);
	return false;
}

static bool
serve_all(struct fcgi_conn *c)
{
	static const char answer[] = "Status: 204 No Content\r\n\r\n";
	enum fcgi_news news;
	struct buf body = { 0 };
	bool served = false;

	while (fcgi_conn_fd(c) >= 0 && (news = fcgi_look(c)) != FCGI_GONE) {
		if (news == FCGI_WAIT) {
			usleep(500);
			continue;
		}
		assert_true(fcgi_begin(c));
		assert_true(authorized(c));
		assert_true(token_in_memory());
		assert_int_equal(
		    fcgi_read_body(c, -1, 65536, &body), FCGI_BODY_OK);
		assert_true(fcgi_finish(c, answer, sizeof answer - 1));
		served = true;
	}
	buf_free(&body);
	return served;
}

static void
nothing_is_left(void **state)
{
	static const struct way ways[] = {
		{ "whole", 10, 10, 0, 0, false, false, true },
		{ "kept", 10, 10, 0, 0, true, false, true },
		{ "with a body", 10, 10, 5000, 0, false, false, true },
		/* More than libfcgi reads at once, the token early or late. */
		{ "early", 10, 19000, 0, 0, false, false, true },
		{ "late", 19000, 10, 0, 0, false, false, true },
		{ "across", 8130, 9000, 20000, 0, false, false, true },
		{ "early, kept", 10, 19000, 20000, 0, true, false, true },
		{ "in pieces", 10, 10, 10, 7, false, false, true },
		{ "in pieces, kept", 10, 3000, 100, 100, true, false, true },
		{ "cut", 10, 10, 0, 0, false, true, false },
		{ "cut, in pieces", 10, 10, 0, 9, true, true, false },
	};
	size_t i;
	int fd[2], status;
	pid_t peer;

	(void)state;
	for (i = 0; i < sizeof ways / sizeof ways[0]; i++) {
		struct fcgi_conn *c;

		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
		peer = fork();
		if (peer == 0) {
			close(fd[1]);
			be_peer(&ways[i], fd[0]);
		}
		close(fd[0]);
		c = fcgi_conn_new(fd[1]);
		if (serve_all(c) != ways[i].answered)
			fail_msg("%s", ways[i].name);
		fcgi_conn_free(c);
		if (token_in_memory())
			fail_msg("%s: the token is left", ways[i].name);
		assert_int_equal(waitpid(peer, &status, 0), peer);
		assert_int_equal(status, 0);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_is_left),
	};
	const struct record_limits limits = { 65536, 1, 1 };

	fcgi_init(&limits, 30);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * The child process that speaks HTTP, and the reading of what it writes.
 */
#include "cli/http.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>
#include <sys/wait.h>
#include <unistd.h>

enum { OUT_MAX = 1 << 20, ERR_MAX = 4096, GRACE_MS = 3000 };
enum { EXIT_NOT_FOUND = 127, CURL_SEND_ERROR = 55, CURL_RECV_ERROR = 56 };

/* The child and our ends of its pipes; -1 where closed. */
struct child {
	pid_t pid;
	int in, out, err;
};

/* curl's configuration files: a quoted value with these escapes. */
static void
add_quoted(struct buf *b, const char *p, size_t len)
{
	size_t i;

	buf_addc(b, '"');
	for (i = 0; i < len; i++)
		if (p[i] == '\n')
			buf_adds(b, "\\n");
		else if (p[i] == '\r')
			buf_adds(b, "\\r");
		else if (p[i] == '"' || p[i] == '\\')
			buf_addf(b, "\\%c", p[i]);
		else
			buf_addc(b, p[i]);
	buf_adds(b, "\"\n");
}

static void
add_option(struct buf *b, const char *name, const char *value, size_t len)
{
	buf_addf(b, "%s = ", name);
	add_quoted(b, value, len);
}

/*
 * A HEAD is an option of its own: else curl waits for the body that the
 * answer's Content-Length speaks of.
 */
static void
write_config(struct buf *b, const struct http_request *q)
{
	const char *line = buf_str(&q->headers), *end;

	buf_addf(b,
	    "silent\nshow-error\ninclude\ngloboff\npath-as-is\nhttp1.1\n"
	    "proto = \"=http,https\"\nnoproxy = \"*\"\n"
	    "connect-timeout = %d\nmax-time = %d\n",
	    q->timeout_s, q->timeout_s);
	add_option(b, "url", q->url, strlen(q->url));
	if (strcmp(q->method, "HEAD") == 0)
		buf_adds(b, "head\n");
	else
		add_option(b, "request", q->method, strlen(q->method));
	add_option(b, "user-agent", "postern-doctor", 14);
	/* A chunked body is held back until the header section was looked at:
	 * one that arrives with it may be counted by the web server, and then
	 * has a length after all. */
	if (q->chunked)
		add_option(b, "header", "Expect: 100-continue", 20);
	else
		add_option(b, "header", "Expect:", 7);
	for (; (end = strchr(line, '\n')) != NULL; line = end + 1)
		add_option(b, "header", line, (size_t)(end - line));
	if (q->chunked)
		add_option(b, "header", "Transfer-Encoding: chunked", 26);
	if (q->body != NULL)
		add_option(b, "data-raw", q->body, q->body_len);
}

/* What the child gets of our environment: where programs and the authorities
 * of TLS are. */
static void
add_environment(char **env)
{
	static const char *const names[] = {
		"PATH=", "SSL_CERT_FILE=", "SSL_CERT_DIR=", "CURL_CA_BUNDLE="
	};
	char **p;
	size_t i, n = 0;

	for (i = 0; i < sizeof names / sizeof names[0]; i++)
		for (p = environ; *p != NULL; p++)
			if (strncmp(*p, names[i], strlen(names[i])) == 0) {
				env[n++] = *p;
				break;
			}
	env[n] = NULL;
}

static void
close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* 0, or the errno of what failed. */
static int
spawn(struct child *c, int in, int out, int err)
{
	static char name[] = "curl", no_rc[] = "-q", from[] = "-K",
		    in_stdin[] = "-";
	char *argv[] = { name, no_rc, from, in_stdin, NULL };
	char *env[5];
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t set;
	int rc;

	add_environment(env);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, in, STDIN_FILENO);
	posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
	posix_spawn_file_actions_adddup2(&actions, err, STDERR_FILENO);
	posix_spawnattr_init(&attr);
	sigemptyset(&set);
	sigaddset(&set, SIGPIPE);
	posix_spawnattr_setsigdefault(&attr, &set);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGDEF);
	rc = posix_spawnp(&c->pid, "curl", &actions, &attr, argv, env);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&actions);
	return rc;
}

/* Likewise. */
static int
start(struct child *c)
{
	int in[2] = { -1, -1 }, out[2] = { -1, -1 }, err[2] = { -1, -1 };
	int rc = 0;

	if (pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0 ||
	    pipe2(err, O_CLOEXEC) < 0)
		rc = errno;
	if (rc == 0)
		rc = spawn(c, in[0], out[1], err[1]);
	close_fd(&in[0]);
	close_fd(&out[1]);
	close_fd(&err[1]);
	c->in = in[1];
	c->out = out[0];
	c->err = err[0];
	if (rc == 0)
		fcntl(c->in, F_SETFL, O_NONBLOCK);
	return rc;
}

/* Feed the child; its stdin is closed behind the last byte. */
static void
feed(struct child *c, const struct buf *config, size_t *at)
{
	ssize_t n = write(c->in, config->data + *at, config->len - *at);

	if (n > 0)
		*at += (size_t)n;
	if (*at == config->len || (n < 0 && errno != EAGAIN && errno != EINTR))
		close_fd(&c->in);
}

/* Take what the child wrote; what is beyond max is let go. */
static void
drain(int *fd, struct buf *b, size_t max)
{
	char chunk[16384];
	ssize_t n = read(*fd, chunk, sizeof chunk);

	if (n == 0 || (n < 0 && errno != EINTR))
		close_fd(fd);
	if (n > 0)
		buf_add(b, chunk,
		    (size_t)n < max - b->len ? (size_t)n : max - b->len);
}

/*
 * Talk to the child until it has closed both its outputs. False if it is still
 * there at the deadline, which curl's own time-out should have prevented.
 */
static bool
converse(struct child *c, const struct buf *config, int64_t deadline,
    struct buf *out, struct buf *err)
{
	struct pollfd p[3];
	size_t at = 0;
	int64_t left;
	int i;

	while (c->out >= 0 || c->err >= 0) {
		p[0] = (struct pollfd){ c->in, POLLOUT, 0 };
		p[1] = (struct pollfd){ c->out, POLLIN, 0 };
		p[2] = (struct pollfd){ c->err, POLLIN, 0 };
		left = (deadline - clock_mono_us()) / 1000;
		if (left <= 0)
			return false;
		i = poll(p, 3, (int)left);
		if (i < 0 && errno != EINTR)
			return false;
		if (i <= 0)
			continue;
		if (p[0].revents != 0)
			feed(c, config, &at);
		if (p[1].revents != 0)
			drain(&c->out, out, OUT_MAX);
		if (p[2].revents != 0)
			drain(&c->err, err, ERR_MAX);
	}
	return true;
}

/* Its exit status; -1 if a signal ended it. */
static int
finish(struct child *c, bool stop)
{
	int status = 0;
	pid_t got;

	close_fd(&c->in);
	close_fd(&c->out);
	close_fd(&c->err);
	if (stop)
		kill(c->pid, SIGKILL);
	do
		got = waitpid(c->pid, &status, 0);
	while (got < 0 && errno == EINTR);
	return got > 0 && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* One line of the header section at *p, without its end; false when the text
 * ends before the line does. */
static bool
take_line(const char **p, const char *end, const char **line, size_t *len)
{
	const char *nl = memchr(*p, '\n', (size_t)(end - *p));

	if (nl == NULL)
		return false;
	*line = *p;
	*len = (size_t)(nl - *p);
	*p = nl + 1;
	if (*len > 0 && nl[-1] == '\r')
		--*len;
	return true;
}

/* "HTTP/1.1 200 OK": the status, or 0 (RFC 9112 section 4). */
static int
status_of(const char *line, size_t len)
{
	const char *sp = memchr(line, ' ', len);
	int i, status = 0;

	if (len < 5 || strncmp(line, "HTTP/", 5) != 0 || sp == NULL ||
	    (size_t)(line + len - sp) < 4)
		return 0;
	for (i = 1; i <= 3; i++) {
		if (sp[i] < '0' || sp[i] > '9')
			return 0;
		status = 10 * status + (sp[i] - '0');
	}
	if ((size_t)(line + len - sp) > 4 && sp[4] != ' ')
		return 0;
	return status >= 100 && status <= 599 ? status : 0;
}

bool
http_split(const char *p, size_t len, struct http_answer *a)
{
	const char *end = p + len, *head = p, *line;
	size_t n;
	int status;

	do {
		head = p;
		if (!take_line(&p, end, &line, &n))
			return false;
		status = status_of(line, n);
		do
			if (!take_line(&p, end, &line, &n))
				return false;
		while (n > 0);
	} while (status >= 100 && status < 200);
	if (status == 0)
		return false;
	a->status = status;
	buf_add(&a->head, head, (size_t)(p - head));
	buf_add(&a->body, p, (size_t)(end - p));
	return true;
}

bool
http_header(const struct http_answer *a, const char *name, struct buf *value)
{
	const char *p = buf_str(&a->head), *end = p + a->head.len, *line;
	size_t len, n = strlen(name);

	while (take_line(&p, end, &line, &len)) {
		if (len <= n || strncasecmp(line, name, n) != 0 ||
		    line[n] != ':')
			continue;
		for (n++; n < len && (line[n] == ' ' || line[n] == '\t'); n++)
			;
		while (
		    len > n && (line[len - 1] == ' ' || line[len - 1] == '\t'))
			len--;
		buf_add(value, line + n, len - n);
		return true;
	}
	return false;
}

/* The first line that curl said, without "curl: ". */
static void
set_fault(struct http_answer *a, const char *said)
{
	if (strncmp(said, "curl: ", 6) == 0)
		said += 6;
	buf_add(&a->fault, said, strcspn(said, "\r\n"));
	if (a->fault.len == 0)
		buf_addf(&a->fault, "curl ended with %d", a->curl);
}

/*
 * A server that refuses a body may close before it has read it: what it said
 * then counts, although curl complains.
 */
static bool
was_answered(struct http_answer *a, const struct buf *out)
{
	bool cut = a->curl == CURL_SEND_ERROR || a->curl == CURL_RECV_ERROR;

	return (a->curl == 0 || cut) && http_split(buf_str(out), out->len, a) &&
	       (!cut || a->status >= 400);
}

static enum http_outcome
exchange(struct child *c, const struct http_request *q, struct http_answer *a)
{
	struct buf config = { 0 }, out = { 0 }, err = { 0 };
	int64_t deadline =
	    clock_mono_us() + (q->timeout_s * INT64_C(1000) + GRACE_MS) * 1000;
	enum http_outcome o = HTTP_FAILED;
	bool ended;

	write_config(&config, q);
	ended = converse(c, &config, deadline, &out, &err);
	a->curl = finish(c, !ended);
	a->received = clock_wall();
	if (a->curl == EXIT_NOT_FOUND)
		o = HTTP_NO_CURL;
	else if (was_answered(a, &out))
		o = HTTP_ANSWERED;
	if (!ended)
		buf_adds(&a->fault, "curl did not end in time");
	else if (a->curl != 0 && o != HTTP_ANSWERED)
		set_fault(a, buf_str(&err));
	else if (o != HTTP_ANSWERED)
		buf_adds(&a->fault, "the answer is not HTTP");
	buf_free(&config);
	buf_free(&out);
	buf_free(&err);
	return o;
}

enum http_outcome
http_ask(const struct http_request *q, struct http_answer *a)
{
	struct sigaction ignore = { .sa_handler = SIG_IGN }, old;
	struct child c = { 0, -1, -1, -1 };
	enum http_outcome o = HTTP_NO_CURL;
	int rc;

	a->sent = clock_wall();
	rc = start(&c);
	if (rc != 0) {
		buf_adds(&a->fault, strerror(rc));
		close_fd(&c.in);
		close_fd(&c.out);
		close_fd(&c.err);
		return o;
	}
	/* A child that is gone must not take us with it. */
	sigaction(SIGPIPE, &ignore, &old);
	o = exchange(&c, q, a);
	sigaction(SIGPIPE, &old, NULL);
	return o;
}

void
http_answer_clear(struct http_answer *a)
{
	buf_free(&a->head);
	buf_free(&a->body);
	buf_free(&a->fault);
	memset(a, 0, sizeof *a);
}

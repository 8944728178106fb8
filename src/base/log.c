/*
 * Log lines, as logfmt or JSON. A line is built whole in a buffer on the stack
 * and leaves in one write of at most PIPE_BUF bytes, so lines of several
 * processes don't mix. A value that is too long is cut, a field that does not
 * fit is left out.
 */

#include "base/log.h"

#include "base/buf.h"
#include "base/utf8.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/param.h>
#include <sys/stat.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

enum {
	LINE_MAX_LEN = 4096, /* PIPE_BUF */
	LINE_TAIL = 16,      /* kept free for "..." and what closes the line */
	HEAD_MAX = 128,      /* level, program and pid */
	VALUE_MAX = 1024     /* bytes of one value, as escaped */
};

static struct {
	char program[32];
	enum log_level level;
	enum log_format format;
	enum log_target target;
	pid_t pid;
	bool never_blocks;     /* stderr is a file, not a pipe */
	unsigned long dropped; /* lines that stderr had no room for */
	struct {
		char s[HEAD_MAX];
		size_t len;
	} heads[LOG_LVL_DEBUG + 1]; /* what all lines of a level have alike */
} logger = { .level = LOG_LVL_INFO };

static const struct {
	const char *name;
	int priority;
} levels[] = {
	[LOG_LVL_ERROR] = { "error", LOG_ERR },
	[LOG_LVL_WARN] = { "warn", LOG_WARNING },
	[LOG_LVL_INFO] = { "info", LOG_INFO },
	[LOG_LVL_DEBUG] = { "debug", LOG_DEBUG },
};

struct line {
	char s[LINE_MAX_LEN];
	size_t len;
};

static void make_heads(void);

void
log_init(const char *program, enum log_level level, enum log_format format,
    enum log_target target)
{
	struct stat sb;

	snprintf(logger.program, sizeof(logger.program), "%s", program);
	logger.level = level;
	logger.format = format;
	logger.target = target;
	logger.pid = getpid();
	logger.never_blocks =
	    fstat(STDERR_FILENO, &sb) == 0 && S_ISREG(sb.st_mode);
	make_heads();
	closelog();
	if (target == LOG_TO_SYSLOG)
		openlog(logger.program, LOG_PID | LOG_NDELAY, LOG_DAEMON);
}

const char *
log_str(const char *s)
{
	return s != NULL ? s : "";
}

int
log_wants(enum log_level level)
{
	return level <= logger.level;
}

static void
put(struct line *l, const char *s, size_t n)
{
	if (n > sizeof(l->s) - l->len)
		return;
	memcpy(l->s + l->len, s, n);
	l->len += n;
}

static void
puts_to(struct line *l, const char *s)
{
	put(l, s, strlen(s));
}

/* Length of the printable UTF-8 character at s: 0 if there is none, as for
 * ASCII controls, C1 controls and stray bytes. */
static size_t
printable_len(const char *s)
{
	unsigned char c = (unsigned char)*s;
	size_t n;

	if (c < 0x80)
		return c >= 0x20 && c != 0x7f;
	n = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
	if (strnlen(s, n) != n || !utf8_valid(s, n))
		return 0;
	if (c == 0xc2 && (unsigned char)s[1] < 0xa0)
		return 0;
	return n;
}

/*
 * The character at s as it stands between quotes, into out. Returns the bytes
 * taken from s. JSON must stay UTF-8, so there a stray byte is lost.
 */
static size_t
escape_one(const char *s, char out[12])
{
	bool json = logger.format == LOG_FMT_JSON;
	size_t n = printable_len(s);
	unsigned char c = (unsigned char)*s;

	if (n == 0) {
		if (!json)
			snprintf(out, 12, "\\x%02x", c);
		else if (c < 0x80)
			snprintf(out, 12, "\\u%04x", c);
		else
			snprintf(out, 12, "\\ufffd");
		return 1;
	}
	snprintf(
	    out, 12, "%s%.*s", c == '"' || c == '\\' ? "\\" : "", (int)n, s);
	return n;
}

/* Does it stand without quotes in a line of text? Its length. */
static bool
is_bare(const char *s, size_t *len)
{
	/* Printable ASCII without space, '"', '=' and backslash. */
	static const bool bare[256] = {
		[0x21] = true,
		[0x23 ... 0x3c] = true,
		[0x3e ... 0x5b] = true,
		[0x5d ... 0x7e] = true,
	};
	const unsigned char *p = (const unsigned char *)s;

	for (; bare[p[0]]; p += 2)
		if (!bare[p[1]]) {
			p++;
			break;
		}
	*len = (size_t)((const char *)p - s);
	return *p == '\0' && *len > 0;
}

static void
put_value(struct line *l, const char *s)
{
	size_t end = l->len + VALUE_MAX;
	char one[12];
	size_t n, room;

	if (end > sizeof(l->s) - LINE_TAIL)
		end = sizeof(l->s) - LINE_TAIL;
	room = end - l->len;
	if (logger.format != LOG_FMT_JSON && is_bare(s, &n)) {
		put(l, s, MIN(n, room));
		puts_to(l, n > room ? "..." : "");
		return;
	}
	puts_to(l, "\"");
	while (*s != '\0') {
		s += escape_one(s, one);
		if (l->len + strlen(one) > end) {
			puts_to(l, "...");
			break;
		}
		puts_to(l, one);
	}
	puts_to(l, "\"");
}

/* Write the name of a field; false if the line has no room for it. */
static bool
put_key(struct line *l, const char *key)
{
	bool json = logger.format == LOG_FMT_JSON;
	size_t len = strlen(key);

	if (len + 32 + LINE_TAIL > sizeof(l->s) - l->len)
		return false;
	if (l->len > 0)
		put(l, json ? "," : " ", 1);
	if (json)
		puts_to(l, l->len == 0 ? "{\"" : "\"");
	put(l, key, len);
	puts_to(l, json ? "\":" : "=");
	return true;
}

static void
put_text(struct line *l, const char *key, const char *s)
{
	if (put_key(l, key))
		put_value(l, s);
}

static void
put_number(struct line *l, const char *key, int64_t n)
{
	char s[BUF_DECIMAL];

	if (put_key(l, key))
		puts_to(l, buf_decimal(n, s));
}

/* RFC 3339 in UTC, with microseconds; the second's text is made once. */
static void
put_time(struct line *l)
{
	static time_t second = -1;
	static char s[40];
	struct timespec ts = { 0 };
	struct tm tm = { 0 };
	long us;
	size_t i;

	clock_gettime(CLOCK_REALTIME, &ts);
	if (ts.tv_sec != second) {
		gmtime_r(&ts.tv_sec, &tm);
		strftime(s, sizeof(s), "%Y-%m-%dT%H:%M:%S.000000Z", &tm);
		second = ts.tv_sec;
	}
	us = ts.tv_nsec / 1000;
	for (i = strlen(s) - 2; s[i] != '.'; i--, us /= 10)
		s[i] = (char)('0' + us % 10);
	put_text(l, "time", s);
}

static void
put_level(struct line *l, enum log_level level)
{
	put_text(l, "level", levels[level].name);
	if (logger.program[0] != '\0')
		put_text(l, "program", logger.program);
	put_number(l, "pid", logger.pid != 0 ? logger.pid : getpid());
}

/* As they stand behind the time; one that is too long is not kept. */
static void
make_heads(void)
{
	struct line l = { .len = 0 };
	size_t from, i;

	put_time(&l);
	from = l.len;
	for (i = 0; i <= LOG_LVL_DEBUG; i++) {
		l.len = from;
		put_level(&l, (enum log_level)i);
		logger.heads[i].len =
		    l.len - from <= HEAD_MAX ? l.len - from : 0;
		memcpy(logger.heads[i].s, l.s + from, logger.heads[i].len);
	}
}

/*
 * Give the line to stderr unless that would block: a pipe that polls writable
 * has room for PIPE_BUF bytes. What is lost is counted.
 */
static void
write_stderr(const struct line *l)
{
	struct pollfd p = { .fd = STDERR_FILENO, .events = POLLOUT };

	if ((logger.never_blocks ||
		(poll(&p, 1, 0) == 1 && p.revents == POLLOUT)) &&
	    write(STDERR_FILENO, l->s, l->len) == (ssize_t)l->len)
		logger.dropped = 0;
	else
		logger.dropped++;
}

static void
emit(struct line *l, enum log_level level)
{
	if (logger.format == LOG_FMT_JSON)
		puts_to(l, "}");
	if (logger.target == LOG_TO_SYSLOG) {
		syslog(levels[level].priority, "%.*s", (int)l->len, l->s);
		return;
	}
	puts_to(l, "\n");
	write_stderr(l);
}

void
log_fields(
    enum log_level level, const char *event, const struct log_field *fields)
{
	struct line l;
	int saved = errno;

	if (!log_wants(level))
		return;
	l.len = 0;
	put_time(&l);
	if (logger.heads[level].len > 0)
		put(&l, logger.heads[level].s, logger.heads[level].len);
	else
		put_level(&l, level);
	put_text(&l, "event", event);
	if (logger.dropped > 0)
		put_number(&l, "dropped_lines", (int64_t)logger.dropped);
	for (; fields->key != NULL; fields++) {
		if (fields->s != NULL)
			put_text(&l, fields->key, fields->s);
		else
			put_number(&l, fields->key, fields->n);
	}
	emit(&l, level);
	errno = saved;
}

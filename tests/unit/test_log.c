/* base/log.h: what a line looks like, and what no value can do to it. */

#include "base/json.h"
#include "base/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

static char line[8192];
static int saved, sink;

/* Send fd 2 to a file in memory; until release, which reads it into line. */
static void
capture(void)
{
	saved = dup(STDERR_FILENO);
	sink = memfd_create("log", 0);
	assert_int_not_equal(dup2(sink, STDERR_FILENO), -1);
}

static void
release(void)
{
	ssize_t n;

	dup2(saved, STDERR_FILENO);
	n = pread(sink, line, sizeof(line) - 1, 0);
	assert_true(n >= 0);
	line[n] = '\0';
	close(saved);
	close(sink);
}

static void
log_value(const char *value)
{
	capture();
	log_info("test", LOG_S("v", value), LOG_N("after", -7));
	release();
}

static void
test_logfmt(void **state)
{
	static const struct {
		const char *value, *want;
	} cases[] = {
		{ "plain", " v=plain after=-7\n" },
		{ "/v1/apps?x", " v=/v1/apps?x after=-7\n" },
		{ "", " v=\"\" after=-7\n" },
		{ "a b", " v=\"a b\" after=-7\n" },
		{ "a=b", " v=\"a=b\" after=-7\n" },
		{ "say \"x\"", " v=\"say \\\"x\\\"\" after=-7\n" },
		{ "a\\b", " v=\"a\\\\b\" after=-7\n" },
		{ "a\nlevel=error", " v=\"a\\x0alevel=error\" after=-7\n" },
		{ "\x1b[2J", " v=\"\\x1b[2J\" after=-7\n" },
		{ "del\x7f", " v=\"del\\x7f\" after=-7\n" },
		{ "gr\xc3\xbc\xc3\x9f",
		    " v=\"gr\xc3\xbc\xc3\x9f\" after=-7\n" },
		{ "\xff\xfe", " v=\"\\xff\\xfe\" after=-7\n" },
		{ "\xc3", " v=\"\\xc3\" after=-7\n" },
		{ "\xc2\x9b", " v=\"\\xc2\\x9b\" after=-7\n" }, /* C1 CSI */
		{ "\xed\xa0\x80", " v=\"\\xed\\xa0\\x80\" after=-7\n" },
	};
	size_t i;

	(void)state;
	log_init("prog", LOG_LVL_INFO, LOG_FMT_LOGFMT, LOG_TO_STDERR);
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		log_value(cases[i].value);
		assert_non_null(strstr(line, " event=test "));
		assert_string_equal(
		    strstr(line, " event=test ") + 11, cases[i].want);
	}
}

static void
test_head(void **state)
{
	char want[64];
	unsigned y, mo, d, h, mi, s, us;

	(void)state;
	log_init("prog", LOG_LVL_INFO, LOG_FMT_LOGFMT, LOG_TO_STDERR);
	capture();
	log_warn("started");
	release();
	assert_int_equal(sscanf(line, "time=%4u-%2u-%2uT%2u:%2u:%2u.%6uZ ", &y,
			     &mo, &d, &h, &mi, &s, &us),
	    7);
	assert_true(y >= 2024);
	snprintf(want, sizeof(want),
	    " level=warn program=prog pid=%d "
	    "event=started\n",
	    (int)getpid());
	assert_string_equal(strchr(line, ' '), want);
}

/* The line is one JSON object, whatever the bytes. */
static void
check_json(void)
{
	size_t n = strlen(line);

	assert_true(n > 1 && line[n - 1] == '\n');
	assert_ptr_equal(strchr(line, '\n'), line + n - 1);
	assert_int_equal(json_check(line, n - 1, NULL), JSON_OK);
}

static void
test_json(void **state)
{
	static const struct {
		const char *value, *want;
	} cases[] = {
		{ "plain", "\"v\":\"plain\",\"after\":-7}\n" },
		{ "", "\"v\":\"\",\"after\":-7}\n" },
		{ "q\"b\\", "\"v\":\"q\\\"b\\\\\",\"after\":-7}\n" },
		{ "a\nb\x01", "\"v\":\"a\\u000ab\\u0001\",\"after\":-7}\n" },
		{ "\xff\xc3", "\"v\":\"\\ufffd\\ufffd\",\"after\":-7}\n" },
		{ "\xc3\xbc", "\"v\":\"\xc3\xbc\",\"after\":-7}\n" },
	};
	size_t i;

	(void)state;
	log_init("prog", LOG_LVL_INFO, LOG_FMT_JSON, LOG_TO_STDERR);
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		log_value(cases[i].value);
		check_json();
		assert_string_equal(strstr(line, "\"v\":"), cases[i].want);
	}
}

/* Values of all lengths and bytes keep the line whole and within 4 KiB. */
static void
test_long(void **state)
{
	static const char *const units[] = { "x", "\n", "\xff", "\xc3\xbc",
		"\xf0\x9f\x98\x80", "\"" };
	static char v[9000];
	size_t i, k, n, len;

	(void)state;
	for (i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		for (n = 100; n < sizeof(v) - 8; n += n / 7 + 1) {
			for (len = 0; len < n; len += strlen(units[i]))
				memcpy(v + len, units[i], strlen(units[i]));
			v[len] = '\0';
			for (k = 0; k < 2; k++) {
				log_init("prog", LOG_LVL_INFO,
				    k ? LOG_FMT_JSON : LOG_FMT_LOGFMT,
				    LOG_TO_STDERR);
				capture();
				log_info("test", LOG_S("a", v), LOG_S("b", v),
				    LOG_S("c", v), LOG_S("d", v), LOG_S("e", v),
				    LOG_S("f", v));
				release();
				assert_true(strlen(line) <= 4096);
				assert_int_equal(line[strlen(line) - 1], '\n');
				if (k)
					check_json();
			}
		}
	}
}

static void
test_levels(void **state)
{
	(void)state;
	log_init("prog", LOG_LVL_WARN, LOG_FMT_LOGFMT, LOG_TO_STDERR);
	assert_true(log_wants(LOG_LVL_ERROR));
	assert_true(log_wants(LOG_LVL_WARN));
	assert_false(log_wants(LOG_LVL_INFO));
	capture();
	log_info("quiet");
	log_debug("quiet", LOG_N("n", 1));
	release();
	assert_string_equal(line, "");
}

/* A pipe that nobody empties never holds the caller up; lines are counted. */
static void
test_full_pipe(void **state)
{
	int fd[2], i;

	(void)state;
	assert_int_equal(pipe(fd), 0);
	saved = dup(STDERR_FILENO);
	dup2(fd[1], STDERR_FILENO);
	log_init("prog", LOG_LVL_INFO, LOG_FMT_LOGFMT, LOG_TO_STDERR);
	errno = ENOTTY;
	for (i = 0; i < 5000; i++)
		log_info("flood", LOG_N("i", i));
	assert_int_equal(errno, ENOTTY);
	assert_true(read(fd[0], line, sizeof(line) - 1) > 0);
	dup2(saved, STDERR_FILENO);
	close(fd[0]);
	close(fd[1]);
	close(saved);
	capture();
	log_info("later");
	log_info("last");
	release();
	assert_non_null(strstr(line, " event=later dropped_lines="));
	assert_non_null(strstr(line, " event=last\n"));
}

static void
test_gone_device(void **state)
{
	int fd[2];

	(void)state;
	signal(SIGPIPE, SIG_IGN);
	assert_int_equal(pipe(fd), 0);
	saved = dup(STDERR_FILENO);
	dup2(fd[1], STDERR_FILENO);
	close(fd[0]);
	close(fd[1]);
	log_info("nobody reads");
	close(STDERR_FILENO);
	log_info("no descriptor");
	dup2(saved, STDERR_FILENO);
	close(saved);
}

static void
test_null_string(void **state)
{
	const char *none = NULL;

	(void)state;
	log_init("prog", LOG_LVL_INFO, LOG_FMT_LOGFMT, LOG_TO_STDERR);
	log_value(none);
	assert_non_null(strstr(line, " v=\"\" after=-7\n"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_head),
		cmocka_unit_test(test_logfmt),
		cmocka_unit_test(test_json),
		cmocka_unit_test(test_long),
		cmocka_unit_test(test_levels),
		cmocka_unit_test(test_full_pipe),
		cmocka_unit_test(test_gone_device),
		cmocka_unit_test(test_null_string),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

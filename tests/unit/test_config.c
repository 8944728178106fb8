/*
 * base/config.h: the settings from environment and file, what each takes, the
 * messages, and that no message has a secret's value.
 */

#include "base/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#define KEY "8f1c0b6a97d24e35b1604c8e9fa27d53"
#define TOKEN_A "aaaaaaaaaabbbbbbbbbbccccccccccdddd"
#define TOKEN_B "eeeeeeeeeeffffffffffgggggggggghhhh"

static char dir[] = "/tmp/postern-config-XXXXXX";
static char settings_path[64], secret_path[64];

static void
write_file(const char *path, mode_t mode, const char *text, size_t len)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_int_not_equal(fd, -1);
	assert_int_equal(write(fd, text, len), len);
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
}

/*
 * Load from the environment (NAME=value pairs, separated by newlines, besides
 * POSTERN_CONFIG) and from the text of the settings file.
 */
static bool
load(const char *pairs, const char *text, unsigned need, struct config *c,
    struct buf *err)
{
	struct config_env *env;
	char *copy = strdup(pairs), *save = NULL, *pair, *eq;
	bool ok;

	write_file(settings_path, 0600, text, strlen(text));
	setenv("POSTERN_CONFIG", settings_path, 1);
	pair = strtok_r(copy, "\n", &save);
	while (pair != NULL) {
		eq = strchr(pair, '=');
		*eq = '\0';
		setenv(pair, eq + 1, 1);
		pair = strtok_r(NULL, "\n", &save);
	}
	env = config_env_take();
	ok = config_load(c, env, need, err);
	config_env_free(env);
	free(copy);
	return ok;
}

static void
test_defaults(void **state)
{
	struct config c;
	struct buf err = { 0 };

	(void)state;
	assert_true(load("", "", CONFIG_NEED_NONE, &c, &err));
	assert_int_equal(c.admin_token.len, 0);
	assert_string_equal(c.base_path, "");
	assert_string_equal(c.cors_origins, "");
	assert_int_equal(c.database_url.len, 0);
	assert_false(c.goliauth_accept);
	assert_string_equal(c.jwt_audience, "");
	assert_int_equal(c.jwt_algorithm, CRYPTO_SHA256);
	assert_false(c.own_key_audience_optional);
	assert_int_equal(c.jwt_leeway, 30);
	assert_int_equal(c.jwt_max_age, 0);
	assert_true(c.jwt_require_exp);
	assert_int_equal(c.key_bytes, 32);
	assert_string_equal(c.listen, "");
	assert_int_equal(c.socket_mode, 0660);
	assert_int_equal(c.log_format, LOG_FMT_LOGFMT);
	assert_int_equal(c.log_level, LOG_LVL_INFO);
	assert_int_equal(c.log_target, LOG_TO_STDERR);
	assert_int_equal(c.master_key.key.len, 0);
	assert_int_equal(c.max_body, 65536);
	assert_int_equal(c.max_requests, 0);
	assert_int_equal(c.query_timeout_ms, 2000);
	assert_string_equal(c.realm, "postern");
	assert_int_equal(c.registration, REG_TOKEN);
	assert_int_equal(c.request_timeout, 30);
	assert_int_equal(c.workers, -1);
	config_free(&c);
	config_free(&c);
	buf_free(&err);
}

static void
test_values(void **state)
{
	struct config c;
	struct buf err = { 0 };

	(void)state;
	assert_true(load("POSTERN_WORKERS=4\n"
			 "POSTERN_QUERY_TIMEOUT=60\n"
			 "POSTERN_JWT_ALGORITHMS=HS512\n"
			 "POSTERN_MASTER_KEY=" KEY "\n"
			 "POSTERN_ADMIN_TOKEN=" TOKEN_A "\n"
			 "POSTERN_REALM=\n",
	    "# settings\r\n"
	    "\r\n"
	    "POSTERN_WORKERS = 8\r\n"
	    "POSTERN_REALM=from file\n"
	    "\tPOSTERN_GOLIAUTH_ROWS=accept\n"
	    "POSTERN_DATABASE_URL = \" host=/run dbname=x \"\n"
	    "POSTERN_REGISTRATION=closed\n"
	    "POSTERN_REGISTRATION_TOKEN=" TOKEN_B "\n"
	    "POSTERN_LOG_LEVEL=debug\n"
	    "POSTERN_SOCKET_MODE=600\n"
	    "POSTERN_JWT_REQUIRE_EXP=off",
	    CONFIG_NEED_DATABASE | CONFIG_NEED_MASTER_KEY, &c, &err));
	assert_int_equal(c.workers, 4);
	assert_int_equal(c.query_timeout_ms, 60000);
	assert_int_equal(c.jwt_algorithm, CRYPTO_SHA512);
	assert_int_equal(c.master_key.key.len, 16);
	assert_string_equal(c.admin_token.data, TOKEN_A);
	assert_string_equal(c.registration_token.data, TOKEN_B);
	assert_string_equal(c.realm, "postern"); /* empty is the default */
	assert_true(c.goliauth_accept);
	assert_string_equal(c.database_url.data, " host=/run dbname=x ");
	assert_int_equal(c.registration, REG_CLOSED);
	assert_int_equal(c.log_level, LOG_LVL_DEBUG);
	assert_int_equal(c.socket_mode, 0600);
	assert_false(c.jwt_require_exp);
	config_free(&c);
	buf_free(&err);
}

struct text_case {
	const char *name;
	const char *const *good, *const *bad;
};

#define LIST(...)                                                              \
	(const char *const[])                                                  \
	{                                                                      \
		__VA_ARGS__, NULL                                              \
	}

static const struct text_case text_cases[] = {
	{ "POSTERN_AUDIT_DAYS", LIST("0", "1", "36500"),
	    LIST("36501", "-1", "1.5", "7d", "99999999999999999999") },
	{ "POSTERN_BACKLOG", LIST("1", "256", "65535"),
	    LIST("0", "65536", "-1", "x") },
	{ "POSTERN_BASE_PATH", LIST("/api", "/a/b-c_d.e~f", "/a..b"),
	    LIST("api", "/", "/api/", "/a//b", "/a b", "/../x", "/x/..", "/x/.",
		"/a?b", "/a%2f", "/\xc3\xbc") },
	{ "POSTERN_CORS_ORIGINS",
	    LIST("*", "https://a.example", "http://localhost:3000",
		"https://a.example https://b.example:8443", "http://[::1]:80"),
	    LIST("a.example", "https://a.example/", "https://a.example/x",
		"* https://a.example", "https://A.example", "null",
		"https://a.example  https://b.example", "https://",
		"https://a:b", "https://a.example,https://b.example") },
	{ "POSTERN_DATABASE_URL",
	    LIST("postgresql://h/db", "postgres://", "host=a,b dbname=c"),
	    LIST("db", "mysql://x") },
	{ "POSTERN_GOLIAUTH_ROWS", LIST("accept", "refuse"),
	    LIST("yes", "Accept", "accept ", "refuse|accept") },
	{ "POSTERN_JWT_ALGORITHMS", LIST("HS256", "HS384", "HS512"),
	    LIST("none", "hs256", "RS256", "HS256 none", " ", "HS256HS384",
		"HS2567", "HS256,HS512", "HS512 HS384 HS256", "HS256 HS256",
		"HS256|HS384", "HS256,") },
	{ "POSTERN_JWT_LEEWAY", LIST("0", "300"),
	    LIST("-1", "301", "1s", "+1", " 1", "0x1", "1.0",
		"99999999999999999999999") },
	{ "POSTERN_JWT_AUDIENCE", LIST("https://api", "gr\xc3\xbc\xc3\x9f"),
	    LIST("\xff", "a\tb") },
	{ "POSTERN_KEY_BYTES", LIST("16", "64"), LIST("15", "65") },
	{ "POSTERN_LISTEN",
	    LIST("fd:0", "unix:/run/postern.sock", "127.0.0.1:9000",
		"[::1]:9000", "localhost:1"),
	    LIST("fd:1", "unix:", "9000", ":9000", "host:0", "host:65536",
		"::1:9000", "host:", "[]:1", "host:http",
		"unix:/"
		"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
		"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx") },
	{ "POSTERN_MAX_BODY", LIST("1024", "16777216"),
	    LIST("1023", "16777217", "64k") },
	{ "POSTERN_QUERY_TIMEOUT", LIST("1", "60"), LIST("0", "61", "1.5") },
	{ "POSTERN_REALM", LIST("my realm"),
	    LIST("a\"b", "a\\b", "a\x7f", "\xc3\xbc") },
	{ "POSTERN_REQUEST_TIMEOUT", LIST("1", "3600"), LIST("0", "3601") },
	{ "POSTERN_SOCKET_MODE", LIST("0660", "600", "777"),
	    LIST("0668", "66", "06600", "1777", "rw") },
	{ "POSTERN_WORKERS", LIST("0", "1024", "auto"),
	    LIST("-1", "1025", "Auto") },
	{ "POSTERN_ADMIN_TOKEN",
	    LIST(TOKEN_A, "0123456789012345678901234567890="),
	    LIST("short", "0123456789012345678901234567890",
		"01234567890123456789012345678901 x",
		"01234567890123456789012345678901\xc3\xbc") },
	{ "POSTERN_MASTER_KEY", LIST(KEY, KEY "90417a5ce2f83b6d"),
	    LIST("8f1c0b6a97d24e35b1604c8e9fa27d5", KEY "00",
		"8f1c0b6a97d24e35b1604c8e9fa27d5x") },
};

static void
try_value(const char *name, const char *value, bool good)
{
	struct buf pair = { 0 }, err = { 0 }, head = { 0 };
	struct config c;
	bool ok;

	buf_addf(&pair, "%s=%s", name, value);
	buf_addf(&head, "%s (environment): ", name);
	ok = load(buf_str(&pair), "", CONFIG_NEED_NONE, &c, &err);
	if (ok != good)
		fail_msg("%s: %s", buf_str(&pair), buf_str(&err));
	if (ok) {
		config_free(&c);
	} else if (strncmp(buf_str(&err), buf_str(&head), head.len) != 0 ||
		   strstr(buf_str(&err), "needs ") == NULL) {
		if (strstr(name, "MASTER_KEY") == NULL)
			fail_msg("message: %s", buf_str(&err));
	}
	buf_free(&pair);
	buf_free(&err);
	buf_free(&head);
}

static void
test_each_setting(void **state)
{
	const char *const *v;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(text_cases) / sizeof(text_cases[0]); i++) {
		for (v = text_cases[i].good; *v != NULL; v++)
			try_value(text_cases[i].name, *v, true);
		for (v = text_cases[i].bad; *v != NULL; v++)
			try_value(text_cases[i].name, *v, false);
	}
}

/* Pairs, the file's text, what is needed, and the message in full or, with a
 * '*' at its end, its beginning. %s in it is the settings file. */
static const struct {
	const char *pairs, *text;
	unsigned need;
	const char *want;
} message_cases[] = {
	{ "POSTERN_MASTER_KEY=8f1c0b6a97d24e35b1604c8e9fa27d5", "", 0,
	    "POSTERN_MASTER_KEY (environment): 31 characters, needs 32, 48 or "
	    "64 hex characters; make one with: postern master-key" },
	{ "POSTERN_WORKERS=many", "", 0,
	    "POSTERN_WORKERS (environment): \"many\": needs auto or a whole "
	    "number from 0 to 1024" },
	{ "", "\nPOSTERN_LOG_FORMAT=xml\n", 0,
	    "POSTERN_LOG_FORMAT (%s:2): \"xml\": needs logfmt|json" },
	{ "POSTERN_REALM=a\"\x1b", "", 0,
	    "POSTERN_REALM (environment): \"a\"?\": needs printable*" },
	{ "POSTERN_WORKER=1", "", 0,
	    "POSTERN_WORKER (environment): no such setting; did you mean "
	    "POSTERN_WORKERS?" },
	{ "POSTERN_NONSENSE_AT_ALL=1", "", 0,
	    "POSTERN_NONSENSE_AT_ALL (environment): no such setting" },
	{ "POSTERN_LISTEN_FILE=/x", "", 0,
	    "POSTERN_LISTEN_FILE (environment): no such setting*" },
	{ "", "POSTERN_MASTERKEY=" KEY "\n", 0,
	    "POSTERN_MASTERKEY (%s:1): no such setting; did you mean "
	    "POSTERN_MASTER_KEY?" },
	{ "", "PATH=/bin\n", 0, "PATH (%s:1): no such setting" },
	{ "", "POSTERN_CONFIG=/x\n", 0, "POSTERN_CONFIG (%s:1): no such*" },
	{ "", "POSTERN_WORKERS=1\nPOSTERN_WORKERS=2\n", 0,
	    "POSTERN_WORKERS (%s:2): set already (%s:1)" },
	{ "", "POSTERN_WORKERS 1\n", 0,
	    "%s:1: not a line of the form KEY=value" },
	{ "", "", CONFIG_NEED_DATABASE, "POSTERN_DATABASE_URL is not set: *" },
	{ "", "", CONFIG_NEED_MASTER_KEY, "POSTERN_MASTER_KEY is not set: *" },
	{ "POSTERN_DATABASE_URL=", "", CONFIG_NEED_DATABASE,
	    "POSTERN_DATABASE_URL is not set: *" },
	{ "POSTERN_ADMIN_TOKEN=" TOKEN_A, "POSTERN_REGISTRATION_TOKEN=" TOKEN_A,
	    0,
	    "POSTERN_REGISTRATION_TOKEN: is the same as POSTERN_ADMIN_TOKEN*" },
	{ "POSTERN_MASTER_KEY_FILE=/nonexistent/x", "", 0,
	    "POSTERN_MASTER_KEY_FILE (environment): /nonexistent/x: No such "
	    "file or directory" },
	{ "POSTERN_MASTER_KEY_FILE=/tmp\nPOSTERN_MASTER_KEY=" KEY, "", 0,
	    "POSTERN_MASTER_KEY (environment): POSTERN_MASTER_KEY_FILE is set "
	    "as well (environment); drop one" },
	{ "POSTERN_MASTER_KEY_FILE=/tmp", "", 0,
	    "POSTERN_MASTER_KEY_FILE (environment): /tmp is not a regular "
	    "file" },
	{ "POSTERN_MASTER_KEY_FILE=/dev/null", "", 0,
	    "POSTERN_MASTER_KEY_FILE (environment): /dev/null is not a "
	    "regular file" },
};

static void
replace_path(const char *want, struct buf *out)
{
	const char *p;

	while ((p = strstr(want, "%s")) != NULL) {
		buf_add(out, want, (size_t)(p - want));
		buf_adds(out, settings_path);
		want = p + 2;
	}
	buf_adds(out, want);
}

static void
test_messages(void **state)
{
	struct buf want = { 0 }, err = { 0 };
	struct config c;
	size_t i, n;

	(void)state;
	for (i = 0; i < sizeof(message_cases) / sizeof(message_cases[0]); i++) {
		buf_reset(&want);
		replace_path(message_cases[i].want, &want);
		assert_false(load(message_cases[i].pairs, message_cases[i].text,
		    message_cases[i].need, &c, &err));
		n = want.len;
		if (n > 0 && want.data[n - 1] == '*')
			n--;
		else
			n++; /* the NUL: all of it */
		if (strncmp(buf_str(&err), buf_str(&want), n) != 0)
			fail_msg(
			    "got: %s\nwant: %s", buf_str(&err), buf_str(&want));
		assert_null(strstr(buf_str(&err), TOKEN_A));
		assert_null(strstr(buf_str(&err), "8f1c0b6a"));
	}
	buf_free(&want);
	buf_free(&err);
}

/* What a file of a secret holds, its mode, and whether that is good. */
static const struct {
	const char *content;
	size_t len;
	mode_t mode;
	const char *want; /* part of the message; NULL: good */
} file_cases[] = {
	{ TOKEN_A, 34, 0600, NULL },
	{ TOKEN_A "\n", 35, 0640, NULL },
	{ TOKEN_A "\r\n", 36, 0400, NULL },
	{ "", 0, 0600, "is empty" },
	{ "\n", 1, 0600, "is empty" },
	{ TOKEN_A, 34, 0644, "is open to others (mode 0644); run: chmod o= " },
	{ TOKEN_A, 34, 0601, "is open to others" },
	{ TOKEN_A "\0", 35, 0600, "has a NUL byte" },
	{ "short\n", 6, 0600, "5 characters, needs at least 32" },
};

/* covers: ASVS-V2.10.4, ASVS-V6.4.1 */
static void
test_secret_files(void **state)
{
	struct buf pair = { 0 }, err = { 0 };
	struct config c;
	bool ok;
	size_t i;

	(void)state;
	buf_addf(&pair, "POSTERN_ADMIN_TOKEN_FILE=%s", secret_path);
	for (i = 0; i < sizeof(file_cases) / sizeof(file_cases[0]); i++) {
		write_file(secret_path, file_cases[i].mode,
		    file_cases[i].content, file_cases[i].len);
		ok = load(buf_str(&pair), "", 0, &c, &err);
		if (ok != (file_cases[i].want == NULL) ||
		    (!ok && strstr(buf_str(&err), file_cases[i].want) == NULL))
			fail_msg("case %zu: %s", i, buf_str(&err));
		if (ok) {
			assert_string_equal(c.admin_token.data, TOKEN_A);
			config_free(&c);
		}
		unlink(secret_path);
	}
	buf_free(&pair);
	buf_free(&err);
}

static void
test_big_secret(void **state)
{
	struct buf pair = { 0 }, err = { 0 }, big = { 0 };
	struct config c;

	(void)state;
	while (big.len < 9000)
		buf_adds(&big, "0123456789");
	buf_addf(&pair, "POSTERN_ADMIN_TOKEN=%s", buf_str(&big));
	assert_false(load(buf_str(&pair), "", 0, &c, &err));
	assert_string_equal(buf_str(&err),
	    "POSTERN_ADMIN_TOKEN (environment): 9000 bytes, may have 8192");
	write_file(secret_path, 0600, big.data, big.len);
	buf_reset(&pair);
	buf_addf(&pair, "POSTERN_ADMIN_TOKEN_FILE=%s", secret_path);
	assert_false(load(buf_str(&pair), "", 0, &c, &err));
	assert_non_null(strstr(buf_str(&err), "has 9000 bytes, may have 8192"));
	unlink(secret_path);
	buf_free(&pair);
	buf_free(&err);
	buf_free(&big);
}

/* Load with the settings file as it is. */
static bool
load_as_is(const char *path, struct buf *err)
{
	struct config_env *env;
	struct config c;
	bool ok;

	setenv("POSTERN_CONFIG", path, 1);
	env = config_env_take();
	ok = config_load(&c, env, 0, err);
	if (ok)
		config_free(&c);
	config_env_free(env);
	return ok;
}

static void
test_settings_file_refused(void **state)
{
	struct buf err = { 0 };

	(void)state;
	assert_false(load_as_is("/nonexistent/postern.conf", &err));
	assert_string_equal(buf_str(&err),
	    "POSTERN_CONFIG (environment): "
	    "/nonexistent/postern.conf: No such file or directory");
	assert_false(load_as_is("/tmp", &err));
	assert_non_null(strstr(buf_str(&err), "is not a regular file"));
	write_file(settings_path, 0604, "", 0);
	assert_false(load_as_is(settings_path, &err));
	assert_non_null(strstr(buf_str(&err), "; run: chmod o= "));
	write_file(settings_path, 0600, "POSTERN_REALM=a\0b", 17);
	assert_false(load_as_is(settings_path, &err));
	assert_non_null(strstr(buf_str(&err), ":1: not a line of the form"));
	buf_free(&err);
}

/* covers: ASVS-V2.10.4, API8:2023 */
static void
test_document_root(void **state)
{
	struct buf err = { 0 };
	char near[64];

	(void)state;
	write_file(settings_path, 0600, "", 0);
	setenv("DOCUMENT_ROOT", dir, 1);
	assert_false(load_as_is(settings_path, &err));
	assert_non_null(strstr(buf_str(&err), "below the document root"));
	setenv("DOCUMENT_ROOT", "/", 1);
	assert_false(load_as_is(settings_path, &err));
	/* /tmp/postern-config-XXXXX is not above /tmp/postern-config-XXXXXX */
	snprintf(near, sizeof(near), "%.*s", (int)strlen(dir) - 1, dir);
	mkdir(near, 0700);
	setenv("DOCUMENT_ROOT", near, 1);
	assert_true(load_as_is(settings_path, &err));
	rmdir(near);
	setenv("DOCUMENT_ROOT", "/nonexistent", 1);
	assert_true(load_as_is(settings_path, &err));
	unsetenv("DOCUMENT_ROOT");
	buf_free(&err);
}

/* The strings of the environment themselves are overwritten. */
/* covers: ASVS-V2.10.4 */
static void
test_env_take(void **state)
{
	static char token[] = "POSTERN_ADMIN_TOKEN=" TOKEN_A;
	static char again[] = "POSTERN_ADMIN_TOKEN=" TOKEN_B;
	static char unknown[] = "POSTERN_TYPO=hidden";
	static char secret[] = "POSTERN_SECRET_KEY=hidden";
	static char gate[] = "POSTERN_GATE=plain";
	static char other[] = "HOME=/";
	char *ours[] = { token, again, gate, unknown, other, secret, NULL };
	char **before = environ;
	struct config_env *env;

	(void)state;
	environ = ours;
	env = config_env_take();
	environ = before;
	assert_string_equal(token, "POSTERN_ADMIN_TOKEN=");
	assert_int_equal(token[sizeof(token) - 2], '\0');
	assert_string_equal(again, "POSTERN_ADMIN_TOKEN=");
	assert_string_equal(unknown, "POSTERN_TYPO=");
	assert_string_equal(secret, "POSTERN_SECRET_KEY=");
	assert_string_equal(gate, "POSTERN_GATE=plain");
	assert_ptr_equal(ours[0], gate);
	assert_ptr_equal(ours[1], other);
	assert_null(ours[2]);
	config_env_free(env);
	config_env_free(NULL);
}

/* What Kubernetes sets is not looked at; what is like it only in part is no
 * setting, as before. */
static void
test_injected(void **state)
{
	static const char *const ours[] = {
		"POSTERN_SERVICE_HOST=10.96.0.1",
		"POSTERN_SERVICE_HOST=fd00::1",
		"POSTERN_SERVICE_PORT=80",
		"POSTERN_SERVICE_PORT_HTTP=8080",
		"POSTERN_SERVICE_PORT_HTTP_2=8080",
		"POSTERN_PORT=tcp://10.96.0.1:80",
		"POSTERN_PORT=tcp://[fd00::1]:80",
		"POSTERN_PORT=udp://10.96.0.1:53",
		"POSTERN_PORT_80_TCP=tcp://10.96.0.1:80",
		"POSTERN_PORT_80_TCP=tcp://[fd00::1]:80",
		"POSTERN_PORT_80_TCP_PROTO=tcp",
		"POSTERN_PORT_80_TCP_PORT=80",
		"POSTERN_PORT_80_TCP_ADDR=10.96.0.1",
		"POSTERN_PORT_53_UDP=udp://10.96.0.1:53",
		"POSTERN_PORT_53_UDP_PROTO=udp",
		"POSTERN_PORT_53_UDP_PORT=53",
		"POSTERN_PORT_53_UDP_ADDR=fd00::1",
		"POSTERN_PORT_9_SCTP=sctp://10.96.0.1:9",
		"POSTERN_PORT_9_SCTP_PROTO=sctp",
		"POSTERN_DB_SERVICE_HOST=10.96.0.1",
		"POSTERN_DB_PORT_5432_TCP=tcp://10.96.0.1:5432",
		"POSTERN_PORT_PORT=tcp://10.96.0.1:80",
		"POSTERN_LISTEN_SERVICE_PORT=80",
	};
	static const char *const none[] = {
		"POSTERN_PORT=80",
		"POSTERN_PORT=",
		"POSTERN_PORT=10.96.0.1:80",
		"POSTERN_PORT=http://10.96.0.1:80",
		"POSTERN_PORT=tcp://postern:80",
		"POSTERN_PORT=tcp://10.96.0.1",
		"POSTERN_PORT=tcp://10.96.0.1:0",
		"POSTERN_PORT=tcp://10.96.0.1:80/",
		"POSTERN_PORT=tcp://fd00::1:80",
		"POSTERN_PORT=tcp://[10.96.0.1:80",
		"POSTERN_PORT=tcp://:80",
		"POSTERN_PORT=TCP://10.96.0.1:80",
		"POSTERN_SERVICE_HOST=postern",
		"POSTERN_SERVICE_HOST=10.96.0",
		"POSTERN_SERVICE_HOST=",
		"POSTERN_SERVICE_HOST=10.96.0.1 ",
		"POSTERN_SERVICE_HOST=[fd00::1]",
		"POSTERN_SERVICE_PORT=0",
		"POSTERN_SERVICE_PORT=http",
		"POSTERN_SERVICE_PORT=65536",
		"POSTERN_SERVICE_PORT_=80",
		"POSTERN_SERVICE_PORTS=80",
		"POSTERN_SERVICE=10.96.0.1",
		"POSTERN_PORT_80_TCP=tcp://10.96.0.1:81",
		"POSTERN_PORT_80_TCP=udp://10.96.0.1:80",
		"POSTERN_PORT_80_TCP_PORT=81",
		"POSTERN_PORT_80_TCP_PROTO=TCP",
		"POSTERN_PORT_80_TCP_ADDR=x",
		"POSTERN_PORT_80_TCP_NAME=x",
		"POSTERN_PORT_80_ICMP=icmp://10.96.0.1:80",
		"POSTERN_PORT_80=tcp://10.96.0.1:80",
		"POSTERN_PORT_TCP=tcp://10.96.0.1:80",
		"POSTERN_PORT_800000_TCP_PORT=800000",
		"POSTERN_WORKER=2",
		"POSTERN_LISTENS=tcp://10.96.0.1:80",
		"POSTERN_db_PORT=tcp://10.96.0.1:80",
	};
	struct config_env *env;
	struct config c;
	struct buf err = { 0 };
	char *pair, *environment[2] = { 0 }, **before;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof ours / sizeof ours[0]; i++) {
		pair = environment[0] = strdup(ours[i]);
		before = environ;
		environ = environment;
		env = config_env_take();
		environ = before;
		assert_memory_equal(config_env_injected(env), ours[i],
		    strlen(config_env_injected(env)));
		assert_int_equal(
		    ours[i][strlen(config_env_injected(env))], '=');
		assert_null(environment[0]);
		config_env_free(env);
		free(pair);
		/* A file is the operator's own. */
		assert_false(load("", ours[i], 0, &c, &err));
		assert_non_null(strstr(buf_str(&err), ":1): no such setting"));
	}
	for (i = 0; i < sizeof none / sizeof none[0]; i++) {
		if (load(none[i], "", 0, &c, &err))
			fail_msg("%s is ignored", none[i]);
		assert_non_null(
		    strstr(buf_str(&err), "(environment): no such setting"));
	}
	assert_true(load("POSTERN_PORT=tcp://10.0.0.1:1\n"
			 "POSTERN_SERVICE_HOST=10.0.0.1\nPOSTERN_REALM=x",
	    "", 0, &c, &err));
	assert_string_equal(c.realm, "x");
	config_free(&c);
	buf_free(&err);
}

/* What needs a restart stays, is named, and is named again until it is what it
 * was; all else is taken. */
static void
test_keep(void **state)
{
	static const struct {
		const char *text, *names;
		int64_t workers;
	} steps[] = {
		{ "POSTERN_LISTEN=unix:/b\nPOSTERN_BACKLOG=2\n"
		  "POSTERN_SOCKET_MODE=600\nPOSTERN_WORKERS=0\n"
		  "POSTERN_REALM=b\n",
		    "POSTERN_BACKLOG POSTERN_LISTEN POSTERN_SOCKET_MODE "
		    "POSTERN_WORKERS",
		    2 },
		{ "POSTERN_LISTEN=unix:/b\nPOSTERN_WORKERS=3\n",
		    "POSTERN_LISTEN", 3 },
		{ "POSTERN_LISTEN=unix:/a\n", "", -1 },
		{ "POSTERN_LISTEN=unix:/a\nPOSTERN_WORKERS=0\n",
		    "POSTERN_WORKERS", -1 },
	};
	struct config running, fresh;
	struct buf err = { 0 }, names = { 0 };
	size_t i;

	(void)state;
	assert_true(load("", "POSTERN_LISTEN=unix:/a\nPOSTERN_WORKERS=2\n", 0,
	    &running, &err));
	for (i = 0; i < sizeof steps / sizeof steps[0]; i++) {
		assert_true(load("", steps[i].text, 0, &fresh, &err));
		buf_reset(&names);
		config_keep(&running, &fresh, &names);
		assert_string_equal(buf_str(&names), steps[i].names);
		config_free(&running);
		running = fresh;
		assert_string_equal(running.listen, "unix:/a");
		assert_int_equal(running.backlog, 1024);
		assert_int_equal(running.socket_mode, 0660);
		assert_int_equal(running.workers, steps[i].workers);
		assert_string_equal(running.realm, i == 0 ? "b" : "postern");
	}
	/* From a single process, too. */
	assert_true(load("", "POSTERN_WORKERS=4", 0, &fresh, &err));
	running.workers = 0;
	buf_reset(&names);
	config_keep(&running, &fresh, &names);
	assert_int_equal(fresh.workers, 0);
	config_free(&running);
	config_free(&fresh);
	buf_free(&names);
	buf_free(&err);
}

/* As at SIGHUP: the same environment, a file that changed. */
static void
test_reload(void **state)
{
	struct config_env *env;
	struct config c, d;
	struct buf err = { 0 };

	(void)state;
	write_file(settings_path, 0600, "POSTERN_REALM=one\n", 18);
	setenv("POSTERN_CONFIG", settings_path, 1);
	setenv("POSTERN_ADMIN_TOKEN", TOKEN_A, 1);
	env = config_env_take();
	assert_null(getenv("POSTERN_CONFIG"));
	assert_null(getenv("POSTERN_ADMIN_TOKEN"));
	assert_true(config_load(&c, env, 0, &err));
	write_file(settings_path, 0600, "POSTERN_REALM=two\n", 18);
	assert_true(config_load(&d, env, 0, &err));
	assert_string_equal(c.realm, "one");
	assert_string_equal(d.realm, "two");
	assert_string_equal(d.admin_token.data, TOKEN_A);
	config_free(&d);
	write_file(settings_path, 0600, "POSTERN_REALM=\"\n", 16);
	d = c;
	assert_false(config_load(&c, env, 0, &err));
	assert_memory_equal(&c, &d, sizeof(c)); /* untouched on failure */
	config_free(&c);
	config_env_free(env);
	buf_free(&err);
}

static const struct {
	const char *line;
	int rc;
	const char *key, *value;
} line_cases[] = {
	{ "", 0, NULL, NULL },
	{ "  \t\r", 0, NULL, NULL },
	{ "# A=b", 0, NULL, NULL },
	{ "  # A=b", 0, NULL, NULL },
	{ "A=b", 1, "A", "b" },
	{ " A_1 = b c \r", 1, "A_1", "b c" },
	{ "A=", 1, "A", "" },
	{ "A=b=c#d", 1, "A", "b=c#d" },
	{ "A=\" b \"", 1, "A", " b " },
	{ "A=\"\"", 1, "A", "" },
	{ "A=b\"c", 1, "A", "b\"c" },
	{ "A=\"", -1, NULL, NULL },
	{ "A=\"b", -1, NULL, NULL },
	{ "A=\"b\"c", -1, NULL, NULL },
	{ "A=\"b\"c\"", -1, NULL, NULL },
	{ "=b", -1, NULL, NULL },
	{ "A", -1, NULL, NULL },
	{ "a=b", -1, NULL, NULL },
	{ "1A=b", -1, NULL, NULL },
	{ "A B=c", -1, NULL, NULL },
	{ "export A=c", -1, NULL, NULL },
	{ "\xef\xbb\xbf"
	  "A=b",
	    -1, NULL, NULL },
};

static void
test_parse_line(void **state)
{
	const char *key, *value;
	size_t i, keylen, valuelen;
	int rc;

	(void)state;
	for (i = 0; i < sizeof(line_cases) / sizeof(line_cases[0]); i++) {
		rc = config_parse_line(line_cases[i].line,
		    strlen(line_cases[i].line), &key, &keylen, &value,
		    &valuelen);
		if (rc != line_cases[i].rc)
			fail_msg("%s: %d", line_cases[i].line, rc);
		if (rc != 1)
			continue;
		assert_int_equal(keylen, strlen(line_cases[i].key));
		assert_memory_equal(key, line_cases[i].key, keylen);
		assert_int_equal(valuelen, strlen(line_cases[i].value));
		assert_memory_equal(value, line_cases[i].value, valuelen);
	}
	assert_int_equal(
	    config_parse_line("A=b\0c", 5, &key, &keylen, &value, &valuelen),
	    -1);
}

static void
check_doc(const struct config_doc *doc, void *arg)
{
	const char **last = arg;

	assert_true(strcmp(*last, doc->name) < 0); /* sorted, no duplicates */
	*last = doc->name;
	assert_int_equal(strncmp(doc->name, "POSTERN_", 8), 0);
	assert_true(strlen(doc->help) > 10);
	assert_true(strlen(doc->type) > 3);
	assert_int_equal(
	    doc->secret, strstr(doc->name, "TOKEN") != NULL ||
			     strstr(doc->name, "MASTER_KEY") != NULL ||
			     strstr(doc->name, "DATABASE_URL") != NULL);
}

static void
test_table(void **state)
{
	const char *last = "";

	(void)state;
	config_each(check_doc, &last);
	assert_string_equal(last, "POSTERN_WORKERS");
}

static int
setup(void **state)
{
	(void)state;
	if (mkdtemp(dir) == NULL)
		return -1;
	snprintf(settings_path, sizeof(settings_path), "%s/s.conf", dir);
	snprintf(secret_path, sizeof(secret_path), "%s/secret", dir);
	unsetenv("DOCUMENT_ROOT");
	config_env_free(config_env_take()); /* what the tester has set */
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	unlink(settings_path);
	unlink(secret_path);
	return rmdir(dir);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_each_setting),
		cmocka_unit_test(test_messages),
		cmocka_unit_test(test_secret_files),
		cmocka_unit_test(test_big_secret),
		cmocka_unit_test(test_settings_file_refused),
		cmocka_unit_test(test_document_root),
		cmocka_unit_test(test_env_take),
		cmocka_unit_test(test_injected),
		cmocka_unit_test(test_keep),
		cmocka_unit_test(test_reload),
		cmocka_unit_test(test_parse_line),
		cmocka_unit_test(test_table),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}

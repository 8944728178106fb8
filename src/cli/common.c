/*
 * What the commands share: messages, output, and the way to the database.
 */
#include "base/clock.h"
#include "base/date.h"
#include "base/decimal.h"
#include "base/utf8.h"
#include "cli/cli.h"
#include "cli/identity.h"

#include <errno.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static void
say(const char *prefix, const char *fmt, va_list ap)
{
	fputs(prefix, stderr);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
}

int
cli_fail(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say("postern: ", fmt, ap);
	va_end(ap);
	return CLI_FAILURE;
}

void
cli_note(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say("", fmt, ap);
	va_end(ap);
}

int
cli_write(struct buf *out)
{
	size_t at = 0;
	ssize_t n = 0;

	while (at < out->len) {
		n = write(STDOUT_FILENO, out->data + at, out->len - at);
		if (n < 0 && errno != EINTR)
			break;
		if (n > 0)
			at += (size_t)n;
	}
	buf_free(out);
	if (n < 0)
		return cli_fail(
		    "cannot write to standard output: %s", strerror(errno));
	return CLI_OK;
}

void
cli_add_text(struct buf *out, const char *s)
{
	size_t n;

	while (*s != '\0') {
		n = utf8_hidden_len(s);
		if (n == 0)
			buf_addc(out, *s++);
		for (; n > 0; n--)
			buf_addf(out, "\\x%02x", (unsigned)(unsigned char)*s++);
	}
}

void
cli_add_db_fault(struct buf *out, const struct db *db)
{
	size_t i, len;

	if (strcmp(db_state(db), "connecting") == 0) {
		buf_adds(out, "no answer: is POSTERN_DATABASE_URL right?");
		return;
	}
	len = strlen(db_error(db));
	if (len == 0) {
		buf_adds(out, db_state(db));
		return;
	}
	while (len > 0 && db_error(db)[len - 1] == '\n')
		len--;
	for (i = 0; i < len; i++)
		buf_addc(out, db_error(db)[i] == '\n' ? ' ' : db_error(db)[i]);
}

bool
cli_load(struct config *cfg, const struct config_env *env, unsigned need,
    struct buf *err)
{
	const char *names = config_env_injected(env);

	if (*names != '\0')
		cli_note("ignored, as Kubernetes sets them: %s", names);
	return config_load(cfg, env, need, err);
}

struct db *
cli_open(struct config *cfg, const struct config_env *env, unsigned need,
    int min_schema)
{
	struct buf err = { 0 };
	struct db *db = NULL;

	if (!cli_load(cfg, env, need | CONFIG_OPERATOR, &err)) {
		cli_fail("%s", buf_str(&err));
		goto out;
	}
	db = identity_connect(cfg, min_schema);
	if (!db_is_up(db)) {
		buf_reset(&err);
		cli_add_db_fault(&err, db);
		identity_advise(&err, cfg, db);
		cli_fail("the database: %s", buf_str(&err));
		db_free(db);
		db = NULL;
	}
out:
	buf_free(&err);
	return db;
}

void
cli_actor(char actor[CLI_ACTOR_MAX])
{
	uid_t uid = identity_caller();
	const struct passwd *pw = getpwuid(uid);
	struct buf b = { 0 };

	if (pw != NULL && pw->pw_name[0] != '\0')
		cli_add_text(&b, pw->pw_name);
	else
		buf_addf(&b, "uid%ju", (uintmax_t)uid);
	strcpy(actor, "cli:");
	strncat(actor, buf_str(&b), CLI_ACTOR_MAX - sizeof "cli:");
	buf_free(&b);
}

int
cli_status(const struct db *db, enum status st, const char *public_key)
{
	struct buf why = { 0 };

	switch (st) {
	case ST_OK:
		return CLI_OK;
	case ST_NOT_FOUND:
		return cli_fail("no app has the public key %s; 'postern app "
				"list' shows them",
		    public_key ? public_key : "");
	case ST_CONFLICT:
		return cli_fail("the app has changed meanwhile: try again");
	case ST_OVERLAP:
		return cli_fail("the secret key before this one is still "
				"valid, 'postern app get' tells until when "
				"and when it was last used: --end-previous "
				"ends it");
	case ST_KEY_IN_USE:
		return cli_fail("another app has this key: each needs one of "
				"its own");
	case ST_INVALID:
		return cli_fail("the database can't hold that value");
	case ST_KEY_MISSING:
		return cli_fail(
		    "the app's secret is sealed with a master key "
		    "that is not POSTERN_MASTER_KEY; 'postern check' names it");
	case ST_BROKEN:
		return cli_fail("the app's stored secret can't be opened; "
				"'postern app rotate' gives it a new one");
	default:
		cli_add_db_fault(&why, db);
		if (db_denied(db))
			buf_adds(&why, CLI_DENIED);
		cli_fail("the database: %s", buf_str(&why));
		buf_free(&why);
		return CLI_FAILURE;
	}
}

/* A span such as 7d in seconds; 0 if it is none. */
static int64_t
span(const char *s)
{
	static const struct {
		char unit;
		int64_t seconds;
	} units[] = { { 's', 1 }, { 'm', 60 }, { 'h', 3600 }, { 'd', 86400 } };
	size_t i, len = strlen(s);
	uint64_t n;

	if (len < 2 || !decimal_parse(s, len - 1, 1, 1000000, &n))
		return 0;
	for (i = 0; i < sizeof units / sizeof units[0]; i++)
		if (s[len - 1] == units[i].unit)
			return (int64_t)n * units[i].seconds;
	return 0;
}

bool
cli_expiry(const char *s, struct buf *out)
{
	int64_t seconds = span(s);
	time_t at;
	struct tm tm;
	char text[40], date[DATE_SIZE];

	buf_reset(out);
	if (strcmp(s, "never") == 0)
		return true;
	if (date_parse(s, strlen(s), date)) {
		buf_adds(out, date);
		return true;
	}
	at = (time_t)clock_wall() + (time_t)seconds;
	if (seconds == 0 || gmtime_r(&at, &tm) == NULL ||
	    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
		return false;
	buf_adds(out, text);
	return true;
}

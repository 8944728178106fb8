/*
 * What the commands share: finding a command, options, messages, output, and
 * the way to the database.
 */
#include "base/clock.h"
#include "base/parse.h"
#include "cli/cli.h"

#include <errno.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { CONNECT_TIMEOUT_MS = 10000, CONNECT_SLICE_MS = 50 };
enum { WORD_MAX = 24, NEAR = 3 };

static void
say(const char *prefix, const char *fmt, va_list ap)
{
	fputs(prefix, stderr);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
}

int
cli_usage(const struct command *self, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say("postern: ", fmt, ap);
	va_end(ap);
	fprintf(stderr, "usage: postern %s\n", self->synopsis);
	return CLI_USAGE;
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

/* Bytes at s that a terminal may take as a command: C0, DEL, and in UTF-8 the
 * C1 controls and those that turn the direction of text. */
static size_t
steering(const unsigned char *s)
{
	if (s[0] < 0x20 || s[0] == 0x7f)
		return 1;
	if (s[0] == 0xc2 && s[1] >= 0x80 && s[1] <= 0x9f)
		return 2;
	if (s[0] != 0xe2)
		return 0;
	if (s[1] == 0x80 &&
	    ((s[2] >= 0xa8 && s[2] <= 0xae) || s[2] == 0x8e || s[2] == 0x8f))
		return 3;
	return s[1] == 0x81 && s[2] >= 0xa6 && s[2] <= 0xa9 ? 3 : 0;
}

void
cli_add_text(struct buf *out, const char *s)
{
	const unsigned char *p = (const unsigned char *)s;
	size_t n;

	while (*p != '\0') {
		n = steering(p);
		if (n == 0)
			buf_addc(out, (char)*p++);
		for (; n > 0; n--)
			buf_addf(out, "\\x%02x", *p++);
	}
}

static void
add_commands(struct buf *out, const struct command *table, const char *prefix)
{
	const struct command *c;

	buf_addf(out, "usage: postern %sCOMMAND [OPTION]...\n\n", prefix);
	for (c = table; c->name != NULL; c++)
		buf_addf(out, "  %-11s %s\n", c->name, c->help);
	buf_addf(out,
	    "\n'postern %sCOMMAND --help' says more. Exit status: 0, "
	    "1 failure, 2 usage.\n",
	    prefix);
}

static int
help(const struct command *self)
{
	struct buf out = { 0 };

	buf_addf(&out, "usage: postern %s\n\n%s\n", self->synopsis, self->help);
	if (self->details[0] != '\0')
		buf_addf(&out, "\n%s", self->details);
	return cli_write(&out);
}

/* Levenshtein's distance of two short words; WORD_MAX if one is long. */
static size_t
distance(const char *a, const char *b)
{
	size_t row[WORD_MAX + 1], i, j, diagonal, above;
	size_t la = strlen(a), lb = strlen(b);

	if (la > WORD_MAX || lb > WORD_MAX)
		return WORD_MAX;
	for (j = 0; j <= lb; j++)
		row[j] = j;
	for (i = 1; i <= la; i++) {
		diagonal = row[0];
		row[0] = i;
		for (j = 1; j <= lb; j++) {
			above = row[j];
			row[j] = diagonal + (a[i - 1] != b[j - 1]);
			if (above + 1 < row[j])
				row[j] = above + 1;
			if (row[j - 1] + 1 < row[j])
				row[j] = row[j - 1] + 1;
			diagonal = above;
		}
	}
	return row[lb];
}

static int
unknown(const struct command *table, const char *prefix, const char *word)
{
	const struct command *c, *best = NULL;
	size_t d, least = NEAR + 1;
	struct buf shown = { 0 };

	for (c = table; c->name != NULL; c++) {
		d = distance(word, c->name);
		if (d < least && d < strlen(c->name)) {
			least = d;
			best = c;
		}
	}
	cli_add_text(&shown, word);
	if (best != NULL)
		cli_note("postern: no such command: %s%s; did you mean '%s%s'?",
		    prefix, buf_str(&shown), prefix, best->name);
	else
		cli_note("postern: no such command: %s%s; 'postern %s--help' "
			 "lists them",
		    prefix, buf_str(&shown), prefix);
	buf_free(&shown);
	return CLI_USAGE;
}

int
cli_dispatch(const struct command *table, const char *prefix, int argc,
    char **argv, const struct config_env *env)
{
	const struct command *c;
	struct buf out = { 0 };

	add_commands(&out, table, prefix);
	if (argc < 2) {
		fputs(buf_str(&out), stderr);
		buf_free(&out);
		return CLI_USAGE;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
	    strcmp(argv[1], "help") == 0)
		return cli_write(&out);
	buf_free(&out);
	for (c = table; c->name != NULL; c++)
		if (strcmp(argv[1], c->name) == 0)
			return c->run(c, argc - 1, argv + 1, env);
	return unknown(table, prefix, argv[1]);
}

int
cli_option(const struct command *self, int argc, char **argv,
    const struct option *options, int *rc)
{
	int c;

	opterr = 0;
	c = getopt_long(argc, argv, ":h", options, NULL);
	if (c == ':')
		*rc = cli_usage(self, "%s needs a value", argv[optind - 1]);
	else if (c == '?')
		*rc = cli_usage(self, "no such option here: %s",
		    argv[optind > 1 ? optind - 1 : optind]);
	else if (c == CLI_OPT_HELP)
		*rc = help(self);
	else
		return c;
	return CLI_OPT_STOP;
}

const char *
cli_operand(const struct command *self, int argc, char **argv, const char *what,
    int *rc)
{
	if (optind + 1 == argc)
		return argv[optind];
	*rc =
	    cli_usage(self, optind < argc ? "more than one %s" : "no %s", what);
	return NULL;
}

bool
cli_no_operands(const struct command *self, int argc, char **argv)
{
	if (optind == argc)
		return true;
	cli_usage(self, "don't know what to do with '%s'", argv[optind]);
	return false;
}

bool
cli_connect(struct db *db)
{
	int64_t end = clock_mono_us() + CONNECT_TIMEOUT_MS * INT64_C(1000);

	/* A server keeps trying; a tool's user wants to know what is wrong. */
	while (!db_wait(db, CONNECT_SLICE_MS))
		if (db_error(db)[0] != '\0' || clock_mono_us() >= end)
			return false;
	return true;
}

void
cli_add_db_fault(struct buf *out, const struct db *db)
{
	static const struct {
		const char *state, *text;
	} faults[] = {
		{ "schema_outdated", "its schema is older than this program "
				     "needs: run 'postern migrate'" },
		{ "schema_missing", "it has no tables of ours: run "
				    "'postern migrate'" },
		{ "read_only", "it can't be written to: name the primary in "
			       "POSTERN_DATABASE_URL" },
		{ "connecting", "no answer: is POSTERN_DATABASE_URL right?" },
	};
	size_t i, len;

	for (i = 0; i < sizeof faults / sizeof faults[0]; i++)
		if (strcmp(db_state(db), faults[i].state) == 0) {
			buf_adds(out, faults[i].text);
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

struct db *
cli_open(struct config *cfg, const struct config_env *env, unsigned need,
    int min_schema)
{
	struct buf err = { 0 };
	struct db *db = NULL;

	if (!config_load(cfg, env, need, &err)) {
		cli_fail("%s", buf_str(&err));
		goto out;
	}
	db = db_new(cfg->database_url.data, cfg->query_timeout_ms, min_schema);
	if (!cli_connect(db)) {
		buf_reset(&err);
		cli_add_db_fault(&err, db);
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
	const struct passwd *pw = getpwuid(getuid());
	struct buf b = { 0 };

	if (pw != NULL && pw->pw_name[0] != '\0')
		cli_add_text(&b, pw->pw_name);
	else
		buf_addf(&b, "uid%ju", (uintmax_t)getuid());
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

	if (len < 2 || !parse_u64(s, len - 1, 1, 1000000, &n))
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
	char text[40];

	buf_reset(out);
	if (strcmp(s, "never") == 0)
		return true;
	if (parse_is_time(s, strlen(s))) {
		buf_adds(out, s);
		return true;
	}
	at = (time_t)clock_wall() + (time_t)seconds;
	if (seconds == 0 || gmtime_r(&at, &tm) == NULL ||
	    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
		return false;
	buf_adds(out, text);
	return true;
}

/*
 * The commands' tables at work: finding a command, its options and operands,
 * its help. What is accepted, what --help says and what shells complete is one
 * and the same.
 */
#include "cli/cli.h"

#include "base/edit_distance.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/param.h>

enum { WORD_MAX = 24, NEAR = 3, WIDTH = 79, OPTS_MAX = 8, INDENT_MAX = 32 };

static const struct command *const *top;

static const struct cli_opt help_opt = { "help", NULL, NULL, CLI_OPT_HELP,
	"print this" };

void
cli_add_wrapped(
    struct buf *out, const char *text, const char *prefix, size_t column)
{
	bool fresh = column == 0;
	size_t n;

	for (; *text != '\0'; text += n + strspn(text + n, " ")) {
		n = strcspn(text, " ");
		if (!fresh && column + 1 + n > WIDTH) {
			buf_addc(out, '\n');
			column = 0;
		}
		if (column == 0) {
			buf_adds(out, prefix);
			column = strlen(prefix);
			fresh = true;
		}
		if (!fresh) {
			buf_addc(out, ' ');
			column++;
		}
		buf_add(out, text, n);
		column += n;
		fresh = false;
	}
	buf_addc(out, '\n');
}

/* The next part of a synopsis that stays on one line: up to a space outside of
 * brackets. */
static size_t
synopsis_part(const char *s, size_t len)
{
	int depth = 0;
	size_t i;

	for (i = 0; i < len && (depth > 0 || s[i] != ' '); i++)
		depth +=
		    (s[i] == '[' || s[i] == '(') - (s[i] == ']' || s[i] == ')');
	return i;
}

static void
add_synopsis(struct buf *out, const char *s, size_t len)
{
	static const char indent[] = "              ";
	size_t column = sizeof "usage: postern" - 1, n;

	while (len > 0) {
		n = synopsis_part(s, len);
		if (column + 1 + n > WIDTH) {
			buf_addf(out, "\n%s", indent);
			column = sizeof indent - 1;
		}
		buf_addc(out, ' ');
		buf_add(out, s, n);
		column += 1 + n;
		n += n < len ? 1 : 0;
		s += n;
		len -= n;
	}
	buf_addc(out, '\n');
}

static void
add_usage(struct buf *out, const struct command *self)
{
	const char *s = self->synopsis;
	size_t n;

	for (; *s != '\0'; s += n + (s[n] == '\n')) {
		n = strcspn(s, "\n");
		buf_adds(out,
		    s == self->synopsis ? "usage: postern" : "       postern");
		add_synopsis(out, s, n);
	}
}

int
cli_usage(const struct command *self, const char *fmt, ...)
{
	struct buf usage = { 0 };
	va_list ap;

	fputs("postern: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	add_usage(&usage, self);
	fprintf(stderr, "\n%s", buf_str(&usage));
	buf_free(&usage);
	return CLI_USAGE;
}

static size_t
opt_width(const struct cli_opt *o)
{
	return strlen(o->name) + (o->value ? strlen(o->value) + 1 : 0);
}

static void
add_opt(struct buf *out, const struct cli_opt *o, size_t width)
{
	char indent[INDENT_MAX];
	size_t start = MIN(width + 6, sizeof indent - 1);

	memset(indent, ' ', start);
	indent[start] = '\0';
	buf_addf(out, "  --%s%s%s%*s", o->name, o->value != NULL ? " " : "",
	    o->value != NULL ? o->value : "", (int)(width - opt_width(o) + 1),
	    "");
	cli_add_wrapped(out, o->help, indent, width + 5);
}

static void
add_opts(struct buf *out, const struct command *self)
{
	const struct cli_opt *o;
	size_t width = opt_width(&help_opt);

	for (o = self->opts; o != NULL && o->name != NULL; o++)
		width = MAX(width, opt_width(o));
	for (o = self->opts; o != NULL && o->name != NULL; o++)
		add_opt(out, o, width);
	add_opt(out, &help_opt, width);
}

static int
help(const struct command *self)
{
	struct buf out = { 0 };

	add_usage(&out, self);
	buf_addf(&out, "\n%s\n\n", self->help);
	add_opts(&out, self);
	if (self->details != NULL) {
		buf_addc(&out, '\n');
		cli_add_wrapped(&out, self->details, "", 0);
	}
	return cli_write(&out);
}

static void
add_commands(struct buf *out, const struct command *const *table,
    const char *prefix, const char *about)
{
	size_t i, width = 0;

	buf_addf(out, "usage: postern %sCOMMAND [OPTION]...\n\n", prefix);
	cli_add_wrapped(out, about, "", 0);
	buf_addc(out, '\n');
	for (i = 0; table[i] != NULL; i++)
		width = MAX(width, strlen(table[i]->name));
	for (i = 0; table[i] != NULL; i++)
		buf_addf(out, "  %-*s  %s\n", (int)width, table[i]->name,
		    table[i]->help);
	buf_addf(out,
	    "\n'postern %sCOMMAND --help' says more, postern(1) all.\n"
	    "Exit status: 0, 1 failure, 2 usage.\n",
	    prefix);
}

/* Is name closer to word than *least, which then is its distance? */
static bool
nearer(const char *word, const char *name, size_t *least)
{
	size_t d = edit_distance(word, strlen(word), name, strlen(name));

	if (d >= *least || d >= strlen(name))
		return false;
	*least = d;
	return true;
}

static int
unknown(
    const struct command *const *table, const char *prefix, const char *word)
{
	const char *best = NULL;
	size_t i, least = NEAR + 1;
	struct buf shown = { 0 };

	for (i = 0; table[i] != NULL; i++)
		if (nearer(word, table[i]->name, &least))
			best = table[i]->name;
	cli_add_text(&shown, word);
	if (best != NULL)
		cli_note("postern: no such command: %s%s; did you mean '%s%s'?",
		    prefix, buf_str(&shown), prefix, best);
	else
		cli_note("postern: no such command: %s%s; 'postern %s--help' "
			 "lists them",
		    prefix, buf_str(&shown), prefix);
	buf_free(&shown);
	return CLI_USAGE;
}

const struct command *const *
cli_commands(void)
{
	return top;
}

int
cli_dispatch(const struct command *const *table, const char *prefix,
    const char *about, int argc, char **argv, const struct config_env *env)
{
	struct buf out = { 0 };
	size_t i;

	if (top == NULL)
		top = table;
	add_commands(&out, table, prefix, about);
	if (argc < 2) {
		fputs(buf_str(&out), stderr);
		buf_free(&out);
		return CLI_USAGE;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
	    strcmp(argv[1], "help") == 0)
		return cli_write(&out);
	buf_free(&out);
	for (i = 0; table[i] != NULL; i++)
		if (strcmp(argv[1], table[i]->name) == 0)
			return table[i]->run(table[i], argc - 1, argv + 1, env);
	return unknown(table, prefix, argv[1]);
}

static int
no_such_option(const struct command *self, const char *given)
{
	const struct cli_opt *o;
	const char *best = NULL, *name;
	char word[WORD_MAX + 1];
	size_t least = NEAR + 1;
	struct buf shown = { 0 };
	int rc;

	snprintf(word, sizeof word, "%.*s", (int)strcspn(given, "="), given);
	name = word + strspn(word, "-");
	cli_add_text(&shown, word);
	for (o = self->opts; o != NULL && o->name != NULL; o++)
		if (nearer(name, o->name, &least))
			best = o->name;
	if (best != NULL && least == 0)
		rc = cli_usage(self, "--%s has no value", best);
	else if (best != NULL)
		rc = cli_usage(self,
		    "no such option here: %s; did you mean --%s?",
		    buf_str(&shown), best);
	else
		rc =
		    cli_usage(self, "no such option here: %s", buf_str(&shown));
	buf_free(&shown);
	return rc;
}

int
cli_option(const struct command *self, int argc, char **argv, int *rc)
{
	struct option table[OPTS_MAX + 2] = { { 0 } };
	const struct cli_opt *o;
	size_t n = 0;
	int c;

	for (o = self->opts; o != NULL && o->name != NULL && n < OPTS_MAX; o++)
		table[n++] = (struct option){ o->name,
			o->value != NULL ? required_argument : no_argument,
			NULL, o->letter };
	table[n] = (struct option){ "help", no_argument, NULL, CLI_OPT_HELP };
	opterr = 0;
	c = getopt_long(argc, argv, ":h", table, NULL);
	if (c == ':')
		*rc = cli_usage(self, "%s needs a value", argv[optind - 1]);
	else if (c == '?')
		*rc = no_such_option(
		    self, argv[optind > 1 ? optind - 1 : optind]);
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
	*rc = cli_usage(
	    self, optind < argc ? "more than one %s" : "%s is missing", what);
	return NULL;
}

bool
cli_no_operands(const struct command *self, int argc, char **argv)
{
	struct buf shown = { 0 };

	if (optind == argc)
		return true;
	cli_add_text(&shown, argv[optind]);
	cli_usage(self, "don't know what to do with '%s'", buf_str(&shown));
	buf_free(&shown);
	return false;
}

/*
 * postern settings: a settings file with all there is, commented out, each
 * setting with its meaning and its default. It needs no settings itself.
 */
#include "cli/cli.h"

#include <string.h>

enum { WIDTH = 78 };

static const struct option opts[] = {
	CLI_OPTIONS_END,
};

/* Append text as comment lines, broken at spaces. */
static void
add_comment(struct buf *out, const char *text)
{
	size_t column = 0, n;

	while (*text != '\0') {
		n = strcspn(text, " ");
		if (column > 0 && column + 1 + n > WIDTH) {
			buf_addc(out, '\n');
			column = 0;
		}
		if (column == 0) {
			buf_addc(out, '#');
			column = 1;
		}
		buf_addc(out, ' ');
		buf_add(out, text, n);
		column += 1 + n;
		text += n + strspn(text + n, " ");
	}
	buf_addc(out, '\n');
}

static void
add_setting(const struct config_doc *doc, void *arg)
{
	struct buf *out = arg, type = { 0 };

	buf_addc(out, '\n');
	add_comment(out, doc->help);
	buf_addf(&type, "Value: %s.", doc->type);
	if (doc->secret)
		buf_addf(&type, " Or %s_FILE, the path of a file with it.",
		    doc->name);
	add_comment(out, buf_str(&type));
	buf_addf(out, "#%s%s =%s%s\n", doc->name, doc->secret ? "_FILE" : "",
	    *doc->deflt != '\0' ? " " : "", doc->deflt);
	buf_free(&type);
}

int
cli_settings(const struct command *self, int argc, char **argv,
    const struct config_env *env)
{
	struct buf out = { 0 };
	int rc;

	(void)env;
	if (cli_option(self, argc, argv, opts, &rc) != CLI_OPT_END)
		return rc;
	if (!cli_no_operands(self, argc, argv))
		return CLI_USAGE;
	add_comment(&out,
	    "Settings of Postern, see postern.conf(5). A line is NAME = value. "
	    "This file must be closed to others: mode 0640 or less.");
	config_each(add_setting, &out);
	return cli_write(&out);
}

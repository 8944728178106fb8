/*
 * postern settings: a settings file with all there is, commented out, each
 * setting with its meaning and its default. It needs no settings itself.
 */
#include "cli/cli.h"

#include <string.h>

static void
add_comment(struct buf *out, const char *text)
{
	cli_add_wrapped(out, text, "# ", 0);
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
	if (doc->restart != NULL)
		buf_addf(&type, " %s", doc->restart);
	add_comment(out, buf_str(&type));
	buf_addf(out, "#%s%s =%s%s\n", doc->name, doc->secret ? "_FILE" : "",
	    *doc->deflt != '\0' ? " " : "", doc->deflt);
	buf_free(&type);
}

static int
run_command(const struct command *self, int argc, char **argv,
    const struct config_env *env)
{
	struct buf out = { 0 };
	int rc;

	(void)env;
	if (cli_option(self, argc, argv, &rc) != CLI_OPT_END)
		return rc;
	if (!cli_no_operands(self, argc, argv))
		return CLI_USAGE;
	add_comment(&out,
	    "Settings of Postern, see postern.conf(5). A line is NAME = value. "
	    "This file must be closed to others: mode 0640 or less.");
	config_each(add_setting, &out);
	return cli_write(&out);
}

const struct command cli_settings = {
	.name = "settings",
	.synopsis = "settings",
	.help = "print a settings file with all there is, commented out",
	.details = "It goes to /etc/postern/postern.conf, mode 0640, or where "
		   "POSTERN_CONFIG says; postern.conf(5) tells more.",
	.run = run_command,
};

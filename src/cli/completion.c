/*
 * postern completion: what a shell needs to complete commands, options and the
 * values that are words, out of the tables that --help prints.
 */
#include "cli/cli.h"

#include <string.h>

/* Writes one command, called by path ("app create"), in a shell's tongue. */
typedef void (*add_command)(
    struct buf *out, const struct command *c, const char *path);

/* Every command and every command's own, in the order of the tables. */
static void
each(struct buf *out, const struct command *const *table, const char *prefix,
    add_command add)
{
	struct buf path = { 0 };
	size_t i;

	for (i = 0; table[i] != NULL; i++) {
		buf_reset(&path);
		buf_addf(&path, "%s%s", prefix, table[i]->name);
		add(out, table[i], buf_str(&path));
		buf_addc(&path, ' ');
		if (table[i]->commands != NULL)
			each(out, table[i]->commands, buf_str(&path), add);
	}
	buf_free(&path);
}

static void
add_names(struct buf *out, const struct command *const *table)
{
	size_t i;

	for (i = 0; table[i] != NULL; i++)
		buf_addf(out, "%s ", table[i]->name);
}

/* "app|invite": what has commands of its own. */
static void
add_parents(struct buf *out)
{
	const struct command *const *table = cli_commands();
	const char *sep = "";
	size_t i;

	for (i = 0; table[i] != NULL; i++)
		if (table[i]->commands != NULL) {
			buf_addf(out, "%s%s", sep, table[i]->name);
			sep = "|";
		}
}

/* What follows an option with a value is one of its words, or nothing that is
 * known here. */
static void
bash_values(struct buf *out, const struct command *c)
{
	const struct cli_opt *o;

	for (o = c->opts; o != NULL && o->name != NULL; o++)
		if (o->value != NULL)
			buf_addf(out, "\t\t--%s) words='%s' ;;\n", o->name,
			    o->words != NULL ? o->words : "");
}

static void
bash_options(struct buf *out, const struct command *c, bool names)
{
	const struct cli_opt *o;

	buf_adds(out, "\t\tcase $prev in\n");
	bash_values(out, c);
	buf_adds(out, "\t\t*) words='");
	if (names && c->commands != NULL)
		add_names(out, c->commands);
	buf_adds(out, c->words != NULL && names ? c->words : "");
	buf_adds(out, c->words != NULL && names ? " " : "");
	for (o = c->opts; o != NULL && o->name != NULL; o++)
		buf_addf(out, "--%s ", o->name);
	buf_adds(out, "--help' ;;\n\t\tesac\n\t\t;;\n");
}

static void
bash_command(struct buf *out, const struct command *c, const char *path)
{
	buf_addf(out, "\t'%s')\n", path);
	bash_options(out, c, true);
	if (c->commands != NULL && c->opts != NULL) {
		/* Its own options, once one of them is there. */
		buf_addf(out, "\t'%s -'*)\n", path);
		bash_options(out, c, false);
	}
}

static void
add_bash(struct buf *out)
{
	buf_adds(out,
	    "# Completion of postern for bash, made by 'postern completion "
	    "bash'.\n\n"
	    "_postern()\n{\n"
	    "\tlocal cur=${COMP_WORDS[COMP_CWORD]}\n"
	    "\tlocal prev=${COMP_WORDS[COMP_CWORD - 1]}\n"
	    "\tlocal command=${COMP_WORDS[1]} words=\n\n"
	    "\t# --name=value comes as three words.\n"
	    "\tif [[ $cur == = ]]; then\n\t\tcur=\n"
	    "\telif [[ $prev == = ]]; then\n"
	    "\t\tprev=${COMP_WORDS[COMP_CWORD - 2]}\n\tfi\n"
	    "\tif ((COMP_CWORD == 1)); then\n\t\tcommand=\n"
	    "\telif ((COMP_CWORD > 2)) && [[ $command =~ ^(");
	add_parents(out);
	buf_adds(out, ")$ ]]; then\n"
		      "\t\tcommand+=\" ${COMP_WORDS[2]}\"\n\tfi\n"
		      "\tcase $command in\n"
		      "\t'') words='");
	add_names(out, cli_commands());
	buf_adds(out, "--help --version' ;;\n");
	each(out, cli_commands(), "", bash_command);
	buf_adds(out,
	    "\tesac\n"
	    "\tmapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\")\n"
	    "}\ncomplete -F _postern postern\n");
}

/* A text inside of single quotes, where zsh's tables give : and brackets a
 * meaning. */
static void
zsh_text(struct buf *out, const char *s)
{
	for (; *s != '\0'; s++)
		if (*s == '\'')
			buf_adds(out, "'\\''");
		else if (strchr(":[]\\", *s) != NULL)
			buf_addf(out, "\\%c", *s);
		else
			buf_addc(out, *s);
}

/* A call that offers the names of a table. */
static void
zsh_names(
    struct buf *out, const struct command *const *table, const char *indent)
{
	size_t i;

	buf_addf(out, "%snames=(\n", indent);
	for (i = 0; table[i] != NULL; i++) {
		buf_addf(out, "%s\t'%s:", indent, table[i]->name);
		zsh_text(out, table[i]->help);
		buf_adds(out, "'\n");
	}
	buf_addf(out, "%s)\n%s_describe command names\n", indent, indent);
}

static void
zsh_option(struct buf *out, const struct cli_opt *o)
{
	buf_addf(
	    out, " \\\n\t\t\t'--%s%s[", o->name, o->value != NULL ? "=" : "");
	zsh_text(out, o->help);
	buf_addc(out, ']');
	if (o->value != NULL) {
		buf_addc(out, ':');
		zsh_text(out, o->value);
		buf_addf(out, ":%s%s%s", o->words != NULL ? "(" : "",
		    o->words != NULL ? o->words : " ",
		    o->words != NULL ? ")" : "");
	}
	buf_addc(out, '\'');
}

static void
zsh_command(struct buf *out, const struct command *c, const char *path)
{
	const struct cli_opt *o;

	buf_addf(out, "\t('%s'%s%s%s)\n", path, c->commands != NULL ? "|'" : "",
	    c->commands != NULL ? path : "", c->commands != NULL ? " -'*" : "");
	if (c->commands != NULL) {
		buf_adds(out, "\t\tif ((own)); then\n");
		zsh_names(out, c->commands, "\t\t\t");
		buf_adds(out, "\t\tfi\n");
	}
	buf_adds(out, "\t\t_arguments");
	for (o = c->opts; o != NULL && o->name != NULL; o++)
		zsh_option(out, o);
	buf_adds(out, " \\\n\t\t\t'--help[print this]'");
	if (c->words != NULL)
		buf_addf(out, " \\\n\t\t\t'1: :(%s)'\n", c->words);
	else
		buf_adds(out, " \\\n\t\t\t'*: : '\n");
	buf_adds(out, "\t\t;;\n");
}

static void
add_zsh(struct buf *out)
{
	buf_adds(out,
	    "#compdef postern\n"
	    "# Completion of postern for zsh, made by 'postern completion "
	    "zsh'.\n\n"
	    "_postern()\n{\n"
	    "\tlocal command=$words[2]\n"
	    "\tlocal -a names\n"
	    "\tinteger own=0\n\n"
	    "\tif ((CURRENT == 2)); then\n");
	zsh_names(out, cli_commands(), "\t\t");
	buf_adds(out,
	    "\t\t_arguments '--help[print this]' '--version[print the "
	    "version]'\n"
	    "\t\treturn\n"
	    "\tfi\n"
	    "\tshift words\n"
	    "\t((CURRENT--))\n"
	    "\tif [[ $command == (");
	add_parents(out);
	buf_adds(out, ") ]]; then\n"
		      "\t\tif ((CURRENT == 2)); then\n"
		      "\t\t\town=1\n"
		      "\t\telse\n"
		      "\t\t\tcommand+=\" $words[2]\"\n"
		      "\t\t\tif [[ $words[2] != -* ]]; then\n"
		      "\t\t\t\tshift words\n"
		      "\t\t\t\t((CURRENT--))\n"
		      "\t\t\tfi\n"
		      "\t\tfi\n"
		      "\tfi\n"
		      "\tcase $command in\n");
	each(out, cli_commands(), "", zsh_command);
	buf_adds(out, "\tesac\n}\n\n"
		      "if [[ $funcstack[1] == _postern ]]; then\n"
		      "\t_postern \"$@\"\n"
		      "else\n"
		      "\tcompdef _postern postern\n"
		      "fi\n");
}

static int
run_command(const struct command *self, int argc, char **argv,
    const struct config_env *env)
{
	struct buf out = { 0 };
	const char *shell;
	int rc;

	(void)env;
	if (cli_option(self, argc, argv, &rc) != CLI_OPT_END)
		return rc;
	shell = cli_operand(self, argc, argv, "SHELL", &rc);
	if (shell == NULL)
		return rc;
	if (strcmp(shell, "bash") == 0)
		add_bash(&out);
	else if (strcmp(shell, "zsh") == 0)
		add_zsh(&out);
	else
		return cli_usage(self, "there is one for bash and one for zsh");
	return cli_write(&out);
}

const struct command cli_completion = {
	.name = "completion",
	.synopsis = "completion bash|zsh",
	.words = "bash zsh",
	.help = "print a shell's completion of this tool's commands",
	.details =
	    "For this shell: eval \"$(postern completion bash)\", or zsh "
	    "likewise after compinit. What 'make install' and the Debian "
	    "package put in its place needs nothing more.",
	.run = run_command,
};

/*
 * postern migrate: brings the database's schema up to what this binary needs.
 */
#include "base/json.h"
#include "cli/cli.h"
#include "data/schema.h"

#include <string.h>

static const struct cli_opt opts[] = {
	{ "grant", "ROLE", NULL, 'g', "grant ROLE what the server needs" },
	CLI_JSON,
	CLI_OPTS_END,
};

/* What was applied; schema_migrate's callback has no argument. */
static struct {
	bool json;
	int count;
	struct buf names; /* JSON strings with commas */
} report;

static void
applied(const struct migration *m)
{
	struct buf line = { 0 };

	if (report.count++ > 0)
		buf_addc(&report.names, ',');
	json_add_string(&report.names, m->name, strlen(m->name));
	if (report.json)
		return;
	buf_addf(&line, "applied %s\n", m->name);
	(void)cli_write(&line);
}

static int
print_report(struct db *db, const char *role)
{
	struct buf out = { 0 };
	enum status st;
	int version = 0;

	st = schema_version(db, &version);
	if (st != ST_OK)
		return cli_status(db, st, NULL);
	if (report.json)
		buf_addf(&out, "{\"applied\":[%s],\"version\":%d}\n",
		    buf_str(&report.names), version);
	else if (report.count == 0)
		buf_addf(&out, "nothing to do: the schema is at version %d\n",
		    version);
	if (!report.json && role != NULL) {
		buf_adds(&out, "granted ");
		cli_add_text(&out, role);
		buf_adds(&out, " what the server needs\n");
	}
	return cli_write(&out);
}

static int
migrate(const struct config_env *env, const char *role)
{
	struct config cfg = { 0 };
	struct buf err = { 0 };
	struct db *db;
	int rc;

	db = cli_open(&cfg, env, CONFIG_NEED_DATABASE, 0);
	if (db == NULL)
		rc = CLI_FAILURE;
	else if (schema_migrate(db, role, applied, &err) == ST_OK)
		rc = print_report(db, role);
	else
		rc = cli_fail(
		    "migrate: %s; each migration is one transaction: "
		    "those that were applied stay, the rest changed nothing",
		    err.len > 0 ? buf_str(&err) : db_error(db));
	db_free(db);
	config_free(&cfg);
	buf_free(&err);
	buf_free(&report.names);
	return rc;
}

static int
run_command(const struct command *self, int argc, char **argv,
    const struct config_env *env)
{
	const char *role = NULL;
	int c, rc;

	while ((c = cli_option(self, argc, argv, &rc)) != CLI_OPT_END) {
		if (c == CLI_OPT_STOP)
			return rc;
		if (c == 'j')
			report.json = true;
		else
			role = optarg;
	}
	if (role != NULL && role[0] == '\0')
		return cli_usage(self, "--grant needs the name of a role");
	if (!cli_no_operands(self, argc, argv))
		return CLI_USAGE;
	return migrate(env, role);
}

const struct command cli_migrate = {
	.name = "migrate",
	.synopsis = "migrate [--grant ROLE] [--json]",
	.help = "bring the database's schema up to date",
	.opts = opts,
	.details = "Run it as the owner of the database. Each migration is one "
		   "transaction.",
	.run = run_command,
};

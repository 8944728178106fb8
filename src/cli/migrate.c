/*
 * postern migrate: brings the database's schema up to what this binary needs.
 */
#include "base/decimal.h"
#include "base/json.h"
#include "cli/cli.h"
#include "data/requirements_look.h"
#include "data/schema.h"

#include <string.h>

enum { PATIENCE_S = 60, WAIT_MAX = 86400 };

static const struct cli_opt opts[] = {
	{ "grant", "ROLE", NULL, 'g', "grant ROLE what the server needs" },
	{ "wait", "SECONDS", NULL, 'w',
	    "how long each may have to wait for others' locks (60)" },
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
	struct schema_state now = { 0 };
	enum status st;

	st = schema_look(db, &now);
	if (st != ST_OK)
		return cli_status(db, st, NULL);
	if (report.json)
		buf_addf(&out, "{\"applied\":[%s],\"version\":%d}\n",
		    buf_str(&report.names), now.version);
	else if (report.count == 0)
		buf_addf(&out, "nothing to do: the schema is at version %d\n",
		    now.version);
	if (!report.json && role != NULL) {
		buf_adds(&out, "granted ");
		cli_add_text(&out, role);
		buf_adds(&out, " what the server needs\n");
	}
	return cli_write(&out);
}

static void
waits(const char *name, const char *who)
{
	struct buf text = { 0 };

	cli_add_text(&text, who);
	cli_note("%s waits for %s", name, buf_str(&text));
	buf_free(&text);
}

static void
say_fault(void *arg, const struct fact *f, const char *what)
{
	struct buf text = { 0 }, line = { 0 };

	requirements_add(&text, f, what);
	cli_add_text(&line, buf_str(&text));
	*(int *)arg = cli_fail("%s: %s", f->name, buf_str(&line));
	buf_free(&line);
	buf_free(&text);
}

/* A schema that is up to date may still serve nobody. */
static int
look_behind(struct db *db, const char *role)
{
	int rc = CLI_OK;
	enum status st;

	st = requirements_look(db, role, say_fault, &rc);
	return st == ST_OK ? rc : cli_status(db, st, NULL);
}

static int
migrate(const struct config_env *env, const struct schema_order *order)
{
	struct config cfg = { 0 };
	struct buf err = { 0 }, text = { 0 };
	struct db *db;
	int rc;

	db = cli_open(&cfg, env, CONFIG_NEED_DATABASE, 0);
	if (db == NULL) {
		rc = CLI_FAILURE;
	} else if (schema_migrate(db, order, &err) == ST_OK) {
		rc = print_report(db, order->role);
		if (rc == CLI_OK)
			rc = look_behind(db, order->role);
	} else {
		if (db_denied(db))
			buf_adds(&err, CLI_DENIED);
		cli_add_text(&text, buf_str(&err));
		rc = cli_fail(
		    "migrate: %s; each migration is one transaction: "
		    "those that were applied stay, the rest changed nothing",
		    buf_str(&text));
	}
	db_free(db);
	config_free(&cfg);
	buf_free(&err);
	buf_free(&text);
	buf_free(&report.names);
	return rc;
}

static int
run_command(const struct command *self, int argc, char **argv,
    const struct config_env *env)
{
	struct schema_order order = {
		.patience_s = PATIENCE_S, .applied = applied, .waits = waits
	};
	uint64_t n = PATIENCE_S;
	int c, rc;

	while ((c = cli_option(self, argc, argv, &rc)) != CLI_OPT_END) {
		if (c == CLI_OPT_STOP)
			return rc;
		if (c == 'j')
			report.json = true;
		else if (c == 'g')
			order.role = optarg;
		else if (!decimal_parse(
			     optarg, strlen(optarg), 0, WAIT_MAX, &n))
			return cli_usage(self,
			    "--wait is 0 to %d seconds, not '%s'", WAIT_MAX,
			    optarg);
	}
	order.patience_s = (int64_t)n;
	if (order.role != NULL && order.role[0] == '\0')
		return cli_usage(self, "--grant needs the name of a role");
	if (!cli_no_operands(self, argc, argv))
		return CLI_USAGE;
	return migrate(env, &order);
}

const struct command cli_migrate = {
	.name = "migrate",
	.synopsis = "migrate [--grant ROLE] [--wait SECONDS] [--json]",
	.help = "bring the database's schema up to date",
	.opts = opts,
	.details = "Run it as the owner of the database. Each migration is one "
		   "transaction. It holds up no request: a lock that another "
		   "has is waited for briefly, again and again.",
	.run = run_command,
};

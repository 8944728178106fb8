/*
 * postern audit: the audit trail is kept for as long as the settings say. The
 * server can't take away from it; the owner of the tables can, here.
 */
#include "base/decimal.h"
#include "cli/cli.h"
#include "data/event_store.h"
#include "data/schema.h"
#include "http/resource_json.h"

#include <inttypes.h>
#include <string.h>

enum { DAYS_MAX = 36500 };

/* What was asked for. */
struct wish {
	const struct command *self;
	bool json;
	bool given; /* days, else it is the setting */
	uint64_t days;
};

static int
print(const struct wish *w, const struct event_prune *p)
{
	struct buf out = { 0 };
	char before[DATE_SIZE];

	if (w->json) {
		buf_addf(&out, "{\"days\":%" PRIu64 ",\"pruned\":%" PRId64,
		    w->days, p->gone);
		resource_json_add_time(&out, "before", &p->before);
		buf_adds(&out, "}\n");
	} else if (!p->before.there) {
		buf_adds(&out, "nothing to do: the audit trail is kept for "
			       "ever\n");
	} else {
		buf_addf(&out, "pruned %" PRId64 " events from before %s\n",
		    p->gone, date_text(&p->before, before));
	}
	return cli_write(&out);
}

/* What is gone stays gone: another run goes on. */
static enum status
prune(struct db *db, const struct wish *w, struct event_prune *p)
{
	char actor[CLI_ACTOR_MAX];
	enum status st;

	cli_actor(actor);
	st = event_prune_begin(db, (int64_t)w->days, p);
	while (st == ST_OK && p->more)
		st = event_prune_piece(db, actor, p);
	return st;
}

static int
run(struct wish *w, const struct config_env *env)
{
	struct event_prune p = { 0 };
	struct config cfg = { 0 };
	enum status st = ST_OK;
	struct db *db;
	int rc = CLI_FAILURE;

	db = cli_open(&cfg, env, CONFIG_NEED_DATABASE, schema_required());
	if (db == NULL)
		goto out;
	if (!w->given)
		w->days = (uint64_t)cfg.audit_days;
	if (w->days > 0)
		st = prune(db, w, &p);
	rc = st == ST_OK ? print(w, &p) : cli_status(db, st, NULL);
	if (st == ST_UNAVAILABLE && db_is_up(db))
		cli_note("The audit trail is pruned by the role that owns the "
			 "tables, as 'postern migrate' does.");
out:
	db_free(db);
	config_free(&cfg);
	return rc;
}

static int
run_prune(const struct command *self, int argc, char **argv,
    const struct config_env *env)
{
	struct wish w = { .self = self };
	int c, rc = CLI_OK;

	while ((c = cli_option(self, argc, argv, &rc)) != CLI_OPT_END) {
		if (c == CLI_OPT_STOP)
			return rc;
		w.json |= c == 'j';
		w.given |= c == 'd';
		if (c == 'd' && !decimal_parse(optarg, strlen(optarg), 0,
				    DAYS_MAX, &w.days))
			return cli_usage(self, "--days is 0 to %d, not '%s'",
			    DAYS_MAX, optarg);
	}
	return cli_no_operands(self, argc, argv) ? run(&w, env) : CLI_USAGE;
}

static const struct cli_opt prune_opts[] = {
	{ "days", "N", NULL, 'd',
	    "for how long events are kept (POSTERN_AUDIT_DAYS; 0: for ever)" },
	CLI_JSON,
	CLI_OPTS_END,
};

static const struct command *const commands[] = {
	&(const struct command){
	    .name = "prune",
	    .synopsis = "audit prune [--days N] [--json]",
	    .help = "delete the events that are older than they are kept",
	    .opts = prune_opts,
	    .details =
		"Run it as the owner of the database, each day if you like. It "
		"goes in small pieces, and that it was done stands in the "
		"trail itself.",
	    .run = run_prune,
	},
	NULL,
};

static int
run_command(const struct command *self, int argc, char **argv,
    const struct config_env *env)
{
	return cli_dispatch(commands, "audit ", self->help, argc, argv, env);
}

const struct command cli_audit = {
	.name = "audit",
	.synopsis = "audit prune [--days N] [--json]",
	.help = "keep the audit trail for as long as it is wanted",
	.commands = commands,
	.run = run_command,
};

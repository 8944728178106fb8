/*
 * postern invite: registration tokens with limits. A token is printed when it
 * is made and never again: the database has only its hash.
 */
#include "base/decimal.h"
#include "base/name.h"
#include "cli/cli.h"
#include "data/invite_store.h"
#include "data/schema.h"
#include "http/resource_json.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { USES_MAX = 1000000 };

static const char EXPIRES_DEFAULT[] = "7d";

/* What was asked for. */
struct wish {
	const struct command *self;
	bool json;
	uint64_t uses;
	const char *label;
	struct buf expires; /* RFC 3339; empty = never */
	uint64_t id;
	char actor[CLI_ACTOR_MAX];
	struct config cfg;
	struct db *db;
};

static bool
open_wish(struct wish *w, const struct config_env *env)
{
	cli_actor(w->actor);
	w->db = cli_open(&w->cfg, env, CONFIG_NEED_DATABASE, schema_required());
	return w->db != NULL;
}

static void
clear_wish(struct wish *w)
{
	db_free(w->db);
	buf_free(&w->expires);
	config_free(&w->cfg);
}

/* What became of a statement. The server's own role makes no invite. */
static int
say_status(const struct wish *w, enum status st)
{
	int rc = cli_status(w->db, st, NULL);

	if (st == ST_UNAVAILABLE && db_is_up(w->db))
		cli_note("Invites need the role that owns the tables, as "
			 "'postern migrate' does.");
	return rc;
}

static void
add_json(struct buf *out, const struct invite *i, const struct secret *token)
{
	/* Room for all of it first: growing would leave copies to wipe. */
	buf_reserve(out, 2048);
	buf_addc(out, '{');
	resource_json_add_invite_members(out, i);
	if (token != NULL) {
		buf_adds(out, ",\"token\":\"");
		buf_add(out, token->data, token->len);
		buf_addc(out, '"');
	}
	buf_adds(out, "}\n");
}

/* The token alone, so that $(postern invite) is one; the rest is a note. */
static int
print_token(
    const struct wish *w, const struct invite *i, const struct secret *token)
{
	struct buf out = { 0 };
	char until[DATE_SIZE];

	if (w->json) {
		add_json(&out, i, token);
	} else {
		buf_reserve(&out, token->len + 1);
		buf_add(&out, token->data, token->len);
		buf_addc(&out, '\n');
	}
	if (cli_write(&out) != CLI_OK) {
		cli_note(
		    "The token is lost: postern invite revoke %" PRId64, i->id);
		return CLI_FAILURE;
	}
	cli_note("Invite %" PRId64 " registers %" PRId64 " app%s%s%s. Keep its "
		 "token now: it is not shown again.",
	    i->id, i->uses_max, i->uses_max == 1 ? "" : "s",
	    i->expires_at.there ? " until " : "",
	    i->expires_at.there ? date_text(&i->expires_at, until) : "");
	return CLI_OK;
}

static int
make(struct wish *w, const struct config_env *env)
{
	const struct invite_new new = { w->label, (int64_t)w->uses,
		w->expires.len > 0 ? buf_str(&w->expires) : NULL };
	struct secret token = { 0 };
	struct invite i = { 0 };
	enum status st;
	int rc = CLI_FAILURE;

	if (!open_wish(w, env))
		return rc;
	st = invite_store_create(w->db, w->actor, &new, &token, &i);
	rc = st == ST_OK ? print_token(w, &i, &token) : say_status(w, st);
	secret_clear(&token);
	invite_clear(&i);
	return rc;
}

static void
add_head(struct buf *out)
{
	buf_addf(out, "%8s  %-8s  %15s  %-20s  %-20s  %s\n", "ID", "STATE",
	    "USES", "CREATED", "EXPIRES", "LABEL");
}

/* To the second; JSON has the rest. */
static void
add_line(struct buf *out, const struct invite *i)
{
	char uses[40], expires[24] = "never", at[DATE_SIZE];

	snprintf(
	    uses, sizeof uses, "%" PRId64 "/%" PRId64, i->uses, i->uses_max);
	if (i->expires_at.there)
		snprintf(expires, sizeof expires, "%.19sZ",
		    date_text(&i->expires_at, at));
	buf_addf(out, "%8" PRId64 "  %-8s  %15s  %.19sZ  %-20s  ", i->id,
	    i->state, uses, date_text(&i->created_at, at), expires);
	cli_add_text(out, i->label);
	buf_addc(out, '\n');
}

static int
list(struct wish *w)
{
	struct invite *all = NULL;
	struct buf out = { 0 };
	enum status st;
	size_t i, n = 0;

	st = invite_store_list(w->db, &all, &n);
	if (st != ST_OK)
		return say_status(w, st);
	if (w->json)
		buf_adds(&out, "{\"invites\":[");
	else
		add_head(&out);
	for (i = 0; i < n; i++) {
		if (w->json) {
			buf_adds(&out, i > 0 ? ",{" : "{");
			resource_json_add_invite_members(&out, &all[i]);
			buf_addc(&out, '}');
		} else {
			add_line(&out, &all[i]);
		}
		invite_clear(&all[i]);
	}
	if (w->json)
		buf_adds(&out, "]}\n");
	free(all);
	return cli_write(&out);
}

static int
revoke(struct wish *w)
{
	struct buf out = { 0 };
	struct invite i = { 0 };
	enum status st;

	st = invite_store_revoke(w->db, w->actor, (int64_t)w->id, &i);
	if (st == ST_NOT_FOUND)
		return cli_fail("no invite has the id %" PRIu64
				"; 'postern invite list' shows them",
		    w->id);
	if (st != ST_OK)
		return say_status(w, st);
	if (w->json)
		add_json(&out, &i, NULL);
	else
		buf_addf(&out, "revoked: %" PRId64 "\n", i.id);
	invite_clear(&i);
	return cli_write(&out);
}

static const struct cli_opt plain_opts[] = { CLI_JSON, CLI_OPTS_END };
static const struct cli_opt make_opts[] = {
	{ "uses", "N", NULL, 'u', "how many apps it registers (1)" },
	{ "expires", "WHEN", NULL, 'e', CLI_EXPIRES_HELP " (7d)" },
	{ "label", "TEXT", NULL, 'l', "what it is for" },
	CLI_JSON,
	CLI_OPTS_END,
};

static int
take_option(struct wish *w, int c)
{
	if (c == 'j')
		w->json = true;
	else if (c == 'e' && !cli_expiry(optarg, &w->expires))
		return cli_usage(w->self, CLI_EXPIRY_FAULT, optarg);
	else if (c == 'u' &&
		 !decimal_parse(optarg, strlen(optarg), 1, USES_MAX, &w->uses))
		return cli_usage(
		    w->self, "--uses is 1 to %d, not '%s'", USES_MAX, optarg);
	else if (c == 'l' && !name_is_label(optarg, strlen(optarg)))
		return cli_usage(w->self, "a label is " NAME_LABEL_RULE);
	else if (c == 'l')
		w->label = optarg;
	return CLI_OK;
}

/* All options of a command; false when it ends here, with *rc. */
static bool
take_options(struct wish *w, int argc, char **argv, int *rc)
{
	int c;

	while ((c = cli_option(w->self, argc, argv, rc)) != CLI_OPT_END) {
		if (c != CLI_OPT_STOP)
			*rc = take_option(w, c);
		if (c == CLI_OPT_STOP || *rc != CLI_OK)
			return false;
	}
	return true;
}

static int
run_list(const struct command *self, int argc, char **argv,
    const struct config_env *env)
{
	struct wish w = { .self = self };
	int rc = CLI_OK;

	if (!take_options(&w, argc, argv, &rc))
		return rc;
	if (!cli_no_operands(self, argc, argv))
		return CLI_USAGE;
	rc = open_wish(&w, env) ? list(&w) : CLI_FAILURE;
	clear_wish(&w);
	return rc;
}

static int
run_revoke(const struct command *self, int argc, char **argv,
    const struct config_env *env)
{
	struct wish w = { .self = self };
	const char *id;
	int rc = CLI_OK;

	if (!take_options(&w, argc, argv, &rc))
		return rc;
	id = cli_operand(self, argc, argv, "ID", &rc);
	if (id == NULL)
		return rc;
	if (!decimal_parse(id, strlen(id), 1, INT64_MAX, &w.id))
		return cli_usage(
		    self, "an id is a number from 1, not '%s'", id);
	rc = open_wish(&w, env) ? revoke(&w) : CLI_FAILURE;
	clear_wish(&w);
	return rc;
}

static const struct command *const commands[] = {
	&(const struct command){
	    .name = "list",
	    .synopsis = "invite list [--json]",
	    .help = "list the invites in order of id",
	    .opts = plain_opts,
	    .run = run_list,
	},
	&(const struct command){
	    .name = "revoke",
	    .synopsis = "invite revoke ID [--json]",
	    .help = "let an invite register nothing any more",
	    .opts = plain_opts,
	    .details =
		"'postern invite list' shows the ids. The apps that it has "
		"registered stay.",
	    .run = run_revoke,
	},
	NULL,
};

static int
run_make(const struct command *self, int argc, char **argv,
    const struct config_env *env)
{
	struct wish w = { .self = self, .uses = 1, .label = "" };
	int rc = CLI_FAILURE;

	if (!cli_expiry(EXPIRES_DEFAULT, &w.expires))
		return rc;
	if (take_options(&w, argc, argv, &rc))
		rc = cli_no_operands(self, argc, argv) ? make(&w, env)
						       : CLI_USAGE;
	clear_wish(&w);
	return rc;
}

static int
run_command(const struct command *self, int argc, char **argv,
    const struct config_env *env)
{
	if (argc > 1 && argv[1][0] != '-')
		return cli_dispatch(
		    commands, "invite ", self->help, argc, argv, env);
	return run_make(self, argc, argv, env);
}

const struct command cli_invite = {
	.name = "invite",
	.synopsis =
	    "invite [--uses N] [--expires WHEN] [--label TEXT] [--json]\n"
	    "invite list [--json]\n"
	    "invite revoke ID [--json]",
	.help = "make, list and revoke registration tokens with limits",
	.opts = make_opts,
	.details = "The token is printed once; the database has only its hash.",
	.commands = commands,
	.run = run_command,
};

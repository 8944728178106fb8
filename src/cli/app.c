/*
 * postern app: registers apps and manages them. Every change is recorded with
 * the login name of who made it.
 */
#include "auth/app_keys.h"
#include "auth/grace.h"
#include "base/decimal.h"
#include "base/hex.h"
#include "base/name.h"
#include "base/seal.h"
#include "cli/app.h"
#include "data/app_store.h"
#include "data/schema.h"
#include "data/sweep_store.h"
#include "http/resource_json.h"

#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

enum { WAITS = 20, WAIT_MS = 100 };

static bool
open_call(struct app_call *k, const struct config_env *env, unsigned need)
{
	cli_actor(k->actor);
	k->db = cli_open(
	    &k->cfg, env, CONFIG_NEED_DATABASE | need, schema_required());
	return k->db != NULL;
}

static void
close_call(struct app_call *k)
{
	db_free(k->db);
	buf_free(&k->expires);
	buf_free(&k->name);
	public_key_free(k->own);
	config_free(&k->cfg);
}

static void
add_row(struct buf *out, const char *name, const char *value)
{
	if (value == NULL)
		return;
	buf_addf(out, "%s:%*s ", name, (int)(21 - strlen(name)), "");
	cli_add_text(out, value);
	buf_addc(out, '\n');
}

/* A key by its kind and algorithm, and an own one's thumbprint. */
static void
add_key_row(struct buf *out, const char *name, const char *sealed,
    const struct config *cfg)
{
	struct seal_label label;
	struct buf text = { 0 };

	if (sealed == NULL)
		return;
	if (!seal_read_label(sealed, &label))
		buf_adds(&text, "malformed");
	else if (label.own)
		buf_addf(&text, "own %s %s", resource_json_alg(sealed, cfg),
		    label.kid);
	else
		buf_addf(&text, "secret %s", resource_json_alg(sealed, cfg));
	add_row(out, name, buf_str(&text));
	buf_free(&text);
}

/* The rows of an app as people read them, in the order of the API. */
static void
add_app_text(struct buf *out, const struct app *a, const struct config *cfg,
    const struct secret *key)
{
	const struct {
		const char *name;
		const struct date *at;
	} rows[] = {
		{ "created_at", &a->created_at },
		{ "updated_at", &a->updated_at },
		{ "disabled_at", &a->disabled_at },
		{ "expires_at", &a->expires_at },
		{ "previous_valid_until", &a->previous_valid_until },
		{ "last_used_at", &a->last_used_at },
		{ "previous_last_used_at", &a->previous_last_used_at },
	};
	char text[DATE_SIZE];
	size_t i;

	buf_addf(out, "%-22s %" PRId64 "\n", "id:", a->id);
	add_row(out, "name", a->name);
	add_row(out, "public_key", a->public_key);
	add_key_row(out, "key", a->sealed, cfg);
	add_row(out, "secret_key", key != NULL ? key->data : NULL);
	add_key_row(out, "previous_key", a->previous_sealed, cfg);
	for (i = 0; i < sizeof rows / sizeof rows[0]; i++)
		add_row(out, rows[i].name, date_text(rows[i].at, text));
}

static void
add_app_json(struct buf *out, const struct app_call *k, const struct app *a,
    const struct secret *key)
{
	buf_addc(out, '{');
	resource_json_add_app_members(out, a, &k->cfg);
	if (key != NULL) {
		buf_adds(out, ",\"secret_key\":\"");
		buf_add(out, key->data, key->len);
		buf_addc(out, '"');
	}
	buf_adds(out, "}\n");
}

/* Print an app, with its new secret key if there is one: none comes with a key
 * of its own. */
static int
print_app(
    const struct app_call *k, const struct app *a, const struct secret *key)
{
	struct buf out = { 0 };

	if (k->own != NULL)
		key = NULL;
	if (k->json)
		add_app_json(&out, k, a, key);
	else
		add_app_text(&out, a, &k->cfg, key);
	if (cli_write(&out) != CLI_OK) {
		if (key != NULL)
			cli_note("The secret key is lost; make another: "
				 "postern app rotate %s --grace 0",
			    a->public_key);
		return CLI_FAILURE;
	}
	if (key != NULL)
		cli_note("Keep the secret key now: it is not shown again.");
	return CLI_OK;
}

static int
run_create(struct app_call *k, struct app *a)
{
	struct app_new new = { 0 };
	struct secret key = { 0 };
	enum status st;
	int rc;

	new.actor = k->actor;
	new.name = buf_str(&k->name);
	new.expires_at = k->expires.len > 0 ? buf_str(&k->expires) : NULL;
	st = app_keys_create(&k->cfg, k->db, &new, k->own, a, &key);
	rc = st == ST_OK ? print_app(k, a, &key) : cli_status(k->db, st, NULL);
	secret_clear(&key);
	return rc;
}

static int
run_rotate(struct app_call *k, struct app *a)
{
	struct secret key = { 0 };
	enum status st;
	int rc;

	st = app_keys_rotate(&k->cfg, k->db, k->actor, k->operand, NULL,
	    &k->grace, k->own, a, &key);
	rc = st == ST_OK ? print_app(k, a, &key)
			 : cli_status(k->db, st, k->operand);
	secret_clear(&key);
	return rc;
}

static int
run_get(struct app_call *k, struct app *a)
{
	enum status st = app_store_find(k->db, k->operand, a);

	return st == ST_OK ? print_app(k, a, NULL)
			   : cli_status(k->db, st, k->operand);
}

static int
set_disabled(struct app_call *k, struct app *a, bool disabled)
{
	enum status st;

	st = app_store_set_disabled(k->db, k->actor, k->operand, disabled, a);
	return st == ST_OK ? print_app(k, a, NULL)
			   : cli_status(k->db, st, k->operand);
}

static int
run_expire(struct app_call *k, struct app *a)
{
	struct app_patch patch = { .set_expires_at = true };
	enum status st;

	if (!k->expires_given)
		return cli_usage(k->self, "it needs --expires WHEN");
	if (k->expires.len > 0)
		patch.expires_at = buf_str(&k->expires);
	st = app_store_patch(k->db, k->actor, k->operand, NULL, &patch, a);
	return st == ST_OK ? print_app(k, a, NULL)
			   : cli_status(k->db, st, k->operand);
}

static int
run_end_previous(struct app_call *k, struct app *a)
{
	enum status st =
	    app_store_end_previous(k->db, k->actor, k->operand, NULL);

	return st == ST_OK ? run_get(k, a) : cli_status(k->db, st, k->operand);
}

static int
run_disable(struct app_call *k, struct app *a)
{
	return set_disabled(k, a, true);
}

static int
run_enable(struct app_call *k, struct app *a)
{
	return set_disabled(k, a, false);
}

/* The app is deleted; what it leaves behind is taken away as far as nobody else
 * is at it, or has it locked. */
static void
sweep(struct app_call *k, int64_t app_id)
{
	struct sweep_place place = { .app_id = app_id };
	enum sweep_left left = SWEEP_MORE;
	int waits = 0;

	while (left != SWEEP_GONE && waits < WAITS) {
		if (left == SWEEP_HELD) {
			(void)poll(NULL, 0, WAIT_MS);
			waits++;
		}
		if (sweep_store_piece(k->db, &place, &left) != ST_OK)
			break;
	}
	if (left != SWEEP_GONE)
		cli_note("Some of its users' information is still there; the "
			 "server goes on taking it away.");
}

static int
run_delete(struct app_call *k, struct app *a)
{
	struct buf out = { 0 };
	int64_t id;
	enum status st;
	int rc;

	(void)a;
	st = app_store_delete(k->db, k->actor, k->operand, NULL, &id);
	if (st != ST_OK)
		return cli_status(k->db, st, k->operand);
	if (k->json)
		buf_addf(&out, "{\"deleted\":\"%s\"}\n", k->operand);
	else
		buf_addf(&out, "deleted: %s\n", k->operand);
	rc = cli_write(&out);
	sweep(k, id);
	return rc;
}

enum operand { OPERAND_NONE, OPERAND_NAME, OPERAND_KEY, OPERAND_KEY_OR_NONE };

/* How each of the commands is called; same order as the table below. */
static const struct action {
	const char *name;
	enum operand operand;
	unsigned need;
	int (*run)(struct app_call *k, struct app *a);
} actions[] = {
	{ "create", OPERAND_NAME, CONFIG_NEED_MASTER_KEY, run_create },
	{ "get", OPERAND_KEY, 0, run_get },
	{ "list", OPERAND_NONE, 0, app_list },
	{ "rotate", OPERAND_KEY, CONFIG_NEED_MASTER_KEY, run_rotate },
	{ "disable", OPERAND_KEY, 0, run_disable },
	{ "enable", OPERAND_KEY, 0, run_enable },
	{ "delete", OPERAND_KEY, 0, run_delete },
	{ "expire", OPERAND_KEY, 0, run_expire },
	{ "end-previous", OPERAND_KEY, 0, run_end_previous },
	{ "events", OPERAND_KEY_OR_NONE, 0, app_events },
};

static bool
take_number(const char *s, uint64_t min, uint64_t max, int64_t *out)
{
	uint64_t n;

	if (!decimal_parse(s, strlen(s), min, max, &n))
		return false;
	*out = (int64_t)n;
	return true;
}

static int
take_option(struct app_call *k, int c)
{
	k->expires_given = k->expires_given || c == 'e';
	if (c == 'j')
		k->json = true;
	else if (c == 'p')
		k->grace.end_previous = true;
	else if (c == 'g' &&
		 !take_number(optarg, 0, GRACE_MAX, &k->grace.seconds))
		return cli_usage(k->self,
		    "--grace is 0 to %d seconds, not '%s'", GRACE_MAX, optarg);
	else if (c == 'e' && !cli_expiry(optarg, &k->expires))
		return cli_usage(k->self, CLI_EXPIRY_FAULT, optarg);
	else if (c == 'l' && !take_number(optarg, 1, INT64_MAX, &k->limit))
		return cli_usage(
		    k->self, "--limit is a number from 1, not '%s'", optarg);
	else if (c == 's' && !name_is_label(optarg, strlen(optarg)) &&
		 !hex_is_public_key(optarg, strlen(optarg)))
		return cli_usage(k->self,
		    "--search is part of a name, or a public key or its "
		    "beginning");
	else if (c == 's')
		k->search = optarg;
	else if (c == 'k')
		k->key_file = optarg;
	else if (c == 'a' && !take_number(optarg, 0, INT64_MAX, &k->after))
		return cli_usage(k->self, "--after is an id, not '%s'", optarg);
	return CLI_OK;
}

static int
take_operand(struct app_call *k, enum operand kind, int argc, char **argv)
{
	int rc = CLI_OK;

	if (kind == OPERAND_NONE && !cli_no_operands(k->self, argc, argv))
		return CLI_USAGE;
	if (kind == OPERAND_NONE ||
	    (kind == OPERAND_KEY_OR_NONE && optind == argc))
		return CLI_OK;
	k->operand = cli_operand(k->self, argc, argv,
	    kind == OPERAND_NAME ? "NAME" : "PUBLIC_KEY", &rc);
	if (k->operand == NULL)
		return rc;
	if (kind == OPERAND_NAME &&
	    !name_take_app(k->operand, strlen(k->operand), &k->name))
		return cli_usage(k->self, "a name is " NAME_APP_RULE);
	if (kind != OPERAND_NAME &&
	    !hex_is_public_key(k->operand, strlen(k->operand)))
		return cli_usage(k->self,
		    "a public key is an even number of 32 to 128 lowercase hex "
		    "digits; 'postern app list' shows them");
	return CLI_OK;
}

static int
run_action(const struct command *self, int argc, char **argv,
    const struct config_env *env)
{
	const struct action *action = actions;
	struct app_call k = { .self = self,
		.grace = { .seconds = GRACE_DEFAULT },
		.limit = INT64_MAX };
	struct app a = { 0 };
	int c, rc = CLI_OK;

	while (strcmp(action->name, self->name) != 0)
		action++;
	while ((c = cli_option(self, argc, argv, &rc)) != CLI_OPT_END) {
		if (c != CLI_OPT_STOP)
			rc = take_option(&k, c);
		if (c == CLI_OPT_STOP || rc != CLI_OK)
			return rc;
	}
	rc = take_operand(&k, action->operand, argc, argv);
	if (rc != CLI_OK)
		return rc;
	if (k.key_file != NULL)
		rc = cli_public_key(k.key_file, &k.own);
	if (rc == CLI_OK)
		rc = open_call(&k, env, action->need) ? action->run(&k, &a)
						      : CLI_FAILURE;
	app_clear(&a);
	close_call(&k);
	return rc;
}

static const struct cli_opt plain_opts[] = { CLI_JSON, CLI_OPTS_END };
static const struct cli_opt expires_opts[] = {
	{ "expires", "WHEN", NULL, 'e', CLI_EXPIRES_HELP },
	CLI_JSON,
	CLI_OPTS_END,
};
/* Its versions differ about braces in a macro. */
/* clang-format off */
#define KEY_OPT { "key", "FILE", NULL, 'k', \
	"bring a public key in place of a secret one: PEM or JWK; - is " \
	"standard input" }
/* clang-format on */
static const struct cli_opt create_opts[] = {
	{ "expires", "WHEN", NULL, 'e', CLI_EXPIRES_HELP },
	KEY_OPT,
	CLI_JSON,
	CLI_OPTS_END,
};
static const struct cli_opt list_opts[] = {
	{ "search", "TEXT", NULL, 's',
	    "only those with TEXT in their name or at the beginning of their "
	    "public key, in either case" },
	{ "limit", "N", NULL, 'l', "at most N (all)" },
	{ "after", "ID", NULL, 'a', "only those behind this id" },
	CLI_JSON,
	CLI_OPTS_END,
};
static const struct cli_opt rotate_opts[] = {
	{ "grace", "SECONDS", NULL, 'g',
	    "how long the old one stays valid (86400; 0 ends it at once)" },
	{ "end-previous", NULL, NULL, 'p',
	    "also end the one before the old one, if it is still valid" },
	KEY_OPT,
	CLI_JSON,
	CLI_OPTS_END,
};
static const struct cli_opt events_opts[] = {
	{ "limit", "N", NULL, 'l', "the newest N (1000)" },
	CLI_JSON,
	CLI_OPTS_END,
};

static const struct command *const commands[] = {
	&(const struct command){
	    .name = "create",
	    .synopsis =
		"app create NAME [--expires WHEN] [--key FILE] [--json]",
	    .help = "register an app; prints its secret key, once",
	    .opts = create_opts,
	    .details =
		"Its tokens are signed with the secret key's characters as "
		"they stand; 'postern token' mints one to try. With --key "
		"there is no secret here: they are signed with the private "
		"half (RS256, ES256 or EdDSA), and name its public_key in "
		"aud.",
	    .run = run_action,
	},
	&(const struct command){
	    .name = "get",
	    .synopsis = "app get PUBLIC_KEY [--json]",
	    .help = "show an app",
	    .opts = plain_opts,
	    .run = run_action,
	},
	&(const struct command){
	    .name = "list",
	    .synopsis =
		"app list [--search TEXT] [--limit N] [--after ID] [--json]",
	    .help = "list the apps in order of id",
	    .opts = list_opts,
	    .run = run_action,
	},
	&(const struct command){
	    .name = "rotate",
	    .synopsis = "app rotate PUBLIC_KEY [--grace SECONDS] "
			"[--end-previous] [--key FILE] [--json]",
	    .help = "give an app a new key; prints a secret one, once",
	    .opts = rotate_opts,
	    .details =
		"'postern app get' tells when the old one was last used, "
		"'postern app end-previous' ends it before its time. While "
		"it is valid, there is no next rotation without "
		"--end-previous, or --grace 0, which implies it.",
	    .run = run_action,
	},
	&(const struct command){
	    .name = "disable",
	    .synopsis = "app disable PUBLIC_KEY [--json]",
	    .help = "refuse an app until it is enabled again",
	    .opts = plain_opts,
	    .run = run_action,
	},
	&(const struct command){
	    .name = "enable",
	    .synopsis = "app enable PUBLIC_KEY [--json]",
	    .help = "let a disabled app in again",
	    .opts = plain_opts,
	    .run = run_action,
	},
	&(const struct command){
	    .name = "delete",
	    .synopsis = "app delete PUBLIC_KEY [--json]",
	    .help = "delete an app and its users' information",
	    .opts = plain_opts,
	    .details = "There is no way back; 'postern app disable' has one. "
		       "Its audit trail stays.",
	    .run = run_action,
	},
	&(const struct command){
	    .name = "expire",
	    .synopsis = "app expire PUBLIC_KEY --expires WHEN [--json]",
	    .help = "refuse an app from some time on",
	    .opts = expires_opts,
	    .run = run_action,
	},
	&(const struct command){
	    .name = "end-previous",
	    .synopsis = "app end-previous PUBLIC_KEY [--json]",
	    .help =
		"end the validity of the secret key before the last rotation",
	    .opts = plain_opts,
	    .run = run_action,
	},
	&(const struct command){
	    .name = "events",
	    .synopsis = "app events [PUBLIC_KEY] [--limit N] [--json]",
	    .help = "show who did what, to one app or to all",
	    .opts = events_opts,
	    .run = run_action,
	},
	NULL,
};

static int
run_command(const struct command *self, int argc, char **argv,
    const struct config_env *env)
{
	return cli_dispatch(commands, "app ", self->help, argc, argv, env);
}

const struct command cli_app = {
	.name = "app",
	.synopsis = "app COMMAND [ARGUMENT] [--json]",
	.help = "register and manage apps",
	.commands = commands,
	.run = run_command,
};

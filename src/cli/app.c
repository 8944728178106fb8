/*
 * postern app: registers apps and manages them. Every change is recorded with
 * the login name of who made it.
 */
#include "auth/app_keys.h"
#include "base/clock.h"
#include "base/hex.h"
#include "base/parse.h"
#include "cli/cli.h"
#include "data/app_store.h"
#include "data/event_store.h"
#include "data/schema.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>

enum { PAGE = 100, EVENTS_DEFAULT = 1000 };
enum { GRACE_DEFAULT = 86400, GRACE_MAX = 30 * 86400 };

/* One call of a command: what was asked for, and by which way. */
struct call {
	const struct command *self;
	const char *operand; /* a name or a public key, by the command */
	bool json;
	int64_t grace;
	int64_t limit;
	int64_t after;
	const char *search;
	struct buf expires; /* RFC 3339; empty = never */
	bool expires_given;
	char actor[CLI_ACTOR_MAX];
	struct config cfg;
	struct db *db;
};

static bool
open_call(struct call *k, const struct config_env *env, unsigned need)
{
	cli_actor(k->actor);
	k->db = cli_open(
	    &k->cfg, env, CONFIG_NEED_DATABASE | need, schema_required());
	return k->db != NULL;
}

static void
close_call(struct call *k)
{
	db_free(k->db);
	buf_free(&k->expires);
	config_free(&k->cfg);
}

/* The rows of an app as people read them, in the order of the API. */
static void
add_app_text(struct buf *out, const struct app *a, const struct secret *key)
{
	const struct {
		const char *name, *value;
	} rows[] = {
		{ "name", a->name },
		{ "public_key", a->public_key },
		{ "secret_key", key != NULL ? key->data : NULL },
		{ "created_at", a->created_at },
		{ "updated_at", a->updated_at },
		{ "disabled_at", a->disabled_at },
		{ "expires_at", a->expires_at },
		{ "previous_valid_until", a->previous_valid_until },
		{ "last_used_at", a->last_used_at },
		{ "previous_last_used_at", a->previous_last_used_at },
	};
	size_t i;

	buf_addf(out, "%-22s %" PRId64 "\n", "id:", a->id);
	for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		if (rows[i].value == NULL)
			continue;
		buf_addf(out, "%s:%*s ", rows[i].name,
		    (int)(21 - strlen(rows[i].name)), "");
		cli_add_text(out, rows[i].value);
		buf_addc(out, '\n');
	}
}

static void
add_app_json(struct buf *out, const struct app *a, const struct secret *key)
{
	buf_addc(out, '{');
	app_json_members(out, a);
	if (key != NULL) {
		buf_adds(out, ",\"secret_key\":\"");
		buf_add(out, key->data, key->len);
		buf_addc(out, '"');
	}
	buf_adds(out, "}\n");
}

/* Print an app, with its new secret key if there is one. */
static int
print_app(const struct call *k, const struct app *a, const struct secret *key)
{
	struct buf out = { 0 };

	if (k->json)
		add_app_json(&out, a, key);
	else
		add_app_text(&out, a, key);
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
run_create(struct call *k, struct app *a)
{
	struct app_new new = { 0 };
	struct secret key = { 0 };
	enum status st;
	int rc;

	new.actor = k->actor;
	new.name = k->operand;
	new.expires_at = k->expires.len > 0 ? buf_str(&k->expires) : NULL;
	st = app_keys_create(&k->cfg, k->db, &new, a, &key);
	rc = st == ST_OK ? print_app(k, a, &key) : cli_status(k->db, st, NULL);
	secret_clear(&key);
	return rc;
}

static int
run_rotate(struct call *k, struct app *a)
{
	struct secret key = { 0 };
	enum status st;
	int rc;

	st = app_keys_rotate(
	    &k->cfg, k->db, k->actor, k->operand, NULL, k->grace, a, &key);
	rc = st == ST_OK ? print_app(k, a, &key)
			 : cli_status(k->db, st, k->operand);
	secret_clear(&key);
	return rc;
}

static int
run_get(struct call *k, struct app *a)
{
	enum status st = app_store_find(k->db, k->operand, a);

	return st == ST_OK ? print_app(k, a, NULL)
			   : cli_status(k->db, st, k->operand);
}

static int
set_disabled(struct call *k, struct app *a, bool disabled)
{
	enum status st;

	st = app_store_set_disabled(k->db, k->actor, k->operand, disabled, a);
	return st == ST_OK ? print_app(k, a, NULL)
			   : cli_status(k->db, st, k->operand);
}

static int
run_expire(struct call *k, struct app *a)
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
run_end_previous(struct call *k, struct app *a)
{
	enum status st =
	    app_store_end_previous(k->db, k->actor, k->operand, NULL);

	return st == ST_OK ? run_get(k, a) : cli_status(k->db, st, k->operand);
}

static int
run_disable(struct call *k, struct app *a)
{
	return set_disabled(k, a, true);
}

static int
run_enable(struct call *k, struct app *a)
{
	return set_disabled(k, a, false);
}

static int
run_delete(struct call *k, struct app *a)
{
	struct buf out = { 0 };
	enum status st;

	(void)a;
	st = app_store_delete(k->db, k->actor, k->operand, NULL);
	if (st != ST_OK)
		return cli_status(k->db, st, k->operand);
	if (k->json)
		buf_addf(&out, "{\"deleted\":\"%s\"}\n", k->operand);
	else
		buf_addf(&out, "deleted: %s\n", k->operand);
	return cli_write(&out);
}

static const char *
app_state(const struct app *a)
{
	if (a->disabled_at != NULL)
		return "disabled";
	if (a->expires_at != NULL && a->expires_epoch <= clock_wall())
		return "expired";
	return "active";
}

static void
add_line(struct buf *out, const struct app *a)
{
	buf_addf(out, "%8" PRId64 "  %-8s  %-27s  %-64s  ", a->id, app_state(a),
	    a->created_at, a->public_key);
	cli_add_text(out, a->name);
	buf_addc(out, '\n');
}

/* One page: n of at most limit apps behind *after, which moves on. */
static enum status
add_page(
    const struct call *k, struct buf *out, int limit, int64_t *after, size_t *n)
{
	const struct app_page page = { *after, limit, k->search };
	struct app *list = NULL;
	enum status st;
	size_t i;

	st = app_store_list(k->db, &page, &list, n);
	if (st != ST_OK)
		return st;
	for (i = 0; i < *n; i++) {
		if (k->json)
			app_json(out, &list[i]);
		else
			add_line(out, &list[i]);
		if (k->json && i + 1 < *n)
			buf_addc(out, ',');
		*after = list[i].id;
		app_clear(&list[i]);
	}
	free(list);
	return ST_OK;
}

/* Print pages until there are no more or limit is reached; *next is the id to
 * go on behind, 0 if nothing is left. */
static int
print_pages(const struct call *k, int64_t *next)
{
	int64_t after = k->after, last, left = k->limit;
	struct buf page = { 0 }, out = { 0 };
	enum status st;
	size_t n = 0;
	int rc = CLI_OK;

	*next = 0;
	do {
		last = after;
		/* At the limit one more tells whether something is left. */
		st = add_page(
		    k, &page, left == 0 ? 1 : (int)MIN(left, PAGE), &after, &n);
		if (st == ST_OK && n > 0 && left == 0)
			*next = last;
		else if (st == ST_OK && n > 0) {
			if (k->json && last != k->after)
				buf_addc(&out, ',');
			buf_add(&out, page.data, page.len);
			rc = cli_write(&out);
		}
		buf_free(&page);
		left -= (int64_t)n;
	} while (st == ST_OK && rc == CLI_OK && n > 0 && *next == 0);
	return st == ST_OK ? rc : cli_status(k->db, st, NULL);
}

static int
run_list(struct call *k, struct app *a)
{
	struct buf out = { 0 };
	int64_t next;
	int rc;

	(void)a;
	if (k->json)
		buf_adds(&out, "{\"apps\":[");
	else
		buf_addf(&out, "%8s  %-8s  %-27s  %-64s  %s\n", "ID", "STATE",
		    "CREATED", "PUBLIC KEY", "NAME");
	rc = cli_write(&out);
	if (rc == CLI_OK)
		rc = print_pages(k, &next);
	if (rc != CLI_OK)
		return rc;
	if (k->json && next > 0)
		buf_addf(&out, "],\"next\":%" PRId64 "}\n", next);
	else if (k->json)
		buf_adds(&out, "],\"next\":null}\n");
	else if (next > 0)
		cli_note("There are more: --after %" PRId64, next);
	return cli_write(&out);
}

static void
add_event_line(struct buf *out, const struct app_event *e)
{
	buf_addf(out, "%8" PRId64 "  %-27s  %-14s  %-64s  ", e->id, e->at,
	    e->event, e->public_key);
	cli_add_text(out, e->actor);
	buf_addc(out, '\n');
}

/* The oldest first, as one reads. */
static void
add_events(const struct call *k, struct buf *out, const struct app_event *list,
    size_t n)
{
	size_t i;

	if (k->json)
		buf_adds(out, "{\"events\":[");
	else
		buf_addf(out, "%8s  %-27s  %-14s  %-64s  %s\n", "ID", "AT",
		    "EVENT", "PUBLIC KEY", "ACTOR");
	for (i = n; i-- > 0;) {
		if (k->json)
			event_json(out, &list[i]);
		else
			add_event_line(out, &list[i]);
		if (k->json && i > 0)
			buf_addc(out, ',');
	}
	if (k->json)
		buf_adds(out, "]}\n");
}

/* The trail of one app, or of all: of the newest, the oldest first. */
static int
run_events(struct call *k, struct app *a)
{
	int64_t limit = k->limit < INT64_MAX ? k->limit : EVENTS_DEFAULT;
	/* One more tells whether something is left out: the oldest. */
	const struct event_page page = { k->operand, INT64_MAX, limit + 1 };
	struct app_event *list = NULL;
	struct buf out = { 0 };
	enum status st;
	size_t i, n = 0;

	(void)a;
	st = event_store_list(k->db, &page, &list, &n);
	if (st != ST_OK)
		return cli_status(k->db, st, k->operand);
	add_events(k, &out, list, MIN(n, (size_t)limit));
	for (i = 0; i < n; i++)
		app_event_clear(&list[i]);
	free(list);
	if (n > (size_t)limit)
		cli_note("There are older ones: --limit N shows the newest N");
	return cli_write(&out);
}

static const struct option plain_options[] = {
	{ "json", no_argument, NULL, 'j' },
	CLI_OPTIONS_END,
};
static const struct option expires_options[] = {
	{ "expires", required_argument, NULL, 'e' },
	{ "json", no_argument, NULL, 'j' },
	CLI_OPTIONS_END,
};
static const struct option events_options[] = {
	{ "json", no_argument, NULL, 'j' },
	{ "limit", required_argument, NULL, 'l' },
	CLI_OPTIONS_END,
};
static const struct option list_options[] = {
	{ "after", required_argument, NULL, 'a' },
	{ "json", no_argument, NULL, 'j' },
	{ "limit", required_argument, NULL, 'l' },
	{ "search", required_argument, NULL, 's' },
	CLI_OPTIONS_END,
};
static const struct option rotate_options[] = {
	{ "grace", required_argument, NULL, 'g' },
	{ "json", no_argument, NULL, 'j' },
	CLI_OPTIONS_END,
};

enum operand { OPERAND_NONE, OPERAND_NAME, OPERAND_KEY, OPERAND_KEY_OR_NONE };

/* How each of the commands is called; same order as the table below. */
static const struct action {
	const char *name;
	const struct option *options;
	enum operand operand;
	unsigned need;
	int (*run)(struct call *k, struct app *a);
} actions[] = {
	{ "create", expires_options, OPERAND_NAME, CONFIG_NEED_MASTER_KEY,
	    run_create },
	{ "get", plain_options, OPERAND_KEY, 0, run_get },
	{ "list", list_options, OPERAND_NONE, 0, run_list },
	{ "rotate", rotate_options, OPERAND_KEY, CONFIG_NEED_MASTER_KEY,
	    run_rotate },
	{ "disable", plain_options, OPERAND_KEY, 0, run_disable },
	{ "enable", plain_options, OPERAND_KEY, 0, run_enable },
	{ "delete", plain_options, OPERAND_KEY, 0, run_delete },
	{ "expire", expires_options, OPERAND_KEY, 0, run_expire },
	{ "end-previous", plain_options, OPERAND_KEY, 0, run_end_previous },
	{ "events", events_options, OPERAND_KEY_OR_NONE, 0, run_events },
};

static bool
take_number(const char *s, uint64_t min, uint64_t max, int64_t *out)
{
	uint64_t n;

	if (!parse_u64(s, strlen(s), min, max, &n))
		return false;
	*out = (int64_t)n;
	return true;
}

static int
take_option(struct call *k, int c)
{
	k->expires_given = k->expires_given || c == 'e';
	if (c == 'j')
		k->json = true;
	else if (c == 'g' && !take_number(optarg, 0, GRACE_MAX, &k->grace))
		return cli_usage(k->self,
		    "--grace is 0 to %d seconds, not '%s'", GRACE_MAX, optarg);
	else if (c == 'e' && !cli_expiry(optarg, &k->expires))
		return cli_usage(k->self, CLI_EXPIRY_FAULT, optarg);
	else if (c == 'l' && !take_number(optarg, 1, INT64_MAX, &k->limit))
		return cli_usage(
		    k->self, "--limit is a number from 1, not '%s'", optarg);
	else if (c == 's' && !parse_is_app_name(optarg, strlen(optarg)) &&
		 !hex_is_public_key(optarg, strlen(optarg)))
		return cli_usage(k->self,
		    "--search is part of a name, or a public key or its "
		    "beginning");
	else if (c == 's')
		k->search = optarg;
	else if (c == 'a' && !take_number(optarg, 0, INT64_MAX, &k->after))
		return cli_usage(k->self, "--after is an id, not '%s'", optarg);
	return CLI_OK;
}

static int
take_operand(struct call *k, enum operand kind, int argc, char **argv)
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
	    !parse_is_app_name(k->operand, strlen(k->operand)))
		return cli_usage(k->self,
		    "a name is 1 to 100 characters of "
		    "UTF-8 without control characters, not only white space");
	if (kind != OPERAND_NAME &&
	    !hex_is_public_key(k->operand, strlen(k->operand)))
		return cli_usage(k->self, "a public key is an even number of "
					  "32 to 128 lowercase hex digits");
	return CLI_OK;
}

static int
run_action(const struct command *self, int argc, char **argv,
    const struct config_env *env)
{
	const struct action *action = actions;
	struct call k = {
		.self = self, .grace = GRACE_DEFAULT, .limit = INT64_MAX
	};
	struct app a = { 0 };
	int c, rc = CLI_OK;

	while (strcmp(action->name, self->name) != 0)
		action++;
	while ((c = cli_option(self, argc, argv, action->options, &rc)) !=
	       CLI_OPT_END) {
		if (c != CLI_OPT_STOP)
			rc = take_option(&k, c);
		if (c == CLI_OPT_STOP || rc != CLI_OK)
			return rc;
	}
	rc = take_operand(&k, action->operand, argc, argv);
	if (rc != CLI_OK)
		return rc;
	rc = open_call(&k, env, action->need) ? action->run(&k, &a)
					      : CLI_FAILURE;
	app_clear(&a);
	close_call(&k);
	return rc;
}

#define EXPIRES_LINES                                                          \
	"  --expires WHEN   never (what it is without), a time such as\n"      \
	"                   2030-01-31T00:00:00Z, or from now: 90s, 30m, "     \
	"12h, 7d\n"
#define JSON_LINE "  --json           print JSON\n"

static const struct command commands[] = {
	{ "create", "app create NAME [--expires WHEN] [--json]",
	    "register an app; prints its secret key, once",
	    EXPIRES_LINES JSON_LINE, run_action },
	{ "get", "app get PUBLIC_KEY [--json]", "show an app", JSON_LINE,
	    run_action },
	{ "list", "app list [--search TEXT] [--limit N] [--after ID] [--json]",
	    "list the apps in order of id",
	    "  --search TEXT    only those with TEXT in their name, or at the\n"
	    "                   beginning of their public key\n"
	    "  --limit N        at most N (all)\n"
	    "  --after ID       only those behind this id\n" JSON_LINE,
	    run_action },
	{ "rotate", "app rotate PUBLIC_KEY [--grace SECONDS] [--json]",
	    "give an app a new secret key; prints it, once",
	    "  --grace SECONDS  how long the old one stays valid (86400; 0 "
	    "ends it at once)\n" JSON_LINE,
	    run_action },
	{ "disable", "app disable PUBLIC_KEY [--json]",
	    "refuse an app until it is enabled again", JSON_LINE, run_action },
	{ "enable", "app enable PUBLIC_KEY [--json]",
	    "let a disabled app in again", JSON_LINE, run_action },
	{ "delete", "app delete PUBLIC_KEY [--json]",
	    "delete an app and its users' information", JSON_LINE, run_action },
	{ "expire", "app expire PUBLIC_KEY --expires WHEN [--json]",
	    "refuse an app from some time on", EXPIRES_LINES JSON_LINE,
	    run_action },
	{ "end-previous", "app end-previous PUBLIC_KEY [--json]",
	    "end the validity of the secret key before the last rotation",
	    JSON_LINE, run_action },
	{ "events", "app events [PUBLIC_KEY] [--limit N] [--json]",
	    "show who did what, to one app or to all",
	    "  --limit N        the newest N (1000)\n" JSON_LINE, run_action },
	{ NULL, NULL, NULL, NULL, NULL },
};

int
cli_app(const struct command *self, int argc, char **argv,
    const struct config_env *env)
{
	(void)self;
	return cli_dispatch(commands, "app ", argc, argv, env);
}

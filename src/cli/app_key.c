/*
 * An app's secret key for the commands that sign with one: from the database,
 * which is written down in the audit trail, or from standard input.
 */
#include "auth/material.h"
#include "base/clock.h"
#include "base/hex.h"
#include "cli/cli.h"
#include "data/app_store.h"
#include "data/event_store.h"
#include "data/schema.h"

#include <math.h>
#include <signal.h>
#include <termios.h>
#include <unistd.h>

enum { KEY_CHARS_MAX = 128 };

/* Nobody has a key that the trail doesn't know of. */
static int
note_opened(struct db *db, const char *public_key)
{
	char actor[CLI_ACTOR_MAX];
	enum status st;
	int rc;

	cli_actor(actor);
	st = event_store_note_opened(db, actor, public_key);
	rc = cli_status(db, st, public_key);
	if (st == ST_UNAVAILABLE && db_is_up(db))
		cli_note("What opens a secret key is written into the audit "
			 "trail first: 'postern migrate --grant ROLE' lets a "
			 "role do that.");
	return rc;
}

static int
open_app_key(const struct config *cfg, struct db *db, const char *public_key,
    struct secret *key)
{
	struct app a = { 0 };
	struct seal_label label;
	char expired[DATE_SIZE];
	struct material m = { 0 };
	enum status st;
	int rc = CLI_OK;

	st = app_store_find(db, public_key, &a);
	if (st == ST_OK && a.disabled_at.there)
		rc = cli_fail("the app is disabled, its tokens are refused: "
			      "postern app enable %s",
		    public_key);
	else if (st == ST_OK &&
		 date_seconds(&a.expires_at, INFINITY) <= clock_wall())
		rc = cli_fail("the app expired at %s, its tokens are refused",
		    date_text(&a.expires_at, expired));
	else if (st == ST_OK && a.key_id == NULL && !cfg->goliauth_accept)
		rc = cli_fail("the app's secret is in goliauth's format: "
			      "POSTERN_GOLIAUTH_ROWS=accept lets it be opened");
	else if (st == ST_OK && seal_read_label(a.sealed, &label) && label.own)
		rc = cli_fail("the app brought its own key: what signs with it "
			      "is with its owner: --key FILE");
	else if (st == ST_OK)
		st = material_open(cfg,
		    &(struct sealed){ a.public_key, a.key_id, a.sealed }, &m);
	if (rc == CLI_OK)
		rc = cli_status(db, st, public_key);
	if (rc == CLI_OK)
		rc = note_opened(db, public_key);
	if (rc == CLI_OK)
		secret_move(key, &m.secret);
	material_clear(&m);
	app_clear(&a);
	return rc;
}

int
cli_fetch_key(const char *public_key, const struct config_env *env,
    struct config *cfg, struct secret *key)
{
	struct db *db;
	int rc = CLI_FAILURE;

	db = cli_open(cfg, env, CONFIG_NEED_DATABASE | CONFIG_NEED_MASTER_KEY,
	    schema_required());
	if (db != NULL)
		rc = open_app_key(cfg, db, public_key, key);
	db_free(db);
	return rc;
}

void
cli_load_token_rules(struct config *cfg, const struct config_env *env)
{
	struct buf err = { 0 };

	if (!cli_load(cfg, env, CONFIG_NEED_NONE, &err))
		cli_note("The settings can't be read, tokens go by their "
			 "defaults: %s",
		    buf_str(&err));
	buf_free(&err);
}

/* One line from stdin, without its end; false if it is cut short by a signal
 * or longer than any key. */
static bool
read_line(struct secret *line)
{
	size_t n = 0;
	ssize_t got;
	char c = '\0';

	secret_new(line, KEY_CHARS_MAX + 1);
	while ((got = read(STDIN_FILENO, &c, 1)) == 1 && c != '\n') {
		if (n == line->len)
			return false;
		line->data[n++] = c;
	}
	if (got < 0)
		return false;
	if (n > 0 && line->data[n - 1] == '\r')
		line->data[--n] = '\0';
	line->len = n;
	return true;
}

static void
wake(int sig)
{
	(void)sig; /* read() returns, and the terminal gets its echo back */
}

static bool
read_hidden(struct secret *line)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };
	struct sigaction sa = { .sa_handler = wake }, old[4];
	struct termios shown, hidden;
	size_t i;
	bool ok;

	if (tcgetattr(STDIN_FILENO, &shown) != 0)
		return read_line(line);
	cli_note("secret key (not shown): ");
	for (i = 0; i < 4; i++)
		sigaction(signals[i], &sa, &old[i]);
	hidden = shown;
	hidden.c_lflag &= ~(tcflag_t)(ECHO | ECHONL);
	tcsetattr(STDIN_FILENO, TCSAFLUSH, &hidden);
	ok = read_line(line);
	tcsetattr(STDIN_FILENO, TCSAFLUSH, &shown);
	for (i = 0; i < 4; i++)
		sigaction(signals[i], &old[i], NULL);
	return ok;
}

int
cli_read_key(struct secret *key)
{
	/* A secret key has the same shape as a public one. */
	if (!read_hidden(key) || !hex_is_public_key(key->data, key->len))
		return cli_fail(
		    "standard input has no secret key: one line, "
		    "an even number of 32 to 128 lowercase hex digits");
	return CLI_OK;
}

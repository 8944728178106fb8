/*
 * postern check: does everything that the server needs stand where it should?
 * One line for each question, and what to do where the answer is no.
 */
#include "cli/cli.h"
#include "cli/identity.h"
#include "cli/report.h"
#include "data/event_store.h"
#include "data/requirements_look.h"
#include "data/reseal_store.h"
#include "data/rights.h"
#include "data/schema.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static const int64_t SEALS_MAX = INT64_C(1) << 32;
static const int64_t SEALS_SOON = INT64_C(9) * (INT64_C(1) << 32) / 10;

static const struct cli_opt opts[] = { CLI_JSON, CLI_OPTS_END };

/* Add an answer; gives ok back. */
static bool __attribute__((format(printf, 4, 5)))
answer(struct report *r, bool ok, const char *name, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	report_vadd(r, ok ? REPORT_OK : REPORT_FAIL, name, fmt, ap);
	va_end(ap);
	return ok;
}

static void
check_master_key(struct report *r, const struct config *cfg)
{
	if (cfg->master_key.key.len == 0)
		answer(r, false, "master key",
		    "POSTERN_MASTER_KEY is not set; "
		    "'postern master-key' makes one");
	else
		answer(r, true, "master key", "AES-%zu, fingerprint %s",
		    8 * cfg->master_key.key.len, cfg->master_key.id);
}

static bool
check_database(struct report *r, const struct config *cfg, struct db *db)
{
	struct buf why = { 0 };
	bool ok = db_is_up(db);

	if (!ok) {
		cli_add_db_fault(&why, db);
		identity_advise(&why, cfg, db);
	}
	answer(r, ok, "database", "%s", ok ? "reachable" : buf_str(&why));
	buf_free(&why);
	return ok;
}

/* Is it the one that this program needs? */
static bool
check_schema(struct report *r, struct db *db)
{
	int need = schema_required(), version;
	struct schema_state now = { 0 };
	enum status st;

	st = schema_look(db, &now);
	if (st == ST_OK ? !now.there : db_denied(db))
		return false; /* the facts say why */
	if (st != ST_OK)
		return answer(
		    r, false, "schema", "can't be read: %s", db_error(db));
	version = now.version;
	if (now.serves_from > need)
		return answer(r, false, "schema",
		    "version %d, which programs serve that know version %d; "
		    "this one knows %d: install the newer one, and restart",
		    version, now.serves_from, need);
	if (version < need)
		return answer(r, false, "schema",
		    "version %d, this program "
		    "needs %d: run 'postern migrate'",
		    version, need);
	return answer(
	    r, true, "schema", "version %d, needed %d", version, need);
}

/* arg: a struct buf for each of requirements_table. */
static void
take_fault(void *arg, const struct fact *f, const char *what)
{
	struct buf *text = (struct buf *)arg + (f - requirements_table);

	if (text->len > 0)
		buf_adds(text, "; ");
	buf_adds(text, what);
}

/* The facts, one line each: all, or of a schema that isn't ours or not yet
 * those alone without which it can't be looked at. Are they so? */
static bool
check_facts(struct report *r, struct db *db, bool all)
{
	struct buf what[FACTS] = { { 0 } }, text = { 0 };
	const struct fact *f;
	bool found = false;
	size_t i;

	if (requirements_look(db, NULL, take_fault, what) != ST_OK)
		buf_adds(&what[FACTS - 1], db_error(db));
	for (i = 0; i < FACTS; i++) {
		f = &requirements_table[i];
		buf_reset(&text);
		requirements_add(&text, f, buf_str(&what[i]));
		if (what[i].len > 0 && (all || f->fatal))
			answer(r, false, f->name, "%s", buf_str(&text));
		else if (all && f->good != NULL &&
			 !(found && strcmp(f->name, "sequences") == 0))
			answer(r, true, f->name, "%s", f->good);
		found = found || what[i].len > 0;
		buf_free(&what[i]);
	}
	buf_free(&text);
	return !found;
}

static bool
is_current(const struct config *cfg, const char *key_id)
{
	return cfg->master_key.key.len > 0 &&
	       strcmp(key_id, cfg->master_key.id) == 0;
}

static bool
is_former(const struct config *cfg, const char *key_id)
{
	size_t i;

	for (i = 0; i < cfg->master_keys_old.n; i++)
		if (strcmp(key_id, cfg->master_keys_old.key[i].id) == 0)
			return true;
	return false;
}

static void
check_key_use(
    struct report *r, const struct config *cfg, const struct key_use *use)
{
	if (use->key_id == NULL)
		answer(r, cfg->goliauth_accept, "rows",
		    "%" PRId64 " in goliauth's format, which "
		    "POSTERN_GOLIAUTH_ROWS=%s; 'postern reseal' brings them "
		    "over",
		    use->rows,
		    cfg->goliauth_accept ? "accept opens" : "refuse shuts out");
	else if (is_current(cfg, use->key_id))
		answer(r, true, "rows", "%" PRId64 " under this master key",
		    use->rows);
	else if (is_former(cfg, use->key_id))
		answer(r, true, "rows",
		    "%" PRId64 " under former master key %s: run 'postern "
		    "reseal'",
		    use->rows, use->key_id);
	else
		answer(r, false, "rows",
		    "%" PRId64 " under master key %s, which is neither "
		    "POSTERN_MASTER_KEY nor one of POSTERN_MASTER_KEYS_OLD",
		    use->rows, use->key_id);
}

/* May a former master key go? What goliauth sealed may hang on any. */
static void
check_former_key(struct report *r, const struct config *cfg, const char *key_id,
    const struct key_use *uses, size_t n)
{
	int64_t rows = 0, unnamed = 0;
	size_t i;

	for (i = 0; i < n; i++)
		if (uses[i].key_id == NULL)
			unnamed = uses[i].rows;
		else if (strcmp(uses[i].key_id, key_id) == 0)
			rows = uses[i].rows;
	if (is_current(cfg, key_id))
		answer(r, true, "former key",
		    "%s is POSTERN_MASTER_KEY itself: it can be removed from "
		    "POSTERN_MASTER_KEYS_OLD",
		    key_id);
	else if (rows > 0)
		answer(r, true, "former key",
		    "%s is needed by %" PRId64 " rows", key_id, rows);
	else if (unnamed > 0)
		answer(r, true, "former key",
		    "%s may be needed by rows in goliauth's format", key_id);
	else
		answer(r, true, "former key",
		    "%s can be removed from POSTERN_MASTER_KEYS_OLD: no row "
		    "hangs on it",
		    key_id);
}

/* Where told, it was said already why they can't be read. */
static void
check_rows(struct report *r, const struct config *cfg, struct db *db, bool told)
{
	const struct master_key_list *old = &cfg->master_keys_old;
	struct key_use *uses = NULL;
	size_t i, n = 0;

	if (reseal_store_key_uses(db, &uses, &n) != ST_OK) {
		if (!told)
			answer(r, false, "rows", "can't be read: %s",
			    db_error(db));
		return;
	}
	if (n == 0)
		answer(r, true, "rows", "no apps yet");
	for (i = 0; i < n; i++)
		check_key_use(r, cfg, &uses[i]);
	for (i = 0; i < old->n; i++)
		check_former_key(r, cfg, old->key[i].id, uses, n);
	for (i = 0; i < n; i++)
		free(uses[i].key_id);
	free(uses);
}

static void
check_creators(struct report *r, struct db *db)
{
	struct buf mend = { 0 };

	if (rights_creators(db, &mend) != ST_OK)
		answer(r, false, "creators", "can't be read: %s", db_error(db));
	else if (mend.len > 0)
		report_add(r, REPORT_WARN, "creators",
		    "others can make functions and operators in the schema, "
		    "which Postgres may call in place of its own, as the "
		    "server's role; as the schema's owner, run: %s",
		    buf_str(&mend));
	else
		answer(r, true, "creators",
		    "the owners alone can make things in the schema");
	buf_free(&mend);
}

/* Of two primaries the one that was replaced is known by its timeline. */
static void
check_timeline(struct report *r, struct db *db)
{
	if (db_tells_timeline(db))
		answer(r, true, "timeline",
		    "told: a primary that was replaced is left");
	else
		report_add(r, REPORT_WARN, "timeline",
		    "not told to this role: a primary that was replaced and "
		    "goes on can't be known; where it was revoked, GRANT "
		    "EXECUTE ON FUNCTION pg_control_system(), "
		    "pg_current_wal_lsn(), pg_walfile_name(pg_lsn)");
}

/*
 * A random nonce is good for 2^32 seals under one key (SP 800-38D, section
 * 8.3). Each seal that was stored has its event, one of a reseal may stand for
 * two, and no number of an event comes twice: an upper bound for all master
 * keys together, at the price of one look into an index.
 */
static void
check_seals(struct report *r, struct db *db, bool told)
{
	int64_t events = 0, most;

	if (event_store_last_id(db, &events) != ST_OK) {
		if (!told)
			answer(r, false, "seals", "can't be counted: %s",
			    db_error(db));
		return;
	}
	most = events < INT64_MAX / 2 ? 2 * events : INT64_MAX;
	if (most < SEALS_SOON)
		answer(r, true, "seals",
		    "at most %" PRId64 " by all master keys together; each is "
		    "good for %" PRId64,
		    most, SEALS_MAX);
	else
		answer(r, false, "seals",
		    "up to %" PRId64
		    " by all master keys together, and each is "
		    "good for %" PRId64 ": count the app_events of this one, "
		    "and change it in time",
		    most, SEALS_MAX);
}

static void
check_all(struct report *r, const struct config_env *env)
{
	struct config cfg = { 0 };
	struct buf err = { 0 };
	struct db *db = NULL;
	bool ours = false, told = false;

	if (!cli_load(&cfg, env, CONFIG_NEED_NONE, &err)) {
		answer(r, false, "settings", "%s", buf_str(&err));
		goto out;
	}
	answer(r, true, "settings", "read");
	check_master_key(r, &cfg);
	if (cfg.database_url.len == 0) {
		answer(r, false, "database", "POSTERN_DATABASE_URL is not set");
		goto out;
	}
	db = identity_connect(&cfg, 0);
	if (check_database(r, &cfg, db)) {
		ours = check_schema(r, db);
		told = !check_facts(r, db, ours);
	}
	if (ours) {
		check_rows(r, &cfg, db, told);
		check_seals(r, db, told);
		check_timeline(r, db);
		check_creators(r, db);
	}
	db_free(db);
out:
	config_free(&cfg);
	buf_free(&err);
}

static int
run_command(const struct command *self, int argc, char **argv,
    const struct config_env *env)
{
	struct report r = { 0 };
	int c, rc;

	while ((c = cli_option(self, argc, argv, &rc)) != CLI_OPT_END) {
		if (c == CLI_OPT_STOP)
			return rc;
		r.json = true;
	}
	if (!cli_no_operands(self, argc, argv))
		return CLI_USAGE;
	check_all(&r, env);
	return report_end(&r);
}

const struct command cli_check = {
	.name = "check",
	.synopsis = "check [--json]",
	.help = "check settings, master key, database and schema",
	.opts = opts,
	.details =
	    "A line for each; below it, or in it, is what to do. The exit "
	    "status is 1 if one is FAIL.",
	.run = run_command,
};

/*
 * postern check: does everything that the server needs stand where it should?
 * One line for each question, and what to do where the answer is no.
 */
#include "cli/cli.h"
#include "cli/report.h"
#include "data/app_store.h"
#include "data/schema.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static const struct option opts[] = {
	{ "json", no_argument, NULL, 'j' },
	CLI_OPTIONS_END,
};

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
check_database(struct report *r, struct db *db)
{
	struct buf why = { 0 };
	bool ok = cli_connect(db);

	if (!ok)
		cli_add_db_fault(&why, db);
	answer(r, ok, "database", "%s", ok ? "reachable" : buf_str(&why));
	buf_free(&why);
	return ok;
}

static bool
check_schema(struct report *r, struct db *db)
{
	int version = 0, need = schema_required();

	if (schema_version(db, &version) != ST_OK)
		return answer(
		    r, false, "schema", "can't be read: %s", db_error(db));
	if (version < need)
		return answer(r, false, "schema",
		    "version %d, this program "
		    "needs %d: run 'postern migrate'",
		    version, need);
	answer(r, true, "schema", "version %d, needed %d", version, need);
	if (schema_ready(db) != ST_OK)
		return answer(r, false, "writable",
		    "it is read-only: name "
		    "the primary in POSTERN_DATABASE_URL");
	return answer(r, true, "writable", "yes");
}

static void
check_key_use(
    struct report *r, const struct config *cfg, const struct key_use *use)
{
	if (use->key_id == NULL)
		answer(r, cfg->goliauth_accept, "rows",
		    "%" PRId64 " in goliauth's format, which "
		    "POSTERN_GOLIAUTH_ROWS=%s",
		    use->rows,
		    cfg->goliauth_accept ? "accept opens"
					 : "refuse shuts out; 'accept' opens "
					   "them");
	else if (cfg->master_key.key.len > 0 &&
		 strcmp(use->key_id, cfg->master_key.id) == 0)
		answer(r, true, "rows", "%" PRId64 " under this master key",
		    use->rows);
	else
		answer(r, false, "rows",
		    "%" PRId64 " under master key %s, "
		    "which is not POSTERN_MASTER_KEY",
		    use->rows, use->key_id);
}

static void
check_rows(struct report *r, const struct config *cfg, struct db *db)
{
	struct key_use *uses = NULL;
	size_t i, n = 0;

	if (app_store_key_uses(db, &uses, &n) != ST_OK) {
		answer(r, false, "rows", "can't be read: %s", db_error(db));
		return;
	}
	if (n == 0)
		answer(r, true, "rows", "no apps yet");
	for (i = 0; i < n; i++) {
		check_key_use(r, cfg, &uses[i]);
		free(uses[i].key_id);
	}
	free(uses);
}

static void
check_all(struct report *r, const struct config_env *env)
{
	struct config cfg = { 0 };
	struct buf err = { 0 };
	struct db *db = NULL;

	if (!config_load(&cfg, env, CONFIG_NEED_NONE, &err)) {
		answer(r, false, "settings", "%s", buf_str(&err));
		goto out;
	}
	answer(r, true, "settings", "read");
	check_master_key(r, &cfg);
	if (cfg.database_url.len == 0) {
		answer(r, false, "database", "POSTERN_DATABASE_URL is not set");
		goto out;
	}
	db = db_new(cfg.database_url.data, cfg.query_timeout_ms, 0);
	if (check_database(r, db) && check_schema(r, db))
		check_rows(r, &cfg, db);
	db_free(db);
out:
	config_free(&cfg);
	buf_free(&err);
}

int
cli_check(const struct command *self, int argc, char **argv,
    const struct config_env *env)
{
	struct report r = { 0 };
	int c, rc;

	while ((c = cli_option(self, argc, argv, opts, &rc)) != CLI_OPT_END) {
		if (c == CLI_OPT_STOP)
			return rc;
		r.json = true;
	}
	if (!cli_no_operands(self, argc, argv))
		return CLI_USAGE;
	check_all(&r, env);
	return report_end(&r);
}

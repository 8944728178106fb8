/*
 * postern reseal: brings all stored secrets under the current master key. Shows
 * how far it is, names what it can't open, and ends between two batches when it
 * is told to.
 */
#include "auth/reseal.h"
#include "base/clock.h"
#include "base/hex.h"
#include "cli/cli.h"
#include "data/schema.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/param.h>
#include <unistd.h>

enum { NAMED_MAX = 20 };
enum { BAR_WIDTH = 40, REDRAW_MS = 100 };

static const struct cli_opt opts[] = {
	{ "dry-run", NULL, NULL, 'n',
	    "change nothing, tell what would be done" },
	CLI_JSON,
	CLI_OPTS_END,
};

/* One run. */
struct run {
	struct reseal reseal;
	bool json;
	bool terminal; /* stderr is one: a bar is drawn there */
	bool drawn;
	int64_t last_id;
	int64_t redraw_us;
	int64_t named; /* secrets that were or would have been named */
};

static volatile sig_atomic_t stopped;

static void
on_signal(int sig)
{
	(void)sig;
	stopped = 1;
}

/* The second signal does what it always does. */
static void
catch_signals(void)
{
	struct sigaction sa = { .sa_handler = on_signal,
		.sa_flags = (int)SA_RESETHAND };

	sigemptyset(&sa.sa_mask);
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
}

static void
draw(struct run *k)
{
	static const char full[BAR_WIDTH + 1] =
	    "########################################";
	int64_t now = clock_mono_us();
	double part = 0;

	if (!k->terminal || now < k->redraw_us)
		return;
	k->redraw_us = now + REDRAW_MS * INT64_C(1000);
	if (k->last_id > 0 && k->reseal.after > 0)
		part = MIN(
		    (double)k->reseal.after / (double)k->last_id, (double)1);
	fprintf(stderr, "\r[%-*.*s] %3d %%  %" PRId64 " apps\033[K", BAR_WIDTH,
	    (int)(part * BAR_WIDTH), full, (int)(part * 100),
	    k->reseal.tally.apps);
	fflush(stderr);
	k->drawn = true;
}

static void
undraw(struct run *k)
{
	if (k->drawn)
		fputs("\r\033[K", stderr);
	k->drawn = false;
	k->redraw_us = 0;
}

/* Why a secret stays as it is, and what helps. */
static void
add_reason(struct buf *out, const struct sealed_slot *slot, bool previous,
    enum reseal_fate fate)
{
	switch (fate) {
	case RESEAL_MISSING:
		buf_addf(out, "is under master key %s, which is not set",
		    slot->key_id);
		break;
	case RESEAL_ALTERED:
		buf_adds(out,
		    "is in goliauth's format, but was put there since: "
		    "POSTERN_GOLIAUTH_ROWS=accept trusts it");
		break;
	default:
		buf_addf(out, "can't be opened: 'postern app %s' %s",
		    previous ? "end-previous" : "rotate",
		    previous ? "drops it" : "gives it a new one");
		break;
	}
}

/* Some are named, all are counted. */
static void
name_failure(void *arg, const struct sealed_row *row,
    const struct sealed_slot *slot, enum reseal_fate fate)
{
	struct run *k = arg;
	bool previous = slot == &row->slot[SLOT_PREVIOUS];
	struct buf out = { 0 };

	if (k->named++ >= NAMED_MAX)
		return;
	undraw(k);
	buf_addf(&out, "app %" PRId64 ", ", row->id);
	if (hex_is_public_key(row->public_key, strlen(row->public_key)))
		buf_addf(&out, "public key %s", row->public_key);
	else
		buf_adds(&out, "whose public key is none");
	buf_addf(&out, ": its %ssecret ", previous ? "previous " : "");
	add_reason(&out, slot, previous, fate);
	cli_note("%s", buf_str(&out));
	buf_free(&out);
}

static void
add_key_text(struct buf *out, const struct reseal_key *key, bool dry_run)
{
	static const char *const left[RESEAL_FATES] = {
		[RESEAL_MISSING] = "can't be opened: that key is neither "
				   "POSTERN_MASTER_KEY nor one of "
				   "POSTERN_MASTER_KEYS_OLD",
		[RESEAL_BROKEN] = "can't be opened",
		[RESEAL_ALTERED] = "changed since they came here, and need "
				   "POSTERN_GOLIAUTH_ROWS=accept",
	};
	const char *separator = ": ";
	int i;

	if (key->kind == RESEAL_BY_ID)
		buf_addf(out, "  secrets under master key %s", key->id);
	else
		buf_adds(
		    out, key->kind == RESEAL_GOLIAUTH
			     ? "  secrets in goliauth's format"
			     : "  secrets under other names of master keys");
	for (i = 0; i < RESEAL_FATES; i++) {
		if (key->secrets[i] == 0)
			continue;
		buf_addf(out, "%s%" PRId64 " %s", separator, key->secrets[i],
		    i != RESEAL_DONE ? left[i]
		    : dry_run        ? "would be resealed"
				     : "resealed");
		separator = ", ";
	}
	buf_addc(out, '\n');
}

static void
add_text(struct buf *out, const struct reseal *r)
{
	const struct reseal_tally *t = &r->tally;
	size_t i;

	buf_addf(out, "%" PRId64 " of %" PRId64 " apps %s under master key %s",
	    t->resealed, t->apps, r->dry_run ? "would be resealed" : "resealed",
	    r->cfg->master_key.id);
	if (t->failed > 0)
		buf_addf(out, ", %" PRId64 " can't be opened", t->failed);
	if (t->busy > 0)
		buf_addf(out, ", %" PRId64 " were locked by others", t->busy);
	buf_addc(out, '\n');
	for (i = 0; i < t->nkeys; i++)
		add_key_text(out, &t->keys[i], r->dry_run);
}

static void
add_key_json(struct buf *out, const struct reseal_key *key)
{
	static const char *const fates[RESEAL_FATES] = { "resealed", "missing",
		"broken", "altered" };
	static const char *const kinds[] = { "postern", "goliauth", "other" };
	int i;

	buf_addf(out, "{\"format\":\"%s\",\"key_id\":", kinds[key->kind]);
	if (key->kind == RESEAL_BY_ID)
		buf_addf(out, "\"%s\"", key->id);
	else
		buf_adds(out, "null");
	for (i = 0; i < RESEAL_FATES; i++)
		buf_addf(out, ",\"%s\":%" PRId64, fates[i], key->secrets[i]);
	buf_addc(out, '}');
}

static void
add_json(struct buf *out, const struct reseal *r, bool complete)
{
	const struct reseal_tally *t = &r->tally;
	size_t i;

	buf_addf(out,
	    "{\"complete\":%s,\"dry_run\":%s,\"master_key_id\":\"%s\","
	    "\"apps\":%" PRId64 ",\"resealed\":%" PRId64 ",\"failed\":%" PRId64
	    ",\"busy\":%" PRId64 ",\"secrets\":[",
	    complete ? "true" : "false", r->dry_run ? "true" : "false",
	    r->cfg->master_key.id, t->apps, t->resealed, t->failed, t->busy);
	for (i = 0; i < t->nkeys; i++) {
		if (i > 0)
			buf_addc(out, ',');
		add_key_json(out, &t->keys[i]);
	}
	buf_adds(out, "]}\n");
}

static int
report(struct run *k, bool complete)
{
	const struct reseal_tally *t = &k->reseal.tally;
	struct buf out = { 0 };
	int rc;

	if (k->named > NAMED_MAX)
		cli_note("... and %" PRId64 " more", k->named - NAMED_MAX);
	if (k->json)
		add_json(&out, &k->reseal, complete);
	else
		add_text(&out, &k->reseal);
	rc = cli_write(&out);
	return complete && t->failed == 0 && t->busy == 0 ? rc : CLI_FAILURE;
}

static int
run(struct run *k)
{
	struct reseal *r = &k->reseal;
	bool more = true;
	enum status st;

	catch_signals();
	k->terminal = isatty(STDERR_FILENO) == 1;
	st = reseal_store_last_id(r->db, &k->last_id);
	while (st == ST_OK && more && !stopped) {
		draw(k);
		st = reseal_step(r, &more);
	}
	undraw(k);
	if (st != ST_OK)
		(void)cli_status(r->db, st, NULL);
	if (more)
		cli_note("postern: %s; what is done stays done: run it again "
			 "to go on",
		    st != ST_OK ? "it did not come to its end"
				: "stopped before its end");
	return report(k, !more);
}

static int
run_command(const struct command *self, int argc, char **argv,
    const struct config_env *env)
{
	struct config cfg = { 0 };
	struct run k = { .reseal.failed = name_failure };
	char actor[CLI_ACTOR_MAX];
	int c, rc;

	while ((c = cli_option(self, argc, argv, &rc)) != CLI_OPT_END) {
		if (c == CLI_OPT_STOP)
			return rc;
		k.json |= c == 'j';
		k.reseal.dry_run |= c == 'n';
	}
	if (!cli_no_operands(self, argc, argv))
		return CLI_USAGE;
	cli_actor(actor);
	k.reseal.cfg = &cfg;
	k.reseal.actor = actor;
	k.reseal.arg = &k;
	k.reseal.stopped = &stopped;
	k.reseal.db = cli_open(&cfg, env,
	    CONFIG_NEED_DATABASE | CONFIG_NEED_MASTER_KEY, schema_required());
	rc = k.reseal.db != NULL ? run(&k) : CLI_FAILURE;
	db_free(k.reseal.db);
	config_free(&cfg);
	return rc;
}

const struct command cli_reseal = {
	.name = "reseal",
	.synopsis = "reseal [--dry-run] [--json]",
	.help = "re-encrypt all secrets under the current master key",
	.opts = opts,
	.details =
	    "Secrets under a key of POSTERN_MASTER_KEYS_OLD, and those in "
	    "goliauth's format, are sealed under POSTERN_MASTER_KEY. The "
	    "service goes on meanwhile; stopped at any point, it can be "
	    "run again.",
	.run = run_command,
};

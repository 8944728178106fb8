/*
 * What is done between requests: when what is due, and the purge of jtis that
 * were used up. How uses are written is in uses.c, how deleted apps go in
 * sweep.c.
 */
#include "auth/tend.h"

#include "auth/sweep.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "data/jti_store.h"

#include <stdlib.h>
#include <sys/param.h>

enum { PURGE_MS = 60000 };

struct tend {
	struct db *db;
	struct uses *uses;
	struct sweep *sweep;
	bool single_use;  /* tokens are good once: there are used jtis */
	int64_t purge_us; /* when they are looked through next */
};

static int64_t
next_purge(const struct tend *t)
{
	return t->single_use ? clock_mono_us() + PURGE_MS * 1000 : INT64_MAX;
}

struct tend *
tend_new(const struct config *cfg, struct db *db)
{
	struct tend *t = mem_alloc(sizeof *t);

	t->db = db;
	t->uses = uses_new(db);
	t->sweep = sweep_new(db);
	t->single_use = cfg->jwt_single_use;
	t->purge_us = next_purge(t);
	return t;
}

void
tend_free(struct tend *t)
{
	if (t == NULL)
		return;
	uses_free(t->uses);
	sweep_free(t->sweep);
	free(t);
}

struct uses *
tend_uses(struct tend *t)
{
	return t->uses;
}

int64_t
tend_due_us(const struct tend *t)
{
	int64_t due = MIN(uses_due_us(t->uses), sweep_due_us(t->sweep));

	return MIN(due, t->purge_us);
}

static void
purge_jtis(struct tend *t)
{
	if (db_is_up(t->db) && jti_purge(t->db) != ST_OK)
		log_warn("jti_purge_failed", LOG_S("error", db_error(t->db)));
	t->purge_us = next_purge(t);
}

void
tend_some(struct tend *t)
{
	int64_t now = clock_mono_us();

	if (now >= uses_due_us(t->uses))
		uses_flush(t->uses);
	if (now >= sweep_due_us(t->sweep))
		sweep_tend(t->sweep);
	if (now >= t->purge_us)
		purge_jtis(t);
}

void
tend_finish(struct tend *t)
{
	uses_flush_all(t->uses);
	/* Not every process lives for a round: a CGI has one request. */
	sweep_tend(t->sweep);
	if (t->single_use)
		purge_jtis(t);
}

void
tend_deleted(struct tend *t, int64_t app_id)
{
	sweep_app(t->sweep, app_id);
}

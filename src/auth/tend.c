/*
 * What is done between requests, and when: uses are written (uses.c), what
 * deleted apps left is swept (sweep.c), used jtis are purged (jti_purge.c).
 */
#include "auth/tend.h"

#include "auth/sweep.h"
#include "auth/jti_purge.h"
#include "base/clock.h"
#include "base/mem.h"

#include <stdlib.h>
#include <sys/param.h>

struct tend {
	struct uses *uses;
	struct sweep *sweep;
	struct jti_purge *jtis;
};

struct tend *
tend_new(const struct config *cfg, struct db *db)
{
	struct tend *t = mem_alloc(sizeof *t);

	t->uses = uses_new(db);
	t->sweep = sweep_new(db);
	t->jtis = jti_purge_new(cfg, db);
	return t;
}

void
tend_free(struct tend *t)
{
	if (t == NULL)
		return;
	uses_free(t->uses);
	sweep_free(t->sweep);
	jti_purge_free(t->jtis);
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

	return MIN(due, jti_purge_due_us(t->jtis));
}

void
tend_some(struct tend *t)
{
	int64_t now = clock_mono_us();

	if (now >= uses_due_us(t->uses))
		uses_flush(t->uses);
	if (now >= sweep_due_us(t->sweep))
		sweep_tend(t->sweep);
	if (now >= jti_purge_due_us(t->jtis))
		jti_purge_some(t->jtis);
}

void
tend_finish(struct tend *t)
{
	uses_flush_all(t->uses);
	/* Not every process lives for a round: a CGI has one request. */
	sweep_tend(t->sweep);
	jti_purge_some(t->jtis);
}

void
tend_deleted(struct tend *t, int64_t app_id)
{
	sweep_app(t->sweep, app_id);
}

/*
 * The purge of jtis that were used up, where tokens are good once: each minute
 * some of those whose tokens have long expired.
 */
#include "auth/jti_purge.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "data/jti_store.h"

#include <stdbool.h>
#include <stdlib.h>

enum { PURGE_MS = 60000 };

struct jti_purge {
	struct db *db;
	bool kept; /* tokens are good once */
	int64_t due_us;
};

static int64_t
next_due(const struct jti_purge *u)
{
	return u->kept ? clock_mono_us() + PURGE_MS * 1000 : INT64_MAX;
}

struct jti_purge *
jti_purge_new(const struct config *cfg, struct db *db)
{
	struct jti_purge *u = mem_alloc(sizeof *u);

	u->db = db;
	u->kept = cfg->jwt_single_use;
	u->due_us = next_due(u);
	return u;
}

void
jti_purge_free(struct jti_purge *u)
{
	free(u);
}

int64_t
jti_purge_due_us(const struct jti_purge *u)
{
	return u->due_us;
}

void
jti_purge_some(struct jti_purge *u)
{
	if (u->kept && db_is_up(u->db) && jti_purge(u->db) != ST_OK)
		log_warn("jti_purge_failed", LOG_S("error", db_error(u->db)));
	u->due_us = next_due(u);
}

/*
 * What deleted apps leave behind, taken away in pieces between requests.
 * Whoever waits for a request's answer never waits for more than one piece.
 */
#include "auth/sweep.h"

#include "base/clock.h"
#include "base/crypto.h"
#include "base/log.h"
#include "base/mem.h"
#include "data/sweep_store.h"

#include <stdlib.h>
#include <sys/param.h>

enum { FIRST_MS = 1000, ROUND_MS = 30000, PACE_MS = 20 };

struct sweep {
	struct db *db;
	struct sweep_place place; /* app_id 0 = with none */
	int64_t skip; /* in this round; others are at them, or hold them */
	int64_t due_us;
};

/* Between once and twice as long: workers that started together don't look
 * together. */
static int64_t
due_in(int64_t ms)
{
	uint32_t r;

	crypto_random(&r, sizeof r);
	return clock_mono_us() + (ms + r % ms) * 1000;
}

struct sweep *
sweep_new(struct db *db)
{
	struct sweep *s = mem_alloc(sizeof *s);

	s->db = db;
	s->due_us = due_in(FIRST_MS);
	return s;
}

void
sweep_free(struct sweep *s)
{
	free(s);
}

int64_t
sweep_due_us(const struct sweep *s)
{
	return s->due_us;
}

static void
take_piece(struct sweep *s)
{
	enum sweep_left left = SWEEP_HELD;
	int64_t begun = clock_mono_us(), now;
	enum status st = sweep_store_piece(s->db, &s->place, &left);

	if (st != ST_OK)
		log_warn("sweep_failed", LOG_S("error", db_error(s->db)));
	if (left == SWEEP_HELD)
		s->skip++;
	if (left != SWEEP_MORE)
		s->place = (struct sweep_place){ 0 };
	/* Requests have at least as much of the worker as this. */
	now = clock_mono_us();
	s->due_us = now + MAX(now - begun, PACE_MS * 1000);
}

void
sweep_tend(struct sweep *s)
{
	enum status st = ST_OK;

	if (!db_is_up(s->db)) {
		s->due_us = due_in(FIRST_MS);
		return;
	}
	if (s->place.app_id == 0)
		st = sweep_store_find(s->db, s->skip, &s->place.app_id);
	if (st == ST_OK) {
		take_piece(s);
		return;
	}
	if (st != ST_NOT_FOUND)
		log_warn("sweep_failed", LOG_S("error", db_error(s->db)));
	s->skip = 0;
	s->due_us = due_in(ROUND_MS);
}

void
sweep_app(struct sweep *s, int64_t app_id)
{
	s->place = (struct sweep_place){ .app_id = app_id };
	take_piece(s);
}

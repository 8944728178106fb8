/*
 * When secrets were last used: from many requests to few writes. What is noted
 * stands apart from the key cache: an entry that goes takes no use with it.
 *
 * A round's notes are written in pieces, oldest first, with requests between
 * them: all at once would hold the worker for as long as hundreds of requests
 * take. The next round begins with the first piece; what is noted from then on
 * comes after the notes that are being written, and waits for its own turn.
 */
#include "auth/uses.h"

#include "base/clock.h"
#include "base/crypto.h"
#include "base/mem.h"
#include "data/use_store.h"

#include <stdlib.h>
#include <string.h>
#include <sys/param.h>

enum { ROUND_MS = 60000, NOTED_MAX = 16384, PIECE_MAX = 512 };
enum { LAST_US = 5000000 }; /* for what is left at the end */

struct uses {
	struct db *db;
	struct app_use *noted; /* NOTED_MAX of them */
	size_t n;
	size_t ended;   /* of those, from rounds that ended; not yet written */
	unsigned round; /* never 0, which is an entry's beginning */
	int64_t due_us;
};

/* Workers that started together don't write together. */
static int64_t
next_due(void)
{
	uint32_t r;

	crypto_random(&r, sizeof r);
	return clock_mono_us() +
	       (int64_t)(ROUND_MS / 2 + r % (ROUND_MS / 2)) * 1000;
}

struct uses *
uses_new(struct db *db)
{
	struct uses *u = mem_alloc(sizeof *u);

	u->db = db;
	u->noted = mem_alloc(NOTED_MAX * sizeof *u->noted);
	u->round = 1;
	u->due_us = next_due();
	return u;
}

void
uses_free(struct uses *u)
{
	if (u == NULL)
		return;
	free(u->noted);
	free(u);
}

void
uses_note(struct uses *u, struct key_entry *e, bool previous)
{
	if (e->uses_round[previous] == u->round)
		return;
	if (u->n == NOTED_MAX)
		uses_flush(u);
	if (u->n == NOTED_MAX)
		return; /* the database is away */
	e->uses_round[previous] = u->round;
	u->noted[u->n++] = (struct app_use){ .app_id = e->app.id,
		.previous = previous,
		.rotated_us = e->rotated_us,
		.at_us = clock_mono_us() };
	if (u->n == NOTED_MAX)
		u->due_us = 0;
}

int64_t
uses_due_us(const struct uses *u)
{
	return u->n > 0 ? u->due_us : INT64_MAX;
}

/* Write the oldest; false when there is nothing, or the database is away. */
static bool
write_piece(struct uses *u)
{
	size_t ended = u->ended > 0 ? u->ended : u->n;
	size_t n = MIN(ended, PIECE_MAX);

	if (n == 0 || !db_is_up(u->db) ||
	    use_store_note(u->db, u->noted, n) != ST_OK)
		return false;
	if (u->ended == 0)
		u->round = u->round + 1 != 0 ? u->round + 1 : 1;
	u->n -= n;
	u->ended = ended - n;
	memmove(u->noted, u->noted + n, u->n * sizeof *u->noted);
	return true;
}

void
uses_flush(struct uses *u)
{
	bool written = write_piece(u);

	u->due_us = written && u->ended > 0 ? 0 : next_due();
}

void
uses_flush_all(struct uses *u)
{
	int64_t until = clock_mono_us() + LAST_US;

	while (write_piece(u) && clock_mono_us() < until)
		;
}

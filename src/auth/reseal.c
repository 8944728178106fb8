/*
 * All rows from former master keys to the current one (postern reseal). Nothing
 * is locked between reading a row and writing it: what changed meanwhile is
 * read and tried again.
 */
#include "auth/reseal.h"

#include "auth/material.h"
#include "base/buf.h"
#include "base/hex.h"
#include "base/mem.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 500 };
/* A busy row is tried again after pauses that grow; all of them together are
 * bounded, so that a table locked by someone for long is told and left. */
enum { TRIES = 12, PAUSE_MIN_MS = 5, PAUSES_MAX_MS = 10000 };

static bool
is_key_id(const char *s)
{
	unsigned char raw[SEAL_KEY_ID_LEN / 2];

	return strlen(s) == SEAL_KEY_ID_LEN &&
	       hex_decode(s, SEAL_KEY_ID_LEN, raw, sizeof raw);
}

static struct reseal_key *
find_key(struct reseal_tally *t, const struct reseal_key *want)
{
	struct reseal_key *k;

	for (k = t->keys; k < t->keys + t->nkeys; k++)
		if (k->kind == want->kind && strcmp(k->id, want->id) == 0)
			return k;
	return NULL;
}

/* Where secrets under this id are counted. Two places are kept for those that
 * have no id. */
static struct reseal_key *
key_of(struct reseal_tally *t, const char *key_id)
{
	struct reseal_key *k, want = { .kind = RESEAL_GOLIAUTH };

	if (key_id != NULL && is_key_id(key_id)) {
		want.kind = RESEAL_BY_ID;
		strcpy(want.id, key_id);
	} else if (key_id != NULL) {
		want.kind = RESEAL_OTHER;
	}
	k = find_key(t, &want);
	if (k != NULL)
		return k;
	if (want.kind == RESEAL_BY_ID && t->nkeys >= RESEAL_KEYS_MAX - 2) {
		want = (struct reseal_key){ .kind = RESEAL_OTHER };
		k = find_key(t, &want);
		if (k != NULL)
			return k;
	}
	t->keys[t->nkeys] = want;
	return &t->keys[t->nkeys++];
}

static bool
is_done(const struct reseal *r, const struct sealed_slot *slot)
{
	return slot->sealed == NULL ||
	       (slot->key_id != NULL &&
		   strcmp(slot->key_id, r->cfg->master_key.id) == 0);
}

static enum reseal_fate
seal_slot(const struct reseal *r, const struct sealed_row *row,
    struct sealed_slot *slot)
{
	const struct sealed was = { row->public_key, slot->key_id,
		slot->sealed };
	struct buf anew = { 0 };
	enum status st;

	if (slot->key_id == NULL && row->altered && !r->cfg->goliauth_accept)
		return RESEAL_ALTERED;
	st = material_reseal(r->cfg, &was, &anew);
	if (st == ST_OK)
		slot->anew = mem_strdup(buf_str(&anew));
	buf_free(&anew);
	if (st == ST_OK)
		return RESEAL_DONE;
	return st == ST_KEY_MISSING && is_key_id(slot->key_id) ? RESEAL_MISSING
							       : RESEAL_BROKEN;
}

/* What one row came to, before anything is written. */
struct outcome {
	enum reseal_fate fate[SLOTS];
	bool touched[SLOTS]; /* not under the current master key */
	bool to_write;
	bool failed;
};

static void
seal_row(const struct reseal *r, struct sealed_row *row, struct outcome *o)
{
	int i;

	memset(o, 0, sizeof *o);
	for (i = 0; i < SLOTS; i++) {
		if (is_done(r, &row->slot[i]))
			continue;
		o->touched[i] = true;
		o->fate[i] = seal_slot(r, row, &row->slot[i]);
		o->to_write |= o->fate[i] == RESEAL_DONE;
		o->failed |= o->fate[i] != RESEAL_DONE;
	}
}

static void
count(struct reseal *r, const struct sealed_row *row, const struct outcome *o)
{
	const struct sealed_slot *slot;
	int i;

	r->tally.resealed += o->to_write;
	r->tally.failed += o->failed;
	for (i = 0; i < SLOTS; i++) {
		if (!o->touched[i])
			continue;
		slot = &row->slot[i];
		key_of(&r->tally, slot->key_id)->secrets[o->fate[i]]++;
		if (o->fate[i] != RESEAL_DONE && r->failed != NULL)
			r->failed(r->arg, row, slot, o->fate[i]);
	}
}

/* Seal and write some rows; the ids of those that were busy stay in *ids. */
static enum status
attempt(struct reseal *r, struct sealed_row *rows, size_t n, int64_t *ids,
    size_t *nids)
{
	struct outcome *o = mem_alloc(n * sizeof *o);
	enum status st = ST_OK;
	bool any = false;
	size_t i;

	for (i = 0; i < n; i++) {
		seal_row(r, &rows[i], &o[i]);
		any |= o[i].to_write;
	}
	if (any && !r->dry_run)
		st = reseal_store_write(
		    r->db, r->actor, r->cfg->master_key.id, rows, n);
	*nids = 0;
	for (i = 0; st == ST_OK && i < n; i++) {
		if (!o[i].to_write || r->dry_run || rows[i].written)
			count(r, &rows[i], &o[i]);
		else
			ids[(*nids)++] = rows[i].id;
	}
	free(o);
	return st;
}

static void
free_rows(struct sealed_row *rows, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		sealed_row_clear(&rows[i]);
	free(rows);
}

/* Those that were busy, until none is or patience ends. */
static enum status
retry(struct reseal *r, int64_t *ids, size_t nids)
{
	struct sealed_row *rows = NULL;
	enum status st = ST_OK;
	int pause_ms = PAUSE_MIN_MS, tries;
	size_t n;

	for (tries = 0; st == ST_OK && nids > 0 && tries < TRIES; tries++) {
		if (r->waited_ms + pause_ms > PAUSES_MAX_MS ||
		    (r->stopped != NULL && *r->stopped))
			break;
		(void)poll(NULL, 0, pause_ms);
		r->waited_ms += pause_ms;
		pause_ms *= 2;
		st = reseal_store_again(r->db, ids, nids, &rows, &n);
		if (st != ST_OK)
			break;
		st = attempt(r, rows, n, ids, &nids);
		free_rows(rows, n);
	}
	r->tally.busy += (int64_t)nids;
	return st;
}

enum status
reseal_step(struct reseal *r, bool *more)
{
	int64_t ids[BATCH];
	struct sealed_row *rows = NULL;
	enum status st;
	size_t n, nids;

	if (!r->begun)
		r->after = INT64_MIN;
	r->begun = true;
	st = reseal_store_page(r->db, r->after, BATCH, &rows, &n);
	if (st != ST_OK)
		return st;
	st = attempt(r, rows, n, ids, &nids);
	if (st == ST_OK)
		st = retry(r, ids, nids);
	if (st == ST_OK) {
		r->tally.apps += (int64_t)n;
		r->after = n > 0 ? rows[n - 1].id : r->after;
		*more = n == BATCH;
	}
	free_rows(rows, n);
	return st;
}

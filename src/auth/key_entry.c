/*
 * What is kept of one app, and until when: the last who holds it wipes it. Each
 * is one block: the struct, and its texts behind it. Only the secrets lie
 * elsewhere, in the arena.
 */
#include "auth/key_entry.h"

#include "base/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static size_t
size_of(const char *s)
{
	return s != NULL ? strlen(s) + 1 : 0;
}

/* A copy of s at *at, which moves on behind it; NULL gives NULL. */
static const char *
pack(char **at, const char *s)
{
	char *copy = *at;

	if (s == NULL)
		return NULL;
	*at = stpcpy(copy, s) + 1;
	return copy;
}

struct key_entry *
key_entry_new(const struct app *row, bool sealed)
{
	const char *kept = sealed ? row->sealed : NULL;
	char created[DATE_SIZE], updated[DATE_SIZE];
	const char *created_at = date_text(&row->created_at, created);
	const char *updated_at = date_text(&row->updated_at, updated);
	struct key_entry *e = mem_alloc(
	    sizeof *e + size_of(row->name) + size_of(row->public_key) +
	    size_of(created_at) + size_of(updated_at) + size_of(kept));
	char *at = e->text;

	e->refs = 1;
	e->app.id = row->id;
	e->app.public_key = pack(&at, row->public_key);
	e->app.name = pack(&at, row->name);
	e->app.created_at = pack(&at, created_at);
	e->app.updated_at = pack(&at, updated_at);
	e->app.sealed = pack(&at, kept);
	e->expires = date_seconds(&row->expires_at, INFINITY);
	e->previous_until = date_seconds(&row->previous_valid_until, 0);
	e->rotated_us = row->rotated_at.us;
	e->disabled = row->disabled_at.there;
	return e;
}

void
key_entry_release(struct key_entry *e)
{
	if (e == NULL || --e->refs > 0)
		return;
	material_clear(&e->current);
	material_clear(&e->previous);
	free(e);
}

/*
 * Entries of the key cache, each one block: the struct, and its texts behind
 * it. Only the secrets lie elsewhere, in the arena.
 */
#include "auth/key_entry.h"

#include "base/mem.h"

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
	struct key_entry *e =
	    mem_alloc(sizeof *e + size_of(row->name) +
		      size_of(row->public_key) + size_of(row->created_at) +
		      size_of(row->updated_at) + size_of(kept));
	char *at = e->text;

	e->refs = 1;
	e->app.id = row->id;
	e->app.public_key = pack(&at, row->public_key);
	e->app.name = pack(&at, row->name);
	e->app.created_at = pack(&at, row->created_at);
	e->app.updated_at = pack(&at, row->updated_at);
	e->app.sealed = pack(&at, kept);
	e->expires = row->expires_epoch;
	e->previous_until = row->previous_epoch;
	e->rotated_us = row->rotated_us;
	e->disabled = row->disabled;
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

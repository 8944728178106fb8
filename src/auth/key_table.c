/*
 * How an entry is found by its key, among as many as there are: a hash table,
 * without age, order or bound. Chain c holds the hashes that end in c's bits:
 * in all of mask's, or in one less as long as chain c has not been split yet.
 */
#include "auth/key_table.h"

#include "base/crypto.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>
#include <sys/param.h>

enum { CHAINS_FIRST = 64 }; /* a power of two */

/*
 * Multilinear over 32-bit words, modulo 2^64, of which the upper half counts.
 * Short keys are as if NULs came behind them, which no key has. What is too
 * long to be a key is told apart by comparing.
 */
static uint32_t
hash_of(const struct key_table *t, const char *public_key)
{
	size_t i, n = MIN(strlen(public_key), 4 * KEY_TABLE_WORDS);
	uint64_t sum = t->seed[KEY_TABLE_WORDS];
	uint32_t word = 0;

	for (i = 0; i < n / 4; i++) {
		memcpy(&word, public_key + 4 * i, sizeof word);
		sum += t->seed[i] * word;
	}
	if (n % 4 != 0) {
		word = 0;
		memcpy(&word, public_key + 4 * i, n % 4);
		sum += t->seed[i] * word;
	}
	return (uint32_t)(sum >> 32);
}

static struct key_entry **
chain_of(const struct key_table *t, uint32_t hash)
{
	size_t c = hash & t->mask;

	return &t->chains[c < t->n ? c : c & (t->mask >> 1)];
}

void
key_table_init(struct key_table *t)
{
	t->n = CHAINS_FIRST;
	t->mask = CHAINS_FIRST - 1;
	t->len = 0;
	t->chains = mem_alloc(t->n * sizeof *t->chains);
	crypto_random(t->seed, sizeof t->seed);
}

void
key_table_free(struct key_table *t)
{
	free(t->chains);
	t->chains = NULL;
}

struct key_entry *
key_table_find(const struct key_table *t, const char *public_key)
{
	uint32_t hash = hash_of(t, public_key);
	struct key_entry *e;

	for (e = *chain_of(t, hash); e != NULL; e = e->next)
		if (e->hash == hash &&
		    strcmp(e->app.public_key, public_key) == 0)
			break;
	return e;
}

/* One more chain: some entries of the one that it was a part of. */
static void
split(struct key_table *t)
{
	size_t c = t->n;
	struct key_entry **from, **to, *e;

	if (c > t->mask) {
		t->mask = 2 * t->mask + 1;
		t->chains =
		    mem_realloc(t->chains, (t->mask + 1) * sizeof *t->chains);
	}
	from = &t->chains[c & (t->mask >> 1)];
	to = &t->chains[c];
	t->n++;
	while ((e = *from) != NULL) {
		if ((e->hash & t->mask) == c) {
			*from = e->next;
			*to = e;
			to = &e->next;
		} else {
			from = &e->next;
		}
	}
	*to = NULL;
}

void
key_table_add(struct key_table *t, struct key_entry *e)
{
	struct key_entry **chain;

	if (++t->len > t->n)
		split(t);
	e->hash = hash_of(t, e->app.public_key);
	chain = chain_of(t, e->hash);
	e->next = *chain;
	*chain = e;
}

void
key_table_remove(struct key_table *t, struct key_entry *e)
{
	struct key_entry **p = chain_of(t, e->hash);

	while (*p != e)
		p = &(*p)->next;
	*p = e->next;
	e->next = NULL;
	t->len--;
}

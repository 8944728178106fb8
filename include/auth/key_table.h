#ifndef POSTERN_AUTH_KEY_TABLE_H
#define POSTERN_AUTH_KEY_TABLE_H

#include "auth/key_entry.h"
#include <stddef.h>
#include <stdint.h>

/*
 * Entries by public key: a hash table, chained through the entries. It grows
 * by one chain for each entry above the number of chains (linear hashing:
 * W. Litwin, VLDB 1980), so no request pays for all the others; and it does
 * not shrink.
 *
 * Strangers choose keys, which are kept as unknown ones. The hash is therefore
 * keyed, with random numbers of this table: two different keys meet with a
 * probability of 2^-32 (D. Lemire, O. Kaser, "Strongly universal string
 * hashing is fast", 2014).
 */
enum { KEY_TABLE_WORDS = 128 / 4 }; /* a public key's, of 32 bits */

struct key_table {
	struct key_entry **chains;
	size_t n;    /* of chains */
	size_t mask; /* room for chains, a power of two, less one */
	size_t len;  /* of entries */
	uint64_t seed[KEY_TABLE_WORDS + 1];
};

void key_table_init(struct key_table *t);

/* The table must be empty. */
void key_table_free(struct key_table *t);

/* Borrowed; NULL if there is none. */
struct key_entry *key_table_find(
    const struct key_table *t, const char *public_key);

/* None of the same key may be there. The entry stays the caller's. */
void key_table_add(struct key_table *t, struct key_entry *e);

/* The entry must be there. */
void key_table_remove(struct key_table *t, struct key_entry *e);

#endif

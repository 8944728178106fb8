/* auth/key_table.h: many keys, growth, removal, and keys that meet. */

#include "auth/key_table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { MANY = 20000, FEW = 500, ROUNDS = 200000 };

static char *
key_of(unsigned n)
{
	static char text[65];

	snprintf(text, sizeof text, "%064x", n);
	return text;
}

static struct key_entry *
make(char *public_key)
{
	struct app row = { .public_key = public_key };

	return key_entry_new(&row, false);
}

/* Every entry is in the chain of its hash, and none is missing or left over.
 * Returns how many entries are looked at to find each of them once. */
static size_t
assert_whole(const struct key_table *t)
{
	const struct key_entry *e;
	size_t c, n = 0, len, looks = 0;

	assert_int_equal(t->mask & (t->mask + 1), 0);
	assert_in_range(t->n, t->mask / 2 + 1, t->mask + 1);
	assert_in_range(t->len, 0, t->n);
	for (c = 0; c < t->n; c++) {
		len = 0;
		for (e = t->chains[c]; e != NULL; e = e->next, len++) {
			assert_int_equal(
			    e->hash & (t->mask >> 1), c & (t->mask >> 1));
			assert_ptr_equal(
			    key_table_find(t, e->app.public_key), e);
		}
		looks += len * (len + 1) / 2;
		n += len;
	}
	assert_int_equal(n, t->len);
	return looks;
}

/* Keys that differ in few digits, as a stranger may choose them, are spread as
 * by chance: one to two looks for each are what is expected. */
static void
test_many(void **state)
{
	static struct key_entry *e[MANY];
	struct key_table t;
	unsigned i;

	(void)state;
	key_table_init(&t);
	for (i = 0; i < MANY; i++) {
		assert_null(key_table_find(&t, key_of(i)));
		e[i] = make(key_of(i));
		key_table_add(&t, e[i]);
		if (i < FEW || i % 997 == 0)
			(void)assert_whole(&t);
	}
	assert_in_range(assert_whole(&t), MANY, 4 * MANY);
	assert_int_equal(t.len, MANY);
	for (i = 0; i < MANY; i++)
		assert_ptr_equal(key_table_find(&t, key_of(i)), e[i]);
	for (i = 0; i < MANY; i++) {
		key_table_remove(&t, e[i]);
		assert_null(key_table_find(&t, key_of(i)));
		key_entry_release(e[i]);
		if (i % 997 == 0)
			(void)assert_whole(&t);
	}
	assert_int_equal(t.len, 0);
	key_table_free(&t);
}

/* Added and removed at random, against a list. */
static void
random_rounds(struct key_table *t, unsigned keys, unsigned rounds)
{
	static struct key_entry *there[FEW];
	unsigned i, k;

	srandom(1);
	for (i = 0; i < rounds; i++) {
		k = (unsigned)random() % keys;
		assert_ptr_equal(key_table_find(t, key_of(k)), there[k]);
		if (there[k] == NULL) {
			there[k] = make(key_of(k));
			key_table_add(t, there[k]);
		} else {
			key_table_remove(t, there[k]);
			key_entry_release(there[k]);
			there[k] = NULL;
		}
		if (i % 1009 == 0)
			(void)assert_whole(t);
	}
	for (k = 0; k < keys; k++) {
		if (there[k] == NULL)
			continue;
		key_table_remove(t, there[k]);
		key_entry_release(there[k]);
		there[k] = NULL;
	}
	assert_int_equal(t->len, 0);
}

static void
test_random(void **state)
{
	struct key_table t;

	(void)state;
	key_table_init(&t);
	random_rounds(&t, FEW, ROUNDS);
	key_table_free(&t);
}

/* Without a seed all hashes are the same: one chain, and still no mistake. */
static void
test_all_meet(void **state)
{
	struct key_table t;

	(void)state;
	key_table_init(&t);
	memset(t.seed, 0, sizeof t.seed);
	random_rounds(&t, FEW, ROUNDS / 20);
	key_table_free(&t);
}

/* Nobody can tell from one process where keys meet in another. */
static void
test_seed(void **state)
{
	struct key_table a, b;
	struct key_entry *e = make(key_of(1)), *f = make(key_of(1));

	(void)state;
	key_table_init(&a);
	key_table_init(&b);
	assert_memory_not_equal(a.seed, b.seed, sizeof a.seed);
	key_table_add(&a, e);
	key_table_add(&b, f);
	assert_int_not_equal(e->hash, f->hash); /* but for one in 2^32 */
	key_table_remove(&a, e);
	key_table_remove(&b, f);
	key_entry_release(e);
	key_entry_release(f);
	key_table_free(&a);
	key_table_free(&b);
}

/* Of any length that keys have, and longer: told apart by each character. */
static void
test_lengths(void **state)
{
	struct key_entry *e[140], *other;
	struct key_table t;
	char key[142];
	size_t len, i, meet = 0;

	(void)state;
	key_table_init(&t);
	for (len = 0; len < 140; len++) {
		memset(key, 'a', len);
		key[len] = '\0';
		assert_null(key_table_find(&t, key));
		e[len] = make(key);
		key_table_add(&t, e[len]);
	}
	for (len = 0; len < 140; len++) {
		memset(key, 'a', len);
		key[len] = '\0';
		assert_ptr_equal(key_table_find(&t, key), e[len]);
		for (i = 0; i < len; i++) {
			key[i] = 'b';
			assert_null(key_table_find(&t, key));
			other = make(key);
			key_table_add(&t, other);
			/* Each word of a key counts in its hash. */
			if (i < 4 * KEY_TABLE_WORDS)
				meet += other->hash == e[len]->hash;
			key_table_remove(&t, other);
			key_entry_release(other);
			key[i] = 'a';
		}
	}
	assert_in_range(meet, 0, 2); /* of 9,664 pairs */
	for (len = 0; len < 140; len++) {
		key_table_remove(&t, e[len]);
		key_entry_release(e[len]);
	}
	key_table_free(&t);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_all_meet),
		cmocka_unit_test(test_seed),
		cmocka_unit_test(test_lengths),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

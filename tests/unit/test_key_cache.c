/* auth/key_cache.h: bounds, order, age, references, wiping; and a model. */

#include "auth/key_cache.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { TTL = 1000 };

static char *
key_of(unsigned n)
{
	static char text[4][33];
	static unsigned turn;
	char *s = text[turn++ % 4];

	snprintf(s, sizeof text[0], "%032x", n);
	return s;
}

/* An entry with secrets that tell whose they are. */
static struct key_entry *
make(unsigned n, enum key_state state)
{
	struct app row = { .id = n, .public_key = key_of(n) };
	struct key_entry *e = key_entry_new(&row, false);

	e->state = state;
	if (state == KEY_OPEN) {
		secret_set(&e->current.secret, key_of(n), 32);
		secret_set(&e->previous.secret, key_of(n), 32);
	}
	return e;
}

static void
put(struct key_cache *kc, unsigned n, enum key_state state, int64_t now)
{
	struct key_entry *e = make(n, state);

	key_cache_store(kc, e, now);
	key_entry_release(e);
}

/* The entry of a key, all news up to now being told. */
static struct key_entry *
find(struct key_cache *kc, unsigned n, int64_t now)
{
	const struct key_time t = { .now_us = now, .told_us = now };

	return key_cache_find(kc, key_of(n), &t);
}

/* Is it there, as it was made? */
static bool
has(struct key_cache *kc, unsigned n, int64_t now)
{
	struct key_entry *e = find(kc, n, now);

	if (e == NULL)
		return false;
	assert_string_equal(e->app.public_key, key_of(n));
	assert_int_equal(e->app.id, n);
	if (e->state == KEY_OPEN)
		assert_memory_equal(e->current.secret.data, key_of(n), 32);
	key_entry_release(e);
	return true;
}

static void
assert_wiped(const char *data, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
		assert_int_equal(data[i], 0);
}

static void
test_bound_and_order(void **state)
{
	struct key_cache *kc = key_cache_new(3, TTL);

	(void)state;
	put(kc, 1, KEY_OPEN, 0);
	put(kc, 2, KEY_REFUSED, 0);
	put(kc, 3, KEY_NO_MASTER, 0);
	assert_true(has(kc, 1, 1)); /* the oldest is 2 now */
	put(kc, 4, KEY_OPEN, 1);
	assert_false(has(kc, 2, 1));
	assert_true(has(kc, 3, 1));
	put(kc, 1, KEY_OPEN, 1); /* one of the same key makes no room */
	assert_true(has(kc, 4, 1));
	assert_true(has(kc, 3, 1));
	assert_true(has(kc, 1, 1));
	put(kc, 5, KEY_OPEN, 1);
	assert_false(has(kc, 4, 1));
	assert_true(has(kc, 3, 1));
	key_cache_free(kc);
}

static void
test_unknown_keys_apart(void **state)
{
	struct key_cache *kc = key_cache_new(2, TTL);
	unsigned i, n = 0;

	(void)state;
	put(kc, 1, KEY_OPEN, 0);
	put(kc, 2, KEY_OPEN, 0);
	for (i = 0; i < 3 * KEY_UNKNOWN_MAX; i++)
		put(kc, 100 + i, KEY_UNKNOWN, 0);
	assert_true(has(kc, 1, 0));
	assert_true(has(kc, 2, 0));
	for (i = 0; i < 3 * KEY_UNKNOWN_MAX; i++)
		n += has(kc, 100 + i, 0);
	assert_int_equal(n, KEY_UNKNOWN_MAX);
	assert_false(has(kc, 100 + 2 * KEY_UNKNOWN_MAX - 1, 0));
	assert_true(has(kc, 100 + 2 * KEY_UNKNOWN_MAX, 0));
	/* An app that comes takes its unknown key's place, and gives it back
	 * to the bound that it belonged to. */
	put(kc, 100 + 3 * KEY_UNKNOWN_MAX - 1, KEY_OPEN, 0);
	put(kc, 7, KEY_UNKNOWN, 0);
	assert_true(has(kc, 100 + 2 * KEY_UNKNOWN_MAX, 0));
	assert_false(has(kc, 1, 0));
	assert_true(has(kc, 2, 0));
	for (i = 0; i < 10; i++)
		put(kc, 200 + i, KEY_OPEN, 0);
	assert_true(has(kc, 7, 0));
	key_cache_free(kc);
}

static void
test_none(void **state)
{
	struct key_cache *kc = key_cache_new(0, TTL);

	(void)state;
	put(kc, 1, KEY_OPEN, 0);
	put(kc, 2, KEY_UNKNOWN, 0);
	assert_false(has(kc, 1, 0));
	assert_false(has(kc, 2, 0));
	key_cache_drop(kc, key_of(1));
	key_cache_clear(kc);
	key_cache_free(kc);
	key_cache_free(NULL);
	key_entry_release(NULL);
}

static void
test_age(void **state)
{
	struct key_cache *kc = key_cache_new(10, TTL);

	(void)state;
	put(kc, 1, KEY_OPEN, 500);
	put(kc, 2, KEY_UNKNOWN, 500);
	assert_true(has(kc, 1, 500 + TTL - 1));
	assert_true(has(kc, 2, 500 + TTL - 1));
	/* Being used doesn't make it younger. */
	assert_false(has(kc, 1, 500 + TTL));
	assert_false(has(kc, 2, 500 + TTL));
	assert_false(has(kc, 1, 500)); /* it is gone, not only hidden */
	put(kc, 1, KEY_OPEN, 0);
	put(kc, 1, KEY_OPEN, 900); /* but being read again does */
	assert_true(has(kc, 1, 900 + TTL - 1));
	key_cache_free(kc);
}

/* Of one that was stored at 1000, which is in the cache at a time or not. */
struct moment {
	int64_t now, told;
	bool cut_off;
	bool there;
	bool gone; /* not hidden, but wiped */
};

static const struct moment moments[] = {
	/* News comes, however long nobody asked. */
	{ 1000, 1000, false, true, false },
	{ 1000 + TTL - 1, 1000, false, true, false },
	{ 1000 + TTL - 1, 1000 + TTL - 1, false, true, false },
	/* It may be cut off, which nobody noticed yet. */
	{ 1000 + TTL, 1000, false, false, false },
	{ 1000 + TTL, 1000 + TTL - 1, false, false, false },
	{ 1000 + 9 * TTL, 1000 + TTL - 1, false, false, false },
	{ 1000 + TTL, 1000 + TTL, false, false, true },
	/* Cut off: good when it was, and for as long as all others. */
	{ 1000, 1000, true, true, false },
	{ 1000 + TTL - 1, 1000, true, true, false },
	{ 1000 + TTL, 1000, true, false, true },
	{ 1000 + TTL - 1, 1500, true, true, false },
	{ 1000 + TTL, 1500, true, true, false },
	{ 1500 + TTL - 1, 1500, true, true, false },
	{ 1500 + TTL, 1500, true, false, true },
	{ 1000 + 2 * TTL - 2, 1000 + TTL - 1, true, true, false },
	{ 1000 + 2 * TTL - 1, 1000 + TTL - 1, true, false, true },
	/* It was not good any more. */
	{ 1000 + TTL, 1000 + TTL, true, false, true },
	{ 1001 + TTL, 1001 + TTL, true, false, true },
	/* A process that was stopped for long. */
	{ INT64_MAX - 1, 1500, true, false, true },
	{ INT64_MAX - 1, 1500, false, false, false },
};

static void
test_cut_off(void **state)
{
	static const enum key_state states[] = { KEY_OPEN, KEY_UNKNOWN,
		KEY_REFUSED, KEY_NO_MASTER };
	size_t i, s;

	(void)state;
	for (i = 0; i < sizeof moments / sizeof moments[0]; i++)
		for (s = 0; s < sizeof states / sizeof states[0]; s++) {
			const struct moment *m = &moments[i];
			const struct key_time t = { m->now, m->told,
				m->cut_off };
			struct key_cache *kc = key_cache_new(10, TTL);
			struct key_entry *e = make(1, states[s]), *found;

			key_cache_store(kc, e, 1000);
			found = key_cache_find(kc, key_of(1), &t);
			if ((found == e) != m->there ||
			    (e->refs == 1) != m->gone)
				fail_msg("moment %zu, state %zu", i, s);
			/* And once more. */
			assert_ptr_equal(
			    key_cache_find(kc, key_of(1), &t), found);
			if (found != NULL) {
				key_entry_release(found);
				key_entry_release(found);
			}
			key_cache_free(kc);
			key_entry_release(e);
		}
}

/* The question that notices the loss is asked for an entry that is over: it is
 * there again, and goes when all do. */
static void
test_noticed_late(void **state)
{
	struct key_cache *kc = key_cache_new(10, TTL);
	struct key_time t = { .now_us = TTL, .told_us = 700 };
	struct key_entry *e;

	(void)state;
	put(kc, 1, KEY_OPEN, 0);
	put(kc, 2, KEY_OPEN, 700);
	assert_null(key_cache_find(kc, key_of(1), &t));
	t.cut_off = true;
	for (t.now_us = TTL + 200; t.now_us < 700 + TTL; t.now_us++) {
		e = key_cache_find(kc, key_of(1), &t);
		assert_non_null(e);
		key_entry_release(e);
	}
	assert_null(key_cache_find(kc, key_of(1), &t));
	assert_null(key_cache_find(kc, key_of(2), &t));
	key_cache_free(kc);
}

static void
test_drop_and_clear(void **state)
{
	struct key_cache *kc = key_cache_new(10, TTL);
	struct key_entry *held[4];
	unsigned i;

	(void)state;
	for (i = 0; i < 4; i++) {
		held[i] = make(i, i == 3 ? KEY_UNKNOWN : KEY_OPEN);
		key_cache_store(kc, held[i], 0);
	}
	key_cache_drop(kc, key_of(9)); /* not there */
	key_cache_drop(kc, key_of(1));
	assert_true(held[1]->changed);
	assert_false(held[0]->changed || held[2]->changed || held[3]->changed);
	assert_false(has(kc, 1, 0));
	assert_true(has(kc, 0, 0));
	/* Replaced is not changed: who holds it reads as fresh as a query. */
	put(kc, 0, KEY_OPEN, 0);
	assert_false(held[0]->changed);
	/* One that isn't in the cache any more hears of nothing. */
	key_cache_clear(kc);
	assert_true(held[2]->changed && held[3]->changed);
	assert_false(held[0]->changed);
	for (i = 0; i < 4; i++) {
		assert_false(has(kc, i, 0));
		key_entry_release(held[i]);
	}
	put(kc, 1, KEY_OPEN, 0);
	assert_true(has(kc, 1, 0));
	key_cache_free(kc);
}

/* covers: ASVS-V6.4.2 */
static void
test_references_and_wiping(void **state)
{
	struct key_cache *kc = key_cache_new(1, TTL);
	struct key_entry *e = make(1, KEY_OPEN), *again;
	const char *current = e->current.secret.data,
		   *previous = e->previous.secret.data;

	(void)state;
	key_cache_store(kc, e, 0);
	again = find(kc, 1, 0);
	assert_ptr_equal(again, e);
	key_entry_release(e);
	put(kc, 2, KEY_OPEN, 0); /* pushes it out */
	assert_false(has(kc, 1, 0));
	assert_memory_equal(again->current.secret.data, key_of(1), 32);
	assert_memory_equal(previous, key_of(1), 32);
	key_entry_release(again);
	assert_wiped(current, 33);
	assert_wiped(previous, 33);
	key_cache_free(kc);
}

/* However it goes, nothing of the secret stays. */
static void
test_wiped_each_way(void **state)
{
	const char *data;
	struct key_cache *kc;
	struct key_entry *e;
	int way;

	(void)state;
	for (way = 0; way < 6; way++) {
		kc = key_cache_new(1, TTL);
		e = make(1, KEY_OPEN);
		data = e->current.secret.data;
		key_cache_store(kc, e, 0);
		key_entry_release(e);
		assert_memory_equal(data, key_of(1), 32);
		if (way == 0)
			key_cache_drop(kc, key_of(1));
		else if (way == 1)
			key_cache_clear(kc);
		else if (way == 2)
			put(kc, 2, KEY_REFUSED, 0);
		else if (way == 3)
			put(kc, 1, KEY_UNKNOWN, 0);
		else if (way == 4)
			assert_null(find(kc, 1, TTL));
		else
			key_cache_free(kc);
		assert_wiped(data, 33);
		if (way < 5)
			key_cache_free(kc);
	}
}

/* The model: for each key when it was stored and last used, -1 = not there;
 * and the moment at which news was cut off, -1 = it comes. */
enum { KEYS = 60, APPS = 13, OPERATIONS = 100000 };
struct model {
	int64_t stored[KEYS];
	int64_t used[KEYS];
	bool unknown[KEYS];
	int64_t cut_off;
};

static unsigned
random_below(unsigned n)
{
	static uint32_t x = 2463534242;

	x ^= x << 13;
	x ^= x >> 17;
	x ^= x << 5;
	return x % n;
}

static void
model_store(struct model *m, unsigned k, bool unknown, int64_t now, int64_t op)
{
	unsigned i, oldest = KEYS, n = 0;

	m->stored[k] = -1;
	for (i = 0; i < KEYS; i++) {
		if (m->stored[i] < 0 || m->unknown[i])
			continue;
		n++;
		if (oldest == KEYS || m->used[i] < m->used[oldest])
			oldest = i;
	}
	if (!unknown && n == APPS)
		m->stored[oldest] = -1;
	m->stored[k] = now;
	m->used[k] = op;
	m->unknown[k] = unknown;
}

static void
model_find(
    struct model *m, struct key_cache *kc, unsigned k, int64_t now, int64_t op)
{
	bool cut_off = m->cut_off >= 0;
	const struct key_time t = { now, cut_off ? m->cut_off : now, cut_off };
	struct key_entry *e = key_cache_find(kc, key_of(k), &t);
	int64_t end = m->stored[k] + TTL;

	if (cut_off && end > m->cut_off)
		end = m->cut_off + TTL;
	if (m->stored[k] >= 0 && end <= now)
		m->stored[k] = -1;
	assert_int_equal(e != NULL, m->stored[k] >= 0);
	if (e == NULL)
		return;
	m->used[k] = op;
	assert_int_equal(e->state == KEY_UNKNOWN, m->unknown[k]);
	assert_int_equal(e->app.id, k);
	assert_false(e->changed);
	key_entry_release(e);
}

static void
test_model(void **state)
{
	struct key_cache *kc = key_cache_new(APPS, TTL);
	struct model m = { .cut_off = -1 };
	int64_t now = 0, op;
	unsigned k, hits = 0;

	(void)state;
	memset(m.stored, -1, sizeof m.stored);
	for (op = 0; op < OPERATIONS; op++) {
		unsigned what = random_below(1000);
		bool unknown = random_below(4) == 0;

		now += random_below(40);
		k = random_below(KEYS);
		if (what < 400 && m.cut_off < 0) {
			put(kc, k, unknown ? KEY_UNKNOWN : KEY_OPEN, now);
			model_store(&m, k, unknown, now, op);
		} else if (what < 950) {
			model_find(&m, kc, k, now, op);
			hits += m.stored[k] >= 0;
		} else if (what < 990) {
			key_cache_drop(kc, key_of(k));
			m.stored[k] = -1;
		} else if (what < 998 && m.cut_off < 0) {
			m.cut_off = now;
		} else {
			key_cache_clear(kc);
			memset(m.stored, -1, sizeof m.stored);
			m.cut_off = -1;
		}
	}
	assert_in_range(hits, OPERATIONS / 20, OPERATIONS);
	for (k = 0; k < KEYS; k++)
		model_find(&m, kc, k, now, op);
	key_cache_free(kc);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bound_and_order),
		cmocka_unit_test(test_unknown_keys_apart),
		cmocka_unit_test(test_none),
		cmocka_unit_test(test_age),
		cmocka_unit_test(test_cut_off),
		cmocka_unit_test(test_noticed_late),
		cmocka_unit_test(test_drop_and_clear),
		cmocka_unit_test(test_references_and_wiping),
		cmocka_unit_test(test_wiped_each_way),
		cmocka_unit_test(test_model),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * Token buckets, each one number: the moment when the bucket will be full
 * again. It is the "theoretical arrival time" of the generic cell rate
 * algorithm (ITU-T I.371). A moment in the past is a full bucket, whoever's it
 * is, so a slot is free by itself once its time is over: nothing has to be
 * cleaned up.
 *
 * A slot is found by the keyed hash of its subject, in a set of few. Both words
 * change by compare-and-swap alone. Where a slot changes hands while another
 * worker takes from it, one token may go to the wrong bucket, no more.
 */
#include "base/throttle.h"

#include "base/crypto.h"

#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

/* 32768 slots a kind, 512 KiB where all are touched. */
enum { SETS = 4096, WAYS = 8 };

struct slot {
	_Atomic uint64_t tag;    /* of the subject; 0 = never used */
	_Atomic int64_t full_at; /* µs, monotonic */
};

struct table {
	struct slot set[SETS][WAYS];
};

static struct table *tables; /* by enum throttle_kind */
static unsigned char hash_key[32];

bool
throttle_init(void)
{
	void *p =
	    mmap(NULL, THROTTLE_KINDS * sizeof *tables, PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		return false;
	crypto_random(hash_key, sizeof hash_key);
	tables = p;
	return true;
}

static struct slot *
set_of(enum throttle_kind kind, const void *subject, size_t len, uint64_t *tag)
{
	unsigned char mac[CRYPTO_MAC_MAX];
	uint32_t at;

	if (!crypto_hmac(
		CRYPTO_SHA256, hash_key, sizeof hash_key, subject, len, mac))
		return NULL;
	memcpy(tag, mac, sizeof *tag);
	memcpy(&at, mac + sizeof *tag, sizeof at);
	if (*tag == 0)
		*tag = 1;
	return tables[kind].set[at % SETS];
}

static uint64_t
tag_of(const struct slot *s)
{
	return atomic_load_explicit(&s->tag, memory_order_relaxed);
}

static int64_t
full_at(const struct slot *s)
{
	return atomic_load_explicit(&s->full_at, memory_order_relaxed);
}

/* The subject's slot, or the one with the least taken out of it. */
static struct slot *
choose(struct slot *set, uint64_t tag)
{
	struct slot *least = &set[0];
	int i;

	for (i = 0; i < WAYS; i++) {
		if (tag_of(&set[i]) == tag)
			return &set[i];
		if (full_at(&set[i]) < full_at(least))
			least = &set[i];
	}
	return least;
}

/* The subject's slot, perhaps newly its own. NULL when others are always
 * faster, which a set of this size can't make last. */
static struct slot *
find(struct slot *set, uint64_t tag)
{
	struct slot *s;
	uint64_t was;
	int tries;

	for (tries = 0; tries < WAYS; tries++) {
		s = choose(set, tag);
		was = tag_of(s);
		if (was == tag)
			return s;
		if (atomic_compare_exchange_strong(&s->tag, &was, tag)) {
			atomic_store(&s->full_at, 0);
			return s;
		}
	}
	return NULL;
}

/*
 * Each token is `each` µs of time. A bucket that is further from full than it
 * can be, as after a change of the setting, becomes an empty one.
 */
static int64_t
take(struct slot *s, int64_t each, int64_t n, int64_t now)
{
	int64_t was = full_at(s), empty = now + n * each, then;

	do {
		then = (was > now ? was : now) + each;
		if (was > empty)
			then = empty;
		else if (then > empty)
			return then - empty;
	} while (!atomic_compare_exchange_weak(&s->full_at, &was, then));
	return was > empty ? each : 0;
}

int64_t
throttle_take(enum throttle_kind kind, const void *subject, size_t len,
    const struct throttle_rate *rate, int64_t now_us)
{
	struct slot *set, *s;
	uint64_t tag;
	int64_t wait_us;

	if (tables == NULL || rate->n == 0)
		return 0;
	set = set_of(kind, subject, len, &tag);
	s = set != NULL ? find(set, tag) : NULL;
	if (s == NULL)
		return 0;
	wait_us = take(s, rate->seconds * 1000000 / rate->n, rate->n, now_us);
	return (wait_us + 999999) / 1000000;
}

#ifndef POSTERN_AUTH_KEY_CACHE_H
#define POSTERN_AUTH_KEY_CACHE_H

#include "auth/key_entry.h"
#include <stddef.h>
#include <stdint.h>

/*
 * Apps by public key, with their secret keys open: never tokens, never a
 * decision. Bounded, least recently used out first; unknown keys are bounded
 * apart, so that strangers can't push apps out. Secrets are wiped when their
 * entry goes.
 */

struct key_cache;

/* At most max apps (0 = none) and as many unknown keys as KEY_UNKNOWN_MAX,
 * each for ttl_us microseconds. */
enum { KEY_UNKNOWN_MAX = 1024 };
struct key_cache *key_cache_new(size_t max, int64_t ttl_us);
void key_cache_free(struct key_cache *kc);

/* What the time is, and how far news of changes has come. In monotonic µs. */
struct key_time {
	int64_t now_us;
	int64_t told_us; /* all that happened until then has been told */
	bool cut_off;    /* and nothing now: told_us stands still */
};

/*
 * The entry of a key, a reference for the caller; NULL if there is none that
 * is young enough. While news is cut off, one that was so at told_us is good
 * for ttl_us from then on.
 */
struct key_entry *key_cache_find(
    struct key_cache *kc, const char *public_key, const struct key_time *t);

/* Store an entry, which the caller keeps its reference to; one of the same
 * key is dropped. */
void key_cache_store(struct key_cache *kc, struct key_entry *e, int64_t now_us);

/* The app changed: its entry goes, and is marked for who holds it. */
void key_cache_drop(struct key_cache *kc, const char *public_key);
void key_cache_clear(struct key_cache *kc);

#endif

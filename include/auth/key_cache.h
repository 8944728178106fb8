#ifndef POSTERN_AUTH_KEY_CACHE_H
#define POSTERN_AUTH_KEY_CACHE_H

#include "base/secret.h"
#include "data/app_store.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Apps by public key, with their secret keys open: never tokens, never a
 * decision. Bounded, least recently used out first; unknown keys are bounded
 * apart, so that strangers can't push apps out. Secrets are wiped when their
 * entry goes.
 */

/* What a row came to. */
enum key_state {
	KEY_UNKNOWN, /* no such app */
	KEY_OPEN,
	KEY_REFUSED,  /* its sealed key is broken, or not allowed */
	KEY_NO_MASTER /* sealed under a master key that we don't have */
};

struct key_entry {
	struct app app; /* public_key is always set */
	enum key_state state;
	struct secret current;  /* hex characters; empty unless KEY_OPEN */
	struct secret previous; /* empty if there is none to be used */
	bool previous_no_master;
	bool changed;           /* the app changed since the row was read */
	unsigned uses_round[2]; /* of auth/uses.c: noted in this round */
	/* Of key_cache.c alone. */
	size_t refs;
	bool cached;
	int64_t until_us;
	struct key_entry *newer, *older;
};

/* A new entry of one reference; it takes what app holds, which is { 0 }
 * afterwards. */
struct key_entry *key_entry_new(struct app *app);

/* Give a reference back; accepts NULL. */
void key_entry_release(struct key_entry *e);

struct key_cache;

/* At most max apps (0 = none) and as many unknown keys as KEY_UNKNOWN_MAX,
 * each for ttl_us microseconds. */
enum { KEY_UNKNOWN_MAX = 1024 };
struct key_cache *key_cache_new(size_t max, int64_t ttl_us);
void key_cache_free(struct key_cache *kc);

/* The entry of a key, a reference for the caller; NULL if there is none that
 * is young enough at now_us (monotonic). */
struct key_entry *key_cache_find(
    struct key_cache *kc, const char *public_key, int64_t now_us);

/* Store an entry, which the caller keeps its reference to; one of the same
 * key is dropped. */
void key_cache_store(struct key_cache *kc, struct key_entry *e, int64_t now_us);

/* The app changed: its entry goes, and is marked for who holds it. */
void key_cache_drop(struct key_cache *kc, const char *public_key);
void key_cache_clear(struct key_cache *kc);

#endif

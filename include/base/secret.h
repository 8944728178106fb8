#ifndef POSTERN_BASE_SECRET_H
#define POSTERN_BASE_SECRET_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Secrets live in one arena of this process, which grows up to 64 MiB: locked
 * in memory, kept out of core dumps, wiped when released. mlock is not
 * inherited by fork, so each worker locks the arena again; that is why the
 * arena is ours and not OpenSSL's secure heap, which can't be locked a second
 * time.
 */

/* len bytes at data in the arena, a NUL behind them. { 0 } is an empty one. */
struct secret {
	char *data;
	size_t len;
};

/*
 * Make the arena (first call) and lock it (every call: at start and again
 * after fork). False when locking failed (RLIMIT_MEMLOCK): the arena works,
 * but may be swapped; the caller warns.
 */
bool secret_init(void);

/* No core dumps, no ptrace, no /proc/PID/environ for others: RLIMIT_CORE 0 and
 * PR_SET_DUMPABLE 0. Call after the last set*id and after each fork. */
void secret_harden_process(void);

/*
 * Room for len zeroed bytes and a NUL; aborts at the arena's end. s must
 * be { 0 } or is cleared first.
 */
void secret_new(struct secret *s, size_t len);

/* A copy of len bytes at p. */
void secret_set(struct secret *s, const void *p, size_t len);

/*
 * size zeroed bytes, more than 0, in a mapping of its own that is kept out of
 * core dumps, but not locked; aborts without memory. secret_unmap gives it
 * back, which the kernel wipes; accepts NULL.
 */
void *secret_map(size_t size);
void secret_unmap(void *p, size_t size);

/* Wipe and release; s is { 0 } afterwards. Accepts { 0 }. */
void secret_clear(struct secret *s);

/* Move: *to is cleared, takes from's memory; *from becomes { 0 }. */
void secret_move(struct secret *to, struct secret *from);

/* Constant-time equality of the SHA-256 digests of both: the time tells
 * neither content nor common prefix. */
bool secret_equal(const struct secret *s, const void *p, size_t len);

#endif

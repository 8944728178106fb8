/*
 * The arena of secrets: one reserved mapping with a guard page at each end. A
 * first part of it is usable and locked, more of it as it is needed. It is
 * handed out in runs of 16-byte blocks, the lowest that fits first: keys that
 * stay lie close together, though shorter ones come and go between them. The
 * map of the blocks lies outside it, so that an overrun inside the arena can't
 * forge a run.
 */

#include "base/secret.h"

#include "base/crypto.h"
#include "base/log.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/param.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

enum { ARENA_SIZE = 64 << 20, BLOCK = 16, BLOCKS = ARENA_SIZE / BLOCK };
enum { ARENA_FIRST = 256 << 10, ARENA_STEP = 1 << 20 };
/* Blocks of the runs whose places are kept in mind: up to 255 bytes. */
enum { SHORT = 16 };

/* What a block is; a run ends with its BLOCK_LAST. */
enum { BLOCK_FREE = 0, BLOCK_USED, BLOCK_LAST };

static struct {
	char *base;  /* the first usable byte */
	size_t size; /* usable bytes */
	bool locked; /* all of it */
	/* By length: no free run of so many blocks, in the last of SHORT or
	 * more, starts before this one. */
	size_t lowest[SHORT + 1];
	unsigned char map[BLOCKS];
} arena;

/* Make the arena usable up to size. Pages are locked as they are touched. */
static void
arena_grow(size_t size)
{
	if (size > ARENA_SIZE ||
	    mprotect(arena.base, size, PROT_READ | PROT_WRITE) == -1)
		abort();
	/* Old kernels may refuse the advice; cores are off as well. */
	(void)madvise(arena.base, size, MADV_DONTDUMP);
	if (arena.locked && mlock2(arena.base, size, MLOCK_ONFAULT) == -1) {
		log_warn("secrets_not_locked",
		    LOG_S("hint", "raise RLIMIT_MEMLOCK"));
		arena.locked = false;
	}
	arena.size = size;
}

static void
arena_make(void)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	char *p;

	p = mmap(NULL, ARENA_SIZE + 2 * page, PROT_NONE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		abort();
	arena.base = p + page;
	arena_grow(ARENA_FIRST);
}

bool
secret_init(void)
{
	if (arena.base == NULL)
		arena_make();
	arena.locked = mlock2(arena.base, arena.size, MLOCK_ONFAULT) == 0;
	return arena.locked;
}

void
secret_harden_process(void)
{
	static const struct rlimit none = { 0, 0 };
	int fd;

	/* Of use where core_pattern is a pipe, which RLIMIT_CORE 0 does not
	 * stop on every kernel. Not possible once we are undumpable. */
	fd = open("/proc/self/coredump_filter", O_WRONLY | O_CLOEXEC);
	if (fd != -1) {
		if (write(fd, "0", 1) == -1) {
			/* the two calls below do the work */
		}
		close(fd);
	}
	(void)setrlimit(RLIMIT_CORE, &none);
	(void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

/* The first n free blocks in a row, from a block on; BLOCKS if there are
 * none. */
static size_t
arena_search(size_t from, size_t n)
{
	const unsigned char *map = arena.map, *p;
	size_t end = arena.size / BLOCK, at, run;

	for (at = from; at + n <= end; at += run + 1) {
		p = memchr(map + at, BLOCK_FREE, end - at);
		if (p == NULL)
			break;
		at = (size_t)(p - map);
		for (run = 1; run < n && at + run < end; run++)
			if (map[at + run] != BLOCK_FREE)
				break;
		if (run == n)
			return at;
	}
	return BLOCKS;
}

/* The same in new room if need be; aborts at the arena's end. */
static size_t
arena_seek(size_t from, size_t n)
{
	size_t at;

	while ((at = arena_search(from, n)) == BLOCKS)
		arena_grow(arena.size + MAX(ARENA_STEP, n * BLOCK));
	return at;
}

/* The lowest n free blocks in a row. A longer run begins with a short one. */
static size_t
arena_find(size_t n)
{
	size_t *lowest = &arena.lowest[MIN(n, SHORT)], at;

	*lowest = arena_seek(*lowest, MIN(n, SHORT));
	at = arena_seek(*lowest, n);
	if (at == *lowest)
		*lowest += n;
	return at;
}

/* These blocks are free again: so is every run that they are part of. */
static void
arena_release(size_t from, size_t to)
{
	size_t n;

	memset(arena.map + from, BLOCK_FREE, to - from);
	for (n = 0; n < SHORT && from > 0; n++, from--)
		if (arena.map[from - 1] != BLOCK_FREE)
			break;
	for (n = 1; n <= SHORT && from + n <= BLOCKS; n++) {
		if (arena.map[from + n - 1] != BLOCK_FREE)
			break;
		arena.lowest[n] = MIN(arena.lowest[n], from);
	}
}

void
secret_new(struct secret *s, size_t len)
{
	size_t at, n;

	secret_clear(s);
	if (arena.base == NULL)
		(void)secret_init();
	if (len >= ARENA_SIZE)
		abort();
	n = len / BLOCK + 1; /* the NUL included */
	at = arena_find(n);
	memset(arena.map + at, BLOCK_USED, n);
	arena.map[at + n - 1] = BLOCK_LAST;
	s->data =
	    arena.base + at * BLOCK; /* zeroed: released blocks are wiped */
	s->len = len;
}

void
secret_set(struct secret *s, const void *p, size_t len)
{
	struct secret copy = { 0 };

	/* p may point into s. */
	secret_new(&copy, len);
	if (len > 0)
		memcpy(copy.data, p, len);
	secret_move(s, &copy);
}

/* The block that data starts; aborts if it is not the start of a run. */
static size_t
arena_index(const char *data)
{
	uintptr_t off = (uintptr_t)data - (uintptr_t)arena.base;
	size_t at = off / BLOCK;

	if (arena.base == NULL || off >= arena.size || off % BLOCK != 0 ||
	    arena.map[at] == BLOCK_FREE ||
	    (at > 0 && arena.map[at - 1] == BLOCK_USED))
		abort();
	return at;
}

void
secret_clear(struct secret *s)
{
	size_t at, end;

	if (s->data != NULL) {
		at = arena_index(s->data);
		for (end = at; arena.map[end] != BLOCK_LAST; end++)
			;
		explicit_bzero(s->data, (end + 1 - at) * BLOCK);
		arena_release(at, end + 1);
	}
	s->data = NULL;
	s->len = 0;
}

void
secret_move(struct secret *to, struct secret *from)
{
	if (to == from)
		return;
	secret_clear(to);
	*to = *from;
	from->data = NULL;
	from->len = 0;
}

void *
secret_map(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		abort();
	(void)madvise(p, size, MADV_DONTDUMP);
	return p;
}

void
secret_unmap(void *p, size_t size)
{
	if (p != NULL)
		munmap(p, size);
}

bool
secret_equal(const struct secret *s, const void *p, size_t len)
{
	unsigned char a[CRYPTO_SHA256_LEN], b[CRYPTO_SHA256_LEN];
	bool same;

	crypto_sha256(s->len > 0 ? s->data : "", s->len, a);
	crypto_sha256(len > 0 ? p : "", len, b);
	same = crypto_equal(a, b, sizeof(a));
	explicit_bzero(a, sizeof(a));
	explicit_bzero(b, sizeof(b));
	return same && s->len > 0; /* a token that is not set matches none */
}

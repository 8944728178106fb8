/*
 * An allocator that fails once, at the allocation that the test names: loaded
 * before the program's libraries (LD_PRELOAD), told by a file that both have
 * mapped (STARVE_FILE).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define EXPORTED __attribute__((visibility("default"))) void *

struct order {
	long nth;   /* to fail; 0 = none */
	long calls; /* since the test set it to 0 */
};

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);

static struct order none;
static volatile struct order *order = &none;

__attribute__((constructor)) static void
start(void)
{
	const char *path = getenv("STARVE_FILE");
	int fd = path != NULL ? open(path, O_RDWR | O_CLOEXEC) : -1;
	void *p;

	if (fd < 0)
		abort();
	p = mmap(NULL, sizeof none, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (p == MAP_FAILED)
		abort();
	order = p;
}

static int
fails(void)
{
	if (++order->calls != order->nth)
		return 0;
	errno = ENOMEM;
	return 1;
}

EXPORTED
malloc(size_t n)
{
	return fails() ? NULL : __libc_malloc(n);
}

EXPORTED
calloc(size_t a, size_t b)
{
	return fails() ? NULL : __libc_calloc(a, b);
}

EXPORTED
realloc(void *p, size_t n)
{
	return fails() ? NULL : __libc_realloc(p, n);
}

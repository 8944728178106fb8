/*
 * Allocation that never returns NULL. A process that can't get memory aborts
 * at once, so that no caller has to have an error branch for it.
 */

#include "base/mem.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { PUT_ASIDE_MAX = 1024 };

/* Not inline, or the compiler makes calloc of it and a memset behind it. */
__attribute__((noinline)) void *
mem_alloc_raw(size_t n)
{
	void *p;

	p = malloc(n ? n : 1);
	if (p == NULL)
		abort();
	return p;
}

void *
mem_alloc(size_t n)
{
	void *p;

	/* glibc's calloc passes by what free has just put aside. */
	if (n <= PUT_ASIDE_MAX)
		return memset(mem_alloc_raw(n), 0, n ? n : 1);
	p = calloc(1, n);
	if (p == NULL)
		abort();
	return p;
}

void *
mem_realloc(void *p, size_t n)
{
	void *q;

	q = realloc(p, n ? n : 1);
	if (q == NULL)
		abort();
	return q;
}

char *
mem_strdup(const char *s)
{
	if (s == NULL)
		return NULL;
	return mem_strndup(s, strlen(s));
}

char *
mem_strndup(const char *s, size_t n)
{
	char *p;

	if (n == SIZE_MAX)
		abort();
	p = mem_alloc(n + 1);
	if (n > 0)
		memcpy(p, s, n);
	return p;
}

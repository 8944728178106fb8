#ifndef POSTERN_BASE_MEM_H
#define POSTERN_BASE_MEM_H

#include <stddef.h>

/*
 * Allocation that never returns NULL. Out of memory ends the process by
 * abort(), before any byte of an answer was written: the master starts another
 * worker. What these return is released with free().
 */

/* Zeroed memory of n bytes (at least one). */
void *mem_alloc(size_t n);

/* The same, not zeroed. */
void *mem_alloc_raw(size_t n);

/* realloc; the new tail is not zeroed. */
void *mem_realloc(void *p, size_t n);

/* A copy of the string s; NULL gives NULL. */
char *mem_strdup(const char *s);

/* A NUL-terminated copy of the n bytes at s. */
char *mem_strndup(const char *s, size_t n);

#endif

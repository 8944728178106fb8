#ifndef POSTERN_BASE_ASCII_H
#define POSTERN_BASE_ASCII_H

#include <stdbool.h>
#include <stddef.h>

/* ASCII's letters and digits, whatever the locale; and the characters of more.
 * NUL is none of them. */
bool ascii_is_alnum_or(char c, const char *more);

/* So are all len bytes; true for none. */
bool ascii_all_alnum_or(const char *s, size_t len, const char *more);

#endif

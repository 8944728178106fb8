#ifndef POSTERN_BASE_EDIT_DISTANCE_H
#define POSTERN_BASE_EDIT_DISTANCE_H

#include <stddef.h>

/* The longest word that is looked at, in bytes. */
enum { EDIT_DISTANCE_MAX = 48 };

/* How many bytes have to be changed, added or taken away to make b of a
 * (Levenshtein); SIZE_MAX if one of them is longer than that. */
size_t edit_distance(const char *a, size_t alen, const char *b, size_t blen);

#endif

/*
 * How far a misspelt word is from one that may have been meant.
 */
#include "base/edit_distance.h"

#include <stdint.h>
#include <sys/param.h>

size_t
edit_distance(const char *a, size_t alen, const char *b, size_t blen)
{
	size_t row[EDIT_DISTANCE_MAX + 1], i, j, diagonal, above;

	if (alen > EDIT_DISTANCE_MAX || blen > EDIT_DISTANCE_MAX)
		return SIZE_MAX;
	for (j = 0; j <= blen; j++)
		row[j] = j;
	for (i = 1; i <= alen; i++) {
		diagonal = row[0];
		row[0] = i;
		for (j = 1; j <= blen; j++) {
			above = row[j];
			row[j] = MIN(diagonal + (a[i - 1] != b[j - 1]),
			    MIN(above, row[j - 1]) + 1);
			diagonal = above;
		}
	}
	return row[blen];
}

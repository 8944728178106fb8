/*
 * Decimal numbers of strangers.
 */
#include "base/decimal.h"

bool
decimal_parse(
    const char *s, size_t len, uint64_t min, uint64_t max, uint64_t *out)
{
	uint64_t n = 0;
	size_t i;

	if (len == 0)
		return false;
	for (i = 0; i < len; i++) {
		if (s[i] < '0' || s[i] > '9' ||
		    n > (UINT64_MAX - (uint64_t)(s[i] - '0')) / 10)
			return false;
		n = 10 * n + (uint64_t)(s[i] - '0');
	}
	if (n < min || n > max)
		return false;
	*out = n;
	return true;
}

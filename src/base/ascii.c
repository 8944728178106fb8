/*
 * Classes of ASCII's characters.
 */
#include "base/ascii.h"

#include <string.h>

bool
ascii_is_alnum_or(char c, const char *more)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c >= '0' && c <= '9') || (c != '\0' && strchr(more, c) != NULL);
}

bool
ascii_all_alnum_or(const char *s, size_t len, const char *more)
{
	size_t i;

	for (i = 0; i < len; i++)
		if (!ascii_is_alnum_or(s[i], more))
			return false;
	return true;
}

/*
 * The grammar of header fields' values: tokens, and lists of them (RFC 9110
 * section 5.6).
 */
#include "http/field.h"

#include "base/ascii.h"

#include <string.h>

size_t
field_token_len(const char *s)
{
	size_t n = 0;

	while (ascii_is_alnum_or(s[n], "!#$%&'*+-.^_`|~"))
		n++;
	return n;
}

bool
field_is_token_list(const char *s)
{
	bool any = false;
	size_t n;

	for (;;) {
		s += strspn(s, " \t,");
		if (*s == '\0')
			return any;
		n = field_token_len(s);
		s += n + strspn(s + n, " \t");
		if (n == 0 || (*s != ',' && *s != '\0'))
			return false;
		any = true;
	}
}

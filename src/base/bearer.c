/*
 * Bearer credentials (RFC 6750 section 2.1).
 */
#include "base/bearer.h"

#include "base/base64url.h"

#include <string.h>
#include <strings.h>

bool
bearer_is_b64token(const char *s, size_t len)
{
	const char *p = s, *end = s + len;

	/* Nearly all of it is base64url, known by its table. */
	for (; p < end; p++) {
		p += base64url_span(p, (size_t)(end - p));
		if (p == end ||
		    (*p != '.' && *p != '~' && *p != '+' && *p != '/'))
			break;
	}
	if (p == s)
		return false;
	while (p < end && *p == '=')
		p++;
	return p == end;
}

bool
bearer_parse(const char *value, const char **token, size_t *len)
{
	if (strncasecmp(value, "Bearer", 6) != 0 || value[6] != ' ')
		return false;
	value += 6 + strspn(value + 6, " ");
	if (!bearer_is_b64token(value, strlen(value)))
		return false;
	*token = value;
	*len = strlen(value);
	return true;
}

/*
 * The parameters of a URI's query, application/x-www-form-urlencoded.
 */
#include "base/query.h"

#include "base/percent.h"

#include <string.h>

/* As in percent.h, but '+' is a space. */
static bool
form_decode(const char *s, size_t len, struct buf *out)
{
	size_t i, start = out->len;
	bool ok;

	buf_reserve(out, len);
	for (i = 0; i < len; i++)
		if (s[i] == '+')
			buf_addc(out, ' ');
		else if (s[i] != '%')
			buf_addc(out, s[i]);
		else if (len - i >= 3 && percent_decode(s + i, 3, out))
			i += 2;
		else
			break;
	ok = i == len;
	if (!ok)
		buf_cut(out, start);
	return ok;
}

bool
query_find(const char *query, const char *name, struct buf *out, bool *bad)
{
	const char *p, *end, *eq;
	struct buf key = { 0 };
	size_t start = out->len;
	bool found = false;

	*bad = false;
	for (p = query; *p != '\0'; p = *end != '\0' ? end + 1 : end) {
		end = p + strcspn(p, "&");
		eq = memchr(p, '=', (size_t)(end - p));
		buf_reset(&key);
		if (!form_decode(p, (size_t)((eq ? eq : end) - p), &key) ||
		    key.len != strlen(name) ||
		    memcmp(buf_str(&key), name, key.len) != 0)
			continue;
		if (found)
			*bad = true;
		found = true;
		if (eq != NULL &&
		    !form_decode(eq + 1, (size_t)(end - eq) - 1, out))
			*bad = true;
	}
	if (*bad)
		buf_cut(out, start);
	buf_free(&key);
	return found;
}

/*
 * Names that strangers choose: of apps, of their users, labels, and the ids of
 * requests.
 */
#include "base/name.h"

#include "base/ascii.h"
#include "base/utf8.h"

#include <stdint.h>

enum { REQUEST_ID_MAX = 128 };

bool
name_is_request_id(const char *s, size_t len)
{
	return len >= 1 && len <= REQUEST_ID_MAX &&
	       ascii_all_alnum_or(s, len, "._:-");
}

bool
name_is_user(const char *s, size_t len)
{
	return len >= 1 && len <= NAME_USER_MAX && utf8_valid(s, len) &&
	       !utf8_has_control(s, len);
}

static bool
is_joiner(uint32_t cp)
{
	return cp == 0x200c || cp == 0x200d;
}

/* The text without white space at its edges; UTF-8. */
static void
trim(const unsigned char **p, size_t *len)
{
	const unsigned char *end, *at;
	uint32_t cp;
	size_t n;

	while ((n = utf8_next(*p, *len, &cp)) > 0 && utf8_is_white_space(cp)) {
		*p += n;
		*len -= n;
	}
	end = at = *p;
	for (; (n = utf8_next(at, *len, &cp)) > 0; *len -= n) {
		at += n;
		if (!utf8_is_white_space(cp))
			end = at;
	}
	*len = (size_t)(end - *p);
}

bool
name_take_app(const char *s, size_t len, struct buf *out)
{
	const unsigned char *p = (const unsigned char *)s;
	size_t n, i, chars = 0;
	bool shows = false;
	uint32_t cp;

	if (!utf8_valid(s, len))
		return false;
	trim(&p, &len);
	for (i = 0; i < len; i += n) {
		n = utf8_next(p + i, len - i, &cp);
		if (utf8_is_hidden(cp) || ++chars > NAME_CHARS_MAX)
			return false;
		shows = shows || !(utf8_is_white_space(cp) || is_joiner(cp));
	}
	if (shows)
		buf_add(out, p, len);
	return shows;
}

bool
name_is_label(const char *s, size_t len)
{
	const unsigned char *p = (const unsigned char *)s;
	size_t n, chars = 0;
	bool blank = true;
	uint32_t cp;

	if (utf8_has_control(s, len))
		return false;
	for (; len > 0; p += n, len -= n) {
		n = utf8_next(p, len, &cp);
		if (n == 0 || ++chars > NAME_CHARS_MAX)
			return false;
		blank = blank && utf8_is_white_space(cp);
	}
	return !blank;
}

/*
 * UTF-8 (RFC 3629), and what its characters are: control characters, white
 * space, hidden ones.
 */
#include "base/utf8.h"

#include <string.h>

size_t
utf8_next(const unsigned char *s, size_t len, uint32_t *cp)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t n, i;
	uint32_t c;

	if (len == 0)
		return 0;
	c = s[0];
	n = c < 0x80   ? 1
	    : c < 0xc2 ? 0
	    : c < 0xe0 ? 2
	    : c < 0xf0 ? 3
	    : c < 0xf5 ? 4
		       : 0;
	if (n == 0 || n > len)
		return 0;
	if (n > 1)
		c &= 0x7fu >> n;
	for (i = 1; i < n; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (s[i] & 0x3f);
	}
	if (c < least[n] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
		return 0;
	*cp = c;
	return n;
}

bool
utf8_valid(const char *s, size_t len)
{
	const unsigned char *p = (const unsigned char *)s;
	uint32_t cp;
	size_t n;

	for (; len > 0; p += n, len -= n) {
		/* Nearly all of it is ASCII. */
		n = *p < 0x80 ? 1 : utf8_next(p, len, &cp);
		if (n == 0)
			return false;
	}
	return true;
}

bool
utf8_has_control(const char *s, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
		if ((unsigned char)s[i] < 0x20 || s[i] == 0x7f)
			return true;
	return false;
}

bool
utf8_is_white_space(uint32_t cp)
{
	return (cp >= 0x09 && cp <= 0x0d) || cp == 0x20 || cp == 0x85 ||
	       cp == 0xa0 || cp == 0x1680 || (cp >= 0x2000 && cp <= 0x200a) ||
	       cp == 0x2028 || cp == 0x2029 || cp == 0x202f || cp == 0x205f ||
	       cp == 0x3000;
}

bool
utf8_is_hidden(uint32_t cp)
{
	return cp < 0x20 || (cp >= 0x7f && cp <= 0x9f) || /* controls */
	       cp == 0x061c || cp == 0x200e || cp == 0x200f ||
	       (cp >= 0x2028 && cp <= 0x202e) || /* ends of lines; bidi */
	       (cp >= 0x2066 && cp <= 0x2069) || cp == 0x200b || cp == 0x2060 ||
	       cp == 0xfeff || (cp >= 0xfdd0 && cp <= 0xfdef) ||
	       (cp & 0xfffe) == 0xfffe;
}

size_t
utf8_hidden_len(const char *s)
{
	uint32_t cp;
	size_t n = utf8_next((const unsigned char *)s, strnlen(s, 4), &cp);

	return n > 0 && utf8_is_hidden(cp) ? n : 0;
}

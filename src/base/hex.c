/*
 * Lowercase hex. Secret keys pass through encoding and decoding, so their time
 * depends on lengths only: no tables, no early end.
 */
#include "base/hex.h"

#include <string.h>

void
hex_encode(const unsigned char *p, size_t n, char *out)
{
	size_t i;
	unsigned v;

	for (i = 0; i < 2 * n; i++) {
		v = i % 2 == 0 ? p[i / 2] >> 4 : p[i / 2] & 15u;
		/* 'a' - '0' - 10 = 39 for the digits above 9. */
		out[i] = (char)('0' + v + (((9 - v) >> 8) & 39u));
	}
	out[2 * n] = '\0';
}

/* The digit's value; *bad is set by any other character. */
static unsigned
digit(unsigned char c, unsigned *bad)
{
	unsigned num = c - (unsigned)'0', alpha = c - (unsigned)'a';
	/* The top bit of x - n, and not of x, is set only for 0 <= x < n. */
	unsigned is_num = ((num - 10) & ~num) >> 31;
	unsigned is_alpha = ((alpha - 6) & ~alpha) >> 31;

	*bad |= !(is_num | is_alpha);
	return (num & (0u - is_num)) | ((alpha + 10) & (0u - is_alpha));
}

bool
hex_decode(const char *s, size_t len, unsigned char *out, size_t max)
{
	unsigned bad = 0;
	size_t i;

	if (len % 2 != 0 || len / 2 > max)
		return false;
	for (i = 0; i < len / 2; i++)
		out[i] =
		    (unsigned char)(digit((unsigned char)s[2 * i], &bad) << 4 |
				    digit((unsigned char)s[2 * i + 1], &bad));
	if (bad)
		memset(out, 0, len / 2);
	return !bad;
}

/* No secret: this one may end early. */
bool
hex_is_public_key(const char *s, size_t len)
{
	static const bool digits[256] = { ['0' ... '9'] = true,
		['a' ... 'f'] = true };
	const unsigned char *p = (const unsigned char *)s, *end = p + len;

	if (len < 32 || len > 128 || len % 2 != 0)
		return false;
	for (; p < end; p += 2)
		if (!(digits[p[0]] & digits[p[1]]))
			return false;
	return true;
}

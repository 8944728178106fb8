/*
 * Percent-encoding (RFC 3986 section 2.1).
 */
#include "base/percent.h"

#include "base/ascii.h"

static int
hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

bool
percent_decode(const char *s, size_t len, struct buf *out)
{
	size_t i, start = out->len;
	int hi, lo;

	for (i = 0; i < len; i++) {
		if (s[i] != '%') {
			buf_addc(out, s[i]);
			continue;
		}
		if (len - i < 3 || (hi = hex_value(s[i + 1])) < 0 ||
		    (lo = hex_value(s[i + 2])) < 0) {
			buf_cut(out, start);
			return false;
		}
		buf_addc(out, (char)(hi << 4 | lo));
		i += 2;
	}
	return true;
}

static void
encode_all_but(
    struct buf *out, const char *s, size_t len, const char *unreserved)
{
	size_t i;

	for (i = 0; i < len; i++)
		if (ascii_is_alnum_or(s[i], unreserved))
			buf_addc(out, s[i]);
		else
			buf_addf(out, "%%%02X", (unsigned)(unsigned char)s[i]);
}

void
percent_encode(struct buf *out, const char *s, size_t len)
{
	encode_all_but(out, s, len, "-._~");
}

void
percent_encode_segment(struct buf *out, const char *s, size_t len)
{
	encode_all_but(out, s, len, "-._~!$&'()*+,;=:@%");
}

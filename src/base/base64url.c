/*
 * Base64url without padding (RFC 4648 section 5, RFC 7515 section 2): strict
 * reading, and writing.
 */
#include "base/base64url.h"

#include <stdint.h>
#include <string.h>

/* RFC 4648 section 5: the six bits of each character, plus 1; 0 for any
 * other. */
static const unsigned char base64url_value[256] = {
	['A'] = 1,
	2,
	3,
	4,
	5,
	6,
	7,
	8,
	9,
	10,
	11,
	12,
	13,
	14,
	15,
	16,
	17,
	18,
	19,
	20,
	21,
	22,
	23,
	24,
	25,
	26,
	['a'] = 27,
	28,
	29,
	30,
	31,
	32,
	33,
	34,
	35,
	36,
	37,
	38,
	39,
	40,
	41,
	42,
	43,
	44,
	45,
	46,
	47,
	48,
	49,
	50,
	51,
	52,
	['0'] = 53,
	54,
	55,
	56,
	57,
	58,
	59,
	60,
	61,
	62,
	['-'] = 63,
	['_'] = 64,
};

/* The 24 bits of four characters; negative if one is none of the alphabet. */
static inline int32_t
four(const unsigned char *p)
{
	int32_t a = base64url_value[p[0]] - 1, b = base64url_value[p[1]] - 1;
	int32_t c = base64url_value[p[2]] - 1, d = base64url_value[p[3]] - 1;

	return (a | b | c | d) < 0 ? -1 : a << 18 | b << 12 | c << 6 | d;
}

static inline bool
four_are(const unsigned char *p)
{
	const unsigned char *v = base64url_value;

	return v[p[0]] && v[p[1]] && v[p[2]] && v[p[3]];
}

size_t
base64url_span(const char *s, size_t len)
{
	const unsigned char *start = (const unsigned char *)s, *p = start;
	const unsigned char *end = p + len;

	while (end - p >= 4 && four_are(p))
		p += 4;
	while (p < end && base64url_value[*p] != 0)
		p++;
	return (size_t)(p - start);
}

bool
base64url_decode_to(const char *s, size_t len, unsigned char *out)
{
	const unsigned char *p = (const unsigned char *)s;
	const unsigned char *end = p + len / 4 * 4;
	unsigned char last[4] = { 'A', 'A', 'A', 'A' }; /* zeros */
	size_t rest = len % 4;
	int32_t bits;

	if (rest == 1)
		return false;
	for (; out == NULL && p < end; p += 4)
		if (!four_are(p))
			return false;
	for (; p < end; p += 4) {
		bits = four(p);
		if (bits < 0)
			return false;
		*out++ = (unsigned char)(bits >> 16);
		*out++ = (unsigned char)(bits >> 8);
		*out++ = (unsigned char)bits;
	}
	if (rest == 0)
		return true;
	memcpy(last, p, rest);
	bits = four(last);
	if (bits < 0)
		return false;
	if (out != NULL) {
		*out++ = (unsigned char)(bits >> 16);
		if (rest == 3)
			*out = (unsigned char)(bits >> 8);
	}
	/* What is left over must be zero, or two texts mean the same bytes. */
	return (bits & (rest == 3 ? 0xff : 0xffff)) == 0;
}

bool
base64url_decode(const char *s, size_t len, struct buf *out)
{
	size_t start = out->len;

	buf_reserve(out, BASE64URL_BYTES(len));
	if (!base64url_decode_to(s, len, (unsigned char *)out->data + start)) {
		buf_cut(out, start);
		return false;
	}
	out->len = start + BASE64URL_BYTES(len);
	out->data[out->len] = '\0';
	return true;
}

void
base64url_encode(struct buf *out, const void *p, size_t n)
{
	static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				       "abcdefghijklmnopqrstuvwxyz0123456789-_";
	const unsigned char *s = p;
	uint32_t bits = 0;
	size_t i;
	int have = 0;

	for (i = 0; i < n; i++) {
		bits = bits << 8 | s[i];
		for (have += 8; have >= 6;) {
			have -= 6;
			buf_addc(out, alphabet[bits >> have & 63]);
		}
	}
	if (have > 0)
		buf_addc(out, alphabet[bits << (6 - have) & 63]);
}

/*
 * Pure parsers over bytes of strangers.
 */
#include "base/parse.h"

#include <string.h>
#include <strings.h>

enum { REQUEST_ID_MAX = 128, USER_ID_MAX = 255, NAME_MAX_CHARS = 100 };

bool
parse_u64(const char *s, size_t len, uint64_t min, uint64_t max, uint64_t *out)
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

/*
 * One code point of RFC 3629's grammar: its length in bytes, 0 if there is
 * none at s.
 */
static size_t
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
parse_utf8_valid(const char *s, size_t len)
{
	const unsigned char *p = (const unsigned char *)s;
	uint32_t cp;
	size_t n;

	for (; len > 0; p += n, len -= n)
		if ((n = utf8_next(p, len, &cp)) == 0)
			return false;
	return true;
}

bool
parse_has_control(const char *s, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
		if ((unsigned char)s[i] < 0x20 || s[i] == 0x7f)
			return true;
	return false;
}

/* Take back what was appended behind len: what fails leaves no trace. */
static void
take_back(struct buf *b, size_t len)
{
	b->len = len;
	if (b->data != NULL)
		b->data[len] = '\0';
}

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

bool
parse_base64url_to(const char *s, size_t len, unsigned char *out)
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
parse_base64url(const char *s, size_t len, struct buf *out)
{
	size_t start = out->len;

	buf_reserve(out, PARSE_BASE64URL_LEN(len));
	if (!parse_base64url_to(s, len, (unsigned char *)out->data + start)) {
		take_back(out, start);
		return false;
	}
	out->len = start + PARSE_BASE64URL_LEN(len);
	out->data[out->len] = '\0';
	return true;
}

void
parse_base64url_add(struct buf *out, const void *p, size_t n)
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
parse_percent_decode(const char *s, size_t len, struct buf *out)
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
			take_back(out, start);
			return false;
		}
		buf_addc(out, (char)(hi << 4 | lo));
		i += 2;
	}
	return true;
}

static bool
is_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c >= '0' && c <= '9');
}

static void
encode_all_but(
    struct buf *out, const char *s, size_t len, const char *unreserved)
{
	size_t i;

	for (i = 0; i < len; i++)
		if (is_alnum(s[i]) ||
		    (s[i] != '\0' && strchr(unreserved, s[i]) != NULL))
			buf_addc(out, s[i]);
		else
			buf_addf(out, "%%%02X", (unsigned)(unsigned char)s[i]);
}

void
parse_percent_encode(struct buf *out, const char *s, size_t len)
{
	encode_all_but(out, s, len, "-._~");
}

void
parse_uri_encode(struct buf *out, const char *s, size_t len)
{
	encode_all_but(out, s, len, "-._~!$&'()*+,;=:@%");
}

bool
parse_is_b64token(const char *s, size_t len)
{
	const unsigned char *p = (const unsigned char *)s, *end = p + len;

	/* Nearly all of it is base64url, known by its table. */
	for (; p < end; p++) {
		while (end - p >= 4 && four_are(p))
			p += 4;
		while (p < end && base64url_value[*p] != 0)
			p++;
		if (p == end ||
		    (*p != '.' && *p != '~' && *p != '+' && *p != '/'))
			break;
	}
	if (p == (const unsigned char *)s)
		return false;
	while (p < end && *p == '=')
		p++;
	return p == end;
}

bool
parse_bearer(const char *value, const char **token, size_t *len)
{
	if (strncasecmp(value, "Bearer", 6) != 0 || value[6] != ' ')
		return false;
	value += 6 + strspn(value + 6, " ");
	if (!parse_is_b64token(value, strlen(value)))
		return false;
	*token = value;
	*len = strlen(value);
	return true;
}

size_t
parse_token_len(const char *s)
{
	size_t n = 0;

	while (s[n] != '\0' &&
	       (is_alnum(s[n]) || strchr("!#$%&'*+-.^_`|~", s[n]) != NULL))
		n++;
	return n;
}

bool
parse_is_token_list(const char *s)
{
	bool any = false;
	size_t n;

	for (;;) {
		s += strspn(s, " \t,");
		if (*s == '\0')
			return any;
		n = parse_token_len(s);
		s += n + strspn(s + n, " \t");
		if (n == 0 || (*s != ',' && *s != '\0'))
			return false;
		any = true;
	}
}

bool
parse_is_request_id(const char *s, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
		if (s[i] == '\0' ||
		    (!is_alnum(s[i]) && strchr("._:-", s[i]) == NULL))
			return false;
	return len >= 1 && len <= REQUEST_ID_MAX;
}

bool
parse_is_user_id(const char *s, size_t len)
{
	return len >= 1 && len <= USER_ID_MAX && parse_utf8_valid(s, len) &&
	       !parse_has_control(s, len);
}

/* Unicode's property White_Space. */
static bool
is_white_space(uint32_t cp)
{
	return (cp >= 0x09 && cp <= 0x0d) || cp == 0x20 || cp == 0x85 ||
	       cp == 0xa0 || cp == 0x1680 || (cp >= 0x2000 && cp <= 0x200a) ||
	       cp == 0x2028 || cp == 0x2029 || cp == 0x202f || cp == 0x205f ||
	       cp == 0x3000;
}

/*
 * What steers a terminal or a page, or shows nothing: by it one name passes for
 * another. The joiners U+200C and U+200D are letters' business in many scripts.
 */
static bool
is_hidden(uint32_t cp)
{
	return cp < 0x20 || (cp >= 0x7f && cp <= 0x9f) || /* controls */
	       cp == 0x061c || cp == 0x200e || cp == 0x200f ||
	       (cp >= 0x2028 && cp <= 0x202e) || /* ends of lines; bidi */
	       (cp >= 0x2066 && cp <= 0x2069) || cp == 0x200b || cp == 0x2060 ||
	       cp == 0xfeff || (cp >= 0xfdd0 && cp <= 0xfdef) ||
	       (cp & 0xfffe) == 0xfffe;
}

static bool
is_joiner(uint32_t cp)
{
	return cp == 0x200c || cp == 0x200d;
}

size_t
parse_hidden_len(const char *s)
{
	uint32_t cp;
	size_t n = utf8_next((const unsigned char *)s, strnlen(s, 4), &cp);

	return n > 0 && is_hidden(cp) ? n : 0;
}

/* The text without white space at its edges; UTF-8. */
static void
trim(const unsigned char **p, size_t *len)
{
	const unsigned char *end, *at;
	uint32_t cp;
	size_t n;

	while ((n = utf8_next(*p, *len, &cp)) > 0 && is_white_space(cp)) {
		*p += n;
		*len -= n;
	}
	end = at = *p;
	for (; (n = utf8_next(at, *len, &cp)) > 0; *len -= n) {
		at += n;
		if (!is_white_space(cp))
			end = at;
	}
	*len = (size_t)(end - *p);
}

bool
parse_app_name(const char *s, size_t len, struct buf *out)
{
	const unsigned char *p = (const unsigned char *)s;
	size_t n, i, chars = 0;
	bool shows = false;
	uint32_t cp;

	if (!parse_utf8_valid(s, len))
		return false;
	trim(&p, &len);
	for (i = 0; i < len; i += n) {
		n = utf8_next(p + i, len - i, &cp);
		if (is_hidden(cp) || ++chars > NAME_MAX_CHARS)
			return false;
		shows = shows || !(is_white_space(cp) || is_joiner(cp));
	}
	if (shows)
		buf_add(out, p, len);
	return shows;
}

bool
parse_is_label(const char *s, size_t len)
{
	const unsigned char *p = (const unsigned char *)s;
	size_t n, chars = 0;
	bool blank = true;
	uint32_t cp;

	if (parse_has_control(s, len))
		return false;
	for (; len > 0; p += n, len -= n) {
		n = utf8_next(p, len, &cp);
		if (n == 0 || ++chars > NAME_MAX_CHARS)
			return false;
		blank = blank && is_white_space(cp);
	}
	return !blank;
}

/* application/x-www-form-urlencoded: '+' is a space. */
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
		else if (len - i >= 3 && parse_percent_decode(s + i, 3, out))
			i += 2;
		else
			break;
	ok = i == len;
	if (!ok)
		take_back(out, start);
	return ok;
}

bool
parse_query(const char *query, const char *name, struct buf *out, bool *bad)
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
		take_back(out, start);
	buf_free(&key);
	return found;
}

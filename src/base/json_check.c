/*
 * The checker of JSON: it reads the raw bytes once, by RFC 8259's grammar and
 * our bounds. Depth is bounded, so recursion is.
 */
#include "base/json_check.h"

#include "base/mem.h"
#include "base/utf8.h"

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* PostgreSQL's numeric: digits before and after the point. */
enum { INTEGER_DIGITS_MAX = 131072, FRACTION_DIGITS_MAX = 16383 };

enum { SCRATCH_MAX = 4096, FEW_NAMES = 16 };

/* A member's name of an object still open: decoded, in names. */
struct name {
	size_t at;
	size_t len;
};

struct checker {
	const char *start, *p, *end;
	int depth;
	size_t outer; /* where the outermost member at hand begins */
	enum json_fault fault;
	int fault_depth;
	size_t expansion;
	struct buf names; /* decoded names of all open objects */
	struct buf list;  /* of struct name, the same */
	struct json_notes *notes;
};

static bool
fault(struct checker *c, enum json_fault f)
{
	if (c->fault == JSON_OK) {
		c->fault = f;
		c->fault_depth = c->depth;
	}
	return false;
}

static void
skip_space(struct checker *c)
{
	while (c->p < c->end && (*c->p == ' ' || *c->p == '\t' ||
				    *c->p == '\n' || *c->p == '\r'))
		c->p++;
}

static bool
take(struct checker *c, char ch)
{
	if (c->p == c->end || *c->p != ch)
		return false;
	c->p++;
	return true;
}

static bool
hex4(struct checker *c, uint32_t *out)
{
	int i;
	char ch;

	*out = 0;
	if (c->end - c->p < 4)
		return fault(c, JSON_SYNTAX);
	for (i = 0; i < 4; i++) {
		ch = *c->p++;
		if (ch >= '0' && ch <= '9')
			*out = *out << 4 | (uint32_t)(ch - '0');
		else if (ch >= 'a' && ch <= 'f')
			*out = *out << 4 | (uint32_t)(ch - 'a' + 10);
		else if (ch >= 'A' && ch <= 'F')
			*out = *out << 4 | (uint32_t)(ch - 'A' + 10);
		else
			return fault(c, JSON_SYNTAX);
	}
	return true;
}

static void
add_utf8(struct buf *b, uint32_t cp)
{
	if (cp < 0x80) {
		buf_addc(b, (char)cp);
	} else if (cp < 0x800) {
		buf_addc(b, (char)(0xc0 | cp >> 6));
		buf_addc(b, (char)(0x80 | (cp & 0x3f)));
	} else if (cp < 0x10000) {
		buf_addc(b, (char)(0xe0 | cp >> 12));
		buf_addc(b, (char)(0x80 | (cp >> 6 & 0x3f)));
		buf_addc(b, (char)(0x80 | (cp & 0x3f)));
	} else {
		buf_addc(b, (char)(0xf0 | cp >> 18));
		buf_addc(b, (char)(0x80 | (cp >> 12 & 0x3f)));
		buf_addc(b, (char)(0x80 | (cp >> 6 & 0x3f)));
		buf_addc(b, (char)(0x80 | (cp & 0x3f)));
	}
}

/* Behind "\u": one code point, a surrogate pair taken together. */
static bool
unicode_escape(struct checker *c, struct buf *out)
{
	uint32_t cp, low;

	if (!hex4(c, &cp))
		return false;
	if (cp == 0)
		return fault(c, JSON_NUL);
	if (cp >= 0xdc00 && cp <= 0xdfff)
		return fault(c, JSON_ENCODING);
	if (cp >= 0xd800 && cp <= 0xdbff) {
		if (!take(c, '\\') || !take(c, 'u'))
			return fault(c, JSON_ENCODING);
		if (!hex4(c, &low))
			return false;
		if (low < 0xdc00 || low > 0xdfff)
			return fault(c, JSON_ENCODING);
		cp = 0x10000 + ((cp - 0xd800) << 10) + (low - 0xdc00);
	}
	if (out != NULL)
		add_utf8(out, cp);
	return true;
}

static bool
escape(struct checker *c, struct buf *out)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	const char *at;

	if (c->p == c->end)
		return fault(c, JSON_SYNTAX);
	if (take(c, 'u'))
		return unicode_escape(c, out);
	at = *c->p != '\0' ? strchr(from, *c->p) : NULL;
	if (at == NULL)
		return fault(c, JSON_SYNTAX);
	c->p++;
	if (out != NULL)
		buf_addc(out, to[at - from]);
	return true;
}

/* A string with its quotes; its decoded bytes go to out, if there is one.
 * UTF-8 was checked over the whole text. */
static bool
string(struct checker *c, struct buf *out)
{
	const char *from;

	if (!take(c, '"'))
		return fault(c, JSON_SYNTAX);
	for (;;) {
		from = c->p;
		while (c->p < c->end && *c->p != '"' && *c->p != '\\' &&
		       (unsigned char)*c->p >= 0x20)
			c->p++;
		if (out != NULL)
			buf_add(out, from, (size_t)(c->p - from));
		if (c->p == c->end || (unsigned char)*c->p < 0x20)
			return fault(c, JSON_SYNTAX);
		if (take(c, '"'))
			return true;
		c->p++; /* the backslash */
		if (!escape(c, out))
			return false;
	}
}

static size_t
digits(struct checker *c)
{
	const char *from = c->p;

	while (c->p < c->end && *c->p >= '0' && *c->p <= '9')
		c->p++;
	return (size_t)(c->p - from);
}

/*
 * Written out in full, how long is a number of these digits with exponent e,
 * and can numeric hold it? Saturating: a huge exponent is just too large. What
 * is read for its values alone, and not to be stored, has any size.
 */
static bool
number_size(
    struct checker *c, size_t whole, size_t fraction, bool negative, size_t e)
{
	if (c->notes == NULL &&
	    (whole + (negative ? 0 : e) > INTEGER_DIGITS_MAX ||
		fraction + (negative ? e : 0) > FRACTION_DIGITS_MAX))
		return fault(c, JSON_NUMBER);
	c->expansion += e;
	return true;
}

static bool
exponent(struct checker *c, size_t whole, size_t fraction)
{
	bool negative = false;
	size_t n, e = 0;
	const char *from;

	if (c->p == c->end || (*c->p != 'e' && *c->p != 'E'))
		return number_size(c, whole, fraction, false, 0);
	c->p++;
	if (take(c, '-'))
		negative = true;
	else
		(void)take(c, '+');
	from = c->p;
	n = digits(c);
	if (n == 0)
		return fault(c, JSON_SYNTAX);
	for (; n > 0; n--, from++)
		if (e < 1000000)
			e = 10 * e + (size_t)(*from - '0');
	return number_size(c, whole, fraction, negative, e);
}

/* Note an integer, ending here, that int64 can't hold. */
static void
note_wide(struct checker *c, const char *from, size_t whole)
{
	static const char max[] = "9223372036854775807";
	static const char min[] = "9223372036854775808";
	const size_t n = sizeof max - 1;
	size_t at = (size_t)(c->p - c->start);

	if (whole < n ||
	    (whole == n && memcmp(c->p - n, *from == '-' ? min : max, n) <= 0))
		return;
	buf_add(&c->notes->wide, &at, sizeof at);
	c->notes->beyond = true;
}

/* Note a real, ending here, that double can't hold: a long one, or one with an
 * exponent. */
static void
note_real(struct checker *c, const char *from, size_t whole)
{
	size_t len = (size_t)(c->p - from);
	struct buf b = { 0 };

	if (whole <= DBL_MAX_10_EXP && memchr(from, 'e', len) == NULL &&
	    memchr(from, 'E', len) == NULL)
		return;
	buf_add(&b, from, len);
	if (isinf(strtod(buf_str(&b), NULL)))
		c->notes->beyond = true;
	buf_free(&b);
}

static bool
number(struct checker *c)
{
	const char *from = c->p, *dot;
	size_t whole, fraction = 0;

	(void)take(c, '-');
	if (take(c, '0'))
		whole = 1;
	else if ((whole = digits(c)) == 0)
		return fault(c, JSON_SYNTAX);
	dot = c->p;
	if (take(c, '.') && (fraction = digits(c)) == 0)
		return fault(c, JSON_SYNTAX);
	if (!exponent(c, whole, fraction))
		return false;
	if (c->notes != NULL && c->p == dot)
		note_wide(c, from, whole);
	else if (c->notes != NULL)
		note_real(c, from, whole);
	return true;
}

static bool
literal(struct checker *c, const char *word)
{
	size_t n = strlen(word);

	if ((size_t)(c->end - c->p) < n || memcmp(c->p, word, n) != 0)
		return fault(c, JSON_SYNTAX);
	c->p += n;
	return true;
}

static int
compare_names(const void *a, const void *b, void *names)
{
	const struct name *x = a, *y = b;
	const struct buf *text = names;
	size_t n = x->len < y->len ? x->len : y->len;
	int d = n > 0 ? memcmp(text->data + x->at, text->data + y->at, n) : 0;

	return d != 0 ? d : (x->len > y->len) - (x->len < y->len);
}

/* Each with each. */
static bool
few_differ(const struct checker *c, size_t from, size_t n)
{
	const struct name *x =
	    (const struct name *)(const void *)(c->list.data + from);
	size_t i, k;

	for (i = 1; i < n; i++)
		for (k = 0; k < i; k++)
			if (x[i].len == x[k].len &&
			    memcmp(c->names.data + x[i].at,
				c->names.data + x[k].at, x[i].len) == 0)
				return false;
	return true;
}

/*
 * The names of one object, from the from-th on: is one there twice? Many are
 * sorted, so that no choice of names makes it slow. Then they are dropped.
 */
static bool
names_differ(struct checker *c, size_t from, size_t names_len)
{
	size_t n = (c->list.len - from) / sizeof(struct name), i;
	struct name *list;
	bool ok = true;

	if (n <= FEW_NAMES) {
		ok = few_differ(c, from, n);
	} else {
		list = mem_alloc(n * sizeof *list);
		memcpy(list, c->list.data + from, n * sizeof *list);
		qsort_r(list, n, sizeof *list, compare_names, &c->names);
		for (i = 1; ok && i < n; i++)
			ok = compare_names(&list[i - 1], &list[i], &c->names) !=
			     0;
		free(list);
	}
	if (c->depth == 1 && c->notes != NULL)
		c->notes->members = n;
	c->list.len = from;
	c->names.len = names_len;
	return ok || fault(c, JSON_DUPLICATE);
}

static bool value(struct checker *c);

static bool
member(struct checker *c)
{
	struct name name = { .at = c->names.len };

	skip_space(c);
	if (c->depth == 1)
		c->outer = (size_t)(c->p - c->start);
	if (!string(c, &c->names))
		return false;
	name.len = c->names.len - name.at;
	buf_add(&c->list, &name, sizeof name);
	skip_space(c);
	if (!take(c, ':'))
		return fault(c, JSON_SYNTAX);
	return value(c);
}

static bool
object(struct checker *c)
{
	size_t from = c->list.len, names_len = c->names.len;

	c->p++;
	skip_space(c);
	if (take(c, '}'))
		return true;
	do
		if (!member(c))
			return false;
	while (take(c, ','));
	if (!take(c, '}'))
		return fault(c, JSON_SYNTAX);
	return names_differ(c, from, names_len);
}

static bool
array(struct checker *c)
{
	c->p++;
	skip_space(c);
	if (take(c, ']'))
		return true;
	do
		if (!value(c))
			return false;
	while (take(c, ','));
	return take(c, ']') || fault(c, JSON_SYNTAX);
}

static bool
nested(struct checker *c, bool (*what)(struct checker *))
{
	bool ok;

	if (c->depth == JSON_MAX_DEPTH)
		return fault(c, JSON_DEPTH);
	c->depth++;
	ok = what(c);
	c->depth--;
	return ok;
}

/* A value with the white space around it. */
static bool
value(struct checker *c)
{
	bool ok;

	skip_space(c);
	if (c->p == c->end)
		return fault(c, JSON_SYNTAX);
	switch (*c->p) {
	case '{':
		ok = nested(c, object);
		break;
	case '[':
		ok = nested(c, array);
		break;
	case '"':
		ok = string(c, NULL);
		break;
	case 't':
		ok = literal(c, "true");
		break;
	case 'f':
		ok = literal(c, "false");
		break;
	case 'n':
		ok = literal(c, "null");
		break;
	default:
		ok = number(c);
	}
	skip_space(c);
	return ok;
}

enum json_fault
json_check_noting(const char *text, size_t len, struct json_facts *facts,
    struct json_notes *notes)
{
	static struct buf names, list; /* their memory is used again */
	struct checker c = { .start = text,
		.p = text,
		.end = text + len,
		.names = names,
		.list = list,
		.notes = notes };
	bool is_object;

	if (!utf8_valid(text, len)) {
		fault(&c, JSON_ENCODING);
	} else if (value(&c)) {
		is_object = text[strspn(text, " \t\r\n")] == '{';
		if (c.p != c.end)
			fault(&c, JSON_SYNTAX);
		else if (!is_object)
			fault(&c, JSON_NOT_OBJECT);
	}
	if (facts != NULL) {
		facts->at = (size_t)(c.p - c.start);
		facts->member = c.fault_depth > 1 ? c.outer : 0;
		facts->expansion = c.expansion;
	}
	names = c.names;
	list = c.list;
	buf_shrink(&names, SCRATCH_MAX);
	buf_shrink(&list, SCRATCH_MAX);
	return c.fault;
}

enum json_fault
json_check(const char *text, size_t len, struct json_facts *facts)
{
	return json_check_noting(text, len, facts, NULL);
}

const char *
json_fault_text(enum json_fault f)
{
	static const char *const texts[] = {
		[JSON_OK] = "The text is well-formed.",
		[JSON_SYNTAX] = "The body is not well-formed JSON.",
		[JSON_ENCODING] = "The body is not well-formed UTF-8, or has "
				  "half of a surrogate pair.",
		[JSON_NUL] = "U+0000 can't be stored.",
		[JSON_DUPLICATE] = "A member's name is there twice.",
		[JSON_DEPTH] = "The body is nested deeper than 32.",
		[JSON_NOT_OBJECT] = "The body is not a JSON object.",
		[JSON_NUMBER] = "A number is too large or too long to be "
				"stored exactly.",
	};

	return texts[f];
}

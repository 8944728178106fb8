/*
 * Entity-tags that a request is conditional on.
 */
#include "http/etag.h"

#include <string.h>

/* RFC 9110 section 8.8.3: etagc. */
static bool
is_etagc(char c)
{
	unsigned char u = (unsigned char)c;

	return u == 0x21 || (u >= 0x23 && u != 0x7f);
}

/*
 * The opaque tag without what a compressing web server appended: its
 * representation is ours in another coding, and what is written back replaces
 * ours.
 */
static size_t
without_coding(const char *opaque, size_t len)
{
	static const char *const codings[] = { "-gzip", "-br", "-zstd",
		";gzip" };
	size_t i, n;

	for (i = 0; i < sizeof codings / sizeof codings[0]; i++) {
		n = strlen(codings[i]);
		if (len > n && memcmp(opaque + len - n, codings[i], n) == 0)
			return len - n;
	}
	return len;
}

/* One entity-tag; what follows it, or NULL where there is none. */
static const char *
take_tag(struct etag_list *l, const char *p, bool weak)
{
	bool is_weak = p[0] == 'W' && p[1] == '/', ascii = true;
	const char *opaque;
	size_t len;

	p += is_weak ? 2 : 0;
	if (*p++ != '"')
		return NULL;
	for (opaque = p; is_etagc(*p); p++)
		ascii = ascii && (unsigned char)*p < 0x80;
	if (*p != '"')
		return NULL;
	if (ascii && (weak || !is_weak)) {
		len = without_coding(opaque, (size_t)(p - opaque));
		buf_addc(&l->tags, '"');
		buf_add(&l->tags, opaque, len);
		buf_add(&l->tags, "\"", 2); /* and its NUL */
	}
	return p + 1;
}

static bool
take_all(struct etag_list *l, const char *p, bool weak)
{
	for (;;) {
		p += strspn(p, " \t,");
		if (*p == '\0')
			return l->n > 0;
		if (*p == '*') {
			l->any = true;
			p++;
		} else if ((p = take_tag(l, p, weak)) == NULL) {
			return false;
		}
		if (++l->n > 1 && l->any)
			return false;
		p += strspn(p, " \t");
		if (*p != ',' && *p != '\0')
			return false;
	}
}

void
etag_list_add(struct etag_list *l, const char *value, bool weak)
{
	l->there = true;
	l->malformed = l->malformed || !take_all(l, value, weak);
}

void
etag_list_clear(struct etag_list *l)
{
	buf_free(&l->tags);
	memset(l, 0, sizeof *l);
}

bool
etag_list_holds(const struct etag_list *l, const char *etag)
{
	const char *p = buf_str(&l->tags), *end = p + l->tags.len;

	for (; p < end; p += strlen(p) + 1)
		if (strcmp(p, etag) == 0)
			return true;
	return l->any;
}

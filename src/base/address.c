/*
 * Internet addresses. The hops of X-Forwarded-For are read from the right: each
 * was added by the one after it, so only what trusted proxies added counts.
 */
#include "base/address.h"

#include "base/decimal.h"
#include "base/mem.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#define SEPARATORS " ,\t"

static const unsigned char v4_prefix[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff,
	0xff };

static bool
is_v4(const struct address *a)
{
	return memcmp(a->bytes, v4_prefix, sizeof v4_prefix) == 0;
}

/* One address and nothing else. */
static bool
parse_bare(const char *s, size_t len, struct address *out)
{
	char text[ADDRESS_TEXT];
	struct address a;

	if (len >= sizeof text || memchr(s, '\0', len) != NULL)
		return false;
	memcpy(text, s, len);
	text[len] = '\0';
	memcpy(a.bytes, v4_prefix, sizeof v4_prefix);
	if (inet_pton(AF_INET, text, a.bytes + sizeof v4_prefix) != 1 &&
	    inet_pton(AF_INET6, text, a.bytes) != 1)
		return false;
	*out = a;
	return true;
}

bool
address_parse(const char *s, size_t len, struct address *out)
{
	size_t host = len;
	const char *end;
	uint64_t port;

	if (len > 0 && s[0] == '[') {
		end = memchr(s, ']', len);
		if (end == NULL)
			return false;
		host = (size_t)(end - s) + 1;
	} else if ((end = memchr(s, ':', len)) != NULL &&
		   memchr(s, '.', (size_t)(end - s)) != NULL) {
		host = (size_t)(end - s);
	}
	if (host < len &&
	    (s[host] != ':' ||
		!decimal_parse(s + host + 1, len - host - 1, 0, 65535, &port)))
		return false;
	if (host > 0 && s[0] == '[')
		return parse_bare(s + 1, host - 2, out);
	return parse_bare(s, host, out);
}

/* The addresses that have the first bits in common with net. */
static struct address_range
range_of(const struct address *net, unsigned bits)
{
	struct address_range r = { *net, *net };
	unsigned char rest;
	size_t i;

	for (i = bits / 8; i < sizeof net->bytes; i++) {
		rest = i == bits / 8 ? (unsigned char)(0xff >> bits % 8) : 0xff;
		r.first.bytes[i] &= (unsigned char)~rest;
		r.last.bytes[i] |= rest;
	}
	return r;
}

/* ADDRESS or ADDRESS/BITS. */
static bool
parse_net(const char *s, size_t len, struct address_range *out)
{
	const char *slash = memchr(s, '/', len);
	size_t n = slash != NULL ? (size_t)(slash - s) : len;
	struct address address;
	unsigned before;
	uint64_t bits;

	if (!parse_bare(s, n, &address))
		return false;
	before = memchr(s, ':', n) == NULL ? 8 * sizeof v4_prefix : 0;
	bits = 128 - before;
	if (slash != NULL &&
	    !decimal_parse(slash + 1, len - n - 1, 0, 128 - before, &bits))
		return false;
	*out = range_of(&address, before + (unsigned)bits);
	return true;
}

/* The next word of the list at *text, which goes on behind it; its length, 0 at
 * the end. */
static size_t
next_word(const char **text, const char **word)
{
	size_t n;

	*word = *text + strspn(*text, SEPARATORS);
	n = strcspn(*word, SEPARATORS);
	*text = *word + n;
	return n;
}

const char *
address_list_fault(const char *text)
{
	struct address_range range;
	const char *word;
	size_t n;

	while ((n = next_word(&text, &word)) > 0)
		if (!parse_net(word, n, &range))
			return word;
	return NULL;
}

static int
compare(const struct address *a, const struct address *b)
{
	return memcmp(a->bytes, b->bytes, sizeof a->bytes);
}

static int
compare_ranges(const void *a, const void *b)
{
	const struct address_range *x = a, *y = b;

	return compare(&x->first, &y->first);
}

/* In order, and those that meet made one. */
static void
tidy(struct address_list *list)
{
	struct address_range *r = list->range;
	size_t i, last = 0;

	qsort(r, list->n, sizeof *r, compare_ranges);
	for (i = 1; i < list->n; i++) {
		if (compare(&r[i].first, &r[last].last) > 0)
			r[++last] = r[i];
		else if (compare(&r[i].last, &r[last].last) > 0)
			r[last].last = r[i].last;
	}
	list->n = last + 1;
}

bool
address_list_parse(const char *text, struct address_list *out)
{
	struct address_list list = { 0 };
	const char *word, *p = text;
	size_t n, all = 0;

	if (address_list_fault(text) != NULL)
		return false;
	*out = list;
	while (next_word(&p, &word) > 0)
		all++;
	if (all == 0)
		return true;
	list.range = mem_alloc(all * sizeof *list.range);
	while (list.n < all && (n = next_word(&text, &word)) > 0)
		(void)parse_net(word, n, &list.range[list.n++]);
	tidy(&list);
	*out = list;
	return true;
}

void
address_list_free(struct address_list *list)
{
	free(list->range);
	*list = (struct address_list){ 0 };
}

bool
address_listed(const struct address_list *list, const struct address *a)
{
	size_t from = 0, to = list->n, mid;

	while (from < to) {
		mid = from + (to - from) / 2;
		if (compare(a, &list->range[mid].first) < 0)
			to = mid;
		else if (compare(a, &list->range[mid].last) > 0)
			from = mid + 1;
		else
			return true;
	}
	return false;
}

/* The last of the list's first len bytes, without space around it; *len is
 * then what stands before its comma, SIZE_MAX when nothing does. */
static bool
last_hop(const char *list, size_t *len, struct address *out)
{
	size_t from = *len, to = *len;

	while (from > 0 && list[from - 1] != ',')
		from--;
	*len = from > 0 ? from - 1 : SIZE_MAX;
	while (from < to && strchr(" \t", list[from]) != NULL)
		from++;
	while (to > from && strchr(" \t", list[to - 1]) != NULL)
		to--;
	return address_parse(list + from, to - from, out);
}

bool
address_client(const char *peer, const char *forwarded,
    const struct address_list *trusted, struct address *out)
{
	struct address hop;
	size_t len;

	memset(out, 0, sizeof *out);
	if (!address_parse(peer, strlen(peer), out))
		return false;
	if (forwarded == NULL)
		return true;
	len = strlen(forwarded);
	while (len != SIZE_MAX && address_listed(trusted, out) &&
	       last_hop(forwarded, &len, &hop))
		*out = hop;
	return true;
}

void
address_narrow(struct address *a)
{
	if (!is_v4(a))
		memset(a->bytes + 8, 0, 8);
}

void
address_text(const struct address *a, char text[ADDRESS_TEXT])
{
	bool v4 = is_v4(a);

	text[0] = '\0';
	(void)inet_ntop(v4 ? AF_INET : AF_INET6,
	    a->bytes + (v4 ? sizeof v4_prefix : 0), text, ADDRESS_TEXT);
}

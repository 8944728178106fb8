/*
 * Internet addresses. The hops of X-Forwarded-For are read from the right: each
 * was added by the one after it, so only what trusted proxies added counts.
 */
#include "base/address.h"

#include "base/parse.h"

#include <arpa/inet.h>
#include <string.h>

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
		!parse_u64(s + host + 1, len - host - 1, 0, 65535, &port)))
		return false;
	if (host > 0 && s[0] == '[')
		return parse_bare(s + 1, host - 2, out);
	return parse_bare(s, host, out);
}

/* ADDRESS or ADDRESS/BITS. */
static bool
parse_net(const char *s, size_t len, struct address_net *out)
{
	const char *slash = memchr(s, '/', len);
	size_t n = slash != NULL ? (size_t)(slash - s) : len;
	unsigned before;
	uint64_t bits;

	if (!parse_bare(s, n, &out->address))
		return false;
	before = memchr(s, ':', n) == NULL ? 8 * sizeof v4_prefix : 0;
	bits = 128 - before;
	if (slash != NULL &&
	    !parse_u64(slash + 1, len - n - 1, 0, 128 - before, &bits))
		return false;
	out->bits = before + (unsigned)bits;
	return true;
}

bool
address_list_parse(const char *text, struct address_list *out)
{
	static const char separators[] = " ,\t";
	struct address_list list = { .n = 0 };
	size_t n;

	for (;; text += n) {
		text += strspn(text, separators);
		n = strcspn(text, separators);
		if (n == 0)
			break;
		if (list.n == ADDRESS_NETS_MAX ||
		    !parse_net(text, n, &list.net[list.n++]))
			return false;
	}
	*out = list;
	return true;
}

static bool
in_net(const struct address_net *net, const struct address *a)
{
	size_t whole = net->bits / 8;
	unsigned rest = net->bits % 8;

	if (memcmp(net->address.bytes, a->bytes, whole) != 0)
		return false;
	return rest == 0 ||
	       (net->address.bytes[whole] ^ a->bytes[whole]) >> (8 - rest) == 0;
}

bool
address_listed(const struct address_list *list, const struct address *a)
{
	size_t i;

	for (i = 0; i < list->n; i++)
		if (in_net(&list->net[i], a))
			return true;
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

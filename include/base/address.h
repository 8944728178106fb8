#ifndef POSTERN_BASE_ADDRESS_H
#define POSTERN_BASE_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>

/* Internet addresses, and who a client is behind proxies. */

/* An IPv4 address is held as IPv6 writes it, ::ffff:a.b.c.d. */
struct address {
	unsigned char bytes[16];
};

/* From the one to the other, both included. */
struct address_range {
	struct address first, last;
};

enum { ADDRESS_TEXT = 46 };

/* Any number of networks; { 0 } has none. In order, and none meets another. */
struct address_list {
	struct address_range *range;
	size_t n;
};

/*
 * An address as REMOTE_ADDR and X-Forwarded-For have it: IPv4 or IPv6, the
 * latter also in brackets, and behind IPv4 or brackets perhaps a port.
 */
bool address_parse(const char *s, size_t len, struct address *out);

/*
 * Addresses and networks (10.0.0.0/8, 2001:db8::/32), separated by spaces or
 * commas. False on what is none. The caller frees.
 */
bool address_list_parse(const char *text, struct address_list *out);
void address_list_free(struct address_list *list);

/* Where in such a text the first thing is that is none, else NULL. */
const char *address_list_fault(const char *text);

/* In a time that grows with the number's logarithm. */
bool address_listed(const struct address_list *list, const struct address *a);

/*
 * The client: the peer, unless that is a trusted proxy; then the last hop of
 * X-Forwarded-For (forwarded, NULL when absent) that is not trusted. What
 * stands left of a hop that is no address is nobody's word, and not read.
 * False, and *out all zeros, when the peer is no address.
 */
bool address_client(const char *peer, const char *forwarded,
    const struct address_list *trusted, struct address *out);

/* What limits are kept by: IPv4 as it is, IPv6 without its last 64 bits, which
 * are the client's to choose. */
void address_narrow(struct address *a);

/* As text; IPv4 in its own form. */
void address_text(const struct address *a, char text[ADDRESS_TEXT]);

#endif

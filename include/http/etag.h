#ifndef POSTERN_HTTP_ETAG_H
#define POSTERN_HTTP_ETAG_H

#include "base/buf.h"
#include <stdbool.h>
#include <stddef.h>

/*
 * If-Match and If-None-Match (RFC 9110 sections 8.8.3 and 13.1): the one
 * reading of them. { 0 } is a request without the header.
 */
struct etag_list {
	bool there;
	bool malformed;  /* neither "*" nor one entity-tag at least */
	bool any;        /* "*" */
	size_t n;        /* elements seen */
	struct buf tags; /* those that can be one of ours, strong, each with its
			    quotes and a NUL behind it */
};

/*
 * Read a header's value, or a further one of the same header: the lists are one
 * then. Where weak is not set (If-Match compares strongly), weak tags are
 * elements that match nothing. What web servers append where they compress
 * (-gzip, -br, -zstd, ;gzip) is taken off a tag. Bytes beyond ASCII are part of
 * the grammar, but of no tag of ours.
 */
void etag_list_add(struct etag_list *l, const char *value, bool weak);
void etag_list_clear(struct etag_list *l);

/* Is it "*", or does it hold etag (with its quotes)? */
bool etag_list_holds(const struct etag_list *l, const char *etag);

#endif

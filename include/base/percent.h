#ifndef POSTERN_BASE_PERCENT_H
#define POSTERN_BASE_PERCENT_H

#include "base/buf.h"
#include <stdbool.h>
#include <stddef.h>

/*
 * Percent-decoding, once (RFC 3986 section 2.1); '+' stays. False on a '%'
 * without two hex digits. Appends to out.
 */
bool percent_decode(const char *s, size_t len, struct buf *out);

/* Append s percent-encoded: everything but RFC 3986's unreserved. */
void percent_encode(struct buf *out, const char *s, size_t len);

/* Append a path segment as it was sent, but for what may not stand in one (RFC
 * 3986 section 3.3): that is percent-encoded. */
void percent_encode_segment(struct buf *out, const char *s, size_t len);

#endif

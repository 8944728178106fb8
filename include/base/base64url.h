#ifndef POSTERN_BASE_BASE64URL_H
#define POSTERN_BASE_BASE64URL_H

#include "base/buf.h"
#include <stdbool.h>
#include <stddef.h>

/*
 * Strict base64url without padding (RFC 7515 section 2): alphabet only, no
 * length of 1 mod 4, unused bits zero. Appends the bytes to out.
 */
bool base64url_decode(const char *s, size_t len, struct buf *out);

/* The same into out, which has room for BASE64URL_BYTES(len), or is NULL where
 * only the form matters. On false out may have been written to. */
#define BASE64URL_BYTES(len) ((len) / 4 * 3 + (len) % 4 * 3 / 4)
bool base64url_decode_to(const char *s, size_t len, unsigned char *out);

/* How many characters at s are of the alphabet. */
size_t base64url_span(const char *s, size_t len);

/* Append base64url without padding of n bytes. */
void base64url_encode(struct buf *out, const void *p, size_t n);

#endif

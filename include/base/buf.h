#ifndef POSTERN_BASE_BUF_H
#define POSTERN_BASE_BUF_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/*
 * A growing byte buffer. { 0 } is an empty one. data is NUL-terminated behind
 * len whenever it is not NULL. Growth aborts when memory is out (base/mem.h).
 */
struct buf {
	char *data;
	size_t len;
	size_t cap;
};

/* Append n bytes. */
void buf_add(struct buf *b, const void *p, size_t n);

/* Append a string / one byte / a decimal number / a formatted text. The first
 * is here so that a constant's length is known when it is compiled. */
static inline void
buf_adds(struct buf *b, const char *s)
{
	buf_add(b, s, strlen(s));
}

void buf_addc(struct buf *b, char c);
void buf_addn(struct buf *b, int64_t n);
void buf_addf(struct buf *b, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* A decimal number as a string that ends where text does. */
enum { BUF_DECIMAL = 24 };
const char *buf_decimal(int64_t n, char text[BUF_DECIMAL]);

/* Make room for n more bytes without changing len. */
void buf_reserve(struct buf *b, size_t n);

/* The content as a string, "" when empty; borrowed. */
const char *buf_str(const struct buf *b);

/* Take back what was appended behind len. */
void buf_cut(struct buf *b, size_t len);

/* Set len to 0, keeping the memory; buf_wipe overwrites it first. */
void buf_reset(struct buf *b);
void buf_wipe(struct buf *b);

/* Empty and overwritten for another use; memory beyond max bytes is released.
 */
void buf_shrink(struct buf *b, size_t max);

/* Overwrite and release the memory; b is { 0 } afterwards. */
void buf_free(struct buf *b);

#endif

/*
 * The growing buffer. Secrets pass through it, so no block is given back to
 * the allocator unwiped: growth copies and wipes instead of calling realloc.
 */

#include "base/buf.h"

#include "base/mem.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BUF_MIN = 256 };

void
buf_reserve(struct buf *b, size_t n)
{
	size_t need, cap;
	char *p;

	if (n >= SIZE_MAX / 4 - b->len)
		abort();
	need = b->len + n + 1; /* the NUL */
	if (b->data != NULL && need <= b->cap)
		return;
	cap = b->cap < BUF_MIN ? BUF_MIN : b->cap;
	while (cap < need)
		cap *= 2;
	p = mem_alloc_raw(cap);
	if (b->data != NULL) {
		memcpy(p, b->data, b->len);
		explicit_bzero(b->data, b->cap);
		free(b->data);
	}
	b->data = p;
	b->cap = cap;
	b->data[b->len] = '\0';
}

void
buf_add(struct buf *b, const void *p, size_t n)
{
	if (b->data == NULL || n >= b->cap - b->len)
		buf_reserve(b, n);
	if (n > 0)
		memcpy(b->data + b->len, p, n);
	b->len += n;
	b->data[b->len] = '\0';
}

void
buf_addc(struct buf *b, char c)
{
	if (b->data == NULL || b->len + 2 > b->cap)
		buf_reserve(b, 1);
	b->data[b->len++] = c;
	b->data[b->len] = '\0';
}

const char *
buf_decimal(int64_t n, char text[BUF_DECIMAL])
{
	uint64_t u = n < 0 ? -(uint64_t)n : (uint64_t)n;
	size_t i = BUF_DECIMAL - 1;

	text[i] = '\0';
	do
		text[--i] = (char)('0' + u % 10);
	while ((u /= 10) > 0);
	if (n < 0)
		text[--i] = '-';
	return &text[i];
}

void
buf_addn(struct buf *b, int64_t n)
{
	char text[BUF_DECIMAL];

	buf_adds(b, buf_decimal(n, text));
}

void
buf_addf(struct buf *b, const char *fmt, ...)
{
	va_list ap, again;
	int n;

	va_start(ap, fmt);
	va_copy(again, ap);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n < 0)
		abort();
	buf_reserve(b, (size_t)n);
	vsnprintf(b->data + b->len, (size_t)n + 1, fmt, again);
	va_end(again);
	b->len += (size_t)n;
}

const char *
buf_str(const struct buf *b)
{
	return b->data != NULL ? b->data : "";
}

void
buf_cut(struct buf *b, size_t len)
{
	b->len = len;
	if (b->data != NULL)
		b->data[len] = '\0';
}

void
buf_reset(struct buf *b)
{
	buf_cut(b, 0);
}

void
buf_wipe(struct buf *b)
{
	if (b->data != NULL)
		explicit_bzero(b->data, b->cap);
	b->len = 0;
}

void
buf_shrink(struct buf *b, size_t max)
{
	buf_wipe(b);
	if (b->cap > max)
		buf_free(b);
}

void
buf_free(struct buf *b)
{
	buf_wipe(b);
	free(b->data);
	b->data = NULL;
	b->cap = 0;
}

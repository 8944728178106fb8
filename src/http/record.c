/*
 * FastCGI's records: one pass over the bytes of a connection, which may be cut
 * anywhere. A record's header decides what its content is for; its end, after
 * the padding, moves the request on.
 */
#include "http/record.h"

#include "http/request.h"

#include <stdlib.h>
#include <string.h>
#include <sys/param.h>

enum { VERSION = 1, KEEP_CONN = 1, CANT_MPX_CONN = 1, CONTENT_MAX = 65528 };
enum { REPLY_MAX = 4096 };

enum type {
	BEGIN_REQUEST = 1,
	ABORT_REQUEST,
	END_REQUEST,
	PARAMS,
	STDIN,
	STDOUT,
	STDERR,
	DATA,
	GET_VALUES,
	GET_VALUES_RESULT,
	UNKNOWN_TYPE
};

/* What a record's content is for. */
enum use {
	USE_NOTHING,
	USE_BEGIN,
	USE_PARAMS,
	USE_STDIN,
	USE_VALUES,
	USE_UNKNOWN, /* a management record that nobody knows: told so */
	USE_REFUSE   /* a second request beside the one at hand: told so */
};

static const char *const values[] = { "FCGI_MAX_CONNS", "FCGI_MAX_REQS",
	"FCGI_MPXS_CONNS" };
enum { MAX_CONNS, MAX_REQS, MPXS_CONNS, VALUES };

void
record_init(struct record_reader *r, const struct record_limits *limits)
{
	r->limits = limits;
	r->plain = true;
}

static void
add_head(struct buf *out, enum type type, unsigned id, size_t len)
{
	const char head[RECORD_HEAD] = { VERSION, (char)type, (char)(id >> 8),
		(char)id, (char)(len >> 8), (char)len, 0, 0 };

	buf_add(out, head, sizeof head);
}

/* Answers have eight bytes of content, the first or fifth of which counts. */
static void
reply_eight(
    struct record_reader *r, enum type type, unsigned id, size_t at, int value)
{
	char content[8] = { 0 };

	if (!r->keeping)
		return;
	content[at] = (char)value;
	add_head(&r->reply, type, id, sizeof content);
	buf_add(&r->reply, content, sizeof content);
}

static void
reply_values(struct record_reader *r, unsigned asked)
{
	const unsigned numbers[VALUES] = { r->limits->conns, r->limits->reqs,
		0 };
	char text[BUF_DECIMAL];
	struct buf content = { 0 };
	const char *n;
	size_t i;

	if (!r->keeping)
		return;
	for (i = 0; i < VALUES; i++) {
		if ((asked & 1U << i) == 0)
			continue;
		n = buf_decimal(numbers[i], text);
		buf_addc(&content, (char)strlen(values[i]));
		buf_addc(&content, (char)strlen(n));
		buf_adds(&content, values[i]);
		buf_adds(&content, n);
	}
	add_head(&r->reply, GET_VALUES_RESULT, 0, content.len);
	buf_add(&r->reply, buf_str(&content), content.len);
	buf_free(&content);
}

/* -- pairs */

static size_t
length_size(unsigned char first)
{
	return first < 128 ? 1 : 4;
}

static size_t
length_at(const unsigned char *p)
{
	if (*p < 128)
		return *p;
	return (size_t)(p[0] & 127) << 24 | (size_t)p[1] << 16 |
	       (size_t)p[2] << 8 | p[3];
}

/* Are both lengths there? */
static bool
has_lengths(const struct record_pairs *s)
{
	size_t first;

	first = length_size(s->lens[0]);
	return s->nlens > first &&
	       s->nlens == first + length_size(s->lens[first]);
}

/* Between two pairs? */
static bool
at_rest(const struct record_pairs *s)
{
	return s->nlens == 0;
}

static void
end_pair(struct record_reader *r, struct record_pairs *s)
{
	size_t i;

	for (i = 0; s == &r->values && i < VALUES; i++)
		if (s->name == strlen(values[i]) &&
		    memcmp(s->text, values[i], s->name) == 0)
			s->asked |= 1U << i;
	s->nlens = 0;
	s->open = false;
}

/* Is there room for one of this size? As http/request.c counts: with '=' for
 * the lengths. */
static bool
has_room(const struct record_reader *r, size_t size)
{
	return r->nparams < REQUEST_MAX_PARAMS &&
	       size < REQUEST_MAX_PARAM_BYTES - r->param_bytes;
}

static void
count_param(struct record_reader *r, size_t size)
{
	r->nparams++;
	r->param_bytes += size + 1;
}

/* Most params are short, and in one piece: as many as there are of those. */
static size_t
take_short(struct record_reader *r, const unsigned char *p, size_t n)
{
	size_t at = 0, size;

	while (n - at >= 2 && p[at] < 128 && p[at + 1] < 128) {
		size = (size_t)p[at] + p[at + 1];
		if (size > n - at - 2 || !has_room(r, size))
			break;
		count_param(r, size);
		at += 2 + size;
	}
	if (r->keeping)
		buf_add(&r->params, p, at);
	return at;
}

/* The lengths are there: is the pair one of those that are kept? */
static void
begin_pair(struct record_reader *r, struct record_pairs *s)
{
	size_t first = length_size(s->lens[0]);

	s->open = true;
	s->name = length_at(s->lens);
	s->size = s->left = s->name + length_at(s->lens + first);
	if (s == &r->pairs) {
		s->kept = has_room(r, s->size);
		if (s->kept) {
			count_param(r, s->size);
		} else {
			r->excess = true;
			r->plain = false;
		}
	}
	if (s->kept && r->keeping)
		buf_add(&r->params, s->lens, s->nlens);
	if (s->left == 0)
		end_pair(r, s);
}

static void
read_pairs(struct record_reader *r, struct record_pairs *s,
    const unsigned char *p, size_t n)
{
	size_t k, at;

	for (; n > 0; p += k, n -= k) {
		if (at_rest(s) && s == &r->pairs) {
			k = take_short(r, p, n);
			if (k > 0)
				continue;
		}
		if (!s->open) {
			k = 1;
			s->lens[s->nlens++] = *p;
			if (has_lengths(s))
				begin_pair(r, s);
			continue;
		}
		k = MIN(n, s->left);
		at = s->size - s->left;
		if (s == &r->values && at < sizeof s->text)
			memcpy(s->text + at, p, MIN(k, sizeof s->text - at));
		if (s->kept && r->keeping)
			buf_add(&r->params, p, k);
		s->left -= k;
		if (s->left == 0)
			end_pair(r, s);
	}
}

/* -- records */

static enum use
broken(struct record_reader *r)
{
	r->phase = RECORD_BROKEN;
	return USE_NOTHING;
}

static enum use
use_of_begin(struct record_reader *r, unsigned id, size_t len)
{
	if (id == 0 || len != sizeof r->begin)
		return broken(r);
	if (r->phase == RECORD_IDLE) {
		r->id = id;
		r->plain = r->plain && r->padding == 0;
		return USE_BEGIN;
	}
	if (id == r->id)
		return broken(r);
	r->plain = false;
	return USE_REFUSE;
}

/* A record that belongs to no request, or to another than that at hand. */
static enum use
use_of_stray(struct record_reader *r, enum type type, unsigned id)
{
	r->plain = false;
	if (id == 0)
		return type == GET_VALUES ? USE_VALUES : USE_UNKNOWN;
	/* While idle: what is late of the request that was answered. */
	if (r->phase != RECORD_IDLE || (id == r->id && type != END_REQUEST))
		return USE_NOTHING;
	return broken(r);
}

static enum use
use_of(struct record_reader *r)
{
	unsigned id = (unsigned)r->head[2] << 8 | r->head[3];
	enum type type = r->head[1];

	if (r->head[0] != VERSION)
		return broken(r);
	if (type == BEGIN_REQUEST)
		return use_of_begin(r, id, r->left);
	if (id != r->id || r->phase == RECORD_IDLE)
		return use_of_stray(r, type, id);
	/* libfcgi takes the padding of what ends a stream for records. */
	r->plain = r->plain && (r->left > 0 || r->padding == 0);
	if (type == PARAMS && r->phase == RECORD_PARAMS)
		return USE_PARAMS;
	if (type == STDIN && r->phase == RECORD_STDIN)
		return USE_STDIN;
	return broken(r); /* aborted, or out of order */
}

static void
open_record(struct record_reader *r)
{
	r->left = (size_t)r->head[4] << 8 | r->head[5];
	r->padding = r->head[6];
	r->use = use_of(r);
	if (r->use == USE_VALUES)
		memset(&r->values, 0, sizeof r->values);
}

static void
read_body(struct record_reader *r, const unsigned char *p, size_t n)
{
	size_t room = r->limits->body_max + 1 - r->body.len;

	r->body_len += n;
	if (r->keeping)
		buf_add(&r->body, p, MIN(n, room));
}

static void
read_content(struct record_reader *r, const unsigned char *p, size_t n)
{
	switch ((enum use)r->use) {
	case USE_BEGIN:
		memcpy(r->begin + sizeof r->begin - r->left, p, n);
		break;
	case USE_PARAMS:
		read_pairs(r, &r->pairs, p, n);
		break;
	case USE_STDIN:
		read_body(r, p, n);
		break;
	case USE_VALUES:
		read_pairs(r, &r->values, p, n);
		break;
	case USE_NOTHING:
	case USE_UNKNOWN:
	case USE_REFUSE:
		break;
	}
}

static void
begin_request(struct record_reader *r)
{
	r->role = (unsigned)r->begin[0] << 8 | r->begin[1];
	r->keep = (r->begin[2] & KEEP_CONN) != 0;
	if (r->role < RECORD_RESPONDER || r->role > RECORD_FILTER)
		broken(r);
	else
		r->phase = RECORD_PARAMS;
}

/* An empty record ends its stream. */
static void
end_stream(struct record_reader *r)
{
	if (r->head[4] != 0 || r->head[5] != 0)
		return;
	if (r->use == USE_STDIN)
		r->phase = RECORD_WHOLE;
	else if (at_rest(&r->pairs))
		r->phase = RECORD_STDIN;
	else
		broken(r);
}

static void
close_record(struct record_reader *r)
{
	unsigned id = (unsigned)r->head[2] << 8 | r->head[3];

	switch ((enum use)r->use) {
	case USE_NOTHING:
		break;
	case USE_BEGIN:
		begin_request(r);
		break;
	case USE_PARAMS:
	case USE_STDIN:
		end_stream(r);
		break;
	case USE_VALUES:
		if (at_rest(&r->values))
			reply_values(r, r->values.asked);
		else
			broken(r);
		break;
	case USE_UNKNOWN:
		reply_eight(r, UNKNOWN_TYPE, 0, 0, r->head[1]);
		break;
	case USE_REFUSE:
		reply_eight(r, END_REQUEST, id, 4, CANT_MPX_CONN);
		break;
	}
	r->nhead = 0;
	if (r->reply.len > REPLY_MAX) /* it asks, and never listens */
		broken(r);
}

size_t
record_read(struct record_reader *r, const unsigned char *p, size_t n)
{
	const unsigned char *const start = p, *const end = p + n;
	size_t k;

	while (p < end && r->phase < RECORD_WHOLE) {
		if (r->nhead < RECORD_HEAD) {
			k = MIN((size_t)(end - p), RECORD_HEAD - r->nhead);
			memcpy(r->head + r->nhead, p, k);
			r->nhead += k;
			if (r->nhead == RECORD_HEAD)
				open_record(r);
		} else if (r->left > 0) {
			k = MIN((size_t)(end - p), r->left);
			read_content(r, p, k);
			r->left -= k;
		} else {
			k = MIN((size_t)(end - p), r->padding);
			r->padding -= k;
		}
		p += k;
		if (r->nhead == RECORD_HEAD && r->left == 0 &&
		    r->padding == 0 && r->phase != RECORD_BROKEN)
			close_record(r);
	}
	return (size_t)(p - start);
}

bool
record_begun(const struct record_reader *r)
{
	return r->phase != RECORD_IDLE || r->nhead > 0;
}

bool
record_ready(const struct record_reader *r)
{
	if (r->phase == RECORD_WHOLE)
		return true;
	if (r->phase != RECORD_STDIN)
		return false;
	if (r->role == RECORD_AUTHORIZER && r->nhead == 0 && r->body_len == 0)
		return true;
	return r->body_len > r->limits->body_max + RECORD_DRAIN_MAX;
}

bool
record_ended(const struct record_reader *r)
{
	return r->phase == RECORD_WHOLE && r->role != RECORD_FILTER;
}

static void
frame_stream(
    struct buf *out, enum type type, unsigned id, const struct buf *content)
{
	size_t at, n;

	for (at = 0; at < content->len; at += n) {
		n = MIN(content->len - at, CONTENT_MAX);
		add_head(out, type, id, n);
		buf_add(out, buf_str(content) + at, n);
	}
	add_head(out, type, id, 0);
}

void
record_frame(const struct record_reader *r, struct buf *out)
{
	add_head(out, BEGIN_REQUEST, r->id, sizeof r->begin);
	buf_add(out, r->begin, sizeof r->begin);
	frame_stream(out, PARAMS, r->id, &r->params);
	frame_stream(out, STDIN, r->id, &r->body);
}

void
record_next(struct record_reader *r)
{
	const struct record_limits *limits = r->limits;
	unsigned id = r->id;

	record_clear(r);
	record_init(r, limits);
	r->id = id;
}

void
record_clear(struct record_reader *r)
{
	buf_free(&r->params);
	buf_free(&r->body);
	buf_free(&r->reply);
	explicit_bzero(r, sizeof *r);
}

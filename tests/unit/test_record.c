/* http/record.h: FastCGI's records, whatever they are cut into. */
#include "http/record.h"
#include "http/request.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const struct record_limits limits = { 10, 128, 2 };

/* A stream of records, by letters: */
static void
add(struct buf *out, int type, unsigned id, const void *p, size_t n, int pad)
{
	const char head[RECORD_HEAD] = { 1, (char)type, (char)(id >> 8),
		(char)id, (char)(n >> 8), (char)n, (char)pad, 0 };

	buf_add(out, head, sizeof head);
	buf_add(out, p, n);
	for (; pad > 0; pad--)
		buf_addc(out, '\xff');
}

/*
 * B begins a request (R an authorizer's, F a filter's, K a kept one, X one of
 * an unknown role), p is a param, P the params' end, s five bytes of body, S
 * its end, A an abort, D data, E an end; v asks for a value and w for what
 * there isn't, u is of an unknown type; lowercase b begins a second request and
 * q is a param of it; . is half a header, ! is of a wrong version, and a digit
 * pads what follows by so many bytes.
 */
static void
add_letter(struct buf *out, char c, int pad)
{
	static const char begin[] = "\0\1\0\0\0\0\0\0",
			  keep[] = "\0\1\1\0\0\0\0\0",
			  authorizer[] = "\0\2\0\0\0\0\0\0",
			  filter[] = "\0\3\0\0\0\0\0\0",
			  unknown[] = "\0\4\0\0\0\0\0\0";
	static const struct {
		char letter;
		int type;
		unsigned id;
		const char *content;
		size_t n;
	} records[] = {
		{ 'B', 1, 1, begin, 8 },
		{ 'K', 1, 1, keep, 8 },
		{ 'R', 1, 1, authorizer, 8 },
		{ 'F', 1, 1, filter, 8 },
		{ 'X', 1, 1, unknown, 8 },
		{ 'Z', 1, 0, begin, 8 },
		{ 'Y', 1, 1, begin, 7 },
		{ 'p', 4, 1, "\1\2ABC", 5 },
		{ 'h', 4, 1, "\1\2A", 3 },
		{ 'i', 4, 1, "BC", 2 },
		{ 'P', 4, 1, "", 0 },
		{ 's', 5, 1, "abcde", 5 },
		{ 'S', 5, 1, "", 0 },
		{ 'A', 2, 1, "", 0 },
		{ 'D', 8, 1, "data", 4 },
		{ 'E', 3, 1, begin, 8 },
		{ 'n', 77, 1, "?", 1 },
		{ 'v', 9, 0, "\15\0FCGI_MAX_REQS", 15 },
		{ 'w', 9, 0, "\4\2WHATno", 8 },
		{ 'c', 9, 0, "\15\0FCGI", 6 },
		{ 'u', 77, 0, "?", 1 },
		{ 'b', 1, 2, begin, 8 },
		{ 'q', 4, 2, "\1\1XY", 4 },
	};
	size_t i;

	for (i = 0; i < sizeof records / sizeof records[0]; i++)
		if (records[i].letter == c)
			add(out, records[i].type, records[i].id,
			    records[i].content, records[i].n, pad);
	if (c == '.')
		buf_add(out, "\1\4\0", 3);
	if (c == '!')
		buf_add(out, "\2\1\0\1\0\0\0\0", RECORD_HEAD);
}

static void
stream(const char *letters, struct buf *out)
{
	int pad = 0;

	buf_reset(out);
	for (; *letters != '\0'; letters++) {
		if (*letters >= '0' && *letters <= '9') {
			pad = *letters - '0';
			continue;
		}
		add_letter(out, *letters, pad);
		pad = 0;
	}
}

/* In pieces of this size, to the end of a request; the bytes used. */
static size_t
feed(struct record_reader *r, const struct buf *text, size_t piece)
{
	const unsigned char *p = (const unsigned char *)buf_str(text);
	size_t at, k, used = 0;

	record_init(r, &limits);
	r->keeping = true;
	for (at = 0; at < text->len && r->phase < RECORD_WHOLE; at += used) {
		k = text->len - at < piece ? text->len - at : piece;
		used = record_read(r, p + at, k);
	}
	return at;
}

static void
phases(void **state)
{
	static const struct {
		const char *letters;
		enum record_phase phase;
		bool ready, plain, begun;
		const char *body;
	} rows[] = {
		{ "", RECORD_IDLE, false, true, false, "" },
		{ ".", RECORD_IDLE, false, true, true, "" },
		{ "B", RECORD_PARAMS, false, true, true, "" },
		{ "Bp", RECORD_PARAMS, false, true, true, "" },
		{ "Bhi", RECORD_PARAMS, false, true, true, "" },
		{ "BpP", RECORD_STDIN, false, true, true, "" },
		{ "BP", RECORD_STDIN, false, true, true, "" },
		{ "BpPs", RECORD_STDIN, false, true, true, "abcde" },
		{ "BpPsS", RECORD_WHOLE, true, true, true, "abcde" },
		{ "BhiPssS", RECORD_WHOLE, true, true, true, "abcdeabcde" },
		/* One byte more than is wanted. */
		{ "BPsssS", RECORD_WHOLE, true, true, true, "abcdeabcdea" },
		{ "KpPS", RECORD_WHOLE, true, true, true, "" },
		{ "FpPS", RECORD_WHOLE, true, true, true, "" },
		{ "RpP", RECORD_STDIN, true, true, true, "" },
		{ "RpP.", RECORD_STDIN, false, true, true, "" },
		{ "RpPs", RECORD_STDIN, false, true, true, "abcde" },
		{ "RpPsS", RECORD_WHOLE, true, true, true, "abcde" },
		/* Padding, which libfcgi doesn't bear everywhere. */
		{ "B3p9P1s2S", RECORD_WHOLE, true, false, true, "abcde" },
		{ "Bp1P1s1S", RECORD_WHOLE, true, false, true, "abcde" },
		{ "BpP7sS", RECORD_WHOLE, true, true, true, "abcde" },
		{ "B7pPS", RECORD_WHOLE, true, true, true, "" },
		{ "8BpPS", RECORD_WHOLE, true, false, true, "" },
		/* Management records, anywhere. */
		{ "v", RECORD_IDLE, false, false, false, "" },
		{ "vBpPS", RECORD_WHOLE, true, false, true, "" },
		{ "BhviPS", RECORD_WHOLE, true, false, true, "" },
		{ "BpPsuS", RECORD_WHOLE, true, false, true, "abcde" },
		{ "c", RECORD_BROKEN, false, false, true, "" },
		/* A second request beside it. */
		{ "BpbqPS", RECORD_WHOLE, true, false, true, "" },
		{ "BpBPS", RECORD_BROKEN, false, true, true, "" },
		/* Against the protocol, or aborted. */
		{ "!", RECORD_BROKEN, false, true, true, "" },
		{ "X", RECORD_BROKEN, false, true, true, "" },
		{ "Y", RECORD_BROKEN, false, true, true, "" },
		{ "Z", RECORD_BROKEN, false, true, true, "" },
		{ "p", RECORD_BROKEN, false, false, true, "" },
		{ "S", RECORD_BROKEN, false, false, true, "" },
		{ "A", RECORD_BROKEN, false, false, true, "" },
		{ "BA", RECORD_BROKEN, false, false, true, "" },
		{ "Bs", RECORD_BROKEN, false, true, true, "" },
		{ "BhP", RECORD_BROKEN, false, true, true, "" },
		{ "BPp", RECORD_BROKEN, false, true, true, "" },
		{ "BPsA", RECORD_BROKEN, false, false, true, "abcde" },
		{ "BPD", RECORD_BROKEN, false, true, true, "" },
		{ "BPE", RECORD_BROKEN, false, true, true, "" },
		{ "Bn", RECORD_BROKEN, false, true, true, "" },
	};
	struct buf text = { 0 };
	size_t i, piece;

	(void)state;
	for (i = 0; i < sizeof rows / sizeof rows[0]; i++)
		for (piece = 1; piece < 300; piece += piece < 20 ? 1 : 50) {
			struct record_reader r = { 0 };

			stream(rows[i].letters, &text);
			feed(&r, &text, piece);
			if (r.phase != rows[i].phase ||
			    record_ready(&r) != rows[i].ready ||
			    (r.plain != rows[i].plain &&
				r.phase != RECORD_BROKEN) ||
			    record_begun(&r) != rows[i].begun ||
			    strcmp(buf_str(&r.body), rows[i].body) != 0)
				fail_msg("%s by %zu: %d, %d, %d, %d, %s",
				    rows[i].letters, piece, (int)r.phase,
				    record_ready(&r), r.plain, record_begun(&r),
				    buf_str(&r.body));
			record_clear(&r);
		}
	buf_free(&text);
}

static void
replies(void **state)
{
	static const char value[] = "\1\12\0\0\0\20\0\0\15\1FCGI_MAX_REQS2";
	static const char none[] = "\1\12\0\0\0\0\0\0";
	static const char unknown[] = "\1\13\0\0\0\10\0\0M\0\0\0\0\0\0\0";
	static const char refused[] = "\1\3\0\2\0\10\0\0\0\0\0\0\1\0\0\0";
	static const struct {
		const char *letters, *reply;
		size_t n;
	} rows[] = {
		{ "BpPsS", "", 0 },
		{ "v", value, sizeof value - 1 },
		{ "9v", value, sizeof value - 1 },
		{ "Bpv", value, sizeof value - 1 },
		{ "w", none, sizeof none - 1 },
		{ "u", unknown, sizeof unknown - 1 },
		{ "BpPsu", unknown, sizeof unknown - 1 },
		{ "Bbq", refused, sizeof refused - 1 },
	};
	struct buf text = { 0 };
	size_t i, piece;

	(void)state;
	for (i = 0; i < sizeof rows / sizeof rows[0]; i++)
		for (piece = 1; piece < 100; piece += 7) {
			struct record_reader r = { 0 };

			stream(rows[i].letters, &text);
			feed(&r, &text, piece);
			assert_int_equal(r.reply.len, rows[i].n);
			assert_memory_equal(
			    buf_str(&r.reply), rows[i].reply, rows[i].n);
			record_clear(&r);
		}
	buf_free(&text);
}

/* Who asks without end and never listens is put off. */
static void
too_many_questions(void **state)
{
	struct record_reader r = { 0 };
	struct buf text = { 0 };
	size_t i;

	(void)state;
	for (i = 0; i < 10000; i++)
		add_letter(&text, 'u', 0);
	assert_true(feed(&r, &text, 1 << 20) < text.len);
	assert_int_equal(r.phase, RECORD_BROKEN);
	assert_true(r.reply.len < 5000);
	record_clear(&r);
	buf_free(&text);
}

/* All that a connection may carry, one request after the other. */
static void
requests_in_turn(void **state)
{
	struct record_reader r = { 0 };
	struct buf text = { 0 };
	const unsigned char *p;
	size_t left, used, n = 0;

	(void)state;
	stream("KpPsSKPSvRpPsSDAsSKpPS", &text);
	p = (const unsigned char *)buf_str(&text);
	record_init(&r, &limits);
	for (left = text.len; left > 0; p += used, left -= used) {
		r.keeping = true;
		used = record_read(&r, p, left);
		assert_int_equal(r.phase, RECORD_WHOLE);
		assert_true(used > 0);
		n++;
		record_next(&r);
		assert_int_equal(r.body.len + r.params.len, 0);
	}
	assert_int_equal(n, 4);
	/* What is late of the last one; not what is of another. */
	stream("SsDA", &text);
	assert_int_equal(
	    record_read(&r, (const unsigned char *)buf_str(&text), text.len),
	    text.len);
	assert_false(record_begun(&r));
	stream("q", &text);
	record_read(&r, (const unsigned char *)buf_str(&text), text.len);
	assert_int_equal(r.phase, RECORD_BROKEN);
	record_clear(&r);
	buf_free(&text);
}

static void
add_pair(struct buf *out, size_t name, size_t value)
{
	const char lens[] = { (char)(0x80 | name >> 24), (char)(name >> 16),
		(char)(name >> 8), (char)name, (char)(0x80 | value >> 24),
		(char)(value >> 16), (char)(value >> 8), (char)value };
	struct buf content = { 0 };
	size_t at, n;

	buf_add(&content, lens, sizeof lens);
	for (n = name + value; n > 0; n--)
		buf_addc(&content, 'x');
	for (at = 0; at < content.len; at += n) {
		n = content.len - at < 60000 ? content.len - at : 60000;
		add(out, 4, 1, buf_str(&content) + at, n, 0);
	}
	buf_free(&content);
}

/* What is too much is left out, the rest is there; the end is found. */
static void
too_many_params(void **state)
{
	static const struct {
		size_t first, count; /* a first value, then so many pairs */
		size_t kept;         /* of these, and one at the end */
	} rows[] = {
		{ 10, 10, 12 },
		{ 10, REQUEST_MAX_PARAMS - 2, REQUEST_MAX_PARAMS },
		{ 10, REQUEST_MAX_PARAMS - 1, REQUEST_MAX_PARAMS },
		{ 10, 20000, REQUEST_MAX_PARAMS },
		{ 60000, 10, 12 },
		{ REQUEST_MAX_PARAM_BYTES - 5, 0, 1 },
		{ REQUEST_MAX_PARAM_BYTES - 4, 0, 1 },
		{ REQUEST_MAX_PARAM_BYTES, 10, 11 },
		{ 1 << 20, 10, 11 },
	};
	struct buf text = { 0 }, frame = { 0 };
	size_t i, n;

	(void)state;
	for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct record_reader r = { 0 }, again = { 0 };

		stream("B", &text);
		add_pair(&text, 4, rows[i].first);
		for (n = 0; n < rows[i].count; n++)
			add_pair(&text, 3, 4);
		add_letter(&text, 'p', 0);
		add_letter(&text, 'P', 0);
		add_letter(&text, 'S', 0);
		assert_int_equal(feed(&r, &text, 1000), text.len);
		assert_int_equal(r.phase, RECORD_WHOLE);
		assert_int_equal(r.nparams, rows[i].kept);
		assert_int_equal(r.excess, rows[i].kept < rows[i].count + 2);
		buf_reset(&frame);
		record_frame(&r, &frame);
		assert_int_equal(feed(&again, &frame, SIZE_MAX), frame.len);
		assert_int_equal(again.nparams, rows[i].kept);
		assert_true(again.plain);
		record_clear(&r);
		record_clear(&again);
	}
	buf_free(&text);
	buf_free(&frame);
}

/* Lengths without a sum, or without their bytes. */
static void
hostile_lengths(void **state)
{
	static const char *const rows[] = {
		"\xff\xff\xff\xff\xff\xff\xff\xff",
		"\xc0\0\0\0\xc0\0\0\0",
		"\x80\0\0",
		"\xff",
		"\1",
		"\1\x80",
		"\1\1A",
	};
	static const size_t lens[] = { 8, 8, 3, 1, 1, 2, 3 };
	struct buf text = { 0 };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct record_reader r = { 0 };

		stream("B", &text);
		add(&text, 4, 1, rows[i], lens[i], 0);
		add_letter(&text, 'P', 0);
		feed(&r, &text, 3);
		assert_int_equal(r.phase, RECORD_BROKEN);
		assert_true(r.params.len < 20);
		record_clear(&r);
	}
	buf_free(&text);
}

/* Far too long a body is answered before its end. */
static void
endless_body(void **state)
{
	static const char zeros[60000];
	struct record_reader r = { 0 };
	struct buf text = { 0 };
	uint64_t sent = 0;

	(void)state;
	stream("BpP", &text);
	feed(&r, &text, SIZE_MAX);
	buf_reset(&text);
	add(&text, 5, 1, zeros, sizeof zeros, 0);
	while (!record_ready(&r)) {
		assert_true(sent <= RECORD_DRAIN_MAX + limits.body_max);
		record_read(
		    &r, (const unsigned char *)buf_str(&text), text.len);
		sent += sizeof zeros;
	}
	assert_true(sent > RECORD_DRAIN_MAX);
	assert_int_equal(r.body.len, limits.body_max + 1);
	assert_false(record_ended(&r));
	record_clear(&r);
	buf_free(&text);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(phases),
		cmocka_unit_test(replies),
		cmocka_unit_test(too_many_questions),
		cmocka_unit_test(requests_in_turn),
		cmocka_unit_test(too_many_params),
		cmocka_unit_test(hostile_lengths),
		cmocka_unit_test(endless_body),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * FastCGI's records, out of pieces as the first bytes say: however they are
 * cut, they come to the same. A request that is ready is framed anew, and that
 * is plain, and the same request. What is answered are whole records.
 */
#include "fuzz.h"

#include "http/record.h"
#include "http/request.h"

#include <string.h>

enum { BODY_MAX = 40, REQUESTS_MAX = 8, SLACK = 8192 };

static const struct record_limits limits = { BODY_MAX, 128, 2 };

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	return 0;
}

static void
check_reply(const struct buf *reply)
{
	const unsigned char *p = (const unsigned char *)buf_str(reply);
	size_t left = reply->len, skip;

	for (; left > 0; p += skip, left -= skip) {
		FUZZ_MUST(left >= RECORD_HEAD && p[0] == 1);
		skip = RECORD_HEAD + ((size_t)p[4] << 8 | p[5]) + p[6];
		FUZZ_MUST(skip <= left);
		FUZZ_MUST(p[1] == 3 || p[1] == 10 || p[1] == 11);
		FUZZ_MUST(p[1] != 3 || p[12] == 1); /* CANT_MPX_CONN */
	}
}

static void
check_state(const struct record_reader *r)
{
	FUZZ_MUST(r->body.len <= BODY_MAX + 1);
	FUZZ_MUST(r->nparams <= REQUEST_MAX_PARAMS);
	FUZZ_MUST(r->param_bytes <= REQUEST_MAX_PARAM_BYTES);
	FUZZ_MUST(r->params.len <= REQUEST_MAX_PARAM_BYTES + SLACK);
	FUZZ_MUST(r->reply.len <= SLACK);
	check_reply(&r->reply);
}

static bool
same(const struct buf *a, const struct buf *b)
{
	return a->len == b->len && memcmp(buf_str(a), buf_str(b), a->len) == 0;
}

/* What is framed reads as the same request, and libfcgi may read it. */
static void
check_frame(const struct record_reader *r)
{
	struct record_reader again = { 0 };
	struct buf text = { 0 };

	record_frame(r, &text);
	record_init(&again, &limits);
	again.keeping = true;
	FUZZ_MUST(record_read(&again, (const unsigned char *)buf_str(&text),
		      text.len) == text.len);
	FUZZ_MUST(again.phase == RECORD_WHOLE && again.plain);
	FUZZ_MUST(again.id == r->id && again.role == r->role);
	FUZZ_MUST(again.keep == r->keep && !again.excess);
	FUZZ_MUST(same(&again.params, &r->params));
	FUZZ_MUST(same(&again.body, &r->body));
	record_clear(&again);
	buf_free(&text);
}

/* To the end of the request, or of what there is, in pieces of this size. */
static size_t
read_in_pieces(
    struct record_reader *r, const uint8_t *p, size_t n, size_t piece)
{
	size_t at = 0, used, k;

	while (at < n && r->phase < RECORD_WHOLE) {
		k = n - at < piece ? n - at : piece;
		used = record_read(r, p + at, k);
		FUZZ_MUST(used <= k);
		FUZZ_MUST(used == k || r->phase >= RECORD_WHOLE);
		check_state(r);
		at += used;
	}
	return at;
}

static void
check_same(const struct record_reader *a, const struct record_reader *b)
{
	FUZZ_MUST(a->phase == b->phase && a->plain == b->plain);
	FUZZ_MUST(a->id == b->id && a->excess == b->excess);
	FUZZ_MUST(a->body_len == b->body_len);
	FUZZ_MUST(same(&a->params, &b->params));
	FUZZ_MUST(same(&a->body, &b->body));
	FUZZ_MUST(same(&a->reply, &b->reply));
	FUZZ_MUST(record_begun(a) == record_begun(b));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t piece = (size_t)fuzz_byte(&data, &size) + 1, used, whole, n;
	struct record_reader a = { 0 }, b = { 0 }, trial;

	record_init(&a, &limits);
	record_init(&b, &limits);
	for (n = 0; n < REQUESTS_MAX; n++) {
		trial = a; /* what is not kept tells the same */
		a.keeping = b.keeping = true;
		used = read_in_pieces(&a, data, size, piece);
		whole = read_in_pieces(&b, data, size, size + 1);
		FUZZ_MUST(used == whole);
		check_same(&a, &b);
		if (a.phase == RECORD_BROKEN)
			break;
		FUZZ_MUST(record_read(&trial, data, size) == used);
		FUZZ_MUST(trial.phase == a.phase && trial.plain == a.plain);
		FUZZ_MUST(trial.reply.len == 0 && trial.params.len == 0);
		if (!record_ready(&a))
			break;
		check_frame(&a);
		record_next(&a);
		record_next(&b);
		data += used;
		size -= used;
	}
	record_clear(&a);
	record_clear(&b);
	return 0;
}

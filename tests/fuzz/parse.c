/*
 * The small parsers: bearer, base64url, hex, percent, query, numbers, times,
 * names. The first byte chooses. What can be written is read back the same.
 */
#include "fuzz.h"

#include "base/base64url.h"
#include "base/bearer.h"
#include "base/date.h"
#include "base/decimal.h"
#include "base/hex.h"
#include "base/mem.h"
#include "base/name.h"
#include "base/percent.h"
#include "base/query.h"
#include "base/utf8.h"
#include "http/field.h"
#include "http/request.h"

#include <stdlib.h>
#include <string.h>

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	return 0;
}

static void
try_bearer(const char *s, size_t len)
{
	const char *token;
	size_t n;

	(void)len;
	if (!bearer_parse(s, &token, &n))
		return;
	FUZZ_MUST(n > 0 && token > s && token[n] == '\0');
	FUZZ_MUST(bearer_is_b64token(token, n) && token[-1] == ' ');
	FUZZ_MUST(strcspn(token, " \t\r\n,\"") == n);
}

/* Canonical: one text for the same bytes, and so for each. */
static void
try_base64url(const char *s, size_t len)
{
	struct buf bytes = { 0 }, text = { 0 };

	buf_adds(&bytes, "x");
	if (base64url_decode(s, len, &bytes)) {
		base64url_encode(&text, bytes.data + 1, bytes.len - 1);
		FUZZ_MUST(
		    text.len == len && memcmp(buf_str(&text), s, len) == 0);
	} else {
		FUZZ_MUST(bytes.len == 1);
	}
	buf_reset(&text);
	base64url_encode(&text, s, len);
	buf_reset(&bytes);
	FUZZ_MUST(base64url_decode(buf_str(&text), text.len, &bytes));
	FUZZ_MUST(bytes.len == len && memcmp(buf_str(&bytes), s, len) == 0);
	buf_free(&bytes);
	buf_free(&text);
}

static void
try_hex(const char *s, size_t len)
{
	unsigned char *bytes = mem_alloc(len / 2);
	char *text = mem_alloc(2 * len + 1);

	if (hex_decode(s, len, bytes, len / 2)) {
		hex_encode(bytes, len / 2, text);
		FUZZ_MUST(strlen(text) == len && memcmp(text, s, len) == 0);
		FUZZ_MUST(len == 0 || !hex_decode(s, len, bytes, len / 2 - 1));
		FUZZ_MUST(
		    hex_is_public_key(s, len) == (len >= 32 && len <= 128));
	} else {
		FUZZ_MUST(!hex_is_public_key(s, len));
	}
	hex_encode((const unsigned char *)s, len, text);
	free(bytes);
	bytes = mem_alloc(len);
	FUZZ_MUST(hex_decode(text, 2 * len, bytes, len));
	FUZZ_MUST(memcmp(bytes, s, len) == 0);
	free(bytes);
	free(text);
}

static void
try_percent(const char *s, size_t len)
{
	struct buf bytes = { 0 }, text = { 0 };

	if (percent_decode(s, len, &bytes))
		FUZZ_MUST(bytes.len <= len);
	else
		FUZZ_MUST(bytes.len == 0);
	percent_encode(&text, s, len);
	buf_reset(&bytes);
	FUZZ_MUST(strspn(buf_str(&text),
		      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
		      "0123456789-._~%") == text.len);
	FUZZ_MUST(percent_decode(buf_str(&text), text.len, &bytes));
	FUZZ_MUST(bytes.len == len && memcmp(buf_str(&bytes), s, len) == 0);
	buf_free(&bytes);
	buf_free(&text);
}

static void
try_query(const char *s, size_t len)
{
	struct buf v = { 0 };
	bool bad, found;

	(void)len;
	found = query_find(s, "after", &v, &bad);
	FUZZ_MUST(found || (!bad && v.len == 0));
	FUZZ_MUST(!bad || v.len == 0);
	FUZZ_MUST(v.len <= strlen(s));
	buf_free(&v);
}

static void
try_number(const char *s, size_t len)
{
	uint64_t n;
	char *end;

	if (!decimal_parse(s, len, 5, UINT64_MAX - 1, &n))
		return;
	FUZZ_MUST(strlen(s) == len && strtoull(s, &end, 10) == n);
	FUZZ_MUST(*end == '\0' && n >= 5 && n < UINT64_MAX);
}

static void
try_texts(const char *s, size_t len)
{
	bool utf8 = utf8_valid(s, len);
	char date[DATE_SIZE], again[DATE_SIZE];
	struct buf name = { 0 };

	if (name_is_user(s, len))
		FUZZ_MUST(utf8 && len >= 1 && len <= 255 &&
			  !utf8_has_control(s, len));
	if (name_is_label(s, len))
		FUZZ_MUST(utf8 && len >= 1 && len <= 400 &&
			  strspn(s, " ") < len && !utf8_has_control(s, len));
	if (name_take_app(s, len, &name))
		FUZZ_MUST(utf8 && name.len >= 1 && name.len <= 400 &&
			  name_is_label(buf_str(&name), name.len) &&
			  memmem(s, len, name.data, name.len) != NULL);
	buf_free(&name);
	if (field_is_token_list(s))
		FUZZ_MUST(field_token_len(s + strspn(s, " \t,")) > 0);
	if (name_is_request_id(s, len))
		FUZZ_MUST(len <= 128 && strcspn(s, " \r\n\"\\=") == len);
	if (date_parse(s, len, date))
		FUZZ_MUST(len >= 20 && strlen(date) == sizeof date - 1 &&
			  date_parse(date, strlen(date), again) &&
			  strcmp(date, again) == 0);
}

/* Each tag that is kept stands there, perhaps with a coding behind it. */
static void
try_etags(const char *s, size_t len)
{
	struct etag_list strong = { 0 }, weak = { 0 };
	const char *p, *end;
	size_t n;

	(void)len;
	etag_list_add(&strong, s, false);
	etag_list_add(&weak, s, true);
	FUZZ_MUST(strong.malformed == weak.malformed && strong.n == weak.n);
	FUZZ_MUST(strong.malformed || strong.any || weak.n > 0);
	FUZZ_MUST(!strong.any || strchr(s, '*') != NULL);
	p = buf_str(&strong.tags);
	for (end = p + strong.tags.len; p < end; p += n + 1) {
		n = strlen(p);
		FUZZ_MUST(n >= 2 && memmem(s, len, p, n - 1) != NULL);
		FUZZ_MUST(etag_list_holds(&weak, p));
	}
	etag_list_clear(&strong);
	etag_list_clear(&weak);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const tries[])(const char *, size_t) = { try_bearer,
		try_base64url, try_hex, try_percent, try_query, try_number,
		try_texts, try_etags };
	size_t which =
	    fuzz_byte(&data, &size) % (sizeof tries / sizeof tries[0]);
	char *text = fuzz_text(data, size);

	tries[which](text, size);
	free(text);
	return 0;
}

/*
 * JSON as values: json-c, met only here, parses what base/json_check.c knows
 * to be good.
 */
#include "base/json.h"

#include "base/json_check.h"
#include "base/mem.h"
#include "base/parse.h"

#include <errno.h>
#include <json.h>
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/*
 * Our own reading knows names, kinds, numbers and the strings that stand for
 * themselves; json-c is asked, once, for what needs decoding.
 */
struct json {
	const char *text; /* the caller's */
	size_t len;
	struct json_notes notes;
	struct buf plain; /* copies of strings without escapes */
	bool asked;
	struct json_object *object; /* json-c's; NULL if it disagrees */
};

/*
 * json-c would clamp integers beyond its range; with an exponent of 0 behind
 * them they are the real numbers that they mean.
 */
static void
widen(struct buf *out, const char *text, size_t len, const struct buf *wide)
{
	size_t i, at, from = 0;

	for (i = 0; i < wide->len; i += sizeof at) {
		memcpy(&at, wide->data + i, sizeof at);
		buf_add(out, text + from, at - from);
		buf_adds(out, "e0");
		from = at;
	}
	buf_add(out, text + from, len - from);
}

/*
 * The one tokener of this process, made at its first use. Not in its strict
 * mode: our own reading is the stricter one, and json-c 0.18's refuses every
 * string that is not ASCII.
 */
static struct json_tokener *
tokener(void)
{
	static struct json_tokener *tok;

	if (tok != NULL)
		return tok;
	tok = json_tokener_new_ex(JSON_MAX_DEPTH + 1);
	if (tok == NULL)
		abort();
	return tok;
}

/* An object of that many members, or NULL if json-c disagrees with our
 * reading: nobody is right then. */
static struct json_object *
parse_checked(const char *text, size_t len, size_t members)
{
	struct json_tokener *tok = tokener();
	struct json_object *o;
	enum json_tokener_error err;
	size_t end;
	bool no_memory;

	if (len > INT_MAX)
		return NULL;
	errno = 0;
	o = json_tokener_parse_ex(tok, text, (int)len);
	no_memory = errno == ENOMEM;
	err = json_tokener_get_error(tok);
	end = json_tokener_get_parse_end(tok);
	json_tokener_reset(tok);
	if (err == json_tokener_success && end == len &&
	    json_object_is_type(o, json_type_object) &&
	    (size_t)json_object_object_length(o) == members)
		return o;
	/* Out of memory, json-c 0.16 says success or continue, with NULL or
	 * with members missing, which nothing else has brought about; later
	 * ones have an error for it, under changing numbers. */
	if (no_memory || err == json_tokener_success ||
	    err == json_tokener_continue)
		abort();
	json_object_put(o);
	return NULL;
}

/* json-c's object of a text that passed. */
static struct json_object *
ask(const struct json *j)
{
	struct buf wider = { 0 };
	struct json_object *o;

	if (j->notes.wide.len == 0)
		return parse_checked(j->text, j->len, j->notes.members);
	widen(&wider, j->text, j->len, &j->notes.wide);
	o = parse_checked(wider.data, wider.len, j->notes.members);
	buf_free(&wider);
	return o;
}

static struct json_object *
raw(const struct json *j)
{
	struct json *mine = (struct json *)(uintptr_t)j;

	if (!j->asked) {
		mine->object = ask(j);
		mine->asked = true;
	}
	return j->object;
}

struct json *
json_parse(const char *text, size_t len)
{
	struct json *j = mem_alloc(sizeof *j);

	j->text = text;
	j->len = len;
	if (json_check_noting(text, len, NULL, &j->notes) == JSON_OK)
		return j;
	json_free(j);
	return NULL;
}

void
json_free(struct json *j)
{
	if (j == NULL)
		return;
	json_object_put(j->object);
	buf_free(&j->notes.wide);
	buf_free(&j->plain);
	free(j);
}

/* Our note of a member; NULL if it has none, or if only json-c knows. */
static const struct json_note *
note(const struct json *j, const char *name)
{
	size_t i, n = strlen(name);

	for (i = 0; !j->notes.incomplete && i < j->notes.members; i++)
		if (j->notes.note[i].name_len == n &&
		    memcmp(j->notes.note[i].name, name, n) == 0)
			return &j->notes.note[i];
	return NULL;
}

bool
json_numbers_fit(const struct json *j)
{
	return !j->notes.beyond;
}

static enum json_kind
kind_noted(const struct json_note *v)
{
	switch (*v->value) {
	case '"':
		return JSON_STRING;
	case '{':
		return JSON_OBJECT;
	case '[':
		return JSON_ARRAY;
	case 't':
	case 'f':
		return JSON_BOOL;
	case 'n':
		return JSON_NULL;
	default:
		return v->real ? JSON_NUMBER_REAL : JSON_NUMBER_INT;
	}
}

static enum json_kind
kind_raw(const struct json *j, const char *name)
{
	struct json_object *v;

	if (!json_object_object_get_ex(raw(j), name, &v))
		return JSON_ABSENT;
	switch (json_object_get_type(v)) {
	case json_type_boolean:
		return JSON_BOOL;
	case json_type_int:
		return JSON_NUMBER_INT;
	case json_type_double:
		return JSON_NUMBER_REAL;
	case json_type_string:
		return JSON_STRING;
	case json_type_array:
		return JSON_ARRAY;
	case json_type_object:
		return JSON_OBJECT;
	case json_type_null:
	default:
		return JSON_NULL;
	}
}

enum json_kind
json_member_kind(const struct json *j, const char *name)
{
	const struct json_note *v = note(j, name);

	if (v != NULL)
		return kind_noted(v);
	return j->notes.incomplete ? kind_raw(j, name) : JSON_ABSENT;
}

/*
 * A noted string without escapes, with a NUL behind it as json-c would give
 * it. The copies have room for each string of the text once, so that none
 * moves; one that is asked for too often is json-c's.
 */
static bool
string_noted(const struct json *j, const struct json_note *v, const char **s,
    size_t *len)
{
	struct buf *plain = &((struct json *)(uintptr_t)j)->plain;
	const char *from, *end;
	size_t n;

	if (v == NULL)
		return false;
	from = v->value + 1;
	end = memchr(from, '"', v->value_len - 1);
	n = (size_t)(end - from);
	if (memchr(from, '\\', n) != NULL)
		return false;
	if (plain->data == NULL)
		buf_reserve(plain, j->len);
	if (plain->cap - plain->len < n + 2)
		return false;
	*s = plain->data + plain->len;
	*len = n;
	buf_add(plain, from, n);
	buf_addc(plain, '\0');
	return true;
}

bool
json_member_string(
    const struct json *j, const char *name, const char **s, size_t *len)
{
	struct json_object *v;

	if (json_member_kind(j, name) != JSON_STRING)
		return false;
	if (string_noted(j, note(j, name), s, len))
		return true;
	if (!json_object_object_get_ex(raw(j), name, &v))
		return false;
	*s = json_object_get_string(v);
	*len = (size_t)json_object_get_string_len(v);
	return true;
}

/* Nearly all of them are whole seconds. */
static bool
number_noted(const struct json_note *v, double *out)
{
	uint64_t n;

	if (v == NULL)
		return false;
	if (parse_u64(v->value, v->value_len, 0, (uint64_t)1 << 53, &n))
		*out = (double)n;
	else
		*out = json_check_double(v->value, v->value_len);
	return true;
}

bool
json_member_number(const struct json *j, const char *name, double *out)
{
	enum json_kind t = json_member_kind(j, name);
	struct json_object *v;

	if (t != JSON_NUMBER_INT && t != JSON_NUMBER_REAL)
		return false;
	if (number_noted(note(j, name), out))
		return true;
	if (!json_object_object_get_ex(raw(j), name, &v))
		return false;
	*out = json_object_get_double(v);
	return true;
}

bool
json_member_int(const struct json *j, const char *name, int64_t *out)
{
	struct json_object *v;

	/* What int64 can't hold is a real: see widen. */
	if (json_member_kind(j, name) != JSON_NUMBER_INT ||
	    !json_object_object_get_ex(raw(j), name, &v))
		return false;
	*out = json_object_get_int64(v);
	return true;
}

bool
json_member_bool(const struct json *j, const char *name, bool *out)
{
	struct json_object *v;

	if (json_member_kind(j, name) != JSON_BOOL ||
	    !json_object_object_get_ex(raw(j), name, &v))
		return false;
	*out = json_object_get_boolean(v);
	return true;
}

static bool
string_is(const struct json_object *v, const char *s)
{
	struct json_object *o = (struct json_object *)(uintptr_t)v;

	return json_object_is_type(o, json_type_string) &&
	       (size_t)json_object_get_string_len(o) == strlen(s) &&
	       memcmp(json_object_get_string(o), s, strlen(s)) == 0;
}

bool
json_member_has(const struct json *j, const char *name, const char *s)
{
	struct json_object *v, *e;
	size_t i, n;
	bool found = false;

	if (!json_object_object_get_ex(raw(j), name, &v))
		return false;
	if (!json_object_is_type(v, json_type_array))
		return string_is(v, s);
	n = json_object_array_length(v);
	for (i = 0; i < n; i++) {
		e = json_object_array_get_idx(v, i);
		if (!json_object_is_type(e, json_type_string))
			return false;
		found = found || string_is(e, s);
	}
	return found;
}

const char *
json_unknown_member(const struct json *j, const char *const *known)
{
	struct json_object_iterator it, end;
	const char *name;
	size_t i;

	if (raw(j) == NULL)
		return ""; /* who knows what is in it */
	it = json_object_iter_begin(raw(j));
	end = json_object_iter_end(raw(j));
	for (; !json_object_iter_equal(&it, &end); json_object_iter_next(&it)) {
		name = json_object_iter_peek_name(&it);
		for (i = 0; known[i] != NULL; i++)
			if (strcmp(known[i], name) == 0)
				break;
		if (known[i] == NULL)
			return name;
	}
	return NULL;
}

/* What stands in a JSON string as itself: no control, quote or backslash. */
static const bool stands[256] = {
	[0x20 ... 0x21] = true,
	[0x23 ... 0x5b] = true,
	[0x5d ... 0x7e] = true,
	[0x80 ... 0xff] = true,
};

void
json_add_string(struct buf *b, const char *s, size_t len)
{
	const char *from, *end = s + len;

	buf_reserve(b, len + 2);
	buf_addc(b, '"');
	for (;; s++) {
		for (from = s; s < end && stands[(unsigned char)*s]; s++)
			;
		buf_add(b, from, (size_t)(s - from));
		if (s == end)
			break;
		if (*s == '"' || *s == '\\')
			buf_addf(b, "\\%c", *s);
		else
			buf_addf(b, "\\u%04x", (unsigned)*s);
	}
	buf_addc(b, '"');
}

void
json_add_member(struct buf *b, const char *name, const char *value)
{
	buf_adds(b, ",\"");
	buf_adds(b, name);
	buf_adds(b, "\":");
	if (value != NULL)
		json_add_string(b, value, strlen(value));
	else
		buf_adds(b, "null");
}

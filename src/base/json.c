/*
 * JSON as values: json-c, met only here, parses what base/json_check.c knows
 * to be good.
 */
#include "base/json.h"

#include "base/json_check.h"
#include "base/mem.h"

#include <errno.h>
#include <json.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

struct json {
	struct json_object *object;
	bool beyond; /* a number that int64 or double can't hold */
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
parse_noted(const char *text, size_t len, const struct json_notes *notes)
{
	struct buf wider = { 0 };
	struct json_object *o;

	if (notes->wide.len == 0)
		return parse_checked(text, len, notes->members);
	widen(&wider, text, len, &notes->wide);
	o = parse_checked(wider.data, wider.len, notes->members);
	buf_free(&wider);
	return o;
}

struct json *
json_parse(const char *text, size_t len)
{
	struct json_notes notes = { 0 };
	struct json_object *o = NULL;
	struct json *j = NULL;

	if (json_check_noting(text, len, NULL, &notes) == JSON_OK)
		o = parse_noted(text, len, &notes);
	if (o != NULL) {
		j = mem_alloc(sizeof *j);
		j->object = o;
		j->beyond = notes.beyond;
	}
	buf_free(&notes.wide);
	return j;
}

void
json_free(struct json *j)
{
	if (j == NULL)
		return;
	json_object_put(j->object);
	free(j);
}

bool
json_numbers_fit(const struct json *j)
{
	return !j->beyond;
}

static enum json_kind
kind_of(struct json_object *v)
{
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
		break;
	}
	return JSON_NULL;
}

/* A member's kind, and json-c's value. */
static enum json_kind
member(const struct json *j, const char *name, struct json_object **v)
{
	if (!json_object_object_get_ex(j->object, name, v))
		return JSON_ABSENT;
	return kind_of(*v);
}

enum json_kind
json_member_kind(const struct json *j, const char *name)
{
	struct json_object *v;

	return member(j, name, &v);
}

bool
json_member_string(
    const struct json *j, const char *name, const char **s, size_t *len)
{
	struct json_object *v;

	if (member(j, name, &v) != JSON_STRING)
		return false;
	*s = json_object_get_string(v);
	*len = (size_t)json_object_get_string_len(v);
	return true;
}

bool
json_member_number(const struct json *j, const char *name, double *out)
{
	struct json_object *v;
	enum json_kind kind = member(j, name, &v);

	if (kind != JSON_NUMBER_INT && kind != JSON_NUMBER_REAL)
		return false;
	*out = json_object_get_double(v);
	return true;
}

bool
json_member_int(const struct json *j, const char *name, int64_t *out)
{
	struct json_object *v;

	/* What int64 can't hold is a real: see widen. */
	if (member(j, name, &v) != JSON_NUMBER_INT)
		return false;
	*out = json_object_get_int64(v);
	return true;
}

bool
json_member_bool(const struct json *j, const char *name, bool *out)
{
	struct json_object *v;

	if (member(j, name, &v) != JSON_BOOL)
		return false;
	*out = json_object_get_boolean(v);
	return true;
}

struct json *
json_member_object(const struct json *j, const char *name)
{
	struct json_object *v;
	struct json *o;

	if (member(j, name, &v) != JSON_OBJECT)
		return NULL;
	o = mem_alloc(sizeof *o);
	o->object = json_object_get(v);
	o->beyond = j->beyond;
	return o;
}

static bool
string_is(struct json_object *v, const char *s)
{
	return json_object_is_type(v, json_type_string) &&
	       (size_t)json_object_get_string_len(v) == strlen(s) &&
	       memcmp(json_object_get_string(v), s, strlen(s)) == 0;
}

bool
json_member_has(const struct json *j, const char *name, const char *s)
{
	struct json_object *v, *e;
	size_t i, n;
	bool found = false;

	if (member(j, name, &v) != JSON_ARRAY)
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
	struct json_object_iterator it = json_object_iter_begin(j->object);
	struct json_object_iterator end = json_object_iter_end(j->object);
	const char *name;
	size_t i;

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

static bool
four_stand(const char *s)
{
	const unsigned char *p = (const unsigned char *)s;

	return stands[p[0]] & stands[p[1]] & stands[p[2]] & stands[p[3]];
}

void
json_add_string(struct buf *b, const char *s, size_t len)
{
	const char *from, *end = s + len;

	buf_reserve(b, len + 2);
	buf_addc(b, '"');
	for (;; s++) {
		for (from = s; end - s >= 4 && four_stand(s); s += 4)
			;
		for (; s < end && stands[(unsigned char)*s]; s++)
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
	buf_add(b, ",\"", 2);
	buf_adds(b, name);
	buf_add(b, "\":", 2);
	if (value != NULL)
		json_add_string(b, value, strlen(value));
	else
		buf_adds(b, "null");
}

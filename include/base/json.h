#ifndef POSTERN_BASE_JSON_H
#define POSTERN_BASE_JSON_H

#include "base/buf.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * JSON (RFC 8259) as strangers send it. json_check is our own strict reading
 * of the raw bytes; json-c, which is lenient (it takes NaN, single quotes,
 * duplicates, and clamps large integers), only ever sees text that passed.
 */

enum { JSON_MAX_DEPTH = 32 };

/* Why a text was refused. */
enum json_fault {
	JSON_OK = 0,
	JSON_SYNTAX, /* not RFC 8259, trailing text, NUL, control characters */
	JSON_ENCODING,  /* not UTF-8, or a lone surrogate escape */
	JSON_NUL,       /* U+0000 in a string or name: Postgres can't hold it */
	JSON_DUPLICATE, /* a member's name twice in one object (after escapes)
			 */
	JSON_DEPTH,     /* nested deeper than JSON_MAX_DEPTH */
	JSON_NOT_OBJECT, /* well-formed, but not an object */
	JSON_NUMBER /* an exponent beyond what Postgres' numeric can hold */
};

/* What json_check learnt about a good text. */
struct json_facts {
	size_t at;        /* offset of the fault, if any */
	size_t member;    /* of the outermost member that has it inside; 0 = it
			     is in none */
	size_t expansion; /* bytes by which numbers with exponents grow when
			     written out in full, as jsonb does */
};

/*
 * Check that text[0..len) is one JSON object under the rules above. Depth
 * counts the outermost object as 1. facts may be NULL.
 */
enum json_fault json_check(
    const char *text, size_t len, struct json_facts *facts);

/* A sentence for a fault, fit for a problem's detail. */
const char *json_fault_text(enum json_fault fault);

/* A parsed object. Opaque; json_free accepts NULL. */
struct json;

/*
 * Read a text that has to pass json_check, numbers of any size aside (they are
 * not to be stored), and that json-c then has to agree about; NULL otherwise.
 * The caller frees.
 */
struct json *json_parse(const char *text, size_t len);
void json_free(struct json *j);

enum json_kind {
	JSON_ABSENT = 0,
	JSON_NULL,
	JSON_BOOL,
	JSON_NUMBER_INT,
	JSON_NUMBER_REAL,
	JSON_STRING,
	JSON_ARRAY,
	JSON_OBJECT
};

/* The type of member name of the object, JSON_ABSENT if it has none. */
enum json_kind json_member_kind(const struct json *j, const char *name);

/* A string member: borrowed bytes, which may hold any UTF-8 but NUL; a NUL
 * stands behind them. They stay until json_free. */
bool json_member_string(
    const struct json *j, const char *name, const char **s, size_t *len);

/* A number member as double, whatever its spelling; infinite where double
 * can't hold it. */
bool json_member_number(const struct json *j, const char *name, double *out);

/* Is each number, at any depth, an integer within int64 or a real within
 * double? Others are good JSON, but few parsers can hold them. */
bool json_numbers_fit(const struct json *j);

/* An integer member within int64; false for reals and larger values. */
bool json_member_int(const struct json *j, const char *name, int64_t *out);

/* A member that is true or false; else false, *out untouched. */
bool json_member_bool(const struct json *j, const char *name, bool *out);

/* An object member, as if it had been parsed alone; NULL if it is none. The
 * caller frees. */
struct json *json_member_object(const struct json *j, const char *name);

/* True if member name is the string s or an array with the string s in it,
 * every element being a string. */
bool json_member_has(const struct json *j, const char *name, const char *s);

/* The number of members, and the name of the first that is not in the
 * NULL-terminated list known (NULL if all are known); borrowed. */
const char *json_unknown_member(const struct json *j, const char *const *known);

/* Append s as a JSON string with its quotes. s must be UTF-8. */
void json_add_string(struct buf *b, const char *s, size_t len);

/* Append ,"name":value behind another member; a value of NULL is null. */
void json_add_member(struct buf *b, const char *name, const char *value);

#endif

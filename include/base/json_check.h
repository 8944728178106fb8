#ifndef POSTERN_BASE_JSON_CHECK_H
#define POSTERN_BASE_JSON_CHECK_H

#include "base/buf.h"
#include "base/json.h"

/* A member of the outermost object: slices of the text. */
struct json_note {
	const char *name; /* as it stands between its quotes */
	size_t name_len;
	const char *value; /* its first byte; space may follow it */
	size_t value_len;
	bool real; /* a number that int64 can't hold, or no integer */
};

enum { JSON_NOTES_MAX = 16 };

/* What json_parse needs to know of a good text; for base/json*.c only. */
struct json_notes {
	size_t members;  /* of the outermost object */
	struct buf wide; /* size_t each: where an integer ends that int64 can't
			    hold, in the text's order */
	struct json_note note[JSON_NOTES_MAX]; /* the first members */
	bool incomplete; /* there are more, or names with escapes */
};

/* json_check that takes notes; the caller has them { 0 } and frees wide. */
enum json_fault json_check_noting(const char *text, size_t len,
    struct json_facts *facts, struct json_notes *notes);

#endif

#ifndef POSTERN_BASE_JSON_CHECK_H
#define POSTERN_BASE_JSON_CHECK_H

#include "base/buf.h"
#include "base/json.h"

/* What json_parse needs to know of a good text; for base/json*.c only. */
struct json_notes {
	size_t members;  /* of the outermost object */
	struct buf wide; /* size_t each: where an integer ends that int64 can't
			    hold, in the text's order */
	bool beyond;     /* a number that int64 or double can't hold */
};

/* json_check that takes notes; the caller has them { 0 } and frees wide.
 * Numbers may have any size: JSON_NUMBER is for what is to be stored. */
enum json_fault json_check_noting(const char *text, size_t len,
    struct json_facts *facts, struct json_notes *notes);

#endif

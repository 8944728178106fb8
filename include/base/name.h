#ifndef POSTERN_BASE_NAME_H
#define POSTERN_BASE_NAME_H

#include "base/buf.h"
#include <stdbool.h>
#include <stddef.h>

/* The bounds, of a user in bytes (as the table users has it), of an app's name
 * and a label in characters; and the rules in words, for messages. */
#define NAME_USER_MAX 255
#define NAME_CHARS_MAX 100
#define NAME_QUOTED(n) NAME_QUOTED_(n)
#define NAME_QUOTED_(n) #n
#define NAME_USER_RULE                                                         \
	"1 to " NAME_QUOTED(NAME_USER_MAX) " bytes of UTF-8 without control "  \
					   "characters"
#define NAME_APP_RULE                                                          \
	"1 to " NAME_QUOTED(NAME_CHARS_MAX) " characters besides the white "   \
					    "space at its ends, without "      \
					    "control or bidi control "         \
					    "characters or others that show "  \
					    "nothing"
#define NAME_LABEL_RULE                                                        \
	"1 to " NAME_QUOTED(NAME_CHARS_MAX) " characters, without control "    \
					    "characters and not only white "   \
					    "space"

/* {user}: UTF-8 without control characters (C0, U+007F). */
bool name_is_user(const char *s, size_t len);

/*
 * A new app's name, appended to out without the white space (Unicode's
 * White_Space) at its edges: UTF-8, at least one character of which shows, and
 * none hidden (base/utf8.h).
 */
bool name_take_app(const char *s, size_t len, struct buf *out);

/*
 * An operator's own label, and part of a name to look for, also of those from
 * before there were such rules: UTF-8 without U+0000-001F or U+007F, not only
 * white space.
 */
bool name_is_label(const char *s, size_t len);

/* X-Request-Id: [A-Za-z0-9._:-]{1,128}. */
bool name_is_request_id(const char *s, size_t len);

#endif

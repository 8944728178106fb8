#ifndef POSTERN_HTTP_FIELD_H
#define POSTERN_HTTP_FIELD_H

#include <stdbool.h>
#include <stddef.h>

/* How many of the characters at s are those of a token (RFC 9110 section
 * 5.6.2). */
size_t field_token_len(const char *s);

/* One token at least, in a list of them (section 5.6.1): commas between, spaces
 * and empty elements as they come. */
bool field_is_token_list(const char *s);

#endif

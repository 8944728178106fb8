#ifndef POSTERN_BASE_BEARER_H
#define POSTERN_BASE_BEARER_H

#include <stdbool.h>
#include <stddef.h>

/*
 * A bearer credential (RFC 6750 section 2.1): the scheme in any case, one or
 * more spaces, one b64token, nothing behind it. *token borrows from value.
 */
bool bearer_parse(const char *value, const char **token, size_t *len);

/* Only b64token characters: ALPHA DIGIT - . _ ~ + / and trailing '='. */
bool bearer_is_b64token(const char *s, size_t len);

#endif

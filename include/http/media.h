#ifndef POSTERN_HTTP_MEDIA_H
#define POSTERN_HTTP_MEDIA_H

#include <stdbool.h>

/*
 * Is value, a Content-Type (RFC 9110 section 8.3.1), of this type (such as
 * "application/json"), in UTF-8? Names are compared without case; parameters
 * other than charset mean nothing here and are ignored, but have to be
 * well-formed (section 5.6.6). Each charset has to be utf-8, or utf8, as many
 * clients write it.
 */
bool media_type_is(const char *value, const char *type);

#endif

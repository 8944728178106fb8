#ifndef POSTERN_BASE_QUERY_H
#define POSTERN_BASE_QUERY_H

#include "base/buf.h"
#include <stdbool.h>

/*
 * The value of query parameter name (as in a=1&b=2), percent-decoded with '+'
 * as space, appended to out. False if absent; *bad is set when it is there
 * twice or does not decode.
 */
bool query_find(
    const char *query, const char *name, struct buf *out, bool *bad);

#endif

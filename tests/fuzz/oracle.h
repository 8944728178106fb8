#ifndef POSTERN_ORACLE_H
#define POSTERN_ORACLE_H

#include "base/buf.h"
#include <stdbool.h>
#include <stddef.h>

/* A second opinion, of jansson; apart, for it has names of base/json.h. */

/* A strict reading: is it one object without duplicate members, and
 * of how many? A number that jansson can't hold is neither yes nor no. */
enum oracle { ORACLE_NO, ORACLE_YES, ORACLE_CANT };
enum oracle oracle_object(const char *text, size_t len, size_t *members);

/* What RFC 8725 asks of a JWT for these settings, once its MAC is good, by
 * jansson's reading; both texts are the decoded parts. */
bool oracle_token_ok(const struct buf *header, const struct buf *payload,
    double now, const char *alg);

#endif

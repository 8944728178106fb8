#ifndef POSTERN_API_ROUTES_H
#define POSTERN_API_ROUTES_H

#include "http/route.h"
#include <stdbool.h>
#include <stddef.h>

/* The routes' table, in its order; *n is how many they are. */
const struct route *routes_all(size_t *n);

/* Is it a write that judges If-Match and If-None-Match by itself, in one step
 * with its change? */
bool routes_is_conditional(const struct route *r);

#endif

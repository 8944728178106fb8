#ifndef POSTERN_API_OPENAPI_H
#define POSTERN_API_OPENAPI_H

#include <stddef.h>

/* src/api/openapi.json, built into the server without its indentation. */
extern const char openapi_text[];
extern const size_t openapi_len;
extern const char openapi_etag[]; /* with its quotes */

#endif

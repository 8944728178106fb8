#ifndef POSTERN_BASE_PRIVATE_FILE_H
#define POSTERN_BASE_PRIVATE_FILE_H

#include "base/buf.h"
#include <stdbool.h>
#include <stddef.h>

/*
 * Append all of an open file, at most max bytes, to out. False with *err, that
 * begins with path: it is no regular file, is open to others, lies below
 * DOCUMENT_ROOT, is longer, or can't be read. The caller closes fd.
 */
bool private_file_read(
    int fd, const char *path, size_t max, struct buf *out, struct buf *err);

#endif

#ifndef POSTERN_AUTH_GRACE_H
#define POSTERN_AUTH_GRACE_H

/* A rotation's grace_seconds: what it is if nothing is said, and the most. */
enum { GRACE_DEFAULT = 86400, GRACE_MAX = 30 * 86400 };

#endif

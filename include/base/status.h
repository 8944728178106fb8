#ifndef POSTERN_BASE_STATUS_H
#define POSTERN_BASE_STATUS_H

/*
 * What a step of a request came to. Only http/problem.c turns one into an
 * HTTP status.
 */
enum status {
	ST_OK = 0,
	ST_NOT_FOUND,    /* no such row, or another app's */
	ST_CONFLICT,     /* the row changed meanwhile, or was there first */
	ST_OVERLAP,      /* an older secret was promised to be valid for now */
	ST_KEY_IN_USE,   /* another app has this very key of its own */
	ST_PRECONDITION, /* If-Match or If-None-Match did not hold */
	ST_INVALID,      /* the value can't be stored (SQLSTATE class 22, 54) */
	ST_TOO_LARGE,    /* the value would grow past its bound */
	ST_UNAVAILABLE,  /* the database is away, read-only or too slow */
	ST_LOCKED,       /* others hold what it needs: worth another try */
	ST_KEY_MISSING,  /* the row's master key is not among ours */
	ST_BROKEN        /* stored data fails its own check; fail closed */
};

#define MUST_CHECK __attribute__((warn_unused_result))

#endif

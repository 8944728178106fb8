#ifndef POSTERN_HTTP_PROBLEM_H
#define POSTERN_HTTP_PROBLEM_H

#include "base/status.h"
#include "http/request.h"
#include "http/response.h"

/*
 * Refusals (RFC 9457). Each has one row in problem.c's table: HTTP status,
 * stable code, detail, and for a 401 or 403 the error of the bearer challenge
 * (RFC 6750 section 3.1).
 */
enum problem {
	P_NONE = 0,
	/* 400 */
	P_BAD_REQUEST,     /* malformed framing: Content-Length, params */
	P_BODY_INCOMPLETE, /* fewer bytes than announced, or a broken stream */
	P_BODY_REQUIRED,
	P_JSON_INVALID,
	P_VALUE_INVALID,
	P_KEY_INVALID, /* jwk is no public key that is taken */
	/* 401 */
	P_CREDENTIALS_MISSING,
	P_PUBLIC_KEY_MISSING,
	P_TOKEN_MISSING,
	P_INVALID_CREDENTIALS,
	P_TOKEN_EXPIRED,
	P_TOKEN_NOT_YET_VALID,
	P_TOKEN_WITHOUT_EXP,
	P_TOKEN_TOO_OLD,
	P_TOKEN_WITHOUT_IAT,
	P_TOKEN_AUDIENCE,
	P_TOKEN_SUBJECT,
	P_TOKEN_ALGORITHM,
	P_TOKEN_MALFORMED,
	P_TOKEN_WITHOUT_JTI,
	P_TOKEN_REPLAYED,
	/* 403 */
	P_REGISTRATION_CLOSED,
	P_PREVIOUS_SECRET,
	P_APP_TOKEN_REQUIRED,
	P_USER_TOKEN_REQUIRED,
	P_OTHER_USER,
	/* the rest */
	P_NO_ROUTE,            /* 404 */
	P_NOT_FOUND,           /* 404 */
	P_METHOD_NOT_ALLOWED,  /* 405 */
	P_CONFLICT,            /* 409 */
	P_OVERLAP,             /* 409 */
	P_KEY_IN_USE,          /* 409 */
	P_PRECONDITION_FAILED, /* 412 */
	P_BODY_TOO_LARGE,      /* 413 */
	P_MEDIA_TYPE,          /* 415 */
	P_TOO_MANY_FAILURES,   /* 429 */
	P_TOO_MANY_REGISTRATIONS,
	P_APP_RATE_LIMITED,
	P_UNAVAILABLE,     /* 503: the database */
	P_KEY_UNAVAILABLE, /* 503: the app's row hangs on an absent key */
	P_INTERNAL,        /* 500 */
	P_COUNT
};

int problem_status(enum problem p);
const char *problem_code(enum problem p);

/* The problem that a step's status means for the caller. */
enum problem problem_from_status(enum status st);

/*
 * Make res the refusal p: problem+json with type, title, status, detail,
 * instance (urn:postern:request:ID) and code; WWW-Authenticate on 401 (and on
 * a token's 403), Retry-After on 503 (on 429 it is the caller's, who knows).
 * detail replaces the table's sentence when not NULL; it must not hold a
 * secret. What res held before is dropped.
 */
void problem_render(struct response *res, enum problem p, const char *detail,
    const struct request *req, const char *realm);

#endif

#ifndef POSTERN_API_CALL_H
#define POSTERN_API_CALL_H

#include "api/api.h"
#include "auth/auth.h"
#include "base/json.h"
#include "http/route.h"
#include <stddef.h>

/* One request on its way through a handler. */
struct call {
	struct api *api;
	const struct request *req;
	struct response *res;
	struct identity who;
	const struct route *routes; /* the table, nroutes of them */
	size_t nroutes;
	struct route_match match;
	const char *remote;    /* who asked, as the log has it */
	const char *detail;    /* a better sentence for the problem, or NULL */
	struct buf detail_buf; /* where detail may live */
	bool no_store;         /* the answer holds a secret */
	bool public;           /* it is the same for all */
};

/* The query's limit (1 to 200, default 50). */
enum problem api_limit(struct call *c, int *limit) MUST_CHECK;

/* A refusal with a sentence of its own. */
enum problem api_refuse(struct call *c, enum problem p, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Start a JSON answer; the body is then appended to res->body. */
void api_json(struct call *c, int status);

/*
 * The same for a read of what has the entity-tag etag: by its conditions (RFC
 * 9110 section 13.2.2) the status is 200, the body then to be appended, or 304;
 * or it is a refusal.
 */
enum problem api_json_tagged(struct call *c, const char *etag) MUST_CHECK;

/* Parse the body as a checked JSON object, at most the members of known (NULL
 * = any). *j is the caller's to free. */
enum problem api_body(
    struct call *c, const char *const *known, struct json **j) MUST_CHECK;

#endif

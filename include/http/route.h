#ifndef POSTERN_HTTP_ROUTE_H
#define POSTERN_HTTP_ROUTE_H

#include "base/buf.h"
#include "http/problem.h"
#include "http/request.h"
#include <stdbool.h>
#include <stddef.h>

/* What a route asks of its caller; auth/auth.c decides it. */
enum need {
	NEED_NOBODY,
	NEED_REGISTRAR, /* by POSTERN_REGISTRATION */
	NEED_ADMIN,
	NEED_METRICS,     /* admin or metrics token */
	NEED_TOKEN,       /* any valid token */
	NEED_APP,         /* an app token */
	NEED_APP_CURRENT, /* an app token signed with the current secret */
	NEED_APP_OR_SELF, /* an app token, or a user token of {user} */
	NEED_USER         /* a user token */
};

/* What body a route takes. */
enum body_kind { BODY_NONE, BODY_JSON, BODY_JSON_OPTIONAL, BODY_MERGE_PATCH };

struct call; /* api/call.h */

struct route {
	enum method method;
	const char *pattern; /* "/v1/users/{user}"; one parameter at most */
	enum need need;
	enum body_kind body;
	enum problem (*handler)(struct call *);
};

/* What matching came to. param is decoded, bad when it did not decode. */
struct route_match {
	const struct route *route; /* NULL: none for this method */
	unsigned allowed; /* where none matched, all methods of this path, 0 =
			     no such path; else that one */
	struct buf param;
	bool param_bad;
};

/* Match by path, then method (HEAD takes GET's route). The caller frees
 * m->param. Segments are compared after decoding once. */
void route_find(const struct route *table, size_t n, const struct request *req,
    struct route_match *m);

/* "GET" for M_GET; "" for M_OTHER. */
const char *route_method_name(enum method method);

/* Append the value of Allow for these methods: HEAD with GET, and OPTIONS. */
void route_allow(unsigned methods, struct buf *out);

#endif

#ifndef POSTERN_API_API_H
#define POSTERN_API_API_H

#include "auth/auth.h"
#include "base/config.h"
#include "base/json.h"
#include "data/db.h"
#include "http/request.h"
#include "http/fcgi.h"
#include "http/response.h"
#include "http/route.h"

/* What handlers share for the life of a worker. */
struct api {
	const struct config *cfg;
	struct db *db;
	struct auth *auth;
};

/* One request on its way through a handler. */
struct call {
	struct api *api;
	const struct request *req;
	struct response *res;
	struct identity who;
	struct route_match match;
	const char *remote;    /* who asked, as the log has it */
	const char *detail;    /* a better sentence for the problem, or NULL */
	struct buf detail_buf; /* where detail may live */
	bool no_store;         /* the answer holds a secret */
	bool public;           /* it is the same for all */
};

/*
 * Answer a request: the gate's decision or a route, policy first. The body
 * came as body tells (http/fcgi.h) and is in req->body. res is complete
 * afterwards; one access line is logged.
 */
void api_answer(struct api *api, const struct request *req, enum fcgi_body body,
    struct response *res);

/* Does this request want its body read? Not the gate's. */
bool api_wants_body(const struct request *req);

/* Handlers, one file a resource; each returns P_NONE with c->res made, or a
 * refusal, c->detail telling more where the table's sentence is too little. */
enum problem api_apps_create(struct call *c);
enum problem api_apps_list(struct call *c);
enum problem api_apps_get(struct call *c);
enum problem api_apps_patch(struct call *c);
enum problem api_apps_delete(struct call *c);
enum problem api_apps_rotate(struct call *c);
enum problem api_apps_disable(struct call *c);
enum problem api_apps_enable(struct call *c);
enum problem api_apps_events(struct call *c);
enum problem api_whoami(struct call *c);
enum problem api_app_get(struct call *c);
enum problem api_app_patch(struct call *c);
enum problem api_app_delete(struct call *c);
enum problem api_app_rotate(struct call *c);
enum problem api_app_end_previous(struct call *c);
enum problem api_users_list(struct call *c);
enum problem api_users_get(struct call *c);
enum problem api_users_put(struct call *c);
enum problem api_users_patch(struct call *c);
enum problem api_users_delete(struct call *c);
enum problem api_healthz(struct call *c);
enum problem api_readyz(struct call *c);
enum problem api_metrics(struct call *c);
enum problem api_openapi(struct call *c);

/* The routes' table, in its order; NULL behind the last. */
const struct route *api_route_at(size_t i);

/* Where base/metrics.h counts a request: by the index of its route (SIZE_MAX
 * if it has none), else by the gate. And a refusal, by the log's reason for
 * it, or its problem if that is no reason that we know. */
size_t api_metrics_route(size_t route, enum gate gate);
size_t api_metrics_reason(const char *reason, enum problem p);

/* The query's limit (1 to 200, default 50). */
enum problem api_limit(struct call *c, int *limit) MUST_CHECK;

/* A refusal with a sentence of its own. */
enum problem api_refuse(struct call *c, enum problem p, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* The gate's yes: 204, or 200 with Variable- headers for the authorizer. */
void api_gate_yes(struct call *c);

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

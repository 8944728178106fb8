#ifndef POSTERN_API_API_H
#define POSTERN_API_API_H

#include "auth/auth.h"
#include "auth/tend.h"
#include "base/config.h"
#include "data/db.h"
#include "http/fcgi.h"
#include "http/request.h"
#include "http/response.h"

/* What handlers share for the life of a worker. */
struct api {
	const struct config *cfg;
	struct db *db;
	struct auth *auth;
	struct tend *tend;
};

/*
 * Answer a request: the gate's decision or a route, policy first. The caller
 * has taken in (db_step) what the database told before it came, so that what
 * was revoked by then is refused. The body came as body tells (http/fcgi.h) and
 * is in req->body. res is complete afterwards; one access line is logged.
 */
void api_answer(struct api *api, const struct request *req, enum fcgi_body body,
    struct response *res);

/* Does this request want its body read? Not the gate's. */
bool api_wants_body(const struct request *req);

#endif

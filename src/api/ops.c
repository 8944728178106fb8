/*
 * /healthz and /readyz, for load balancers and operators, and the description
 * of all of it.
 */
#include "api/handlers.h"
#include "api/openapi.h"

enum problem
api_healthz(struct call *c)
{
	api_json(c, 200);
	buf_adds(&c->res->body, "{\"status\":\"ok\"}\n");
	return P_NONE;
}

/* What the connection found out by itself: who asks here asks the database
 * nothing. */
enum problem
api_readyz(struct call *c)
{
	const char *why = db_unready(c->api->db);

	if (why != NULL)
		return api_refuse(
		    c, P_UNAVAILABLE, "Not ready: the database is %s.", why);
	api_json(c, 200);
	buf_adds(&c->res->body, "{\"status\":\"ready\"}\n");
	return P_NONE;
}

enum problem
api_openapi(struct call *c)
{
	enum problem p;

	c->public = true;
	p = api_json_tagged(c, openapi_etag);
	if (p == P_NONE && c->res->status == 200)
		buf_add(&c->res->body, openapi_text, openapi_len);
	return p;
}

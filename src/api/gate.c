/*
 * The gate's yes: who it is, for what stands behind it. All four names are
 * always there, so that none of a client's own can take their place.
 */
#include "api/handlers.h"
#include "base/percent.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void
api_gate_yes(struct call *c)
{
	bool authorizer = c->req->gate == GATE_AUTHORIZER;
	const struct buf *sub = &c->who.claims.sub;
	const struct key_app *a = c->who.app;
	struct buf name = { 0 }, subject = { 0 };
	char id[24];

	snprintf(id, sizeof id, "%" PRId64, a->id);
	percent_encode(&name, a->name, strlen(a->name));
	percent_encode(&subject, buf_str(sub), sub->len);
	/* The FastCGI specification, 6.3: an authorizer's yes is a 200, and
	 * its Variable- headers become the request's environment. */
	c->res->status = authorizer ? 200 : 204;
	response_header(
	    c->res, authorizer ? "Variable-POSTERN_APP_ID" : "X-App-Id", id);
	response_header(c->res,
	    authorizer ? "Variable-POSTERN_APP_NAME" : "X-App-Name",
	    buf_str(&name));
	response_header(c->res,
	    authorizer ? "Variable-POSTERN_APP_PUBLIC_KEY" : "X-App-Public-Key",
	    a->public_key);
	response_header(c->res,
	    authorizer ? "Variable-POSTERN_SUBJECT" : "X-Token-Subject",
	    buf_str(&subject));
	buf_free(&name);
	buf_free(&subject);
}

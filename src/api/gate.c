/*
 * The gate's yes: who it is, for what stands behind it. All names are
 * always there, so that none of a client's own can take their place.
 */
#include "api/handlers.h"
#include "base/gate_names.h"
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
	const char *told[GATE_NAMES];
	int i;

	snprintf(id, sizeof id, "%" PRId64, a->id);
	percent_encode(&name, a->name, strlen(a->name));
	percent_encode(&subject, buf_str(sub), sub->len);
	told[GATE_NAME_APP_ID] = id;
	told[GATE_NAME_APP_NAME] = buf_str(&name);
	told[GATE_NAME_APP_PUBLIC_KEY] = a->public_key;
	told[GATE_NAME_SUBJECT] = buf_str(&subject);
	/* The FastCGI specification, 6.3: an authorizer's yes is a 200, and
	 * its Variable- headers become the request's environment. */
	c->res->status = authorizer ? 200 : 204;
	for (i = 0; i < GATE_NAMES; i++)
		response_header(c->res,
		    gate_name_header((enum gate_name)i, authorizer), told[i]);
	buf_free(&name);
	buf_free(&subject);
}

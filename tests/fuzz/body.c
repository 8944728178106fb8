/*
 * Bodies and queries as the handlers meet them, the caller's rights decided
 * already and the database absent: documents, merge patches, names, grace,
 * pages. The first byte chooses the handler. None may say yes, and every
 * refusal is a whole answer.
 */
#include "fuzz.h"

#include "api/handlers.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

static const struct {
	enum problem (*handler)(struct call *);
	bool query;
} handlers[] = {
	{ api_users_put, false },
	{ api_users_patch, false },
	{ api_apps_create, false },
	{ api_apps_patch, false },
	{ api_app_patch, false },
	{ api_apps_rotate, false },
	{ api_app_rotate, false },
	{ api_users_list, true },
	{ api_apps_list, true },
};

static struct api api;
static char app_key[] = FUZZ_PUBLIC;
static char app_sealed[] = "00";

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	api.cfg = fuzz_config();
	api.db = db_new(api.cfg->database_url.data, 100, 1);
	api.tend = tend_new(api.cfg, api.db);
	api.auth = auth_new(api.cfg, api.db, tend_uses(api.tend));
	return 0;
}

static void
check_answer(struct call *c, enum problem p)
{
	struct response *res = c->res;
	struct buf out = { 0 };

	FUZZ_MUST(p == P_JSON_INVALID || p == P_VALUE_INVALID ||
		  p == P_BODY_TOO_LARGE || p == P_UNAVAILABLE);
	if (p == P_UNAVAILABLE && c->req->body.len > 0)
		FUZZ_MUST(json_check(buf_str(&c->req->body), c->req->body.len,
			      NULL) == JSON_OK);
	problem_render(res, p, c->detail, c->req, api.cfg->realm);
	FUZZ_MUST(res->status == problem_status(p));
	FUZZ_MUST(json_check(buf_str(&res->body), strlen(buf_str(&res->body)),
		      NULL) == JSON_OK);
	response_render(res, false, &out);
	FUZZ_MUST(strncmp(buf_str(&out), "Status: ", 8) == 0);
	buf_free(&out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t which =
	    fuzz_byte(&data, &size) % (sizeof handlers / sizeof handlers[0]);
	char *text = fuzz_text(data, size);
	struct key_app app = {
		.id = 7, .public_key = app_key, .sealed = app_sealed
	};
	struct request req = { .query = "", .mount = "", .id = "fuzz" };
	struct response res = { 0 };
	struct call c = { .api = &api, .req = &req, .res = &res };

	identity_init(&c.who);
	c.who.app = &app;
	c.who.actor_kind = "app";
	buf_adds(&c.match.param, FUZZ_PUBLIC);
	if (handlers[which].query)
		req.query = text;
	else
		buf_add(&req.body, text, size);
	check_answer(&c, handlers[which].handler(&c));
	response_clear(&res);
	buf_free(&req.body);
	buf_free(&c.match.param);
	buf_free(&c.detail_buf);
	identity_clear(&c.who);
	free(text);
	return 0;
}

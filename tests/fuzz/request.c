/*
 * Params to a request and its route. The first byte is the mount and the role,
 * the rest NAME=value strings, each ended by a NUL.
 */
#include "fuzz.h"

#include "api/routes.h"
#include "base/mem.h"
#include "base/name.h"

#include <stdlib.h>
#include <string.h>

enum { PARAMS_MAX = 300 };

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	(void)fuzz_config();
	return 0;
}

static bool
holds(const char *const *params, const char *p, size_t len)
{
	size_t n;

	for (; *params != NULL; params++) {
		n = strlen(*params);
		if (p >= *params && p + len <= *params + n)
			return true;
	}
	return false;
}

/* Every piece is a piece of what was sent, and no route is a way around. */
static void
check(const struct request *req, const char *const *params, bool authorizer)
{
	size_t i;

	FUZZ_MUST(name_is_request_id(req->id, strlen(req->id)));
	FUZZ_MUST(!authorizer || req->gate == GATE_AUTHORIZER);
	FUZZ_MUST(req->npath == SIZE_MAX || req->npath <= REQUEST_MAX_SEGMENTS);
	for (i = 0; req->npath != SIZE_MAX && i < req->npath; i++) {
		FUZZ_MUST(req->path[i].len > 0);
		FUZZ_MUST(
		    memchr(req->path[i].p, '/', req->path[i].len) == NULL);
		FUZZ_MUST(
		    memchr(req->path[i].p, '?', req->path[i].len) == NULL);
		FUZZ_MUST(req->uri.len > 0 ||
			  holds(params, req->path[i].p, req->path[i].len));
	}
	FUZZ_MUST(req->content_length >= -1);
	FUZZ_MUST(req->authorization == NULL || *req->authorization != '\0');
	FUZZ_MUST(req->public_key == NULL || *req->public_key != '\0');
}

static void
route(const struct request *req)
{
	struct route_match m;
	struct buf allow = { 0 };
	size_t n;
	const struct route *routes = routes_all(&n);

	route_find(routes, n, req, &m);
	if (m.route != NULL) {
		FUZZ_MUST((m.allowed & m.route->method) != 0);
		if (strchr(m.route->pattern, '{') != NULL)
			FUZZ_MUST(m.param_bad ||
				  name_is_user(buf_str(&m.param), m.param.len));
		else
			FUZZ_MUST(m.param.len == 0 && !m.param_bad);
	}
	route_allow(m.allowed, &allow);
	buf_free(&allow);
	buf_free(&m.param);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const bases[] = { "", "/api", "/a/b", "" };
	uint8_t mode = fuzz_byte(&data, &size);
	char *text = fuzz_text(data, size), *params[PARAMS_MAX + 1];
	const char *kept[PARAMS_MAX + 1];
	struct request req = { 0 };
	size_t n, at = 0;

	/* Each in memory of its own, so that a step too far is seen. */
	for (n = 0; n < PARAMS_MAX && at < size; n++) {
		kept[n] = params[n] = mem_strdup(text + at);
		at += strlen(params[n]) + 1;
	}
	kept[n] = params[n] = NULL;
	request_init(&req, params, mode & 4, bases[mode & 3]);
	check(&req, kept, mode & 4);
	route(&req);
	request_clear(&req);
	while (n > 0)
		free(params[--n]);
	free(text);
	return 0;
}

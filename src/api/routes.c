/*
 * The routes: what each asks of its caller, what body it takes, and who
 * answers. This table is the policy of the whole server.
 */
#include "api/routes.h"

#include "api/handlers.h"
#include "base/metrics.h"

static const struct route routes[] = {
	{ M_POST, "/v1/apps", NEED_REGISTRAR, BODY_JSON, api_apps_create },
	{ M_GET, "/v1/apps", NEED_ADMIN, BODY_NONE, api_apps_list },
	{ M_GET, "/v1/apps/{public_key}", NEED_ADMIN, BODY_NONE, api_apps_get },
	{ M_PATCH, "/v1/apps/{public_key}", NEED_ADMIN, BODY_MERGE_PATCH,
	    api_apps_patch },
	{ M_DELETE, "/v1/apps/{public_key}", NEED_ADMIN, BODY_NONE,
	    api_apps_delete },
	{ M_POST, "/v1/apps/{public_key}/rotate", NEED_ADMIN,
	    BODY_JSON_OPTIONAL, api_apps_rotate },
	{ M_POST, "/v1/apps/{public_key}/disable", NEED_ADMIN, BODY_NONE,
	    api_apps_disable },
	{ M_POST, "/v1/apps/{public_key}/enable", NEED_ADMIN, BODY_NONE,
	    api_apps_enable },
	{ M_GET, "/v1/apps/{public_key}/events", NEED_ADMIN, BODY_NONE,
	    api_apps_events },
	{ M_GET, "/v1/whoami", NEED_TOKEN, BODY_NONE, api_whoami },
	{ M_GET, "/v1/app", NEED_APP, BODY_NONE, api_app_get },
	{ M_PATCH, "/v1/app", NEED_APP_CURRENT, BODY_MERGE_PATCH,
	    api_app_patch },
	{ M_DELETE, "/v1/app", NEED_APP_CURRENT, BODY_NONE, api_app_delete },
	{ M_POST, "/v1/app/rotate", NEED_APP_CURRENT, BODY_JSON_OPTIONAL,
	    api_app_rotate },
	{ M_DELETE, "/v1/app/previous-secret", NEED_APP_CURRENT, BODY_NONE,
	    api_app_end_previous },
	{ M_GET, "/v1/users", NEED_APP, BODY_NONE, api_users_list },
	{ M_GET, "/v1/users/{user}", NEED_APP_OR_SELF, BODY_NONE,
	    api_users_get },
	{ M_PUT, "/v1/users/{user}", NEED_APP_OR_SELF, BODY_JSON,
	    api_users_put },
	{ M_PATCH, "/v1/users/{user}", NEED_APP_OR_SELF, BODY_MERGE_PATCH,
	    api_users_patch },
	{ M_DELETE, "/v1/users/{user}", NEED_APP_OR_SELF, BODY_NONE,
	    api_users_delete },
	{ M_GET, "/v1/me", NEED_USER, BODY_NONE, api_users_get },
	{ M_PUT, "/v1/me", NEED_USER, BODY_JSON, api_users_put },
	{ M_PATCH, "/v1/me", NEED_USER, BODY_MERGE_PATCH, api_users_patch },
	{ M_DELETE, "/v1/me", NEED_USER, BODY_NONE, api_users_delete },
	{ M_GET, "/healthz", NEED_NOBODY, BODY_NONE, api_healthz },
	{ M_GET, "/readyz", NEED_NOBODY, BODY_NONE, api_readyz },
	{ M_GET, "/openapi.json", NEED_NOBODY, BODY_NONE, api_openapi },
	{ M_GET, "/metrics", NEED_METRICS, BODY_NONE, api_metrics },
};

enum { ROUTES = sizeof routes / sizeof routes[0] };

/* The gates are counted behind the routes. */
_Static_assert(
    ROUTES + GATE_AUTHORIZER < METRICS_ROUTES, "every route is counted");

const struct route *
routes_all(size_t *n)
{
	*n = ROUTES;
	return routes;
}

bool
routes_is_conditional(const struct route *r)
{
	return r->handler == api_users_put || r->handler == api_users_patch ||
	       r->handler == api_users_delete;
}

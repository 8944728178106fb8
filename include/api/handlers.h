#ifndef POSTERN_API_HANDLERS_H
#define POSTERN_API_HANDLERS_H

#include "api/call.h"

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

/* The gate's yes: 204, or 200 with Variable- headers for the authorizer. */
void api_gate_yes(struct call *c);

#endif

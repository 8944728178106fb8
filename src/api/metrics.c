/*
 * /metrics: what the processes counted, under names that operators know, and
 * what the database says of the apps.
 */
#include "api/metrics.h"

#include "api/handlers.h"
#include "base/metrics.h"
#include "data/app_store.h"
#include "data/reseal_store.h"

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Requests to the gate, behind the routes' table; the first are those that had
 * neither. */
static const char *const gates[] = { [GATE_NO] = "",
	[GATE_PLAIN] = "gate",
	[GATE_NGINX] = "gate_nginx",
	[GATE_AUTHORIZER] = "authorizer" };
enum { GATES = sizeof gates / sizeof gates[0] };

/* Why a request was refused, where the log knows more than the problem. */
static const char *const reasons[] = { "app_disabled", "app_expired",
	"app_token", "credential_doubled", "invite_not_good", "key_unknown",
	"master_key_missing", "no_authorization", "no_credentials",
	"no_public_key", "not_a_bearer_token", "operator_token_bad",
	"param_doubled", "policy_unknown", "public_key_malformed",
	"sealed_key_refused", "secret_encoding_suspected", "signature_bad",
	"user_token" };
enum { REASONS = sizeof reasons / sizeof reasons[0] };

_Static_assert((int)P_COUNT + (int)REASONS < (int)METRICS_REASONS,
    "every reason has its place");

const char *
api_metrics_gate(enum gate gate)
{
	return gates[gate];
}

size_t
api_metrics_route(const struct call *c)
{
	const struct route *r = c->match.route;

	return r != NULL ? (size_t)(r - c->routes) : c->nroutes + c->req->gate;
}

size_t
api_metrics_reason(const char *reason, enum problem p)
{
	size_t i;

	for (i = 0; i < REASONS; i++)
		if (strcmp(reasons[i], reason) == 0)
			return P_COUNT + i;
	for (i = P_NONE + 1; i < P_COUNT; i++)
		if (strcmp(problem_code((enum problem)i), reason) == 0)
			return i;
	return p; /* the database's state */
}

static const char *
route_labels(const void *arg, size_t i)
{
	static char text[128];
	const struct call *c = arg;
	const char *route, *method = "";

	if (i < c->nroutes) {
		route = c->routes[i].pattern;
		method = route_method_name(c->routes[i].method);
	} else if (i == c->nroutes) {
		route = "none";
	} else if (i - c->nroutes < GATES) {
		route = gates[i - c->nroutes];
	} else {
		return NULL;
	}
	snprintf(
	    text, sizeof text, "route=\"%s\",method=\"%s\"", route, method);
	return text;
}

static const char *
reason_name(size_t i)
{
	if (i >= P_COUNT)
		return i - P_COUNT < REASONS ? reasons[i - P_COUNT] : NULL;
	return i == P_NONE ? "" : problem_code((enum problem)i);
}

static void
add_counts(struct buf *b, const struct app_counts *n)
{
	const struct {
		const char *state;
		int64_t apps;
	} rows[] = { { "active", n->active }, { "disabled", n->disabled },
		{ "expired", n->expired } };
	size_t i;

	metrics_head(b, "postern_apps", "gauge", "Apps, by their state.");
	for (i = 0; i < sizeof rows / sizeof rows[0]; i++)
		buf_addf(b, "postern_apps{state=\"%s\"} %" PRId64 "\n",
		    rows[i].state, rows[i].apps);
}

/* What this server can do with what is sealed under a master key's id. */
static const char *
key_state(const struct config *cfg, const char *id)
{
	const struct master_key_list *old = &cfg->master_keys_old;
	size_t i;

	if (id == NULL)
		return "goliauth";
	if (strcmp(id, cfg->master_key.id) == 0)
		return "current";
	for (i = 0; i < old->n; i++)
		if (strcmp(id, old->key[i].id) == 0)
			return "old";
	return "missing";
}

/* What is no id of ours, a stranger's text in a row, is left out. */
static void
add_key_uses(
    struct buf *b, const struct config *cfg, struct key_use *uses, size_t n)
{
	size_t i;

	metrics_head(b, "postern_sealed_keys", "gauge",
	    "Secret keys in the database, by the master key that sealed "
	    "them, and whether this server has it.");
	for (i = 0; i < n; i++) {
		const char *id =
		    uses[i].key_id != NULL ? uses[i].key_id : "goliauth";
		size_t len = uses[i].key_id != NULL
				 ? strspn(id, "0123456789abcdef")
				 : strlen(id);

		if (len <= SEAL_KEY_ID_LEN && id[len] == '\0')
			buf_addf(b,
			    "postern_sealed_keys{master_key_id=\"%s\","
			    "state=\"%s\"} %" PRId64 "\n",
			    id, key_state(cfg, uses[i].key_id), uses[i].rows);
		free(uses[i].key_id);
	}
	free(uses);
}

/* While the database is away its part is missing, and the rest tells why. */
enum problem
api_metrics(struct call *c)
{
	const struct metrics_names names = { route_labels, reason_name, c };
	struct buf *b = &c->res->body;
	struct app_counts counts;
	struct key_use *uses = NULL;
	size_t n = 0;

	c->res->status = 200;
	c->res->content_type = "text/plain; version=0.0.4; charset=utf-8";
	metrics_render(b, &names);
	if (app_store_counts(c->api->db, &counts) == ST_OK)
		add_counts(b, &counts);
	if (reseal_store_key_uses(c->api->db, &uses, &n) == ST_OK)
		add_key_uses(b, c->api->cfg, uses, n);
	return P_NONE;
}

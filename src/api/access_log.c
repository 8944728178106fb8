/*
 * The line of the access log for a request and its answer, and its count in the
 * metrics.
 */
#include "api/access_log.h"

#include "api/metrics.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"

void
access_log(const struct call *c, enum problem p)
{
	const struct route *r = c->match.route;
	const char *route =
	    r != NULL ? r->pattern : api_metrics_gate(c->req->gate);
	const char *reason = "";
	int64_t us = clock_mono_us() - c->req->start_us;
	size_t counted = api_metrics_route(c);

	if (p != P_NONE)
		reason =
		    c->who.reason != NULL ? c->who.reason : problem_code(p);
	log_info("request", LOG_S("request_id", c->req->id),
	    LOG_S("method", c->req->method_name), LOG_S("route", route),
	    LOG_N("status", c->res->status), LOG_N("app_id", c->who.app->id),
	    LOG_S("reason", reason), LOG_S("remote", c->remote),
	    LOG_N("us", us), LOG_LAST("cause", c->who.cause));
	metrics_request(counted, c->res->status, us);
	if (p != P_NONE)
		metrics_refusal(counted, api_metrics_reason(reason, p));
}

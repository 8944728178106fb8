/*
 * How often something may be done (the limits), and what is a 429.
 * Counting is base/throttle's.
 */
#include "auth/limits.h"

#include "base/address.h"
#include "base/clock.h"
#include "base/hex.h"
#include "base/throttle.h"

#include <string.h>

/* 429, and when to come again. */
static enum problem
hold_off(struct identity *id, enum problem p, int64_t wait_s)
{
	if (wait_s == 0)
		return P_NONE;
	id->cause = id->reason;
	id->reason = problem_code(p);
	id->retry_after = wait_s;
	return p;
}

/* Those whose address the web server does not tell share a bucket. */
static int64_t
take_address(const struct config *cfg, const struct request *req,
    enum throttle_kind kind, const struct throttle_rate *rate)
{
	struct address a;

	(void)address_client(
	    req->remote_addr, req->forwarded_for, &cfg->trusted_proxies, &a);
	address_narrow(&a);
	return throttle_take(
	    kind, a.bytes, sizeof a.bytes, rate, clock_mono_us());
}

enum problem
limits_failure(const struct config *cfg, const struct request *req,
    enum problem p, struct identity *id)
{
	const struct throttle_rate *rate = &cfg->limit_failures;
	const char *key = req->public_key;
	int64_t wait_s;
	enum problem limited;

	if (p != P_INVALID_CREDENTIALS || rate->n == 0)
		return p;
	wait_s = take_address(cfg, req, THROTTLE_FAILURES_ADDRESS, rate);
	/* Only while the address has tokens: so one address can make no more
	 * buckets of keys than it has. */
	if (wait_s == 0 && key != NULL && hex_is_public_key(key, strlen(key)))
		wait_s = throttle_take(THROTTLE_FAILURES_KEY, key, strlen(key),
		    rate, clock_mono_us());
	limited = hold_off(id, P_TOO_MANY_FAILURES, wait_s);
	return limited != P_NONE ? limited : p;
}

enum problem
limits_registration(
    const struct config *cfg, const struct request *req, struct identity *id)
{
	const struct throttle_rate *rate = &cfg->limit_registrations;

	if (rate->n == 0)
		return P_NONE;
	return hold_off(id, P_TOO_MANY_REGISTRATIONS,
	    take_address(cfg, req, THROTTLE_REGISTRATIONS, rate));
}

enum problem
limits_app(const struct config *cfg, struct identity *id)
{
	int64_t app = id->app->id;

	if (cfg->limit_app.n == 0)
		return P_NONE;
	return hold_off(id, P_APP_RATE_LIMITED,
	    throttle_take(THROTTLE_APPS, &app, sizeof app, &cfg->limit_app,
		clock_mono_us()));
}

/*
 * When a connection that has come to its end is tried anew.
 */
#include "data/retry.h"

#include "base/crypto.h"

#include <sys/param.h>

enum { BACKOFF_MIN_MS = 100, BACKOFF_MAX_MS = 5000 };
enum { UNFIT_MS = 1000, STALL_MS = 1000, STALLS_MAX = 3 };

/* Half to the whole of it. */
static int64_t
jittered(int64_t ms)
{
	uint32_t r;

	crypto_random(&r, sizeof r);
	return ms / 2 + (int64_t)(r % (uint32_t)(ms / 2 + 1));
}

int64_t
retry_after(struct retry *r, enum retry_end why, bool was_up)
{
	r->failures = was_up ? 0 : r->failures + 1;
	if (why == END_UNFIT) {
		r->backoff_ms = BACKOFF_MIN_MS;
		return jittered(UNFIT_MS);
	}
	if (!was_up)
		r->backoff_ms = MAX(2 * r->backoff_ms, BACKOFF_MIN_MS);
	else if (why == END_STALLED)
		r->backoff_ms = STALL_MS << MIN(r->stalls, STALLS_MAX);
	else
		r->backoff_ms = 0;
	r->backoff_ms = MIN(r->backoff_ms, BACKOFF_MAX_MS);
	if (why == END_STALLED)
		r->stalls++;
	return jittered(r->backoff_ms);
}

void
retry_up(struct retry *r)
{
	r->failures = 0;
	r->backoff_ms = 0;
}

void
retry_settle(struct retry *r)
{
	r->stalls = 0;
}

/* The two clocks: one for durations, one for dates. */

#include "base/clock.h"

#include <stdlib.h>
#include <time.h>

int64_t
clock_mono_us(void)
{
	struct timespec ts;

	if (clock_gettime(CLOCK_MONOTONIC, &ts) == -1)
		abort();
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

double
clock_wall(void)
{
	struct timespec ts;

	if (clock_gettime(CLOCK_REALTIME, &ts) == -1)
		abort();
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

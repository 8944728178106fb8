#ifndef POSTERN_BASE_CLOCK_H
#define POSTERN_BASE_CLOCK_H

#include <stdint.h>

/* Microseconds of CLOCK_MONOTONIC: for deadlines, ages and durations. */
int64_t clock_mono_us(void);

/* Seconds since the epoch, with a fraction: for exp, nbf, iat and expiry. */
double clock_wall(void);

#endif

#ifndef POSTERN_BASE_DATE_H
#define POSTERN_BASE_DATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { DATE_SIZE = sizeof "2030-01-31T00:00:00.000000Z" };

/*
 * A time as RFC 3339 section 5.6 writes it, of at most 64 bytes, and its day
 * and second one that there is: the same in UTC, with microseconds (what is
 * behind them is dropped), into out. A leap second may stand where one can be,
 * at the end of a June or December in UTC (section 5.7), and is then the second
 * that follows. False for all else, and for what in UTC is not of the years 1
 * to 9999.
 */
bool date_parse(const char *s, size_t len, char out[DATE_SIZE]);

/* What RFC 3339 can say: from the year 1 to the end of 9999, in microseconds
 * since the epoch. */
#define DATE_MIN_US INT64_C(-62135596800000000)
#define DATE_MAX_US INT64_C(253402300799999999)

/* A time within these, or none: { 0 }. */
struct date {
	bool there;
	int64_t us;
};

/* As RFC 3339 in UTC, with microseconds, into out; NULL if there is none. */
const char *date_text(const struct date *d, char out[DATE_SIZE]);

/* As seconds since the epoch, with a fraction; none if there is none. */
double date_seconds(const struct date *d, double none);

#endif

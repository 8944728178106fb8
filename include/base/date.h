#ifndef POSTERN_BASE_DATE_H
#define POSTERN_BASE_DATE_H

#include <stdbool.h>
#include <stddef.h>

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

#endif

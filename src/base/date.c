/*
 * Times in RFC 3339's profile of ISO 8601: those of strangers, read, and our
 * own, written. What Postgres would make of a stranger's text (24:00, leap
 * seconds in any minute, roundings) is not asked: it gets what was understood
 * here.
 */
#include "base/date.h"

#include <ctype.h>
#include <string.h>
#include <time.h>

enum { TEXT_MAX = 64, MICROS = 6 };
enum { MARCH_TO_JANUARY = 306 }; /* of the year 1 */

/* What the text says, before it is known to be one. */
struct fields {
	int year, month, day, hour, minute, second;
	int micros;
	int offset; /* seconds east of UTC */
};

/* Of the template, '0' stands for any digit. */
static bool
fits(const char *s, const char *template)
{
	for (; *template != '\0'; s++, template ++) {
		if (*template == '0' ? !isdigit((unsigned char)*s)
				     : *s != *template)
			return false;
	}
	return true;
}

/* n digits, which are there. */
static int
digits(const char *s, int n)
{
	int value = 0;

	while (n-- > 0)
		value = 10 * value + (*s++ - '0');
	return value;
}

/* What follows the fraction; NULL if a point has none behind it. */
static const char *
take_fraction(const char *p, struct fields *f)
{
	int n;

	if (*p != '.')
		return p;
	p++;
	if (!isdigit((unsigned char)*p))
		return NULL;
	for (n = 0; isdigit((unsigned char)*p); n++, p++)
		if (n < MICROS)
			f->micros = 10 * f->micros + (*p - '0');
	for (; n < MICROS; n++)
		f->micros *= 10;
	return p;
}

/* "-00:00" is UTC as well (section 4.3). */
static bool
take_offset(const char *p, struct fields *f)
{
	int hours, minutes;

	if ((*p == 'Z' || *p == 'z') && p[1] == '\0')
		return true;
	if (!(fits(p, "+00:00") || fits(p, "-00:00")) || p[6] != '\0')
		return false;
	hours = digits(p + 1, 2);
	minutes = digits(p + 4, 2);
	f->offset = (*p == '-' ? -60 : 60) * (60 * hours + minutes);
	return hours <= 23 && minutes <= 59;
}

static bool
take_text(const char *s, struct fields *f)
{
	const char *p = s + strlen("0000-00-00");

	if (!fits(s, "0000-00-00") || (*p != 'T' && *p != 't') ||
	    !fits(p + 1, "00:00:00"))
		return false;
	f->year = digits(s, 4);
	f->month = digits(s + 5, 2);
	f->day = digits(s + 8, 2);
	f->hour = digits(p + 1, 2);
	f->minute = digits(p + 4, 2);
	f->second = digits(p + 7, 2);
	p = take_fraction(p + strlen("T00:00:00"), f);
	return p != NULL && take_offset(p, f);
}

static int
days_in(int year, int month)
{
	static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30,
		31 };
	bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);

	return month == 2 && leap ? 29 : days[month - 1];
}

static bool
in_bounds(const struct fields *f)
{
	return f->month >= 1 && f->month <= 12 && f->day >= 1 &&
	       f->day <= days_in(f->year, f->month) && f->hour <= 23 &&
	       f->minute <= 59 && f->second <= 60;
}

static bool
in_utc(const struct fields *f, struct tm *utc)
{
	struct tm tm = { .tm_year = f->year - 1900,
		.tm_mon = f->month - 1,
		.tm_mday = f->day,
		.tm_hour = f->hour,
		.tm_min = f->minute,
		.tm_sec = f->second };
	time_t at = timegm(&tm) - f->offset;

	if (gmtime_r(&at, utc) == NULL)
		return false;
	/* Behind a leap second is the midnight that begins July or January. */
	if (f->second == 60 &&
	    !(utc->tm_hour == 0 && utc->tm_min == 0 && utc->tm_mday == 1 &&
		(utc->tm_mon == 6 || utc->tm_mon == 0)))
		return false;
	return utc->tm_year + 1900 >= 1 && utc->tm_year + 1900 <= 9999;
}

/* n digits and what is behind them; where to go on. */
static char *
put(char *at, int value, int n, char behind)
{
	int i;

	for (i = n; i-- > 0; value /= 10)
		at[i] = (char)('0' + value % 10);
	at[n] = behind;
	return at + n + 1;
}

static void
put_utc(const struct fields *f, char out[DATE_SIZE])
{
	char *at = out;

	at = put(at, f->year, 4, '-');
	at = put(at, f->month, 2, '-');
	at = put(at, f->day, 2, 'T');
	at = put(at, f->hour, 2, ':');
	at = put(at, f->minute, 2, ':');
	at = put(at, f->second, 2, '.');
	at = put(at, f->micros, MICROS, 'Z');
	*at = '\0';
}

bool
date_parse(const char *s, size_t len, char out[DATE_SIZE])
{
	struct fields f = { 0 };
	struct tm utc;

	if (len > TEXT_MAX || strlen(s) != len || !take_text(s, &f) ||
	    !in_bounds(&f) || !in_utc(&f, &utc))
		return false;
	put_utc(&(struct fields){ .year = utc.tm_year + 1900,
		    .month = utc.tm_mon + 1,
		    .day = utc.tm_mday,
		    .hour = utc.tm_hour,
		    .minute = utc.tm_min,
		    .second = utc.tm_sec,
		    .micros = f.micros },
	    out);
	return true;
}

/* The day of the Gregorian calendar, counted from the first of March of the
 * year 0, so that a leap day is a year's last. */
static void
take_day(int days, struct fields *f)
{
	int cycle = days / 146097, of_cycle = days % 146097;
	int year = (of_cycle - of_cycle / 1460 + of_cycle / 36524 -
		       of_cycle / 146096) /
		   365;
	int of_year = of_cycle - (365 * year + year / 4 - year / 100);
	int month = (5 * of_year + 2) / 153;

	f->day = of_year - (153 * month + 2) / 5 + 1;
	f->month = month < 10 ? month + 3 : month - 9;
	f->year = 400 * cycle + year + (f->month <= 2);
}

const char *
date_text(const struct date *d, char out[DATE_SIZE])
{
	/* From the year 1 on nothing is negative. */
	int64_t us = d->us - DATE_MIN_US, seconds = us / 1000000;
	int of_day = (int)(seconds % 86400);
	struct fields f = { .hour = of_day / 3600,
		.minute = of_day / 60 % 60,
		.second = of_day % 60,
		.micros = (int)(us % 1000000) };

	if (!d->there)
		return NULL;
	take_day((int)(seconds / 86400) + MARCH_TO_JANUARY, &f);
	put_utc(&f, out);
	return out;
}

double
date_seconds(const struct date *d, double none)
{
	return d->there ? (double)d->us / 1e6 : none;
}

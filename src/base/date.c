/*
 * Times of strangers, in RFC 3339's profile of ISO 8601. What Postgres would
 * make of the same text (24:00, leap seconds in any minute, roundings) is not
 * asked: it gets what was understood here.
 */
#include "base/date.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { TEXT_MAX = 64, MICROS = 6 };

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

bool
date_parse(const char *s, size_t len, char out[DATE_SIZE])
{
	struct fields f = { 0 };
	struct tm utc;
	int n;

	if (len > TEXT_MAX || strlen(s) != len || !take_text(s, &f) ||
	    !in_bounds(&f) || !in_utc(&f, &utc))
		return false;
	n = snprintf(out, DATE_SIZE, "%04d-%02d-%02dT%02d:%02d:%02d.%06dZ",
	    utc.tm_year + 1900, utc.tm_mon + 1, utc.tm_mday, utc.tm_hour,
	    utc.tm_min, utc.tm_sec, f.micros);
	return n == DATE_SIZE - 1;
}

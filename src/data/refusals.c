/*
 * What is refused at once: for a second each time, in which those who come
 * don't wait for what the one before them waited for in vain.
 */
#include "data/refusals.h"

#include "base/clock.h"

#include <stddef.h>
#include <string.h>

enum { REFUSED_MS = 1000, WARY_MS = 5000 };

void
refusals_add_commits(struct refusals *r)
{
	r->commits_until_us = clock_mono_us() + REFUSED_MS * 1000;
}

bool
refusals_has_commits(const struct refusals *r)
{
	return r->commits_until_us != 0 &&
	       clock_mono_us() < r->commits_until_us;
}

/* In the place of one that is over; if there is none, in the last. */
void
refusals_add(struct refusals *r, const struct db_stmt *stmt)
{
	int64_t now = clock_mono_us();
	size_t i;

	for (i = 0; i + 1 < REFUSALS_MAX && r->locked[i].stmt != stmt &&
		    now < r->locked[i].until_us;
	     i++)
		;
	r->locked[i].stmt = stmt;
	r->locked[i].until_us = now + REFUSED_MS * 1000;
	r->wary_until_us = now + WARY_MS * 1000;
}

bool
refusals_has(const struct refusals *r, const struct db_stmt *stmt)
{
	size_t i;

	for (i = 0; i < REFUSALS_MAX; i++)
		if (r->locked[i].stmt == stmt &&
		    clock_mono_us() < r->locked[i].until_us)
			return true;
	return false;
}

bool
refusals_are_wary(const struct refusals *r)
{
	return r->wary_until_us != 0 && clock_mono_us() < r->wary_until_us;
}

bool
refusals_is_write(const struct db_stmt *stmt)
{
	static const char *const words[] = { "INSERT", "UPDATE", "DELETE",
		"SHARE" };
	size_t i;

	for (i = 0; i < sizeof words / sizeof words[0]; i++)
		if (strstr(stmt->sql, words[i]) != NULL)
			return true;
	return false;
}

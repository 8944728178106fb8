#ifndef POSTERN_DATA_REFUSALS_H
#define POSTERN_DATA_REFUSALS_H

#include "data/db.h"
#include <stdbool.h>
#include <stdint.h>

/*
 * What is refused at once, for a while, so that what held up one question holds
 * up no other: commits that hang, and statements that need a table which
 * someone has locked. { 0 } is nothing. For src/data/{refusals,db}.c.
 */
enum { REFUSALS_MAX = 16 };

struct refusals {
	int64_t commits_until_us;
	struct {
		const struct db_stmt *stmt;
		int64_t until_us;
	} locked[REFUSALS_MAX];
	int64_t wary_until_us;
};

/* Commits hang; are they refused? */
void refusals_add_commits(struct refusals *r);
bool refusals_has_commits(const struct refusals *r);

/* A table that stmt needs is locked; is stmt refused? */
void refusals_add(struct refusals *r, const struct db_stmt *stmt);
bool refusals_has(const struct refusals *r, const struct db_stmt *stmt);

/* Was a table locked a short time ago? Then one looks before one waits. */
bool refusals_are_wary(const struct refusals *r);

/* Does stmt write, or lock rows, so that it ends in a commit? */
bool refusals_is_write(const struct db_stmt *stmt);

#endif

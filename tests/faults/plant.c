/*
 * A table of verdicts with nothing but wrong entries: linked into a program of
 * its own in place of verdicts_find, it knows every token that it is asked
 * about, as a good one of the user "planted". What it is asked about is all
 * that it can lie about.
 */
#include "auth/verdict_table.h"

#include <math.h>

/* The linker's names (ld's --wrap) are such. */
bool __wrap_verdicts_find(struct verdicts *vs, const struct verdict_owner *o,
    const struct token_parts *t, struct token_claims *claims);

bool
__wrap_verdicts_find(struct verdicts *vs, const struct verdict_owner *o,
    const struct token_parts *t, struct token_claims *claims)
{
	(void)vs;
	(void)o;
	(void)t;
	claims->times =
	    (struct token_times){ .exp = INFINITY, .has_exp = true };
	claims->audience = true;
	claims->has_sub = true;
	buf_adds(&claims->sub, "planted");
	return true;
}

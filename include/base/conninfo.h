#ifndef POSTERN_BASE_CONNINFO_H
#define POSTERN_BASE_CONNINFO_H

#include <stdbool.h>
#include <stddef.h>

/*
 * What a conninfo has to look like before libpq reads it ("Connection Strings"
 * in its documentation). libpq quotes what it can't take, and takes for a host
 * or a port what follows a password's unencoded / or @: so what leaves a doubt
 * is refused here, in words that quote nothing.
 */

/* Is s, of len bytes and a NUL, plain? Else *why is a constant that tells what
 * is wrong with it, as it follows after "61 characters, ". */
bool conninfo_check(const char *s, size_t len, const char **why);

/* The same of one option's value, however libpq came by it. */
bool conninfo_check_option(
    const char *key, const char *value, const char **why);

/* A copy of one that is plain, with an x for each character of its passwords.
 * The caller frees. */
char *conninfo_blanked(const char *s);

/* May what stands for a host be the end of a password that has an @? Such a
 * name is told only after it has been resolved. */
bool conninfo_has_userinfo(const char *s);

#endif

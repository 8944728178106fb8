#ifndef POSTERN_DATA_DSN_H
#define POSTERN_DATA_DSN_H

#include "base/buf.h"
#include <stdbool.h>
#include <stddef.h>

/*
 * What libpq makes of a conninfo that conninfo_check has passed, with what a
 * service file and the PG... variables add: is each value one that libpq's
 * later messages may quote? Else *why is a constant, as conninfo_check's. It
 * gets to see no password, and goes nowhere.
 */
bool dsn_check(const char *conninfo, size_t len, const char **why);

/*
 * Does conninfo, with all that libpq adds to it, lead to Unix sockets alone?
 * There Postgres, as it is installed, lets a role in for the system user of the
 * same name ("peer"): then that name, appended to user.
 */
bool dsn_peer(const char *conninfo, struct buf *user);

#endif

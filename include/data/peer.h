#ifndef POSTERN_DATA_PEER_H
#define POSTERN_DATA_PEER_H

#include "base/buf.h"
#include <stdbool.h>

/*
 * Does conninfo, with all that libpq adds to it, lead to Unix sockets alone?
 * There Postgres, as it is installed, lets a role in for the system user of the
 * same name ("peer"): then that name, appended to user.
 */
bool peer_user(const char *conninfo, struct buf *user);

#endif

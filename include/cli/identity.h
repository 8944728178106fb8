#ifndef POSTERN_CLI_IDENTITY_H
#define POSTERN_CLI_IDENTITY_H

#include "base/buf.h"
#include "base/config.h"
#include "data/db.h"
#include <sys/types.h>

/*
 * Who the tool is to Postgres. Run as root it asks as the system user that the
 * database's role is the name of, for over a Unix socket Postgres lets nobody
 * else in by default; and stays that user once it is in.
 */

/* A connection by the settings, up or not: then db_error says why. The caller
 * frees. min_schema as in db_new. */
struct db *identity_connect(const struct config *cfg, int min_schema);

/* Append what may be wrong with who asked, where that may be it. */
void identity_advise(
    struct buf *out, const struct config *cfg, const struct db *db);

/* Who ran the tool. */
uid_t identity_caller(void);

#endif

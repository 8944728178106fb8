#ifndef POSTERN_DATA_RIGHTS_H
#define POSTERN_DATA_RIGHTS_H

#include "base/buf.h"
#include "base/status.h"
#include "data/db.h"

/*
 * What the server's role may do, and nobody else, beside the owner. Both append
 * the statements that make it so, of which there may be none.
 */

/*
 * Our functions: trigger functions are the owner's alone, and the rest is for
 * those who may change documents, PUBLIC aside; whatever default privileges
 * made of them. Functions of other owners are left alone.
 */
enum status rights_functions(struct db *db, struct buf *sql) MUST_CHECK;

/*
 * role has what the server's statements need on our schema, and loses what else
 * it was granted there, but for what is its own; PUBLIC loses all. ST_NOT_FOUND
 * if there is no such role.
 */
enum status rights_server(
    struct db *db, const char *role, struct buf *sql) MUST_CHECK;

#endif

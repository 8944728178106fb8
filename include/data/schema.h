#ifndef POSTERN_DATA_SCHEMA_H
#define POSTERN_DATA_SCHEMA_H

#include "base/buf.h"
#include "base/status.h"
#include "data/db.h"
#include <stddef.h>

/* sql/NNN_what.sql, built into the programs in order of number. */
struct migration {
	int version;
	const char *name; /* "001_apps" */
	const char *sql;
};
extern const struct migration schema_migrations[]; /* ends with version 0 */

/* The newest migration that this binary knows, which is what it needs. */
int schema_required(void);

/* The database's version: 0 when it has none of our migrations. */
enum status schema_version(struct db *db, int *version) MUST_CHECK;

/* A query of its own: does the server answer, can it write, and is its schema
 * at least schema_required()? Else ST_UNAVAILABLE. */
enum status schema_ready(struct db *db) MUST_CHECK;

/*
 * Apply what is missing, each in one transaction under an advisory lock,
 * calling done (may be NULL) after each. role (may be NULL) is granted what
 * the server needs. On failure *err has Postgres' message.
 */
enum status schema_migrate(struct db *db, const char *role,
    void (*done)(const struct migration *), struct buf *err) MUST_CHECK;

#endif

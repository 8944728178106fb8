#ifndef POSTERN_DATA_SCHEMA_H
#define POSTERN_DATA_SCHEMA_H

#include "base/buf.h"
#include "base/status.h"
#include "data/db.h"
#include <stddef.h>

/* sql/NNN_what.sql, built into the programs in order of number. */
struct migration {
	int version;
	int serves_from;  /* programs that don't know this version may not serve
			     any more; 0 = all may. "-- serves from: N" */
	const char *name; /* "001_apps" */
	const char *sql;
};
extern const struct migration schema_migrations[]; /* ends with version 0 */

/* The newest migration that this binary knows, which is what it needs. */
int schema_required(void);

/* What a database's schema is, and which its programs have to know to serve;
 * 0 when it has none of our migrations, or anyone may. */
struct schema_state {
	int version;
	int serves_from;
};
enum status schema_look(struct db *db, struct schema_state *state) MUST_CHECK;

/* A query of its own: does the server answer, can it write, and does its schema
 * go with this program? NULL if so, else why not, as db_state has it. */
const char *schema_unready(struct db *db);

/*
 * Append the statements that bring each sequence that is behind its table's id,
 * as after a restore or logical replication, to where it has to be, separated
 * by spaces; nothing where all are well, or may not be looked at.
 */
enum status schema_behind(struct db *db, struct buf *mend) MUST_CHECK;

/* How to migrate. */
struct schema_order {
	const char *role;   /* is granted what the server needs; may be NULL */
	int64_t patience_s; /* with others' locks, for each migration */
	void (*applied)(const struct migration *m);
	/* name has to wait: who is in its way, in words. */
	void (*waits)(const char *name, const char *who);
};

/*
 * Apply what is missing, each in one transaction under an advisory lock. A lock
 * is waited for so briefly that no request behind it fails, and then tried
 * again. On failure *err says why.
 */
enum status schema_migrate(struct db *db, const struct schema_order *order,
    struct buf *err) MUST_CHECK;

#endif

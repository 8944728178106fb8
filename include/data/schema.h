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
	bool there; /* the table of them, at least */
};
enum status schema_look(struct db *db, struct schema_state *state) MUST_CHECK;

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
 * again. What can't hold every name is not begun. On failure *err says why.
 */
enum status schema_migrate(struct db *db, const struct schema_order *order,
    struct buf *err) MUST_CHECK;

#endif

#ifndef POSTERN_DATA_REQUIREMENTS_H
#define POSTERN_DATA_REQUIREMENTS_H

#include "base/buf.h"
#include "data/db.h"

/*
 * What a request needs of the database, as the server's role: one table, with
 * what mends each. The server looks when it connects and once a minute, check
 * and migrate whenever they run.
 */

/* What has to be so. */
struct fact {
	const char *state; /* as db_state has it, and /readyz */
	const char *name;  /* for check's lines */
	const char *good;  /* what check says where it is so; may be NULL */
	const char *fault; /* a sentence that ends in "%s", or has none */
	bool fatal;        /* without it a connection isn't begun with */
};
/* In the order of their weight. */
enum { FACTS = 14 };
extern const struct fact requirements_table[FACTS];

/* Of a state's name; NULL if it is none of these. */
const struct fact *requirements_find(const char *state);

/* Append what is not so, and what mends it; what is the server's word of it. */
void requirements_add(struct buf *out, const struct fact *f, const char *what);

/* Where its changes are told and written down, and what keeps that so. */
#define REQUIREMENTS_TRIGGERS                                                  \
	"('apps', 'postern_apps_notify'),"                                     \
	" ('apps', 'postern_apps_notify_truncate'),"                           \
	" ('apps', 'postern_apps_audit'),"                                     \
	" ('apps', 'postern_apps_audit_truncate'),"                            \
	" ('apps', 'postern_apps_guard'),"                                     \
	" ('apps', 'postern_own_keys'),"                                       \
	" ('app_events', 'postern_append_only'),"                              \
	" ('users', 'postern_guard_update'),"                                  \
	" ('app_uses', 'postern_guard_update'),"                               \
	" ('invites', 'postern_invites_audit'),"                               \
	" ('invites', 'postern_invites_audit_truncate'),"                      \
	" ('invites', 'postern_guard_update'),"                                \
	" ('used_jtis', 'postern_guard_update'),"                              \
	" ('used_jtis', 'postern_guard_delete')"

/*
 * The questions; their answers are rows of a state's name, and what. The second
 * one fails without what the first finds missing. The role is the session's,
 * unless postern.role names another.
 */
extern const struct db_stmt requirements_setup, requirements_numbers;

#endif

/*
 * What an answer's SQLSTATE means for the statement, and for the connection.
 */
#include "data/fate.h"

#include <string.h>

/* By SQLSTATE (PostgreSQL's appendix A), or the beginning of one, and the
 * constraint where that matters; the first that fits. What is not here is the
 * trouble of this one statement: also a duplicate, for those that mean another
 * request's are met by ON CONFLICT, and all others that something is wrong,
 * such as a sequence behind its table. */
static const struct {
	const char *code;
	const char *constraint; /* NULL = any */
	enum status st;
	enum fate fate;
} fates[] = {
	/* the app went meanwhile */
	{ "23503", "users_app_id_fkey", ST_NOT_FOUND, FATE_ALONE },
	{ "23503", "app_uses_app_id_fkey", ST_NOT_FOUND, FATE_ALONE },
	/* an app's own key is another's already */
	{ "23505", "own_keys_pkey", ST_KEY_IN_USE, FATE_ALONE },
	{ "23505", "own_keys_thumbprint_idx", ST_KEY_IN_USE, FATE_ALONE },
	/* a sequence's end is no value of the caller's */
	{ "2200H", NULL, ST_UNAVAILABLE, FATE_ALONE },
	{ "22", NULL, ST_INVALID, FATE_ALONE },
	{ "54", NULL, ST_INVALID, FATE_ALONE },
	{ "57014", NULL, ST_UNAVAILABLE, FATE_ENDED },
	{ "55P03", NULL, ST_UNAVAILABLE, FATE_LOCKED },
	{ "40001", NULL, ST_UNAVAILABLE, FATE_RETRY }, /* serialization */
	{ "40P01", NULL, ST_UNAVAILABLE, FATE_RETRY }, /* a deadlock */
	{ "26000", NULL, ST_UNAVAILABLE, FATE_STALE }, /* no such statement */
	{ "42P05", NULL, ST_UNAVAILABLE, FATE_STALE }, /* one too many */
	{ "0A000", NULL, ST_UNAVAILABLE, FATE_STALE }, /* a plan's columns */
	{ "25006", NULL, ST_UNAVAILABLE, FATE_DOUBT }, /* a standby now? */
	/* a right, a table or a function less; a sequence behind its table */
	{ "42", NULL, ST_UNAVAILABLE, FATE_DOUBT },
	{ "23505", NULL, ST_UNAVAILABLE, FATE_DOUBT },
};

/* Without a code it is libpq's own error: no memory for an answer that came, so
 * that nobody knows what the server has done. A fatal one ends the session. */
enum status
fate_of(const struct pg_result *res, enum fate *fate)
{
	const char *code = wire_sqlstate(res);
	size_t i;

	*fate = FATE_LOSE;
	if (*code == '\0' || wire_is_fatal(res))
		return ST_UNAVAILABLE;
	*fate = FATE_ALONE;
	for (i = 0; i < sizeof fates / sizeof fates[0]; i++)
		if (strncmp(code, fates[i].code, strlen(fates[i].code)) == 0 &&
		    (fates[i].constraint == NULL ||
			strcmp(wire_constraint(res), fates[i].constraint) ==
			    0)) {
			*fate = fates[i].fate;
			return fates[i].st;
		}
	return ST_UNAVAILABLE;
}

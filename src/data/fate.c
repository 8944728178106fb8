#include "data/fate.h"

#include <string.h>

/* By SQLSTATE (PostgreSQL's appendix A), or the beginning of one. What is not
 * here is the trouble of this one statement. */
static const struct {
	const char *code;
	enum status st;
	enum fate fate;
} fates[] = {
	{ "23505", ST_CONFLICT, FATE_ALONE },
	{ "23503", ST_NOT_FOUND, FATE_ALONE }, /* the app went meanwhile */
	{ "22", ST_INVALID, FATE_ALONE }, { "54", ST_INVALID, FATE_ALONE },
	{ "57014", ST_UNAVAILABLE, FATE_ENDED },
	{ "55P03", ST_UNAVAILABLE, FATE_LOCKED },
	{ "40001", ST_UNAVAILABLE, FATE_RETRY }, /* serialization */
	{ "40P01", ST_UNAVAILABLE, FATE_RETRY }, /* a deadlock */
	{ "26000", ST_UNAVAILABLE, FATE_STALE }, /* no such statement */
	{ "42P05", ST_UNAVAILABLE, FATE_STALE }, /* one too many */
	{ "0A000", ST_UNAVAILABLE, FATE_STALE }, /* a plan's columns changed */
	{ "25006", ST_UNAVAILABLE, FATE_DOUBT }, /* a standby now? */
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
		if (strncmp(code, fates[i].code, strlen(fates[i].code)) == 0) {
			*fate = fates[i].fate;
			return fates[i].st;
		}
	return ST_UNAVAILABLE;
}

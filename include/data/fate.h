#ifndef POSTERN_DATA_FATE_H
#define POSTERN_DATA_FATE_H

#include "base/status.h"
#include "data/wire.h"

/* What an error that the server answered comes to. For
 * src/data/{fate,profile,db}.c. */
enum fate {
	FATE_ALONE,  /* the trouble of this one statement */
	FATE_ENDED,  /* that too: it took too long */
	FATE_LOCKED, /* that too: another has the lock */
	FATE_RETRY,  /* another's doing, and undone: worth a new try */
	FATE_STALE,  /* what was prepared is not there, or fits no more */
	FATE_DOUBT,  /* the server may be no good any more */
	FATE_LOSE    /* the link is no good */
};

/* Of an answer that is an error: its status, and *fate. */
enum status fate_of(const struct pg_result *res, enum fate *fate) MUST_CHECK;

#endif

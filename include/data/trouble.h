#ifndef POSTERN_DATA_TROUBLE_H
#define POSTERN_DATA_TROUBLE_H

#include "base/log.h"
#include "data/profile.h"

/* What a line of the log says of a link beside which server it is; each may be
 * NULL or empty. For src/data/{trouble,link,phases}.c. */
struct trouble {
	const char *state;
	const char *statement;
	const char *sqlstate;
	const char *error;
};

/* Write it. w (NULL = not even tried) and s are the session's. */
void trouble_log(const struct trouble *t, const struct wire *w,
    const struct setup *s, enum log_level level, const char *event);

#endif

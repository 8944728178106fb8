#ifndef POSTERN_DATA_HOSTS_H
#define POSTERN_DATA_HOSTS_H

#include "data/wire.h"

/*
 * What libpq is told of where the database is: the conninfo, its hosts in the
 * order in which they are to be tried, and what is ours to say of a connection.
 * For src/data/{hosts,link}.c.
 */
struct hosts;

/* conninfo is the caller's and stays. Never NULL; the caller frees. */
struct hosts *hosts_new(const char *conninfo);
void hosts_free(struct hosts *h);

/* An attempt came to nothing: the next one begins with the next host. */
void hosts_next(struct hosts *h);

/* For one attempt, from the host that is due; borrowed until the next call. */
const struct wire_args *hosts_args(struct hosts *h);

#endif

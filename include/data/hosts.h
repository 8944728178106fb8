#ifndef POSTERN_DATA_HOSTS_H
#define POSTERN_DATA_HOSTS_H

#include "data/wire.h"

/*
 * What libpq is told of where the database is: its hosts, by whatever means
 * they were named (conninfo, service file, environment), with addresses that
 * were asked for without waiting, in the order in which they are to be tried;
 * and what is ours to say of a connection. For src/data/{hosts,link}.c.
 */
struct hosts;

/* conninfo is the caller's and stays. Never NULL; the caller frees. */
struct hosts *hosts_new(const char *conninfo);
void hosts_free(struct hosts *h);

/* An attempt came to nothing: the next one begins with the next address. */
void hosts_next(struct hosts *h);

/* A server was left: the next attempt begins with the address after it. */
void hosts_leave(struct hosts *h, const struct wire *w);

/* An attempt begins: read what libpq is to go by, and ask for each name. */
void hosts_start(struct hosts *h);

/*
 * Are the answers there? WIRE_WAITS: call it again when hosts_fd is readable,
 * or at the monotonic µs hosts_due_us. WIRE_DONE: those that came will do; a
 * name without one keeps the addresses that it had last, else it is left out.
 * WIRE_FAILED: there is no host to go to, as hosts_error says.
 */
enum wire_turn hosts_turn(struct hosts *h);
int hosts_fd(const struct hosts *h); /* -1 = none */
int64_t hosts_due_us(const struct hosts *h);
const char *hosts_error(const struct hosts *h); /* borrowed */

/* In how many places it may be; 1 where libpq alone knows. */
unsigned hosts_ways(const struct hosts *h);

/* After WIRE_DONE; as often as there are connections to be made. Borrowed until
 * the next hosts_start. */
const struct wire_args *hosts_args(const struct hosts *h);

/* To the very server that w goes to, whatever is to be tried next. Borrowed
 * until the next call. */
const struct wire_args *hosts_same(struct hosts *h, const struct wire *w);

#endif

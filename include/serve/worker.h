#ifndef POSTERN_SERVE_WORKER_H
#define POSTERN_SERVE_WORKER_H

#include "base/config.h"

/*
 * One worker: its own database connection, one request at a time. Signals
 * SIGTERM, SIGINT, SIGUSR1 and SIGHUP are blocked and arrive through a
 * signalfd: each is a graceful end. Writes one byte to ready_fd (unless -1)
 * once it accepts. workers is how many there are, itself included. Returns the
 * process's exit status.
 */
int worker_run(
    const struct config *cfg, int listen_fd, int ready_fd, unsigned workers);

/* Serve one request as plain CGI (RFC 3875) and return the exit status. */
int worker_cgi(const struct config *cfg, char **params);

#endif

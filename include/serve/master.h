#ifndef POSTERN_SERVE_MASTER_H
#define POSTERN_SERVE_MASTER_H

#include "base/config.h"
#include "serve/listen.h"

/*
 * The master: owns the listening socket, starts workers, replaces the dead
 * with backoff, reloads on SIGHUP one worker after another, ends gracefully
 * on SIGTERM, SIGINT and SIGUSR1. cfg is replaced in place by a reload.
 * Returns the exit status.
 */
int master_run(struct config *cfg, const struct config_env *env, unsigned need,
    const struct listener *l);

#endif

#ifndef POSTERN_SERVE_LISTEN_H
#define POSTERN_SERVE_LISTEN_H

#include "base/buf.h"
#include "base/config.h"
#include <stdbool.h>

/* A listening socket and where it came from. */
struct listener {
	int fd;
	bool inherited; /* fd 0 or handed over by systemd */
	char *path;  /* of a Unix socket that we bound: unlinked at the end */
	int lock_fd; /* the lock beside it, -1 if none */
};

/*
 * Open what the settings name: fd 0, fd 3 from systemd (LISTEN_PID,
 * LISTEN_FDS), unix:PATH (lock file, umask, mode from the settings; a live
 * owner is an error, a stale socket is replaced) or host:port. Each gets the
 * settings' backlog, is non-blocking and close-on-exec. False with a message in
 * *err.
 */
bool listen_open(const struct config *cfg, struct listener *l, struct buf *err);
void listen_close(struct listener *l);

/* Is fd a listening socket? */
bool listen_is_listening(int fd);

#endif

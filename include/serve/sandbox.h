#ifndef POSTERN_SERVE_SANDBOX_H
#define POSTERN_SERVE_SANDBOX_H

#include "base/config.h"
#include "base/log.h"
#include <stdbool.h>

/*
 * Least power: what a process that serves requests gives up for good, so that
 * whoever took it over finds little to go on with. Three things, each as far as
 * the kernel has it:
 * - no new privileges (prctl(2));
 * - no writing to file systems, and no TCP socket bound (landlock(7));
 * - no exec, fork, tracing, bind, listen, change of user, mount, nothing of
 *   other processes and no attributes of files: they fail with EPERM
 *   (seccomp(2)). A list of what is denied, not of what is allowed: libpq's
 *   reconnect needs name resolution and TLS.
 */

struct sandbox {
	bool no_new_privs;
	bool seccomp;
	int landlock; /* the kernel's version of it, 0 = none */
};

/*
 * Enter it. keep_dir, if not NULL, is the one directory in which files may
 * still be removed (a socket of ours, at the end). What the kernel has not got
 * is left out; the result says what is active.
 */
struct sandbox sandbox_enter(const char *keep_dir);

/*
 * Enter it if the settings say so, keeping what it takes to remove the socket
 * at socket_path (unless NULL), and log a line at this level on what is active:
 * a warning where the kernel has not got all of it.
 */
void sandbox_start(
    const struct config *cfg, const char *socket_path, enum log_level level);

#endif

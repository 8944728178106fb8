/*
 * The listening socket: inherited on descriptor 0, handed over by systemd, or
 * bound here. A Unix socket of ours has a lock file beside it, so that two
 * servers never fight over one path and a stale socket is told from a live one.
 */
#include "serve/listen.h"

#include "base/decimal.h"
#include "base/log.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { SYSTEMD_FD = 3 };

bool
listen_is_listening(int fd)
{
	socklen_t len = sizeof(int);
	int yes = 0;

	return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &yes, &len) == 0 &&
	       yes != 0;
}

static bool
fail(struct buf *err, const char *what)
{
	buf_addf(err, "POSTERN_LISTEN: %s: %s", what, strerror(errno));
	return false;
}

static bool
set_flags(int fd)
{
	return fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) == 0 &&
	       fcntl(fd, F_SETFD, FD_CLOEXEC) == 0;
}

/* sd_listen_fds(3) without its library: one socket, meant for this process. */
static bool
from_systemd(void)
{
	const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");
	uint64_t n;
	bool yes;

	yes = pid != NULL && fds != NULL &&
	      decimal_parse(pid, strlen(pid), 1, INT32_MAX, &n) &&
	      n == (uint64_t)getpid() &&
	      decimal_parse(fds, strlen(fds), 1, 64, &n);
	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_FDNAMES");
	return yes && listen_is_listening(SYSTEMD_FD);
}

static bool
take_lock(struct listener *l, const char *path, struct buf *err)
{
	struct buf name = { 0 };
	bool ok;

	buf_addf(&name, "%s.lock", path);
	l->lock_fd = open(buf_str(&name), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	ok = l->lock_fd >= 0 && flock(l->lock_fd, LOCK_EX | LOCK_NB) == 0;
	if (!ok && errno == EWOULDBLOCK)
		buf_addf(err, "POSTERN_LISTEN: %s is in use by another server",
		    path);
	else if (!ok)
		fail(err, buf_str(&name));
	buf_free(&name);
	return ok;
}

static bool
open_unix(const struct config *cfg, const char *path, struct listener *l,
    struct buf *err)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	struct stat sb;
	mode_t mask;
	bool ok;

	/* Web servers take fewer bytes than the kernel's 107. */
	if (strlen(path) > 100) {
		errno = ENAMETOOLONG;
		return fail(err, path);
	}
	memcpy(sa.sun_path, path, strlen(path) + 1);
	if (!take_lock(l, path, err))
		return false;
	if (lstat(path, &sb) == 0) {
		if (!S_ISSOCK(sb.st_mode)) {
			errno = EEXIST;
			return fail(err, path);
		}
		unlink(path);
	}
	l->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	mask = umask(0177);
	ok = l->fd >= 0 &&
	     bind(l->fd, (const struct sockaddr *)&sa, sizeof sa) == 0;
	umask(mask);
	if (!ok)
		return fail(err, path);
	l->path = mem_strdup(path);
	if (chmod(path, (mode_t)cfg->socket_mode) != 0 ||
	    listen(l->fd, (int)cfg->backlog) != 0)
		return fail(err, path);
	return true;
}

static bool
bind_first(
    const struct config *cfg, const struct addrinfo *ai, struct listener *l)
{
	int on = 1;

	for (; ai != NULL; ai = ai->ai_next) {
		l->fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (l->fd < 0)
			continue;
		setsockopt(l->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
		if (bind(l->fd, ai->ai_addr, ai->ai_addrlen) == 0 &&
		    listen(l->fd, (int)cfg->backlog) == 0)
			return true;
		close(l->fd);
		l->fd = -1;
	}
	return false;
}

/* host:port, or [v6]:port. */
static bool
open_tcp(const struct config *cfg, const char *where, struct listener *l,
    struct buf *err)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *list = NULL;
	const char *colon = strrchr(where, ':');
	size_t len = colon != NULL ? (size_t)(colon - where) : 0;
	char *host;
	int rc;
	bool ok = false;

	if (len == 0) {
		errno = EINVAL;
		return fail(err, where);
	}
	if (where[0] == '[' && where[len - 1] == ']')
		host = mem_strndup(where + 1, len - 2);
	else
		host = mem_strndup(where, len);
	rc = getaddrinfo(host, colon + 1, &hints, &list);
	if (rc != 0)
		buf_addf(
		    err, "POSTERN_LISTEN: %s: %s", where, gai_strerror(rc));
	else if (!(ok = bind_first(cfg, list, l)))
		fail(err, where);
	if (list != NULL)
		freeaddrinfo(list);
	free(host);
	return ok;
}

static bool
open_inherited(
    const struct config *cfg, int fd, struct listener *l, struct buf *err)
{
	if (!listen_is_listening(fd)) {
		buf_adds(err,
		    "POSTERN_LISTEN: not set, and descriptor 0 is no listening "
		    "socket; set it to unix:PATH or host:port, or let the web "
		    "server start this program");
		return false;
	}
	/* As long as that of a socket of ours, however it was bound. Where that
	 * is refused, what its maker chose will do. */
	if (listen(fd, (int)cfg->backlog) != 0)
		log_warn("backlog_refused", LOG_S("error", strerror(errno)));
	l->fd = fd;
	l->inherited = fd == STDIN_FILENO;
	return true;
}

bool
listen_open(const struct config *cfg, struct listener *l, struct buf *err)
{
	const char *where = cfg->listen;
	bool ok;

	l->fd = l->lock_fd = -1;
	if (from_systemd())
		ok = open_inherited(cfg, SYSTEMD_FD, l, err);
	else if (*where == '\0' || strcmp(where, "fd:0") == 0)
		ok = open_inherited(cfg, STDIN_FILENO, l, err);
	else if (strncmp(where, "unix:", 5) == 0)
		ok = open_unix(cfg, where + 5, l, err);
	else
		ok = open_tcp(cfg, where, l, err);
	if (ok && !set_flags(l->fd))
		ok = fail(err, "fcntl");
	if (!ok)
		listen_close(l);
	return ok;
}

void
listen_close(struct listener *l)
{
	if (l->path != NULL)
		unlink(l->path);
	if (l->fd >= 0)
		close(l->fd);
	if (l->lock_fd >= 0)
		close(l->lock_fd);
	free(l->path);
	l->path = NULL;
	l->fd = l->lock_fd = -1;
}

/*
 * The master: starts workers and replaces them. It owns the listening socket,
 * so no connection is refused while workers come and go, and it holds the
 * settings for the workers it starts; it never opens the database. What to do
 * next is derived from the list of children alone, in balance(): a reload only
 * raises the generation.
 */
#include "serve/master.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/secret.h"
#include "data/timeline.h"
#include "serve/sandbox.h"
#include "serve/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CHILDREN_MAX = 2048 };
enum { READY_S = 10, KILL_EXTRA_S = 5, KILL_UNREADY_S = 1 };
enum { BACKOFF_MIN_US = 100000, BACKOFF_MAX_US = 5000000, YOUNG_US = 1000000 };

struct child {
	pid_t pid;
	size_t slot; /* of its metrics, from 1 */
	unsigned generation;
	int ready_fd; /* where it says that it accepts, -1 once at its end */
	bool ready;   /* it said so */
	bool stopping;
	int64_t started_us;
	int64_t kill_us; /* when stopping: its last moment */
};

struct master {
	struct config *cfg;
	const struct config_env *env;
	unsigned need;
	const struct listener *l;
	struct child *children;
	size_t n;
	unsigned generation;
	int signal_fd;
	int64_t spawn_at_us; /* backoff: not before */
	int64_t backoff_us;
	bool stop;
};

static size_t
wanted(const struct master *m)
{
	long cpus;

	if (m->cfg->workers > 0)
		return (size_t)m->cfg->workers;
	cpus = sysconf(_SC_NPROCESSORS_ONLN);
	return 2 * (size_t)(cpus > 0 ? cpus : 1);
}

static void
log_settings(const struct config *cfg)
{
	log_init(
	    "postern.fcgi", cfg->log_level, cfg->log_format, cfg->log_target);
}

/* In the child: what the master had is not ours. */
static void
become_worker(struct master *m, size_t slot, pid_t parent, int ready_fd)
{
	size_t i;

	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != parent)
		_exit(1); /* the master died before the line above */
	close(m->signal_fd);
	for (i = 0; i < m->n; i++)
		if (m->children[i].ready_fd >= 0)
			close(m->children[i].ready_fd);
	if (m->l->lock_fd >= 0)
		close(m->l->lock_fd);
	log_settings(m->cfg);
	metrics_use(slot);
	if (!secret_init())
		log_warn("secrets_not_locked",
		    LOG_S("hint", "raise RLIMIT_MEMLOCK"));
	secret_harden_process();
	sandbox_start(m->cfg, NULL, LOG_LVL_INFO);
	_exit(worker_run(m->cfg, m->l->fd, ready_fd, (unsigned)wanted(m)));
}

/* The first slot that no child has. */
static size_t
free_slot(const struct master *m)
{
	size_t slot, i;

	for (slot = 1; slot < CHILDREN_MAX; slot++) {
		for (i = 0; i < m->n && m->children[i].slot != slot; i++)
			;
		if (i == m->n)
			break;
	}
	return slot;
}

static void
spawn(struct master *m)
{
	struct child *c = &m->children[m->n];
	pid_t parent = getpid();
	int fds[2];

	/* A read must not wait for a worker that says nothing. */
	if (m->n == CHILDREN_MAX || pipe2(fds, O_CLOEXEC | O_NONBLOCK) != 0) {
		log_error("worker_spawn", LOG_S("error", strerror(errno)));
		m->spawn_at_us = clock_mono_us() + BACKOFF_MAX_US;
		return;
	}
	*c = (struct child){ .slot = free_slot(m),
		.generation = m->generation,
		.ready_fd = fds[0],
		.started_us = clock_mono_us() };
	c->pid = fork();
	if (c->pid == 0) {
		close(fds[0]);
		become_worker(m, c->slot, parent, fds[1]);
	}
	close(fds[1]);
	if (c->pid < 0) {
		log_error("worker_spawn", LOG_S("error", strerror(errno)));
		close(fds[0]);
		m->spawn_at_us = clock_mono_us() + BACKOFF_MAX_US;
		return;
	}
	m->n++;
	metrics_add(METRIC_WORKERS_STARTED, 1);
	log_info("worker_started", LOG_N("worker", c->pid));
}

/* The last moment of a worker that is to end: what it has accepted it may
 * finish, and one that has accepted nothing may be stuck. */
static int64_t
last_moment(const struct master *m, const struct child *c)
{
	int64_t s =
	    c->ready ? m->cfg->request_timeout + KILL_EXTRA_S : KILL_UNREADY_S;

	return clock_mono_us() + s * 1000000;
}

static void
stop_child(const struct master *m, struct child *c)
{
	if (c->stopping)
		return;
	c->stopping = true;
	c->kill_us = last_moment(m, c);
	kill(c->pid, SIGTERM);
}

/* A worker that dies young makes its successors wait, twice as long each
 * time; the first is replaced at once. */
static void
note_death(struct master *m, const struct child *c, int status)
{
	int64_t now = clock_mono_us();

	if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
		log_info("worker_ended", LOG_N("worker", c->pid));
		return;
	}
	metrics_add(METRIC_WORKERS_DIED, 1);
	log_warn("worker_died", LOG_N("worker", c->pid),
	    LOG_N("signal", WIFSIGNALED(status) ? WTERMSIG(status) : 0),
	    LOG_N("exit", WIFEXITED(status) ? WEXITSTATUS(status) : 0));
	if (c->ready && now - c->started_us > YOUNG_US) {
		m->backoff_us = 0;
		return;
	}
	m->spawn_at_us = now + m->backoff_us;
	m->backoff_us = m->backoff_us == 0 ? BACKOFF_MIN_US : 2 * m->backoff_us;
	if (m->backoff_us > BACKOFF_MAX_US)
		m->backoff_us = BACKOFF_MAX_US;
}

static void
reap(struct master *m)
{
	int status;
	pid_t pid;
	size_t i;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		for (i = 0; i < m->n && m->children[i].pid != pid; i++)
			;
		if (i == m->n)
			continue;
		note_death(m, &m->children[i], status);
		metrics_give_back(m->children[i].slot);
		if (m->children[i].ready_fd >= 0)
			close(m->children[i].ready_fd);
		m->children[i] = m->children[--m->n];
	}
}

/* Re-read the settings; bad ones leave all as it is. */
static void
reload(struct master *m)
{
	struct config fresh = { 0 };
	struct buf err = { 0 }, kept = { 0 };

	if (!config_load(&fresh, m->env, m->need, &err)) {
		log_error("reload_refused", LOG_S("error", buf_str(&err)));
	} else {
		config_keep(m->cfg, &fresh, &kept);
		config_free(m->cfg);
		*m->cfg = fresh;
		m->generation++;
		timelines_forget();
		log_settings(m->cfg);
		if (kept.len > 0)
			log_warn("restart_needed",
			    LOG_S("settings", buf_str(&kept)));
		log_info("reload", LOG_N("generation", m->generation));
	}
	buf_free(&kept);
	buf_free(&err);
}

static void
take_signals(struct master *m)
{
	struct signalfd_siginfo si;

	while (read(m->signal_fd, &si, sizeof si) == (ssize_t)sizeof si)
		switch (si.ssi_signo) {
		case SIGCHLD:
			break; /* reap() asks anyway */
		case SIGHUP:
			if (!m->stop)
				reload(m);
			break;
		default:
			if (!m->stop)
				log_info(
				    "stopping", LOG_N("signal", si.ssi_signo));
			m->stop = true;
		}
}

/* A byte is "I accept"; the end without one is a death, reaped anyway. */
static void
take_ready(struct master *m)
{
	ssize_t n;
	char byte;
	size_t i;

	for (i = 0; i < m->n; i++) {
		struct child *c = &m->children[i];

		if (c->ready_fd < 0)
			continue;
		n = read(c->ready_fd, &byte, 1);
		if (n < 0)
			continue;
		close(c->ready_fd);
		c->ready_fd = -1;
		c->ready = n == 1;
		if (c->ready && c->stopping)
			c->kill_us = last_moment(m, c);
	}
}

struct census {
	size_t fresh; /* of this generation, not stopping */
	size_t ready; /* of those: accepting */
	size_t stale; /* older, not stopping */
	struct child *oldest_stale;
	struct child *last_fresh;
};

static struct census
count(struct master *m)
{
	struct census s = { 0 };
	size_t i;

	for (i = 0; i < m->n; i++) {
		struct child *c = &m->children[i];

		if (c->stopping)
			continue;
		if (c->generation == m->generation) {
			s.fresh++;
			s.ready += c->ready;
			s.last_fresh = c;
		} else {
			s.stale++;
			s.oldest_stale = c;
		}
	}
	return s;
}

/*
 * One step towards `wanted` workers of this generation: never fewer accepting
 * workers than wanted while stale ones can serve. A fresh one is started
 * beside them; when it accepts, a stale one ends.
 */
static bool
step(struct master *m)
{
	struct census s = count(m);
	size_t want = wanted(m), all = s.fresh + s.stale;
	bool may_spawn = clock_mono_us() >= m->spawn_at_us;

	if (s.fresh > want) {
		stop_child(m, s.last_fresh);
		return true;
	}
	if (s.stale > 0 && s.ready == s.fresh && all > want) {
		stop_child(m, s.oldest_stale);
		return true;
	}
	if (s.fresh < want && may_spawn &&
	    (all < want || (s.ready == s.fresh && all == want))) {
		spawn(m);
		return true;
	}
	return false;
}

static void
balance(struct master *m)
{
	size_t i;
	int64_t now = clock_mono_us();

	if (m->stop)
		for (i = 0; i < m->n; i++)
			stop_child(m, &m->children[i]);
	else
		while (step(m))
			;
	for (i = 0; i < m->n; i++) {
		struct child *c = &m->children[i];

		/* Hung at the start, or past its grace. */
		if ((c->stopping && now > c->kill_us) ||
		    (!c->ready && now > c->started_us + READY_S * 1000000LL))
			kill(c->pid, SIGKILL);
	}
}

/* Wait for a signal, a worker that gets ready, or the next second. */
static void
wait_news(struct master *m)
{
	struct pollfd *fds = mem_alloc((m->n + 1) * sizeof *fds);
	int64_t left = (m->spawn_at_us - clock_mono_us()) / 1000 + 1;
	nfds_t n = 0;
	size_t i;

	fds[n++] = (struct pollfd){ m->signal_fd, POLLIN, 0 };
	for (i = 0; i < m->n; i++)
		if (m->children[i].ready_fd >= 0)
			fds[n++] = (struct pollfd){ m->children[i].ready_fd,
				POLLIN, 0 };
	(void)poll(fds, n, left > 0 && left < 1000 ? (int)left : 1000);
	free(fds);
}

static bool
set_up(struct master *m)
{
	sigset_t mask;

	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&mask);
	sigaddset(&mask, SIGTERM);
	sigaddset(&mask, SIGINT);
	sigaddset(&mask, SIGUSR1);
	sigaddset(&mask, SIGHUP);
	sigaddset(&mask, SIGCHLD);
	sigprocmask(SIG_SETMASK, &mask, NULL);
	m->signal_fd = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
	return m->signal_fd >= 0;
}

int
master_run(struct config *cfg, const struct config_env *env, unsigned need,
    const struct listener *l)
{
	struct master m = { .cfg = cfg, .env = env, .need = need, .l = l };

	m.children = mem_alloc(CHILDREN_MAX * sizeof *m.children);
	if (!metrics_init(CHILDREN_MAX) || !timelines_init() || !set_up(&m)) {
		log_error("master_setup", LOG_S("error", strerror(errno)));
		free(m.children);
		return 1;
	}
	log_info("started", LOG_N("workers", wanted(&m)));
	while (!m.stop || m.n > 0) {
		balance(&m);
		if (m.stop && m.n == 0)
			break;
		wait_news(&m);
		take_signals(&m);
		take_ready(&m);
		reap(&m);
	}
	log_info("stopped");
	close(m.signal_fd);
	free(m.children);
	return 0;
}

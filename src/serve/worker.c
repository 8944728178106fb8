/*
 * A worker serves one request at a time, when all of it is there. It waits in
 * one epoll set for the listening socket (exclusively, so that one connection
 * wakes one worker), its database, its signals and its parked connections
 * (serve/park.h).
 *
 * libfcgi writes without time-outs, so a watchdog tick looks once a second
 * whether the request at hand is over its deadline, and shuts its socket down:
 * the write in progress then ends. Termination signals are never delivered to a
 * handler, they are read from a descriptor between requests: no body is cut
 * short by one.
 */
#include "serve/worker.h"

#include "api/api.h"
#include "base/clock.h"
#include "base/crypto.h"
#include "base/log.h"
#include "base/metrics.h"
#include "data/schema.h"
#include "http/fcgi.h"
#include "serve/park.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/param.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum { EVENTS = 16, FIRST_CONNECT_MS = 1000 };
enum { ANSWER_KEPT_MAX = 16384 }; /* bytes of the buffer */
enum { DRAIN_US = 2000000 };
/* At the end: how long for a connection to say something, and, beyond the
 * request's own time, for all to be served. */
enum { LAST_WORD_US = 1000000 };
/* A wait that was over sooner was none; and how long connections are taken
 * without a look at anything else. */
enum { NO_WAIT_US = 20, GO_US = 1000 };
enum { SHORTAGE_MS = 100 };
/* How long a new connection alone is listened to; once one has not even told
 * its params in that time, how long no other is; and how long for a body. */
enum { FIRST_WORD_US = 100000, IMPATIENT_US = 1000000, BODY_US = 5000 };
enum { IDLE_MS = 50 }; /* without a request, and libcrypto holds no key */

struct worker {
	const struct config *cfg;
	struct db *db;
	struct auth *auth;
	struct tend *tend;
	struct api api;
	int epoll_fd;
	int listen_fd;
	int signal_fd;
	int db_fd; /* as registered, -1 = not */
	uint32_t db_events;
	uint64_t db_generation;
	struct response res; /* and answer: their memory is used again */
	struct buf answer;
	struct park park; /* connections that wait */
	int64_t served;
	int64_t used_us;    /* when a request ended, 0 = libcrypto has no key */
	int64_t patient_us; /* from when on new connections are waited for */
	bool stop;
	bool failed; /* it stops because it can't go on */
};

/* What the watchdog looks at; written only between requests. */
static volatile int watched_fd = -1;
static volatile int64_t watched_until;

static void
watchdog(int sig)
{
	int saved = errno;

	(void)sig;
	if (watched_fd >= 0 && clock_mono_us() > watched_until)
		shutdown(watched_fd, SHUT_RDWR);
	errno = saved;
}

static void
watch(int fd, int64_t seconds)
{
	watched_fd = -1;
	if (fd < 0)
		return;
	watched_until = clock_mono_us() + seconds * 1000000;
	watched_fd = fd;
}

static void
start_watchdog(void)
{
	struct sigaction sa = { .sa_handler = watchdog,
		.sa_flags = SA_RESTART };
	struct itimerval tick = { { 1, 0 }, { 1, 0 } };

	sigaction(SIGALRM, &sa, NULL);
	setitimer(ITIMER_REAL, &tick, NULL);
}

/* Read the request and answer it; what was read is wiped. */
static void
serve(struct worker *w, struct fcgi_conn *c)
{
	struct request req = { 0 };
	enum fcgi_body body = FCGI_BODY_OK;

	request_init(&req, fcgi_params(c),
	    fcgi_conn_role(c) == FCGI_ROLE_AUTHORIZER_, w->cfg->base_path);
	req.params_excess = req.params_excess || fcgi_params_excess(c);
	if (api_wants_body(&req) && !req.content_length_bad)
		body = fcgi_read_body(
		    c, req.content_length, (size_t)w->cfg->max_body, &req.body);
	/* Notifications first: what was revoked is refused from here on. */
	db_step(w->db);
	api_answer(&w->api, &req, body, &w->res);
	response_render(
	    &w->res, req.method == M_HEAD && req.gate == GATE_NO, &w->answer);
	if (!fcgi_finish(c, buf_str(&w->answer), w->answer.len))
		log_info("client_gone", LOG_S("request_id", req.id));
	buf_shrink(&w->answer, ANSWER_KEPT_MAX);
	response_reset(&w->res);
	request_clear(&req);
}

static int
add_event(struct worker *w, int fd, uint32_t events, void *tag)
{
	struct epoll_event ev = { .events = events, .data = { .ptr = tag } };

	return epoll_ctl(w->epoll_fd, EPOLL_CTL_ADD, fd, &ev);
}

/* A request that has come; what becomes of its connection then. known: it is
 * in the epoll set. */
static void
serve_conn(struct worker *w, struct fcgi_conn *c, bool known)
{
	bool begun;

	watch(fcgi_conn_fd(c), w->cfg->request_timeout);
	begun = fcgi_begin(c);
	if (begun) {
		serve(w, c);
		w->served++;
		w->used_us = clock_mono_us();
	}
	watch(-1, 0);
	/* Never kept unanswered: libfcgi would end that request in form, and
	 * lighttpd takes an authorizer's empty answer for consent. */
	if (begun && fcgi_conn_fd(c) >= 0)
		park_put(&w->park, c, known);
	else
		fcgi_conn_free(c);
	if (w->cfg->max_requests > 0 && w->served >= w->cfg->max_requests)
		w->stop = true;
}

/* What has come on a connection; known: it is in the epoll set. */
static void
act_upon(struct worker *w, struct fcgi_conn *c, enum fcgi_news news, bool known)
{
	switch (news) {
	case FCGI_READY:
		serve_conn(w, c, known);
		break;
	case FCGI_WAIT:
		park_put(&w->park, c, known);
		break;
	case FCGI_GONE:
		fcgi_conn_free(c);
		break;
	}
}

/* A connection that waited and may have something to say. */
static void
listen_to(struct worker *w, struct fcgi_conn *c)
{
	act_upon(w, c, fcgi_look(c), true);
}

/*
 * Wait for what is on its way on a new connection. False when that has taken
 * too long.
 */
static bool
is_worth_waiting(struct worker *w, const struct fcgi_conn *c, int64_t since)
{
	struct pollfd p = { fcgi_conn_fd(c), POLLIN, 0 };
	int64_t now = clock_mono_us(), left;

	if (fcgi_conn_stage(c) == FCGI_BODY) {
		left = since + BODY_US - now;
	} else if (now < w->patient_us) {
		left = 0;
	} else {
		left = since + FIRST_WORD_US - now;
		if (left <= 0)
			w->patient_us = now + IMPATIENT_US;
	}
	if (left <= 0)
		return false;
	(void)poll(&p, 1, (int)(left / 1000) + 1);
	return true;
}

/*
 * A web server that has connected sends its request at once, if in pieces. To
 * go on with another meanwhile would let it wait for this worker, however long
 * that takes, though others are free. Those that say nothing, or too little,
 * cost a tenth of its time at most.
 */
static void
welcome(struct worker *w, struct fcgi_conn *c)
{
	enum fcgi_news news = fcgi_look(c);
	int64_t since = 0;

	while (news == FCGI_WAIT) {
		if (since == 0)
			since = clock_mono_us();
		if (!is_worth_waiting(w, c, since))
			break;
		news = fcgi_look(c);
	}
	act_upon(w, c, news, false);
}

/* Follow the database's socket: libpq changes it while it connects. */
static void
watch_db(struct worker *w)
{
	int fd = db_fd(w->db);
	uint32_t events = fd >= 0 ? db_events(w->db) : 0;
	struct epoll_event ev = { .events = events,
		.data = { .ptr = &w->db_fd } };

	if (fd == w->db_fd && w->db_generation == db_generation(w->db) &&
	    events == w->db_events)
		return;
	if (w->db_fd >= 0 &&
	    (fd != w->db_fd || w->db_generation != db_generation(w->db)))
		epoll_ctl(w->epoll_fd, EPOLL_CTL_DEL, w->db_fd, NULL);
	if (fd >= 0 && epoll_ctl(w->epoll_fd, EPOLL_CTL_ADD, fd, &ev) != 0)
		epoll_ctl(w->epoll_fd, EPOLL_CTL_MOD, fd, &ev);
	w->db_fd = fd;
	w->db_events = events;
	w->db_generation = db_generation(w->db);
}

/*
 * A worker that wakes does not push the web server off its processor: what
 * waits meanwhile is served in one go, with warm caches. Where it is refused
 * the system has another policy, and may have it.
 */
static void
yield_to_others(void)
{
	const struct sched_param none = { 0 };

	if (sched_getscheduler(0) == SCHED_OTHER)
		(void)sched_setscheduler(0, SCHED_BATCH, &none);
}

/*
 * No descriptor for a connection that waits: a parked one makes room, or this
 * process for another, that has what it needs. What the whole system lacks no
 * other would have: that is waited for.
 */
static void
make_room(struct worker *w, int error)
{
	if (park_drop(&w->park))
		return;
	if (error == EMFILE)
		w->stop = w->failed = true;
	else
		(void)poll(NULL, 0, SHORTAGE_MS);
}

/* False when there was none. */
static bool
accept_one(struct worker *w)
{
	int fd;

	/* A database socket that has closed meanwhile must be forgotten before
	 * its number comes back, or the newcomer is the one forgotten. */
	watch_db(w);
	fd = accept4(w->listen_fd, NULL, NULL, SOCK_CLOEXEC);
	if (fd >= 0) {
		welcome(w, fcgi_conn_new(fd));
		return true;
	}
	if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
		log_warn("accept_failed", LOG_S("error", strerror(errno)));
	if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS ||
	    errno == ENOMEM)
		make_room(w, errno);
	return false;
}

/* The connection that epoll told of; where they come without a pause, all that
 * wait, without asking epoll for each. */
static void
accept_some(struct worker *w, bool pressed)
{
	int64_t until = pressed ? clock_mono_us() + GO_US : 0;

	while (accept_one(w) && pressed && !w->stop && clock_mono_us() < until)
		;
}

/*
 * A single process may be the only one on its socket (lighttpd and mod_fcgid
 * make one for each): what waits there when it ends would be reset. Under load
 * that has no end by itself.
 */
static void
drain_queue(struct worker *w)
{
	int64_t until = clock_mono_us() + DRAIN_US;

	while (clock_mono_us() < until && accept_one(w))
		;
}

static int
timeout_ms(const struct worker *w, int64_t now)
{
	int64_t wake = MIN(db_wake_us(w->db), tend_due_us(w->tend));

	wake = MIN(wake, park_due_us(&w->park));
	if (w->used_us != 0)
		wake = MIN(wake, w->used_us + IDLE_MS * 1000);
	if (wake == INT64_MAX)
		return -1;
	if (wake <= now)
		return 0;
	return (
	    int)((wake - now) / 1000 < 60000 ? (wake - now) / 1000 + 1 : 60000);
}

/* Wait once and do what is ready: signals and database first. */
static void
turn(struct worker *w)
{
	struct epoll_event ev[EVENTS];
	bool incoming = false, database = false;
	int64_t before, now;
	int i, n;

	watch_db(w);
	before = clock_mono_us();
	n = epoll_wait(w->epoll_fd, ev, EVENTS, timeout_ms(w, before));
	now = clock_mono_us();
	if (w->used_us != 0 && now >= w->used_us + IDLE_MS * 1000) {
		crypto_forget_keys();
		w->used_us = 0;
	}
	for (i = 0; i < n; i++) {
		if (ev[i].data.ptr == &w->signal_fd)
			w->stop = true;
		database = database || ev[i].data.ptr == &w->db_fd;
	}
	if (database || now >= db_wake_us(w->db))
		db_step(w->db);
	if (now >= tend_due_us(w->tend))
		tend_some(w->tend);
	for (i = 0; i < n; i++) {
		if (ev[i].data.ptr == &w->listen_fd)
			incoming = true;
		else if (ev[i].data.ptr != &w->signal_fd &&
			 ev[i].data.ptr != &w->db_fd &&
			 park_take(&w->park, ev[i].data.ptr))
			listen_to(w, ev[i].data.ptr);
	}
	park_expire(&w->park, now);
	if (incoming && !w->stop)
		accept_some(w, now - before < NO_WAIT_US);
}

static bool
set_up(struct worker *w)
{
	sigset_t mask;

	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&mask);
	sigaddset(&mask, SIGTERM);
	sigaddset(&mask, SIGINT);
	sigaddset(&mask, SIGUSR1);
	sigaddset(&mask, SIGHUP);
	sigprocmask(SIG_SETMASK, &mask, NULL);
	w->signal_fd = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
	w->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (w->signal_fd < 0 || w->epoll_fd < 0 ||
	    add_event(w, w->signal_fd, EPOLLIN, &w->signal_fd) != 0 ||
	    add_event(w, w->listen_fd, EPOLLIN | EPOLLEXCLUSIVE,
		&w->listen_fd) != 0) {
		log_error("worker_setup", LOG_S("error", strerror(errno)));
		return false;
	}
	return true;
}

static void
close_stores(struct worker *w)
{
	tend_finish(w->tend);
	auth_free(w->auth);
	tend_free(w->tend);
	db_free(w->db);
	response_clear(&w->res);
	buf_free(&w->answer);
}

static void
open_stores(struct worker *w)
{
	w->db_fd = -1;
	w->db = db_new(w->cfg->database_url.data, w->cfg->query_timeout_ms,
	    schema_required());
	w->tend = tend_new(w->cfg, w->db);
	w->auth = auth_new(w->cfg, w->db, tend_uses(w->tend));
	w->api = (struct api){ w->cfg, w->db, w->auth, w->tend };
}

/*
 * Serve what has begun to come, and what comes of connections that were taken
 * just now; then close. A kept connection may have been given a request at this
 * very moment.
 */
static void
wind_down(struct worker *w)
{
	int64_t now = clock_mono_us();
	int64_t until = now + w->cfg->request_timeout * 1000000 + LAST_WORD_US;
	size_t i;

	epoll_ctl(w->epoll_fd, EPOLL_CTL_DEL, w->listen_fd, NULL);
	epoll_ctl(w->epoll_fd, EPOLL_CTL_DEL, w->signal_fd, NULL);
	w->park.silent_until = now + LAST_WORD_US;
	for (i = w->park.n; i > 0; i--) {
		struct fcgi_conn *c = w->park.conns[0];

		(void)park_take(&w->park, c);
		listen_to(w, c);
	}
	while (park_drop_kept(&w->park), w->park.n > 0 && now < until) {
		turn(w);
		now = clock_mono_us();
	}
	park_clear(&w->park);
}

/* How many connections and requests are taken at once, by all workers. */
static void
start_fcgi(const struct config *cfg, unsigned workers)
{
	const struct record_limits limits = { (size_t)cfg->max_body,
		workers * PARK_MAX, workers };

	fcgi_init(&limits, cfg->request_timeout);
}

int
worker_run(
    const struct config *cfg, int listen_fd, int ready_fd, unsigned workers)
{
	struct worker w = { .cfg = cfg, .listen_fd = listen_fd };

	if (!set_up(&w))
		return 1;
	start_fcgi(cfg, workers);
	park_init(&w.park, w.epoll_fd);
	yield_to_others();
	start_watchdog();
	open_stores(&w);
	/* A fresh worker would rather be late than answer 503. */
	(void)db_wait(w.db, FIRST_CONNECT_MS);
	if (ready_fd >= 0) {
		if (write(ready_fd, "", 1) != 1)
			return 1; /* the master is gone */
		close(ready_fd);
	}
	metrics_set(METRIC_WORKERS, 1);
	while (!w.stop)
		turn(&w);
	if (ready_fd < 0)
		drain_queue(&w);
	wind_down(&w);
	close_stores(&w);
	close(w.epoll_fd);
	close(w.signal_fd);
	return w.failed ? 1 : 0;
}

int
worker_cgi(const struct config *cfg, char **params)
{
	struct worker w = { .cfg = cfg };
	struct fcgi_conn *c = fcgi_cgi_new(params);

	signal(SIGPIPE, SIG_IGN);
	open_stores(&w);
	(void)db_wait(w.db, cfg->query_timeout_ms);
	alarm((unsigned)cfg->request_timeout);
	if (fcgi_begin(c))
		serve(&w, c);
	fcgi_conn_free(c);
	close_stores(&w);
	return 0;
}

/*
 * postern.fcgi: the server. Reads its settings, opens its socket and becomes a
 * master with workers, a single process, or one plain CGI answer.
 */
#include "base/config.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/secret.h"
#include "base/throttle.h"
#include "data/dsn.h"
#include "serve/listen.h"
#include "serve/master.h"
#include "serve/sandbox.h"
#include "serve/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

extern char **environ;

enum { NEED = CONFIG_NEED_DATABASE | CONFIG_NEED_MASTER_KEY };

/* A descriptor 0 to 2 that is closed would become the next socket. */
static void
fill_descriptors(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd > STDERR_FILENO)
		close(fd);
}

static int
arguments(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "--version") == 0) {
		puts("postern.fcgi " POSTERN_VERSION);
		return 0;
	}
	if (argc == 2 && strcmp(argv[1], "--help") == 0) {
		puts("usage: postern.fcgi [--help | --version]\n\n"
		     "The server. It takes its settings from the environment "
		     "and a file:\nsee postern.fcgi(8) and postern.conf(5).");
		return 0;
	}
	fprintf(stderr, "usage: postern.fcgi [--help | --version]\n");
	return 2;
}

/* What a web server shows when CGI can't even read its settings. */
static int
refuse_start(bool cgi, const struct buf *err)
{
	log_error("start_refused", LOG_S("error", buf_str(err)));
	if (cgi)
		puts("Status: 500 Internal Server Error\r\n"
		     "Content-Type: application/problem+json\r\n\r\n"
		     "{\"type\":\"about:blank\",\"title\":\"Internal Server "
		     "Error\",\"status\":500,\"code\":\"internal_error\"}");
	return 1;
}

static int
run(struct config *cfg, const struct config_env *env, bool cgi)
{
	struct listener l = { .fd = -1, .lock_fd = -1 };
	struct buf err = { 0 };
	bool single;
	int rc;

	if (!config_load(cfg, env, NEED, &err) ||
	    (!cgi && !listen_open(cfg, &l, &err))) {
		rc = refuse_start(cgi, &err);
		buf_free(&err);
		return rc;
	}
	log_init(
	    "postern.fcgi", cfg->log_level, cfg->log_format, cfg->log_target);
	if (*config_env_injected(env) != '\0')
		log_info("kubernetes_variables_ignored",
		    LOG_S("names", config_env_injected(env)));
	/* A web server that hands us descriptor 0 is the master itself. */
	single = cfg->workers == 0 || (cfg->workers < 0 && l.inherited);
	(void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (cgi || single)
		(void)metrics_init(0);
	/* A CGI process has one request: it would limit nothing. */
	if (!cgi && !throttle_init())
		log_warn("throttle_off", LOG_S("error", strerror(errno)));
	if (cgi || single)
		sandbox_start(cfg, l.path, cgi ? LOG_LVL_DEBUG : LOG_LVL_INFO);
	if (cgi)
		rc = worker_cgi(cfg, environ);
	else if (single)
		rc = worker_run(cfg, l.fd, -1, 1);
	else
		rc = master_run(cfg, env, NEED, &l);
	listen_close(&l);
	return rc;
}

int
main(int argc, char **argv)
{
	/* In a web server's hands argv is a query string (RFC 3875, 4.4). */
	bool hosted = getenv("GATEWAY_INTERFACE") != NULL;
	struct config cfg = { 0 };
	struct config_env *env;
	bool locked, cgi;
	int rc;

	fill_descriptors();
	if (!hosted && argc > 1)
		return arguments(argc, argv);
	cgi = hosted && !listen_is_listening(STDIN_FILENO);
	locked = secret_init();
	secret_harden_process();
	config_judge_database(dsn_check);
	env = config_env_take();
	if (!locked)
		log_warn("secrets_not_locked",
		    LOG_S("hint", "raise RLIMIT_MEMLOCK"));
	rc = run(&cfg, env, cgi);
	config_free(&cfg);
	config_env_free(env);
	return rc;
}

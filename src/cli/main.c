/*
 * postern: the operator's tool. Sets the process up for handling secrets, then
 * hands over to the command that was named.
 */
#include "base/config.h"
#include "base/log.h"
#include "base/secret.h"
#include "cli/cli.h"
#include "data/dsn.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct command *const commands[] = {
	&cli_app,
	&cli_audit,
	&cli_check,
	&cli_completion,
	&cli_doctor,
	&cli_invite,
	&cli_master_key,
	&cli_migrate,
	&cli_reseal,
	&cli_settings,
	&cli_token,
	NULL,
};

static const char about[] =
    "The operator's tool of Postern " POSTERN_VERSION
    ", which lets requests of "
    "registered apps in. A new database: migrate, check, app create.";

/* A descriptor 0 to 2 that is closed would become the database's socket. What
 * is opened instead can't be written to, so that no secret is lost unseen. */
static void
fill_descriptors(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd > STDERR_FILENO)
		close(fd);
}

static int
version(void)
{
	struct buf out = { 0 };

	buf_adds(&out, "postern " POSTERN_VERSION "\n");
	return cli_write(&out);
}

int
main(int argc, char **argv)
{
	struct config_env *env;
	int rc;

	fill_descriptors();
	/* In a web server's hands argv is a query string (RFC 3875, 4.4). */
	if (getenv("GATEWAY_INTERFACE") != NULL)
		return cli_fail("this is the operator's tool and does not run "
				"under a web server; let it run postern.fcgi");
	config_judge_database(dsn_check);
	env = config_env_take();
	/* Each command says itself what went wrong, and what to do. */
	log_init("postern", LOG_LVL_NONE, LOG_FMT_LOGFMT, LOG_TO_STDERR);
	(void)secret_init();
	secret_harden_process();
	if (argc == 2 && strcmp(argv[1], "--version") == 0)
		rc = version();
	else
		rc = cli_dispatch(commands, "", about, argc, argv, env);
	config_env_free(env);
	return rc;
}

/*
 * postern: the operator's tool. Sets the process up for handling secrets, then
 * hands over to the command that was named.
 */
#include "base/config.h"
#include "base/log.h"
#include "base/secret.h"
#include "cli/cli.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct command commands[] = {
	{ "app", "app COMMAND [ARGUMENT] [--json]", "register and manage apps",
	    "", cli_app },
	{ "check", "check [--json]",
	    "check settings, master key, database and schema",
	    "  --json  print JSON\n", cli_check },
	{ "doctor",
	    "doctor URL [--server NAME] [--public-key KEY] [--timeout SECONDS] "
	    "[--json]",
	    "prove through a site's URL that the web server fits",
	    "  --server NAME      lighttpd, apache-fcgid, apache-proxy, "
	    "apache-htaccess,\n"
	    "                     nginx or caddy (by the Server header)\n"
	    "  --public-key KEY   an app's, to make real calls with\n"
	    "  --timeout SECONDS  for each request (10)\n"
	    "  --json             print JSON\n\n"
	    "URL is what stands before /v1/. The app's secret key is read from "
	    "standard\ninput if that is a pipe or a file, else it is taken "
	    "from "
	    "the database.\nNeeds curl.\n",
	    cli_doctor },
	{ "invite",
	    "invite [--uses N] [--expires WHEN] [--label TEXT] [--json]\n"
	    "       postern invite list [--json]\n"
	    "       postern invite revoke ID [--json]",
	    "make, list and revoke registration tokens with limits",
	    "  --uses N        how many apps it registers (1)\n"
	    "  --expires WHEN  never, a time such as 2030-01-31T00:00:00Z, or "
	    "from now: 90s,\n"
	    "                  30m, 12h, 7d (7d)\n"
	    "  --label TEXT    what it is for\n"
	    "  --json          print JSON\n\n"
	    "The token is printed once; the database has only its hash.\n",
	    cli_invite },
	{ "master-key", "master-key [--bits 128|192|256]",
	    "print a new master key",
	    "  --bits N  the length of the AES key (256)\n", cli_master_key },
	{ "migrate", "migrate [--grant ROLE] [--json]",
	    "bring the database's schema up to date",
	    "  --grant ROLE  grant ROLE what the server needs\n"
	    "  --json        print JSON\n",
	    cli_migrate },
	{ "reseal", "reseal [--dry-run] [--json]",
	    "re-encrypt all secrets under the current master key",
	    "  --dry-run  change nothing, tell what would be done\n"
	    "  --json     print JSON\n\n"
	    "Secrets under a key of POSTERN_MASTER_KEYS_OLD, and those in "
	    "goliauth's format,\nare sealed under POSTERN_MASTER_KEY. The "
	    "service goes on meanwhile; stopped at\nany point, it can be run "
	    "again.\n",
	    cli_reseal },
	{ "settings", "settings",
	    "print a settings file with all there is, commented out", "",
	    cli_settings },
	{ "token",
	    "token (--app | --user USER) [PUBLIC_KEY] [--expires SECONDS] "
	    "[--claim NAME=VALUE]...",
	    "mint a JWT to try things out",
	    "  --app                speak as the app itself\n"
	    "  --user USER          speak as this user of the app\n"
	    "  --expires SECONDS    how long it is valid (300)\n"
	    "  --claim NAME=VALUE   one more claim, a string; repeatable\n\n"
	    "With PUBLIC_KEY the app's secret key is taken from the database, "
	    "without it\nit is read from standard input.\n",
	    cli_token },
	{ NULL, NULL, NULL, NULL, NULL },
};

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
	env = config_env_take();
	/* Each command says itself what went wrong; the log has the rest. */
	log_init("postern", LOG_LVL_ERROR, LOG_FMT_LOGFMT, LOG_TO_STDERR);
	if (!secret_init())
		log_debug("secrets_not_locked",
		    LOG_S("hint", "raise RLIMIT_MEMLOCK"));
	secret_harden_process();
	if (argc == 2 && strcmp(argv[1], "--version") == 0)
		rc = version();
	else
		rc = cli_dispatch(commands, "", argc, argv, env);
	config_env_free(env);
	return rc;
}

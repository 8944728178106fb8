/*
 * postern doctor: proves through a site's live URL that what Postern needs
 * gets through the web server, and says what to write where it does not.
 */
#include "cli/doctor.h"

#include "base/crypto.h"
#include "base/decimal.h"
#include "base/hex.h"
#include "cli/cli.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TIMEOUT_S = 10, TIMEOUT_MAX_S = 120, KEY_BYTES = 32, USER_BYTES = 8 };

static const struct cli_opt opts[] = {
	{ "server", "NAME",
	    "lighttpd apache-fcgid apache-proxy apache-htaccess nginx caddy",
	    's',
	    "the web server, if its Server header does not tell: lighttpd, "
	    "apache-fcgid, apache-proxy, apache-htaccess, nginx or caddy" },
	{ "public-key", "KEY", NULL, 'p', "an app's, to make real calls with" },
	{ "timeout", "SECONDS", NULL, 't', "for each request (10)" },
	CLI_JSON,
	CLI_OPTS_END,
};

static int
take_option(const struct command *self, struct doctor *d, int c)
{
	uint64_t n;

	if (c == 'j')
		d->report.json = true;
	if (c == 'p' && !hex_is_public_key(optarg, strlen(optarg)))
		return cli_usage(self, "a public key is an even number of "
				       "32 to 128 lowercase hex digits");
	if (c == 'p')
		d->public_key = optarg;
	if (c == 's') {
		d->front = front_by_name(optarg);
		if (d->front == FRONT_UNKNOWN)
			return cli_usage(self,
			    "--server is lighttpd, apache-fcgid, "
			    "apache-proxy, apache-htaccess, nginx or caddy");
	}
	if (c == 't') {
		if (!decimal_parse(
			optarg, strlen(optarg), 1, TIMEOUT_MAX_S, &n))
			return cli_usage(self, "--timeout is 1 to %d seconds",
			    TIMEOUT_MAX_S);
		d->timeout_s = (int)n;
	}
	return CLI_OK;
}

static int
take_url(const struct command *self, struct doctor *d, int argc, char **argv)
{
	const char *text, *why;
	int rc = CLI_OK;

	text = cli_operand(self, argc, argv, "URL", &rc);
	if (text == NULL)
		return rc;
	why = http_site_parse(text, &d->site);
	/* It may hold a password: it is not shown. */
	return why == NULL
		   ? CLI_OK
		   : cli_usage(self, "that is no URL of a site: %s", why);
}

/*
 * The secret key stands on stdin if that is a pipe or a file with something in
 * it, else in the database.
 */
static int
take_key(struct doctor *d, const struct config_env *env)
{
	struct config cfg = { 0 };
	struct stat st;
	bool given;
	int rc;

	given = fstat(STDIN_FILENO, &st) == 0 &&
		(S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode) ||
		    (S_ISREG(st.st_mode) && st.st_size > 0));
	if (given)
		cli_load_token_rules(&cfg, env);
	rc = given ? cli_read_key(&d->key)
		   : cli_fetch_key(d->public_key, env, &cfg, &d->key);
	d->hash = cfg.jwt_algorithm;
	config_free(&cfg);
	return rc;
}

/* Credentials as an app's, of none; and a user whom no app has. */
static void
make_strangers(struct doctor *d)
{
	unsigned char raw[KEY_BYTES];
	char hex[2 * KEY_BYTES + 1], id[2 * USER_BYTES + 1];

	crypto_random(raw, sizeof raw);
	hex_encode(raw, sizeof raw, d->unknown);
	crypto_random(raw, sizeof raw);
	hex_encode(raw, sizeof raw, hex);
	secret_set(&d->wrong, hex, sizeof hex - 1);
	crypto_random(raw, USER_BYTES);
	hex_encode(raw, USER_BYTES, id);
	snprintf(d->user, sizeof d->user, "postern-doctor-%s", id);
}

static void
check_all(struct doctor *d)
{
	if (doctor_check_reach(d)) {
		doctor_check_credentials(d);
		doctor_check_methods(d);
		doctor_check_bodies(d);
		doctor_check_paths(d);
		doctor_check_token_size(d);
		doctor_check_clock(d);
		doctor_check_compression(d, "/openapi.json", CREDS_NONE);
		doctor_check_document(d);
	}
	if (d->answers)
		doctor_check_settings_file(d);
}

static int
run_command(const struct command *self, int argc, char **argv,
    const struct config_env *env)
{
	struct doctor d = { .timeout_s = TIMEOUT_S };
	int c, rc = CLI_OK;

	while ((c = cli_option(self, argc, argv, &rc)) != CLI_OPT_END) {
		if (c != CLI_OPT_STOP)
			rc = take_option(self, &d, c);
		if (c == CLI_OPT_STOP || rc != CLI_OK)
			return rc;
	}
	rc = take_url(self, &d, argc, argv);
	if (rc == CLI_OK && d.public_key != NULL)
		rc = take_key(&d, env);
	if (rc == CLI_OK) {
		make_strangers(&d);
		check_all(&d);
		rc = report_end(&d.report);
	}
	secret_clear(&d.key);
	secret_clear(&d.wrong);
	http_site_clear(&d.site);
	return rc;
}

const struct command cli_doctor = {
	.name = "doctor",
	.synopsis = "doctor URL [--server NAME] [--public-key KEY] "
		    "[--timeout SECONDS] [--json]",
	.help = "prove through a site's URL that the web server fits",
	.opts = opts,
	.details =
	    "URL is what stands before /v1/. The app's secret key is read "
	    "from standard input if that is a pipe or a file, else it is "
	    "taken from the database.",
	.run = run_command,
};

/*
 * postern token: mints a JWT with an app's secret key, or with the private half
 * of its own, to try things out.
 */
#include "auth/token.h"

#include "base/clock.h"
#include "base/crypto.h"
#include "base/decimal.h"
#include "base/hex.h"
#include "base/json.h"
#include "base/name.h"
#include "base/utf8.h"
#include "cli/cli.h"

#include <inttypes.h>
#include <string.h>

enum { EXPIRES_DEFAULT = 300, EXPIRES_MAX = 366 * 86400 };
enum { CLAIMS_MAX = 64, JTI_BYTES = 16 };

static const struct cli_opt opts[] = {
	{ "app", NULL, NULL, 'a', "speak as the app itself" },
	{ "user", "USER", NULL, 'u', "speak as this user of the app" },
	{ "expires", "SECONDS", NULL, 'e', "how long it is valid (300)" },
	{ "claim", "NAME=VALUE", NULL, 'c',
	    "one more claim, a string; repeatable" },
	{ "key", "FILE", NULL, 'k',
	    "sign with this private key, PEM; - is standard input" },
	CLI_OPTS_END,
};

/* What was asked for. */
struct wish {
	const struct command *self;
	bool app;
	const char *user;
	const char *public_key; /* NULL: the secret comes from stdin */
	const char *key_file;   /* the private half of an own key, or NULL */
	uint64_t expires;
	const char *claims[CLAIMS_MAX]; /* NAME=VALUE */
	size_t nclaims;
};

static size_t
name_len(const char *claim)
{
	return (size_t)(strchr(claim, '=') - claim);
}

static bool
is_named(const char *claim, const char *name)
{
	return name_len(claim) == strlen(name) &&
	       strncmp(claim, name, strlen(name)) == 0;
}

static int
take_claim(struct wish *w, const char *claim)
{
	static const char *const ours[] = { "exp", "iat", "nbf", "sub" };
	const char *equals = strchr(claim, '=');
	size_t i;

	if (equals == NULL || equals == claim ||
	    !utf8_valid(claim, strlen(claim)))
		return cli_usage(w->self, "--claim is NAME=VALUE in UTF-8");
	for (i = 0; i < sizeof ours / sizeof ours[0]; i++)
		if (is_named(claim, ours[i]))
			return cli_usage(w->self,
			    "--claim can't set '%s'; "
			    "--user and --expires are there for it",
			    ours[i]);
	for (i = 0; i < w->nclaims; i++)
		if (name_len(w->claims[i]) == name_len(claim) &&
		    strncmp(w->claims[i], claim, name_len(claim)) == 0)
			return cli_usage(w->self, "--claim names '%.*s' twice",
			    (int)name_len(claim), claim);
	if (w->nclaims == CLAIMS_MAX)
		return cli_usage(w->self, "more than %d claims", CLAIMS_MAX);
	w->claims[w->nclaims++] = claim;
	return CLI_OK;
}

static int
take_option(struct wish *w, int c)
{
	if (c == 'c')
		return take_claim(w, optarg);
	if (c == 'a')
		w->app = true;
	if (c == 'k')
		w->key_file = optarg;
	if (c == 'u' && w->user != NULL)
		return cli_usage(w->self, "more than one --user");
	if (c == 'u' && !name_is_user(optarg, strlen(optarg)))
		return cli_usage(w->self, "a user is " NAME_USER_RULE);
	if (c == 'u')
		w->user = optarg;
	if (c == 'e' &&
	    !decimal_parse(optarg, strlen(optarg), 1, EXPIRES_MAX, &w->expires))
		return cli_usage(w->self,
		    "--expires is 1 to %d seconds, not "
		    "'%s'",
		    EXPIRES_MAX, optarg);
	return CLI_OK;
}

/* Absence of sub means more power, so neither is the default. */
static int
take_operand(struct wish *w, int argc, char **argv)
{
	int rc = CLI_OK;

	if (w->app == (w->user != NULL))
		return cli_usage(w->self, "say either --app or --user USER");
	if (optind == argc)
		return CLI_OK;
	w->public_key = cli_operand(w->self, argc, argv, "PUBLIC_KEY", &rc);
	if (w->public_key == NULL)
		return rc;
	if (!hex_is_public_key(w->public_key, strlen(w->public_key)))
		return cli_usage(w->self, "a public key is an even number of "
					  "32 to 128 lowercase hex digits");
	return CLI_OK;
}

static bool
claims_have(const struct wish *w, const char *name)
{
	size_t i;

	for (i = 0; i < w->nclaims; i++)
		if (is_named(w->claims[i], name))
			return true;
	return false;
}

/* Whom the server wants named: itself, if it has a name, and of an own key's
 * token the app. */
static void
add_audience(const struct wish *w, const struct config *cfg, struct buf *out)
{
	const char *server = cfg->jwt_audience, *app = NULL;

	if (server != NULL && server[0] == '\0')
		server = NULL;
	if (w->key_file != NULL)
		app = w->public_key;
	if (claims_have(w, "aud") || (server == NULL && app == NULL))
		return;
	buf_adds(out, ",\"aud\":[");
	if (server != NULL)
		json_add_string(out, server, strlen(server));
	if (server != NULL && app != NULL)
		buf_addc(out, ',');
	if (app != NULL)
		json_add_string(out, app, strlen(app));
	buf_addc(out, ']');
}

static void
add_claims(const struct wish *w, const struct config *cfg, struct buf *out)
{
	unsigned char raw[JTI_BYTES];
	char jti[2 * JTI_BYTES + 1];
	int64_t now = (int64_t)clock_wall();
	const char *value;
	size_t i;

	buf_addf(out, "{\"iat\":%" PRId64 ",\"exp\":%" PRId64, now,
	    now + (int64_t)w->expires);
	if (w->user != NULL) {
		buf_adds(out, ",\"sub\":");
		json_add_string(out, w->user, strlen(w->user));
	}
	for (i = 0; i < w->nclaims; i++) {
		value = w->claims[i] + name_len(w->claims[i]) + 1;
		buf_addc(out, ',');
		json_add_string(out, w->claims[i], name_len(w->claims[i]));
		buf_addc(out, ':');
		json_add_string(out, value, strlen(value));
	}
	add_audience(w, cfg, out);
	if (!claims_have(w, "jti")) {
		crypto_random(raw, sizeof raw);
		hex_encode(raw, sizeof raw, jti);
		buf_addf(out, ",\"jti\":\"%s\"", jti);
	}
	buf_addc(out, '}');
}

/* What is to sign: a secret, or a pair. */
struct signer {
	struct secret secret;
	struct cli_pair pair;
};

/* With a look at what nobody else looks at: the halves may be two keys'. */
static bool
sign(const struct cli_pair *pair, const char *claims, struct buf *out)
{
	const char *alg = public_key_alg_told(public_key_alg(pair->half));
	struct token_parts t;

	if (!token_sign(pair->key, alg, claims, out))
		return false;
	return out->len > TOKEN_MAX ||
	       (token_split(buf_str(out), out->len, &t) &&
		   token_signature_ok(&t, pair->half));
}

static int
mint(const struct wish *w, const struct config *cfg, const struct signer *s)
{
	struct buf claims = { 0 }, out = { 0 };
	bool made;
	int rc;

	add_claims(w, cfg, &claims);
	made = s->pair.key != NULL ? sign(&s->pair, buf_str(&claims), &out)
				   : token_mint(&s->secret, cfg->jwt_algorithm,
					 buf_str(&claims), &out);
	if (!made)
		rc = cli_fail("the token could not be made");
	else if (out.len > TOKEN_MAX)
		rc = cli_fail("the token would be %zu bytes, more than %d: use "
			      "fewer or shorter claims",
		    out.len, TOKEN_MAX);
	else {
		buf_addc(&out, '\n');
		rc = cli_write(&out);
	}
	buf_free(&out);
	buf_free(&claims);
	return rc;
}

/* The database has no key that signs for an own one: with a file nothing is
 * asked of it. */
static int
take_signer(const struct wish *w, const struct config_env *env,
    struct config *cfg, struct signer *s)
{
	if (w->key_file == NULL && w->public_key != NULL)
		return cli_fetch_key(w->public_key, env, cfg, &s->secret);
	cli_load_token_rules(cfg, env);
	if (w->key_file == NULL)
		return cli_read_key(&s->secret);
	if (w->public_key == NULL && !claims_have(w, "aud") &&
	    !cfg->own_key_audience_optional)
		return cli_usage(w->self,
		    "with --key it needs the app's PUBLIC_KEY, which such a "
		    "token names in aud");
	return cli_private_key(w->key_file, &s->pair);
}

static int
run_command(const struct command *self, int argc, char **argv,
    const struct config_env *env)
{
	struct wish w = { .self = self, .expires = EXPIRES_DEFAULT };
	struct config cfg = { 0 };
	struct signer s = { 0 };
	int c, rc = CLI_OK;

	while ((c = cli_option(self, argc, argv, &rc)) != CLI_OPT_END) {
		if (c != CLI_OPT_STOP)
			rc = take_option(&w, c);
		if (c == CLI_OPT_STOP || rc != CLI_OK)
			return rc;
	}
	rc = take_operand(&w, argc, argv);
	if (rc != CLI_OK)
		return rc;
	rc = take_signer(&w, env, &cfg, &s);
	if (rc == CLI_OK)
		rc = mint(&w, &cfg, &s);
	secret_clear(&s.secret);
	cli_pair_clear(&s.pair);
	config_free(&cfg);
	return rc;
}

const struct command cli_token = {
	.name = "token",
	.synopsis = "token (--app | --user USER) [PUBLIC_KEY] [--key FILE] "
		    "[--expires SECONDS] [--claim NAME=VALUE]...",
	.help = "mint a JWT to try things out",
	.opts = opts,
	.details = "With PUBLIC_KEY the app's secret key is taken from the "
		   "database, without it it is read from standard input. With "
		   "--key nothing is asked of the database: the token is "
		   "signed with that private key, by RS256, ES256 or EdDSA, "
		   "and names PUBLIC_KEY in aud.",
	.run = run_command,
};

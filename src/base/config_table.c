/*
 * The settings: what there is, what each takes, and which one a misspelt name
 * meant. In the order of the names.
 */

#include "base/config_table.h"

#include "base/config.h"
#include "base/edit_distance.h"
#include "base/gate_names.h"

#include <inttypes.h>
#include <stddef.h>
#include <string.h>

#define WHEN(field, when) offsetof(struct config, field), (when)
#define AT(field) WHEN(field, AT_RELOAD)

static const struct setting settings[] = {
	{ "POSTERN_ADMIN_TOKEN", SETTING_SECRET, AT(admin_token), "", 0, 0,
	    NULL, config_check_token,
	    "Bearer token of the operator's routes; without one they answer "
	    "401." },
	{ "POSTERN_AUDIT_DAYS", SETTING_INT, AT(audit_days), "0", 0, 36500,
	    NULL, NULL,
	    "Days for which postern audit prune leaves events in the audit "
	    "trail; 0: for ever." },
	{ "POSTERN_BACKLOG", SETTING_INT, WHEN(backlog, AT_START), "1024", 1,
	    65535, NULL, NULL,
	    "Connections that may wait for a worker; on a Unix socket the web "
	    "server refuses the next one at once." },
	{ "POSTERN_BASE_PATH", SETTING_STRING, AT(base_path), "", 0, 0, NULL,
	    config_check_base_path,
	    "Path under which the web server mounts the API, such as /api." },
	{ "POSTERN_CACHE_SIZE", SETTING_INT, AT(cache_size), "10000", 0, 100000,
	    NULL, NULL,
	    "Apps whose open keys each worker keeps at hand; 0: none." },
	{ "POSTERN_CACHE_TTL", SETTING_MS, AT(cache_ttl_ms), "30", 1, 3600,
	    NULL, NULL,
	    "Seconds for which a key that is at hand is good without asking "
	    "the database, also while that is away." },
	{ "POSTERN_CORS_ORIGINS", SETTING_STRING, AT(cors_origins), "", 0, 0,
	    NULL, config_check_cors,
	    "Origins whose pages may call the API, separated by spaces; * is "
	    "any." },
	{ "POSTERN_DATABASE_URL", SETTING_SECRET, AT(database_url), "", 0, 0,
	    NULL, config_check_database,
	    "Where Postgres is: a libpq conninfo or URI." },
	{ "POSTERN_GOLIAUTH_ROWS", SETTING_BOOL, AT(goliauth_accept), "refuse",
	    0, 0, "refuse|accept", NULL,
	    "Whether keys sealed by goliauth, not bound to their row, open." },
	{ "POSTERN_JWT_ALGORITHMS", SETTING_ENUM, AT(jwt_algorithm), "HS256", 0,
	    0, "HS256|HS384|HS512", config_check_algorithm,
	    "The algorithm of tokens that are signed with a secret key; an "
	    "app's own key has its own." },
	{ "POSTERN_JWT_AUDIENCE", SETTING_STRING, AT(jwt_audience), "", 0, 0,
	    NULL, config_check_text,
	    "What a token's aud has to hold; empty: not checked." },
	{ "POSTERN_JWT_LEEWAY", SETTING_INT, AT(jwt_leeway), "30", 0, 300, NULL,
	    NULL,
	    "Seconds by which clocks may differ when exp, nbf and iat are "
	    "checked." },
	{ "POSTERN_JWT_MAX_AGE", SETTING_INT, AT(jwt_max_age), "0", 0, 31536000,
	    NULL, NULL,
	    "Seconds after its iat for which a token is good; 0: no limit." },
	{ "POSTERN_JWT_REQUIRE_EXP", SETTING_BOOL, AT(jwt_require_exp), "on", 0,
	    0, "off|on", NULL, "Whether a token without exp is refused." },
	{ "POSTERN_JWT_SINGLE_USE", SETTING_BOOL, AT(jwt_single_use), "off", 0,
	    0, "off|on", NULL,
	    "Whether a token needs a jti and is good for one request only." },
	{ "POSTERN_KEY_BYTES", SETTING_INT, AT(key_bytes), "32", 16, 64, NULL,
	    NULL, "Length of new public and secret keys, in bytes." },
	{ "POSTERN_LIMIT_APP", SETTING_RATE, AT(limit_app), "0", 0, 0, NULL,
	    NULL,
	    "Requests that an app may make with good tokens, as N/SECONDS; 0: "
	    "no limit." },
	{ "POSTERN_LIMIT_FAILURES", SETTING_RATE, AT(limit_failures), "300/60",
	    0, 0, NULL, NULL,
	    "Wrong credentials from an address, or for a public key, that are "
	    "401 and not 429, as N/SECONDS; 0: no limit." },
	{ "POSTERN_LIMIT_REGISTRATIONS", SETTING_RATE, AT(limit_registrations),
	    "60/3600", 0, 0, NULL, NULL,
	    "Registrations without a token from an address, as N/SECONDS; 0: "
	    "no limit." },
	{ "POSTERN_LISTEN", SETTING_STRING, WHEN(listen, AT_START), "", 0, 0,
	    NULL, config_check_listen,
	    "Where to listen: fd:0, unix:PATH or HOST:PORT; empty: the socket "
	    "handed over by systemd or by the web server." },
	{ "POSTERN_LOG_FORMAT", SETTING_ENUM, AT(log_format), "logfmt", 0, 0,
	    "logfmt|json", NULL, "How log lines look." },
	{ "POSTERN_LOG_LEVEL", SETTING_ENUM, AT(log_level), "info", 0, 0,
	    "error|warn|info|debug", NULL, "The least urgent lines to log." },
	{ "POSTERN_LOG_TARGET", SETTING_ENUM, AT(log_target), "stderr", 0, 0,
	    "stderr|syslog", NULL, "Where log lines go." },
	{ "POSTERN_MASTER_KEY", SETTING_MASTER_KEY, AT(master_key), "", 0, 0,
	    NULL, NULL,
	    "The key that seals apps' secret keys: 32, 48 or 64 hex "
	    "characters." },
	{ "POSTERN_MASTER_KEYS_OLD", SETTING_MASTER_KEYS, AT(master_keys_old),
	    "", 0, 0, NULL, NULL,
	    "Master keys that still open what they sealed, separated by "
	    "spaces; postern reseal makes them needless." },
	{ "POSTERN_MAX_BODY", SETTING_INT, AT(max_body), "65536", 1024,
	    16777216, NULL, NULL, "Bytes that a request's body may have." },
	{ "POSTERN_MAX_REQUESTS", SETTING_INT, AT(max_requests), "0", 0,
	    INT32_MAX, NULL, NULL,
	    "Requests after which a worker makes way for a fresh one; 0: "
	    "never." },
	{ "POSTERN_METRICS_TOKEN", SETTING_SECRET, AT(metrics_token), "", 0, 0,
	    NULL, config_check_token,
	    "Bearer token that reads /metrics, as the admin token does." },
	{ "POSTERN_OWN_KEY_AUDIENCE", SETTING_BOOL,
	    AT(own_key_audience_optional), "required", 0, 0,
	    "required|optional", NULL,
	    "Whether a token under an app's own key is refused without aud; "
	    "one that is there has to name the app's public key." },
	{ "POSTERN_QUERY_TIMEOUT", SETTING_MS, AT(query_timeout_ms), "2", 1, 60,
	    NULL, NULL, "Seconds that one query may take." },
	{ "POSTERN_REALM", SETTING_STRING, AT(realm), "postern", 0, 0, NULL,
	    config_check_realm, "The realm of the 401 challenge." },
	{ "POSTERN_REGISTRATION", SETTING_ENUM, AT(registration), "token", 0, 0,
	    "token|open|closed", NULL,
	    "Who may register an app: holders of a token, anyone, no one." },
	{ "POSTERN_REGISTRATION_TOKEN", SETTING_SECRET, AT(registration_token),
	    "", 0, 0, NULL, config_check_token,
	    "Bearer token that lets its holder register apps." },
	{ "POSTERN_REQUEST_TIMEOUT", SETTING_INT, AT(request_timeout), "30", 1,
	    3600, NULL, NULL,
	    "Seconds that a request may take to come, and then to be "
	    "answered." },
	{ "POSTERN_SANDBOX", SETTING_BOOL, AT(sandbox), "on", 0, 0, "off|on",
	    NULL,
	    "Whether the serving processes give up all rights that they don't "
	    "need, as far as the kernel can take them." },
	{ "POSTERN_SOCKET_MODE", SETTING_OCTAL, WHEN(socket_mode, AT_START),
	    "0660", 0, 0777, NULL, NULL, "Mode of a unix: socket, in octal." },
	{ "POSTERN_TRUSTED_PROXIES", SETTING_ADDRESSES, AT(trusted_proxies), "",
	    0, 0, NULL, NULL,
	    "Proxies in front of the web server, whose X-Forwarded-For is "
	    "believed: addresses and networks, separated by spaces." },
	{ "POSTERN_VERDICTS", SETTING_INT, AT(verdicts), "16384", 0, 65536,
	    NULL, NULL,
	    "Good tokens of which each worker keeps what they said; 0: each is "
	    "read at each request." },
	{ "POSTERN_WORKERS", SETTING_AUTO, WHEN(workers, AT_START_ZERO), "auto",
	    0, 1024, NULL, NULL,
	    "Worker processes; 0: serve in this one; auto: by the kind of "
	    "socket." },
};

enum { SETTINGS = sizeof settings / sizeof settings[0] };

_Static_assert((int)SETTINGS <= (int)SETTINGS_MAX, "there is room for all");

/* Names of the clients, and the gate's own parameter; what the gate tells the
 * application is ignored too (base/gate_names.h). */
static const char *const ignored[] = { "POSTERN_GATE", "POSTERN_PUBLIC_KEY",
	"POSTERN_SECRET_KEY", "POSTERN_URL" };

const struct setting *
setting_at(size_t i)
{
	return i < SETTINGS ? &settings[i] : NULL;
}

bool
setting_is_secret(const struct setting *s)
{
	return s->type == SETTING_SECRET || s->type == SETTING_MASTER_KEY ||
	       s->type == SETTING_MASTER_KEYS;
}

static bool
same(const char *name, const char *s, size_t len)
{
	return strlen(name) == len && memcmp(name, s, len) == 0;
}

enum setting_kind
setting_find(const char *name, size_t len, size_t *index)
{
	static const char suffix[] = "_FILE";
	size_t i, n = sizeof(suffix) - 1;
	bool file = len > n && memcmp(name + len - n, suffix, n) == 0;

	for (i = 0; i < SETTINGS; i++) {
		*index = i;
		if (same(settings[i].name, name, len))
			return NAME_SETTING;
		if (file && setting_is_secret(&settings[i]) &&
		    same(settings[i].name, name, len - n))
			return NAME_FILE;
	}
	for (i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++) {
		if (same(ignored[i], name, len))
			return NAME_IGNORED;
	}
	return gate_name_is_variable(name, len) ? NAME_IGNORED : NAME_UNKNOWN;
}

enum { DISTANCE_MAX = 3 };

void
setting_unknown(
    const char *name, size_t len, const char *origin, struct buf *err)
{
	size_t i, d, best = DISTANCE_MAX + 1;
	const char *meant = NULL;

	if (len > EDIT_DISTANCE_MAX)
		len = EDIT_DISTANCE_MAX;
	for (i = 0; i < SETTINGS; i++) {
		d = edit_distance(
		    name, len, settings[i].name, strlen(settings[i].name));
		if (d < best) {
			best = d;
			meant = settings[i].name;
		}
	}
	buf_addf(err, "%.*s (%s): no such setting", (int)len, name, origin);
	if (meant != NULL)
		buf_addf(err, "; did you mean %s?", meant);
}

void
setting_describe(const struct setting *s, struct buf *out)
{
	switch (s->type) {
	case SETTING_AUTO:
		buf_adds(out, "auto or ");
		/* FALLTHROUGH */
	case SETTING_INT:
	case SETTING_MS:
		buf_addf(out, "a whole number from %" PRId64 " to %" PRId64,
		    s->min, s->max);
		break;
	case SETTING_OCTAL:
		buf_adds(out, "an octal mode such as 0660");
		break;
	case SETTING_ENUM:
	case SETTING_BOOL:
		buf_adds(out, s->words);
		break;
	case SETTING_RATE:
		buf_addf(out,
		    "0, or N/SECONDS such as 60/60, with N to %d and SECONDS "
		    "to %d",
		    THROTTLE_N_MAX, THROTTLE_SECONDS_MAX);
		break;
	case SETTING_ADDRESSES:
		buf_adds(out, "addresses or networks such as 10.0.0.0/8");
		break;
	case SETTING_STRING:
		buf_adds(out, "text");
		break;
	case SETTING_SECRET:
		buf_adds(out, "secret text");
		break;
	case SETTING_MASTER_KEY:
		buf_adds(out, "32, 48 or 64 hex characters");
		break;
	case SETTING_MASTER_KEYS:
		buf_addf(out, "at most %d keys of 32, 48 or 64 hex characters",
		    MASTER_KEYS_OLD_MAX);
		break;
	}
}

static const char *const restarts[] = {
	[AT_RELOAD] = NULL,
	[AT_START] = "A change needs a restart.",
	[AT_START_ZERO] = "A change to or from 0 needs a restart.",
};

void
config_each(void (*fn)(const struct config_doc *, void *), void *arg)
{
	struct config_doc doc;
	struct buf type = { 0 };
	size_t i;

	for (i = 0; i < SETTINGS; i++) {
		buf_reset(&type);
		setting_describe(&settings[i], &type);
		doc.name = settings[i].name;
		doc.type = buf_str(&type);
		doc.deflt = settings[i].deflt;
		doc.help = settings[i].help;
		doc.restart = restarts[settings[i].when];
		doc.secret = setting_is_secret(&settings[i]);
		fn(&doc, arg);
	}
	buf_free(&type);
}

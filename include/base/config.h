#ifndef POSTERN_BASE_CONFIG_H
#define POSTERN_BASE_CONFIG_H

#include "base/address.h"
#include "base/buf.h"
#include "base/crypto.h"
#include "base/log.h"
#include "base/seal.h"
#include "base/secret.h"
#include "base/throttle.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The settings: the environment first, then a KEY=value file (POSTERN_CONFIG,
 * else /etc/postern/postern.conf, else .postern.conf in the home of the
 * process's user by getpwuid). One sorted table says name, type, default,
 * bounds, whether it is secret, and help. Any secret X can come from X_FILE.
 */

enum registration { REG_TOKEN, REG_OPEN, REG_CLOSED };

struct config {
	struct secret admin_token;      /* empty: none */
	char *base_path;                /* "" or "/api": no trailing slash */
	int64_t cache_size;             /* apps; 0 = no cache */
	int64_t cache_ttl_ms;           /* POSTERN_CACHE_TTL, in ms, 30000 */
	char *cors_origins;             /* space-separated, "" none, "*" any */
	struct secret database_url;     /* libpq conninfo or URI */
	bool goliauth_accept;           /* POSTERN_GOLIAUTH_ROWS=accept */
	char *jwt_audience;             /* "" = not checked */
	enum crypto_hash jwt_algorithm; /* of tokens under secrets */
	int64_t jwt_leeway;             /* s */
	int64_t jwt_max_age;            /* s, 0 = no limit */
	bool jwt_require_exp;
	bool jwt_single_use;
	int64_t key_bytes; /* 16..64, for new keys */
	struct throttle_rate limit_app;
	struct throttle_rate limit_failures;
	struct throttle_rate limit_registrations;
	char *listen;        /* "fd:0", "unix:PATH", "host:port" or "" (fd 0) */
	int64_t audit_days;  /* 0: for ever */
	int64_t backlog;     /* connections that wait in its queue */
	int64_t socket_mode; /* of a unix: socket, octal setting, 0660 */
	enum log_format log_format;
	enum log_level log_level;
	enum log_target log_target;
	struct master_key master_key;
	struct master_key_list master_keys_old;
	int64_t max_body;               /* bytes */
	struct secret metrics_token;    /* empty: the admin token alone */
	bool own_key_audience_optional; /* aud may be absent under an own key */
	int64_t max_requests;     /* a worker serves this many, 0 = no end */
	int64_t query_timeout_ms; /* POSTERN_QUERY_TIMEOUT, in ms, 2000 */
	char *realm;              /* of the challenge: "postern" */
	enum registration registration;
	struct secret registration_token; /* empty: none */
	int64_t request_timeout;          /* s, the whole request */
	bool sandbox;
	struct address_list trusted_proxies;
	int64_t verdicts; /* of each process, 0 = none */
	int64_t workers;  /* -1 = by the kind of socket */
};

/*
 * What the environment held at the start: secrets are copied into guarded
 * memory and overwritten in the environment itself. Opaque; lives as long as
 * settings may be re-read.
 */
struct config_env;

/* Take all POSTERN_ names out of environ (values of secrets are wiped in
 * place, all are unset). Call once, before any thread or fork. */
struct config_env *config_env_take(void);
void config_env_free(struct config_env *env);

/* The names that were ignored because Kubernetes set them, beside a Service
 * that is called postern: separated by spaces, "" = none; borrowed. */
const char *config_env_injected(const struct config_env *env);

/* Whether s, of len bytes and a NUL, is a good value; else *why, a constant,
 * says what it needs. */
typedef bool config_check(const char *s, size_t len, const char **why);

/* What else a conninfo has to pass, after conninfo_check: the word of who reads
 * it (db_check_conninfo). Said once, before config_load. */
void config_judge_database(config_check *judge);

/* Which settings a program can't do without. */
enum config_need {
	CONFIG_NEED_NONE = 0,
	CONFIG_NEED_DATABASE = 1,
	CONFIG_NEED_MASTER_KEY = 2,
	CONFIG_OPERATOR = 4 /* operator.conf too, where it may be read */
};

/*
 * Read the settings. On failure: false, and *err has a message that names the
 * setting (never a secret's value), its source (file:line or environment) and
 * what would be right. A file below DOCUMENT_ROOT (if that is in the
 * environment), or one that others can read, is a failure; so is an unknown
 * POSTERN_ name (POSTERN_URL, _PUBLIC_KEY, _SECRET_KEY, _GATE, _APP_ID,
 * _APP_NAME, _APP_PUBLIC_KEY and _SUBJECT are ignored: they belong to clients
 * and to the gate). The caller frees with config_free.
 */
bool config_load(struct config *c, const struct config_env *env, unsigned need,
    struct buf *err) MUST_CHECK;
void config_free(struct config *c);

/*
 * Of a reload: what is read at the start alone keeps in fresh the value that
 * running has, which gets the new one. Appends the names of those that differ,
 * separated by spaces.
 */
void config_keep(
    struct config *running, struct config *fresh, struct buf *names);

/* A line of the settings file, for config_load and the fuzzer: KEY=value with
 * spaces around, '#' comments, empty lines; value may be in double quotes.
 * 1 = a setting (borrowed slices), 0 = nothing here, -1 = malformed. */
int config_parse_line(const char *line, size_t len, const char **key,
    size_t *keylen, const char **value, size_t *valuelen);

/* The table, for documentation checks: calls fn for each setting in order. */
struct config_doc {
	const char *name, *type, *deflt, *help;
	const char *restart; /* when a change needs one, NULL = never */
	bool secret;
};
void config_each(void (*fn)(const struct config_doc *, void *), void *arg);

#endif

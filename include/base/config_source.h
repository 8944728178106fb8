#ifndef POSTERN_BASE_CONFIG_SOURCE_H
#define POSTERN_BASE_CONFIG_SOURCE_H

#include "base/buf.h"
#include "base/config.h"
#include "base/config_table.h"
#include <stdbool.h>
#include <stddef.h>

/* Where values come from, for base/config*.c only. */

enum { CONFIG_SECRET_MAX = 8192 }; /* bytes; the arena is small */

/* A value as found; origin is NULL if it was not. Secrets are in guarded. */
struct config_value {
	char *origin; /* "environment" or "FILE:LINE" */
	char *plain;
	struct secret guarded;
};

/* The values of X and of X_FILE for each setting. */
struct config_values {
	struct config_value value[SETTINGS_MAX];
	struct config_value file[SETTINGS_MAX];
};

struct config_env {
	struct config_values values;
	char *path;           /* POSTERN_CONFIG, or NULL; "": no file at all */
	struct buf complaint; /* why it can't be used, or empty */
	struct buf injected;  /* names of config_env_injected */
};

/* Is this, of the environment, a name that Kubernetes sets beside a Service
 * called postern or postern-..., with a value as it sets them? */
bool config_is_injected(const char *name, const char *value);

/* The value as a string, "" if there is none; borrowed. */
const char *config_value_str(const struct config_value *v);
void config_values_clear(struct config_values *values);

/* Read the settings file, if there is one, into values; for the operator what
 * operator.conf beside it says goes before. False with *err. */
bool config_file_read(const struct config_env *env, bool operator,
    struct config_values * values, struct buf *err) MUST_CHECK;

/* Read the content of the file that an X_FILE names. False with *err. */
bool config_secret_file(const struct setting *s, const struct config_value *v,
    struct secret *out, struct buf *err) MUST_CHECK;

#endif

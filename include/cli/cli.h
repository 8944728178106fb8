#ifndef POSTERN_CLI_CLI_H
#define POSTERN_CLI_CLI_H

#include "base/config.h"
#include "data/db.h"
#include <stdbool.h>

/* Exit statuses of every command. */
enum { CLI_OK = 0, CLI_FAILURE = 1, CLI_USAGE = 2 };

/* One command of the tool. argv[0] is its name; optind is 1. */
struct command {
	const char *name;
	const char *help;	/* one line */
	const char *usage;	/* the synopsis behind "postern " */
	int (*run)(int argc, char **argv, const struct config_env *env);
};

int cli_master_key(int argc, char **argv, const struct config_env *env);
int cli_migrate(int argc, char **argv, const struct config_env *env);
int cli_app(int argc, char **argv, const struct config_env *env);
int cli_token(int argc, char **argv, const struct config_env *env);
int cli_check(int argc, char **argv, const struct config_env *env);

/* Print the usage of a command to stderr with what was wrong; CLI_USAGE. */
int cli_usage(const char *command, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* Print an error to stderr; CLI_FAILURE. */
int cli_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Load the settings and connect, waiting at most some seconds. NULL after
 * having said why. min_schema as in db_new. */
struct db *cli_open(struct config *cfg, const struct config_env *env,
    unsigned need, int min_schema);

#endif

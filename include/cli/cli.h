#ifndef POSTERN_CLI_CLI_H
#define POSTERN_CLI_CLI_H

#include "base/buf.h"
#include "base/config.h"
#include "base/crypto_key.h"
#include "base/public_key.h"
#include "base/secret.h"
#include "base/status.h"
#include "data/db.h"
#include <getopt.h>
#include <stdbool.h>
#include <stddef.h>

/* Exit statuses of every command. */
enum { CLI_OK = 0, CLI_FAILURE = 1, CLI_USAGE = 2 };

/* An option of a command, all of them long. */
struct cli_opt {
	const char *name;  /* behind "--" */
	const char *value; /* what its value is called; NULL = it has none */
	const char *words; /* all values there are, between spaces, or NULL */
	int letter;        /* what cli_option answers for it */
	const char *help;
};
/* Its versions differ about braces in a macro. */
/* clang-format off */
#define CLI_JSON { "json", NULL, NULL, 'j', "print JSON" }
#define CLI_OPTS_END { NULL, NULL, NULL, 0, NULL }
/* clang-format on */

/*
 * One command of the tool, or of a command that has commands of its own. run
 * gets its own entry, for options and messages; argv[0] is its name. It
 * returns an exit status.
 */
struct command {
	const char *name;
	const char *synopsis; /* behind "postern ", a line for each form */
	const char *help;     /* one line */
	const struct cli_opt *opts; /* NULL if it has none */
	const char *words;          /* all its operand can be, or NULL */
	const char *details;        /* a paragraph more, or NULL */
	const struct command *const *commands; /* its own, or NULL */
	int (*run)(const struct command *self, int argc, char **argv,
	    const struct config_env *env);
};

/* The commands, one file each, and the table of them all. */
extern const struct command cli_app;
extern const struct command cli_audit;
extern const struct command cli_check;
extern const struct command cli_completion;
extern const struct command cli_doctor;
extern const struct command cli_invite;
extern const struct command cli_master_key;
extern const struct command cli_migrate;
extern const struct command cli_reseal;
extern const struct command cli_settings;
extern const struct command cli_token;

/* The table that the tool began with, of all commands. */
const struct command *const *cli_commands(void);

/*
 * Run the command of a table (ends with NULL) that argv[1] names; help, which
 * begins with about, a missing name and an unknown one are dealt with here.
 */
int cli_dispatch(const struct command *const *table, const char *prefix,
    const char *about, int argc, char **argv, const struct config_env *env);

/*
 * The next option, as getopt_long would say, all of them long. CLI_OPT_END
 * behind the last; CLI_OPT_STOP after having printed the help or what is wrong:
 * the command then returns *rc.
 */
enum { CLI_OPT_END = -1, CLI_OPT_STOP = -2, CLI_OPT_HELP = 'h' };
int cli_option(const struct command *self, int argc, char **argv, int *rc);

/* The one operand that a command takes; NULL after having said what is wrong,
 * *rc being the exit status. what names it in messages. */
const char *cli_operand(const struct command *self, int argc, char **argv,
    const char *what, int *rc);

/* False after having complained about operands that nobody asked for. */
bool cli_no_operands(const struct command *self, int argc, char **argv);

/* Print what was wrong and the synopsis to stderr; CLI_USAGE. */
int cli_usage(const struct command *self, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* Print an error to stderr; CLI_FAILURE. */
int cli_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Print a note to stderr. */
void cli_note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/*
 * Write out to stdout past stdio, whose buffers nobody wipes, and wipe it.
 * CLI_OK, or CLI_FAILURE after having said so.
 */
int cli_write(struct buf *out);

/* Append text broken at spaces into lines that begin with prefix, and a line's
 * end. The first line has column bytes already; 0 = it begins here. */
void cli_add_wrapped(
    struct buf *out, const char *text, const char *prefix, size_t column);

/* Append a text of strangers for a terminal: what could steer it is shown as
 * \xNN, byte by byte. */
void cli_add_text(struct buf *out, const char *s);

/* config_load, and a line on what it doesn't look at. */
bool cli_load(struct config *cfg, const struct config_env *env, unsigned need,
    struct buf *err) MUST_CHECK;

/*
 * Load the settings and connect, waiting at most some seconds. NULL after
 * having said why and what to do. min_schema as in db_new. cfg must be { 0 };
 * the caller frees both, whatever the outcome.
 */
struct db *cli_open(struct config *cfg, const struct config_env *env,
    unsigned need, int min_schema);

/*
 * When something ends, as RFC 3339, appended to out; nothing for "never". s is
 * that, a time, or a span from now such as 90s, 30m, 12h or 7d. False on
 * anything else.
 */
bool cli_expiry(const char *s, struct buf *out) MUST_CHECK;

/* For the help of --expires; and for cli_usage, with what was given. */
#define CLI_EXPIRES_HELP                                                       \
	"never, a time such as 2030-01-31T00:00:00Z, or from now: 90s, 30m, "  \
	"12h, 7d"
#define CLI_EXPIRY_FAULT                                                       \
	"--expires is never, a time such as 2030-01-31T00:00:00Z, or from "    \
	"now: 90s, 30m, 12h, 7d; not '%s'"

/* Why the database isn't there, and what to do: a sentence, appended. */
void cli_add_db_fault(struct buf *out, const struct db *db);

/* The app's secret key from the database that the settings name, which *cfg
 * gets. CLI_FAILURE after having said what is wrong. The caller clears key, and
 * frees cfg, which must be { 0 }. */
int cli_fetch_key(const char *public_key, const struct config_env *env,
    struct config *cfg, struct secret *key);

/* A secret key from stdin: one line, asked for without echo on a terminal.
 * Likewise. */
int cli_read_key(struct secret *key);

/* What tokens go by of the settings, for who signs without the database: where
 * they can't be read, *cfg stays { 0 }, the defaults, and a note says so. */
void cli_load_token_rules(struct config *cfg, const struct config_env *env);

/* The public key in a file, "-" being standard input: *own is the caller's to
 * free, and must be NULL. CLI_FAILURE after having said what is there and what
 * should be; then nothing of it is left in memory. */
int cli_public_key(const char *path, struct public_key **own);

/* A private key, and its public half. { 0 } is none. */
struct cli_pair {
	struct crypto_key *key;
	struct public_key *half;
};

/* The private key in a file, likewise; it is to be as closed to others as
 * secrets are. The caller clears pair, whatever the outcome. */
int cli_private_key(const char *path, struct cli_pair *pair);
void cli_pair_clear(struct cli_pair *pair);

/* Who calls, as the audit trail names them: "cli:" and the login name. */
enum { CLI_ACTOR_MAX = 64 };
void cli_actor(char actor[CLI_ACTOR_MAX]);

/* What follows the server's word that the role may not do that. */
#define CLI_DENIED                                                             \
	"; this role may not do that, the tables' owner may: run it as root, " \
	"with the owner in operator.conf beside postern.conf (README, step 3)"

/* Say what became of an operation on the app of public_key (may be NULL);
 * CLI_FAILURE. */
int cli_status(const struct db *db, enum status st, const char *public_key);

#endif

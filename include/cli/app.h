#ifndef POSTERN_CLI_APP_H
#define POSTERN_CLI_APP_H

#include "base/buf.h"
#include "base/config.h"
#include "cli/cli.h"
#include "data/app_store.h"
#include "data/db.h"
#include <stdbool.h>
#include <stdint.h>

/* One call of a command on apps: what was asked for, and by which way. */
struct app_call {
	const struct command *self;
	const char *operand; /* a name or a public key, by the command */
	struct buf name;     /* the operand, where it is a name, trimmed */
	bool json;
	struct app_grace grace;
	int64_t limit; /* INT64_MAX = not given */
	int64_t after;
	const char *search; /* NULL = all */
	struct buf expires; /* RFC 3339; empty = never */
	bool expires_given;
	const char *key_file;   /* NULL = a secret is made */
	struct public_key *own; /* what it has */
	size_t printed;         /* rows */
	char actor[CLI_ACTOR_MAX];
	struct config cfg;
	struct db *db;
};

/* The commands that print many rows; an exit status. a is not used. */
int app_list(struct app_call *k, struct app *a);
int app_events(struct app_call *k, struct app *a);

#endif

#ifndef POSTERN_BASE_CONFIG_TABLE_H
#define POSTERN_BASE_CONFIG_TABLE_H

#include "base/buf.h"
#include "base/config.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The settings' table, for base/config*.c only; others see base/config.h. */

enum setting_type {
	SETTING_INT,
	SETTING_AUTO, /* an integer, or "auto" for -1 */
	SETTING_MS,   /* given in whole seconds, stored in milliseconds */
	SETTING_OCTAL,
	SETTING_ENUM,      /* the index of the word, as unsigned */
	SETTING_BOOL,      /* the second of two words is true */
	SETTING_RATE,      /* "N/seconds", or 0 */
	SETTING_ADDRESSES, /* of proxies: addresses and networks */
	SETTING_STRING,
	SETTING_SECRET,
	SETTING_MASTER_KEY,
	SETTING_MASTER_KEYS /* several, separated by white space or commas */
};

/* When a change of a setting is obeyed. */
enum setting_when {
	AT_RELOAD,
	AT_START,     /* of types whose field is an int64_t or a string */
	AT_START_ZERO /* so is a change to or from 0 */
};

struct setting {
	const char *name;
	enum setting_type type;
	size_t offset; /* in struct config */
	enum setting_when when;
	const char *deflt;
	int64_t min, max;
	const char *words; /* "a|b|c" */
	config_check *check;
	const char *help;
};

/* Room for as many; the table is held against it. */
enum { SETTINGS_MAX = 64 };

/* The setting of index i, in the order of their names; NULL behind the last. */
const struct setting *setting_at(size_t i);
bool setting_is_secret(const struct setting *s);

/* What a name is. */
enum setting_kind { NAME_UNKNOWN, NAME_SETTING, NAME_FILE, NAME_IGNORED };

/* Look a name up; *index is the setting's for NAME_SETTING and NAME_FILE. */
enum setting_kind setting_find(const char *name, size_t len, size_t *index);

/* Append "NAME (origin): no such setting", and the name that was meant. */
void setting_unknown(
    const char *name, size_t len, const char *origin, struct buf *err);

/* What a setting takes, as in "a whole number from 1 to 3600". */
void setting_describe(const struct setting *s, struct buf *out);

config_check config_check_algorithm, config_check_base_path, config_check_cors,
    config_check_database, config_check_listen, config_check_realm,
    config_check_text, config_check_token;

#endif

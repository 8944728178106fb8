/*
 * The settings as values: made of the texts by the table, and checked as a
 * whole. config_table.c has the table, config_source.c the reading.
 */

#include "base/config.h"

#include "base/config_source.h"
#include "base/config_table.h"
#include "base/decimal.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

enum { SHOWN_MAX = 60 };

static void *
field(struct config *c, const struct setting *s)
{
	return (char *)c + s->offset;
}

/* The value in a message: printable, and not too long. */
static void
add_shown(struct buf *err, const char *s)
{
	size_t i;

	buf_addc(err, '"');
	for (i = 0; i < SHOWN_MAX && s[i] != '\0'; i++)
		buf_addc(err, s[i] >= ' ' && s[i] <= '~' ? s[i] : '?');
	buf_adds(err, s[i] != '\0' ? "...\"" : "\"");
}

static bool
set_int(struct config *c, const struct setting *s, const char *text)
{
	int64_t *out = field(c, s);
	uint64_t n;

	if (s->type == SETTING_AUTO && strcmp(text, "auto") == 0) {
		*out = -1;
		return true;
	}
	if (!decimal_parse(
		text, strlen(text), (uint64_t)s->min, (uint64_t)s->max, &n))
		return false;
	*out = (int64_t)n * (s->type == SETTING_MS ? 1000 : 1);
	return true;
}

static bool
set_octal(struct config *c, const struct setting *s, const char *text)
{
	size_t len = strlen(text);
	int64_t n;

	if (len < 3 || len > 4 || strspn(text, "01234567") != len)
		return false;
	n = strtol(text, NULL, 8);
	if (n < s->min || n > s->max)
		return false;
	*(int64_t *)field(c, s) = n;
	return true;
}

/* The index of text among the words, -1 if it is none of them. */
static int
word_index(const char *words, const char *text)
{
	size_t n, len = strlen(text);
	int i;

	for (i = 0;; i++) {
		n = strcspn(words, "|");
		if (n == len && memcmp(words, text, n) == 0)
			return i;
		if (words[n] == '\0')
			return -1;
		words += n + 1;
	}
}

static bool
set_word(struct config *c, const struct setting *s, const char *text)
{
	int i = word_index(s->words, text);
	unsigned u = (unsigned)i;
	bool yes = i == 1;

	if (i == -1)
		return false;
	if (s->type == SETTING_BOOL)
		memcpy(field(c, s), &yes, sizeof(yes));
	else
		memcpy(field(c, s), &u, sizeof(u)); /* an enum */
	return true;
}

/* Former master keys; each has to be as good as a current one. */
static bool
set_master_keys(struct config *c, const struct setting *s, const char *text,
    const char **why)
{
	static const char separators[] = " ,\t\r\n";
	struct master_key_list *list = field(c, s);
	size_t n;

	while (*(text += strspn(text, separators)) != '\0') {
		n = strcspn(text, separators);
		if (list->n == MASTER_KEYS_OLD_MAX)
			return false;
		if (!master_key_init(&list->key[list->n++], text, n, why))
			return false;
		text += n;
	}
	return true;
}

/* N/SECONDS, or 0. */
static bool
set_rate(struct config *c, const struct setting *s, const char *text)
{
	const char *slash = strchr(text, '/');
	uint64_t n, seconds;

	if (strcmp(text, "0") == 0) {
		*(struct throttle_rate *)field(c, s) =
		    (struct throttle_rate){ 0, 1 };
		return true;
	}
	if (slash == NULL ||
	    !decimal_parse(
		text, (size_t)(slash - text), 1, THROTTLE_N_MAX, &n) ||
	    !decimal_parse(slash + 1, strlen(slash + 1), 1,
		THROTTLE_SECONDS_MAX, &seconds))
		return false;
	*(struct throttle_rate *)field(c, s) =
	    (struct throttle_rate){ (int64_t)n, (int64_t)seconds };
	return true;
}

/* Set a field from a text. False with *why, NULL where the type says it. */
static bool
set_field(struct config *c, const struct setting *s, const char *text,
    const char **why)
{
	size_t len = strlen(text);

	*why = NULL;
	if (s->check != NULL && len > 0 && !s->check(text, len, why))
		return false;
	switch (s->type) {
	case SETTING_INT:
	case SETTING_AUTO:
	case SETTING_MS:
		return set_int(c, s, text);
	case SETTING_OCTAL:
		return set_octal(c, s, text);
	case SETTING_ENUM:
	case SETTING_BOOL:
		return set_word(c, s, text);
	case SETTING_RATE:
		return set_rate(c, s, text);
	case SETTING_ADDRESSES:
		return address_list_parse(text, field(c, s));
	case SETTING_STRING:
		*(char **)field(c, s) = mem_strdup(text);
		return true;
	case SETTING_SECRET:
		if (len > 0)
			secret_set(field(c, s), text, len);
		return true;
	case SETTING_MASTER_KEY:
		return len == 0 || master_key_init(field(c, s), text, len, why);
	case SETTING_MASTER_KEYS:
		return set_master_keys(c, s, text, why);
	}
	return false;
}

/* Say what is wrong with the text of a setting. */
static void
complain(const struct setting *s, const char *origin, const char *text,
    const char *why, struct buf *err)
{
	buf_addf(err, "%s (%s): ", s->name, origin);
	if (setting_is_secret(s))
		buf_addf(err, "%zu characters, ", strlen(text));
	else
		add_shown(err, s->type == SETTING_ADDRESSES
				   ? address_list_fault(text)
				   : text);
	if (why != NULL) {
		buf_addf(err, "%s%s", setting_is_secret(s) ? "" : ": ", why);
	} else {
		buf_adds(err, ": needs ");
		setting_describe(s, err);
	}
	if (s->type == SETTING_MASTER_KEY || s->type == SETTING_MASTER_KEYS)
		buf_adds(err, "; make one with: postern master-key");
}

/* Set a field from value, or to its default if the value is empty. */
static bool
apply(struct config *c, const struct setting *s, const char *text,
    const char *origin, struct buf *err)
{
	const char *why;

	if (set_field(c, s, *text != '\0' ? text : s->deflt, &why))
		return true;
	complain(s, origin, text, why, err);
	return false;
}

/* Set field i from the first of the sources that names it. */
static bool
apply_setting(struct config *c, size_t i,
    const struct config_values *sources[2], struct buf *err)
{
	const struct setting *s = setting_at(i);
	const struct config_value *value, *file;
	struct secret content = { 0 };
	struct buf origin = { 0 };
	bool ok;
	int k;

	for (k = 0; k < 2; k++) {
		value = &sources[k]->value[i];
		file = &sources[k]->file[i];
		if (*config_value_str(file) == '\0') {
			if (value->origin == NULL)
				continue;
			return apply(
			    c, s, config_value_str(value), value->origin, err);
		}
		if (*config_value_str(value) != '\0') {
			buf_addf(err,
			    "%s (%s): %s_FILE is set as well (%s); "
			    "drop one",
			    s->name, value->origin, s->name, file->origin);
			return false;
		}
		if (!config_secret_file(s, file, &content, err))
			return false;
		buf_addf(&origin, "%s_FILE, %s", s->name, file->plain);
		ok = apply(c, s, content.data, buf_str(&origin), err);
		secret_clear(&content);
		buf_free(&origin);
		return ok;
	}
	return apply(c, s, "", "default", err);
}

/* Each of the operator's tokens opens its own doors only. */
static bool
tokens_differ(const struct config *c, struct buf *err)
{
	const struct {
		const char *name;
		const struct secret *token;
	} tokens[] = {
		{ "POSTERN_ADMIN_TOKEN", &c->admin_token },
		{ "POSTERN_REGISTRATION_TOKEN", &c->registration_token },
		{ "POSTERN_METRICS_TOKEN", &c->metrics_token },
	};
	size_t i, k;

	for (i = 1; i < sizeof tokens / sizeof tokens[0]; i++)
		for (k = 0; k < i; k++) {
			if (tokens[k].token->len == 0 ||
			    !secret_equal(tokens[i].token,
				tokens[k].token->data, tokens[k].token->len))
				continue;
			buf_addf(err,
			    "%s: is the same as %s; who has the one would have "
			    "the other's rights, so make another with: "
			    "openssl rand -hex 32",
			    tokens[i].name, tokens[k].name);
			return false;
		}
	return true;
}

static bool
check_database(const struct config *c, unsigned need, struct buf *err)
{
	if ((need & CONFIG_NEED_DATABASE) == 0 || c->database_url.len > 0)
		return true;
	buf_adds(err,
	    "POSTERN_DATABASE_URL is not set: needs a libpq conninfo or URI, "
	    "in the environment, in the settings file or in the file that "
	    "POSTERN_DATABASE_URL_FILE names");
	return false;
}

/* What no single setting can tell. */
static bool
check_whole(const struct config *c, unsigned need, struct buf *err)
{
	if ((need & CONFIG_NEED_MASTER_KEY) && c->master_key.key.len == 0) {
		buf_adds(err, "POSTERN_MASTER_KEY is not set: needs 32, 48 or "
			      "64 hex characters, best in the file that "
			      "POSTERN_MASTER_KEY_FILE names; make one with: "
			      "postern master-key");
		return false;
	}
	if (c->jwt_single_use && !c->jwt_require_exp) {
		buf_adds(err,
		    "POSTERN_JWT_SINGLE_USE: needs POSTERN_JWT_REQUIRE_EXP=on: "
		    "a token is remembered until it expires");
		return false;
	}
	return tokens_differ(c, err);
}

/* Set the fields that are conninfos, or all others. */
static bool
apply_all(struct config *c, bool conninfos,
    const struct config_values *sources[2], struct buf *err)
{
	const struct setting *s;
	size_t i;

	for (i = 0; (s = setting_at(i)) != NULL; i++)
		if ((s->check == config_check_database) == conninfos &&
		    !apply_setting(c, i, sources, err))
			return false;
	return true;
}

bool
config_load(struct config *c, const struct config_env *env, unsigned need,
    struct buf *err)
{
	static const struct config_values nothing;
	struct config_values *file = mem_alloc(sizeof(*file));
	const struct config_values *sources[2] = { &nothing, file };
	struct config fresh = { 0 };
	bool ok;

	buf_reset(err);
	if (env != NULL) {
		sources[0] = &env->values;
		buf_adds(err, buf_str(&env->complaint));
	}
	ok = err->len == 0 &&
	     config_file_read(env, (need & CONFIG_OPERATOR) != 0, file, err);
	/* libpq is asked about conninfos, when all else is right. */
	ok = ok && apply_all(&fresh, false, sources, err) &&
	     check_whole(&fresh, need, err) &&
	     apply_all(&fresh, true, sources, err) &&
	     check_database(&fresh, need, err);
	if (ok)
		*c = fresh;
	else
		config_free(&fresh);
	config_values_clear(file);
	free(file);
	return ok;
}

/* Is a setting that is read at the start alone another one there? */
static bool
differs(const struct setting *s, const void *a, const void *b)
{
	int64_t m, n;

	if (s->when == AT_RELOAD)
		return false;
	if (s->type == SETTING_STRING)
		return strcmp(*(char *const *)a, *(char *const *)b) != 0;
	memcpy(&m, a, sizeof m);
	memcpy(&n, b, sizeof n);
	return s->when == AT_START_ZERO ? (m == 0) != (n == 0) : m != n;
}

static void
swap(void *a, void *b, size_t size)
{
	unsigned char kept[sizeof(int64_t)];

	memcpy(kept, a, size);
	memcpy(a, b, size);
	memcpy(b, kept, size);
}

void
config_keep(struct config *running, struct config *fresh, struct buf *names)
{
	const struct setting *s;
	size_t i;

	for (i = 0; (s = setting_at(i)) != NULL; i++) {
		if (!differs(s, field(running, s), field(fresh, s)))
			continue;
		swap(field(running, s), field(fresh, s),
		    s->type == SETTING_STRING ? sizeof(char *)
					      : sizeof(int64_t));
		buf_addf(names, "%s%s", names->len > 0 ? " " : "", s->name);
	}
}

static void
clear_master_keys(struct master_key_list *list)
{
	size_t i;

	for (i = 0; i < list->n; i++)
		master_key_clear(&list->key[i]);
	list->n = 0;
}

void
config_free(struct config *c)
{
	const struct setting *s;
	char **text;
	size_t i;

	for (i = 0; (s = setting_at(i)) != NULL; i++) {
		if (s->type == SETTING_STRING) {
			text = field(c, s);
			free(*text);
			*text = NULL;
		} else if (s->type == SETTING_SECRET) {
			secret_clear(field(c, s));
		} else if (s->type == SETTING_ADDRESSES) {
			address_list_free(field(c, s));
		} else if (s->type == SETTING_MASTER_KEY) {
			master_key_clear(field(c, s));
		} else if (s->type == SETTING_MASTER_KEYS) {
			clear_master_keys(field(c, s));
		}
	}
	memset(c, 0, sizeof(*c));
}

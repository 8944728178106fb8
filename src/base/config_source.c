/*
 * Where settings come from: the environment, the settings file, and the files
 * that hold one secret each. What can hold a secret is read only if it is a
 * regular file, closed to others and outside of the document root.
 */

#include "base/config_source.h"

#include "base/mem.h"
#include "base/private_file.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FILE_LIMIT = 1024 * 1024 }; /* bytes, of which one line may have all */

static const char PREFIX[] = "POSTERN_";
static const char SYSTEM_FILE[] = "/etc/postern/postern.conf";
static const char OPERATOR_FILE[] = "operator.conf";

static void
value_clear(struct config_value *v)
{
	if (v->plain != NULL)
		explicit_bzero(v->plain, strlen(v->plain));
	free(v->plain);
	free(v->origin);
	secret_clear(&v->guarded);
	v->plain = v->origin = NULL;
}

const char *
config_value_str(const struct config_value *v)
{
	if (v->plain != NULL)
		return v->plain;
	return v->guarded.data != NULL ? v->guarded.data : "";
}

void
config_values_clear(struct config_values *values)
{
	size_t i;

	for (i = 0; i < SETTINGS_MAX; i++) {
		value_clear(&values->value[i]);
		value_clear(&values->file[i]);
	}
}

/* Note that name is set to s at origin. False with *err. */
static bool
values_add(struct config_values *values, const char *name, size_t namelen,
    const char *s, size_t len, const char *origin, struct buf *err)
{
	enum setting_kind kind;
	struct config_value *v;
	size_t i;

	kind = setting_find(name, namelen, &i);
	if (kind == NAME_IGNORED)
		return true;
	if (kind == NAME_UNKNOWN) {
		setting_unknown(name, namelen, origin, err);
		return false;
	}
	v = kind == NAME_FILE ? &values->file[i] : &values->value[i];
	if (v->origin != NULL) {
		buf_addf(err, "%.*s (%s): set already (%s)", (int)namelen, name,
		    origin, v->origin);
		return false;
	}
	if (!setting_is_secret(setting_at(i)) || kind == NAME_FILE) {
		v->plain = mem_strndup(s, len);
	} else if (len <= CONFIG_SECRET_MAX) {
		secret_set(&v->guarded, s, len);
	} else {
		buf_addf(err, "%.*s (%s): %zu bytes, may have %d", (int)namelen,
		    name, origin, len, CONFIG_SECRET_MAX);
		return false;
	}
	v->origin = mem_strdup(origin);
	return true;
}

/* Note a name that is Kubernetes' own. */
static bool
take_injected(
    struct config_env *env, const char *name, size_t namelen, const char *value)
{
	char *copy = mem_strndup(name, namelen);
	size_t i;
	bool yes = setting_find(name, namelen, &i) == NAME_UNKNOWN &&
		   config_is_injected(copy, value);

	if (yes)
		buf_addf(&env->injected, "%s%s",
		    env->injected.len > 0 ? " " : "", copy);
	free(copy);
	return yes;
}

/* Take one NAME=value of the environment, and overwrite the value there. */
static void
env_take(struct config_env *env, const char *name, size_t namelen, char *value)
{
	struct buf err = { 0 };

	if (strncmp(name, "POSTERN_CONFIG=", namelen + 1) == 0) {
		free(env->path);
		env->path = mem_strdup(value);
	} else if (!take_injected(env, name, namelen, value) &&
		   !values_add(&env->values, name, namelen, value,
		       strlen(value), "environment", &err) &&
		   env->complaint.len == 0) {
		buf_adds(&env->complaint, buf_str(&err));
	}
	explicit_bzero(value, strlen(value));
	buf_free(&err);
}

/*
 * The clients' and the gate's names stay where they are (a CGI request is
 * asked as a gate by POSTERN_GATE), but not a client's secret.
 */
static bool
env_keeps(const char *name, size_t len)
{
	size_t i;

	return setting_find(name, len, &i) == NAME_IGNORED &&
	       strncmp(name, "POSTERN_SECRET_KEY", len) != 0;
}

struct config_env *
config_env_take(void)
{
	struct config_env *env = mem_alloc(sizeof(*env));
	char **from, **to;
	size_t len;

	if (environ == NULL)
		return env;
	for (from = to = environ; *from != NULL; from++) {
		len = strcspn(*from, "=");
		if (strncmp(*from, PREFIX, sizeof(PREFIX) - 1) != 0 ||
		    (*from)[len] == '\0' || env_keeps(*from, len))
			*to++ = *from;
		else
			env_take(env, *from, len, *from + len + 1);
	}
	*to = NULL;
	return env;
}

void
config_env_free(struct config_env *env)
{
	if (env == NULL)
		return;
	config_values_clear(&env->values);
	free(env->path);
	buf_free(&env->complaint);
	buf_free(&env->injected);
	free(env);
}

const char *
config_env_injected(const struct config_env *env)
{
	return buf_str(&env->injected);
}

static bool
is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

/* Cut white space off both ends of a slice. */
static void
trim(const char **s, size_t *len)
{
	while (*len > 0 && is_space(**s)) {
		(*s)++;
		(*len)--;
	}
	while (*len > 0 && is_space((*s)[*len - 1]))
		(*len)--;
}

static bool
is_key(const char *s, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++) {
		if (!(s[i] >= 'A' && s[i] <= 'Z') && s[i] != '_' &&
		    !(i > 0 && s[i] >= '0' && s[i] <= '9'))
			return false;
	}
	return len > 0;
}

int
config_parse_line(const char *line, size_t len, const char **key,
    size_t *keylen, const char **value, size_t *valuelen)
{
	const char *eq, *k, *v;
	size_t klen, vlen;

	if (len > FILE_LIMIT || (len > 0 && memchr(line, '\0', len) != NULL))
		return -1;
	trim(&line, &len);
	if (len == 0 || *line == '#')
		return 0;
	eq = memchr(line, '=', len);
	if (eq == NULL)
		return -1;
	k = line;
	klen = (size_t)(eq - line);
	v = eq + 1;
	vlen = len - klen - 1;
	trim(&k, &klen);
	trim(&v, &vlen);
	if (!is_key(k, klen))
		return -1;
	if (vlen > 0 && *v == '"') {
		if (vlen < 2 || memchr(v + 1, '"', vlen - 1) != v + vlen - 1)
			return -1;
		v++;
		vlen -= 2;
	}
	*key = k;
	*keylen = klen;
	*value = v;
	*valuelen = vlen;
	return 1;
}

bool
config_secret_file(const struct setting *s, const struct config_value *v,
    struct secret *out, struct buf *err)
{
	struct buf content = { 0 };
	bool ok = false;
	int fd;

	buf_addf(err, "%s_FILE (%s): ", s->name, v->origin);
	/* O_NONBLOCK: a FIFO must not hold us up. */
	fd = open(v->plain, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd == -1) {
		/* It may be the secret itself, where its path belongs. */
		buf_addf(err, "%s: %s",
		    strchr("/.", *v->plain) != NULL ? v->plain
						    : "a path without a /",
		    strerror(errno));
		return false;
	}
	if (!private_file_read(fd, v->plain, CONFIG_SECRET_MAX, &content, err))
		goto out;
	while (content.len > 0 && (content.data[content.len - 1] == '\n' ||
				      content.data[content.len - 1] == '\r'))
		content.len--;
	if (content.len == 0) {
		buf_addf(err, "%s is empty", v->plain);
		goto out;
	}
	if (memchr(content.data, '\0', content.len) != NULL) {
		buf_addf(err, "%s has a NUL byte", v->plain);
		goto out;
	}
	secret_set(out, content.data, content.len);
	buf_reset(err);
	ok = true;
out:
	close(fd);
	buf_free(&content);
	return ok;
}

/* Read the lines of the file at path. */
static bool
parse_lines(const char *path, const struct buf *text,
    struct config_values *values, struct buf *err)
{
	const char *key, *value, *p = buf_str(text), *end = p + text->len, *nl;
	struct buf origin = { 0 };
	size_t keylen, valuelen, line = 0;
	bool ok = true;
	int rc;

	for (; ok && p < end; p = nl + 1) {
		nl = memchr(p, '\n', (size_t)(end - p));
		if (nl == NULL)
			nl = end;
		buf_reset(&origin);
		buf_addf(&origin, "%s:%zu", path, ++line);
		rc = config_parse_line(
		    p, (size_t)(nl - p), &key, &keylen, &value, &valuelen);
		if (rc == -1) {
			buf_addf(err, "%s: not a line of the form KEY=value",
			    buf_str(&origin));
			ok = false;
		} else if (rc == 1) {
			ok = values_add(values, key, keylen, value, valuelen,
			    buf_str(&origin), err);
		}
	}
	buf_free(&origin);
	return ok;
}

/*
 * Open the settings file, of which *path is the name. -1 with *path NULL if
 * there is none, and with *err if there should be one.
 */
static int
open_settings(const struct config_env *env, char **path, struct buf *err)
{
	const int flags = O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
	struct passwd *pw;
	struct buf home = { 0 };
	const char *places[2] = { SYSTEM_FILE, NULL };
	size_t i, n = 1;
	int fd = -1;

	*path = NULL;
	if (env != NULL && env->path != NULL && *env->path == '\0')
		return -1; /* the operator wants none */
	if (env != NULL && env->path != NULL) {
		places[0] = env->path;
		buf_adds(err, "POSTERN_CONFIG (environment): ");
	} else if ((pw = getpwuid(geteuid())) != NULL) {
		buf_addf(&home, "%s/.postern.conf", pw->pw_dir);
		places[n++] = buf_str(&home);
	}
	for (i = 0; i < n && fd == -1; i++) {
		fd = open(places[i], flags);
		if (fd != -1) {
			*path = mem_strdup(places[i]);
		} else if (err->len > 0 ||
			   (errno != ENOENT && errno != ENOTDIR)) {
			buf_addf(err, "%s: %s", places[i], strerror(errno));
			break;
		}
	}
	buf_free(&home);
	return fd;
}

/* Read the settings of an open file; it is closed. */
static bool
read_settings(
    int fd, const char *path, struct config_values *values, struct buf *err)
{
	struct buf text = { 0 };
	bool ok;

	ok = private_file_read(fd, path, FILE_LIMIT, &text, err);
	close(fd);
	if (ok) {
		buf_reset(err);
		ok = parse_lines(path, &text, values, err);
	}
	buf_free(&text);
	return ok;
}

/* What own has goes before what values have. */
static void
put_before(struct config_values *values, struct config_values *own)
{
	size_t i;

	for (i = 0; i < SETTINGS_MAX; i++) {
		if (own->value[i].origin == NULL && own->file[i].origin == NULL)
			continue;
		value_clear(&values->value[i]);
		value_clear(&values->file[i]);
		values->value[i] = own->value[i];
		values->file[i] = own->file[i];
		own->value[i] = own->file[i] = (struct config_value){ 0 };
	}
}

/* The operator's file beside the settings file at path; who may not read it is
 * none. */
static bool
read_operator(const char *path, struct config_values *values, struct buf *err)
{
	const char *slash = strrchr(path, '/');
	struct config_values *own = mem_alloc(sizeof *own);
	struct buf name = { 0 };
	bool ok = true;
	int fd;

	buf_add(&name, path, slash != NULL ? (size_t)(slash - path) + 1 : 0);
	buf_adds(&name, OPERATOR_FILE);
	fd = open(buf_str(&name), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd != -1)
		ok = read_settings(fd, buf_str(&name), own, err);
	else if (errno != ENOENT && errno != EACCES && errno != ENOTDIR)
		ok = false;
	if (!ok && err->len == 0)
		buf_addf(err, "%s: %s", buf_str(&name), strerror(errno));
	if (ok)
		put_before(values, own);
	config_values_clear(own);
	free(own);
	buf_free(&name);
	return ok;
}

bool
config_file_read(const struct config_env *env, bool operator,
    struct config_values * values, struct buf *err)
{
	char *path;
	bool ok;
	int fd;

	fd = open_settings(env, &path, err);
	ok = fd == -1 ? err->len == 0 : read_settings(fd, path, values, err);
	if (ok && operator&& path != NULL)
		ok = read_operator(path, values, err);
	free(path);
	return ok;
}

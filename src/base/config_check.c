/* What the settings that are text have to look like. */

#include "base/config_table.h"

#include "base/bearer.h"
#include "base/config.h"
#include "base/conninfo.h"
#include "base/decimal.h"
#include "base/utf8.h"

#include <string.h>
#include <sys/un.h>

enum { TOKEN_MIN = 32, TEXT_MAX = 1024, HOST_MAX = 255 };

static const char alnum[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
			    "abcdefghijklmnopqrstuvwxyz0123456789";

/* All bytes are letters, digits or in more. */
static bool
all_of(const char *s, size_t len, const char *more)
{
	size_t i;

	for (i = 0; i < len; i++) {
		if (s[i] == '\0' ||
		    (strchr(alnum, s[i]) == NULL && strchr(more, s[i]) == NULL))
			return false;
	}
	return true;
}

bool
config_check_algorithm(const char *s, size_t len, const char **why)
{
	*why = "needs one algorithm alone, as each key is good for one (RFC "
	       "8725 section 3.1)";
	if (strcspn(s, " ,\t") != len)
		return false;
	*why = NULL;
	return true;
}

bool
config_check_base_path(const char *s, size_t len, const char **why)
{
	*why = "needs a path that starts with / and does not end with one, of "
	       "letters, digits and - . _ ~ /";
	if (len < 2 || s[0] != '/' || s[len - 1] == '/')
		return false;
	if (!all_of(s, len, "-._~/") || strstr(s, "//") != NULL)
		return false;
	return strstr(s, "/./") == NULL && strstr(s, "/../") == NULL &&
	       !(len >= 2 && strcmp(s + len - 2, "/.") == 0) &&
	       !(len >= 3 && strcmp(s + len - 3, "/..") == 0);
}

/* Digits that are a port. */
static bool
is_port(const char *s, size_t len)
{
	uint64_t n;

	return decimal_parse(s, len, 1, 65535, &n);
}

/* HOST, HOST:PORT, [V6] or [V6]:PORT. */
static bool
is_authority(const char *s, size_t len, bool need_port)
{
	const char *end;
	size_t host;

	if (len > 0 && s[0] == '[') {
		end = memchr(s, ']', len);
		if (end == NULL || end == s + 1 ||
		    !all_of(s + 1, (size_t)(end - s - 1), ":.%-_"))
			return false;
		host = (size_t)(end - s) + 1;
	} else {
		end = memchr(s, ':', len);
		host = end != NULL ? (size_t)(end - s) : len;
		if (host == 0 || host > HOST_MAX || !all_of(s, host, "-._"))
			return false;
	}
	if (host == len)
		return !need_port;
	return s[host] == ':' && is_port(s + host + 1, len - host - 1);
}

/* An origin as browsers send it (RFC 6454 section 6.1): no path. */
static bool
is_origin(const char *s, size_t len)
{
	const char *p = memmem(s, len, "://", 3);
	size_t i;

	if (p == NULL || p == s || !all_of(s, (size_t)(p - s), "+-."))
		return false;
	for (i = 0; i < len; i++) {
		if (s[i] >= 'A' && s[i] <= 'Z')
			return false; /* browsers send lower case */
	}
	p += 3;
	return is_authority(p, len - (size_t)(p - s), false);
}

bool
config_check_cors(const char *s, size_t len, const char **why)
{
	size_t n;

	*why = "needs * or origins such as https://app.example.com, in lower "
	       "case, without a path, separated by single spaces";
	if (len == 1 && s[0] == '*')
		return true;
	for (;;) {
		n = strcspn(s, " ");
		if (!is_origin(s, n))
			return false;
		if (s[n] == '\0')
			return true;
		s += n + 1;
	}
}

static config_check *judge_database;

void
config_judge_database(config_check *judge)
{
	judge_database = judge;
}

bool
config_check_database(const char *s, size_t len, const char **why)
{
	return conninfo_check(s, len, why) &&
	       (judge_database == NULL || judge_database(s, len, why));
}

bool
config_check_listen(const char *s, size_t len, const char **why)
{
	*why = "needs fd:0, unix:PATH (up to 107 bytes) or HOST:PORT";
	if (strcmp(s, "fd:0") == 0)
		return true;
	if (strncmp(s, "unix:", 5) == 0)
		return len > 5 && !utf8_has_control(s, len) &&
		       len - 5 < sizeof(((struct sockaddr_un *)0)->sun_path);
	return strncmp(s, "fd:", 3) != 0 && is_authority(s, len, true);
}

bool
config_check_realm(const char *s, size_t len, const char **why)
{
	size_t i;

	*why = "needs printable ASCII without double quotes and backslashes";
	for (i = 0; i < len; i++) {
		if (s[i] < ' ' || s[i] > '~' || s[i] == '"' || s[i] == '\\')
			return false;
	}
	return len <= TEXT_MAX;
}

bool
config_check_text(const char *s, size_t len, const char **why)
{
	*why = "needs up to 1024 bytes of UTF-8 without control characters";
	return len <= TEXT_MAX && utf8_valid(s, len) &&
	       !utf8_has_control(s, len);
}

bool
config_check_token(const char *s, size_t len, const char **why)
{
	*why = "needs at least 32 of letters, digits and - . _ ~ + /, as a "
	       "bearer token is written; make one with: openssl rand -hex 32";
	return len >= TOKEN_MIN && bearer_is_b64token(s, len);
}

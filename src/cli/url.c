/*
 * Reading of the URL that `doctor` is given. It ends up in curl's hands and in
 * lines to be pasted into configurations, so only plain characters pass.
 */
#include "cli/url.h"

#include "base/decimal.h"
#include "base/percent.h"

#include <arpa/inet.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

enum { HOST_MAX = 253, PORT_MAX = 65535, URL_MAX = 2048 };

#define LETTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
#define DIGITS "0123456789"

static bool
host_ok(const char *host)
{
	size_t n = strlen(host);

	return n > 0 && n <= HOST_MAX && host[0] != '-' && host[0] != '.' &&
	       strspn(host, LETTERS DIGITS "-._") == n;
}

/* A host name or an IPv4 address; "localhost" and its subdomains stay here
 * (RFC 6761 section 6.3). */
static bool
is_loopback(const char *host)
{
	static const char local[] = ".localhost";
	size_t n = strlen(host), l = sizeof local - 1;
	unsigned char a[4];

	if (inet_pton(AF_INET, host, a) == 1)
		return a[0] == 127;
	return strcasecmp(host, local + 1) == 0 ||
	       (n > l && strcasecmp(host + n - l, local) == 0);
}

/* [IPv6], without a zone. */
static bool
take_ipv6(const char *s, size_t len, struct url *u)
{
	static const unsigned char self[16] = { [15] = 1 };
	static const unsigned char mapped[13] = {
		[10] = 0xff, [11] = 0xff, [12] = 127
	};
	unsigned char a[16];
	char text[INET6_ADDRSTRLEN];

	if (len < 2 || s[len - 1] != ']' || len - 2 >= sizeof text)
		return false;
	memcpy(text, s + 1, len - 2);
	text[len - 2] = '\0';
	if (inet_pton(AF_INET6, text, a) != 1)
		return false;
	u->loopback = memcmp(a, self, sizeof self) == 0 ||
		      memcmp(a, mapped, sizeof mapped) == 0;
	return true;
}

static bool
take_host(const char *s, size_t len, struct url *u)
{
	char host[HOST_MAX + 1];

	if (len > 0 && s[0] == '[')
		return take_ipv6(s, len, u);
	if (len > HOST_MAX)
		return false;
	memcpy(host, s, len);
	host[len] = '\0';
	u->loopback = is_loopback(host);
	return host_ok(host);
}

static const char *
take_authority(const char *s, size_t len, struct url *u)
{
	const char *colon = memrchr(s, ':', len);
	const char *bracket = memchr(s, ']', len);
	size_t host = len, port;
	uint64_t n;

	if (memchr(s, '@', len) != NULL)
		return "it must not hold a user or a password";
	if (colon != NULL && (bracket == NULL || colon > bracket)) {
		host = (size_t)(colon - s);
		port = len - host - 1;
		if (!decimal_parse(colon + 1, port, 1, PORT_MAX, &n))
			return "its port is not 1 to 65535";
	}
	if (!take_host(s, host, u))
		return "its host is neither a name of ASCII letters, digits, "
		       "'-' and '.' nor an address (IPv6 in brackets)";
	buf_adds(&u->origin, u->tls ? "https://" : "http://");
	buf_add(&u->origin, s, len);
	return NULL;
}

static bool
is_dots(const char *s, size_t len)
{
	return (len == 1 || len == 2) && strncmp(s, "..", len) == 0;
}

static const char *
take_path(const char *s, struct url *u)
{
	static const char plain[] = LETTERS DIGITS "-._~%+:,=/";
	size_t len, n;
	struct buf decoded = { 0 };
	bool ok;

	if (s[strcspn(s, "?#")] != '\0')
		return "it must not hold a query or a fragment";
	len = strlen(s);
	while (len > 0 && s[len - 1] == '/')
		len--;
	ok = percent_decode(s, len, &decoded);
	buf_free(&decoded);
	if (!ok || strspn(s, plain) < len)
		return "its path has characters that need percent-encoding";
	buf_add(&u->base, s, len);
	for (s = buf_str(&u->base); *s == '/'; s += n) {
		s++;
		n = strcspn(s, "/");
		if (n == 0 || is_dots(s, n))
			return "its path has an empty segment, '.' or '..'";
	}
	return NULL;
}

const char *
url_parse(const char *s, struct url *u)
{
	const char *why;
	size_t len;

	if (strlen(s) > URL_MAX)
		return "it is longer than 2048 bytes";
	for (len = 0; s[len] != '\0'; len++)
		if (s[len] <= ' ' || s[len] >= 0x7f || s[len] == '\\')
			return "it has a character that no URL has";
	if (strncasecmp(s, "https://", 8) == 0)
		u->tls = true;
	else if (strncasecmp(s, "http://", 7) != 0)
		return "it must start with http:// or https://";
	s += u->tls ? 8 : 7;
	len = strcspn(s, "/?#");
	why = take_authority(s, len, u);
	return why != NULL ? why : take_path(s + len, u);
}

void
url_clear(struct url *u)
{
	buf_free(&u->origin);
	buf_free(&u->base);
}

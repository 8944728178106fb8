/*
 * What Kubernetes puts into the environment of each container beside a Service.
 * It goes by the Service's name: one called postern makes POSTERN_SERVICE_HOST,
 * POSTERN_PORT and more, one called postern-db makes POSTERN_DB_SERVICE_HOST.
 * ("Discovering services" in its documentation; the names with PORT_80_TCP in
 * them are those of Docker's links.)
 */

#include "base/config_source.h"

#include "base/decimal.h"

#include <arpa/inet.h>
#include <string.h>

#define UPPER "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS "0123456789"

static const char *const protocols[][2] = { { "TCP", "tcp" }, { "UDP", "udp" },
	{ "SCTP", "sctp" } };
enum { PROTOCOLS = 3, ADDRESS_MAX = 45 };

static bool
is_port(const char *s)
{
	uint64_t n;

	return decimal_parse(s, strlen(s), 1, 65535, &n);
}

static bool
is_address(const char *s, size_t len)
{
	char text[ADDRESS_MAX + 1];
	struct in6_addr a;

	if (len > ADDRESS_MAX)
		return false;
	memcpy(text, s, len);
	text[len] = '\0';
	return inet_pton(AF_INET, text, &a) == 1 ||
	       inet_pton(AF_INET6, text, &a) == 1;
}

/* tcp://10.0.0.1:80 or tcp://[fd00::1]:80, of this protocol and, unless NULL,
 * this port. */
static bool
is_url(const char *s, const char *protocol, const char *port)
{
	size_t n = strlen(protocol);
	const char *colon;

	if (strncmp(s, protocol, n) != 0 || strncmp(s + n, "://", 3) != 0)
		return false;
	s += n + 3;
	colon = strrchr(s, ':');
	if (colon == NULL || !is_port(colon + 1) ||
	    (port != NULL && strcmp(colon + 1, port) != 0))
		return false;
	n = (size_t)(colon - s);
	if (n > 2 && s[0] == '[' && s[n - 1] == ']')
		return is_address(s + 1, n - 2);
	return memchr(s, ':', n) == NULL && is_address(s, n);
}

static bool
is_any_url(const char *s)
{
	size_t i;

	for (i = 0; i < PROTOCOLS; i++)
		if (is_url(s, protocols[i][1], NULL))
			return true;
	return false;
}

/* What follows a _PORT_: 80_TCP, or that and _PROTO, _PORT or _ADDR. */
static bool
is_of_port(const char *name, const char *value)
{
	size_t digits = strspn(name, DIGITS), i, n;
	char port[6];

	if (digits == 0 || digits >= sizeof port || name[digits] != '_')
		return false;
	memcpy(port, name, digits);
	port[digits] = '\0';
	name += digits + 1;
	for (i = 0; i < PROTOCOLS; i++) {
		n = strlen(protocols[i][0]);
		if (strncmp(name, protocols[i][0], n) == 0)
			break;
	}
	if (i == PROTOCOLS)
		return false;
	name += n;
	if (*name == '\0')
		return is_url(value, protocols[i][1], port);
	if (strcmp(name, "_PROTO") == 0)
		return strcmp(value, protocols[i][1]) == 0;
	if (strcmp(name, "_PORT") == 0)
		return is_port(port) && strcmp(value, port) == 0;
	return strcmp(name, "_ADDR") == 0 && is_address(value, strlen(value));
}

/* What follows the Service's name. */
static bool
is_of_service(const char *name, const char *value)
{
	if (strcmp(name, "_SERVICE_HOST") == 0)
		return is_address(value, strlen(value));
	if (strcmp(name, "_SERVICE_PORT") == 0)
		return is_port(value);
	if (strncmp(name, "_SERVICE_PORT_", 14) == 0)
		return name[14] != '\0' && is_port(value);
	if (strcmp(name, "_PORT") == 0)
		return is_any_url(value);
	return strncmp(name, "_PORT_", 6) == 0 && is_of_port(name + 6, value);
}

bool
config_is_injected(const char *name, const char *value)
{
	const char *p;

	if (name[strspn(name, UPPER DIGITS "_")] != '\0')
		return false;
	/* The Service's own name may have a PORT or SERVICE in it. */
	for (p = strchr(name, '_'); p != NULL; p = strchr(p + 1, '_'))
		if (is_of_service(p, value))
			return true;
	return false;
}

/*
 * libpq's own judgement of a conninfo, in words of ours: its messages quote
 * what they are about, and that may be a piece of a password.
 */
#include "data/dsn.h"

#include "base/conninfo.h"
#include "base/mem.h"
#include "data/wire.h"

#include <stdlib.h>
#include <string.h>

static const char why_unknown[] =
    "has an option that libpq doesn't know: a value with a space needs single "
    "quotes, and in a URI %20";
static const char why_elsewhere[] =
    "gets from a service file or a PG... variable of the environment what "
    "can't be a host, a port, or a name";

/* The first fault counts. */
static void
judge(void *arg, const char *key, const char *value)
{
	const char **why = arg;

	if (*why == NULL)
		(void)conninfo_check_option(key, value, why);
}

bool
dsn_check(const char *conninfo, size_t len, const char **why)
{
	char *blanked = conninfo_blanked(conninfo);

	(void)len;
	*why = NULL;
	if (!wire_parse(blanked, judge, why)) {
		*why = why_unknown;
	} else if (*why == NULL) {
		wire_options(blanked, judge, why);
		if (*why != NULL)
			*why = why_elsewhere;
	}
	free(blanked);
	return *why == NULL;
}

struct peer {
	struct buf *user;
	bool away; /* a host that is none of this machine's sockets */
};

static void
look(void *arg, const char *key, const char *value)
{
	struct peer *f = arg;
	const char *host;

	if (strcmp(key, "user") == 0) {
		buf_reset(f->user);
		buf_adds(f->user, value);
	}
	f->away = f->away || (strcmp(key, "hostaddr") == 0 && *value != '\0');
	if (strcmp(key, "host") != 0)
		return;
	for (host = value; *host != '\0'; host += *host == ',') {
		f->away = f->away || (*host != '/' && *host != '@');
		host += strcspn(host, ",");
	}
}

bool
dsn_peer(const char *conninfo, struct buf *user)
{
	struct peer f = { .user = user };

	wire_options(conninfo, look, &f);
	return !f.away && user->len > 0;
}

/*
 * Who has to ask: over a Unix socket Postgres knows which system user that is.
 */
#include "data/peer.h"

#include "data/wire.h"

#include <string.h>

struct found {
	struct buf *user;
	bool away; /* a host that is none of this machine's sockets */
};

static void
look(void *arg, const char *key, const char *value)
{
	struct found *f = arg;
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
peer_user(const char *conninfo, struct buf *user)
{
	struct found f = { .user = user };

	wire_options(conninfo, look, &f);
	return !f.away && user->len > 0;
}

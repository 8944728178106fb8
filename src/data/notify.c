/*
 * The channel postern_apps: a public key is an app that was made, changed or
 * deleted; '*' is all of them. Anyone with a login may notify, so what is
 * neither is nothing.
 */
#include "data/notify.h"

#include "base/hex.h"

#include <string.h>

static void
notified(void *arg, const char *payload)
{
	const struct notify *n = arg;

	if (hex_is_public_key(payload, strlen(payload)))
		n->changed(n->arg, payload);
	else if (strcmp(payload, "*") == 0)
		n->lost(n->arg);
}

static void
renewed(void *arg)
{
	const struct notify *n = arg;

	n->lost(n->arg);
}

void
notify_start(struct notify *n, struct db *db)
{
	n->listener = (struct db_listener){
		.channel = "postern_apps",
		.notified = notified,
		.renewed = renewed,
		.arg = n,
	};
	db_listen(db, &n->listener);
}

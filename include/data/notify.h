#ifndef POSTERN_DATA_NOTIFY_H
#define POSTERN_DATA_NOTIFY_H

#include "data/db.h"

/*
 * Changes of apps, as the triggers on the table tell them on the channel
 * postern_apps, whoever makes them.
 */
struct notify {
	void (*changed)(void *arg, const char *public_key); /* this app */
	void (*lost)(void *arg); /* all apps may have changed */
	void *arg;
	struct db_listener listener; /* made by notify_start */
};

/* Listen from now on; n is the caller's and stays as long as db. */
void notify_start(struct notify *n, struct db *db);

#endif

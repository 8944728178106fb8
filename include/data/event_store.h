#ifndef POSTERN_DATA_EVENT_STORE_H
#define POSTERN_DATA_EVENT_STORE_H

#include "base/date.h"
#include "base/status.h"
#include "data/db.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The audit trail app_events, which triggers write. An event is of an app, of
 * an invite, of both (an app that came by it), or of the trail itself. What
 * isn't there is NULL, or 0.
 */
struct app_event {
	int64_t id;
	int64_t app_id;
	char *public_key;
	char *event;
	char *actor;
	struct date at;
	int64_t invite_id;
	char *login; /* the database's, which no setting can change */
	char *request_id;
	char *remote;     /* the client's address */
	char *old_values; /* JSON objects: of what changed, before and after */
	char *new_values;
};
void app_event_clear(struct app_event *e);

/* At most limit events with id < before of an app (public_key NULL = of all),
 * the newest first. */
struct event_page {
	const char *public_key;
	int64_t before;
	int64_t limit;
};
/* ST_NOT_FOUND if that app never was. *list is an array of *n; the caller
 * clears each and frees the array. */
enum status event_store_list(struct db *db, const struct event_page *page,
    struct app_event **list, size_t *n) MUST_CHECK;

/* The number of the newest event, 0 if there is none: at most as many were
 * written. */
enum status event_store_last_id(struct db *db, int64_t *id) MUST_CHECK;

/* The secret of public_key was opened by actor, for the trail. ST_NOT_FOUND. */
enum status event_store_note_opened(
    struct db *db, const char *actor, const char *public_key) MUST_CHECK;

/*
 * Taking away what is old, which the owner of the tables alone may do. begin
 * finds out what is days old (at least 1); each piece then deletes some, at
 * most 1,000, in a transaction of its own: the first that does writes that
 * down. There is an end to it, whatever is written meanwhile.
 */
struct event_prune {
	struct date before; /* what is older goes; not begun: none */
	int64_t after, last;
	int64_t gone;
	bool more;
};
enum status event_prune_begin(
    struct db *db, int64_t days, struct event_prune *p) MUST_CHECK;
enum status event_prune_piece(
    struct db *db, const char *actor, struct event_prune *p) MUST_CHECK;

#endif

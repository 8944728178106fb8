#ifndef POSTERN_DATA_EVENT_STORE_H
#define POSTERN_DATA_EVENT_STORE_H

#include "base/buf.h"
#include "base/status.h"
#include "data/db.h"
#include <stddef.h>
#include <stdint.h>

/* The audit trail app_events, which triggers write; it is only read here. */
struct app_event {
	int64_t id;
	int64_t app_id;
	char *public_key;
	char *event;
	char *actor;
	char *at; /* RFC 3339 */
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

/* Append an event as a JSON object. */
void event_json(struct buf *b, const struct app_event *e);

#endif

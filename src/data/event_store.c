/*
 * The audit trail, read.
 */
#include "data/event_store.h"

#include "base/json.h"
#include "base/mem.h"
#include "data/sql.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void
app_event_clear(struct app_event *e)
{
	free(e->public_key);
	free(e->event);
	free(e->actor);
	free(e->at);
	memset(e, 0, sizeof *e);
}

static void
take_event(const struct db_result *res, int row, struct app_event *e)
{
	e->id = strtoll(db_text(res, row, 0), NULL, 10);
	e->app_id = strtoll(db_text(res, row, 1), NULL, 10);
	e->public_key = mem_strdup(db_text(res, row, 2));
	e->event = mem_strdup(db_text(res, row, 3));
	e->actor = mem_strdup(db_text(res, row, 4));
	e->at = mem_strdup(db_text(res, row, 5));
}

enum status
event_store_list(struct db *db, const char *public_key, int64_t limit,
    struct app_event **list, size_t *n)
{
	/* By id, which has the index: an app's events are few. */
	static const struct db_stmt page = { "event_list",
		"SELECT * FROM (SELECT id, app_id, public_key, event, actor,"
		" " SQL_TIME("at") " FROM app_events"
				   " WHERE $1::text IS NULL OR app_id IN"
				   " (SELECT app_id FROM app_events WHERE "
				   "public_key = $1)"
				   " ORDER BY id DESC LIMIT $2::bigint) AS e "
				   "ORDER BY id",
		2 };
	char count[24];
	const char *params[] = { public_key, count };
	struct db_result *res = NULL;
	enum status st;
	size_t i;

	snprintf(count, sizeof count, "%" PRId64, limit);
	st = db_query(db, &page, params, &res);
	if (st != ST_OK)
		return st;
	if (public_key != NULL && db_rows(res) == 0) {
		db_result_free(res);
		return ST_NOT_FOUND;
	}
	*n = (size_t)db_rows(res);
	*list = mem_alloc(*n * sizeof **list);
	for (i = 0; i < *n; i++)
		take_event(res, (int)i, &(*list)[i]);
	db_result_free(res);
	return ST_OK;
}

enum status
event_store_last_id(struct db *db, int64_t *id)
{
	static const struct db_stmt last = { "event_last_id",
		"SELECT coalesce(max(id), 0) FROM app_events", 0 };
	struct db_result *res = NULL;
	enum status st;

	st = db_query(db, &last, NULL, &res);
	if (st == ST_OK)
		*id = strtoll(db_text(res, 0, 0), NULL, 10);
	db_result_free(res);
	return st;
}

void
event_json(struct buf *b, const struct app_event *e)
{
	buf_addf(
	    b, "{\"id\":%" PRId64 ",\"app_id\":%" PRId64, e->id, e->app_id);
	json_add_member(b, "public_key", e->public_key);
	json_add_member(b, "event", e->event);
	json_add_member(b, "actor", e->actor);
	json_add_member(b, "at", e->at);
	buf_addc(b, '}');
}

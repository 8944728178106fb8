/*
 * The audit trail, read.
 */
#include "data/event_store.h"

#include "base/json.h"
#include "base/mem.h"
#include "data/sql.h"

#include <inttypes.h>
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

static enum status
ever_was(struct db *db, const char *public_key)
{
	static const struct db_stmt stmt = { "event_any",
		"SELECT FROM app_events WHERE public_key = $1 LIMIT 1", 1 };
	struct db_result *res = NULL;
	enum status st;

	st = sql_query_row(db, &stmt, &public_key, ST_NOT_FOUND, &res);
	db_result_free(res);
	return st;
}

/* clang-format off */
#define EVENTS(which)                                                          \
	"SELECT id, app_id, public_key, event, actor, " SQL_TIME("at")         \
	" FROM app_events WHERE id < $1::bigint" which                         \
	" ORDER BY id DESC LIMIT $2::bigint"
/* clang-format on */

static enum status
query_page(struct db *db, const struct event_page *page, struct db_result **res)
{
	static const struct db_stmt all = { "event_list", EVENTS(""), 2 };
	/* By the app's id: a key that was changed has its events, too. */
	static const struct db_stmt one = { "event_list_app",
		EVENTS(" AND app_id = ANY (ARRAY(SELECT app_id FROM app_events"
		       " WHERE public_key = $3))"),
		3 };
	char before[BUF_DECIMAL], limit[BUF_DECIMAL];
	const char *params[] = { buf_decimal(page->before, before),
		buf_decimal(page->limit, limit), page->public_key };

	return db_query(
	    db, page->public_key != NULL ? &one : &all, params, res);
}

enum status
event_store_list(struct db *db, const struct event_page *page,
    struct app_event **list, size_t *n)
{
	struct db_result *res = NULL;
	enum status st;
	size_t i;

	st = query_page(db, page, &res);
	if (st == ST_OK && page->public_key != NULL && db_rows(res) == 0)
		st = ever_was(db, page->public_key);
	if (st != ST_OK)
		goto out;
	*n = (size_t)db_rows(res);
	*list = mem_alloc(*n * sizeof **list);
	for (i = 0; i < *n; i++)
		take_event(res, (int)i, &(*list)[i]);
out:
	db_result_free(res);
	return st;
}

enum status
event_store_last_id(struct db *db, int64_t *id)
{
	static const struct db_stmt last = { "event_last_id",
		"SELECT coalesce(max(id), 0) FROM app_events", 0 };

	return sql_query_id(db, &last, NULL, id);
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

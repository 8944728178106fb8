/*
 * The audit trail: read, and its oldest rows taken away.
 */
#include "data/event_store.h"

#include "base/mem.h"
#include "data/sql.h"

#include <stdlib.h>
#include <string.h>

void
app_event_clear(struct app_event *e)
{
	free(e->public_key);
	free(e->event);
	free(e->actor);
	free(e->login);
	free(e->request_id);
	free(e->remote);
	free(e->old_values);
	free(e->new_values);
	memset(e, 0, sizeof *e);
}

static void
take_event(const struct db_result *res, int row, struct app_event *e)
{
	e->id = sql_number(res, row, 0);
	e->app_id = sql_number(res, row, 1);
	e->public_key = sql_take(res, row, 2);
	e->event = mem_strdup(db_text(res, row, 3));
	e->actor = mem_strdup(db_text(res, row, 4));
	e->at = sql_time(res, row, 5);
	e->invite_id = sql_number(res, row, 6);
	e->login = sql_take(res, row, 7);
	e->request_id = sql_take(res, row, 8);
	e->remote = sql_take(res, row, 9);
	e->old_values = sql_take(res, row, 10);
	e->new_values = sql_take(res, row, 11);
}

static enum status
ever_was(struct db *db, const char *public_key)
{
	/* goliauth's apps have none until something is done; and old ones may
	 * have been taken away. */
	static const struct db_stmt stmt = { "event_any",
		"SELECT FROM apps WHERE public_key = $1 UNION ALL"
		" SELECT FROM app_events WHERE public_key = $1 LIMIT 1",
		1 };
	struct db_result *res = NULL;
	enum status st;

	st = sql_query_row(db, &stmt, &public_key, ST_NOT_FOUND, &res);
	db_result_free(res);
	return st;
}

/* The columns that take_event reads, in its order. */
#define COLUMNS                                                                \
	"id, app_id, public_key, event, actor, extract(epoch FROM at),"        \
	" invite_id, login, request_id, remote, old_values, new_values"

static enum status
query_page(struct db *db, const struct event_page *page, struct db_result **res)
{
	static const struct db_stmt all = { "event_list",
		"SELECT " COLUMNS " FROM app_events WHERE id < $1::bigint"
		" ORDER BY id DESC LIMIT $2::bigint",
		2 };
	/* By the app's id: a key that was changed has its events, too. */
	static const struct db_stmt one = { "event_list_app",
		"SELECT " COLUMNS " FROM app_events WHERE id < $1::bigint"
		" AND app_id = ANY (ARRAY(SELECT app_id FROM app_events"
		" WHERE public_key = $3 UNION"
		" SELECT id FROM apps WHERE public_key = $3))"
		" ORDER BY id DESC LIMIT $2::bigint",
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

enum status
event_store_note_opened(
    struct db *db, const char *actor, const char *public_key)
{
	static const struct db_stmt note = { "event_note_opened",
		"SELECT postern_note_opened($1)", 1 };
	struct db_result *res = NULL;
	enum status st = sql_transact_row(db, actor, &note, &public_key, &res);

	if (st == ST_OK && db_text(res, 0, 0)[0] != 't')
		st = ST_NOT_FOUND;
	db_result_free(res);
	return st;
}

enum status
event_prune_begin(struct db *db, int64_t days, struct event_prune *p)
{
	static const struct db_stmt begin = { "event_prune_begin",
		"SELECT extract(epoch FROM now()"
		" - make_interval(days => $1::int)), coalesce(max(id), 0)"
		" FROM app_events",
		1 };
	char text[BUF_DECIMAL];
	const char *params[] = { buf_decimal(days, text) };
	struct db_result *res = NULL;
	enum status st;

	st = db_query(db, &begin, params, &res);
	if (st == ST_OK) {
		*p = (struct event_prune){ .before = sql_time(res, 0, 0),
			.last = sql_number(res, 0, 1) };
		p->more = p->last > 0;
	}
	db_result_free(res);
	return st;
}

/* In order of id, from where the piece before ended: what it left dead isn't
 * walked through again, and what it has to look at is bounded. */
static enum status
take_piece(struct db *db, const struct event_prune *p, struct db_result **res)
{
	static const struct db_stmt take = { "event_prune",
		"WITH page AS MATERIALIZED (SELECT id, at"
		" FROM app_events WHERE id > $1::bigint AND id <= $2::bigint"
		" ORDER BY id LIMIT 1000), gone AS (DELETE FROM app_events"
		" WHERE id IN (SELECT id FROM page"
		" WHERE at < $3::timestamptz) RETURNING id)"
		" SELECT coalesce((SELECT max(id) FROM page), $2::bigint),"
		" (SELECT count(*) FROM gone)",
		3 };
	char after[BUF_DECIMAL], last[BUF_DECIMAL], before[DATE_SIZE];
	const char *params[] = { buf_decimal(p->after, after),
		buf_decimal(p->last, last), date_text(&p->before, before) };

	return db_query(db, &take, params, res);
}

/* That the trail's beginning is gone stands in the trail. */
static enum status
note_pruned(struct db *db, const struct event_prune *p)
{
	static const struct db_stmt note = { "event_note_pruned",
		"SELECT postern_audit_write(current_schema(), NULL, '{NULL}',"
		" NULL, '{pruned}', NULL,"
		" jsonb_build_object('before', $1::text))",
		1 };
	char before[DATE_SIZE];
	const char *params[] = { date_text(&p->before, before) };
	struct db_result *res = NULL;
	enum status st;

	st = db_query(db, &note, params, &res);
	db_result_free(res);
	return st;
}

struct piece {
	const struct event_prune *p;
	int64_t after, gone; /* by the last try */
};

static enum status
prune_piece(struct db *db, void *arg)
{
	struct piece *piece = arg;
	struct db_result *res = NULL;
	enum status st = sql_name_event(db, "pruned");

	if (st == ST_OK)
		st = take_piece(db, piece->p, &res);
	if (st != ST_OK)
		return st;
	piece->after = sql_number(res, 0, 0);
	piece->gone = sql_number(res, 0, 1);
	db_result_free(res);
	if (piece->gone > 0 && piece->p->gone == 0)
		st = note_pruned(db, piece->p);
	return st;
}

enum status
event_prune_piece(struct db *db, const char *actor, struct event_prune *p)
{
	struct piece piece = { .p = p };
	enum status st = db_transact(db, actor, prune_piece, &piece);

	if (st != ST_OK)
		return st;
	p->after = piece.after;
	p->gone += piece.gone;
	p->more = p->after < p->last;
	return ST_OK;
}

/*
 * The audit trail: read, and its oldest rows taken away.
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
	e->id = strtoll(db_text(res, row, 0), NULL, 10);
	e->app_id = strtoll(db_text(res, row, 1), NULL, 10);
	e->public_key = sql_take(res, row, 2);
	e->event = mem_strdup(db_text(res, row, 3));
	e->actor = mem_strdup(db_text(res, row, 4));
	e->at = mem_strdup(db_text(res, row, 5));
	e->invite_id = strtoll(db_text(res, row, 6), NULL, 10);
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

/* clang-format off */
#define EVENTS(which)                                                          \
	"SELECT id, app_id, public_key, event, actor, " SQL_TIME("at")         \
	", invite_id, login, request_id, remote, old_values, new_values"       \
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
		       " WHERE public_key = $3 UNION"
		       " SELECT id FROM apps WHERE public_key = $3))"),
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

void
event_prune_clear(struct event_prune *p)
{
	free(p->before);
	memset(p, 0, sizeof *p);
}

enum status
event_prune_begin(struct db *db, int64_t days, struct event_prune *p)
{
	/* clang-format off */
	static const struct db_stmt begin = { "event_prune_begin",
		"SELECT " SQL_TIME("now() - make_interval(days => $1::int)")
		", coalesce(max(id), 0) FROM app_events",
		1 };
	/* clang-format on */
	char text[BUF_DECIMAL];
	const char *params[] = { buf_decimal(days, text) };
	struct db_result *res = NULL;
	enum status st;

	st = db_query(db, &begin, params, &res);
	if (st == ST_OK) {
		event_prune_clear(p);
		p->before = mem_strdup(db_text(res, 0, 0));
		p->last = strtoll(db_text(res, 0, 1), NULL, 10);
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
	char after[BUF_DECIMAL], last[BUF_DECIMAL];
	const char *params[] = { buf_decimal(p->after, after),
		buf_decimal(p->last, last), p->before };

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
	struct db_result *res = NULL;
	enum status st;

	st = db_query(db, &note, (const char *const *)&p->before, &res);
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
	piece->after = strtoll(db_text(res, 0, 0), NULL, 10);
	piece->gone = strtoll(db_text(res, 0, 1), NULL, 10);
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

/* Null where there is none. */
static void
add_id(struct buf *b, const char *name, int64_t id)
{
	if (id != 0)
		buf_addf(b, ",\"%s\":%" PRId64, name, id);
	else
		buf_addf(b, ",\"%s\":null", name);
}

void
event_json(struct buf *b, const struct app_event *e)
{
	buf_addf(b, "{\"id\":%" PRId64, e->id);
	add_id(b, "app_id", e->app_id);
	json_add_member(b, "public_key", e->public_key);
	json_add_member(b, "event", e->event);
	json_add_member(b, "actor", e->actor);
	json_add_member(b, "at", e->at);
	add_id(b, "invite_id", e->invite_id);
	json_add_member(b, "login", e->login);
	json_add_member(b, "request_id", e->request_id);
	json_add_member(b, "remote", e->remote);
	buf_addf(b, ",\"old\":%s", e->old_values ? e->old_values : "null");
	buf_addf(b, ",\"new\":%s}", e->new_values ? e->new_values : "null");
}

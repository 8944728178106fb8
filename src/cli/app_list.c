/*
 * postern app list and postern app events: tables for people, or JSON.
 */
#include "base/clock.h"
#include "base/seal.h"
#include "cli/app.h"
#include "data/event_store.h"
#include "http/resource_json.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>

enum { PAGE = 100, EVENTS_DEFAULT = 1000 };

static const char *
app_state(const struct app *a)
{
	if (a->disabled_at.there)
		return "disabled";
	if (date_seconds(&a->expires_at, INFINITY) <= clock_wall())
		return "expired";
	return "active";
}

/* An own key's algorithm, or that it is none. */
static const char *
app_key(const struct app *a)
{
	struct seal_label label;

	if (!seal_read_label(a->sealed, &label))
		return "?";
	return label.own ? public_key_alg_told(label.alg) : "secret";
}

/* To the second; JSON has the rest. */
static void
add_line(struct buf *out, const struct app *a)
{
	char created[DATE_SIZE];

	buf_addf(out, "%8" PRId64 "  %-8s  %.19sZ  %-7s  %-64s  ", a->id,
	    app_state(a), date_text(&a->created_at, created), app_key(a),
	    a->public_key);
	cli_add_text(out, a->name);
	buf_addc(out, '\n');
}

/* One page: n of at most limit apps behind *after, which moves on. */
static enum status
add_page(const struct app_call *k, struct buf *out, int limit, int64_t *after,
    size_t *n)
{
	const struct app_page page = { *after, limit, k->search };
	struct app *list = NULL;
	enum status st;
	size_t i;

	st = app_store_list(k->db, &page, &list, n);
	if (st != ST_OK)
		return st;
	for (i = 0; i < *n; i++) {
		if (k->json)
			resource_json_add_app(out, &list[i], &k->cfg);
		else
			add_line(out, &list[i]);
		if (k->json && i + 1 < *n)
			buf_addc(out, ',');
		*after = list[i].id;
		app_clear(&list[i]);
	}
	free(list);
	return ST_OK;
}

/* Print pages until there are no more or limit is reached; *next is the id to
 * go on behind, 0 if nothing is left. */
static int
print_pages(struct app_call *k, int64_t *next)
{
	int64_t after = k->after, last, left = k->limit;
	struct buf page = { 0 }, out = { 0 };
	enum status st;
	size_t n = 0;
	int rc = CLI_OK;

	*next = 0;
	do {
		last = after;
		/* At the limit one more tells whether something is left. */
		st = add_page(
		    k, &page, left == 0 ? 1 : (int)MIN(left, PAGE), &after, &n);
		if (st == ST_OK && n > 0 && left == 0)
			*next = last;
		else if (st == ST_OK && n > 0) {
			if (k->json && last != k->after)
				buf_addc(&out, ',');
			buf_add(&out, page.data, page.len);
			rc = cli_write(&out);
		}
		buf_free(&page);
		left -= (int64_t)n;
		k->printed += n;
	} while (st == ST_OK && rc == CLI_OK && n > 0 && *next == 0);
	return st == ST_OK ? rc : cli_status(k->db, st, NULL);
}

int
app_list(struct app_call *k, struct app *a)
{
	struct buf out = { 0 };
	int64_t next;
	int rc;

	(void)a;
	if (k->json)
		buf_adds(&out, "{\"apps\":[");
	else
		buf_addf(&out, "%8s  %-8s  %-20s  %-7s  %-64s  %s\n", "ID",
		    "STATE", "CREATED", "KEY", "PUBLIC KEY", "NAME");
	rc = cli_write(&out);
	if (rc == CLI_OK)
		rc = print_pages(k, &next);
	if (rc != CLI_OK)
		return rc;
	if (k->json && next > 0)
		buf_addf(&out, "],\"next\":%" PRId64 "}\n", next);
	else if (k->json)
		buf_adds(&out, "],\"next\":null}\n");
	else if (next > 0)
		cli_note("There are more: --after %" PRId64, next);
	else if (k->printed == 0 && k->search == NULL && k->after == 0)
		cli_note("No apps yet: 'postern app create NAME' registers "
			 "one.");
	return cli_write(&out);
}

/* To the second; JSON has the rest. */
static void
add_event_line(struct buf *out, const struct app_event *e, bool of_all)
{
	char at[DATE_SIZE];

	buf_addf(out, "%8" PRId64 "  %.19sZ  %-14s  ", e->id,
	    date_text(&e->at, at), e->event);
	if (of_all && e->public_key == NULL && e->invite_id != 0)
		buf_addf(out, "invite %-57" PRId64 "  ", e->invite_id);
	else if (of_all)
		buf_addf(out, "%-64s  ", e->public_key ? e->public_key : "");
	cli_add_text(out, e->actor);
	buf_addc(out, '\n');
}

/* The oldest first, as one reads. */
static void
add_events(const struct app_call *k, struct buf *out,
    const struct app_event *list, size_t n)
{
	bool of_all = k->operand == NULL;
	size_t i;

	if (k->json)
		buf_adds(out, "{\"events\":[");
	else
		buf_addf(out, "%8s  %-20s  %-14s  %-*s%sACTOR\n", "ID", "AT",
		    "EVENT", of_all ? 64 : 0, of_all ? "PUBLIC KEY" : "",
		    of_all ? "  " : "");
	for (i = n; i-- > 0;) {
		if (k->json)
			resource_json_add_event(out, &list[i]);
		else
			add_event_line(out, &list[i], of_all);
		if (k->json && i > 0)
			buf_addc(out, ',');
	}
	if (k->json)
		buf_adds(out, "]}\n");
}

/* The trail of one app, or of all: of the newest, the oldest first. */
int
app_events(struct app_call *k, struct app *a)
{
	int64_t limit = k->limit < INT64_MAX ? k->limit : EVENTS_DEFAULT;
	/* One more tells whether something is left out: the oldest. */
	const struct event_page page = { k->operand, INT64_MAX, limit + 1 };
	struct app_event *list = NULL;
	struct buf out = { 0 };
	enum status st;
	size_t i, n = 0;

	(void)a;
	st = event_store_list(k->db, &page, &list, &n);
	if (st != ST_OK)
		return cli_status(k->db, st, k->operand);
	add_events(k, &out, list, MIN(n, (size_t)limit));
	for (i = 0; i < n; i++)
		app_event_clear(&list[i]);
	free(list);
	if (n > (size_t)limit)
		cli_note("There are older ones: --limit N shows the newest N");
	return cli_write(&out);
}

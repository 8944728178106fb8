/*
 * From a session to one that counts as up: what it is told and asked.
 *
 * A pooler that gives each transaction another server connection answers
 * LISTEN with OK, and then nothing ever arrives. A notification to oneself is
 * proof enough on a direct connection. Through a pooler (told by a backend that
 * has another process id than libpq was told) it has to come while we are idle:
 * another connection, the prover, sends it.
 */
#include "data/profile.h"

#include "base/clock.h"
#include "base/crypto.h"
#include "base/hex.h"
#include "data/fate.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>

static const char proof[] = "proof ";

enum { ABANDONED_MS = 3000, NOTIFY_MS = 4500 };
enum { REVIEW_MS = 60000, DOUBT_MS = 2000, REVIEW_LOCK_MS = 100 };

/* Of a process: two servers, or two processes one after the other, have not
 * both the same id and the same time. */
#define STARTED "(extract(epoch FROM backend_start) * 1000000)::bigint"

static const struct verdict good = { NULL, NULL };
static const struct verdict failed = { "unreachable", NULL };

/*
 * A statement that takes too long is ended by the server, a little before our
 * own patience is over, and alone. A role may have a time-out that is shorter
 * than what follows takes.
 */
void
profile_ask_times(struct setup *s, struct buf *sql)
{
	int64_t ms = s->profile->query_timeout_ms;

	buf_addf(sql,
	    "SET statement_timeout = %" PRId64 ";"
	    "SET lock_timeout = %" PRId64 ";"
	    "SET default_transaction_isolation = 'read committed'",
	    ms * 9 / 10, ms * 3 / 4);
}

/*
 * What this program relies on, as Postgres has it by default: a role or a
 * database can carry another. Some of these are not in every version. What is
 * left alone: search_path, which is how a schema is chosen, role,
 * default_transaction_read_only and session_replication_role, which are judged,
 * and whatever changes no answer. A commit counts when it is on disk, and with
 * the standby where there is one; more than that may be asked for.
 */
void
profile_ask_settings(struct setup *s, struct buf *sql)
{
	(void)s;
	buf_adds(sql,
	    "SELECT count(set_config(name, value, false)) FROM (VALUES"
	    " ('array_nulls', 'on'),"
	    " ('backslash_quote', 'safe_encoding'),"
	    " ('bytea_output', 'hex'),"
	    " ('check_function_bodies', 'on'),"
	    " ('client_min_messages', 'warning'),"
	    " ('DateStyle', 'ISO, MDY'),"
	    " ('default_transaction_deferrable', 'off'),"
	    " ('escape_string_warning', 'off'),"
	    " ('exit_on_error', 'off'),"
	    " ('extra_float_digits', '1'),"
	    " ('gin_fuzzy_search_limit', '0'),"
	    " ('idle_in_transaction_session_timeout', '10000'),"
	    " ('idle_session_timeout', '0'),"
	    " ('IntervalStyle', 'postgres'),"
	    " ('jit', 'off'),"
	    " ('lc_monetary', 'C'), ('lc_numeric', 'C'), ('lc_time', 'C'),"
	    " ('plan_cache_mode', 'auto'),"
	    " ('plpgsql.extra_errors', 'none'),"
	    " ('plpgsql.extra_warnings', 'none'),"
	    " ('quote_all_identifiers', 'off'),"
	    " ('restrict_nonsystem_relation_kind', ''),"
	    " ('row_security', 'on'),"
	    " ('standard_conforming_strings', 'on'),"
	    " ('synchronous_commit', CASE WHEN"
	    " current_setting('synchronous_commit') = 'remote_apply'"
	    " THEN 'remote_apply' ELSE 'on' END),"
	    " ('TimeZone', 'UTC'),"
	    " ('transaction_timeout', '0'),"
	    " ('transform_null_equals', 'off'),"
	    " ('xmloption', 'content')"
	    ") AS s (name, value)"
	    " WHERE current_setting(name, true) IS NOT NULL");
}

struct verdict
profile_judge_command(struct setup *s, const struct pg_result *res)
{
	(void)s;
	return wire_is_command(res) ? good : failed;
}

struct verdict
profile_judge_rows(struct setup *s, const struct pg_result *res)
{
	(void)s;
	return wire_is_rows(res) ? good : failed;
}

/*
 * A commit that waits for a synchronous standby is under no time-out of the
 * server, even when we have gone; it holds the one lock of all that notify, our
 * proof too. We end our own (profile_ask_cancel); those whose process is gone
 * are ended by the next one that connects.
 */
void
profile_ask_server(struct setup *s, struct buf *sql)
{
	buf_addf(sql,
	    "SELECT pg_backend_pid(), (SELECT " STARTED " FROM pg_stat_activity"
	    " WHERE pid = pg_backend_pid()),"
	    " host(inet_server_addr()), (SELECT "
	    "count(pg_terminate_backend(pid))"
	    " FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
	    " AND usename = session_user"
	    " AND application_name = current_setting('application_name')"
	    " AND query_start + interval '%" PRId64 " ms' <"
	    " clock_timestamp())",
	    s->profile->query_timeout_ms + ABANDONED_MS);
}

struct verdict
profile_judge_server(struct setup *s, const struct pg_result *res)
{
	if (!wire_is_rows(res))
		return failed;
	s->pid = atoi(wire_text(res, 0, 0));
	s->started_us = strtoll(wire_text(res, 0, 1), NULL, 10);
	snprintf(s->address, sizeof s->address, "%s", wire_text(res, 0, 2));
	return good;
}

/* A standby has none to tell yet, and errs when it is asked. */
#define TIMELINE                                                               \
	"CASE WHEN NOT pg_is_in_recovery() THEN"                               \
	" (SELECT system_identifier FROM pg_control_system()) END,"            \
	" CASE WHEN NOT pg_is_in_recovery() THEN"                              \
	" ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))"             \
	"::bit(32)::bigint END"

void
profile_ask_timeline(struct setup *s, struct buf *sql)
{
	(void)s;
	buf_adds(sql, "SELECT " TIMELINE);
}

/* In two columns, from this one on. */
static struct verdict
take_timeline(struct setup *s, const struct pg_result *res, int col)
{
	s->timeline.cluster = strtoull(wire_text(res, 0, col), NULL, 10);
	s->timeline.number = strtoll(wire_text(res, 0, col + 1), NULL, 10);
	timeline_note(&s->timeline);
	return profile_judge_replaced(s);
}

/* Managed services, and engines that speak the protocol alone, refuse it in
 * many ways, whatever they mean elsewhere. What any question may meet with at
 * times is no refusal: asked anew it has an answer. */
struct verdict
profile_judge_timeline(struct setup *s, const struct pg_result *res)
{
	enum fate fate;

	if (wire_is_rows(res))
		return take_timeline(s, res, 0);
	(void)!fate_of(res, &fate);
	switch (fate) {
	case FATE_ENDED:
	case FATE_LOCKED:
	case FATE_RETRY:
	case FATE_LOSE:
		return failed;
	default:
		return good;
	}
}

struct verdict
profile_judge_replaced(const struct setup *s)
{
	static const struct verdict replaced = { "old_timeline",
		"another server of its cluster was promoted and has a higher "
		"timeline: this one must not take writes any more" };

	return s->profile->min_schema > 0 && timeline_is_behind(&s->timeline)
		   ? replaced
		   : good;
}

bool
profile_wants_facts(const struct setup *s)
{
	return s->profile->min_schema > 0;
}

/* All in one transaction; the last one goes without what the others find
 * missing. Who has a table whole is waited for no
 * longer than a request behind this can bear. */
void
profile_ask_facts(struct setup *s, struct buf *sql)
{
	buf_reset(s->faults);
	s->found = NULL;
	s->reviewed_us = clock_mono_us();
	s->review_us = s->reviewed_us + REVIEW_MS * INT64_C(1000);
	buf_addf(sql, "SET LOCAL lock_timeout = %d; %s; ", REVIEW_LOCK_MS,
	    requirements_setup.sql);
	buf_addf(sql,
	    "SELECT f.state, '' FROM (SELECT " PROFILE_SCHEMA
	    " FROM postern_migrations AS m) AS v (version, serves_from),"
	    " LATERAL (VALUES ('schema_outdated', version < %d),"
	    " ('schema_newer', serves_from > %d)) AS f (state, so)"
	    " WHERE f.so; ",
	    s->profile->min_schema, s->profile->min_schema);
	buf_adds(sql, requirements_numbers.sql);
}

static void
note_fault(struct setup *s, const struct fact *f, const char *what)
{
	if (s->faults->len > 0)
		buf_adds(s->faults, "; ");
	requirements_add(s->faults, f, what);
	if (s->found == NULL || f < s->found)
		s->found = f;
}

/* The question has failed. A fault that was found before may be why; that
 * somebody has a lock says nothing, and leaves what was known. */
static void
note_failure(struct setup *s, const struct pg_result *res)
{
	const char *code = wire_sqlstate(res);

	if (s->found != NULL)
		return;
	if (strcmp(code, "55P03") == 0 || strcmp(code, "57014") == 0) {
		s->found = s->unready;
		profile_doubt(s);
	} else {
		note_fault(s, requirements_find("unproved"), wire_message(res));
	}
}

struct verdict
profile_judge_facts(struct setup *s, const struct pg_result *res)
{
	const struct fact *f;
	int i;

	if (!wire_is_command(res) && !wire_is_rows(res)) {
		if (*wire_sqlstate(res) == '\0' || wire_is_fatal(res))
			return failed;
		note_failure(s, res);
		return good;
	}
	for (i = 0; i < wire_rows(res); i++) {
		f = requirements_find(wire_text(res, i, 0));
		if (f != NULL)
			note_fault(s, f, wire_text(res, i, 1));
	}
	if (s->found == NULL || !s->found->fatal || s->settled)
		return good;
	return (struct verdict){ s->found->state, buf_str(s->faults) };
}

bool
profile_conclude(struct setup *s)
{
	bool news = s->found != s->unready;

	s->settled = true;
	s->unready = s->found;
	return news;
}

bool
profile_wants_review(const struct setup *s)
{
	return profile_wants_facts(s) && clock_mono_us() >= s->review_us;
}

void
profile_doubt(struct setup *s)
{
	s->review_us =
	    MIN(s->review_us, s->reviewed_us + DOUBT_MS * INT64_C(1000));
}

bool
profile_wants_news(const struct setup *s)
{
	return s->profile->listener != NULL;
}

void
profile_ask_listen(struct setup *s, struct buf *sql)
{
	buf_addf(sql, "LISTEN %s", s->profile->listener->channel);
}

/* Whoever notifies waits for the commit of whoever notified before: longer than
 * those that have another to wait for them. */
void
profile_ask_notify(struct setup *s, struct buf *sql)
{
	unsigned char raw[SETUP_NONCE];

	s->proved = false;
	crypto_random(raw, sizeof raw);
	hex_encode(raw, sizeof raw, s->nonce);
	buf_addf(sql,
	    "SELECT pg_backend_pid(), set_config('lock_timeout', '%d', true),"
	    " pg_notify('%s', '%s%s')",
	    NOTIFY_MS, s->profile->listener->channel, proof, s->nonce);
}

struct verdict
profile_judge_notify(struct setup *s, const struct pg_result *res)
{
	if (!wire_is_rows(res))
		return failed;
	s->pooled = atoi(wire_text(res, 0, 0)) != s->backend;
	return good;
}

void
profile_take_note(void *arg, const char *payload)
{
	const size_t n = sizeof proof - 1;
	struct setup *s = arg;
	const struct db_listener *to = s->profile->listener;

	if (strncmp(payload, proof, n) == 0)
		s->proved |= strcmp(payload + n, s->nonce) == 0;
	else if (strcmp(payload, "schema") == 0)
		s->asked = true;
	else if (to != NULL)
		to->notified(to->arg, payload);
}

bool
profile_wants_prover(const struct setup *s)
{
	return profile_wants_news(s) && s->pooled;
}

void
profile_ask_cancel(struct setup *s, struct buf *sql)
{
	buf_addf(sql,
	    "SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity"
	    " WHERE pid = %d AND wait_event = 'SyncRep' AND " STARTED
	    " = %" PRId64,
	    s->pid, s->started_us);
}

/* The timeline, where it was told before: an error would end the session, and
 * the next one does without. */
void
profile_ask_beat(struct setup *s, struct buf *sql)
{
	buf_adds(sql, "SELECT pg_is_in_recovery() OR "
		      "current_setting('transaction_read_only')::bool, ");
	buf_adds(sql, s->timeline.number > 0 ? TIMELINE : "NULL, NULL");
	if (profile_wants_facts(s))
		buf_adds(
		    sql, ", " PROFILE_SCHEMA " FROM postern_migrations AS m");
}

/* A server that can't write any more still answers: it is none of ours any
 * more. */
struct verdict
profile_judge_beat(struct setup *s, const struct pg_result *res)
{
	const struct fact *newer = requirements_find("schema_newer");

	if (!wire_is_rows(res) || wire_text(res, 0, 0)[0] != 'f')
		return (
		    struct verdict){ "unreachable", "the heartbeat failed" };
	if (profile_wants_facts(s) &&
	    atoi(wire_text(res, 0, 4)) > s->profile->min_schema)
		return (struct verdict){ newer->state, newer->fault };
	return s->timeline.number > 0 ? take_timeline(s, res, 1) : good;
}

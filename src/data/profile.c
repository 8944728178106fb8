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

#include "base/crypto.h"
#include "base/hex.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const char proof[] = "proof ";

static const struct verdict good = { NULL, NULL };
static const struct verdict failed = { "unreachable", NULL };

/*
 * A commit that waits for a synchronous standby is under no time-out of the
 * server, even when we have gone; it holds the one lock of all that notify, our
 * proof too. So those that we must have given up are ended, and waits for that
 * lock, which no statement_timeout covers either, end before our patience.
 */
void
profile_ask_settings(struct setup *s, struct buf *sql)
{
	int64_t ms = s->profile->query_timeout_ms;

	buf_addf(sql,
	    "SET statement_timeout = %" PRId64 ";"
	    "SET lock_timeout = %" PRId64 ";"
	    "SET idle_in_transaction_session_timeout = 10000;"
	    "SET TimeZone = 'UTC';"
	    "SET client_min_messages = warning;"
	    "SELECT (pg_is_in_recovery() OR "
	    "current_setting('transaction_read_only')::bool)::int,"
	    " (to_regclass('postern_migrations') IS NOT NULL)::int,"
	    " (SELECT count(pg_terminate_backend(pid))"
	    " FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
	    " AND usename = current_user"
	    " AND application_name = current_setting('application_name')"
	    " AND query_start + interval '%" PRId64 " ms' <"
	    " clock_timestamp())",
	    ms, ms * 3 / 4, ms);
}

struct verdict
profile_judge_settings(struct setup *s, const struct pg_result *res)
{
	if (wire_is_command(res))
		return good; /* of a SET */
	if (!wire_is_rows(res))
		return failed;
	if (s->profile->min_schema == 0)
		return good;
	if (wire_text(res, 0, 0)[0] != '0')
		return (
		    struct verdict){ "read_only", "the server can't write" };
	if (wire_text(res, 0, 1)[0] != '1')
		return (
		    struct verdict){ "schema_missing", "run: postern migrate" };
	return good;
}

bool
profile_wants_schema(const struct setup *s)
{
	return s->profile->min_schema > 0;
}

void
profile_ask_schema(struct setup *s, struct buf *sql)
{
	(void)s;
	buf_adds(
	    sql, "SELECT coalesce(max(version), 0) FROM postern_migrations");
}

struct verdict
profile_judge_schema(struct setup *s, const struct pg_result *res)
{
	if (!wire_is_rows(res))
		return failed;
	if (atoi(wire_text(res, 0, 0)) < s->profile->min_schema)
		return (struct verdict){ "schema_outdated",
			"run: postern migrate" };
	return good;
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

struct verdict
profile_judge_listen(struct setup *s, const struct pg_result *res)
{
	(void)s;
	return wire_is_command(res) ? good : failed;
}

void
profile_ask_notify(struct setup *s, struct buf *sql)
{
	unsigned char raw[SETUP_NONCE];

	crypto_random(raw, sizeof raw);
	hex_encode(raw, sizeof raw, s->nonce);
	buf_addf(sql, "SELECT pg_backend_pid(), pg_notify('%s', '%s%s')",
	    s->profile->listener->channel, proof, s->nonce);
}

struct verdict
profile_judge_notify(struct setup *s, const struct pg_result *res)
{
	if (!wire_is_rows(res))
		return failed;
	s->pooled = atoi(wire_text(res, 0, 0)) != s->backend;
	return good;
}

bool
profile_is_proof(const struct setup *s, const char *payload, bool *mine)
{
	const size_t n = sizeof proof - 1;

	if (strncmp(payload, proof, n) != 0)
		return false;
	*mine = *mine || strcmp(payload + n, s->nonce) == 0;
	return true;
}

bool
profile_wants_prover(const struct setup *s)
{
	return profile_wants_news(s) && s->pooled;
}

struct verdict
profile_judge_prover(struct setup *s, const struct pg_result *res)
{
	(void)s;
	return wire_is_rows(res) ? good : failed;
}

void
profile_ask_beat(struct setup *s, struct buf *sql)
{
	(void)s;
	buf_adds(sql, "SELECT pg_is_in_recovery() OR "
		      "current_setting('transaction_read_only')::bool");
}

/* A server that can't write any more still answers: it is none of ours any
 * more. */
struct verdict
profile_judge_beat(struct setup *s, const struct pg_result *res)
{
	(void)s;
	if (!wire_is_rows(res) || wire_text(res, 0, 0)[0] != 'f')
		return (
		    struct verdict){ "unreachable", "the heartbeat failed" };
	return good;
}

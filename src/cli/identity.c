/*
 * Who the tool is to Postgres: over its Unix socket one system user for each
 * role, where nobody has told it otherwise.
 */
#include "cli/identity.h"

#include "base/clock.h"
#include "cli/cli.h"
#include "data/dsn.h"

#include <grp.h>
#include <pwd.h>
#include <string.h>
#include <unistd.h>

enum { CONNECT_TIMEOUT_MS = 10000, CONNECT_SLICE_MS = 50 };

static uid_t caller;
static bool left_root;

uid_t
identity_caller(void)
{
	return left_root ? caller : getuid();
}

/* The user that the database's role is the name of: only for root, and only
 * where there is one that isn't root. */
static const struct passwd *
other_user(const char *conninfo)
{
	const struct passwd *pw = NULL;
	struct buf name = { 0 };

	if (geteuid() == 0 && dsn_peer(conninfo, &name))
		pw = getpwnam(buf_str(&name));
	buf_free(&name);
	return pw != NULL && pw->pw_uid != 0 ? pw : NULL;
}

/* For the time being. */
static bool
become(const struct passwd *pw)
{
	if (initgroups(pw->pw_name, pw->pw_gid) == 0 &&
	    setegid(pw->pw_gid) == 0 && seteuid(pw->pw_uid) == 0)
		return true;
	return false;
}

static void
return_to_root(void)
{
	if (seteuid(0) != 0 || setegid(0) != 0 || setgroups(0, NULL) != 0)
		_exit(CLI_FAILURE); /* neither the one nor the other */
}

/* For good: nothing from here on needs root. */
static void
stay(const struct passwd *pw)
{
	uid_t was = getuid();

	if (seteuid(0) != 0 ||
	    setresgid(pw->pw_gid, pw->pw_gid, pw->pw_gid) != 0 ||
	    setresuid(pw->pw_uid, pw->pw_uid, pw->pw_uid) != 0)
		_exit(CLI_FAILURE);
	caller = was;
	left_root = true;
}

/* At most some seconds, and no longer than until the first answer. */
static bool
wait_for(struct db *db)
{
	int64_t end = clock_mono_us() + CONNECT_TIMEOUT_MS * INT64_C(1000);

	/* A server keeps trying; a tool's user wants to know what is wrong. */
	while (!db_wait(db, CONNECT_SLICE_MS))
		if (db_in_vain(db) || clock_mono_us() >= end)
			return false;
	return true;
}

struct db *
identity_connect(const struct config *cfg, int min_schema)
{
	const char *url = cfg->database_url.data;
	const struct passwd *pw = other_user(url);
	struct db *db, *as_root;

	if (pw == NULL || !become(pw)) {
		db = db_new(url, cfg->query_timeout_ms, min_schema);
		(void)wait_for(db);
		return db;
	}
	db = db_new(url, cfg->query_timeout_ms, min_schema);
	if (wait_for(db)) {
		stay(pw);
		return db;
	}
	/* By a password that only root can read, perhaps. */
	return_to_root();
	as_root = db_new(url, cfg->query_timeout_ms, min_schema);
	if (wait_for(as_root)) {
		db_free(db);
		return as_root;
	}
	db_free(as_root);
	return db;
}

void
identity_advise(struct buf *out, const struct config *cfg, const struct db *db)
{
	const struct passwd *pw = getpwuid(geteuid());
	struct buf name = { 0 };

	/* What isn't there refuses nobody. */
	if (strcmp(db_state(db), "unreachable") != 0 ||
	    strstr(db_error(db), "server running") != NULL ||
	    !dsn_peer(cfg->database_url.data, &name))
		goto out;
	if (getpwnam(buf_str(&name)) == NULL) {
		buf_addf(out,
		    "; there is no system user %s, whom Postgres by default "
		    "wants over its socket for that role: name another role in "
		    "operator.conf beside postern.conf, such as postgres",
		    buf_str(&name));
	} else if (pw == NULL || strcmp(pw->pw_name, buf_str(&name)) != 0) {
		buf_addf(out,
		    "; over its socket Postgres by default takes role %s from "
		    "the system user %s alone: run it as that user, or as root",
		    buf_str(&name), buf_str(&name));
	}
out:
	buf_free(&name);
}

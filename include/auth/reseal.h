#ifndef POSTERN_AUTH_RESEAL_H
#define POSTERN_AUTH_RESEAL_H

#include "base/config.h"
#include "base/seal.h"
#include "base/status.h"
#include "data/db.h"
#include "data/reseal_store.h"
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The way of all rows from former master keys, and from goliauth's format, to
 * the current master key, in batches of one transaction each. At any time a row
 * is either as it was or done, so it may be stopped or killed at any point, and
 * begun again.
 */

/* What became of a secret that isn't under the current master key. */
enum reseal_fate {
	RESEAL_DONE,    /* sealed anew */
	RESEAL_MISSING, /* its master key is not among ours */
	RESEAL_BROKEN,  /* no such text, or not this row's */
	RESEAL_ALTERED, /* goliauth's format, changed since it came here */
	RESEAL_FATES
};

/* Secrets by the master key that they were found under. */
struct reseal_key {
	enum { RESEAL_BY_ID, RESEAL_GOLIAUTH, RESEAL_OTHER } kind;
	char id[SEAL_KEY_ID_LEN + 1]; /* RESEAL_BY_ID */
	int64_t secrets[RESEAL_FATES];
};

/* Ids that are no fingerprint, and those for which there is no room, go
 * together as RESEAL_OTHER. */
enum { RESEAL_KEYS_MAX = 32 };

struct reseal_tally {
	int64_t apps;     /* seen */
	int64_t resealed; /* of them, at least one secret sealed anew */
	int64_t failed;   /* a secret can't be opened */
	int64_t busy;     /* others had it locked, or changed it, each time */
	struct reseal_key keys[RESEAL_KEYS_MAX];
	size_t nkeys;
};

/* The caller sets what stands before tally, all else being 0. */
struct reseal {
	const struct config *cfg;
	struct db *db;
	const char *actor;
	bool dry_run; /* open, and write nothing */
	/* Called for each secret that can't be opened; may be NULL. */
	void (*failed)(void *arg, const struct sealed_row *row,
	    const struct sealed_slot *slot, enum reseal_fate fate);
	void *arg;
	/* Set by a signal: wait for nobody any more. May be NULL. */
	const volatile sig_atomic_t *stopped;
	struct reseal_tally tally;
	int64_t after; /* rows up to this id are dealt with */
	bool begun;
	int64_t waited_ms; /* for rows that were busy */
};

/*
 * One batch. ST_OK with *more telling whether there may be another. Any other
 * status is the database's: what this batch was about is not done, or not
 * known, and all before it is.
 *
 * A row in goliauth's format is brought over whatever POSTERN_GOLIAUTH_ROWS
 * says, for that is how a database of goliauth's becomes one of ours; but only
 * if it was there at the migration and nobody changed its keys or secrets since
 * (apps.keys_as_found, kept by a trigger). Otherwise whoever can write the
 * table could put another app's old ciphertext into a row and have it bound to
 * it; such rows need POSTERN_GOLIAUTH_ROWS=accept.
 */
enum status reseal_step(struct reseal *r, bool *more) MUST_CHECK;

#endif

#ifndef POSTERN_BASE_SEAL_H
#define POSTERN_BASE_SEAL_H

#include "base/buf.h"
#include "base/public_key.h"
#include "base/secret.h"
#include "base/status.h"
#include <stdbool.h>

/*
 * Apps' keys at rest: AES-GCM under the master key. A secret's text is
 * lowercase hex of nonce (12), ciphertext, tag (16); the plaintext is the raw
 * key. Ours bind "postern-v1", the master key's id and the public key as
 * additional data, so a ciphertext moved to another row does not open.
 * goliauth's format is the same without additional data.
 *
 * An app's own key is sealed alike, for nobody who can write to the database is
 * to bring in one of his. Its text is "own.ALG.KID." and the hex, of its DER;
 * ALG, KID and that it is such a key are part of the additional data.
 */

enum { SEAL_KEY_ID_LEN = 16 }; /* hex characters of a master key's id */

struct master_key {
	struct secret key;            /* 16, 24 or 32 raw bytes */
	char id[SEAL_KEY_ID_LEN + 1]; /* fingerprint, safe to show */
};

enum { MASTER_KEYS_OLD_MAX = 8 };

/* Former master keys: they open, and seal nothing. */
struct master_key_list {
	struct master_key key[MASTER_KEYS_OLD_MAX];
	size_t n;
};

/*
 * A master key from hex of 32, 48 or 64 characters, of either case. False, with
 * *why set to a sentence, on another length, a character that is not hex, or a
 * key that is weak or known (all bytes alike, a counting sequence, a sample
 * from a document). The caller clears mk.
 */
bool master_key_init(struct master_key *mk, const char *hex, size_t len,
    const char **why) MUST_CHECK;
void master_key_clear(struct master_key *mk);

/* A sealed text and its place; all borrowed. */
struct sealed {
	const char *public_key;
	const char *key_id; /* the row's master_key_id; NULL = goliauth's */
	const char *text;
};

/* Seal the raw bytes of key for the row of public_key. Appends hex to out. */
void seal_key(const struct master_key *mk, const char *public_key,
    const struct secret *raw, struct buf *out);

/*
 * Open a sealed text. key_id is the row's master_key_id; NULL means goliauth's
 * format (no additional data), which the caller has to have allowed. ST_OK
 * with *raw set; ST_KEY_MISSING if key_id is not mk's; ST_BROKEN on text that
 * is malformed, of a length that is no key's (16 to 64 bytes), or whose tag
 * does not verify. raw must be { 0 }; the caller clears it.
 */
enum status seal_open(const struct master_key *mk, const char *key_id,
    const char *public_key, const char *sealed, struct secret *raw) MUST_CHECK;

/* What a sealed text says of itself; it may be untrue until it is opened. */
struct seal_label {
	bool own; /* an app's own key; else a secret */
	enum public_key_alg alg;
	char kid[PUBLIC_KEY_KID + 1];
};
/* False if it begins as an own key's and is none. */
bool seal_read_label(const char *sealed, struct seal_label *label) MUST_CHECK;

/* Seal own, an app's own key, for the row of public_key. */
void seal_own_key(const struct master_key *mk, const char *public_key,
    const struct public_key *own, struct buf *out);

/* Open what seal_own_key made; as seal_open, but key_id NULL is ST_BROKEN. The
 * caller frees *own. */
enum status seal_open_own_key(const struct master_key *mk, const char *key_id,
    const char *public_key, const char *sealed,
    struct public_key **own) MUST_CHECK;

/* Open: either of the two. */
struct seal_opened {
	struct secret raw;
	struct public_key *own;
};
void seal_opened_clear(struct seal_opened *o); /* accepts { 0 } */

/*
 * Open whichever it is, under whichever of our master keys the row names: the
 * current one, or a former one. What goliauth sealed names none: each is tried,
 * in this order. ST_KEY_MISSING if none is the row's. o must be { 0 }; the
 * caller clears it.
 */
enum status seal_open_any(const struct master_key *current,
    const struct master_key_list *old, const struct sealed *s,
    struct seal_opened *o) MUST_CHECK;

#endif

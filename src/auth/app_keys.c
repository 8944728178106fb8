/*
 * An app's key pair: drawn from the CSPRNG, sealed before it leaves this file,
 * opened again for a request.
 */
#include "auth/app_keys.h"

#include "base/crypto.h"
#include "base/hex.h"
#include "base/log.h"
#include "base/seal.h"

#include <stdlib.h>
#include <string.h>

enum { PUBLIC_KEY_BYTES_MAX = 64 };

/* A fresh secret: raw bytes sealed into *sealed, hex characters into *hex. */
static void
draw_secret(const struct config *cfg, const char *public_key,
    struct buf *sealed, struct secret *hex)
{
	struct secret raw = { 0 };

	secret_new(&raw, (size_t)cfg->key_bytes);
	crypto_random(raw.data, raw.len);
	seal_key(&cfg->master_key, public_key, &raw, sealed);
	secret_new(hex, 2 * raw.len);
	hex_encode((const unsigned char *)raw.data, raw.len, hex->data);
	secret_clear(&raw);
}

enum status
app_keys_create(const struct config *cfg, struct db *db,
    const struct app_new *new, struct app *a, struct secret *secret_hex)
{
	unsigned char raw[PUBLIC_KEY_BYTES_MAX];
	char public_key[2 * PUBLIC_KEY_BYTES_MAX + 1];
	struct buf sealed = { 0 };
	struct secret hex = { 0 };
	struct app_secret_row row;
	enum status st;

	crypto_random(raw, (size_t)cfg->key_bytes);
	hex_encode(raw, (size_t)cfg->key_bytes, public_key);
	draw_secret(cfg, public_key, &sealed, &hex);
	row.sealed = buf_str(&sealed);
	row.key_id = cfg->master_key.id;
	st = app_store_insert(db, new, public_key, &row, a);
	if (st == ST_OK)
		secret_move(secret_hex, &hex);
	secret_clear(&hex);
	buf_free(&sealed);
	return st;
}

enum status
app_keys_rotate(const struct config *cfg, struct db *db, const char *actor,
    const char *public_key, const char *guard, const struct app_grace *grace,
    struct app *a, struct secret *secret_hex)
{
	struct buf sealed = { 0 };
	struct secret hex = { 0 };
	struct app_secret_row row;
	enum status st;

	draw_secret(cfg, public_key, &sealed, &hex);
	row.sealed = buf_str(&sealed);
	row.key_id = cfg->master_key.id;
	st = app_store_rotate(db, actor, public_key, guard, &row, grace, a);
	if (st == ST_OK)
		secret_move(secret_hex, &hex);
	secret_clear(&hex);
	buf_free(&sealed);
	return st;
}

/* Under the master key that the row names. What goliauth sealed names none, and
 * is tried under each. */
static enum status
open_with(const struct config *cfg, const char *public_key, const char *key_id,
    const char *sealed, struct secret *raw)
{
	const struct master_key_list *old = &cfg->master_keys_old;
	enum status st;
	size_t i;

	st = seal_open(&cfg->master_key, key_id, public_key, sealed, raw);
	for (i = 0; i < old->n; i++) {
		if (st != (key_id == NULL ? ST_BROKEN : ST_KEY_MISSING))
			break;
		st = seal_open(&old->key[i], key_id, public_key, sealed, raw);
	}
	return st;
}

enum status
app_keys_open(const struct config *cfg, const struct app *a, bool previous,
    struct secret *secret_hex)
{
	const char *sealed = previous ? a->previous_sealed : a->sealed;
	const char *key_id = previous ? a->previous_key_id : a->key_id;
	struct secret raw = { 0 };
	enum status st;

	if (key_id == NULL && !cfg->goliauth_accept) {
		log_warn("goliauth_row_refused",
		    LOG_S("public_key", a->public_key),
		    LOG_S("hint", "POSTERN_GOLIAUTH_ROWS=accept opens it"));
		return ST_BROKEN;
	}
	st = open_with(cfg, a->public_key, key_id, sealed, &raw);
	if (st == ST_KEY_MISSING)
		log_error("master_key_missing",
		    LOG_S("public_key", a->public_key),
		    LOG_S("wanted_key_id", key_id));
	else if (st != ST_OK)
		log_error("sealed_key_broken",
		    LOG_S("public_key", a->public_key),
		    LOG_S("key_id", key_id));
	if (st == ST_OK) {
		secret_new(secret_hex, 2 * raw.len);
		hex_encode(
		    (const unsigned char *)raw.data, raw.len, secret_hex->data);
	}
	secret_clear(&raw);
	return st;
}

/* What was sealed takes the place of the only copy: it has to open. */
static void
prove(const struct config *cfg, const char *public_key, const char *sealed,
    const struct secret *raw)
{
	struct secret again = { 0 };

	if (seal_open(&cfg->master_key, cfg->master_key.id, public_key, sealed,
		&again) != ST_OK ||
	    !secret_equal(&again, raw->data, raw->len))
		abort();
	secret_clear(&again);
}

enum status
app_keys_reseal(const struct config *cfg, const char *public_key,
    const char *key_id, const char *sealed, struct buf *anew)
{
	struct secret raw = { 0 };
	enum status st;

	st = open_with(cfg, public_key, key_id, sealed, &raw);
	if (st == ST_OK) {
		seal_key(&cfg->master_key, public_key, &raw, anew);
		prove(cfg, public_key, buf_str(anew), &raw);
	}
	secret_clear(&raw);
	return st;
}

/*
 * The keys of a registration or a rotation, and the row that is made or changed
 * with them. How a secret is drawn and sealed is in material.c.
 */
#include "auth/app_keys.h"

#include "auth/material.h"
#include "base/crypto.h"
#include "base/hex.h"

enum { PUBLIC_KEY_BYTES_MAX = 64 };

/* The app's own key, or a secret that is drawn, whose characters *hex gets. */
static void
seal(const struct config *cfg, const char *public_key,
    const struct public_key *own, struct buf *sealed, struct secret *hex)
{
	if (own != NULL)
		material_seal_own(cfg, public_key, own, sealed);
	else
		material_draw(cfg, public_key, sealed, hex);
}

enum status
app_keys_create(const struct config *cfg, struct db *db,
    const struct app_new *new, const struct public_key *own, struct app *a,
    struct secret *secret_hex)
{
	unsigned char raw[PUBLIC_KEY_BYTES_MAX];
	char public_key[2 * PUBLIC_KEY_BYTES_MAX + 1];
	struct buf sealed = { 0 };
	struct secret hex = { 0 };
	struct app_secret_row row;
	enum status st;

	crypto_random(raw, (size_t)cfg->key_bytes);
	hex_encode(raw, (size_t)cfg->key_bytes, public_key);
	seal(cfg, public_key, own, &sealed, &hex);
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
    const struct public_key *own, struct app *a, struct secret *secret_hex)
{
	struct buf sealed = { 0 };
	struct secret hex = { 0 };
	struct app_secret_row row;
	enum status st;

	seal(cfg, public_key, own, &sealed, &hex);
	row.sealed = buf_str(&sealed);
	row.key_id = cfg->master_key.id;
	st = app_store_rotate(db, actor, public_key, guard, &row, grace, a);
	if (st == ST_OK)
		secret_move(secret_hex, &hex);
	secret_clear(&hex);
	buf_free(&sealed);
	return st;
}

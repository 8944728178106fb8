/*
 * An app's material: what it is, sealed and open, and how it verifies. The
 * verdicts that hang on it are kept in verdict.c.
 */
#include "auth/material.h"

#include "base/base64url.h"
#include "base/crypto.h"
#include "base/hex.h"
#include "base/log.h"

#include <stdlib.h>

void
material_clear(struct material *m)
{
	verdict_owner_end(&m->verdicts);
	secret_clear(&m->secret);
}

bool
material_is_there(const struct material *m)
{
	return m->secret.len > 0;
}

bool
material_same(const struct material *a, const struct material *b)
{
	return secret_equal(&a->secret, b->secret.data, b->secret.len);
}

static void
to_hex(const struct secret *raw, struct secret *hex)
{
	secret_new(hex, 2 * raw->len);
	hex_encode((const unsigned char *)raw->data, raw->len, hex->data);
}

void
material_draw(const struct config *cfg, const char *public_key,
    struct buf *sealed, struct secret *hex)
{
	struct secret raw = { 0 };

	secret_new(&raw, (size_t)cfg->key_bytes);
	crypto_random(raw.data, raw.len);
	seal_key(&cfg->master_key, public_key, &raw, sealed);
	to_hex(&raw, hex);
	secret_clear(&raw);
}

enum status
material_open(
    const struct config *cfg, const struct sealed *s, struct material *m)
{
	struct secret raw = { 0 };
	enum status st;

	if (s->key_id == NULL && !cfg->goliauth_accept) {
		log_warn("goliauth_row_refused",
		    LOG_S("public_key", s->public_key),
		    LOG_S("hint", "POSTERN_GOLIAUTH_ROWS=accept opens it"));
		return ST_BROKEN;
	}
	st = seal_open_any(&cfg->master_key, &cfg->master_keys_old, s, &raw);
	if (st == ST_KEY_MISSING)
		log_error("master_key_missing",
		    LOG_S("public_key", s->public_key),
		    LOG_S("wanted_key_id", s->key_id));
	else if (st != ST_OK)
		log_error("sealed_key_broken",
		    LOG_S("public_key", s->public_key),
		    LOG_S("key_id", s->key_id));
	if (st == ST_OK)
		to_hex(&raw, &m->secret);
	secret_clear(&raw);
	return st;
}

/* What was sealed takes the place of the only copy: it has to open. */
static void
prove(const struct config *cfg, const char *public_key, const char *text,
    const struct secret *raw)
{
	struct secret again = { 0 };

	if (seal_open(&cfg->master_key, cfg->master_key.id, public_key, text,
		&again) != ST_OK ||
	    !secret_equal(&again, raw->data, raw->len))
		abort();
	secret_clear(&again);
}

enum status
material_reseal(
    const struct config *cfg, const struct sealed *s, struct buf *anew)
{
	struct secret raw = { 0 };
	enum status st;

	st = seal_open_any(&cfg->master_key, &cfg->master_keys_old, s, &raw);
	if (st == ST_OK) {
		seal_key(&cfg->master_key, s->public_key, &raw, anew);
		prove(cfg, s->public_key, buf_str(anew), &raw);
	}
	secret_clear(&raw);
	return st;
}

bool
material_verifies(const struct material *m, const struct token_parts *t)
{
	return token_mac_ok(t, &m->secret);
}

bool
material_suspects_encoding(
    const struct material *m, const struct token_parts *t)
{
	const struct secret *key = &m->secret;
	struct secret raw = { 0 };
	struct buf b64 = { 0 };
	bool yes = false;

	if (key->len == 0)
		return false;
	secret_new(&raw, key->len / 2);
	if (hex_decode(key->data, key->len, (unsigned char *)raw.data, raw.len))
		yes = token_mac_ok(t, &raw);
	if (!yes && base64url_decode(key->data, key->len, &b64)) {
		secret_set(&raw, b64.data, b64.len);
		yes = token_mac_ok(t, &raw);
	}
	secret_clear(&raw);
	buf_free(&b64);
	return yes;
}

/* A known token, its payload that of the request at hand; *known is used up. */
static enum problem
judge_known(const struct token_parts *t, const struct judging *j,
    struct token_claims *known, struct token_claims *claims)
{
	enum problem p = token_claims_judge(known, j->cfg, j->now);

	if (p == P_NONE && !token_decode_payload(t, &known->payload))
		p = P_TOKEN_MALFORMED;
	if (p == P_NONE)
		*claims = *known;
	else
		token_claims_clear(known);
	return p;
}

enum problem
material_judge(struct material *m, const struct token_parts *t,
    const struct judging *j, struct token_claims *claims)
{
	struct token_claims known = { 0 };
	enum problem p;

	/* Nothing is kept of tokens that are good once. */
	if (j->cfg->jwt_single_use)
		return token_judge(t, &m->secret, j->cfg, j->now, claims);
	if (verdicts_find(j->verdicts, &m->verdicts, t, &known))
		return judge_known(t, j, &known, claims);
	p = token_judge(t, &m->secret, j->cfg, j->now, claims);
	if (p == P_NONE)
		verdicts_keep(j->verdicts, &m->verdicts, t, claims);
	return p;
}

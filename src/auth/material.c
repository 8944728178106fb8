/*
 * An app's material: what it is, sealed and open, and how it verifies. The
 * verdicts that hang on it are kept in verdict_table.c.
 */
#include "auth/material.h"

#include "base/base64url.h"
#include "base/crypto.h"
#include "base/hex.h"
#include "base/log.h"

#include <stdlib.h>
#include <string.h>

void
material_clear(struct material *m)
{
	verdict_owner_end(&m->verdicts);
	secret_clear(&m->secret);
	public_key_free(m->own);
	m->own = NULL;
}

bool
material_is_there(const struct material *m)
{
	return m->secret.len > 0 || m->own != NULL;
}

bool
material_same(const struct material *a, const struct material *b)
{
	if (a->own != NULL && b->own != NULL)
		return public_key_same(a->own, b->own);
	return secret_equal(&a->secret, b->secret.data, b->secret.len);
}

static void
to_hex(const struct secret *raw, struct secret *hex)
{
	secret_new(hex, 2 * raw->len);
	hex_encode((const unsigned char *)raw->data, raw->len, hex->data);
}

void
material_seal_own(const struct config *cfg, const char *public_key,
    const struct public_key *own, struct buf *sealed)
{
	seal_own_key(&cfg->master_key, public_key, own, sealed);
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
	struct seal_opened o = { 0 };
	enum status st;

	if (s->key_id == NULL && !cfg->goliauth_accept) {
		log_warn("goliauth_row_refused",
		    LOG_S("public_key", s->public_key),
		    LOG_S("hint", "POSTERN_GOLIAUTH_ROWS=accept opens it"));
		return ST_BROKEN;
	}
	st = seal_open_any(&cfg->master_key, &cfg->master_keys_old, s, &o);
	if (st == ST_KEY_MISSING)
		log_error("master_key_missing",
		    LOG_S("public_key", s->public_key),
		    LOG_S("wanted_key_id", s->key_id));
	else if (st != ST_OK)
		log_error("sealed_key_broken",
		    LOG_S("public_key", s->public_key),
		    LOG_S("key_id", s->key_id));
	if (o.own != NULL) {
		m->own = o.own;
		o.own = NULL;
	} else if (st == ST_OK) {
		to_hex(&o.raw, &m->secret);
	}
	seal_opened_clear(&o);
	return st;
}

/* What was sealed takes the place of the only copy: it has to open. */
static void
prove(const struct config *cfg, const struct sealed *s,
    const struct seal_opened *was)
{
	static const struct master_key_list none;
	struct seal_opened again = { 0 };

	if (seal_open_any(&cfg->master_key, &none, s, &again) != ST_OK ||
	    (was->own == NULL) != (again.own == NULL))
		abort();
	if (was->own != NULL
		? !public_key_same(again.own, was->own)
		: !secret_equal(&again.raw, was->raw.data, was->raw.len))
		abort();
	seal_opened_clear(&again);
}

enum status
material_reseal(
    const struct config *cfg, const struct sealed *s, struct buf *anew)
{
	const struct master_key *mk = &cfg->master_key;
	struct seal_opened o = { 0 };
	enum status st;

	st = seal_open_any(mk, &cfg->master_keys_old, s, &o);
	if (st != ST_OK)
		return st;
	if (o.own != NULL)
		seal_own_key(mk, s->public_key, o.own, anew);
	else
		seal_key(mk, s->public_key, &o.raw, anew);
	prove(
	    cfg, &(struct sealed){ s->public_key, mk->id, buf_str(anew) }, &o);
	seal_opened_clear(&o);
	return ST_OK;
}

/* By the verdict that the token had before, or else by the signature. */
static bool
own_key_verifies(
    const struct material *m, struct token_parts *t, const struct judging *j)
{
	if (!j->cfg->jwt_single_use &&
	    verdicts_digest(j->verdicts, &m->verdicts, t) &&
	    verdicts_has(j->verdicts, &m->verdicts, t))
		return true;
	return token_signature_ok(t, m->own);
}

bool
material_verifies(
    const struct material *m, struct token_parts *t, const struct judging *j)
{
	if (m->own != NULL)
		return own_key_verifies(m, t, j);
	memcpy(t->digest, t->signature, sizeof t->digest);
	return token_mac_ok(t, &m->secret, j->cfg->jwt_algorithm);
}

bool
material_suspects_encoding(const struct material *m,
    const struct token_parts *t, const struct config *cfg)
{
	enum crypto_hash hash = cfg->jwt_algorithm;
	const struct secret *key = &m->secret;
	struct secret raw = { 0 };
	struct buf b64 = { 0 };
	bool yes = false;

	if (key->len == 0)
		return false;
	secret_new(&raw, key->len / 2);
	if (hex_decode(key->data, key->len, (unsigned char *)raw.data, raw.len))
		yes = token_mac_ok(t, &raw, hash);
	if (!yes && base64url_decode(key->data, key->len, &b64)) {
		secret_set(&raw, b64.data, b64.len);
		yes = token_mac_ok(t, &raw, hash);
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
	const struct token_key key = { &m->secret, m->own, j->public_key };
	struct token_claims known = { 0 };
	enum problem p;

	/* Nothing is kept of tokens that are good once. */
	if (j->cfg->jwt_single_use)
		return token_judge(t, &key, j->cfg, j->now, claims);
	if (verdicts_find(j->verdicts, &m->verdicts, t, &known))
		return judge_known(t, j, &known, claims);
	p = token_judge(t, &key, j->cfg, j->now, claims);
	if (p == P_NONE)
		verdicts_keep(j->verdicts, &m->verdicts, t, claims);
	return p;
}

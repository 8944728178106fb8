/*
 * What the product says to test vectors: a question a line on stdin, an answer
 * a line on stdout. Fields are hex ("-" is the empty one), apart by one space:
 *
 *	jws KEY TOKEN			-> ok PAYLOAD | no
 *	own JWK TOKEN			-> ok PAYLOAD | no | key
 *	pem PEM TEXT SIGNATURE		-> ok | no | key
 *	hmac KEY TEXT MAC		-> ok | no
 *	seal KEY NONCE AAD PLAIN	-> ok SEALED | no
 *	open KEY NONCE AAD SEALED	-> ok PLAIN | no
 */
#include "auth/token.h"
#include "base/buf.h"
#include "base/crypto.h"
#include "base/hex.h"
#include "base/jwk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIELDS = 4 };

static const struct config cfg = { .jwt_algorithm = CRYPTO_SHA256 };

/* A question's fields, decoded. */
struct question {
	struct buf field[FIELDS];
};

static void
answer(const struct buf *b)
{
	char *hex = malloc(2 * b->len + 1);

	if (hex == NULL)
		abort();
	hex_encode((const unsigned char *)b->data, b->len, hex);
	printf("ok %s\n", b->len > 0 ? hex : "-");
	free(hex);
}

static void
no(void)
{
	puts("no");
}

static void
ask_jws(struct question *q)
{
	struct secret key = { 0 };
	const struct token_key by = { &key, NULL, NULL };
	struct buf *token = &q->field[1], payload = { 0 };
	struct token_parts t;

	secret_set(&key, q->field[0].data, q->field[0].len);
	if (token_split(buf_str(token), token->len, &t) &&
	    token_mac_ok(&t, &key, CRYPTO_SHA256) &&
	    token_payload(&t, &by, &cfg, &payload) == P_NONE)
		answer(&payload);
	else
		no();
	secret_clear(&key);
	buf_free(&payload);
}

/* An app's own key; "key" says that it is none. */
static struct public_key *
take_key(const struct buf *text)
{
	const char *why;
	struct public_key *k =
	    jwk_key_from_text(buf_str(text), text->len, &why);

	if (k == NULL)
		puts("key");
	return k;
}

static void
ask_own(struct question *q)
{
	static const struct secret none;
	struct buf *token = &q->field[1], payload = { 0 };
	struct public_key *k = take_key(&q->field[0]);
	const struct token_key by = { &none, k, NULL };
	struct token_parts t;

	if (k == NULL)
		return;
	if (token_split(buf_str(token), token->len, &t) &&
	    token_signature_ok(&t, k) &&
	    token_payload(&t, &by, &cfg, &payload) == P_NONE)
		answer(&payload);
	else
		no();
	public_key_free(k);
	buf_free(&payload);
}

static void
ask_pem(struct question *q)
{
	const struct buf *text = &q->field[1], *sig = &q->field[2];
	struct public_key *k = take_key(&q->field[0]);

	if (k == NULL)
		return;
	puts(public_key_verify(k, buf_str(text), text->len,
		 (const unsigned char *)buf_str(sig), sig->len)
		 ? "ok"
		 : "no");
	public_key_free(k);
}

static void
ask_hmac(struct question *q)
{
	const struct buf *key = &q->field[0], *text = &q->field[1];
	const struct buf *mac = &q->field[2];
	const struct crypto_signed s = { key->data, key->len, text->data,
		text->len };

	puts(crypto_hmac_ok(
		 CRYPTO_SHA256, &s, (const unsigned char *)mac->data, mac->len)
		 ? "ok"
		 : "no");
}

static struct crypto_gcm
gcm(const struct question *q)
{
	const struct buf *f = q->field;

	return (struct crypto_gcm){ f[0].data, f[0].len, f[1].data, f[1].len,
		f[2].data, f[2].len };
}

static void
ask_seal(struct question *q)
{
	const struct crypto_gcm g = gcm(q);
	const struct buf *plain = &q->field[3];
	struct buf out = { 0 };

	out.len = plain->len + CRYPTO_TAG_LEN;
	buf_reserve(&out, 1);
	if (crypto_gcm_seal(
		&g, plain->data, plain->len, (unsigned char *)out.data))
		answer(&out);
	else
		no();
	buf_free(&out);
}

static void
ask_open(struct question *q)
{
	const struct crypto_gcm g = gcm(q);
	const struct buf *sealed = &q->field[3];
	struct buf out = { 0 };

	buf_reserve(&out, sealed->len + 1);
	if (sealed->len >= CRYPTO_TAG_LEN &&
	    crypto_gcm_open(&g, sealed->data, sealed->len - CRYPTO_TAG_LEN,
		(unsigned char *)out.data)) {
		out.len = sealed->len - CRYPTO_TAG_LEN;
		answer(&out);
	} else {
		no();
	}
	buf_free(&out);
}

static const struct {
	const char *name;
	size_t fields;
	void (*ask)(struct question *);
} kinds[] = {
	{ "jws", 2, ask_jws },
	{ "own", 2, ask_own },
	{ "pem", 3, ask_pem },
	{ "hmac", 3, ask_hmac },
	{ "seal", 4, ask_seal },
	{ "open", 4, ask_open },
};

static bool
take_field(const char *hex, struct buf *out)
{
	size_t len = strlen(hex);

	buf_reserve(out, len + 1);
	if (strcmp(hex, "-") == 0)
		return true;
	if (!hex_decode(hex, len, (unsigned char *)out->data, len))
		return false;
	out->len = len / 2;
	out->data[out->len] = '\0';
	return len > 0;
}

static bool
ask(char *line)
{
	struct question q = { 0 };
	char *word, *rest = line;
	size_t i, n = 0;
	bool ok = true;

	word = strsep(&rest, " ");
	for (i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
		if (strcmp(word, kinds[i].name) == 0)
			break;
	if (i == sizeof kinds / sizeof kinds[0])
		return false;
	while (ok && n < FIELDS && (word = strsep(&rest, " ")) != NULL)
		ok = take_field(word, &q.field[n++]);
	ok = ok && rest == NULL && n == kinds[i].fields;
	if (ok)
		kinds[i].ask(&q);
	for (n = 0; n < FIELDS; n++)
		buf_free(&q.field[n]);
	return ok;
}

int
main(void)
{
	char *line = NULL;
	size_t cap = 0;
	ssize_t len;
	bool ok = secret_init() || true; /* unlocked memory will do here */

	while (ok && (len = getline(&line, &cap, stdin)) > 0) {
		line[strcspn(line, "\n")] = '\0';
		ok = ask(line);
	}
	free(line);
	if (!ok)
		fputs("driver: a line is no question\n", stderr);
	return ok ? 0 : 2;
}

/*
 * Apps' keys at rest, and the master key that seals them. A sealed text is
 * hex of nonce, ciphertext and tag; what binds it to its row is the additional
 * data, which names format, master key and public key, and of an app's own key
 * what it is.
 */
#include "base/seal.h"

#include "base/base64url.h"
#include "base/crypto.h"
#include "base/hex.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>

enum { KEY_MIN = 16, KEY_MAX = 64 };
enum { OVERHEAD = CRYPTO_NONCE_LEN + CRYPTO_TAG_LEN };
enum { PLAIN_MAX = MAX((int)KEY_MAX, (int)PUBLIC_KEY_DER_MAX) };
enum { SEALED_MAX = PLAIN_MAX + OVERHEAD };

static const char AAD_PREFIX[] = "postern-v1|";
static const char AAD_OWN_PREFIX[] = "postern-v2|own|";
static const char OWN[] = "own.";

/*
 * Keys that stand in documents: goliauth's README, NIST's AES and GCM
 * examples, the RFCs' counting ones. Prefixes, compared over their length.
 */
static const char *const samples[] = {
	"000102030405060708090a0b0c0d0e0f",
	"0123456789abcdef0123456789abcdef",
	"00112233445566778899aabbccddeeff",
	"deadbeefdeadbeefdeadbeefdeadbeef",
	"feffe9928665731c6d6a8f9467308308",
	"2b7e151628aed2a6abf7158809cf4f3c",
	"8e73b0f7da0e6452c810f32b809079e5",
	"603deb1015ca71be2b73aef0857d7781",
};

static bool
is_sample(const char *hex)
{
	size_t i;

	for (i = 0; i < sizeof samples / sizeof samples[0]; i++)
		if (strncmp(hex, samples[i], strlen(samples[i])) == 0)
			return true;
	return false;
}

/* A key of random bytes has about as many different values as bytes. */
static bool
is_weak(const unsigned char *key, size_t n)
{
	bool seen[256] = { false };
	size_t i, distinct = 0;
	unsigned char step = (unsigned char)(key[1] - key[0]);
	bool steady = true;

	for (i = 0; i < n; i++) {
		distinct += !seen[key[i]];
		seen[key[i]] = true;
		if (i > 0 && (unsigned char)(key[i] - key[i - 1]) != step)
			steady = false;
	}
	return steady || distinct < n / 2;
}

/* The id is a hash of the key under a label of its own: it tells which key
 * opens a row and nothing about the key. */
static void
fingerprint(struct master_key *mk)
{
	static const char label[] = "postern master key id";
	unsigned char mac[CRYPTO_MAC_MAX];

	if (!crypto_hmac(CRYPTO_SHA256, mk->key.data, mk->key.len, label,
		sizeof label - 1, mac))
		abort();
	hex_encode(mac, SEAL_KEY_ID_LEN / 2, mk->id);
	crypto_forget_keys();
}

/* Lower case is the one spelling that hex.h knows; operators paste both. */
static void
lower(char *hex, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
		hex[i] = (char)tolower((unsigned char)hex[i]);
}

static const char *
key_fault(struct master_key *mk, const struct secret *hex)
{
	unsigned char *raw;

	secret_new(&mk->key, hex->len / 2);
	raw = (unsigned char *)mk->key.data;
	if (!hex_decode(hex->data, hex->len, raw, mk->key.len))
		return "has a character that is not hex";
	if (is_sample(hex->data))
		return "is a sample from a document";
	if (is_weak(raw, mk->key.len))
		return "is too regular to be random";
	return NULL;
}

bool
master_key_init(
    struct master_key *mk, const char *hex, size_t len, const char **why)
{
	struct secret copy = { 0 };

	*why = "needs 32, 48 or 64 hex characters";
	if (len != 32 && len != 48 && len != 64)
		return false;
	secret_set(&copy, hex, len);
	lower(copy.data, len);
	*why = key_fault(mk, &copy);
	secret_clear(&copy);
	if (*why != NULL)
		return false;
	fingerprint(mk);
	return true;
}

void
master_key_clear(struct master_key *mk)
{
	secret_clear(&mk->key);
	memset(mk->id, 0, sizeof mk->id);
}

/* What a secret's ciphertext is bound to: "postern-v1|KEYID|PUBLICKEY". */
static void
aad_make(struct buf *b, const char *key_id, const char *public_key)
{
	buf_adds(b, AAD_PREFIX);
	buf_adds(b, key_id);
	buf_addc(b, '|');
	buf_adds(b, public_key);
}

/* And an own key's: "postern-v2|own|ALG|KID|KEYID|PUBLICKEY". */
static void
aad_make_own(struct buf *b, const struct seal_label *label, const char *key_id,
    const char *public_key)
{
	buf_adds(b, AAD_OWN_PREFIX);
	buf_addf(b, "%s|%s|%s|%s", public_key_alg_name(label->alg), label->kid,
	    key_id, public_key);
}

/* How a sealed text's bytes are read and written. */
static struct crypto_gcm
gcm(const struct master_key *mk, const unsigned char *box,
    const struct buf *aad)
{
	return (struct crypto_gcm){ mk->key.data, mk->key.len, box,
		CRYPTO_NONCE_LEN, aad->data, aad->len };
}

/* Append the hex of n bytes, sealed; aad is used up. */
static void
seal_bytes(const struct master_key *mk, struct buf *aad, const void *p,
    size_t n, struct buf *out)
{
	unsigned char box[SEALED_MAX];
	char hex[2 * SEALED_MAX + 1];
	struct crypto_gcm g;

	crypto_random(box, CRYPTO_NONCE_LEN);
	g = gcm(mk, box, aad);
	if (n > PLAIN_MAX || !crypto_gcm_seal(&g, p, n, box + CRYPTO_NONCE_LEN))
		abort();
	hex_encode(box, n + OVERHEAD, hex);
	buf_adds(out, hex);
	buf_free(aad);
}

/* Of a text with a plaintext of min to max bytes; aad is used up. */
static enum status
open_bytes(const struct master_key *mk, struct buf *aad, const char *hex,
    const size_t bounds[2], struct secret *raw)
{
	unsigned char box[SEALED_MAX];
	size_t len = strlen(hex), n;
	struct crypto_gcm g;
	bool ok = false;

	if (len >= 2 * (bounds[0] + OVERHEAD) &&
	    len <= 2 * (bounds[1] + OVERHEAD) &&
	    hex_decode(hex, len, box, sizeof box)) {
		n = len / 2 - OVERHEAD;
		secret_new(raw, n);
		g = gcm(mk, box, aad);
		ok = crypto_gcm_open(
		    &g, box + CRYPTO_NONCE_LEN, n, (unsigned char *)raw->data);
	}
	if (!ok)
		secret_clear(raw);
	buf_free(aad);
	return ok ? ST_OK : ST_BROKEN;
}

void
seal_key(const struct master_key *mk, const char *public_key,
    const struct secret *raw, struct buf *out)
{
	struct buf aad = { 0 };

	if (raw->len < KEY_MIN || raw->len > KEY_MAX)
		abort();
	aad_make(&aad, mk->id, public_key);
	seal_bytes(mk, &aad, raw->data, raw->len, out);
}

enum status
seal_open(const struct master_key *mk, const char *key_id,
    const char *public_key, const char *sealed, struct secret *raw)
{
	static const size_t bounds[] = { KEY_MIN, KEY_MAX };
	struct buf aad = { 0 };

	if (key_id != NULL && strcmp(key_id, mk->id) != 0)
		return ST_KEY_MISSING;
	if (key_id != NULL)
		aad_make(&aad, key_id, public_key);
	return open_bytes(mk, &aad, sealed, bounds, raw);
}

/* The hex behind an own key's label, NULL if it has none. */
static const char *
read_own_label(const char *sealed, struct seal_label *label)
{
	const char *alg = sealed + sizeof OWN - 1, *kid, *hex;

	if (strncmp(sealed, OWN, sizeof OWN - 1) != 0)
		return NULL;
	kid = strchr(alg, '.');
	if (kid == NULL ||
	    !public_key_alg_find(alg, (size_t)(kid - alg), &label->alg))
		return NULL;
	hex = strchr(++kid, '.');
	if (hex == NULL || hex - kid != PUBLIC_KEY_KID ||
	    !base64url_decode_to(kid, PUBLIC_KEY_KID, NULL))
		return NULL;
	memcpy(label->kid, kid, PUBLIC_KEY_KID);
	return hex + 1;
}

bool
seal_read_label(const char *sealed, struct seal_label *label)
{
	memset(label, 0, sizeof *label);
	label->own = strncmp(sealed, OWN, sizeof OWN - 1) == 0;
	return !label->own || read_own_label(sealed, label) != NULL;
}

void
seal_own_key(const struct master_key *mk, const char *public_key,
    const struct public_key *own, struct buf *out)
{
	struct seal_label label = { .own = true, .alg = public_key_alg(own) };
	const struct buf *der = public_key_der(own);
	struct buf aad = { 0 };

	strcpy(label.kid, public_key_kid(own));
	aad_make_own(&aad, &label, mk->id, public_key);
	buf_addf(
	    out, "%s%s.%s.", OWN, public_key_alg_name(label.alg), label.kid);
	seal_bytes(mk, &aad, der->data, der->len, out);
}

enum status
seal_open_own_key(const struct master_key *mk, const char *key_id,
    const char *public_key, const char *sealed, struct public_key **own)
{
	static const size_t bounds[] = { 1, PUBLIC_KEY_DER_MAX };
	struct seal_label label = { 0 };
	const char *hex = read_own_label(sealed, &label), *why;
	struct secret der = { 0 };
	struct public_key *k = NULL;
	struct buf aad = { 0 };
	enum status st;

	if (hex == NULL || key_id == NULL)
		return ST_BROKEN;
	if (strcmp(key_id, mk->id) != 0)
		return ST_KEY_MISSING;
	aad_make_own(&aad, &label, key_id, public_key);
	st = open_bytes(mk, &aad, hex, bounds, &der);
	if (st == ST_OK)
		k = public_key_from_der(label.alg, der.data, der.len, &why);
	secret_clear(&der);
	if (k == NULL)
		return ST_BROKEN;
	if (strcmp(public_key_kid(k), label.kid) != 0) {
		public_key_free(k);
		return ST_BROKEN;
	}
	*own = k;
	return ST_OK;
}

void
seal_opened_clear(struct seal_opened *o)
{
	secret_clear(&o->raw);
	public_key_free(o->own);
	o->own = NULL;
}

static enum status
open_either(
    const struct master_key *mk, const struct sealed *s, struct seal_opened *o)
{
	if (strncmp(s->text, OWN, sizeof OWN - 1) == 0)
		return seal_open_own_key(
		    mk, s->key_id, s->public_key, s->text, &o->own);
	return seal_open(mk, s->key_id, s->public_key, s->text, &o->raw);
}

enum status
seal_open_any(const struct master_key *current,
    const struct master_key_list *old, const struct sealed *s,
    struct seal_opened *o)
{
	enum status go_on = s->key_id == NULL ? ST_BROKEN : ST_KEY_MISSING;
	enum status st;
	size_t i;

	st = open_either(current, s, o);
	for (i = 0; st == go_on && i < old->n; i++)
		st = open_either(&old->key[i], s, o);
	return st;
}

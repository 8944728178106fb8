/*
 * Public keys as people have them: JSON Web Keys, and PEM. What is read here is
 * numbers and what they are for; base/public_key.c judges the numbers.
 */
#include "base/jwk.h"

#include "base/base64url.h"

#include <ctype.h>
#include <string.h>

enum { POINT = 32 };

static const char KINDS[] =
    "is none of those that are taken: RSA of 2048 to 4096 bits with e = 65537, "
    "P-256, or Ed25519";
static const char PRIVATE[] =
    "is a private one: its owner alone may have that, send the public half";

static const char OPENSSH[] =
    "is in OpenSSH's form: ssh-keygen -e -m PKCS8 makes the common one of it";

static struct public_key *
from_der(const struct buf *der, const char **why)
{
	static const enum public_key_alg kinds[] = { PUBLIC_KEY_RS256,
		PUBLIC_KEY_ES256, PUBLIC_KEY_EITHER };
	size_t i;

	for (i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
		if (public_key_der_is(kinds[i], buf_str(der), der->len))
			return public_key_from_der(
			    kinds[i], der->data, der->len, why);
	*why = KINDS;
	return NULL;
}

/* Base64 with its padding, and white space between (RFC 7468 section 3). */
static bool
take_base64(const char *p, const char *end, struct buf *out)
{
	struct buf url = { 0 };
	size_t padding = 0;
	bool ok = true;

	for (; ok && p < end; p++) {
		if (isspace((unsigned char)*p))
			continue;
		if (*p == '=')
			padding++;
		else
			buf_addc(&url, *p == '+' ? '-' : *p == '/' ? '_' : *p);
		ok = *p != '-' && *p != '_' && (*p == '=' || padding == 0);
	}
	ok = ok && padding < 3 && (url.len + padding) % 4 == 0 &&
	     base64url_decode(buf_str(&url), url.len, out);
	buf_free(&url);
	return ok;
}

/* What else people have in files, by a word of it. */
static const char *
other_text(const char *text, size_t len)
{
	static const struct {
		const char *word, *why;
	} others[] = {
		{ "PRIVATE KEY-", PRIVATE },
		{ "ssh-", OPENSSH },
		{ "ecdsa-sha2-", OPENSSH },
		{ "-BEGIN CERTIFICATE", "is a certificate: take the key out of "
					"it (openssl x509 -pubkey -noout)" },
		{ "-BEGIN RSA PUBLIC KEY-",
		    "is in PKCS #1's form: openssl rsa -RSAPublicKey_in "
		    "-pubout makes the common one of it" },
	};
	size_t i;

	for (i = 0; i < sizeof others / sizeof others[0]; i++)
		if (memmem(text, len, others[i].word, strlen(others[i].word)) !=
		    NULL)
			return others[i].why;
	return "is neither a JWK nor one PUBLIC KEY in PEM";
}

static struct public_key *
from_pem(const char *text, size_t len, const char **why)
{
	static const char begin[] = "-----BEGIN PUBLIC KEY-----",
			  end[] = "-----END PUBLIC KEY-----";
	const char *from = text + sizeof begin - 1, *to;
	struct public_key *k = NULL;
	struct buf der = { 0 };

	*why = other_text(text, len);
	while (len > 0 && isspace((unsigned char)text[len - 1]))
		len--;
	if (len < sizeof begin + sizeof end ||
	    memcmp(text, begin, sizeof begin - 1) != 0)
		return NULL;
	to = text + len - (sizeof end - 1);
	if (memcmp(to, end, sizeof end - 1) == 0 && take_base64(from, to, &der))
		k = from_der(&der, why);
	buf_free(&der);
	return k;
}

static bool
member_is(const struct json *jwk, const char *name, const char *value)
{
	const char *s;
	size_t len;

	return json_member_string(jwk, name, &s, &len) &&
	       len == strlen(value) && memcmp(s, value, len) == 0;
}

/* RFC 7518 sections 6.2.2, 6.3.2 and 6.4.1 */
static const char *const private_names[] = { "d", "p", "q", "dp", "dq", "qi",
	"oth", "k" };
enum { PRIVATE_NAMES = sizeof private_names / sizeof private_names[0] };

static bool
has_private(const struct json *jwk)
{
	size_t i;

	for (i = 0; i < PRIVATE_NAMES; i++)
		if (json_member_kind(jwk, private_names[i]) != JSON_ABSENT)
			return true;
	return false;
}

/* The same of a text, at any depth, that no parser has seen yet: json-c leaves
 * what it read in memory that nobody wipes. */
static bool
shows_private(const char *text, size_t len)
{
	const char *end = text + len, *p;
	size_t i, n;

	for (; (p = memchr(text, '"', (size_t)(end - text))) != NULL;
	     text = p + 1)
		for (i = 0; i < PRIVATE_NAMES; i++) {
			n = strlen(private_names[i]);
			if ((size_t)(end - p) < n + 2 || p[n + 1] != '"' ||
			    memcmp(p + 1, private_names[i], n) != 0)
				continue;
			for (n += 2;
			     p + n < end && isspace((unsigned char)p[n]);)
				n++;
			if (p + n < end && p[n] == ':')
				return true;
		}
	return false;
}

/* RFC 7517 sections 4.2 and 4.3 */
static const char *
use_fault(const struct json *jwk)
{
	static const char *const others[] = { "encrypt", "decrypt", "wrapKey",
		"unwrapKey", "deriveKey", "deriveBits" };
	size_t i;

	if (json_member_kind(jwk, "use") != JSON_ABSENT &&
	    !member_is(jwk, "use", "sig"))
		return "has another use than sig";
	if (json_member_kind(jwk, "key_ops") == JSON_ABSENT)
		return NULL;
	if (json_member_kind(jwk, "key_ops") != JSON_ARRAY ||
	    !json_member_has(jwk, "key_ops", "verify"))
		return "has key_ops without verify";
	for (i = 0; i < sizeof others / sizeof others[0]; i++)
		if (json_member_has(jwk, "key_ops", others[i]))
			return "has key_ops for more than signatures";
	return NULL;
}

/* The kind by kty and crv, and what alg says of it. */
static const char *
alg_fault(const struct json *jwk, enum public_key_alg *alg)
{
	static const struct {
		const char *kty, *crv, *alg;
		enum public_key_alg is;
	} kinds[] = {
		{ "RSA", NULL, "RS256", PUBLIC_KEY_RS256 },
		{ "EC", "P-256", "ES256", PUBLIC_KEY_ES256 },
		{ "OKP", "Ed25519", "EdDSA", PUBLIC_KEY_EDDSA },
		{ "OKP", "Ed25519", "Ed25519", PUBLIC_KEY_ED25519 },
	};
	bool pinned = json_member_kind(jwk, "alg") != JSON_ABSENT;
	const char *why = KINDS;
	size_t i;

	for (i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
		if (!member_is(jwk, "kty", kinds[i].kty) ||
		    (kinds[i].crv != NULL &&
			!member_is(jwk, "crv", kinds[i].crv)))
			continue;
		*alg = kinds[i].is;
		if (!pinned && *alg == PUBLIC_KEY_EDDSA)
			*alg = PUBLIC_KEY_EITHER;
		if (!pinned || member_is(jwk, "alg", kinds[i].alg))
			return NULL;
		why = "has an alg that is not its kind's: RS256 (RSA), ES256 "
		      "(P-256), EdDSA or Ed25519 (Ed25519)";
	}
	return why;
}

/* A number's bytes (RFC 7518 section 2): len of them, or all, where it is 0. */
static const char *
take_number(
    const struct json *jwk, const char *name, size_t len, struct buf *out)
{
	size_t before = out->len, n;
	const char *s;

	if (!json_member_string(jwk, name, &s, &n) ||
	    !base64url_decode(s, n, out))
		return "has a number that is missing, or not base64url";
	if (len > 0 && out->len - before != len)
		return "has a coordinate that is not of 32 octets";
	return NULL;
}

static const char *
take_numbers(
    const struct json *jwk, enum public_key_alg alg, struct buf *numbers)
{
	const char *why;

	switch (alg) {
	case PUBLIC_KEY_RS256:
		if (!member_is(jwk, "e", "AQAB"))
			return "is of RSA, but its e is not 65537 (AQAB)";
		return take_number(jwk, "n", 0, numbers);
	case PUBLIC_KEY_ES256:
		why = take_number(jwk, "x", POINT, numbers);
		return why != NULL ? why
				   : take_number(jwk, "y", POINT, numbers);
	default:
		return take_number(jwk, "x", POINT, numbers);
	}
}

struct public_key *
jwk_key(const struct json *jwk, const char **why)
{
	enum public_key_alg alg = PUBLIC_KEY_RS256;
	struct buf numbers = { 0 };
	struct public_key *k = NULL;

	*why = has_private(jwk) ? PRIVATE : alg_fault(jwk, &alg);
	if (*why == NULL)
		*why = use_fault(jwk);
	if (*why == NULL)
		*why = take_numbers(jwk, alg, &numbers);
	if (*why == NULL)
		k = public_key_new(alg,
		    (const unsigned char *)buf_str(&numbers), numbers.len, why);
	buf_free(&numbers);
	return k;
}

struct public_key *
jwk_key_from_text(const char *text, size_t len, const char **why)
{
	struct public_key *k = NULL;
	struct json *jwk;

	while (len > 0 && isspace((unsigned char)*text)) {
		text++;
		len--;
	}
	if (len == 0 || *text != '{')
		return from_pem(text, len, why);
	*why = PRIVATE;
	if (shows_private(text, len))
		return NULL;
	*why = "is no well-formed JSON, or has a member twice";
	jwk = json_parse(text, len);
	if (jwk != NULL && json_member_kind(jwk, "keys") != JSON_ABSENT)
		*why = "is a set of keys: pick the one that is meant";
	else if (jwk != NULL)
		k = jwk_key(jwk, why);
	json_free(jwk);
	return k;
}

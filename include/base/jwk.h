#ifndef POSTERN_BASE_JWK_H
#define POSTERN_BASE_JWK_H

#include "base/json.h"
#include "base/public_key.h"

/* Public keys as strangers send them. */

/*
 * A JWK (RFC 7517), or NULL with *why, a constant that completes "the key ...".
 * Refused are private members, another kind, size or curve, numbers that are
 * not spelt in the one way, what public_key_new refuses, and an alg, use or
 * key_ops that is not that of verifying by the key's algorithm. Other members
 * say nothing here. The caller frees.
 */
struct public_key *jwk_key(const struct json *jwk, const char **why);

/* The same from a file's text: a JWK, or PEM (RFC 7468 section 13). What shows
 * private members is refused unparsed: its caller alone has it to wipe. */
struct public_key *jwk_key_from_text(
    const char *text, size_t len, const char **why);

#endif

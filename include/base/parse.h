#ifndef POSTERN_BASE_PARSE_H
#define POSTERN_BASE_PARSE_H

#include "base/buf.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Pure parsers over bytes of strangers: no allocation but a buf, no state. */

/* Decimal digits only (no sign, no space), min <= value <= max. */
bool parse_u64(
    const char *s, size_t len, uint64_t min, uint64_t max, uint64_t *out);

/* Well-formed UTF-8 (RFC 3629): no overlong forms, no surrogates. */
bool parse_utf8_valid(const char *s, size_t len);

/* A C0 control character or U+007F anywhere. */
bool parse_has_control(const char *s, size_t len);

/*
 * Strict base64url without padding (RFC 7515 section 2): alphabet only, no
 * length of 1 mod 4, unused bits zero. Appends the bytes to out.
 */
bool parse_base64url(const char *s, size_t len, struct buf *out);

/* The same into out, which has room for PARSE_BASE64URL_LEN(len) bytes, or is
 * NULL where only the form matters. On false out may have been written to. */
#define PARSE_BASE64URL_LEN(len) ((len) / 4 * 3 + (len) % 4 * 3 / 4)
bool parse_base64url_to(const char *s, size_t len, unsigned char *out);

/* Append base64url without padding of n bytes. */
void parse_base64url_add(struct buf *out, const void *p, size_t n);

/*
 * Percent-decoding, once (RFC 3986 section 2.1); '+' stays. False on a '%'
 * without two hex digits. Appends to out.
 */
bool parse_percent_decode(const char *s, size_t len, struct buf *out);

/* Append s percent-encoded: everything but RFC 3986's unreserved. */
void parse_percent_encode(struct buf *out, const char *s, size_t len);

/* Append a path segment as it was sent, but for what may not stand in one (RFC
 * 3986 section 3.3): that is percent-encoded. */
void parse_uri_encode(struct buf *out, const char *s, size_t len);

/*
 * A bearer credential (RFC 6750 section 2.1): the scheme in any case, one or
 * more spaces, one b64token, nothing behind it. *token borrows from value.
 */
bool parse_bearer(const char *value, const char **token, size_t *len);

/* Only b64token characters: ALPHA DIGIT - . _ ~ + / and trailing '='. */
bool parse_is_b64token(const char *s, size_t len);

/* How many of the characters at s are those of a token (RFC 9110 section
 * 5.6.2). */
size_t parse_token_len(const char *s);

/* One token at least, in a list of them (section 5.6.1): commas between, spaces
 * and empty elements as they come. */
bool parse_is_token_list(const char *s);

/* X-Request-Id: [A-Za-z0-9._:-]{1,128}. */
bool parse_is_request_id(const char *s, size_t len);

/* {user}: 1 to 255 bytes of UTF-8 without control characters (C0, U+007F). */
bool parse_is_user_id(const char *s, size_t len);

/*
 * A new app's name, appended to out without the white space (Unicode's
 * White_Space) at its edges: then 1 to 100 characters (code points) of UTF-8,
 * at least one of which shows, and none hidden.
 */
bool parse_app_name(const char *s, size_t len, struct buf *out);

/* The length of the character at s, which has a NUL at its end, if it is a
 * hidden one: a control (C0, C1, U+007F), a line's or paragraph's end, a bidi
 * control, U+200B, U+2060, U+FEFF, or a noncharacter. Else 0. */
size_t parse_hidden_len(const char *s);

/*
 * An operator's own label, and part of a name to look for, also of those from
 * before there were such rules: 1 to 100 characters of UTF-8 without
 * U+0000-001F or U+007F, not only white space.
 */
bool parse_is_label(const char *s, size_t len);

/*
 * The value of query parameter name (as in a=1&b=2), percent-decoded with '+'
 * as space, appended to out. False if absent; *bad is set when it is there
 * twice or does not decode.
 */
bool parse_query(
    const char *query, const char *name, struct buf *out, bool *bad);

#endif

#ifndef POSTERN_BASE_HEX_H
#define POSTERN_BASE_HEX_H

#include <stdbool.h>
#include <stddef.h>

/* Lowercase hex of n bytes into out, which holds 2n+1 bytes (NUL included). */
void hex_encode(const unsigned char *p, size_t n, char *out);

/*
 * Decode len lowercase hex characters into out (len/2 bytes, at most max).
 * False, with out untouched or zeroed, on an odd length, another character
 * (uppercase too) or too long a text. Time depends on the length only.
 */
bool hex_decode(const char *s, size_t len, unsigned char *out, size_t max);

/*
 * A well-formed public key: an even number of 32 to 128 lowercase hex digits.
 */
bool hex_is_public_key(const char *s, size_t len);

#endif

#ifndef POSTERN_BASE_UTF8_H
#define POSTERN_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Well-formed UTF-8 (RFC 3629): no overlong forms, no surrogates. */
bool utf8_valid(const char *s, size_t len);

/* The code point at s: its length in bytes; 0 if there is none, or it is not
 * well-formed. */
size_t utf8_next(const unsigned char *s, size_t len, uint32_t *cp);

/* A C0 control character or U+007F anywhere. */
bool utf8_has_control(const char *s, size_t len);

/* Unicode's property White_Space. */
bool utf8_is_white_space(uint32_t cp);

/*
 * What steers a terminal or a page, or shows nothing, so that one name passes
 * for another: a control (C0, C1, U+007F), a line's or paragraph's end, a bidi
 * control, U+200B, U+2060, U+FEFF, or a noncharacter. The joiners U+200C and
 * U+200D are letters' business in many scripts.
 */
bool utf8_is_hidden(uint32_t cp);

/* The length of the character at s, which has a NUL at its end, if it is a
 * hidden one. Else 0. */
size_t utf8_hidden_len(const char *s);

#endif

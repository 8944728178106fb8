/*
 * Media types as clients send them (RFC 9110 section 8.3.1).
 */
#include "http/media.h"

#include "http/field.h"

#include <stddef.h>
#include <string.h>
#include <strings.h>

/* The longest charset that matters. */
enum { CHARSET_MAX = 16 };

static const char *
skip_space(const char *p)
{
	return p + strspn(p, " \t");
}

/* A quoted string's next character (RFC 9110 section 5.6.4); NULL at its end
 * or where it is broken, which the caller tells by the byte at p. */
static const char *
quoted_next(const char *p, char *ch)
{
	if (*p == '\\')
		p++;
	else if (*p == '"')
		return NULL;
	if (*p != '\t' && ((unsigned char)*p < 0x20 || *p == 0x7f))
		return NULL;
	*ch = *p;
	return p + 1;
}

/* A parameter's value, unquoted, as far as it fits: longer ones are none that
 * matter. What follows it, or NULL if it is broken. */
static const char *
take_value(const char *p, char out[CHARSET_MAX])
{
	const char *next;
	size_t n = 0;
	char ch;

	if (*p != '"') {
		n = field_token_len(p);
		memcpy(out, p, n < CHARSET_MAX ? n : CHARSET_MAX - 1);
		out[n < CHARSET_MAX ? n : CHARSET_MAX - 1] = '\0';
		return n > 0 ? p + n : NULL;
	}
	for (p++; (next = quoted_next(p, &ch)) != NULL; p = next)
		if (n < CHARSET_MAX - 1)
			out[n++] = ch;
	out[n] = '\0';
	return *p == '"' ? p + 1 : NULL;
}

static bool
is_utf8(const char *charset)
{
	return strcasecmp(charset, "utf-8") == 0 ||
	       strcasecmp(charset, "utf8") == 0;
}

/* Behind a semicolon: one parameter, or none. */
static const char *
parameter(const char *p)
{
	static const char charset[] = "charset";
	size_t n = field_token_len(p);
	const char *name = p;
	char value[CHARSET_MAX];

	if (n == 0)
		return p;
	if (p[n] != '=' || (p = take_value(p + n + 1, value)) == NULL)
		return NULL;
	if (n == sizeof charset - 1 && strncasecmp(name, charset, n) == 0 &&
	    !is_utf8(value))
		return NULL;
	return p;
}

bool
media_type_is(const char *value, const char *type)
{
	const char *p = skip_space(value);
	size_t n = strlen(type);

	if (strncasecmp(p, type, n) != 0)
		return false;
	p = skip_space(p + n);
	while (*p == ';') {
		p = parameter(skip_space(p + 1));
		if (p == NULL)
			return false;
		p = skip_space(p);
	}
	return *p == '\0';
}

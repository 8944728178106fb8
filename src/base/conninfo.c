/*
 * The judgement of a conninfo: its shape as it is written, option by option or
 * as a URI, and what each option's value may hold.
 */

#include "base/conninfo.h"

#include "base/ascii.h"
#include "base/decimal.h"
#include "base/mem.h"

#include <string.h>

#define SPACE " \t\r\n\f\v"
#define KEY "abcdefghijklmnopqrstuvwxyz_" /* of which an option's name is */

static const char why_quoted[] =
    "in quotation marks that nothing takes off: write it without them";
static const char why_jdbc[] = "as JDBC writes it: needs libpq's form, "
			       "postgresql://USER:PASSWORD@HOST:PORT/DBNAME";
static const char why_scheme[] =
    "of another scheme: needs a URI that begins with postgresql://";
static const char why_shape[] =
    "needs a libpq conninfo (host=... dbname=...) or a postgresql:// URI; "
    "of the former a value with a space or a quote stands in single quotes";
static const char why_open[] = "has a single quote without its other one";
static const char why_separators[] =
    "has a ; , or & between its options: needs spaces";
static const char why_encode[] =
    "has a character that a URI of a database needs encoded: in the user and "
    "the password write %40 for @, %2F for /, %3A for :, %3F for ?, %23 for #, "
    "%25 for %, %20 for a space";
static const char why_space[] =
    "has a space, a line's end or the like, in a URI: a space is %20";
static const char why_query[] =
    "has something after its ? that is no OPTION=VALUE of libpq's";
static const char why_encode_query[] =
    "has after its ? a value with a character that needs to be encoded: %3D "
    "for =, %26 for &";
static const char why_host[] =
    "names a host with characters that no host's name has (an unencoded "
    "password? its port is an option of its own)";
static const char why_port[] =
    "has a port that is no number from 1 to 65535 (an unencoded password?)";
static const char why_name[] =
    "has one of ; & ? = : or a quotation mark in a name (of the user, the "
    "database, the service ...)";
static const char why_word[] =
    "has an option of libpq's with a value that it doesn't take";
static const char why_path[] = "has one of ; & = in the path of a file";
static const char why_options[] =
    "has options= that don't begin with a - or --";

/* What a value is; of an option that isn't here, a name. */
enum kind { NAME, USER, HOST, ADDRESS, PORT, WORD, PATH, OPTIONS, SECRET };
struct option {
	const char *key;
	enum kind kind;
};
static const struct option options[] = {
	{ "channel_binding", WORD },
	{ "client_encoding", WORD },
	{ "connect_timeout", WORD },
	{ "dbname", NAME },
	{ "gssdelegation", WORD },
	{ "gssencmode", WORD },
	{ "gsslib", WORD },
	{ "host", HOST },
	{ "hostaddr", ADDRESS },
	{ "keepalives", WORD },
	{ "keepalives_count", WORD },
	{ "keepalives_idle", WORD },
	{ "keepalives_interval", WORD },
	{ "load_balance_hosts", WORD },
	{ "oauth_client_secret", SECRET },
	{ "options", OPTIONS },
	{ "passfile", PATH },
	{ "password", SECRET },
	{ "port", PORT },
	{ "require_auth", WORD },
	{ "scram_client_key", SECRET },
	{ "scram_server_key", SECRET },
	{ "service", NAME },
	{ "servicefile", PATH },
	{ "ssl_max_protocol_version", WORD },
	{ "ssl_min_protocol_version", WORD },
	{ "sslcert", PATH },
	{ "sslcertmode", WORD },
	{ "sslcompression", WORD },
	{ "sslcrl", PATH },
	{ "sslcrldir", PATH },
	{ "sslkey", PATH },
	{ "sslmode", WORD },
	{ "sslnegotiation", WORD },
	{ "sslpassword", SECRET },
	{ "sslrootcert", PATH },
	{ "sslsni", WORD },
	{ "target_session_attrs", WORD },
	{ "tcp_user_timeout", WORD },
	{ "user", USER },
};

/* Those of libpq's options that matter here; NULL: another one. */
static const struct option *
find_option(const char *key, size_t len)
{
	size_t i;

	for (i = 0; i < sizeof options / sizeof options[0]; i++)
		if (strlen(options[i].key) == len &&
		    memcmp(options[i].key, key, len) == 0)
			return &options[i];
	return NULL;
}

static enum kind
kind_of(const char *key, size_t len)
{
	const struct option *o = find_option(key, len);

	return o != NULL ? o->kind : NAME;
}

/* None is a control character or in fewer. */
static bool
none_of(const char *s, size_t len, const char *fewer)
{
	size_t i;

	for (i = 0; i < len; i++)
		if ((unsigned char)s[i] < ' ' || s[i] == '\x7f' ||
		    strchr(fewer, s[i]) != NULL)
			return false;
	return true;
}

static bool
is_path(const char *s, size_t len)
{
	return none_of(s, len, ";&=");
}

/* A name, an address, a directory of sockets, or an abstract socket. */
static bool
is_host(const char *s, size_t len)
{
	const char *colon = memchr(s, ':', len);

	if (len > 0 && (s[0] == '/' || s[0] == '@'))
		return is_path(s, len);
	if (colon != NULL &&
	    memchr(colon + 1, ':', len - (size_t)(colon + 1 - s)) == NULL)
		return false; /* no IPv6, but a port */
	return ascii_all_alnum_or(s, len, colon != NULL ? ":.%-_" : ".-_");
}

static bool
is_address(const char *s, size_t len)
{
	return ascii_all_alnum_or(s, len, ":.%-_");
}

static bool
is_port(const char *s, size_t len)
{
	uint64_t n;

	return len == 0 || decimal_parse(s, len, 1, 65535, &n);
}

/* Each member of a comma-separated list. */
static bool
each_of(const char *s, size_t len, bool (*fits)(const char *, size_t))
{
	const char *comma;
	size_t n;

	for (;; s += n + 1, len -= n + 1) {
		comma = memchr(s, ',', len);
		n = comma != NULL ? (size_t)(comma - s) : len;
		if (!fits(s, n))
			return false;
		if (comma == NULL)
			return true;
	}
}

/* Is s a name or the value of one that a mistake has not run into another? */
static const char *
value_fault(enum kind kind, const char *s, size_t len)
{
	switch (kind) {
	case HOST:
		return each_of(s, len, is_host) ? NULL : why_host;
	case ADDRESS:
		return each_of(s, len, is_address) ? NULL : why_host;
	case PORT:
		return each_of(s, len, is_port) ? NULL : why_port;
	case WORD:
		return ascii_all_alnum_or(s, len, "._,!+-") ? NULL : why_word;
	case PATH:
		return is_path(s, len) ? NULL : why_path;
	case OPTIONS:
		s += strspn(s, SPACE);
		return *s == '-' || *s == '\0' ? NULL : why_options;
	case USER:
	case NAME:
		return none_of(s, len, kind == USER ? ";&?=\"':" : ";&?=\"'") &&
			       memmem(s, len, "://", 3) == NULL
			   ? NULL
			   : why_name;
	case SECRET:
		break;
	}
	return NULL;
}

bool
conninfo_check_option(const char *key, const char *value, const char **why)
{
	*why = value_fault(kind_of(key, strlen(key)), value, strlen(value));
	return *why == NULL;
}

/* Is there, in a value without quotes, one that is no separator of libpq's? In
 * a password only where an option follows it. */
static bool
runs_on(enum kind kind, const char *s, size_t len)
{
	size_t i, n;

	if (kind != SECRET)
		return memchr(s, ';', len) != NULL;
	for (i = 0; i < len; i++) {
		if (strchr(";,&", s[i]) == NULL)
			continue;
		n = strspn(s + i + 1, KEY);
		if (s[i + 1 + n] == '=' && find_option(s + i + 1, n) != NULL)
			return true;
	}
	return false;
}

/* The end of the value at s, as libpq finds it; NULL if a quote is open. */
static const char *
value_end(const char *s)
{
	bool quoted = *s == '\'';

	for (s += quoted; *s != '\0'; s++) {
		if (*s == '\\' && s[1] != '\0')
			s++;
		else if (quoted ? *s == '\'' : strchr(SPACE, *s) != NULL)
			return s;
	}
	return quoted ? NULL : s;
}

/* An option as it is written; value is without its quotes. */
struct pair {
	const char *key, *value;
	size_t keylen, len;
	bool quoted;
	enum kind kind;
};

/* The next OPTION=VALUE at *s, which goes on behind it. False at the end, and
 * with *why on what is none. */
static bool
next_pair(const char **s, struct pair *p, const char **why)
{
	const char *end;

	*why = NULL;
	p->key = *s + strspn(*s, SPACE);
	if (*p->key == '\0')
		return false;
	p->keylen = strspn(p->key, KEY);
	p->kind = kind_of(p->key, p->keylen);
	p->value = p->key + p->keylen;
	p->value += strspn(p->value, SPACE);
	*why = why_shape;
	if (p->keylen == 0 || *p->value != '=')
		return false;
	p->value++;
	p->value += strspn(p->value, SPACE);
	p->quoted = *p->value == '\'';
	end = value_end(p->value);
	*why = why_open;
	if (end == NULL)
		return false;
	*why = NULL;
	*s = end + p->quoted;
	p->value += p->quoted;
	p->len = (size_t)(end - p->value);
	return true;
}

/* What is wrong with OPTION=VALUE pairs, NULL = nothing. What is in quotes is
 * judged as libpq hands it on. */
static const char *
pairs_fault(const char *s)
{
	struct pair p;
	const char *why;

	while (next_pair(&s, &p, &why)) {
		if (p.quoted)
			continue;
		if (runs_on(p.kind, p.value, p.len))
			return why_separators;
		why = value_fault(p.kind, p.value, p.len);
		if (why != NULL)
			return why;
	}
	return why;
}

/* Does each % begin what stands for a byte other than NUL? */
static bool
is_encoded(const char *s, size_t len)
{
	static const char hex[] = "0123456789abcdefABCDEF";
	size_t i;

	for (i = 0; i < len; i++) {
		if (s[i] != '%')
			continue;
		if (len - i < 3 || strchr(hex, s[i + 1]) == NULL ||
		    strchr(hex, s[i + 2]) == NULL ||
		    (s[i + 1] == '0' && s[i + 2] == '0'))
			return false;
		i += 2;
	}
	return true;
}

/* HOST:PORT,[V6]:PORT ... of a URI, up to its / or ?. */
static const char *
hosts_fault(const char *s, size_t len)
{
	const char *end = s + len, *stop;

	for (;; s = stop + 1) {
		if (s < end && *s == '[') {
			stop = memchr(s, ']', (size_t)(end - s));
			if (stop == NULL || stop == s + 1 ||
			    !is_address(s + 1, (size_t)(stop - s - 1)))
				return why_host;
			s = stop + 1;
		} else {
			for (stop = s;
			     stop < end && *stop != ':' && *stop != ','; stop++)
				;
			if (!ascii_all_alnum_or(s, (size_t)(stop - s), "%.-_"))
				return why_host;
			s = stop;
		}
		for (stop = s; stop < end && *stop != ','; stop++)
			;
		if (stop > s &&
		    (*s != ':' || !is_port(s + 1, (size_t)(stop - s - 1))))
			return why_port;
		if (stop == end)
			return NULL;
	}
}

/* The next OPTION=VALUE of a URI's, as next_pair. */
static bool
next_parameter(const char **s, struct pair *p, const char **why)
{
	*why = NULL;
	if (**s == '\0')
		return false;
	p->key = *s;
	p->keylen = strspn(p->key, KEY);
	p->kind = kind_of(p->key, p->keylen);
	p->value = p->key + p->keylen + 1;
	if (p->keylen == 0 || p->value[-1] != '=') {
		*why = why_query;
		return false;
	}
	p->len = strcspn(p->value, "&");
	if (memchr(p->value, '=', p->len) != NULL) {
		*why = why_encode_query;
		return false;
	}
	*s = p->value + p->len;
	*s += **s != '\0';
	return true;
}

static bool
is_uri(const char *s)
{
	return strncmp(s, "postgresql://", 13) == 0 ||
	       strncmp(s, "postgres://", 11) == 0;
}

/* What follows ://, and the @ that ends user and password, or NULL: libpq looks
 * for it up to the first /. */
static const char *
authority(const char *s, const char **at)
{
	s = strstr(s, "://") + 3;
	*at = s + strcspn(s, "@/");
	if (**at != '@')
		*at = NULL;
	return s;
}

/* The same of a URI's user, its database and what is behind that. */
static const char *
uri_fault(const char *s, size_t len)
{
	struct pair p;
	const char *at, *user = authority(s, &at), *why;
	const char *hosts = at != NULL ? at + 1 : user;
	size_t n = strcspn(hosts, "/?");

	if (!none_of(s, len, " "))
		return why_space;
	if (!is_encoded(s, len) || memchr(hosts, '@', n) != NULL ||
	    (at != NULL && !none_of(user, strcspn(user, ":@"), ";,&=?\"'")))
		return why_encode;
	why = hosts_fault(hosts, n);
	if (why != NULL)
		return why;
	s = hosts + n;
	if (*s == '/') {
		n = strcspn(++s, "?");
		if (!none_of(s, n, "@/:;,&=\"'"))
			return why_encode;
		s += n;
	}
	why = NULL;
	if (*s++ == '?')
		while (next_parameter(&s, &p, &why))
			; /* its value is judged as libpq decodes it */
	return why;
}

/* Neither a URI of ours nor an option: what may it have been meant to be? */
static const char *
other_fault(const char *s)
{
	const char *p = s + strspn(s, SPACE);

	if (*p == '"' || *p == '\'' || *p == '`')
		return why_quoted;
	if (strncasecmp(p, "jdbc:", 5) == 0)
		return why_jdbc;
	p += strspn(p, "abcdefghijklmnopqrstuvwxyz"
		       "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+.-");
	return strncmp(p, "://", 3) == 0 ? why_scheme : NULL;
}

bool
conninfo_check(const char *s, size_t len, const char **why)
{
	if (is_uri(s))
		*why = uri_fault(s, len);
	else if ((*why = other_fault(s)) == NULL)
		*why = pairs_fault(s);
	return *why == NULL;
}

bool
conninfo_has_userinfo(const char *s)
{
	const char *at;

	if (!is_uri(s))
		return false;
	(void)authority(s, &at);
	return at != NULL;
}

/* Overwrite in copy the password before the @ of the URI s; what follows its ?
 * is returned. */
static const char *
blank_userinfo(const char *s, char *copy)
{
	const char *at, *p = authority(s, &at);

	if (at != NULL) {
		p += strcspn(p, ":@");
		if (p < at)
			memset(copy + (p + 1 - s), 'x', (size_t)(at - p - 1));
		p = at;
	}
	p += strcspn(p, "?");
	return p + (*p != '\0');
}

char *
conninfo_blanked(const char *s)
{
	char *copy = mem_strdup(s);
	bool uri = is_uri(s);
	const char *rest = uri ? blank_userinfo(s, copy) : s, *why;
	struct pair p;

	while (
	    uri ? next_parameter(&rest, &p, &why) : next_pair(&rest, &p, &why))
		if (p.kind == SECRET)
			memset(copy + (p.value - s), 'x', p.len);
	return copy;
}

/*
 * A request as the web server's params tell it. The params come from four
 * servers with as many habits (names twice, empty values, rewritten paths), and
 * all of their bytes may be a stranger's: one scan, then rules.
 */
#include "http/request.h"

#include "base/clock.h"
#include "base/crypto.h"
#include "base/decimal.h"
#include "base/hex.h"
#include "base/name.h"
#include "base/percent.h"

#include <string.h>
#include <sys/param.h>

/* The params that matter, by the length of their names; the rest are only
 * counted. */
enum param {
	FCGI_ROLE,
	PATH_INFO,
	REQUEST_URI,
	SCRIPT_NAME,
	REMOTE_ADDR,
	ORIGIN,
	QUERY_STRING,
	CONTENT_TYPE,
	POSTERN_GATE,
	IF_MATCH,
	REQUEST_METHOD,
	CONTENT_LENGTH,
	X_REQUEST_ID,
	X_PUBLIC_KEY,
	IF_NONE_MATCH,
	CONTENT_RANGE,
	X_FORWARDED_FOR,
	CONTENT_ENCODING,
	CORS_HEADERS,
	PARAMS
};

/* Those that say what is asked, by whom and of what length. */
#define BIT(p) (UINT32_C(1) << (p))
static const uint32_t deciding =
    BIT(FCGI_ROLE) | BIT(PATH_INFO) | BIT(REQUEST_URI) | BIT(SCRIPT_NAME) |
    BIT(REMOTE_ADDR) | BIT(ORIGIN) | BIT(QUERY_STRING) | BIT(CONTENT_TYPE) |
    BIT(POSTERN_GATE) | BIT(REQUEST_METHOD) | BIT(CONTENT_LENGTH) |
    BIT(CONTENT_ENCODING);

#define NAME(n) (n), sizeof(n) - 1
static const struct {
	const char *name;
	size_t len;
} names[PARAMS] = {
	[FCGI_ROLE] = { NAME("FCGI_ROLE") },
	[PATH_INFO] = { NAME("PATH_INFO") },
	[REQUEST_URI] = { NAME("REQUEST_URI") },
	[SCRIPT_NAME] = { NAME("SCRIPT_NAME") },
	[REMOTE_ADDR] = { NAME("REMOTE_ADDR") },
	[ORIGIN] = { NAME("HTTP_ORIGIN") },
	[QUERY_STRING] = { NAME("QUERY_STRING") },
	[CONTENT_TYPE] = { NAME("CONTENT_TYPE") },
	[POSTERN_GATE] = { NAME("POSTERN_GATE") },
	[IF_MATCH] = { NAME("HTTP_IF_MATCH") },
	[REQUEST_METHOD] = { NAME("REQUEST_METHOD") },
	[CONTENT_LENGTH] = { NAME("CONTENT_LENGTH") },
	[X_REQUEST_ID] = { NAME("HTTP_X_REQUEST_ID") },
	[X_PUBLIC_KEY] = { NAME("HTTP_X_PUBLIC_KEY") },
	[IF_NONE_MATCH] = { NAME("HTTP_IF_NONE_MATCH") },
	[CONTENT_RANGE] = { NAME("HTTP_CONTENT_RANGE") },
	[X_FORWARDED_FOR] = { NAME("HTTP_X_FORWARDED_FOR") },
	[CONTENT_ENCODING] = { NAME("HTTP_CONTENT_ENCODING") },
	[CORS_HEADERS] = { NAME("HTTP_ACCESS_CONTROL_REQUEST_HEADERS") },
};
#undef NAME

/* Which param it is of those that matter; PARAMS for the others. */
static enum param
param_of(const char *name, size_t len)
{
	static unsigned char first[64]; /* of a length, plus 1; found once */
	size_t i = 0;

	if (len == 0 || len > names[PARAMS - 1].len || len >= sizeof first)
		return PARAMS;
	if (first[len] == 0) {
		while (names[i].len < len)
			i++;
		first[len] = (unsigned char)(i + 1);
	}
	for (i = first[len] - 1u; i < PARAMS && names[i].len == len; i++)
		if (name[len - 1] == names[i].name[len - 1] &&
		    memcmp(name, names[i].name, len) == 0)
			return (enum param)i;
	return PARAMS;
}

/* Values by name; NULL where there is none. */
struct params {
	const char *value[PARAMS];
	uint64_t authorizations; /* seen, by how often they were redirected */
};

static const char *
text_of(const struct params *p, enum param name)
{
	return p->value[name] != NULL ? p->value[name] : "";
}

/* What follows the prefix, NULL if s doesn't begin with it: most params differ
 * in the first bytes. */
static inline char *
behind(char *s, const char *prefix)
{
	for (; *prefix != '\0'; s++, prefix++)
		if (*s != *prefix)
			return NULL;
	return s;
}

char *
request_authorization(char *param, size_t *redirects)
{
	char *next;

	*redirects = 0;
	for (; (next = behind(param, "REDIRECT_")) != NULL; param = next)
		++*redirects;
	return behind(param, "HTTP_AUTHORIZATION=");
}

/*
 * Each of Apache's internal redirects puts REDIRECT_ before a variable's name,
 * and the header itself may be there or not: any of them will do, and none may
 * say another thing, or come twice.
 */
static void
take_authorization(
    struct request *req, struct params *p, const char *value, size_t redirects)
{
	uint64_t bit = UINT64_C(1) << MIN(redirects, 63);

	if (*value == '\0')
		return;
	if ((p->authorizations & bit) != 0 ||
	    (req->authorization != NULL &&
		strcmp(req->authorization, value) != 0))
		req->credential_doubled = true;
	p->authorizations |= bit;
	if (req->authorization == NULL)
		req->authorization = value;
}

/*
 * A value of a param that matters. A second credential is a refusal, and so is
 * a second opinion on what decides; empty ones of these count as absent:
 * recipes send them for headers that the client left out. Of other names that
 * come twice the last one counts, or they are lists.
 */
static void
take_param(
    struct request *req, struct params *p, enum param i, const char *value)
{
	bool decides = (deciding & BIT(i)) != 0;

	if ((decides || i == X_PUBLIC_KEY) && *value == '\0')
		return;
	if (i == X_PUBLIC_KEY && p->value[i] != NULL)
		req->credential_doubled = true;
	if (decides && p->value[i] != NULL && strcmp(p->value[i], value) != 0)
		req->param_doubled = names[i].name;
	if (i == IF_MATCH)
		etag_list_add(&req->if_match, value, false);
	if (i == IF_NONE_MATCH)
		etag_list_add(&req->if_none_match, value, true);
	p->value[i] = value;
}

/* One NAME=value. Returns its length. */
static size_t
scan_one(struct request *req, struct params *p, char *param)
{
	size_t len = strlen(param), redirects;
	const char *equals = memchr(param, '=', len), *value;
	enum param i;

	if (equals == NULL)
		return len;
	i = param_of(param, (size_t)(equals - param));
	if (i != PARAMS)
		take_param(req, p, i, equals + 1);
	else if ((value = request_authorization(param, &redirects)) != NULL)
		take_authorization(req, p, value, redirects);
	return len;
}

static void
scan(struct request *req, struct params *p, char *const *params)
{
	size_t n, bytes = 0;

	for (n = 0; params[n] != NULL; n++)
		bytes += scan_one(req, p, params[n]);
	req->params_excess =
	    n > REQUEST_MAX_PARAMS || bytes > REQUEST_MAX_PARAM_BYTES;
	req->content_type = text_of(p, CONTENT_TYPE);
	req->content_encoding = text_of(p, CONTENT_ENCODING);
	req->origin = text_of(p, ORIGIN);
	req->cors_headers = text_of(p, CORS_HEADERS);
	req->remote_addr = text_of(p, REMOTE_ADDR);
	req->forwarded_for = p->value[X_FORWARDED_FOR];
	req->content_range = p->value[CONTENT_RANGE] != NULL;
	req->public_key = p->value[X_PUBLIC_KEY];
}

static enum method
method_of(const char *name)
{
	static const struct {
		const char *name;
		enum method method;
	} methods[] = {
		{ "GET", M_GET },
		{ "HEAD", M_HEAD },
		{ "POST", M_POST },
		{ "PUT", M_PUT },
		{ "PATCH", M_PATCH },
		{ "DELETE", M_DELETE },
		{ "OPTIONS", M_OPTIONS },
	};
	size_t i;

	for (i = 0; i < sizeof methods / sizeof methods[0]; i++)
		if (strcmp(name, methods[i].name) == 0)
			return methods[i].method;
	return M_OTHER;
}

/* Is prefix a whole number of leading segments of path[0..len)? */
static bool
is_mount(const char *path, size_t len, const char *prefix, size_t n)
{
	return n > 0 && n <= len && memcmp(path, prefix, n) == 0 &&
	       (n == len || path[n] == '/');
}

static bool
ends_with(const char *s, size_t len, const char *end)
{
	size_t n = strlen(end);

	return len > n && memcmp(s + len - n, end, n) == 0;
}

/*
 * How much of the path is the mount point. A script's name only counts with a
 * PATH_INFO behind it: nginx calls the whole path SCRIPT_NAME, and a user may
 * be named "x.fcgi".
 */
static size_t
mount_length(
    const char *path, size_t len, const struct params *p, const char *base)
{
	const char *script = text_of(p, SCRIPT_NAME);
	size_t n = strlen(base), slash;

	if (is_mount(path, len, base, n))
		return n;
	n = strlen(script);
	if (*text_of(p, PATH_INFO) == '\0' ||
	    !(ends_with(script, n, ".fcgi") || ends_with(script, n, ".cgi")))
		return 0;
	if (is_mount(path, len, script, n))
		return n;
	slash =
	    (size_t)(strrchr(script, '/') ? strrchr(script, '/') - script : 0);
	return is_mount(path, len, script, slash) ? slash : 0;
}

/* Split at '/'; an empty segment, or too many, is no route. */
static void
split(struct request *req, const char *p, const char *end)
{
	const char *next;

	req->npath = SIZE_MAX;
	if (p == end || *p != '/')
		return;
	if (p + 1 == end) {
		req->npath = 0;
		return;
	}
	for (req->npath = 0; p < end; p = next) {
		p++;
		next = memchr(p, '/', (size_t)(end - p));
		if (next == NULL)
			next = end;
		if (next == p || req->npath == REQUEST_MAX_SEGMENTS ||
		    (next + 1 == end && *next == '/')) {
			req->npath = SIZE_MAX;
			return;
		}
		req->path[req->npath].p = p;
		req->path[req->npath++].len = (size_t)(next - p);
	}
}

/* What follows scheme and authority of a request-target in absolute form (RFC
 * 3986 section 3, RFC 9112 section 3.2.2); any other form is itself. */
static const char *
after_authority(const char *uri)
{
	const char *p = uri;

	if ((*p | 0x20) < 'a' || (*p | 0x20) > 'z')
		return uri;
	p += strspn(p, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
		       "0123456789+-.");
	if (strncmp(p, "://", 3) != 0)
		return uri;
	p += 3;
	return p + strcspn(p, "/?#");
}

/* The path rule: see request_init in the header. */
static void
resolve_path(struct request *req, const struct params *p, const char *base)
{
	const char *uri = after_authority(text_of(p, REQUEST_URI)), *end;
	size_t len, mount;

	len = strcspn(uri, "?#");
	end = uri + len;
	req->query = *end == '?' ? end + 1 : "";
	mount = mount_length(uri, len, p, base);
	req->mount = uri;
	req->mount_len = mount;
	split(req, uri + mount, end);
}

/* Without REQUEST_URI (CGI of other servers): script and path, decoded by the
 * server; '%' in them is a plain character, so it is encoded once more. */
static void
resolve_script(
    struct request *req, struct params *p, const char *base, struct buf *uri)
{
	const char *s;

	buf_adds(uri, text_of(p, SCRIPT_NAME));
	for (s = text_of(p, PATH_INFO); *s != '\0'; s++)
		if (*s == '%' || *s == '?' || *s == '#')
			buf_addf(uri, "%%%02X", (unsigned)(unsigned char)*s);
		else
			buf_addc(uri, *s);
	p->value[REQUEST_URI] = buf_str(uri);
	resolve_path(req, p, base);
	req->query = text_of(p, QUERY_STRING);
}

/* The record says the role, and a param of that name may only say the same. */
static void
check_role(struct request *req, const struct params *p, bool authorizer)
{
	const char *role = p->value[FCGI_ROLE];

	if (role != NULL && (strcmp(role, "AUTHORIZER") == 0) != authorizer)
		req->param_doubled = names[FCGI_ROLE].name;
}

static void
set_gate(struct request *req, const struct params *p, bool authorizer)
{
	static const char *const auth[] = { "v1", "auth" };
	const char *gate = text_of(p, POSTERN_GATE);
	bool path = req->npath == 2;
	size_t i;

	for (i = 0; path && i < 2; i++)
		path = req->path[i].len == strlen(auth[i]) &&
		       memcmp(req->path[i].p, auth[i], req->path[i].len) == 0;
	if (authorizer)
		req->gate = GATE_AUTHORIZER;
	else if (strcmp(gate, "nginx") == 0)
		req->gate = GATE_NGINX;
	else if (*gate != '\0' || path)
		req->gate = GATE_PLAIN; /* an unknown value decides as well */
	else
		req->gate = GATE_NO;
}

/* Absent, empty and Caddy's -1 are unknown; all else must be a number. */
static void
set_content_length(struct request *req, const char *text)
{
	uint64_t n;

	req->content_length = -1;
	if (*text == '\0' || strcmp(text, "-1") == 0)
		return;
	if (decimal_parse(text, strlen(text), 0, INT64_MAX, &n))
		req->content_length = (int64_t)n;
	else
		req->content_length_bad = true;
}

/*
 * Ids have to be unique, no more: a random beginning for this process and a
 * count. Only processes that serve requests come here, and those don't fork.
 */
static void
make_id(struct request *req)
{
	static char beginning[17];
	static uint64_t count;
	unsigned char id[8];
	size_t i;

	if (count++ == 0) {
		crypto_random(id, sizeof id);
		hex_encode(id, sizeof id, beginning);
	}
	for (i = 0; i < sizeof id; i++)
		id[i] = (unsigned char)(count >> (56 - 8 * i));
	memcpy(req->id, beginning, 16);
	hex_encode(id, sizeof id, req->id + 16);
}

static void
set_id(struct request *req, const char *theirs)
{
	if (name_is_request_id(theirs, strlen(theirs))) {
		memcpy(req->id, theirs, strlen(theirs) + 1);
		return;
	}
	make_id(req);
}

void
request_init(
    struct request *req, char *const *params, bool authorizer, const char *base)
{
	struct params p = { 0 };

	req->start_us = clock_mono_us();
	scan(req, &p, params);
	req->method_name = text_of(&p, REQUEST_METHOD);
	req->method = method_of(req->method_name);
	if (*text_of(&p, REQUEST_URI) != '\0')
		resolve_path(req, &p, base);
	else
		resolve_script(req, &p, base, &req->uri);
	check_role(req, &p, authorizer);
	set_gate(req, &p, authorizer);
	set_content_length(req, text_of(&p, CONTENT_LENGTH));
	set_id(req, text_of(&p, X_REQUEST_ID));
}

void
request_add_path(const struct request *req, struct buf *out)
{
	size_t i;

	buf_add(out, req->mount, req->mount_len);
	for (i = 0; i < req->npath; i++) {
		buf_addc(out, '/');
		percent_encode_segment(out, req->path[i].p, req->path[i].len);
	}
}

void
request_clear(struct request *req)
{
	buf_free(&req->body);
	buf_free(&req->uri);
	etag_list_clear(&req->if_match);
	etag_list_clear(&req->if_none_match);
	memset(req, 0, sizeof *req);
}

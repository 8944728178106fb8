/*
 * The requests of `postern doctor`, and what an answer shows: was it Postern
 * that gave it, or something in between?
 */
#include "auth/token.h"
#include "base/clock.h"
#include "base/crypto.h"
#include "base/hex.h"
#include "base/json.h"
#include "cli/doctor.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { EXPIRES = 300, JTI_BYTES = 16, ID_BYTES = 8 };

static bool
is_own(const struct doctor *d, enum creds creds)
{
	return creds == CREDS_OWN || (creds == CREDS_BEST && d->works);
}

/* A token for each request: where tokens are good once, so is each of ours. */
static bool
mint(const struct doctor *d, const struct ask *a, size_t padding,
    struct buf *token)
{
	const struct secret *key = is_own(d, a->creds) ? &d->key : &d->wrong;
	int64_t now = (int64_t)clock_wall();
	unsigned char raw[JTI_BYTES];
	char jti[2 * JTI_BYTES + 1];
	struct buf claims = { 0 };
	bool ok;

	crypto_random(raw, sizeof raw);
	hex_encode(raw, sizeof raw, jti);
	buf_addf(&claims,
	    "{\"iat\":%" PRId64 ",\"exp\":%" PRId64 ",\"jti\":\"%s\"", now,
	    now + (a->expires > 0 ? a->expires : EXPIRES), jti);
	if (a->sub != NULL) {
		buf_adds(&claims, ",\"sub\":");
		json_add_string(&claims, a->sub, strlen(a->sub));
	}
	if (padding > 0) {
		buf_adds(&claims, ",\"pad\":\"");
		while (padding-- > 0)
			buf_addc(&claims, 'x');
		buf_addc(&claims, '"');
	}
	buf_addc(&claims, '}');
	ok = token_mint(key, d->hash, buf_str(&claims), token);
	buf_free(&claims);
	return ok;
}

/* Three bytes are four characters of base64url; the claim takes some, too. */
static bool
add_token(const struct doctor *d, const struct ask *a, struct buf *out)
{
	struct buf token = { 0 };
	bool ok = mint(d, a, 0, &token);

	if (ok && a->longest) {
		size_t padding = (TOKEN_MAX - token.len) / 4 * 3 - 12;

		buf_free(&token);
		ok = mint(d, a, padding, &token);
	}
	buf_add(out, buf_str(&token), token.len);
	buf_free(&token);
	return ok;
}

static bool
add_headers(const struct doctor *d, const struct ask *a, const char *id,
    struct buf *out)
{
	buf_addf(out, "X-Request-Id: %s\n", id);
	if (a->body != NULL)
		buf_adds(out, "Content-Type: application/json\n");
	if (a->extra != NULL)
		buf_addf(out, "%s\n", a->extra);
	if (a->creds == CREDS_NONE)
		return true;
	buf_addf(out, "X-Public-Key: %s\nAuthorization: Bearer ",
	    is_own(d, a->creds) ? d->public_key : d->unknown);
	if (!add_token(d, a, out))
		return false;
	buf_addc(out, '\n');
	return true;
}

/* A member of strangers' JSON: kept if it is a short word of ours. */
static bool
take_word(const struct json *j, const char *name, char *out, size_t size)
{
	const char *s;
	size_t len;

	if (!json_member_string(j, name, &s, &len) || len == 0 || len >= size ||
	    strspn(s, "abcdefghijklmnopqrstuvwxyz_") != len)
		return false;
	memcpy(out, s, len + 1);
	return true;
}

static bool
is_problem_type(const struct reply *r)
{
	static const char type[] = "application/problem+json";
	struct buf value = { 0 };
	bool yes;

	yes = http_header(&r->http, "Content-Type", &value) &&
	      strncasecmp(value.data, type, sizeof type - 1) == 0;
	buf_free(&value);
	return yes;
}

/* RFC 9457, as http/problem.c writes it. */
static bool
read_problem(struct reply *r)
{
	static const char urn[] = "urn:postern:request:";
	const struct buf *body = &r->http.body;
	struct json *j = NULL;
	const char *s;
	size_t len;
	bool yes = false;

	if (is_problem_type(r))
		j = json_parse(buf_str(body), body->len);
	if (j != NULL)
		yes = json_member_string(j, "instance", &s, &len) &&
		      strncmp(s, urn, sizeof urn - 1) == 0 &&
		      take_word(j, "code", r->code, sizeof r->code);
	if (yes)
		r->id_arrived = strcmp(s + sizeof urn - 1, r->id) == 0;
	json_free(j);
	return yes;
}

/* Without the body, the challenge still tells most of it (RFC 6750 section
 * 3.1, and what problem.c makes of it). */
static bool
read_challenge(struct reply *r)
{
	static const char scheme[] = "Bearer realm=\"";
	struct buf value = { 0 };
	const char *code = "challenge";
	bool yes;

	yes = http_header(&r->http, "WWW-Authenticate", &value) &&
	      strncmp(value.data, scheme, sizeof scheme - 1) == 0;
	if (yes && strstr(value.data, "error=\"invalid_token\"") != NULL)
		code = "invalid_credentials";
	else if (yes && strstr(value.data, "error=\"invalid_request\"") != NULL)
		code = "public_key_missing";
	if (yes)
		snprintf(r->code, sizeof r->code, "%s", code);
	buf_free(&value);
	return yes;
}

static void
judge(const struct doctor *d, bool head, struct reply *r)
{
	struct buf id = { 0 };

	r->id_echoed = http_header(&r->http, "X-Request-Id", &id) &&
		       strcmp(id.data, r->id) == 0;
	buf_free(&id);
	r->problem = read_problem(r);
	r->ours = r->problem || (head && is_problem_type(r));
	if (!r->ours && r->http.status == 401)
		r->ours = read_challenge(r);
	if (!r->ours && r->http.status < 400)
		r->ours = r->id_echoed || d->id_lost;
	snprintf(r->shown, sizeof r->shown, "%d %s", r->http.status,
	    !r->ours             ? "from the web server"
	    : r->code[0] != '\0' ? r->code
				 : "from Postern");
}

void
doctor_ask(const struct doctor *d, const struct ask *a, struct reply *r)
{
	struct http_request q = { .site = &d->site,
		.path = a->path,
		.method = a->method,
		.agent = "postern-doctor",
		.body = a->body,
		.body_len = a->body_len,
		.chunked = a->chunked,
		.timeout_s = d->timeout_s };
	unsigned char raw[ID_BYTES];
	char hex[2 * ID_BYTES + 1];

	crypto_random(raw, sizeof raw);
	hex_encode(raw, sizeof raw, hex);
	snprintf(r->id, sizeof r->id, "doctor-%s", hex);
	if (add_headers(d, a, r->id, &q.headers))
		r->answered = http_ask(&q, &r->http);
	else
		buf_adds(&r->http.fault, "the token could not be made");
	if (r->answered)
		judge(d, strcmp(a->method, "HEAD") == 0, r);
	else
		snprintf(r->shown, sizeof r->shown, "no answer (%s)",
		    buf_str(&r->http.fault));
	buf_free(&q.headers);
}

void
reply_clear(struct reply *r)
{
	http_answer_clear(&r->http);
	memset(r, 0, sizeof *r);
}

/*
 * The refusals: one table, and the one place where an enum becomes an HTTP
 * answer (RFC 9457).
 */
#include "http/problem.h"

#include "base/json.h"

#include <stddef.h>
#include <string.h>

/* The challenge of RFC 6750 section 3: none, bare, or with this error. */
static const char BARE[] = "";

static const struct {
	int status;
	const char *code;
	const char *challenge;
	const char *detail;
} problems[P_COUNT] = {
	[P_NONE] = { 200, "none", NULL, "" },
	[P_BAD_REQUEST] = { 400, "bad_request", NULL,
	    "The request is malformed." },
	[P_BODY_INCOMPLETE] = { 400, "body_incomplete", NULL,
	    "The body did not arrive as announced; nothing was done." },
	[P_BODY_REQUIRED] = { 400, "body_required", NULL,
	    "A JSON body is required." },
	[P_JSON_INVALID] = { 400, "json_invalid", NULL,
	    "The body is not one well-formed JSON object." },
	[P_VALUE_INVALID] = { 400, "value_invalid", NULL,
	    "A value is out of its bounds." },
	[P_KEY_INVALID] = { 400, "key_invalid", NULL,
	    "jwk is no public key that is taken here." },
	[P_CREDENTIALS_MISSING] = { 401, "credentials_missing", BARE,
	    "This needs credentials; none were sent." },
	[P_PUBLIC_KEY_MISSING] = { 401, "public_key_missing", "invalid_request",
	    "The X-Public-Key header is missing." },
	[P_TOKEN_MISSING] = { 401, "token_missing", BARE,
	    "The Authorization header with a bearer token is missing." },
	[P_INVALID_CREDENTIALS] = { 401, "invalid_credentials", "invalid_token",
	    "The credentials are not valid." },
	[P_TOKEN_EXPIRED] = { 401, "token_expired", "invalid_token",
	    "The token's exp is in the past." },
	[P_TOKEN_NOT_YET_VALID] = { 401, "token_not_yet_valid", "invalid_token",
	    "The token's nbf or iat is in the future." },
	[P_TOKEN_WITHOUT_EXP] = { 401, "token_without_exp", "invalid_token",
	    "The token has no exp claim." },
	[P_TOKEN_TOO_OLD] = { 401, "token_too_old", "invalid_token",
	    "The token's iat is longer ago than this server allows." },
	[P_TOKEN_WITHOUT_IAT] = { 401, "token_without_iat", "invalid_token",
	    "The token has no iat claim, which this server requires." },
	[P_TOKEN_AUDIENCE] = { 401, "token_audience", "invalid_token",
	    "The token's aud does not name this server, or, under an app's "
	    "own key, the app's public key." },
	[P_TOKEN_SUBJECT] = { 401, "token_subject", "invalid_token",
	    "The token's sub must be absent or a non-empty string." },
	[P_TOKEN_ALGORITHM] = { 401, "token_algorithm", "invalid_token",
	    "The token's alg is not that of the app's key." },
	[P_TOKEN_MALFORMED] = { 401, "token_malformed", "invalid_token",
	    "The token's header or claims are malformed." },
	[P_TOKEN_WITHOUT_JTI] = { 401, "token_without_jti", "invalid_token",
	    "The token has no jti claim, which this server requires." },
	[P_TOKEN_REPLAYED] = { 401, "token_replayed", "invalid_token",
	    "The token was used before; here each is good once." },
	[P_REGISTRATION_CLOSED] = { 403, "registration_closed", NULL,
	    "This server takes no registrations." },
	[P_PREVIOUS_SECRET] = { 403, "previous_secret", NULL,
	    "A token signed with the previous secret can't manage the app." },
	[P_APP_TOKEN_REQUIRED] = { 403, "app_token_required",
	    "insufficient_scope", "This needs a token without sub." },
	[P_USER_TOKEN_REQUIRED] = { 403, "user_token_required",
	    "insufficient_scope", "This needs a token with sub." },
	[P_OTHER_USER] = { 403, "other_user", "insufficient_scope",
	    "A user token reaches only its own user's document." },
	[P_NO_ROUTE] = { 404, "no_such_route", NULL,
	    "There is nothing at this path." },
	[P_NOT_FOUND] = { 404, "not_found", NULL, "There is no such thing." },
	[P_METHOD_NOT_ALLOWED] = { 405, "method_not_allowed", NULL,
	    "This path does not take the method." },
	[P_CONFLICT] = { 409, "conflict", NULL,
	    "It was changed by another request at the same time." },
	[P_OVERLAP] = { 409, "overlap_in_progress", NULL,
	    "The secret key before this one is still valid; end_previous ends "
	    "it." },
	[P_KEY_IN_USE] = { 409, "key_in_use", NULL,
	    "Another app has this key: each needs one of its own." },
	[P_PRECONDITION_FAILED] = { 412, "precondition_failed", NULL,
	    "If-Match or If-None-Match does not hold." },
	[P_BODY_TOO_LARGE] = { 413, "body_too_large", NULL,
	    "The body is larger than this server takes." },
	[P_MEDIA_TYPE] = { 415, "unsupported_media_type", NULL,
	    "The body must be application/json in UTF-8, not encoded." },
	[P_TOO_MANY_FAILURES] = { 429, "too_many_failures", NULL,
	    "Credentials from this address, or for this key, were refused too "
	    "often lately." },
	[P_TOO_MANY_REGISTRATIONS] = { 429, "too_many_registrations", NULL,
	    "There were too many registrations from this address lately." },
	[P_APP_RATE_LIMITED] = { 429, "app_rate_limited", NULL,
	    "This app makes more requests than this server allows." },
	[P_UNAVAILABLE] = { 503, "database_unavailable", NULL,
	    "The database can't be reached now; try again." },
	[P_KEY_UNAVAILABLE] = { 503, "key_unavailable", NULL,
	    "This app's key can't be opened now; tell the operator." },
	[P_INTERNAL] = { 500, "internal_error", NULL,
	    "The server failed; the request id tells the operator where." },
};

int
problem_status(enum problem p)
{
	return problems[p].status;
}

const char *
problem_code(enum problem p)
{
	return problems[p].code;
}

enum problem
problem_from_status(enum status st)
{
	static const enum problem map[] = {
		[ST_OK] = P_NONE,
		[ST_NOT_FOUND] = P_NOT_FOUND,
		[ST_CONFLICT] = P_CONFLICT,
		[ST_OVERLAP] = P_OVERLAP,
		[ST_KEY_IN_USE] = P_KEY_IN_USE,
		[ST_PRECONDITION] = P_PRECONDITION_FAILED,
		[ST_INVALID] = P_VALUE_INVALID,
		[ST_TOO_LARGE] = P_BODY_TOO_LARGE,
		[ST_UNAVAILABLE] = P_UNAVAILABLE,
		[ST_LOCKED] = P_UNAVAILABLE,
		[ST_KEY_MISSING] = P_KEY_UNAVAILABLE,
		[ST_BROKEN] = P_INTERNAL,
	};

	return map[st];
}

/* RFC 6750 section 3: no error where no credential was sent. */
static void
add_challenge(struct response *res, enum problem p, const char *realm)
{
	const char *error = problems[p].challenge;
	struct buf value = { 0 };

	if (error == NULL)
		return;
	buf_addf(&value, "Bearer realm=\"%s\"", realm);
	if (error != BARE)
		buf_addf(&value, ", error=\"%s\", error_description=\"%s\"",
		    error, problems[p].detail);
	response_header(res, "WWW-Authenticate", buf_str(&value));
	buf_free(&value);
}

static void
add_member(struct buf *b, const char *name, const char *value)
{
	buf_addf(b, "\"%s\":", name);
	json_add_string(b, value, strlen(value));
	buf_addc(b, ',');
}

void
problem_render(struct response *res, enum problem p, const char *detail,
    const struct request *req, const char *realm)
{
	struct buf *b = &res->body;

	response_clear(res);
	res->status = problems[p].status;
	res->content_type = "application/problem+json";
	add_challenge(res, p, realm);
	if (res->status == 503)
		response_header(res, "Retry-After", "1");
	buf_addc(b, '{');
	add_member(b, "type", "about:blank");
	add_member(b, "title", response_reason(res->status));
	buf_addf(b, "\"status\":%d,", res->status);
	add_member(b, "detail", detail != NULL ? detail : problems[p].detail);
	buf_addf(b, "\"instance\":\"urn:postern:request:%s\",", req->id);
	buf_addf(b, "\"code\":\"%s\"}\n", problems[p].code);
}

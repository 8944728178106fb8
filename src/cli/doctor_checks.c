/*
 * What gets through the web server, once Postern is known to be behind it:
 * credentials, methods, bodies, paths, the time. Nothing is sent that could
 * change anything but the scratch document of a user of our own making.
 */
#include "cli/doctor.h"

#include "auth/token.h"
#include "base/clock.h"
#include "base/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { KB = 1024, MAX_BODY = 65536, PATH_MAX_LEN = 160 };
enum { NEAR_EXPIRY_S = 20, SKEW_WARN_S = 5, SKEW_FAIL_S = 30 };

static bool
has_code(const struct reply *r, const char *code)
{
	return strcmp(r->code, code) == 0;
}

/* Postern's no to credentials that are no app's: by then the request was
 * there. It may have had too many of them, or be without its database. */
static bool
is_refusal(const struct reply *r)
{
	return r->ours && (r->http.status == 401 || r->http.status == 429 ||
			      r->http.status == 503);
}

/* The two headers, by what Postern misses. */
static void
judge_headers(struct doctor *d, const struct reply *r)
{
	bool none = has_code(r, "credentials_missing");
	bool no_token =
	    none || has_code(r, "token_missing") || has_code(r, "challenge");
	bool no_key = none || has_code(r, "public_key_missing");

	if (!r->ours || r->http.status == 429) {
		report_add(&d->report, REPORT_FAIL, "Authorization",
		    "can't be told: %s", r->shown);
		return;
	}
	if (no_token) {
		report_add(&d->report, REPORT_FAIL, "Authorization",
		    "%s: it does not reach Postern", r->shown);
		doctor_advise(d, TOPIC_AUTHORIZATION, "");
	} else
		report_add(&d->report, REPORT_OK, "Authorization", "arrives");
	if (has_code(r, "challenge"))
		report_add(&d->report, REPORT_WARN, "X-Public-Key",
		    "can't be told while refusals lose their code");
	else if (no_key) {
		report_add(&d->report, REPORT_FAIL, "X-Public-Key",
		    "%s: it does not reach Postern", r->shown);
		doctor_advise(d, TOPIC_PUBLIC_KEY, "");
	} else
		report_add(&d->report, REPORT_OK, "X-Public-Key", "arrives");
}

static void
advise_clock(struct doctor *d)
{
	report_advise(&d->report, "",
	    "on the machine whose clock is wrong, as root",
	    "timedatectl set-ntp true\n");
}

/* The app's own credentials: 200 with its public key, or why not. */
static void
judge_own(struct doctor *d, const struct reply *r)
{
	bool late = has_code(r, "token_expired");
	bool early = has_code(r, "token_not_yet_valid");

	d->works = r->http.status == 200 && r->http.body.len > 0 &&
		   strstr(buf_str(&r->http.body), d->public_key) != NULL;
	if (d->works)
		report_add(
		    &d->report, REPORT_OK, "credentials", "the app is let in");
	else if (has_code(r, "invalid_credentials"))
		report_add(&d->report, REPORT_FAIL, "credentials",
		    "refused: a wrong key, a disabled or expired app, or a "
		    "header that arrives twice or changed; the log tells "
		    "which, at %s",
		    r->id);
	else if (late || early)
		report_add(&d->report, REPORT_FAIL, "credentials",
		    "%s, a token of now: Postern's clock is %s ours", r->code,
		    late ? "ahead of" : "behind");
	else
		report_add(&d->report, REPORT_FAIL, "credentials",
		    "the app is not let in: %s", r->shown);
	if (late || early)
		advise_clock(d);
}

void
doctor_check_credentials(struct doctor *d)
{
	const struct ask a = { .method = "GET",
		.path = "/v1/whoami",
		.creds = d->public_key != NULL ? CREDS_OWN : CREDS_UNKNOWN };
	struct reply r = { 0 };

	doctor_ask(d, &a, &r);
	judge_headers(d, &r);
	if (d->public_key != NULL && r.ours)
		judge_own(d, &r);
	reply_clear(&r);
}

/* OPTIONS is Postern's if it allows what only Postern does there; a web server
 * that answers preflights by itself may mean it. */
static enum verdict
judge_method(const struct ask *a, const struct reply *r)
{
	struct buf allow = { 0 };
	bool ours;

	if (strcmp(a->method, "OPTIONS") != 0)
		return r->ours && r->http.status >= 400 ? REPORT_OK
							: REPORT_FAIL;
	ours = http_header(&r->http, "Allow", &allow) &&
	       strstr(allow.data, "PATCH") != NULL;
	buf_free(&allow);
	if (ours && r->http.status == 204)
		return REPORT_OK;
	return r->http.status >= 200 && r->http.status < 300 ? REPORT_WARN
							     : REPORT_FAIL;
}

/* With credentials of no app: none of these may do anything. */
void
doctor_check_methods(struct doctor *d)
{
	static const struct ask asks[] = {
		{ "GET", "/v1/me", CREDS_UNKNOWN, .sub = "doctor" },
		{ "HEAD", "/v1/me", CREDS_UNKNOWN, .sub = "doctor" },
		{ "POST", "/v1/app/rotate", CREDS_UNKNOWN, .body = "{}",
		    .body_len = 2 },
		{ "PUT", "/v1/me", CREDS_UNKNOWN, .sub = "doctor", .body = "{}",
		    .body_len = 2 },
		{ "PATCH", "/v1/me", CREDS_UNKNOWN, .sub = "doctor",
		    .body = "{}", .body_len = 2 },
		{ "DELETE", "/v1/me", CREDS_UNKNOWN, .sub = "doctor" },
		{ .method = "OPTIONS", .path = "/v1/me" },
	};
	enum verdict worst = REPORT_OK, v;
	struct buf seen = { 0 };
	struct reply r = { 0 };
	size_t i;

	for (i = 0; i < sizeof asks / sizeof asks[0]; i++) {
		doctor_ask(d, &asks[i], &r);
		v = judge_method(&asks[i], &r);
		if (v != REPORT_OK)
			buf_addf(&seen, "%s%s: %s", seen.len > 0 ? ", " : "",
			    asks[i].method, r.shown);
		worst = v > worst ? v : worst;
		reply_clear(&r);
	}
	report_add(&d->report, worst, "methods", "%s",
	    worst == REPORT_OK
		? "GET HEAD POST PUT PATCH DELETE OPTIONS reach Postern"
		: buf_str(&seen));
	if (worst != REPORT_OK)
		doctor_advise(d, TOPIC_METHODS, "");
	buf_free(&seen);
}

/* {"pad":"xx…"} of n bytes. */
static void
make_body(struct buf *b, size_t n)
{
	buf_adds(b, "{\"pad\":\"");
	while (b->len < n - 2)
		buf_addc(b, 'x');
	buf_adds(b, "\"}");
}

/* Did the document come back as long as it was sent? */
static bool
came_back(const struct reply *r, size_t n)
{
	struct json *j = json_parse(buf_str(&r->http.body), r->http.body.len);
	const char *s;
	size_t len = 0;
	bool yes;

	yes = j != NULL && json_member_string(j, "pad", &s, &len) &&
	      len == n - strlen("{\"pad\":\"\"}");
	json_free(j);
	return yes;
}

/* The first body that fails is the finding. */
static bool
body_arrives(struct doctor *d, const struct ask *a, const char *what)
{
	struct reply r = { 0 };
	bool done, lost, ok;

	doctor_ask(d, a, &r);
	done = r.http.status == 200 || r.http.status == 201;
	d->made = d->made || (done && d->works);
	lost = (done && !came_back(&r, a->body_len)) ||
	       (r.ours && r.http.status == 400);
	ok = r.ours && !lost && (d->works ? done : is_refusal(&r));
	if (ok)
		goto out;
	if (has_code(&r, "body_too_large")) {
		report_add(&d->report, REPORT_WARN, "bodies",
		    "%s: POSTERN_MAX_BODY is below its default", what);
		goto out;
	}
	report_add(&d->report, REPORT_FAIL, "bodies", "%s: %s%s", what, r.shown,
	    lost ? ", the body got lost" : "");
	if (r.ours && !lost)
		goto out; /* Postern's own refusal: not the web server's */
	doctor_advise(d,
	    lost         ? TOPIC_BODY_LOST
	    : a->chunked ? TOPIC_CHUNKED
			 : TOPIC_BODY_SIZE,
	    "");
out:
	reply_clear(&r);
	return ok;
}

void
doctor_check_bodies(struct doctor *d)
{
	struct buf small = { 0 }, large = { 0 };
	char path[PATH_MAX_LEN];
	struct ask a = { .method = "PUT", .path = path, .creds = CREDS_BEST };
	bool ok;

	snprintf(path, sizeof path, "/v1/users/%s", d->user);
	make_body(&small, KB);
	make_body(&large, MAX_BODY);
	a.body = small.data;
	a.body_len = small.len;
	ok = body_arrives(d, &a, "1 KiB");
	a.body = large.data;
	a.body_len = large.len;
	ok = body_arrives(d, &a, "64 KiB") && ok;
	a.chunked = true;
	ok = ok && body_arrives(d, &a, "64 KiB, chunked");
	if (ok)
		report_add(&d->report, REPORT_OK, "bodies",
		    "1 KiB, 64 KiB and chunked %s",
		    d->works ? "arrive whole"
			     : "pass; --public-key would prove more");
	buf_free(&small);
	buf_free(&large);
}

/*
 * A user token reaches only the document whose user equals its subject byte
 * by byte: a path that arrives changed is 403, or no route at all. Where these
 * lose their code, a 401 must do, which keeps its challenge.
 */
static bool
path_arrives(struct doctor *d, const char *encoded, const char *user,
    char *shown, size_t size)
{
	bool own = d->works && !d->codes_lost;
	struct ask a = { .method = "GET",
		.creds = own ? CREDS_OWN : CREDS_UNKNOWN,
		.sub = user };
	char path[PATH_MAX_LEN];
	struct reply r = { 0 };
	bool ok;

	snprintf(path, sizeof path, "/v1/users/%s%s", d->user, encoded);
	a.path = path;
	doctor_ask(d, &a, &r);
	ok = own ? has_code(&r, "not_found") : is_refusal(&r);
	if (!ok)
		snprintf(shown, size, "%s: %s", encoded, r.shown);
	reply_clear(&r);
	return ok;
}

static bool
path_of(struct doctor *d, const char *encoded, const char *tail, char *shown,
    size_t size)
{
	struct buf user = { 0 };
	bool ok;

	buf_addf(&user, "%s%s", d->user, tail);
	ok = path_arrives(d, encoded, user.data, shown, size);
	buf_free(&user);
	return ok;
}

void
doctor_check_paths(struct doctor *d)
{
	char shown[PATH_MAX_LEN + 40] = "";
	const char *base = buf_str(&d->site.base);

	if (path_of(d, "%20", " ", shown, sizeof shown) &&
	    path_of(d, "%C3%A9", "\xc3\xa9", shown, sizeof shown))
		report_add(&d->report, REPORT_OK, "paths",
		    "%%20 and %%C3%%A9 arrive%s",
		    d->works && !d->codes_lost ? " as they are" : "");
	else {
		report_add(&d->report, REPORT_FAIL, "paths", "%s", shown);
		doctor_advise(d, TOPIC_PATHS, base);
	}
	if (path_of(d, "%2F", "/", shown, sizeof shown)) {
		report_add(&d->report, REPORT_OK, "slash", "%%2F arrives");
		return;
	}
	report_add(&d->report, REPORT_WARN, "slash", "%s", shown);
	doctor_advise(d, TOPIC_SLASH, base);
}

/* What Postern says of it is another check's; here it is whether it gets there.
 * Few need tokens of that length, and some hosts won't have them. */
void
doctor_check_token_size(struct doctor *d)
{
	const struct ask a = { .method = "GET",
		.path = "/v1/whoami",
		.creds = CREDS_BEST,
		.longest = true };
	struct reply r = { 0 };

	doctor_ask(d, &a, &r);
	if (r.ours || (d->works && r.http.status == 200))
		report_add(&d->report, REPORT_OK, "token size",
		    "tokens of up to %d KiB pass", TOKEN_MAX / KB);
	else {
		report_add(&d->report, REPORT_WARN, "token size",
		    "one of %d KiB: %s", TOKEN_MAX / KB, r.shown);
		doctor_advise(d, TOPIC_TOKEN_SIZE, "");
	}
	reply_clear(&r);
}

/* The answer's Date (RFC 9110 section 5.6.7) less our own time when it was
 * made, which is known to lie in between; false without a date. */
static bool
skew_of(const struct http_answer *a, double *skew)
{
	struct buf text = { 0 };
	struct tm tm = { 0 };
	const char *end = NULL;
	double t;

	if (http_header(a, "Date", &text))
		end = strptime(text.data, "%a, %d %b %Y %H:%M:%S GMT", &tm);
	if (end != NULL && *end != '\0')
		end = NULL;
	buf_free(&text);
	if (end == NULL)
		return false;
	t = (double)timegm(&tm);
	*skew = 0;
	if (t > a->received)
		*skew = t - a->received;
	else if (t + 1 < a->sent) /* it has whole seconds */
		*skew = t + 1 - a->sent;
	return true;
}

/* Postern's own clock, which may be another than the web server's. */
static void
check_token_clock(struct doctor *d)
{
	const struct ask a = { .method = "GET",
		.path = "/v1/whoami",
		.creds = CREDS_OWN,
		.expires = NEAR_EXPIRY_S };
	struct reply r = { 0 };

	doctor_ask(d, &a, &r);
	if (r.http.status == 200 && r.ours)
		report_add(&d->report, REPORT_OK, "expiry",
		    "a token for the next %d s is good", NEAR_EXPIRY_S);
	else {
		report_add(&d->report, REPORT_FAIL, "expiry",
		    "a token for the next %d s gives %s", NEAR_EXPIRY_S,
		    r.shown);
		advise_clock(d);
	}
	reply_clear(&r);
}

void
doctor_check_clock(struct doctor *d)
{
	const struct ask a = { .method = "GET", .path = "/v1/whoami" };
	struct reply r = { 0 };
	enum verdict v = REPORT_OK;
	double skew;

	doctor_ask(d, &a, &r);
	if (!skew_of(&r.http, &skew))
		report_add(
		    &d->report, REPORT_WARN, "clock", "the answer has no Date");
	else {
		if (fabs(skew) > SKEW_WARN_S)
			v = fabs(skew) > SKEW_FAIL_S ? REPORT_FAIL
						     : REPORT_WARN;
		report_add(&d->report, v, "clock",
		    v == REPORT_OK ? "agrees with ours"
				   : "the site's Date is %.0f s %s ours",
		    fabs(skew), skew > 0 ? "ahead of" : "behind");
		if (v != REPORT_OK)
			advise_clock(d);
	}
	reply_clear(&r);
	if (d->works)
		check_token_clock(d);
}

static bool
is_exposed(struct doctor *d, const char *path)
{
	const struct ask a = { .method = "GET", .path = path };
	struct reply r = { 0 };
	bool yes;

	doctor_ask(d, &a, &r);
	yes = r.http.status == 200 && r.http.body.len > 0 &&
	      memmem(r.http.body.data, r.http.body.len, "POSTERN_", 8) != NULL;
	if (yes) {
		report_add(&d->report, REPORT_FAIL, "settings",
		    "%s%s is served to everyone: its secrets are no longer any",
		    buf_str(&d->site.base), path);
		doctor_advise(d, TOPIC_SETTINGS_FILE, "");
	}
	reply_clear(&r);
	return yes;
}

void
doctor_check_settings_file(struct doctor *d)
{
	static const char *const paths[] = { "/.postern.conf",
		"/postern.conf" };
	struct buf base = d->site.base;
	bool any = false;
	size_t i;

	for (i = 0; i < 2; i++)
		any = is_exposed(d, paths[i]) || any;
	/* Beside the mount, the document root itself. */
	d->site.base = (struct buf){ 0 };
	for (i = 0; i < 2 && base.len > 0; i++)
		any = is_exposed(d, paths[i]) || any;
	d->site.base = base;
	if (!any)
		report_add(&d->report, REPORT_OK, "settings",
		    "the web server does not serve a settings file");
}

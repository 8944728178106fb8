/*
 * Is there Postern behind the URL, and what does the web server in front of it
 * change? The first questions of `postern doctor`.
 */
#include "cli/doctor.h"

#include "base/json.h"

#include <stdio.h>
#include <string.h>

#define PROBE "/v1/whoami"

static const struct ask probe = { .method = "GET", .path = PROBE };

static bool
fail_reach(struct doctor *d, const struct reply *r)
{
	report_add(&d->report, REPORT_FAIL, "reachable", "%s",
	    buf_str(&r->http.fault));
	if (r->http.hint != NULL)
		report_advise(&d->report, "", r->http.hint, "");
	return false;
}

/* The site that a redirect leads to, if it is one that can be given to us. */
static void
advise_redirect(struct doctor *d, const char *location)
{
	struct http_site to = { 0 };
	struct buf site = { 0 }, line = { 0 };
	size_t n = strlen(location), tail = strlen(PROBE);

	if (n > tail && strcmp(location + n - tail, PROBE) == 0)
		n -= tail;
	buf_add(&site, location, n);
	if (http_site_parse(buf_str(&site), &to) == NULL) {
		buf_addf(&line, "postern doctor %s%s\n", buf_str(&to.origin),
		    buf_str(&to.base));
		report_advise(&d->report, "",
		    "clients must be given the URL that answers by itself; "
		    "if this is it",
		    buf_str(&line));
	}
	http_site_clear(&to);
	buf_free(&site);
	buf_free(&line);
}

static bool
fail_redirect(struct doctor *d, const struct reply *r)
{
	struct buf to = { 0 };

	http_header(&r->http, "Location", &to);
	report_add(&d->report, REPORT_FAIL, "reachable",
	    "%d, a redirect to '%.200s': credentials don't follow it",
	    r->http.status, buf_str(&to));
	advise_redirect(d, buf_str(&to));
	buf_free(&to);
	return false;
}

/* What stands in front, by --server or by its own word. */
static void
note_server(struct doctor *d, const struct reply *r)
{
	struct buf name = { 0 };
	bool asked = d->front != FRONT_UNKNOWN;

	http_header(&r->http, "Server", &name);
	if (!asked)
		d->front = front_by_header(buf_str(&name));
	if (asked)
		report_add(&d->report, REPORT_OK, "server",
		    "as --server says (it says '%.60s')", buf_str(&name));
	else if (d->front == FRONT_UNKNOWN)
		report_add(&d->report, REPORT_OK, "server",
		    "not told by '%.60s'; --server can, for shorter advice",
		    buf_str(&name));
	else
		report_add(&d->report, REPORT_OK, "server", "%.60s%s",
		    buf_str(&name),
		    d->front == FRONT_APACHE
			? "; --server tells which way, for shorter advice"
			: "");
	buf_free(&name);
}

static void
note_transport(struct doctor *d)
{
	if (d->site.tls)
		report_add(&d->report, REPORT_OK, "transport",
		    "TLS, with a good certificate");
	else if (d->site.loopback)
		report_add(&d->report, REPORT_OK, "transport",
		    "not TLS, but loopback");
	else {
		report_add(&d->report, REPORT_WARN, "transport",
		    "no TLS: whoever is in between reads and uses the tokens");
		report_advise(&d->report, "",
		    "give the site a certificate and serve it by https only",
		    "");
	}
}

/* Postern is there, but sees another path than one of its own. */
static bool
fail_base(struct doctor *d)
{
	const char *base = buf_str(&d->site.base);
	size_t n = strlen(base);
	struct buf line = { 0 };

	report_add(&d->report, REPORT_FAIL, "mount",
	    "404 no_such_route: it reaches Postern, which knows no such path");
	if (n >= 3 && strcmp(base + n - 3, "/v1") == 0) {
		buf_addf(&line, "postern doctor %s%.*s\n",
		    buf_str(&d->site.origin), (int)n - 3, base);
		report_advise(&d->report, "",
		    "the URL is what stands before /v1", buf_str(&line));
	} else if (n > 0) {
		buf_addf(&line, "POSTERN_BASE_PATH=%s\n", base);
		report_advise(
		    &d->report, "", "in Postern's settings", buf_str(&line));
	} else
		doctor_advise(d, TOPIC_PATHS, base);
	buf_free(&line);
	return false;
}

/* Something else answered. */
static bool
fail_mount(struct doctor *d, const struct reply *r)
{
	int status = r->http.status;
	enum topic t = TOPIC_MOUNT;
	const char *what = "the web server does not hand it to Postern";

	if (status == 401 || status == 403) {
		t = TOPIC_AUTH_OF_ITS_OWN;
		what = "the web server refuses it before Postern is asked";
	} else if (status >= 500) {
		t = TOPIC_BACKEND;
		what = "the web server can't reach Postern";
	}
	report_add(&d->report, REPORT_FAIL, "mount", "%d for %s" PROBE ": %s",
	    status, buf_str(&d->site.base), what);
	doctor_advise(d, t, buf_str(&d->site.base));
	return false;
}

static void
check_pages(struct doctor *d, const struct reply *r)
{
	if (r->problem) {
		report_add(&d->report, REPORT_OK, "refusals",
		    "they arrive as Postern wrote them");
		return;
	}
	report_add(&d->report, REPORT_FAIL, "refusals",
	    "the web server replaces the body of a 401, and with it its code");
	doctor_advise(d, TOPIC_ERROR_PAGES, "");
}

static void
check_id(struct doctor *d, const struct reply *r)
{
	static const char name[] = "X-Request-Id";
	struct buf v = { 0 };

	if (r->id_echoed)
		return;
	if (!http_header(&r->http, name, &v)) {
		report_add(&d->report, REPORT_WARN, name,
		    "missing in the answer: Postern sends it");
		doctor_advise(d, TOPIC_RESPONSE_HEADER, name);
	} else if (r->id_arrived) {
		report_add(&d->report, REPORT_WARN, name,
		    "the web server answers with another than Postern logs");
		doctor_advise(d, TOPIC_RESPONSE_HEADER, name);
	} else {
		report_add(&d->report, REPORT_WARN, name,
		    "the client's own does not reach Postern");
		doctor_advise(d, TOPIC_REQUEST_HEADER, name);
	}
	buf_free(&v);
}

static void
check_headers(struct doctor *d, const struct reply *r)
{
	static const char *const names[] = { "WWW-Authenticate",
		"Cache-Control" };
	struct buf v = { 0 };
	bool all = r->id_echoed;
	size_t i;

	for (i = 0; i < sizeof names / sizeof names[0]; i++) {
		if (http_header(&r->http, names[i], &v))
			continue;
		all = false;
		report_add(&d->report, REPORT_FAIL, names[i],
		    "missing in the answer: Postern sends it");
		doctor_advise(d, TOPIC_RESPONSE_HEADER, names[i]);
	}
	buf_free(&v);
	check_id(d, r);
	if (all)
		report_add(&d->report, REPORT_OK, "headers",
		    "WWW-Authenticate, Cache-Control and X-Request-Id arrive");
}

/* 200, and what api/ops.c writes. */
static bool
is_status(const struct reply *r)
{
	return r->http.status == 200 &&
	       strncmp(buf_str(&r->http.body), "{\"status\":", 10) == 0;
}

static void
check_health(struct doctor *d)
{
	const struct ask a = { .method = "GET", .path = "/healthz" };
	struct reply r = { 0 };

	doctor_ask(d, &a, &r);
	if (is_status(&r))
		report_add(&d->report, REPORT_OK, "health", "200");
	else {
		report_add(&d->report, REPORT_WARN, "health",
		    "/healthz gives %s", r.shown);
		doctor_advise(d, TOPIC_OPS, buf_str(&d->site.base));
	}
	reply_clear(&r);
}

/* As the site says it, which names what isn't so. */
static void
fail_ready(struct doctor *d, const struct reply *r)
{
	struct json *j = json_parse(buf_str(&r->http.body), r->http.body.len);
	const char *s = "Postern has no database, or one without its schema";
	size_t len;

	if (j != NULL)
		(void)json_member_string(j, "detail", &s, &len);
	report_add(&d->report, REPORT_FAIL, "ready", "503: %s", s);
	report_advise(&d->report, "", "on Postern's machine, as its user",
	    "postern check\n");
	json_free(j);
}

static void
check_ready(struct doctor *d)
{
	const struct ask a = { .method = "GET", .path = "/readyz" };
	struct reply r = { 0 };

	doctor_ask(d, &a, &r);
	if (is_status(&r))
		report_add(&d->report, REPORT_OK, "ready", "200");
	else if (r.http.status == 503 && r.ours)
		fail_ready(d, &r);
	else {
		report_add(&d->report, REPORT_WARN, "ready", "/readyz gives %s",
		    r.shown);
		doctor_advise(d, TOPIC_OPS, buf_str(&d->site.base));
	}
	reply_clear(&r);
}

static bool
is_postern(struct doctor *d, const struct reply *r)
{
	if (r->http.status == 404 && strcmp(r->code, "no_such_route") == 0)
		return fail_base(d);
	if (!r->ours || r->http.status != 401)
		return fail_mount(d, r);
	report_add(&d->report, REPORT_OK, "mount", "Postern answers %s" PROBE,
	    buf_str(&d->site.base));
	d->id_lost = !r->id_echoed;
	d->codes_lost = !r->problem;
	check_pages(d, r);
	/* A page of the web server's own takes the other headers with it. */
	if (r->problem)
		check_headers(d, r);
	check_health(d);
	check_ready(d);
	return true;
}

bool
doctor_check_reach(struct doctor *d)
{
	struct reply r = { 0 };
	bool go_on;

	doctor_ask(d, &probe, &r);
	d->answers = r.answered;
	if (!d->answers)
		go_on = fail_reach(d, &r);
	else if (r.http.status < 400 && r.http.status >= 300)
		go_on = fail_redirect(d, &r);
	else {
		report_add(&d->report, REPORT_OK, "reachable", "in %.0f ms",
		    1e3 * (r.http.received - r.http.sent));
		note_server(d, &r);
		note_transport(d);
		go_on = is_postern(d, &r);
	}
	reply_clear(&r);
	return go_on;
}

/*
 * The life of a scratch document, made and removed with an app's credentials:
 * writes, ETag and preconditions through the web server.
 */
#include "cli/doctor.h"

#include <stdio.h>
#include <string.h>

enum { PATH_LEN = 160 };

/* Where it stands: the answer so far, and the last ETag. */
struct trial {
	struct doctor *d;
	char path[PATH_LEN];
	struct buf etag;
	bool failed;
};

static void
fail(struct trial *t, enum topic topic, const char *arg, const char *what)
{
	report_add(&t->d->report, REPORT_FAIL, "document", "%s", what);
	t->failed = true;
	if (topic != TOPIC_COUNT)
		doctor_advise(t->d, topic, arg);
}

/*
 * One step; false unless its status is the one that is due. When it is and
 * etag is asked for, that is kept.
 */
static bool
step(struct trial *t, struct ask a, int due, bool etag)
{
	struct reply r = { 0 };
	char what[256];
	bool ok;

	a.path = t->path;
	a.creds = CREDS_OWN;
	doctor_ask(t->d, &a, &r);
	ok = r.http.status == due || (due == 201 && r.http.status == 200);
	if (!ok) {
		snprintf(what, sizeof what, "%s gives %s, not %d", a.method,
		    r.shown, due);
		/* 412: the tag that Postern gets is not the one it gave. */
		if (r.http.status == 412 && t->d->compressed)
			t->failed = true; /* told already */
		else
			fail(t,
			    r.http.status == 412 ? TOPIC_RESPONSE_HEADER
			    : r.ours             ? TOPIC_COUNT
						 : TOPIC_METHODS,
			    "ETag", what);
	} else if (etag) {
		buf_reset(&t->etag);
		ok = http_header(&r.http, "ETag", &t->etag);
		if (!ok)
			fail(t, TOPIC_RESPONSE_HEADER, "ETag",
			    "no ETag in the answer: Postern sends it");
	}
	reply_clear(&r);
	return ok;
}

/* A header line of a request from one of an answer: it must stay one line. */
static void
if_match(const char *tag, struct buf *line)
{
	buf_adds(line, "If-Match: ");
	buf_add(line, tag, strcspn(tag, "\r\n"));
}

/* A condition that does not hold must be refused, else If-Match was lost. */
static bool
check_condition(struct trial *t)
{
	struct ask a = { .method = "PATCH",
		.extra = "If-Match: \"doctor\"",
		.body = "{\"lost\":1}",
		.body_len = 10,
		.path = t->path,
		.creds = CREDS_OWN };
	struct reply r = { 0 };
	bool ok;

	doctor_ask(t->d, &a, &r);
	ok = r.http.status == 412;
	if (!ok)
		fail(t, TOPIC_REQUEST_HEADER, "If-Match",
		    "If-Match does not reach Postern: it changed what it "
		    "should not");
	reply_clear(&r);
	return ok;
}

/* Whatever went before: an answer that got lost may have been a yes. */
static void
clean_up(struct trial *t, bool made)
{
	const struct ask a = {
		.method = "DELETE", .path = t->path, .creds = CREDS_OWN
	};
	struct reply r = { 0 };
	char what[256];

	doctor_ask(t->d, &a, &r);
	if (r.http.status != 204 &&
	    (made || strcmp(r.code, "not_found") != 0)) {
		snprintf(what, sizeof what, "DELETE gives %s", r.shown);
		fail(t, r.ours ? TOPIC_COUNT : TOPIC_METHODS, "", what);
		report_advise(&t->d->report, "",
		    "the scratch document of this user may be left behind",
		    t->d->user);
	}
	reply_clear(&r);
}

/* Long enough for whatever compresses. */
static void
add_long_document(struct buf *out)
{
	int i;

	buf_adds(out, "{\"doctor\":\"");
	for (i = 0; i < 60; i++)
		buf_adds(out, "a scratch document; ");
	buf_adds(out, "\"}");
}

static void
live(struct trial *t)
{
	struct buf line = { 0 }, document = { 0 };
	bool made;

	add_long_document(&document);
	made = step(t,
	    (struct ask){ .method = "PUT",
		.body = document.data,
		.body_len = document.len },
	    201, true);
	if (made)
		doctor_check_compression(t->d, t->path, CREDS_OWN);
	if (made && step(t, (struct ask){ .method = "HEAD" }, 200, true)) {
		if_match(buf_str(&t->etag), &line);
		if (step(t,
			(struct ask){ .method = "PATCH",
			    .extra = line.data,
			    .body = "{\"seen\":2}",
			    .body_len = 10 },
			200, false))
			check_condition(t);
	}
	clean_up(t, made || t->d->made);
	buf_free(&line);
	buf_free(&document);
}

void
doctor_check_document(struct doctor *d)
{
	struct trial t = { .d = d };

	if (!d->works)
		return;
	snprintf(t.path, sizeof t.path, "/v1/users/%s", d->user);
	live(&t);
	if (!t.failed)
		report_add(&d->report, REPORT_OK, "document",
		    "PUT, HEAD, PATCH, DELETE, ETag and If-Match work");
	buf_free(&t.etag);
}

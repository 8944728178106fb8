/*
 * Does something on the way compress the API's answers? A compressed answer is
 * another representation, so servers change its ETag: some make it weak, and
 * then If-Match of what the client received can't hold (RFC 9110 section
 * 13.1.1), so that clients can't write.
 */
#include "cli/doctor.h"

#include <string.h>
#include <strings.h>

/* Is the answer in another coding than Postern's? */
static bool
is_encoded(const struct reply *r)
{
	struct buf coding = { 0 };
	bool yes;

	yes = http_header(&r->http, "Content-Encoding", &coding) &&
	      strcasecmp(buf_str(&coding), "identity") != 0;
	buf_free(&coding);
	return yes;
}

static bool
is_weak(const struct reply *r)
{
	struct buf tag = { 0 };
	bool yes;

	yes = http_header(&r->http, "ETag", &tag) &&
	      strncmp(buf_str(&tag), "W/", 2) == 0;
	buf_free(&tag);
	return yes;
}

void
doctor_check_compression(struct doctor *d, const char *path, enum creds creds)
{
	const struct ask a = { .method = "GET",
		.path = path,
		.extra = "Accept-Encoding: gzip, br, zstd",
		.creds = creds };
	struct reply r = { 0 };
	bool weak, encoded;

	if (d->compressed)
		return;
	doctor_ask(d, &a, &r);
	weak = r.http.status == 200 && is_weak(&r);
	encoded = r.http.status == 200 && is_encoded(&r);
	d->compressed = weak || encoded;
	if (weak)
		report_add(&d->report, REPORT_FAIL, "compression",
		    "an ETag of Postern's is weak when it arrives%s: with it "
		    "If-Match can't hold, and clients can't write",
		    encoded ? ", compressed" : "");
	else if (encoded)
		report_add(&d->report, REPORT_WARN, "compression",
		    "Postern's answers come compressed: clients see another "
		    "ETag than it gave");
	if (d->compressed)
		doctor_advise(d, TOPIC_COMPRESSION, buf_str(&d->site.base));
	reply_clear(&r);
}

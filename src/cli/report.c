/*
 * The answers of `check` and `doctor`: a line each, or JSON.
 */
#include "cli/report.h"

#include "base/json.h"
#include "base/utf8.h"
#include "cli/cli.h"

#include <stdio.h>
#include <string.h>

enum { DETAIL_MAX = 1024 };

/* Messages of other programs may be in any encoding, or cut in a character. */
static void
make_utf8(char *s)
{
	if (utf8_valid(s, strlen(s)))
		return;
	for (; *s != '\0'; s++)
		if ((unsigned char)*s >= 0x80)
			*s = '?';
}

static void
close_json(struct report *r)
{
	if (r->advice > 0)
		buf_addc(&r->out, ']');
	if (r->count > 0)
		buf_addc(&r->out, '}');
}

static void
add_json(struct report *r, enum verdict v, const char *name, const char *text)
{
	static const char *const words[] = { "ok", "warn", "fail" };

	buf_adds(&r->out, r->count == 0 ? "{\"checks\":[" : "");
	close_json(r);
	buf_addf(&r->out,
	    "%s{\"name\":\"%s\",\"ok\":%s,\"verdict\":\"%s\",\"detail\":",
	    r->count > 0 ? "," : "", name, v == REPORT_FAIL ? "false" : "true",
	    words[v]);
	json_add_string(&r->out, text, strlen(text));
}

/* What people read comes as it is found out. */
static void
show(struct report *r)
{
	if (!r->json && cli_write(&r->out) != CLI_OK)
		r->failed = true;
}

void
report_vadd(struct report *r, enum verdict v, const char *name, const char *fmt,
    va_list ap)
{
	static const char *const words[] = { "ok", "warn", "FAIL" };
	char detail[DETAIL_MAX];

	vsnprintf(detail, sizeof detail, fmt, ap);
	make_utf8(detail);
	if (r->json) {
		add_json(r, v, name, detail);
	} else {
		buf_addf(&r->out, "%-4s  %-13s  ", words[v], name);
		cli_add_text(&r->out, detail);
		buf_addc(&r->out, '\n');
	}
	r->failed = r->failed || v == REPORT_FAIL;
	r->advice = 0;
	r->count++;
	show(r);
}

void
report_add(
    struct report *r, enum verdict v, const char *name, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	report_vadd(r, v, name, fmt, ap);
	va_end(ap);
}

static void
advise_json(
    struct report *r, const char *topic, const char *where, const char *lines)
{
	const char *end;
	bool first = true;

	buf_adds(&r->out, r->advice > 0 ? "," : ",\"advice\":[");
	buf_adds(&r->out, "{\"for\":");
	json_add_string(&r->out, topic, strlen(topic));
	buf_adds(&r->out, ",\"where\":");
	json_add_string(&r->out, where, strlen(where));
	buf_adds(&r->out, ",\"lines\":[");
	for (; *lines != '\0'; lines = end + (*end == '\n')) {
		end = lines + strcspn(lines, "\n");
		buf_adds(&r->out, first ? "" : ",");
		json_add_string(&r->out, lines, (size_t)(end - lines));
		first = false;
	}
	buf_adds(&r->out, "]}");
}

void
report_advise(
    struct report *r, const char *topic, const char *where, const char *lines)
{
	size_t n;

	topic = topic != NULL ? topic : "";
	if (r->json) {
		advise_json(r, topic, where, lines);
	} else {
		buf_addf(&r->out, "      %s%s", topic, *topic ? ": " : "");
		cli_add_text(&r->out, where);
		buf_addc(&r->out, '\n');
		for (; *lines != '\0'; lines += n + (lines[n] == '\n')) {
			n = strcspn(lines, "\n");
			buf_adds(&r->out, "          ");
			buf_add(&r->out, lines, n);
			buf_addc(&r->out, '\n');
		}
	}
	r->advice++;
	show(r);
}

int
report_end(struct report *r)
{
	int rc;

	if (r->json) {
		buf_adds(&r->out, r->count == 0 ? "{\"checks\":[" : "");
		close_json(r);
		buf_addf(
		    &r->out, "],\"ok\":%s}\n", r->failed ? "false" : "true");
	}
	rc = cli_write(&r->out);
	return r->failed ? CLI_FAILURE : rc;
}

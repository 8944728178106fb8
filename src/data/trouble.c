/*
 * The log's lines of the database. They have host and port as the conninfo
 * names them, the server's own address and timeline, for names and poolers hide
 * which one it was; the statement's name, never its text.
 */
#include "data/trouble.h"

enum { FIELDS = 9 };

static void
add(struct log_field *fields, size_t *n, const char *key, const char *s)
{
	if (s != NULL && *s != '\0')
		fields[(*n)++] = (struct log_field){ key, s, 0 };
}

void
trouble_log(const struct trouble *t, const struct wire *w,
    const struct setup *s, enum log_level level, const char *event)
{
	struct log_field f[FIELDS + 1] = { { NULL, NULL, 0 } };
	size_t n = 0;

	if (w != NULL) {
		add(f, &n, "host", wire_host(w));
		add(f, &n, "port", wire_port(w));
	}
	add(f, &n, "server", s->address);
	if (s->timeline.number > 0)
		f[n++] =
		    (struct log_field)LOG_N("timeline", s->timeline.number);
	if (timeline_is_behind(&s->timeline))
		f[n++] = (struct log_field)LOG_N(
		    "highest_timeline", timeline_highest(&s->timeline));
	add(f, &n, "state", t->state);
	add(f, &n, "statement", t->statement);
	add(f, &n, "sqlstate", t->sqlstate);
	add(f, &n, "error", t->error);
	log_fields(level, event, f);
}

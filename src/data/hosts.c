/*
 * Which of several hosts comes first. libpq's time-outs for each host are not
 * kept by its non-blocking way of connecting, so a first host that hangs would
 * never give way to the second; nor does one that refuses us. And of several
 * hosts only the primary will do.
 */
#include "data/hosts.h"

#include "base/buf.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

struct hosts {
	const char *conninfo;
	size_t first; /* the one to begin with */
	struct wire_args args;
	/* What is said of the conninfo's own lists. */
	struct buf lists[3];
	size_t nlists;
	bool attrs; /* it says target_session_attrs itself */
};

struct hosts *
hosts_new(const char *conninfo)
{
	struct hosts *h = mem_alloc(sizeof *h);

	h->conninfo = conninfo;
	return h;
}

static void
reset(struct hosts *h)
{
	size_t i;

	for (i = 0; i < h->nlists; i++)
		buf_free(&h->lists[i]);
	h->nlists = 0;
	h->attrs = false;
	h->args = (struct wire_args){ .n = 0 };
}

void
hosts_free(struct hosts *h)
{
	if (h == NULL)
		return;
	reset(h);
	free(h);
}

void
hosts_next(struct hosts *h)
{
	h->first++;
}

static void
add(struct hosts *h, const char *key, const char *value)
{
	h->args.keys[h->args.n] = key;
	h->args.values[h->args.n++] = value;
}

/* The members of a comma-separated list, number first coming first. */
static void
rotate_list(const char *list, size_t first, struct buf *out)
{
	const char *from = list;

	for (; first > 0 && strchr(from, ',') != NULL; first--)
		from = strchr(from, ',') + 1;
	buf_adds(out, from);
	if (from != list) {
		buf_addc(out, ',');
		buf_add(out, list, (size_t)(from - list) - 1);
	}
}

static size_t
list_len(const char *list)
{
	size_t n = 1;

	for (; *list != '\0'; list++)
		n += *list == ',';
	return n;
}

/* One option of the conninfo: a list of hosts is told anew, from the host that
 * is due. */
static void
take_option(void *arg, const char *key, const char *value)
{
	static const char *const lists[] = { "host", "hostaddr", "port" };
	struct hosts *h = arg;
	struct buf *list;
	size_t i;

	if (strcmp(key, "target_session_attrs") == 0)
		h->attrs = true;
	if (strchr(value, ',') == NULL)
		return;
	for (i = 0; i < sizeof lists / sizeof lists[0]; i++)
		if (strcmp(key, lists[i]) == 0) {
			list = &h->lists[h->nlists++];
			rotate_list(value, h->first % list_len(value), list);
			add(h, lists[i], buf_str(list));
		}
}

const struct wire_args *
hosts_args(struct hosts *h)
{
	reset(h);
	/* The conninfo's own word counts for what stands before it. */
	add(h, "keepalives", "1");
	add(h, "keepalives_idle", "10");
	add(h, "keepalives_interval", "3");
	add(h, "keepalives_count", "3");
	add(h, "tcp_user_timeout", "5000");
	add(h, "fallback_application_name", "postern");
	add(h, "dbname", h->conninfo);
	add(h, "connect_timeout", "5");
	add(h, "client_encoding", "UTF8");
	wire_parse(h->conninfo, take_option, h);
	if (h->nlists > 0 && !h->attrs)
		add(h, "target_session_attrs", "read-write");
	return &h->args;
}

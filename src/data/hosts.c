/*
 * Where the database is. libpq resolves a name only when its turn comes, and
 * waits for that; so each `host` is told with a `hostaddr`, under which its
 * name still is what the server's certificate has to be for.
 *
 * And which of several hosts comes first. libpq's time-outs for each host are
 * not kept by its non-blocking way of connecting, so a first host that hangs
 * would never give way to the second; nor does one that refuses us. And of
 * several hosts only the primary will do.
 */
#include "data/hosts.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/conninfo.h"
#include "base/mem.h"
#include "base/resolve.h"
#include "data/dsn.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>

/* How long one attempt waits for names: where there is something to go by, and
 * where there is nothing. */
enum { PATIENCE_MS = 300, RESOLVE_MS = 8000 };

/* One of libpq's hosts. */
struct host {
	char *host;
	char *address; /* "" = none: a name, or a socket */
	char *port;
	const struct resolve_name *name; /* or NULL */
};

/* Of one kind each, as libpq's lists are. */
enum { LIST_HOST, LIST_HOSTADDR, LIST_PORT, LISTS };
static const char *const list_keys[LISTS] = { "host", "hostaddr", "port" };

struct hosts {
	const char *conninfo;
	size_t first; /* of the addresses, the one to begin with */
	struct resolver *resolver;
	int64_t patience_us;
	int64_t end_us;
	char *options[LISTS]; /* as libpq has them, or NULL */
	bool attrs;           /* the operator says target_session_attrs */
	struct host *list;
	size_t n;
	struct buf told[LISTS];
	size_t ntold;
	struct wire_args args;
	struct buf same[LISTS]; /* of hosts_same */
	struct wire_args same_args;
	struct buf error;
};

struct hosts *
hosts_new(const char *conninfo)
{
	struct hosts *h = mem_alloc(sizeof *h);

	h->conninfo = conninfo;
	h->resolver = resolver_new();
	return h;
}

/* What belongs to one attempt. */
static void
reset(struct hosts *h)
{
	size_t i;

	for (i = 0; i < LISTS; i++) {
		free(h->options[i]);
		h->options[i] = NULL;
		buf_reset(&h->told[i]);
	}
	for (i = 0; i < h->n; i++) {
		free(h->list[i].host);
		free(h->list[i].address);
		free(h->list[i].port);
	}
	free(h->list);
	h->list = NULL;
	h->n = h->ntold = 0;
	h->attrs = false;
	buf_reset(&h->error);
}

void
hosts_free(struct hosts *h)
{
	size_t i;

	if (h == NULL)
		return;
	reset(h);
	resolver_free(h->resolver);
	for (i = 0; i < LISTS; i++) {
		buf_free(&h->told[i]);
		buf_free(&h->same[i]);
	}
	buf_free(&h->error);
	free(h);
}

void
hosts_next(struct hosts *h)
{
	h->first++;
}

static const char attrs_key[] = "target_session_attrs";

static void
take_text(void *arg, const char *key, const char *value)
{
	struct hosts *h = arg;

	(void)value;
	h->attrs |= strcmp(key, attrs_key) == 0;
}

/* libpq's default is told apart from the operator's word by its value; only a
 * service file can't insist on it. */
static void
take_option(void *arg, const char *key, const char *value)
{
	struct hosts *h = arg;
	size_t i;

	h->attrs |= strcmp(key, attrs_key) == 0 && strcmp(value, "any") != 0;
	for (i = 0; i < LISTS; i++)
		if (strcmp(key, list_keys[i]) == 0 && value[0] != '\0')
			h->options[i] = mem_strdup(value);
}

/* How many members a comma-separated list has; NULL has none. */
static size_t
list_len(const char *list)
{
	size_t n;

	if (list == NULL)
		return 0;
	for (n = 1; *list != '\0'; list++)
		n += *list == ',';
	return n;
}

/* A copy of member i; of one that is not there "". */
static char *
list_member(const char *list, size_t i)
{
	if (i >= list_len(list))
		return mem_strdup("");
	for (; i > 0; i--)
		list = strchr(list, ',') + 1;
	return mem_strndup(list, strcspn(list, ","));
}

/* Whether it is a socket's path, by libpq's rule; an empty one is libpq's own
 * directory of sockets. */
static bool
is_socket(const char *host)
{
	return host[0] == '\0' || host[0] == '/' || host[0] == '@';
}

/* What libpq would have to resolve is a name, or an address in its place. What
 * may be the end of a password instead gets an alias. */
static void
classify(struct hosts *h, struct host *host)
{
	struct resolve_list literal;
	char alias[32];

	if (host->address[0] != '\0' || is_socket(host->host))
		return;
	if (resolve_literal(host->host, &literal)) {
		free(host->address);
		host->address = mem_strdup(literal.text[0]);
	} else {
		snprintf(alias, sizeof alias, "(host %zu)",
		    (size_t)(host - h->list) + 1);
		host->name = resolver_ask(h->resolver, host->host,
		    conninfo_has_userinfo(h->conninfo) ? alias : NULL);
	}
}

/*
 * libpq's lists, member by member. Where they don't fit together libpq refuses
 * them before it resolves anything: they are left to it.
 */
static void
split(struct hosts *h)
{
	size_t hosts = list_len(h->options[LIST_HOST]),
	       addresses = list_len(h->options[LIST_HOSTADDR]),
	       ports = list_len(h->options[LIST_PORT]),
	       n = addresses > 0 ? addresses : hosts, i;

	if ((hosts > 0 && hosts != n) || (ports > 1 && ports != n))
		return;
	h->list = mem_alloc(n * sizeof *h->list);
	h->n = n;
	for (i = 0; i < n; i++) {
		h->list[i] = (struct host){
			.host = list_member(h->options[LIST_HOST], i),
			.address = list_member(h->options[LIST_HOSTADDR], i),
			.port = list_member(
			    h->options[LIST_PORT], ports > 1 ? i : 0),
		};
		classify(h, &h->list[i]);
	}
}

void
hosts_start(struct hosts *h)
{
	int64_t now = clock_mono_us();
	const char *why;

	reset(h);
	resolver_begin(h->resolver);
	h->patience_us = now + PATIENCE_MS * 1000;
	h->end_us = now + RESOLVE_MS * 1000;
	/* A service file may have changed. */
	if (!dsn_check(h->conninfo, strlen(h->conninfo), &why) ||
	    !wire_parse(h->conninfo, take_text, h)) {
		buf_addf(&h->error, "the conninfo %s",
		    why != NULL ? why : "can't be parsed");
		return;
	}
	h->attrs |= getenv("PGTARGETSESSIONATTRS") != NULL;
	wire_options(h->conninfo, take_option, h);
	split(h);
}

/* How many ways there are to this host now. */
static size_t
ways(const struct host *host)
{
	return host->name != NULL ? resolve_known(host->name)->n : 1;
}

static size_t
all_ways(const struct hosts *h)
{
	size_t i, n = 0;

	for (i = 0; i < h->n; i++)
		n += ways(&h->list[i]);
	return n;
}

/* Is it where w goes? What isn't said is libpq's own. */
static bool
is_way(const struct host *host, size_t way, const struct wire *w)
{
	const char *address = host->name != NULL
				  ? resolve_known(host->name)->text[way]
				  : host->address;

	return strcmp(host->host, wire_host(w)) == 0 &&
	       (address[0] == '\0' || strcmp(address, wire_address(w)) == 0) &&
	       (host->port[0] == '\0' || strcmp(host->port, wire_port(w)) == 0);
}

void
hosts_leave(struct hosts *h, const struct wire *w)
{
	size_t i, k, before = 0;

	for (i = 0; i < h->n; before += ways(&h->list[i++]))
		for (k = 0; k < ways(&h->list[i]); k++)
			if (is_way(&h->list[i], k, w)) {
				h->first = before + k + 1;
				return;
			}
	hosts_next(h);
}

unsigned
hosts_ways(const struct hosts *h)
{
	return (unsigned)MAX(all_ways(h), 1);
}

/* One member more of libpq's lists: way k of all. */
static void
tell_way(struct hosts *h, size_t k)
{
	const struct host *host = h->list;
	const char *parts[LISTS];
	size_t i;

	for (; k >= ways(host); host++)
		k -= ways(host);
	parts[LIST_HOST] = host->host;
	parts[LIST_HOSTADDR] = host->name != NULL
				   ? resolve_known(host->name)->text[k]
				   : host->address;
	parts[LIST_PORT] = host->port;
	for (i = 0; i < LISTS; i++) {
		if (h->ntold > 0)
			buf_addc(&h->told[i], ',');
		buf_adds(&h->told[i], parts[i]);
	}
	h->ntold++;
}

/* An empty value is none to libpq, which would go by the list that we have
 * shortened; said twice it is a list. */
static bool
is_partly_empty(const struct hosts *h)
{
	size_t i;

	for (i = 0; i < LISTS; i++)
		if (h->told[i].len == 0)
			return true;
	return false;
}

static void
tell(struct hosts *h)
{
	size_t n = all_ways(h), i;

	for (i = 0; i < n; i++)
		tell_way(h, (h->first + i) % n);
	if (n == 1 && h->n > 1 && is_partly_empty(h))
		tell_way(h, 0);
	h->args = (struct wire_args){ .n = 0 };
	/* The conninfo's own word counts for what stands before it. */
	wire_add(&h->args, "keepalives", "1");
	wire_add(&h->args, "keepalives_idle", "10");
	wire_add(&h->args, "keepalives_interval", "3");
	wire_add(&h->args, "keepalives_count", "3");
	wire_add(&h->args, "tcp_user_timeout", "5000");
	wire_add(&h->args, "fallback_application_name", "postern");
	wire_add(&h->args, "dbname", h->conninfo);
	wire_add(&h->args, "connect_timeout", "5");
	wire_add(&h->args, "client_encoding", "UTF8");
	for (i = 0; i < LISTS && n > 0; i++)
		wire_add(&h->args, list_keys[i], buf_str(&h->told[i]));
	if (h->n > 1 && !h->attrs)
		wire_add(&h->args, attrs_key, "read-write");
}

/* In libpq's words. */
static void
set_error(struct hosts *h)
{
	size_t i;

	for (i = 0; i < h->n; i++)
		buf_addf(&h->error,
		    "%scould not translate host name \"%s\" to address: %s",
		    i > 0 ? "; " : "", resolve_called(h->list[i].name),
		    resolve_trouble(h->list[i].name));
}

int64_t
hosts_due_us(const struct hosts *h)
{
	return all_ways(h) > 0 ? h->patience_us : h->end_us;
}

enum wire_turn
hosts_turn(struct hosts *h)
{
	if (h->error.len > 0)
		return WIRE_FAILED;
	if (resolver_waits(h->resolver) && clock_mono_us() < hosts_due_us(h))
		return WIRE_WAITS;
	if (h->n > 0 && all_ways(h) == 0) {
		set_error(h);
		return WIRE_FAILED;
	}
	resolver_log(h->resolver);
	tell(h);
	return WIRE_DONE;
}

int
hosts_fd(const struct hosts *h)
{
	return resolver_fd(h->resolver);
}

const char *
hosts_error(const struct hosts *h)
{
	return buf_str(&h->error);
}

const struct wire_args *
hosts_args(const struct hosts *h)
{
	return &h->args;
}

/* Said twice: an empty value would be none to libpq, which would go by the
 * conninfo's own list. */
static void
say_same(struct hosts *h, int list, const char *value)
{
	buf_reset(&h->same[list]);
	buf_addf(&h->same[list], "%s,%s", value, value);
	wire_add(&h->same_args, list_keys[list], buf_str(&h->same[list]));
}

const struct wire_args *
hosts_same(struct hosts *h, const struct wire *w)
{
	h->same_args = h->args;
	say_same(h, LIST_HOST, wire_host(w));
	say_same(h, LIST_HOSTADDR, wire_address(w));
	say_same(h, LIST_PORT, wire_port(w));
	wire_add(&h->same_args, attrs_key, "any");
	return &h->same_args;
}

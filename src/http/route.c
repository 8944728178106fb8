/*
 * Matching of a request's path and method against a table of routes.
 */
#include "http/route.h"

#include "base/name.h"
#include "base/percent.h"

#include <string.h>

static const struct {
	enum method method;
	const char *name;
} methods[] = {
	{ M_GET, "GET" },
	{ M_HEAD, "HEAD" },
	{ M_POST, "POST" },
	{ M_PUT, "PUT" },
	{ M_PATCH, "PATCH" },
	{ M_DELETE, "DELETE" },
	{ M_OPTIONS, "OPTIONS" },
};

/* Does a raw segment stand at p, as it is or decoded? Its length there, 0 if
 * not. Literals have no '%'. */
static size_t
literal_at(const struct segment *seg, const char *p)
{
	struct buf b = { 0 };
	size_t len = 0;
	bool yes;

	while (len < seg->len && p[len] == seg->p[len])
		len++;
	if (len == seg->len && (p[len] == '/' || p[len] == '\0'))
		return len;
	len = seg->len;
	if (memchr(seg->p, '%', len) == NULL)
		return 0;
	len = strcspn(p, "/");
	yes = percent_decode(seg->p, seg->len, &b) && b.len == len &&
	      memcmp(b.data, p, len) == 0;
	buf_free(&b);
	return yes ? len : 0;
}

/* Match a pattern; *param gets the segment that {…} stands for. */
static bool
pattern_is(const char *pattern, const struct request *req,
    const struct segment **param)
{
	const char *p = pattern;
	size_t i, len;

	*param = NULL;
	for (i = 0; i < req->npath; i++) {
		if (*p++ != '/')
			return false;
		if (*p == '{') {
			*param = &req->path[i];
			len = strcspn(p, "/");
		} else {
			len = literal_at(&req->path[i], p);
		}
		if (len == 0)
			return false;
		p += len;
	}
	return *p == '\0';
}

static void
take_param(struct route_match *m, const struct segment *seg)
{
	buf_reset(&m->param);
	m->param_bad = !percent_decode(seg->p, seg->len, &m->param) ||
		       !name_is_user(buf_str(&m->param), m->param.len) ||
		       strcmp(buf_str(&m->param), ".") == 0 ||
		       strcmp(buf_str(&m->param), "..") == 0;
}

void
route_find(const struct route *table, size_t n, const struct request *req,
    struct route_match *m)
{
	enum method wanted = req->method == M_HEAD ? M_GET : req->method;
	const struct segment *param = NULL;
	size_t i;

	memset(m, 0, sizeof *m);
	if (req->npath == 0 || req->npath > REQUEST_MAX_SEGMENTS)
		return;
	for (i = 0; i < n && m->route == NULL; i++)
		if (table[i].method == wanted &&
		    pattern_is(table[i].pattern, req, &param))
			m->route = &table[i];
	if (m->route != NULL) {
		m->allowed = wanted;
		if (param != NULL)
			take_param(m, param);
		return;
	}
	for (i = 0; i < n; i++)
		if (pattern_is(table[i].pattern, req, &param))
			m->allowed |= table[i].method;
}

const char *
route_method_name(enum method method)
{
	size_t i;

	for (i = 0; i < sizeof methods / sizeof methods[0]; i++)
		if (methods[i].method == method)
			return methods[i].name;
	return "";
}

void
route_allow(unsigned allowed, struct buf *out)
{
	size_t i;

	if (allowed & M_GET)
		allowed |= M_HEAD;
	allowed |= M_OPTIONS;
	for (i = 0; i < sizeof methods / sizeof methods[0]; i++)
		if (allowed & methods[i].method)
			buf_addf(
			    out, "%s%s", out->len ? ", " : "", methods[i].name);
}

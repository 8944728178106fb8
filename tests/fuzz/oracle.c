/*
 * A second reading by jansson. Its names that json-c has too (json_object_get,
 * json_object_iter_next) are not called here: they would be json-c's.
 */
#include "oracle.h"

#include <jansson.h>
#include <math.h>
#include <string.h>
#include <strings.h>

static json_t *
load(const char *text, size_t len, enum oracle *verdict)
{
	json_error_t err;
	json_t *j = json_loadb(
	    text, len, JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL, &err);

	*verdict = json_is_object(j) ? ORACLE_YES : ORACLE_NO;
	if (j == NULL && json_error_code(&err) == json_error_numeric_overflow)
		*verdict = ORACLE_CANT;
	return j;
}

enum oracle
oracle_object(const char *text, size_t len, size_t *members)
{
	enum oracle verdict;
	json_t *j = load(text, len, &verdict);

	*members = verdict == ORACLE_YES ? json_object_size(j) : 0;
	json_decref(j);
	return verdict;
}

/* The member, borrowed, or NULL. */
static json_t *
member(json_t *j, const char *name)
{
	json_t *v = NULL;

	if (json_unpack(j, "{s:o}", name, &v) != 0)
		return NULL;
	return v;
}

/* Absent, or a number within bounds. */
static bool
date_ok(json_t *payload, const char *name, double least, double most)
{
	json_t *v = member(payload, name);
	double d;

	if (v == NULL)
		return true;
	if (!json_is_number(v))
		return false;
	d = json_number_value(v);
	return isfinite(d) && d >= least && d <= most;
}

static bool
header_ok(json_t *h, const char *alg)
{
	json_t *a = member(h, "alg"), *typ = member(h, "typ");

	return json_is_object(h) && json_is_string(a) &&
	       strcmp(json_string_value(a), alg) == 0 &&
	       member(h, "crit") == NULL &&
	       (typ == NULL ||
		   (json_is_string(typ) &&
		       (strcasecmp(json_string_value(typ), "JWT") == 0 ||
			   strcasecmp(json_string_value(typ),
			       "application/jwt") == 0)));
}

static bool
payload_ok(json_t *p, double now)
{
	json_t *sub = member(p, "sub");

	return json_is_object(p) && member(p, "exp") != NULL &&
	       date_ok(p, "exp", nextafter(now - 30, INFINITY), INFINITY) &&
	       date_ok(p, "nbf", -INFINITY, now + 30) &&
	       date_ok(p, "iat", -INFINITY, now + 30) &&
	       (sub == NULL || json_string_length(sub) > 0);
}

bool
oracle_token_ok(const struct buf *header, const struct buf *payload, double now,
    const char *alg)
{
	enum oracle hv, pv;
	json_t *h = load(buf_str(header), header->len, &hv);
	json_t *p = load(buf_str(payload), payload->len, &pv);
	bool ok = (hv == ORACLE_CANT || header_ok(h, alg)) &&
		  (pv == ORACLE_CANT || payload_ok(p, now));

	json_decref(h);
	json_decref(p);
	return ok;
}

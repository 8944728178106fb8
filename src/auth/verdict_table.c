/*
 * Verdicts: what good tokens said, so that each is read once. The table has
 * sets of a few places, of which a digest names one; in a set, the place that
 * was used least recently is given away. An owner's
 * verdicts hang together, so that they go when it goes.
 *
 * A client can choose tokens whose MACs fall into one set, and so push a few of
 * others' verdicts out, as it can with many tokens: they are read again.
 */
#include "auth/verdict_table.h"

#include "base/crypto.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/secret.h"

#include <stdlib.h>
#include <string.h>
#include <sys/param.h>

enum { WAYS = 8, KEY = 32 };

/* Three cache lines; what a search reads is in the first. */
struct verdict {
	uint64_t serial; /* the owner's; 0 = a free place */
	unsigned char digest[TOKEN_DIGEST];
	uint64_t used;
	struct verdict *next, **link; /* the owner's; what points here */
	struct token_times times;
	bool audience, own_reading;
	unsigned char sub_len; /* 0 = an app token */
	char sub[VERDICT_SUB_MAX];
};
_Static_assert(sizeof(struct verdict) == 192, "4 MiB hold 16,384 with room");

struct verdicts {
	struct verdict *places;
	size_t sets, ways;
	uint64_t clock;    /* counts uses */
	struct secret key; /* of digests under own keys */
};

struct verdicts *
verdicts_new(size_t n)
{
	struct verdicts *vs = mem_alloc(sizeof *vs);

	vs->ways = MIN(n, WAYS);
	vs->sets = n > 0 ? n / vs->ways : 0;
	if (n > 0)
		vs->places =
		    secret_map(vs->sets * vs->ways * sizeof *vs->places);
	secret_new(&vs->key, KEY);
	crypto_random(vs->key.data, vs->key.len);
	return vs;
}

void
verdicts_free(struct verdicts *vs)
{
	if (vs == NULL)
		return;
	secret_unmap(vs->places, vs->sets * vs->ways * sizeof *vs->places);
	secret_clear(&vs->key);
	free(vs);
}

void
verdict_owner_begin(struct verdict_owner *o)
{
	static uint64_t last;

	o->serial = ++last;
}

/* Out of its owner's list, and wiped. */
static void
forget(struct verdict *v)
{
	*v->link = v->next;
	if (v->next != NULL)
		v->next->link = v->link;
	explicit_bzero(v, sizeof *v);
}

void
verdict_owner_end(struct verdict_owner *o)
{
	while (o->first != NULL)
		forget(o->first);
	o->serial = 0;
}

bool
verdicts_digest(const struct verdicts *vs, const struct verdict_owner *o,
    struct token_parts *t)
{
	unsigned char text[sizeof o->serial + TOKEN_MAX];

	if (vs->sets == 0 || o->serial == 0)
		return false;
	memcpy(text, &o->serial, sizeof o->serial);
	memcpy(text + sizeof o->serial, t->text, t->len);
	return crypto_hmac(CRYPTO_SHA256, vs->key.data, vs->key.len, text,
	    sizeof o->serial + t->len, t->digest);
}

/* The places that a token's verdict may have. A digest's bits are as good as
 * random. */
static struct verdict *
set_of(const struct verdicts *vs, const struct token_parts *t)
{
	uint32_t bits;

	memcpy(&bits, t->digest, sizeof bits);
	return &vs->places[((uint64_t)bits * vs->sets >> 32) * vs->ways];
}

/* Who asks has shown that he has the MAC, and nobody can make one of our
 * digests: comparing needs no constant time. Of longer MACs 256 bits are
 * enough. */
static bool
is_of(const struct verdict *v, const struct verdict_owner *o,
    const struct token_parts *t)
{
	return v->serial == o->serial &&
	       memcmp(v->digest, t->digest, sizeof v->digest) == 0;
}

/* NULL if there is none. */
static struct verdict *
search(const struct verdicts *vs, const struct verdict_owner *o,
    const struct token_parts *t)
{
	struct verdict *v, *end;

	if (vs->sets == 0 || o->serial == 0)
		return NULL;
	v = set_of(vs, t);
	for (end = v + vs->ways; v < end && !is_of(v, o, t); v++)
		;
	return v < end ? v : NULL;
}

bool
verdicts_has(const struct verdicts *vs, const struct verdict_owner *o,
    const struct token_parts *t)
{
	return search(vs, o, t) != NULL;
}

bool
verdicts_find(struct verdicts *vs, const struct verdict_owner *o,
    const struct token_parts *t, struct token_claims *claims)
{
	struct verdict *v = search(vs, o, t);

	if (vs->sets == 0 || o->serial == 0)
		return false;
	metrics_add(v != NULL ? METRIC_VERDICT_HITS : METRIC_VERDICT_MISSES, 1);
	if (v == NULL)
		return false;
	v->used = ++vs->clock;
	claims->times = v->times;
	claims->audience = v->audience;
	claims->own_reading = v->own_reading;
	claims->has_sub = v->sub_len > 0;
	if (claims->has_sub)
		buf_add(&claims->sub, v->sub, v->sub_len);
	return true;
}

/* A free place of the set, or else the one of longest ago. */
static struct verdict *
make_room(const struct verdicts *vs, const struct token_parts *t)
{
	struct verdict *set = set_of(vs, t), *oldest = set;
	size_t i;

	/* That of a free place is 0. */
	for (i = 1; i < vs->ways; i++)
		if (set[i].used < oldest->used)
			oldest = &set[i];
	if (oldest->serial != 0) {
		metrics_add(METRIC_VERDICT_EVICTIONS, 1);
		forget(oldest);
	}
	return oldest;
}

void
verdicts_keep(struct verdicts *vs, struct verdict_owner *o,
    const struct token_parts *t, const struct token_claims *claims)
{
	struct verdict *v;

	if (vs->sets == 0 || o->serial == 0 ||
	    claims->sub.len > VERDICT_SUB_MAX)
		return;
	v = make_room(vs, t);
	v->serial = o->serial;
	memcpy(v->digest, t->digest, sizeof v->digest);
	v->used = ++vs->clock;
	v->times = claims->times;
	v->audience = claims->audience;
	v->own_reading = claims->own_reading;
	v->sub_len = (unsigned char)claims->sub.len;
	memcpy(v->sub, buf_str(&claims->sub), claims->sub.len);
	v->next = o->first;
	v->link = &o->first;
	if (v->next != NULL)
		v->next->link = &v->next;
	o->first = v;
}

/*
 * timing PAIR SAMPLES: does the time of a decision tell what it must not? Two
 * classes of like requests, interleaved at random, in this process, so that no
 * wire's noise hides anything. Prints the median in ns, and by how many the
 * second class is slower, of the samples below the 50th, 75th and 90th
 * percentile (test_timing.py judges many such runs).
 *
 * Standard input has the registered apps, a line each: public key, secret key.
 *
 *   position  a signature wrong at its first byte, or at its last
 *   unknown   a key that is known, with a wrong signature, or an unknown one
 *   same      twice the same class: what is found here is the method's
 *   naive     a MAC compared byte by byte, wrong at its last byte or its first
 *   more      a decision, or one with twenty HMACs more
 */
#include "auth/auth.h"
#include "auth/token.h"
#include "base/base64url.h"
#include "base/bearer.h"
#include "base/clock.h"
#include "base/hex.h"
#include "base/mem.h"
#include "data/schema.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { APPS_MAX = 64, KEY_MAX = 128 };

struct key {
	char public_key[KEY_MAX + 1];
	char *authorization[2]; /* by the byte that is wrong */
	struct token_parts parts[2];
	struct secret secret;
};

struct bench {
	struct auth *au;
	struct db *db;
	struct key known[APPS_MAX], unknown[APPS_MAX];
	size_t n;
	uint64_t random;
};

static uint64_t
draw(struct bench *b)
{
	/* xorshift64* */
	b->random ^= b->random >> 12;
	b->random ^= b->random << 25;
	b->random ^= b->random >> 27;
	return b->random * 2685821657736338717ULL >> 16;
}

static double
now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

/* The genuine token with one byte of its signature changed: its first, or its
 * last. */
static void
spoil(struct key *k, const char *token, int last)
{
	const char *dot = strrchr(token, '.') + 1;
	unsigned char mac[CRYPTO_MAC_MAX];
	size_t n = BASE64URL_BYTES(strlen(dot));
	struct buf text = { 0 };
	const char *from;
	size_t len;

	if (!base64url_decode_to(dot, strlen(dot), mac))
		abort();
	mac[last ? n - 1 : 0] ^= 0x10;
	buf_adds(&text, "Bearer ");
	buf_add(&text, token, (size_t)(dot - token));
	base64url_encode(&text, mac, n);
	k->authorization[last] = text.data;
	if (!bearer_parse(text.data, &from, &len) ||
	    !token_split(from, len, &k->parts[last]))
		abort();
}

static void
make_key(struct key *k, const char *public_key, const char *secret)
{
	struct buf token = { 0 };

	memcpy(k->public_key, public_key, strlen(public_key) + 1);
	secret_set(&k->secret, secret, strlen(secret));
	if (!token_mint(
		&k->secret, CRYPTO_SHA256, "{\"exp\":4000000000}", &token))
		abort();
	spoil(k, buf_str(&token), 0);
	spoil(k, buf_str(&token), 1);
	buf_free(&token);
}

static void
read_keys(struct bench *b)
{
	char public_key[KEY_MAX + 1], secret[KEY_MAX + 1];
	unsigned char raw[32];
	char hex[2 * sizeof raw + 1];

	while (
	    b->n < APPS_MAX && scanf("%128s %128s", public_key, secret) == 2) {
		make_key(&b->known[b->n], public_key, secret);
		crypto_random(raw, sizeof raw);
		hex_encode(raw, sizeof raw, hex);
		make_key(&b->unknown[b->n++], hex, secret);
	}
	crypto_random(&b->random, sizeof b->random);
	b->random |= 1;
	if (b->n == 0)
		exit(2);
}

/* One decision, its time in ns; it must be a no. Both classes stand in the
 * same memory: where a text lies would tell them apart as well. */
static double
decide(struct bench *b, const struct key *k, int last, int more)
{
	static char public_key[KEY_MAX + 1], authorization[TOKEN_MAX];
	struct request req = { .public_key = public_key,
		.authorization = authorization,
		.remote_addr = "" };
	struct identity id;
	enum problem p;
	double start;

	memcpy(public_key, k->public_key, sizeof public_key);
	memcpy(authorization, k->authorization[last],
	    strlen(k->authorization[last]) + 1);
	identity_init(&id);
	start = now_ns();
	p = auth_decide(b->au, NEED_TOKEN, &req, NULL, &id);
	while (more-- > 0)
		if (token_mac_ok(&k->parts[last], &k->secret, CRYPTO_SHA256))
			exit(2);
	start = now_ns() - start;
	identity_clear(&id);
	if (p != P_INVALID_CREDENTIALS) {
		fprintf(stderr, "%s\n", problem_code(p));
		exit(2);
	}
	return start;
}

static double
naive(const struct key *k, int last)
{
	static struct token_parts parts;
	const struct token_parts *t = &parts;
	volatile unsigned char mac[CRYPTO_MAC_MAX];
	double start;
	size_t i;

	parts = k->parts[last];
	start = now_ns();
	if (!crypto_hmac(CRYPTO_SHA256, k->secret.data, k->secret.len, t->text,
		t->signed_len, (unsigned char *)(uintptr_t)mac))
		exit(2);
	for (i = 0; i < t->signature_len && mac[i] == t->signature[i]; i++)
		;
	return now_ns() - start;
}

static double
sample(struct bench *b, const char *pair, int class)
{
	size_t i = draw(b) % b->n;

	if (strcmp(pair, "naive") == 0)
		return naive(&b->known[i], !class);
	if (strcmp(pair, "position") == 0)
		return decide(b, &b->known[i], class, 0);
	if (strcmp(pair, "same") == 0)
		return decide(b, &b->known[i], 0, 0);
	if (strcmp(pair, "more") == 0)
		return decide(b, &b->known[i], 0, class ? 20 : 0);
	if (strcmp(pair, "unknown") == 0)
		return decide(b, class ? &b->unknown[i] : &b->known[i], 0, 0);
	exit(2);
}

static int
order(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Of each class, of the samples up to limit. */
static double
difference(const double *ns, const unsigned char *class, size_t n, double limit)
{
	double count[2] = { 0 }, sum[2] = { 0 };
	size_t i;

	for (i = 0; i < n; i++) {
		if (ns[i] > limit)
			continue;
		count[class[i]]++;
		sum[class[i]] += ns[i];
	}
	if (count[0] == 0 || count[1] == 0)
		return 0;
	return sum[1] / count[1] - sum[0] / count[0];
}

/* Noise is on the slow side: at each of these percentiles. */
static void
report(const double *ns, const unsigned char *class, size_t n)
{
	static const double crops[] = { 0.5, 0.75, 0.9 };
	double *sorted = mem_alloc(n * sizeof *sorted);
	size_t i;

	memcpy(sorted, ns, n * sizeof *sorted);
	qsort(sorted, n, sizeof *sorted, order);
	printf("%.1f", sorted[n / 2]);
	for (i = 0; i < sizeof crops / sizeof crops[0]; i++)
		printf(
		    " %.2f", difference(ns, class, n,
				 sorted[(size_t)(crops[i] * (double)(n - 1))]));
	printf("\n");
	free(sorted);
}

static void
set_up(struct bench *b, struct config *cfg)
{
	struct buf err = { 0 };
	struct config_env *env;

	(void)secret_init();
	env = config_env_take();
	if (!config_load(cfg, env,
		CONFIG_NEED_DATABASE | CONFIG_NEED_MASTER_KEY, &err)) {
		fprintf(stderr, "%s\n", buf_str(&err));
		exit(2);
	}
	log_init("timing", LOG_LVL_ERROR, LOG_FMT_LOGFMT, LOG_TO_STDERR);
	b->db = db_new(
	    cfg->database_url.data, cfg->query_timeout_ms, schema_required());
	b->au = auth_new(cfg, b->db, uses_new(b->db));
	if (!db_wait(b->db, 10000)) {
		fprintf(stderr, "no database\n");
		exit(2);
	}
}

int
main(int argc, char **argv)
{
	static struct bench b;
	static struct config cfg;
	size_t i, n = argc == 3 ? strtoul(argv[2], NULL, 10) : 0;
	double *ns = mem_alloc((n + 1) * sizeof *ns);
	unsigned char *class = mem_alloc(n + 1);

	if (n == 0)
		return 2;
	set_up(&b, &cfg);
	read_keys(&b);
	for (i = 0; i < n / 4; i++)
		(void)sample(&b, argv[1], (int)(i & 1));
	for (i = 0; i < n; i++) {
		class[i] = draw(&b) & 1;
		ns[i] = sample(&b, argv[1], class[i]);
	}
	report(ns, class, n);
	return 0;
}

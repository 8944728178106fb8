#ifndef POSTERN_BASE_RESOLVE_H
#define POSTERN_BASE_RESOLVE_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Names of hosts to addresses, without waiting, and what is known of them.
 * getaddrinfo(3) returns when the servers of resolv.conf(5) have answered or
 * been given up, which takes up to a minute: each question has a thread of its
 * own, which ends with it, and there is one at a time for each name.
 */
enum { RESOLVE_MAX = 16, RESOLVE_TEXT = 64 };

/* The addresses of a name, the one to be preferred first; those beyond
 * RESOLVE_MAX are left out. */
struct resolve_list {
	char text[RESOLVE_MAX][RESOLVE_TEXT]; /* as getaddrinfo reads it */
	size_t n;
};

/* A name that is an address itself: no question, answered at once. */
bool resolve_literal(const char *name, struct resolve_list *out);

/* The names that were ever asked for, each until resolver_free. */
struct resolver;
struct resolve_name;

/* Never NULL; the caller frees. Questions that are on their way then end by
 * themselves, and take with them what they need until then. */
struct resolver *resolver_new(void);
void resolver_free(struct resolver *r);

/* From now on names are asked for anew, and what came till now is what was
 * known of them before. */
void resolver_begin(struct resolver *r);

/* Ask for a name; the result is the resolver's. alias is what the log calls it
 * until it is known to be one; it is copied, NULL = the name. */
const struct resolve_name *resolver_ask(
    struct resolver *r, const char *name, const char *alias);

/* What it is called then; borrowed until the next resolver_waits. */
const char *resolve_called(const struct resolve_name *n);

/* Take in what was answered, ask what may be asked. Is an answer missing to
 * what was asked for since resolver_begin? */
bool resolver_waits(struct resolver *r);

/* Readable when resolver_waits is to be called; -1 before the first name. */
int resolver_fd(const struct resolver *r);

/*
 * What is known of a name: the last answer, n = 0 if there was none or it was
 * that there is no such name. An answer that did not come, or said nothing of
 * the name, leaves the one before. The same addresses in another order are no
 * news.
 */
const struct resolve_list *resolve_known(const struct resolve_name *n);

/* Why that is not the answer to what was asked last; NULL if it is. */
const char *resolve_trouble(const struct resolve_name *n);

/* Log such troubles, once for each name until it is over. */
void resolver_log(struct resolver *r);

#endif

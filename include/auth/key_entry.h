#ifndef POSTERN_AUTH_KEY_ENTRY_H
#define POSTERN_AUTH_KEY_ENTRY_H

#include "auth/material.h"
#include "data/app_store.h"
#include <stdbool.h>
#include <stdint.h>

/*
 * An app and its open secret keys, as requests need them: one allocation for
 * each, the texts behind the struct, so that many fit into a worker's cache.
 */

/* What a row came to. */
enum key_state {
	KEY_UNKNOWN, /* no such app */
	KEY_OPEN,
	KEY_REFUSED,  /* its sealed key is broken, or not allowed */
	KEY_NO_MASTER /* sealed under a master key that we don't have */
};

/* What a request tells of its app; all NULL but public_key if unknown. */
struct key_app {
	int64_t id; /* 0 = none */
	const char *name;
	const char *public_key;
	const char *created_at;
	const char *updated_at;
	const char *sealed; /* encrypted_secret_key; NULL = not kept */
};

struct key_entry {
	/* Of key_table.c: what a search reads comes first. */
	struct key_entry *next;
	uint32_t hash;
	unsigned refs; /* of key_entry.c */
	struct key_app app;
	struct material current;  /* empty unless KEY_OPEN */
	struct material previous; /* empty if there is none to be used */
	double expires;        /* seconds since the epoch; INFINITY = never */
	double previous_until; /* the same, of previous; 0 = none */
	int64_t rotated_us;    /* which secrets these are */
	enum key_state state;
	bool disabled;
	bool previous_no_master;
	bool changed;           /* the app changed since the row was read */
	unsigned uses_round[2]; /* of auth/uses.c: noted in this round */
	/* Of key_cache.c. */
	int64_t until_us;
	struct key_entry *newer, *older;
	char text[];
};

/* A new entry of one reference, with copies of what it needs of the row; of
 * its sealed key only if sealed. Its state is KEY_UNKNOWN. */
struct key_entry *key_entry_new(const struct app *row, bool sealed);

/* Give a reference back, the last one wipes the secrets; accepts NULL. */
void key_entry_release(struct key_entry *e);

#endif

/*
 * What makes like cost like: the app that is taken where there is none.
 */
#include "auth/decoy.h"

#include "base/crypto.h"
#include "base/hex.h"
#include "base/mem.h"

#include <stdlib.h>

enum { PUBLIC_KEY_BYTES = 32 };

struct decoy {
	const struct config *cfg;
	char public_key[2 * PUBLIC_KEY_BYTES + 1];
	struct buf sealed;
	struct material material;
};

static void
open_sealed(const struct decoy *d, struct material *m)
{
	const struct sealed s = { d->public_key, d->cfg->master_key.id,
		buf_str(&d->sealed) };

	if (material_open(d->cfg, &s, m) != ST_OK)
		abort();
}

struct decoy *
decoy_new(const struct config *cfg)
{
	struct decoy *d = mem_alloc(sizeof *d);
	unsigned char bytes[PUBLIC_KEY_BYTES];
	struct secret drawn = { 0 };

	d->cfg = cfg;
	crypto_random(bytes, sizeof bytes);
	hex_encode(bytes, sizeof bytes, d->public_key);
	material_draw(cfg, d->public_key, &d->sealed, &drawn);
	secret_clear(&drawn);
	open_sealed(d, &d->material);
	return d;
}

void
decoy_free(struct decoy *d)
{
	if (d == NULL)
		return;
	material_clear(&d->material);
	buf_free(&d->sealed);
	free(d);
}

void
decoy_open(const struct decoy *d)
{
	struct material unused = { 0 };

	open_sealed(d, &unused);
	material_clear(&unused);
}

const struct material *
decoy_material(const struct decoy *d)
{
	return &d->material;
}

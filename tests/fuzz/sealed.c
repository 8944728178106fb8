/*
 * Sealed texts: master key id, public key and text, a line each. Only what was
 * sealed here opens, and only in its own row.
 */
#include "fuzz.h"

#include "base/crypto.h"
#include "base/hex.h"
#include "base/seal.h"

#include <stdlib.h>
#include <string.h>

static const char RAW[] = "thirty-two bytes of a secret key";
static const char NONCE[] = "twelve bytes";

static struct master_key mk;
/* Of our format, and of goliauth's. */
static char bound[2 * (sizeof RAW + 28)], unbound[2 * (sizeof RAW + 28)];

/* With a nonce that stays, so that the corpus has texts that open. */
static void
seal(const struct buf *aad, char *hex)
{
	unsigned char box[sizeof RAW + 28];
	const struct crypto_gcm g = { mk.key.data, mk.key.len, box,
		CRYPTO_NONCE_LEN, aad->data, aad->len };

	memcpy(box, NONCE, CRYPTO_NONCE_LEN);
	FUZZ_MUST(
	    crypto_gcm_seal(&g, RAW, sizeof RAW - 1, box + CRYPTO_NONCE_LEN));
	hex_encode(box, sizeof RAW - 1 + 28, hex);
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct buf aad = { 0 };
	const char *why;

	(void)argc;
	(void)argv;
	(void)fuzz_config();
	FUZZ_MUST(master_key_init(&mk, FUZZ_MASTER, strlen(FUZZ_MASTER), &why));
	seal(&aad, unbound);
	buf_addf(&aad, "postern-v1|%s|%s", mk.id, FUZZ_PUBLIC);
	seal(&aad, bound);
	buf_free(&aad);
	return 0;
}

static void
check(const char *key_id, const char *public_key, const char *sealed)
{
	struct secret raw = { 0 };
	enum status st = seal_open(&mk, key_id, public_key, sealed, &raw);

	if (st == ST_OK) {
		FUZZ_MUST(raw.len == sizeof RAW - 1);
		FUZZ_MUST(memcmp(raw.data, RAW, raw.len) == 0);
		if (key_id == NULL) {
			FUZZ_MUST(strcmp(sealed, unbound) == 0);
		} else {
			FUZZ_MUST(strcmp(sealed, bound) == 0);
			FUZZ_MUST(strcmp(key_id, mk.id) == 0);
			FUZZ_MUST(strcmp(public_key, FUZZ_PUBLIC) == 0);
		}
	} else {
		FUZZ_MUST(raw.data == NULL);
		FUZZ_MUST(st == ST_BROKEN || st == ST_KEY_MISSING);
	}
	secret_clear(&raw);
}

static void
try_master_key(const char *hex)
{
	struct master_key other = { 0 };
	const char *why = NULL;

	if (master_key_init(&other, hex, strlen(hex), &why))
		FUZZ_MUST(strlen(other.id) == SEAL_KEY_ID_LEN);
	else
		FUZZ_MUST(why != NULL);
	master_key_clear(&other);
}

/* covers: ASVS-V6.2.7 */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = fuzz_text(data, size), *rest = text;
	char *key_id = strsep(&rest, "\n");
	char *public_key = rest != NULL ? strsep(&rest, "\n") : NULL;

	if (rest != NULL)
		check(*key_id != '\0' ? key_id : NULL, public_key, rest);
	try_master_key(key_id);
	free(text);
	return 0;
}

/*
 * Public keys as strangers send them: JWKs and PEM. What is taken is one key,
 * whichever way it is written again; and no private one, and nobody's signature
 * is made of zeros.
 */
#include "fuzz.h"

#include "base/crypto_key.h"
#include "base/jwk.h"

#include <stdlib.h>
#include <string.h>

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	(void)fuzz_config();
	return 0;
}

static void
check(const struct public_key *k)
{
	static const unsigned char zeros[CRYPTO_SIGNATURE_MAX];
	const struct buf *der = public_key_der(k);
	enum public_key_alg alg = public_key_alg(k), found;
	const char *name = public_key_alg_name(alg), *why;
	struct public_key *again;
	size_t n;

	FUZZ_MUST(der->len <= PUBLIC_KEY_DER_MAX);
	FUZZ_MUST(strlen(public_key_kid(k)) == PUBLIC_KEY_KID);
	FUZZ_MUST(public_key_alg_find(name, strlen(name), &found));
	FUZZ_MUST(found == alg);
	again = public_key_from_der(alg, der->data, der->len, &why);
	FUZZ_MUST(again != NULL && public_key_same(k, again));
	public_key_free(again);
	again = jwk_key_from_text(
	    public_key_pem(k), strlen(public_key_pem(k)), &why);
	FUZZ_MUST(again != NULL);
	FUZZ_MUST(strcmp(public_key_kid(again), public_key_kid(k)) == 0);
	FUZZ_MUST(strcmp(public_key_pem(again), public_key_pem(k)) == 0);
	public_key_free(again);
	for (n = 0; n <= sizeof zeros; n += 32)
		FUZZ_MUST(!public_key_verify(k, "x", 1, zeros, n));
}

/* covers: RFC8725-3.4, RFC8725-3.5 */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = fuzz_text(data, size);
	const char *why = NULL;
	struct public_key *k = jwk_key_from_text(text, size, &why);

	if (k != NULL) {
		FUZZ_MUST(memmem(text, size, "PRIVATE KEY-----", 16) == NULL ||
			  text[strspn(text, " \t\r\n")] == '{');
		check(k);
	} else {
		FUZZ_MUST(why != NULL);
	}
	public_key_free(k);
	free(text);
	return 0;
}

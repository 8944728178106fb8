/*
 * A settings file: each line by itself, and the whole as config_load reads it.
 * A refusal has a message; no message tells a secret.
 */
#include "fuzz.h"

#include "base/config_table.h"
#include "base/mem.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static struct config_env *env;
static int file;

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	char path[64];

	(void)argc;
	(void)argv;
	file = memfd_create("settings", MFD_CLOEXEC);
	FUZZ_MUST(file >= 0 && fchmod(file, 0600) == 0);
	snprintf(path, sizeof path, "/proc/self/fd/%d", file);
	setenv("POSTERN_CONFIG", path, 1);
	(void)secret_init();
	env = config_env_take();
	return 0;
}

/* A text that can stand in a message only because it was copied there. */
static bool
telling(const char *text, size_t size, const char *v, size_t len)
{
	const char *again;
	size_t i, digits = 0;

	if (len < 16)
		return false;
	for (i = 0; i < len; i++)
		digits += v[i] >= '0' && v[i] <= '9';
	again = memmem(v + 1, (size_t)(text + size - v) - 1, v, len);
	return digits >= 4 && again == NULL && memmem(text, size, v, len) == v;
}

static void
check_lines(const char *text, size_t size, const struct buf *err)
{
	const char *p = text, *end = text + size, *nl, *key, *value;
	size_t keylen, valuelen, i;
	int rc;

	for (; p < end; p = nl + 1) {
		nl = memchr(p, '\n', (size_t)(end - p));
		if (nl == NULL)
			nl = end;
		rc = config_parse_line(
		    p, (size_t)(nl - p), &key, &keylen, &value, &valuelen);
		FUZZ_MUST(rc >= -1 && rc <= 1);
		if (rc != 1)
			continue;
		FUZZ_MUST(keylen > 0 && key >= p && key + keylen <= nl);
		FUZZ_MUST(value > key && value + valuelen <= nl);
		FUZZ_MUST(memchr(key, '=', keylen) == NULL);
		if (setting_find(key, keylen, &i) == NAME_SETTING &&
		    setting_is_secret(setting_at(i)) &&
		    telling(text, size, value, valuelen))
			FUZZ_MUST(memmem(buf_str(err), err->len, value,
				      valuelen) == NULL);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = fuzz_text(data, size);
	struct config cfg = { 0 };
	struct buf err = { 0 };
	bool ok;

	FUZZ_MUST(ftruncate(file, 0) == 0);
	FUZZ_MUST(pwrite(file, text, size, 0) == (ssize_t)size);
	ok = config_load(&cfg, env, CONFIG_NEED_NONE, &err);
	FUZZ_MUST(ok || err.len > 0);
	if (ok) {
		FUZZ_MUST(cfg.key_bytes >= 16 && cfg.key_bytes <= 64);
		FUZZ_MUST(
		    cfg.admin_token.len == 0 || cfg.admin_token.len >= 32);
		FUZZ_MUST(cfg.jwt_algorithm <= CRYPTO_SHA512);
	}
	check_lines(text, size, &err);
	if (ok)
		config_free(&cfg);
	buf_free(&err);
	free(text);
	return 0;
}

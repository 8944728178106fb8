/* What the fuzz targets share. */
#include "fuzz.h"

#include "base/log.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void
fuzz_fail(const char *what, const char *file, int line)
{
	fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, what);
	abort();
}

const struct config *
fuzz_config(void)
{
	static const char *const settings[][2] = {
		{ "POSTERN_CONFIG", "" },
		{ "POSTERN_DATABASE_URL", "host=/nonexistent dbname=none" },
		{ "POSTERN_MASTER_KEY", FUZZ_MASTER },
		{ "POSTERN_ADMIN_TOKEN", FUZZ_ADMIN },
		{ "POSTERN_REGISTRATION_TOKEN", FUZZ_REGISTRATION },
		{ "POSTERN_LOG_LEVEL", "error" },
		{ "POSTERN_CORS_ORIGINS", "https://a.example" },
	};
	static struct config cfg;
	static bool made;
	struct config_env *env;
	struct buf err = { 0 };
	size_t i;

	if (made)
		return &cfg;
	for (i = 0; i < sizeof settings / sizeof settings[0]; i++)
		setenv(settings[i][0], settings[i][1], 1);
	(void)secret_init();
	env = config_env_take();
	if (!config_load(&cfg, env,
		CONFIG_NEED_DATABASE | CONFIG_NEED_MASTER_KEY, &err)) {
		fprintf(stderr, "%s\n", buf_str(&err));
		abort();
	}
	config_env_free(env);
	buf_free(&err);
	log_init("fuzz", cfg.log_level, cfg.log_format, cfg.log_target);
	made = true;
	return &cfg;
}

char *
fuzz_text(const uint8_t *data, size_t size)
{
	return mem_strndup((const char *)data, size);
}

uint8_t
fuzz_byte(const uint8_t **data, size_t *size)
{
	if (*size == 0)
		return 0;
	(*size)--;
	return *(*data)++;
}

/*
 * postern master-key: a new master key from the CSPRNG, as hex.
 */
#include "base/crypto.h"
#include "base/hex.h"
#include "base/secret.h"
#include "cli/cli.h"

#include <string.h>

static const struct cli_opt opts[] = {
	{ "bits", "N", "128 192 256", 'b',
	    "the length of the AES key: 128, 192 or 256 (256)" },
	CLI_OPTS_END,
};

static size_t
key_bytes(const char *bits)
{
	static const struct {
		const char *bits;
		size_t bytes;
	} lengths[] = { { "128", 16 }, { "192", 24 }, { "256", 32 } };
	size_t i;

	for (i = 0; i < sizeof lengths / sizeof lengths[0]; i++)
		if (strcmp(bits, lengths[i].bits) == 0)
			return lengths[i].bytes;
	return 0;
}

static int
print_key(size_t n)
{
	struct secret raw = { 0 }, hex = { 0 };
	struct buf out = { 0 };

	secret_new(&raw, n);
	crypto_random(raw.data, n);
	secret_new(&hex, 2 * n);
	hex_encode((const unsigned char *)raw.data, n, hex.data);
	buf_reserve(&out, 2 * n + 2);
	buf_add(&out, hex.data, hex.len);
	buf_addc(&out, '\n');
	secret_clear(&hex);
	secret_clear(&raw);
	return cli_write(&out);
}

static int
run_command(const struct command *self, int argc, char **argv,
    const struct config_env *env)
{
	size_t n = 32;
	int c, rc;

	(void)env;
	while ((c = cli_option(self, argc, argv, &rc)) != CLI_OPT_END) {
		if (c == CLI_OPT_STOP)
			return rc;
		n = key_bytes(optarg);
		if (n == 0)
			return cli_usage(self,
			    "--bits is 128, 192 or 256, not '%s'", optarg);
	}
	if (!cli_no_operands(self, argc, argv))
		return CLI_USAGE;
	return print_key(n);
}

const struct command cli_master_key = {
	.name = "master-key",
	.synopsis = "master-key [--bits N]",
	.help = "print a new master key",
	.opts = opts,
	.details =
	    "It is POSTERN_MASTER_KEY, and seals the apps' secret keys in "
	    "the database: keep a copy of it apart from the database's "
	    "backups.",
	.run = run_command,
};

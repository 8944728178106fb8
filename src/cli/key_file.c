/*
 * The files of --key: an app's own public key, and the private half of one.
 * What is no such key is refused before anything is asked of the database.
 */
#include "base/jwk.h"
#include "base/private_file.h"
#include "cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum { FILE_MAX = 16384 }; /* bytes; RSA of 4096 bits has some 3300 */

/* To its end, whatever it is: a pipe of a shell's too. */
static bool
read_any(int fd, const char *path, struct buf *out, struct buf *err)
{
	ssize_t n = 1;

	buf_reserve(out, FILE_MAX + 1);
	while (out->len <= FILE_MAX && n != 0) {
		n = read(fd, out->data + out->len, FILE_MAX + 1 - out->len);
		if (n < 0 && errno != EINTR) {
			buf_addf(err, "%s: %s", path, strerror(errno));
			return false;
		}
		if (n > 0)
			out->len += (size_t)n;
	}
	if (out->len > FILE_MAX)
		buf_addf(err, "%s has more than %d bytes, as no key has", path,
		    FILE_MAX);
	return out->len <= FILE_MAX;
}

static bool
read_file(const char *path, bool secret, struct buf *out, struct buf *err)
{
	/* O_NONBLOCK: a FIFO, which no secret is read from, must not hold us
	 * up. */
	int flags = O_RDONLY | O_CLOEXEC | O_NOCTTY | (secret ? O_NONBLOCK : 0);
	int fd;
	bool ok;

	if (strcmp(path, "-") == 0)
		return read_any(STDIN_FILENO, "standard input", out, err);
	fd = open(path, flags);
	if (fd == -1) {
		buf_addf(err, "%s: %s", path, strerror(errno));
		return false;
	}
	ok = secret ? private_file_read(fd, path, FILE_MAX, out, err)
		    : read_any(fd, path, out, err);
	close(fd);
	return ok;
}

static bool
has(const struct buf *text, const char *word)
{
	return memmem(buf_str(text), text->len, word, strlen(word)) != NULL;
}

/* Says what is wrong with what path has; *err, or else the key and why. */
static int
refuse(const char *path, const struct buf *err, const char *why,
    const char *wanted)
{
	struct buf shown = { 0 };

	cli_add_text(&shown, err->len > 0 ? buf_str(err) : path);
	if (err->len > 0)
		cli_fail("--key: %s; %s", buf_str(&shown), wanted);
	else
		cli_fail(
		    "--key %s: the key %s; %s", buf_str(&shown), why, wanted);
	buf_free(&shown);
	return CLI_FAILURE;
}

int
cli_public_key(const char *path, struct public_key **own)
{
	struct buf text = { 0 }, err = { 0 };
	const char *why = NULL;
	int rc = CLI_OK;

	if (read_file(path, false, &text, &err) && text.len == 0)
		why = "is missing, nothing is there";
	else if (err.len == 0)
		*own = jwk_key_from_text(buf_str(&text), text.len, &why);
	if (*own == NULL)
		rc = refuse(path, &err, why,
		    "wanted is a public key alone, as PEM (BEGIN PUBLIC KEY: "
		    "'openssl pkey -in FILE -pubout' makes it of a private "
		    "one) or JWK");
	buf_free(&err);
	buf_free(&text);
	return rc;
}

/* What people have in files, by a word of it, but no key to sign with. */
static const char *
other_text(const struct buf *text)
{
	static const struct {
		const char *word, *why;
	} others[] = {
		{ "-BEGIN OPENSSH PRIVATE KEY-",
		    "is in OpenSSH's form: 'ssh-keygen -p -m PKCS8 -f FILE' "
		    "changes it" },
		{ "ENCRYPTED", "is encrypted: 'openssl pkey -in FILE' takes "
			       "the pass phrase off" },
		{ " PRIVATE KEY-", NULL },
		{ "PUBLIC KEY-", "is a public one, which signs nothing" },
		{ "-BEGIN CERTIFICATE", "is a certificate, which signs "
					"nothing" },
		{ "\"kty\"", "is a JWK" },
	};
	size_t i;

	for (i = 0; i < sizeof others / sizeof others[0]; i++)
		if (has(text, others[i].word))
			return others[i].why;
	return text->len > 0 ? "is no private key in PEM"
			     : "is missing, nothing is there";
}

/* Which the server takes is judged by the public half, as the server does. */
static const char *
take_pair(const struct buf *text, struct cli_pair *pair)
{
	static const enum public_key_alg algs[] = {
		[CRYPTO_KEY_RSA] = PUBLIC_KEY_RS256,
		[CRYPTO_KEY_P256] = PUBLIC_KEY_ES256,
		[CRYPTO_KEY_ED25519] = PUBLIC_KEY_EITHER,
	};
	const char *why = other_text(text);
	unsigned char numbers[CRYPTO_SIGNATURE_MAX];
	size_t len = 0;

	if (why != NULL)
		return why;
	pair->key = crypto_key_from_private(buf_str(text), text->len);
	if (pair->key != NULL)
		len = crypto_key_numbers(pair->key, numbers);
	if (len == 0)
		return "is damaged, or none of those that are taken: RSA of "
		       "2048 to 4096 bits with e = 65537, P-256, or Ed25519";
	pair->half = public_key_new(
	    algs[crypto_key_kind(pair->key)], numbers, len, &why);
	return pair->half != NULL ? NULL : why;
}

int
cli_private_key(const char *path, struct cli_pair *pair)
{
	struct buf text = { 0 }, err = { 0 };
	const char *why = NULL;
	int rc = CLI_OK;

	if (read_file(path, true, &text, &err))
		why = take_pair(&text, pair);
	if (err.len > 0 || why != NULL)
		rc = refuse(path, &err, why,
		    "wanted is a private key, as PEM (BEGIN PRIVATE KEY)");
	buf_free(&err);
	buf_free(&text);
	return rc;
}

void
cli_pair_clear(struct cli_pair *pair)
{
	crypto_key_free(pair->key);
	public_key_free(pair->half);
	pair->key = NULL;
	pair->half = NULL;
}

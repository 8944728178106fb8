#ifndef POSTERN_FUZZ_H
#define POSTERN_FUZZ_H

#include "base/buf.h"
#include "base/config.h"
#include "base/json.h"
#include "oracle.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What the fuzz targets share: libFuzzer's entry points, known secrets, and
 * the oracles of a second JSON library. */

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* An oracle: what must hold for any input. Prints and aborts. */
#define FUZZ_MUST(x) ((x) ? (void)0 : fuzz_fail(#x, __FILE__, __LINE__))
_Noreturn void fuzz_fail(const char *what, const char *file, int line);

/* The secrets that the target knows; the dictionaries have the tokens. */
#define FUZZ_MASTER "9f1c4be2a07d5836c2e81f94d3b76051"
#define FUZZ_ADMIN "admin-token-of-the-fuzzer-0123456789"
#define FUZZ_REGISTRATION "registration-of-the-fuzzer-0123456789"
#define FUZZ_PUBLIC                                                            \
	"00112233445566778899aabbccddeeff0123456789abcdef0123456789abcdef"
#define FUZZ_SECRET                                                            \
	"5ec2e75ec2e75ec2e75ec2e75ec2e75ec2e75ec2e75ec2e75ec2e75ec2e75ec2"

/* Settings as from the environment, with the secrets above and no database
 * to be reached; made once. */
const struct config *fuzz_config(void);

/* A copy with a NUL behind it, in memory of just that size; the caller frees.
 */
char *fuzz_text(const uint8_t *data, size_t size);

/* One byte for the target's own use; 0 when there is none. */
uint8_t fuzz_byte(const uint8_t **data, size_t *size);

#endif

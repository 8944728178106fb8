/*
 * Log lines: whatever the bytes of a value, they make one line, without control
 * characters, and in JSON's format one object.
 */
#include "fuzz.h"

#include "base/log.h"
#include "base/utf8.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { LINE_MAX_HERE = 65536 };

static int sink, err;

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	sink = memfd_create("log", MFD_CLOEXEC);
	err = dup(STDERR_FILENO);
	FUZZ_MUST(sink >= 0 && err >= 0);
	return 0;
}

/* What the line comes to on descriptor 2. */
static size_t
write_line(enum log_format format, const char *a, const char *b, char *line)
{
	ssize_t n;

	FUZZ_MUST(ftruncate(sink, 0) == 0 && lseek(sink, 0, SEEK_SET) == 0);
	dup2(sink, STDERR_FILENO);
	log_init("fuzz", LOG_LVL_INFO, format, LOG_TO_STDERR);
	log_info("event", LOG_S("a", a), LOG_N("n", -1), LOG_S("b", b));
	dup2(err, STDERR_FILENO);
	n = pread(sink, line, LINE_MAX_HERE, 0);
	FUZZ_MUST(n > 0 && n < LINE_MAX_HERE);
	return (size_t)n;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char line[LINE_MAX_HERE];
	uint8_t mode = fuzz_byte(&data, &size);
	enum log_format format = mode & 1 ? LOG_FMT_JSON : LOG_FMT_LOGFMT;
	char *text = fuzz_text(data, size);
	size_t n, alen = strlen(text);

	n = write_line(format, text, alen < size ? text + alen + 1 : "", line);
	FUZZ_MUST(line[n - 1] == '\n');
	FUZZ_MUST(!utf8_has_control(line, n - 1));
	if (format == LOG_FMT_JSON)
		FUZZ_MUST(json_check(line, n - 1, NULL) == JSON_OK);
	free(text);
	return 0;
}

/* A core dump, forced past our own bar, holds no secret. */

#include "base/secret.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <fcntl.h>
#include <glob.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

enum { LEN = 32, NO_CORES = 2 };

static char dir[] = "/tmp/postern-core-XXXXXX";

/* In place of libc's: a hard limit of 0 could not be raised again. */
int
setrlimit(__rlimit_resource_t resource, const struct rlimit *limit)
{
	(void)resource;
	(void)limit;
	return 0;
}

/* The secret is made here, so that it is nowhere in the program. */
static void
write_secret(char *to)
{
	size_t i;

	for (i = 0; i < LEN; i++)
		to[i] = (char)('A' + (i * 7 + 3) % 26);
}

enum where { IN_ARENA, IN_HEAP };

/* Dies of SIGABRT with a core, whatever the hardening said. filter is what
 * the dump may hold (core(5)), NULL to leave that as it is. */
static void
die(enum where where, const char *filter)
{
	struct rlimit all = { RLIM_INFINITY, RLIM_INFINITY };
	struct secret s = { 0 };
	char *heap;
	int fd;

	(void)secret_init();
	if (where == IN_ARENA) {
		secret_new(&s, LEN);
		write_secret(s.data);
	} else {
		heap = malloc(LEN);
		if (heap == NULL)
			_exit(1);
		write_secret(heap);
	}
	secret_harden_process();
	signal(SIGABRT, SIG_DFL);
	if (chdir(dir) != 0 || prlimit(0, RLIMIT_CORE, &all, NULL) != 0 ||
	    prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) != 0)
		_exit(NO_CORES);
	if (filter != NULL) {
		fd = open("/proc/self/coredump_filter", O_WRONLY);
		if (fd < 0 || write(fd, filter, strlen(filter)) < 0)
			_exit(NO_CORES);
	}
	abort();
}

/* The core's bytes; the caller unmaps. */
static char *
take_core(size_t *len)
{
	char pattern[64], *p = NULL;
	struct stat st;
	glob_t found;
	int fd;

	snprintf(pattern, sizeof pattern, "%s/core*", dir);
	if (glob(pattern, 0, NULL, &found) != 0)
		return NULL;
	fd = open(found.gl_pathv[0], O_RDONLY);
	if (fd >= 0 && fstat(fd, &st) == 0 && st.st_size > 0) {
		*len = (size_t)st.st_size;
		p = mmap(NULL, *len, PROT_READ, MAP_PRIVATE, fd, 0);
		p = p == MAP_FAILED ? NULL : p;
	}
	close(fd);
	unlink(found.gl_pathv[0]);
	globfree(&found);
	return p;
}

/* Whether the secret is in the core of a process that dies so. */
static bool
secret_in_core(enum where where, const char *filter)
{
	char wanted[LEN], *core;
	size_t len = 0;
	int status;
	bool there;
	pid_t pid = fork();

	if (pid == 0)
		die(where, filter);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == NO_CORES)
		skip(); /* we were started with cores forbidden */
	assert_true(WIFSIGNALED(status));
	if (!WCOREDUMP(status))
		skip();
	core = take_core(&len);
	if (core == NULL)
		skip(); /* the kernel's core_pattern puts it elsewhere */
	write_secret(wanted);
	there = memmem(core, len, wanted, LEN) != NULL;
	explicit_bzero(wanted, sizeof wanted);
	munmap(core, len);
	return there;
}

/* Everything that a dump can hold, by core(5). */
#define EVERYTHING "0x1ff"

/* covers: ASVS-V2.10.4, ASVS-V6.4.2 */
static void
test_no_secret_in_core(void **state)
{
	(void)state;
	/* So it would be found if it were there. */
	assert_true(secret_in_core(IN_HEAP, EVERYTHING));
	assert_false(secret_in_core(IN_ARENA, EVERYTHING));
	/* As hardening leaves it nothing at all is written. */
	assert_false(secret_in_core(IN_HEAP, NULL));
	assert_false(secret_in_core(IN_ARENA, NULL));
}

static int
setup(void **state)
{
	(void)state;
	return mkdtemp(dir) == NULL;
}

static int
teardown(void **state)
{
	(void)state;
	return rmdir(dir);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_secret_in_core),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}

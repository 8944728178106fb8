/* serve/sandbox.h: what fails in it, and what goes on working. */

#include "serve/sandbox.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

static char dir[] = "/tmp/postern-sandbox-XXXXXX";
static char file[64], fresh[64], keep[64], kept[80];
static const char *keep_dir;

enum { SKIP = 77 };

/* What fn returns in a process in the sandbox; -1 if it died. */
static int
in_sandbox(int (*fn)(void))
{
	struct sandbox s;
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		s = sandbox_enter(keep_dir);
		if (!s.no_new_privs || !s.seccomp || s.landlock < 1)
			_exit(SKIP);
		_exit(fn());
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == SKIP)
		skip(); /* this kernel has not got it */
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Each is called by number, past whatever libc makes of it; all arguments are
 * such that the call would not fail with EPERM by itself. */
static const struct {
	const char *name;
	long nr, a, b, c;
} denied[] = {
	{ "execve", SYS_execve, (long)"/bin/true", 0, 0 },
	{ "execveat", SYS_execveat, AT_FDCWD, (long)"/bin/true", 0 },
	{ "fork", SYS_clone, SIGCHLD, 0, 0 },
	{ "clone", SYS_clone, CLONE_VM | SIGCHLD, 0, 0 },
#ifdef SYS_fork
	{ "fork", SYS_fork, 0, 0, 0 },
	{ "vfork", SYS_vfork, 0, 0, 0 },
#endif
	{ "ptrace", SYS_ptrace, PTRACE_TRACEME, 0, 0 },
	{ "process_vm_readv", SYS_process_vm_readv, 0, 0, 0 },
	{ "process_vm_writev", SYS_process_vm_writev, 0, 0, 0 },
	{ "kill", SYS_kill, 0, 0, 0 },
	{ "tgkill", SYS_tgkill, 1, 1, 0 },
	{ "pidfd_open", SYS_pidfd_open, 1, 0, 0 },
	{ "bind", SYS_bind, -1, 0, 0 },
	{ "listen", SYS_listen, -1, 0, 0 },
	{ "setuid", SYS_setuid, 0, 0, 0 },
	{ "setgid", SYS_setgid, 0, 0, 0 },
	{ "setresuid", SYS_setresuid, -1, -1, -1 },
	{ "setresgid", SYS_setresgid, -1, -1, -1 },
	{ "setgroups", SYS_setgroups, 0, 0, 0 },
	{ "mount", SYS_mount, 0, 0, 0 },
	{ "umount2", SYS_umount2, 0, 0, 0 },
	{ "chroot", SYS_chroot, (long)"/nowhere", 0, 0 },
	{ "unshare", SYS_unshare, 0, 0, 0 },
	{ "setns", SYS_setns, -1, 0, 0 },
	{ "bpf", SYS_bpf, -1, 0, 0 },
	{ "keyctl", SYS_keyctl, 0, 0, 0 },
	{ "add_key", SYS_add_key, 0, 0, 0 },
	{ "io_uring_setup", SYS_io_uring_setup, 0, 0, 0 },
	{ "perf_event_open", SYS_perf_event_open, 0, 0, 0 },
	{ "userfaultfd", SYS_userfaultfd, -1, 0, 0 },
	{ "fchmod", SYS_fchmod, -1, 0, 0 },
	{ "truncate", SYS_truncate, (long)"/nowhere", 0, 0 },
	{ "packet socket", SYS_socket, AF_PACKET, SOCK_DGRAM, 0 },
	{ "alg socket", SYS_socket, AF_ALG, SOCK_SEQPACKET, 0 },
	{ "TIOCSTI", SYS_ioctl, -1, 0x5412, 0 },
};
enum { DENIED = sizeof denied / sizeof denied[0] };

static int
try_denied(void)
{
	size_t i;
	int bad = 0;

	for (i = 0; i < DENIED; i++) {
		errno = 0;
		if (syscall(denied[i].nr, denied[i].a, denied[i].b, denied[i].c,
			0, 0) == -1 &&
		    errno == EPERM)
			continue;
		fprintf(stderr, "%s: %s\n", denied[i].name, strerror(errno));
		bad++;
	}
	return bad;
}

/* covers: ASVS-V6.4.2, API8:2023 */
static void
test_denied_calls(void **state)
{
	(void)state;
	assert_int_equal(in_sandbox(try_denied), 0);
}

/* None of them fails with EPERM because of the arguments. */
static void
test_not_denied_without(void **state)
{
	static const char *const harmless[] = { "process_vm_readv",
		"process_vm_writev", "bind", "listen", "setns", "unshare",
		"fchmod", "truncate", "kill", "TIOCSTI", "setresuid",
		"setresgid" };
	size_t i, k, seen = 0;

	(void)state;
	for (i = 0; i < DENIED; i++)
		for (k = 0; k < sizeof harmless / sizeof harmless[0]; k++) {
			if (strcmp(denied[i].name, harmless[k]) != 0)
				continue;
			errno = 0;
			(void)syscall(denied[i].nr, denied[i].a, denied[i].b,
			    denied[i].c, 0, 0);
			assert_int_not_equal(errno, EPERM);
			seen++;
		}
	assert_int_equal(seen, sizeof harmless / sizeof harmless[0]);
}

static int
fails(int rc)
{
	return !(rc == -1 && (errno == EACCES || errno == EPERM));
}

static int
try_writes(void)
{
	char other[80];
	int bad = 0;

	snprintf(other, sizeof other, "%s.x", file);
	bad += fails(open(file, O_WRONLY));
	bad += fails(open(file, O_RDWR | O_TRUNC)) << 1;
	bad += fails(open(fresh, O_WRONLY | O_CREAT, 0600)) << 2;
	bad += fails(unlink(file)) << 3;
	bad += fails(mkdir(fresh, 0700)) << 4;
	bad += fails(rename(file, other)) << 5;
	bad += fails(symlink("x", fresh)) << 6;
	bad += fails(chmod(file, 0777));
	return bad;
}

/* covers: ASVS-V6.4.2 */
static void
test_no_writes(void **state)
{
	struct stat st;

	(void)state;
	keep_dir = NULL;
	assert_int_equal(in_sandbox(try_writes), 0);
	keep_dir = keep;
	assert_int_equal(in_sandbox(try_writes), 0);
	assert_int_equal(stat(file, &st), 0);
	assert_int_equal(st.st_size, 5);
	assert_int_equal(stat(fresh, &st), -1);
}

static int
try_removal(void)
{
	int fd = open(kept, O_WRONLY);

	return fd != -1 || unlink(kept) != 0;
}

static void
test_socket_can_be_removed(void **state)
{
	(void)state;
	keep_dir = keep;
	assert_int_equal(in_sandbox(try_removal), 0);
	assert_int_equal(access(kept, F_OK), -1);
	keep_dir = NULL;
}

static void *
thread(void *arg)
{
	*(int *)arg = 1;
	return NULL;
}

/* Reading, connecting, resolving, threads and an abort still work. */
static int
try_allowed(void)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM,
		.ai_flags = AI_ADDRCONFIG },
			*list;
	int fds[2], ran = 0, fd = open(file, O_RDONLY);
	pthread_t t;
	char text[5];

	if (fd < 0 || read(fd, text, sizeof text) != 5)
		return 1;
	if (getaddrinfo("localhost", "5432", &hints, &list) != 0)
		return 2;
	freeaddrinfo(list);
	fd = socket(AF_INET, SOCK_STREAM, 0);
	if (fd < 0 || socket(AF_UNIX, SOCK_STREAM, 0) < 0 ||
	    socketpair(AF_UNIX, SOCK_STREAM, 0, fds) != 0)
		return 3;
	if (write(fds[0], "x", 1) != 1 || write(STDERR_FILENO, "", 0) != 0)
		return 4;
	if (pthread_create(&t, NULL, thread, &ran) != 0 ||
	    pthread_join(t, NULL) != 0 || ran != 1)
		return 5;
	return prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 ? 0 : 6;
}

static int
try_abort(void)
{
	signal(SIGABRT, SIG_DFL);
	abort();
}

static void
test_allowed(void **state)
{
	(void)state;
	assert_int_equal(in_sandbox(try_allowed), 0);
	assert_int_equal(in_sandbox(try_abort), -1);
}

static int
setup(void **state)
{
	FILE *f;

	(void)state;
	if (mkdtemp(dir) == NULL)
		return 1;
	snprintf(file, sizeof file, "%s/file", dir);
	snprintf(fresh, sizeof fresh, "%s/fresh", dir);
	snprintf(keep, sizeof keep, "%s/keep", dir);
	snprintf(kept, sizeof kept, "%s/socket", keep);
	f = fopen(file, "w");
	if (f == NULL || fputs("text\n", f) < 0 || fclose(f) != 0 ||
	    mkdir(keep, 0700) != 0)
		return 1;
	f = fopen(kept, "w");
	return f == NULL || fclose(f) != 0;
}

static int
teardown(void **state)
{
	(void)state;
	(void)unlink(kept);
	(void)rmdir(keep);
	(void)unlink(file);
	return rmdir(dir);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_denied_calls),
		cmocka_unit_test(test_not_denied_without),
		cmocka_unit_test(test_no_writes),
		cmocka_unit_test(test_socket_can_be_removed),
		cmocka_unit_test(test_allowed),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}

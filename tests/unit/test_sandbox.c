/* serve/sandbox.h: what fails in it, and what goes on working. */

#include "serve/sandbox.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/sockios.h>
#include <netdb.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
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
	/* Other processes of the same user. */
	{ "prlimit64", SYS_prlimit64, 1, RLIMIT_CPU, 0 },
	{ "setpriority", SYS_setpriority, PRIO_PROCESS, 1, 0 },
	{ "ioprio_set", SYS_ioprio_set, 1, 1, 0 },
	{ "sched_setaffinity", SYS_sched_setaffinity, 1, 0, 0 },
	{ "sched_setscheduler", SYS_sched_setscheduler, 1, SCHED_IDLE, 0 },
	{ "sched_setparam", SYS_sched_setparam, 1, 0, 0 },
	{ "sched_setattr", SYS_sched_setattr, 1, 0, 0 },
	{ "move_pages", SYS_move_pages, 1, 0, 0 },
	{ "migrate_pages", SYS_migrate_pages, 1, 0, 0 },
	{ "process_mrelease", SYS_process_mrelease, -1, 0, 0 },
	{ "shmget", SYS_shmget, 0, 0, 0 },
	{ "shmat", SYS_shmat, -1, 0, 0 },
	{ "semop", SYS_semop, -1, 0, 0 },
	{ "msgget", SYS_msgget, -1, 0, 0 },
	{ "mq_open", SYS_mq_open, (long)"postern-test", O_RDONLY, 0 },
	{ "mq_unlink", SYS_mq_unlink, (long)"postern-test", 0, 0 },
	/* Whom a descriptor's signals go to, and how long others wait. */
	{ "F_SETOWN", SYS_fcntl, -1, F_SETOWN, 1 },
	{ "F_SETOWN_EX", SYS_fcntl, -1, F_SETOWN_EX, 0 },
	{ "F_SETSIG", SYS_fcntl, -1, F_SETSIG, SIGKILL },
	{ "F_SETLEASE", SYS_fcntl, -1, F_SETLEASE, F_RDLCK },
	{ "FIOSETOWN", SYS_ioctl, -1, FIOSETOWN, 0 },
	{ "SIOCSPGRP", SYS_ioctl, -1, SIOCSPGRP, 0 },
	/* Files, in ways that came later, or past their name. */
	{ "fchmodat2", 452, AT_FDCWD, (long)"/nowhere", 0666 },
	{ "lsm_set_self_attr", 460, 0, 0, 0 },
	{ "setxattrat", 463, AT_FDCWD, (long)"/nowhere", 0 },
	{ "removexattrat", 466, AT_FDCWD, (long)"/nowhere", 0 },
	{ "open_tree_attr", 467, -1, 0, 0 },
	{ "file_setattr", 469, AT_FDCWD, (long)"/nowhere", 0 },
	{ "fsetxattr", SYS_fsetxattr, -1, 0, 0 },
	{ "fremovexattr", SYS_fremovexattr, -1, 0, 0 },
	{ "fallocate", SYS_fallocate, -1, 0, 0 },
	{ "quotactl_fd", SYS_quotactl_fd, -1, 0, 0 },
	{ "FS_IOC_SETFLAGS", SYS_ioctl, -1, FS_IOC_SETFLAGS, 0 },
	{ "FS_IOC_FSSETXATTR", SYS_ioctl, -1, FS_IOC_FSSETXATTR, 0 },
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
		"setresgid", "shmat", "semop", "msgget", "mq_open", "F_SETOWN",
		"F_SETOWN_EX", "F_SETSIG", "F_SETLEASE", "FIOSETOWN",
		"SIOCSPGRP", "fchmodat2", "setxattrat", "removexattrat",
		"file_setattr", "fsetxattr", "fremovexattr", "fallocate",
		"FS_IOC_SETFLAGS", "FS_IOC_FSSETXATTR" };
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

/* Each was seen to reach its parent, or a file, from inside. */
static int
try_others(void)
{
	struct rlimit none = { 0, 0 }, own;
	struct f_owner_ex owner = { F_OWNER_PID, getppid() };
	int fds[2], parent = getppid(), bad = 0;

	bad += syscall(SYS_prlimit64, parent, RLIMIT_CPU, &none, NULL) == 0;
	bad += syscall(SYS_prlimit64, parent, RLIMIT_CPU, NULL, &own) == 0;
	bad += setpriority(PRIO_PROCESS, (id_t)parent, 19) == 0;
	bad += syscall(452, AT_FDCWD, file, 0666, 0) == 0;
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds) != 0)
		return 100;
	bad += fcntl(fds[0], F_SETOWN, parent) == 0;
	bad += fcntl(fds[0], F_SETOWN_EX, &owner) == 0;
	bad += fcntl(fds[0], F_SETSIG, SIGKILL) == 0;
	bad += ioctl(fds[0], FIOSETOWN, &parent) == 0;
	bad += ioctl(fds[0], SIOCSPGRP, &parent) == 0;
	/* Its own, and what a descriptor is otherwise asked, it may. */
	if (getrlimit(RLIMIT_NOFILE, &own) != 0 ||
	    setrlimit(RLIMIT_NOFILE, &own) != 0 ||
	    syscall(SYS_prlimit64, getpid(), RLIMIT_NOFILE, NULL, &own) != 0 ||
	    sched_setscheduler(0, SCHED_BATCH, &(struct sched_param){ 0 }) !=
		0 ||
	    fcntl(fds[0], F_SETFL, O_NONBLOCK) != 0 ||
	    fcntl(fds[0], F_SETFD, FD_CLOEXEC) != 0 ||
	    fcntl(fds[0], F_GETOWN) != 0 ||
	    fcntl(fds[0], F_DUPFD_CLOEXEC, 0) < 0)
		return 101;
	return bad;
}

/* covers: ASVS-V6.4.2 */
static void
test_no_others(void **state)
{
	struct rlimit before, after;
	struct stat st;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_CPU, &before), 0);
	assert_int_equal(chmod(file, 0600), 0);
	assert_int_equal(in_sandbox(try_others), 0);
	assert_int_equal(getrlimit(RLIMIT_CPU, &after), 0);
	assert_int_equal(before.rlim_cur, after.rlim_cur);
	assert_int_equal(stat(file, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
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
		cmocka_unit_test(test_no_others),
		cmocka_unit_test(test_no_writes),
		cmocka_unit_test(test_socket_can_be_removed),
		cmocka_unit_test(test_allowed),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}

/*
 * Least power: what a serving process gives up, by Landlock and seccomp. The
 * raw system calls: libseccomp would be one more library to trust, and
 * Debian 12's headers know only Landlock's second version.
 */
#include "serve/sandbox.h"

#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/fs.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <linux/sockios.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

/* What came after the headers' version. */
enum {
	FS_TRUNCATE = 1 << 14,  /* 3 */
	NET_BIND_TCP = 1 << 0,  /* 4 */
	FS_IOCTL_DEV = 1 << 15, /* 5 */
	SCOPE_SIGNAL = 1 << 1   /* 6 */
};

struct ruleset {
	uint64_t fs;
	uint64_t net;
	uint64_t scoped;
};

/* All but reading. */
static struct ruleset
rights(int abi)
{
	struct ruleset r = { 0 };

	r.fs = LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_WRITE_FILE |
	       LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE |
	       LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_DIR |
	       LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK |
	       LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_BLOCK |
	       LANDLOCK_ACCESS_FS_MAKE_SYM;
	if (abi >= 2)
		r.fs |= LANDLOCK_ACCESS_FS_REFER;
	if (abi >= 3)
		r.fs |= FS_TRUNCATE;
	if (abi >= 4)
		r.net = NET_BIND_TCP;
	if (abi >= 5)
		r.fs |= FS_IOCTL_DEV;
	if (abi >= 6)
		r.scoped = SCOPE_SIGNAL;
	return r;
}

/* Files below dir may still be removed. */
static bool
allow_removal(int ruleset, const char *dir)
{
	struct landlock_path_beneath_attr rule = {
		.allowed_access = LANDLOCK_ACCESS_FS_REMOVE_FILE
	};
	bool ok;

	rule.parent_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (rule.parent_fd < 0)
		return false;
	ok = syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH,
		 &rule, 0) == 0;
	close(rule.parent_fd);
	return ok;
}

/* The kernel's version, 0 if it has none or it didn't work. */
static int
enter_landlock(const char *keep_dir)
{
	int abi, fd;
	struct ruleset r;
	size_t size;
	bool ok;

	abi = (int)syscall(SYS_landlock_create_ruleset, NULL, 0,
	    LANDLOCK_CREATE_RULESET_VERSION);
	if (abi < 1)
		return 0;
	r = rights(abi);
	size = abi >= 6   ? sizeof r
	       : abi >= 4 ? offsetof(struct ruleset, scoped)
			  : offsetof(struct ruleset, net);
	fd = (int)syscall(SYS_landlock_create_ruleset, &r, size, 0);
	if (fd < 0)
		return 0;
	ok = (keep_dir == NULL || allow_removal(fd, keep_dir)) &&
	     syscall(SYS_landlock_restrict_self, fd, 0) == 0;
	close(fd);
	return ok ? abi : 0;
}

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#endif

#ifdef ARCH
/* What came after the headers; of one number on every processor. */
enum {
	NR_FCHMODAT2 = 452,
	NR_LSM_SET_SELF_ATTR = 460,
	NR_SETXATTRAT = 463,
	NR_REMOVEXATTRAT = 466,
	NR_OPEN_TREE_ATTR = 467,
	NR_FILE_SETATTR = 469
};

/* Not every kernel's headers, and not every processor, have each of them. */
static const int denied[] = {
	/* Other programs and processes. */
	SYS_execve, SYS_execveat, SYS_ptrace, SYS_process_vm_readv,
	SYS_process_vm_writev, SYS_kcmp, SYS_kill, SYS_tkill,
	SYS_rt_sigqueueinfo, SYS_rt_tgsigqueueinfo, SYS_pidfd_open,
	SYS_pidfd_getfd, SYS_pidfd_send_signal, SYS_process_madvise,
	SYS_process_mrelease, SYS_setpriority, SYS_ioprio_set,
	SYS_migrate_pages, SYS_move_pages,
	/* What others of the same user share. */
	SYS_shmget, SYS_shmat, SYS_shmctl, SYS_semget, SYS_semctl, SYS_semop,
	SYS_semtimedop, SYS_msgget, SYS_msgsnd, SYS_msgrcv, SYS_msgctl,
	SYS_mq_open, SYS_mq_unlink,
#ifdef SYS_fork
	SYS_fork, SYS_vfork,
#endif
	/* A server of one's own. */
	SYS_bind, SYS_listen,
	/* Another user. */
	SYS_setuid, SYS_setgid, SYS_setreuid, SYS_setregid, SYS_setresuid,
	SYS_setresgid, SYS_setgroups, SYS_setfsuid, SYS_setfsgid, SYS_capset,
	/* Name spaces and mounts. */
	SYS_mount, SYS_umount2, SYS_pivot_root, SYS_chroot, SYS_unshare,
	SYS_setns, SYS_open_tree, SYS_move_mount, SYS_fsopen, SYS_fsconfig,
	SYS_fsmount, SYS_fspick, SYS_mount_setattr, NR_OPEN_TREE_ATTR,
	SYS_open_by_handle_at, SYS_name_to_handle_at,
	/* What Landlock leaves: modes, owners, attributes, times, and the files
	 * that are open from before; but ftruncate empties a request's spool.
	 */
	SYS_fallocate, NR_FCHMODAT2, NR_SETXATTRAT, NR_REMOVEXATTRAT,
	NR_FILE_SETATTR, SYS_fchmod, SYS_fchmodat, SYS_fchown, SYS_fchownat,
	SYS_truncate, SYS_setxattr, SYS_lsetxattr, SYS_fsetxattr,
	SYS_removexattr, SYS_lremovexattr, SYS_fremovexattr, SYS_utimensat,
	SYS_mknodat,
#ifdef SYS_chmod
	SYS_chmod, SYS_chown, SYS_lchown, SYS_utime, SYS_utimes, SYS_futimesat,
	SYS_mknod,
#endif
	/* Much-attacked parts of the kernel. */
	SYS_bpf, SYS_keyctl, SYS_add_key, SYS_request_key, SYS_perf_event_open,
	SYS_userfaultfd, SYS_io_uring_setup, SYS_io_uring_enter,
	SYS_io_uring_register, SYS_personality, SYS_acct, SYS_quotactl,
	SYS_quotactl_fd, NR_LSM_SET_SELF_ATTR, SYS_syslog, SYS_lookup_dcookie,
	SYS_fanotify_init,
#ifdef SYS_modify_ldt
	SYS_modify_ldt, SYS_iopl, SYS_ioperm, SYS_uselib,
#endif
	/* The machine's. */
	SYS_init_module, SYS_finit_module, SYS_delete_module, SYS_kexec_load,
	SYS_kexec_file_load, SYS_reboot, SYS_swapon, SYS_swapoff,
	SYS_sethostname, SYS_setdomainname, SYS_settimeofday, SYS_clock_settime,
	SYS_clock_adjtime, SYS_adjtimex, SYS_vhangup
};

enum { DENIED = sizeof denied / sizeof denied[0] };

/* Calls of which an argument tells: it must be, or mustn't be, one of k. */
static const struct {
	uint32_t nr;
	unsigned arg;
	bool only;
	size_t n;
	uint32_t k[7];
} judged[] = {
	/* The last for getaddrinfo. */
	{ SYS_socket, 0, true, 4, { AF_UNIX, AF_INET, AF_INET6, AF_NETLINK } },
	/* Typing for others, signals to others, and attributes of files. */
	{ SYS_ioctl, 1, false, 7,
	    { TIOCSTI, TIOCLINUX, FIOSETOWN, SIOCSPGRP, FS_IOC_SETFLAGS,
		FS_IOC_FSSETXATTR, FS_IOC_SETVERSION } },
	/* Signals to others, where Landlock doesn't know them; a lease stops
	 * others, too. */
	{ SYS_fcntl, 1, false, 4,
	    { F_SETOWN, F_SETOWN_EX, F_SETSIG, F_SETLEASE } },
};

enum { JUDGED = sizeof judged / sizeof judged[0] };

/* Calls whose first argument is a process: this one, by its id or 0. The last
 * is abort()'s. */
static const int own[] = { SYS_prlimit64, SYS_sched_setscheduler,
	SYS_sched_setparam, SYS_sched_setattr, SYS_sched_setaffinity,
	SYS_tgkill };

enum { OWN = sizeof own / sizeof own[0] };

struct program {
	struct sock_filter code[2 * DENIED + 160];
	unsigned short n;
};

static void
emit(struct program *p, unsigned code, uint32_t k, unsigned yes, unsigned no)
{
	p->code[p->n++] = (struct sock_filter){ (unsigned short)code,
		(unsigned char)yes, (unsigned char)no, k };
}

static void
load(struct program *p, size_t offset)
{
	emit(p, BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset, 0, 0);
}

static void
answer(struct program *p, uint32_t action)
{
	emit(p, BPF_RET | BPF_K, action, 0, 0);
}

/* Where what is loaded is k: this action. */
static void
answer_if(struct program *p, uint32_t k, uint32_t action)
{
	emit(p, BPF_JMP | BPF_JEQ | BPF_K, k, 0, 1);
	answer(p, action);
}

/* The lower half of an argument; both machines are little-endian. */
static void
load_argument(struct program *p, unsigned i)
{
	load(p, offsetof(struct seccomp_data, args) + i * sizeof(uint64_t));
}

/*
 * The call nr, whose argument i must be (or, where only is false, must not be)
 * one of k[0] to k[n-1]. The number is loaded before and after.
 */
static void
judge(struct program *p, uint32_t nr, unsigned i, const uint32_t *k, size_t n,
    bool only)
{
	const uint32_t no = SECCOMP_RET_ERRNO | EPERM;
	size_t at;

	emit(p, BPF_JMP | BPF_JEQ | BPF_K, nr, 0, (unsigned)(2 * n + 2));
	load_argument(p, i);
	for (at = 0; at < n; at++)
		answer_if(p, k[at], only ? SECCOMP_RET_ALLOW : no);
	answer(p, only ? no : SECCOMP_RET_ALLOW);
}

static void
write_program(struct program *p)
{
	const uint32_t no = SECCOMP_RET_ERRNO | EPERM;
	const uint32_t self[] = { (uint32_t)getpid(), 0 };
	int i;

	load(p, offsetof(struct seccomp_data, arch));
	emit(p, BPF_JMP | BPF_JEQ | BPF_K, ARCH, 1, 0);
	answer(p, no);
	load(p, offsetof(struct seccomp_data, nr));
#ifdef __x86_64__
	emit(p, BPF_JMP | BPF_JGE | BPF_K, __X32_SYSCALL_BIT, 0, 1);
	answer(p, no);
#endif
	for (i = 0; i < DENIED; i++)
		answer_if(p, (uint32_t)denied[i], no);
	/* Its flags are in memory; without it glibc takes clone. */
	answer_if(p, SYS_clone3, SECCOMP_RET_ERRNO | ENOSYS);
	for (i = 0; i < JUDGED; i++)
		judge(p, judged[i].nr, judged[i].arg, judged[i].k, judged[i].n,
		    judged[i].only);
	for (i = 0; i < OWN; i++)
		judge(p, (uint32_t)own[i], 0, self, 2, true);
	/* Threads, as a resolver may start, are no processes. */
	emit(p, BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 0, 3);
	load_argument(p, 0);
	emit(p, BPF_JMP | BPF_JSET | BPF_K, CLONE_THREAD, 1, 0);
	answer(p, no);
	answer(p, SECCOMP_RET_ALLOW);
}

static bool
enter_seccomp(void)
{
	struct program p = { .n = 0 };
	struct sock_fprog prog = { .filter = p.code };

	write_program(&p);
	prog.len = p.n;
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog, 0, 0) == 0;
}
#else
static bool
enter_seccomp(void)
{
	return false;
}
#endif

struct sandbox
sandbox_enter(const char *keep_dir)
{
	struct sandbox s = { 0 };

	s.no_new_privs = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0;
	s.landlock = enter_landlock(keep_dir);
	s.seccomp = enter_seccomp();
	return s;
}

static void
log_state(const struct sandbox *s, bool wanted, enum log_level level)
{
	bool whole = s->no_new_privs && s->seccomp && s->landlock > 0;
	const char *hint = whole    ? NULL
			   : wanted ? "the kernel has not got all of it"
				    : "POSTERN_SANDBOX is off";

	LOG_AT(wanted && !whole ? LOG_LVL_WARN : level, "sandbox",
	    LOG_S("no_new_privs", s->no_new_privs ? "on" : "off"),
	    LOG_S("seccomp", s->seccomp ? "on" : "off"),
	    LOG_N("landlock", s->landlock), LOG_LAST("hint", hint));
}

void
sandbox_start(
    const struct config *cfg, const char *socket_path, enum log_level level)
{
	struct sandbox s = { 0 };
	char *dir = NULL;

	if (cfg->sandbox) {
		dir = mem_strdup(socket_path); /* dirname writes to it */
		s = sandbox_enter(dir != NULL ? dirname(dir) : NULL);
		free(dir);
	}
	log_state(&s, cfg->sandbox, level);
}

"""Least power of the processes that serve, and what still works with it."""
import fcntl
import json
import pathlib
import re
import struct
import termios

import pytest

from lib.fastcgi import FastCGI
from lib.postgres import TlsPostgres
from lib.process import REPO, SANITIZED, free_port, stop, wait_until
from lib.stack import Stack
from lib.tokens import ADMIN, REGISTRATION


def status(pid):
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def told(stack):
    """What the log says is active, of each process."""
    lines = wait_until("the log", lambda: stack.log_lines("sandbox"))
    return [dict(w.split("=", 1) for w in line.split() if "=" in w)
            for line in lines]


@pytest.mark.covers("API8:2023")
@pytest.mark.parametrize("workers", [2, 0])
def test_active(make, workers):
    s = make(workers=workers)
    pids = s.workers() if workers else [s.process.pid]
    assert pids
    for pid in pids:
        st = status(pid)
        assert (st["NoNewPrivs"], st["Seccomp"]) == ("1", "2"), st
        assert st["CapEff"] == "0" * 16
    assert status(s.process.pid)["NoNewPrivs"] == "1"
    for t in told(s):
        assert (t["no_new_privs"], t["seccomp"]) == ("on", "on")
        assert int(t["landlock"]) >= 1 and "level=info" in str(
            s.log_lines("sandbox")[0])
    r = s.request("POST", "/v1/apps", {
        "Authorization": "Bearer " + REGISTRATION}, {"name": "x"})
    assert r.status == 201
    # A single process still removes its socket.
    sock = pathlib.Path(s.sock)
    assert sock.exists()
    assert stop(s.process) == 0 and not sock.exists()


def test_off(make):
    s = make(env={"POSTERN_SANDBOX": "off"})
    assert {status(p)["Seccomp"] for p in s.workers()} == {"0"}
    assert {t["seccomp"] for t in told(s)} == {"off"}
    s.env["POSTERN_SANDBOX"] = "maybe"


def test_new_workers_too(make):
    s = make()
    s.reload()
    wait_until("two", lambda: len(s.workers()) == 2)
    assert {status(p)["Seccomp"] for p in s.workers()} == {"2"}


@pytest.mark.covers("ASVS-V2.10.4")
def test_no_secret_outside(make):
    """In no environment, no command line, and no file of the server's."""
    s = make(workers=2)
    app = s.register()
    assert s.get("/v1/whoami", app.auth()).status == 200
    texts = [t.encode() for t in s.secrets()]
    for pid in [s.process.pid, *s.workers()]:
        for name in ("environ", "cmdline"):
            content = pathlib.Path(f"/proc/{pid}/{name}").read_bytes()
            assert name != "cmdline" or b"postern" in content
            assert not [t for t in texts if t in content], name
    for path in s.dir.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert not [t for t in texts if t in content], path
    for pid in s.workers():
        limits = pathlib.Path(f"/proc/{pid}/limits").read_text()
        assert [line.split()[-3:-1] for line in limits.splitlines()
                if "core file" in line] == [["0", "0"]]


@pytest.fixture(scope="module")
def tls(scratch):
    p = TlsPostgres(scratch)
    yield p
    p.stop()


@pytest.mark.covers("ASVS-V13.2.6")
def test_reconnect_by_name_and_tls(tls):
    """By host name, with the certificate checked; the first of two servers is
    away; the connection is cut, and Postgres restarted."""
    database = tls.database()
    url = tls.url(database, hosts="localhost,localhost",
                  ports=f"{free_port()},{tls.tcp_port}")
    with Stack(tls, database=database,
               env={"POSTERN_DATABASE_URL": url}) as s:
        app = s.register()
        assert {t["seccomp"] for t in told(s)} == {"on"}
        before = set(s.workers())
        seen = s.sql("SELECT DISTINCT ssl FROM pg_stat_ssl JOIN"
                     " pg_stat_activity USING (pid) WHERE usename = 'server'")
        assert seen == [(True,)]
        s.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
              " WHERE usename = 'server'")
        s.all_workers("cut, and back", "/readyz", 200)
        tls.stop()
        s.all_workers("away", "/readyz", 503)
        tls.start()
        s.all_workers("restarted, and back", "/readyz", 200)
        assert s.get("/v1/whoami", app.auth()).status == 200
        assert set(s.workers()) == before
        # The same for a server whose certificate is for another name.
        wrong = tls.url(database, hosts="127.0.0.1")
        with Stack(tls, database=database, ready=False,
                   env={"POSTERN_DATABASE_URL": wrong}) as t:
            wait_until("its word", lambda: "certificate" in t.log())
            assert t.get("/readyz").status == 503


# What the processes that serve call in the sandbox. A library of another release
# may call others: they come in here once it is known why.
CALLS = {
    "requests": "accept4 read write epoll_create1 epoll_ctl epoll_wait"
                " memfd_create pwrite64 lseek ftruncate close fcntl setitimer",
    "Postgres": "socket connect getsockopt setsockopt getsockname poll sendto"
                " recvfrom",
    "names and certificates": "openat newfstatat getuid geteuid uname"
                              " getdents64",
    "memory": "mmap munmap mprotect madvise brk",
    "threads": "clone clone3 futex set_robust_list rseq exit getpid"
               " sched_getscheduler sched_setscheduler",
    "signals": "rt_sigaction rt_sigprocmask signalfd4 eventfd2",
    "chance": "getrandom",
    "the end": "unlink exit_group",
    # On another processor, with another library, in another state (DNS, a clock
    # that has to be asked for, no memory, a signal that comes in between).
    "elsewhere": "accept writev pread64 recvmsg sendmsg sendmmsg shutdown"
                 " socketpair getpeername ioctl ppoll epoll_pwait dup dup3 pipe2"
                 " open stat fstat statx access faccessat faccessat2 readlink"
                 " readlinkat unlinkat getgid getegid gettid mremap mlock mlock2"
                 " munlock sysinfo clock_gettime gettimeofday time nanosleep"
                 " clock_nanosleep rt_sigreturn restart_syscall sigaltstack"
                 " tgkill sched_yield sched_getaffinity prlimit64 prctl",
}

# What is denied, and is tried all the same.
GO_ON_WITHOUT = {
    "bind": "of a netlink socket, by newer getaddrinfos, which then take it that"
            " there are addresses of both families",
}


class Traced(Stack):
    def command(self):
        self.trace = self.dir / "trace"
        return ["strace", "-D", "-f", "-qq", "-o", str(self.trace),
                *super().command()]

    def calls(self):
        """By process what it called in the sandbox: name and line."""
        inside, out = set(), []
        for line in self.trace.read_text(errors="replace").splitlines():
            pid, _, rest = line.partition(" ")
            name = re.match(r"(?:<\.\.\. )?(\w+)", rest.strip())
            if name and pid in inside:
                out.append((name.group(1), line))
            thread = re.search(r"\bclone\b.* = (\d+)$", line)
            if "SECCOMP_MODE_FILTER" in line and "= 0" in line:
                inside.add(pid)
            elif thread and pid in inside:
                inside.add(thread.group(1))
        assert inside
        return out


def in_pieces(s, app):
    """Each is read before the next is sent."""
    body = json.dumps({"a": "x" * 40000}).encode()
    with FastCGI(s.sock) as c:
        def read():
            wait_until("read", lambda: struct.unpack("i", fcntl.ioctl(
                c.s, termios.TIOCOUTQ, bytes(4)))[0] == 0)

        c.begin()
        read()
        c.params({"REQUEST_METHOD": "PUT", "REQUEST_URI": "/v1/users/v",
                  "CONTENT_TYPE": "application/json",
                  "CONTENT_LENGTH": str(len(body)),
                  **{"HTTP_" + k.upper().replace("-", "_"): v
                     for k, v in app.auth().items()}}, end=False)
        read()
        c.params({})
        for i in range(0, len(body), 10000):
            c.stdin(body[i:i + 10000], end=False)
            read()
        c.stdin(b"")
        assert c.answer().status == 201


def whole_life(tls, workers):
    """Start, requests of all kinds, a lost database, another set of workers,
    and the end."""
    database = tls.database()
    with Traced(tls, database=database, workers=workers, env={
            "POSTERN_DATABASE_URL": tls.url(
                database, hosts="localhost,localhost",
                ports=f"{free_port()},{tls.tcp_port}"),
            "POSTERN_JWT_SINGLE_USE": None}) as s:
        app = s.register()
        for method, body in (("PUT", {"a": 1}), ("PATCH", {"b": "x" * 20000}),
                             ("GET", None), ("DELETE", None)):
            assert s.request(method, "/v1/users/u", app.auth(),
                             body).status < 300
        in_pieces(s, app)
        for path, headers in (("/v1/whoami", app.auth()), ("/v1/auth", app.auth()),
                              ("/v1/whoami", {}), ("/healthz", {}),
                              ("/openapi.json", {}), ("/metrics", {
                                  "Authorization": "Bearer " + ADMIN})):
            s.get(path, headers)
        s.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
              " WHERE usename = 'server'")
        wait_until("back", lambda: s.get(
            "/v1/users/u", app.auth()).status == 404, 60)
        if workers:
            s.reload()
        assert s.request("DELETE", "/v1/app", app.auth()).status == 204
        stop(s.process, patience=60)
        wait_until("the trace", lambda: re.search(
            rf"^{s.process.pid} +\+\+\+ exited|{s.process.pid} +exit_group",
            s.trace.read_text(errors="replace"), re.M))
        return s.calls()


@pytest.mark.parametrize("workers", [1, 0])
def test_what_is_called(tls, workers):
    """Nothing but the list; nothing of it is denied."""
    calls = whole_life(tls, workers)
    missed = {name for name, line in calls if " EPERM " in line}
    assert missed <= set(GO_ON_WITHOUT)
    listed = set(" ".join(CALLS.values()).split())
    if not SANITIZED:
        assert {name for name, _ in calls} - missed - listed == set()


def test_the_list_is_not_denied():
    """By the source: what the workers call is in no list of it."""
    text = (REPO / "src/serve/sandbox.c").read_text()
    denied = text[text.index("denied[] = {"):text.index("enum { DENIED")]
    names = {n.lower() for n in re.findall(r"(?:SYS|NR)_(\w+)", denied)}
    assert len(names) > 100 and {"execve", "fchmodat2"} <= names
    assert names & set(" ".join(CALLS.values()).split()) == set()

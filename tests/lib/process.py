"""Processes: who runs them, where, until when; and the programs under test."""
import contextlib
import os
import pathlib
import pwd
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor

REPO = pathlib.Path(__file__).resolve().parents[2]
BUILD = (REPO / os.environ.get("POSTERN_BUILD", "build")).resolve()
SANITIZED = os.environ.get("POSTERN_SANITIZED") == "1"
PATIENCE = 60 if SANITIZED else 30
USER = "www-data"
SAN_ENV = {
    "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=0:exitcode=99"
                    ":allocator_may_return_null=1",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
}


def demoted():
    """preexec_fn: become the unprivileged user, if we are root."""
    if os.getuid() != 0:
        return None
    user = pwd.getpwnam(USER)

    def become():
        os.setgroups([])
        os.setgid(user.pw_gid)
        os.setuid(user.pw_uid)

    return become


def wait_until(what, check, patience=None):
    """Wait for a condition with a deadline; its value is returned."""
    deadline = time.monotonic() + (patience or PATIENCE)
    while True:
        value = check()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"timed out: {what}")
        time.sleep(0.02)


def at_once(n, call):
    """Call n times, all starting together."""
    gate = threading.Barrier(n)

    def one(i):
        gate.wait()
        return call(i)

    with ThreadPoolExecutor(n) as pool:
        return list(pool.map(one, range(n)))


def free_port():
    """Below the ports of outgoing connections (Linux's begin at 32768), one of
    which could take it before whoever it is for listens on it."""
    while True:
        port = random.SystemRandom().randrange(10240, 32768)
        with socket.socket() as s, contextlib.suppress(OSError):
            s.bind(("127.0.0.1", port))
            return port


def can_connect(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


def stop(process, sig=signal.SIGTERM, patience=None):
    """End a process that we started, and wait for it."""
    if process is None:
        return None
    if process.poll() is None:
        process.send_signal(sig)
        try:
            process.wait(patience or PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"{process.args} did not end on {sig}")
    return process.returncode


def ended(pid):
    """Gone, or a zombie that its parent has not looked at."""
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


def proc_status(pid, name):
    """A number of /proc/PID/status, in its kB."""
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1])
    raise KeyError(name)


class Scratch:
    """The temporary directory: binaries and pages are copied to where the
    unprivileged user can read them."""

    def __init__(self):
        self.path = pathlib.Path(tempfile.mkdtemp(prefix="pt", dir="/tmp"))
        self.path.chmod(0o755)
        if os.getuid() == 0:
            shutil.chown(self.path, USER, USER)
        self.bin = self.path / "bin"
        shutil.copytree(REPO / "www", self.path / "www")
        self.bin.mkdir()
        for name in ("postern", "postern.fcgi"):
            shutil.copy(BUILD / name, self.bin / name)
        for p in [self.bin, *self.bin.iterdir(), self.path / "www"]:
            p.chmod(0o755)
        self.count = 0

    def dir(self):
        self.count += 1
        d = self.path / f"s{self.count}"
        d.mkdir()
        d.chmod(0o755)
        if os.getuid() == 0:
            shutil.chown(d, USER, USER)
        return d

    def remove(self):
        # Hundreds of databases: too many files for shutil.rmtree.
        subprocess.run(["rm", "-rf", self.path], stderr=subprocess.DEVNULL)


def run_tool(scratch, args, env=None, stdin=None, check=True):
    r = subprocess.run(
        [scratch.bin / "postern", *args], input=stdin, text=True,
        env={"PATH": os.environ["PATH"], "HOME": str(scratch.path),
             **SAN_ENV, **(env or {})},
        capture_output=True, timeout=PATIENCE, preexec_fn=demoted(), cwd="/")
    if check and r.returncode != 0:
        raise AssertionError(f"postern {args}: {r.returncode} {r.stderr}")
    return r


def reap_log(text):
    # Not "stack smashing": that is libfcgi's, on hostile records.
    for bad in ("ERROR: AddressSanitizer", "runtime error:"):
        assert bad not in text, text[text.index(bad) - 500:][:4000]

"""The life of the processes: start, stop, reload, death, memory."""
import concurrent.futures
import contextlib
import os
import random
import signal
import socket
import subprocess
import threading
import time

import pytest

from lib.fastcgi import FastCGI
from lib.process import SANITIZED, demoted, stop, wait_until
from lib.stack import Stack
from lib.tokens import REGISTRATION, App
from test_tokens import register_raw


def rss_kib(pid):
    with open(f"/proc/{pid}/status") as f:
        for line in f:
            if line.startswith("VmRSS"):
                return int(line.split()[1])


def test_killed_workers_come_back(make):
    s = make(workers=3)
    app = s.register()
    for _ in range(5):
        before = set(s.workers())
        victim = random.choice(sorted(before))
        os.kill(victim, signal.SIGKILL)
        wait_until("three workers again",
                   lambda: len(set(s.workers()) - {victim}) == 3)
        assert s.get("/v1/whoami", app.auth()).status == 200


def test_sigkill_costs_at_most_its_own_request(pg):
    """A worker dies with a request half read; the queue behind it lives."""
    with Stack(pg, way="alone", workers=1) as s:
        app = register_raw(s)
        doomed = FastCGI(s.sock)
        doomed.begin()
        doomed.params({"REQUEST_METHOD": "PUT"}, end=False)
        queued = []
        time.sleep(0.2)  # the worker is in the doomed request by now
        for _ in range(4):
            f = FastCGI(s.sock)
            f.begin()
            f.params({"REQUEST_METHOD": "GET", "REQUEST_URI": "/v1/whoami",
                      "HTTP_X_PUBLIC_KEY": app.public,
                      "HTTP_AUTHORIZATION": "Bearer " + app.token()})
            f.stdin(b"")
            queued.append(f)
        os.kill(s.workers()[0], signal.SIGKILL)
        assert [f.answer().status for f in queued] == [200] * 4
        assert doomed.answer() is None

def age(pid):
    """Seconds since a process began."""
    with open(f"/proc/{pid}/stat") as f:
        began = int(f.read().rpartition(")")[2].split()[19])
    return (time.clock_gettime(time.CLOCK_BOOTTIME)
            - began / os.sysconf("SC_CLK_TCK"))


class Hanging(Stack):
    """Its database takes connections and says nothing: a worker is at its
    start for a second."""

    def __init__(self, pg, **kw):
        folder = pg.scratch.dir()
        self.deaf = socket.socket(socket.AF_UNIX)
        self.deaf.bind(str(folder / ".s.PGSQL.5432"))
        os.chmod(folder / ".s.PGSQL.5432", 0o777)
        self.deaf.listen(100)
        super().__init__(pg, way="alone", ready=False, env={
            "POSTERN_DATABASE_URL": f"host={folder} dbname=x user=x"}, **kw)

    def stop(self):
        super().stop()
        self.deaf.close()

    def stop_one(self, others=()):
        """Stop a worker that isn't ready yet; its process id."""
        while True:
            pid = wait_until("a worker at its start", lambda: [
                p for p in self.workers() if p not in others])[0]
            os.kill(pid, signal.SIGSTOP)
            if age(pid) < 0.9:
                return pid
            os.kill(pid, signal.SIGKILL)  # we were too slow: the next one
            wait_until("it is gone", lambda: pid not in self.workers())

    def settled(self):
        wait_until("two workers", lambda: len(self.workers()) == 2)
        time.sleep(1.5)  # their second of connecting is over
        return self.workers()


def stuck_at(s, place):
    """A worker that says nothing more, at its start, at a reload, or in place
    of one that died."""
    if place == "start":
        return s.stop_one()
    before = s.settled()
    if place == "reload":
        s.process.send_signal(signal.SIGHUP)
    else:
        os.kill(before[0], signal.SIGKILL)
    return s.stop_one(before)


PLACES = ["start", "reload", "replacement"]


@pytest.mark.parametrize("place", PLACES)
def test_a_stuck_worker_does_not_hold_the_master(pg, place):
    """It reaps and replaces others, and ends when it is told to."""
    with Hanging(pg, workers=2) as s:
        stuck = stuck_at(s, place)
        other = [p for p in s.workers() if p != stuck][0]
        start = time.monotonic()
        os.kill(other, signal.SIGKILL)
        wait_until("its death is seen", lambda: [
            x for x in s.log_lines("worker_died") if f"worker={other} " in x
        ], 5)
        assert not os.path.exists(f"/proc/{other}")
        s.process.send_signal(signal.SIGTERM)
        assert s.process.wait(5) == 0
        assert time.monotonic() - start < 8
        assert not os.path.exists(f"/proc/{stuck}")


def test_a_stuck_worker_is_replaced(pg):
    """After READY_S, however it came to be stuck, and all the three at once."""
    with contextlib.ExitStack() as ends:
        stacks = [ends.enter_context(Hanging(pg, workers=2)) for _ in PLACES]
        stuck = [stuck_at(s, p) for s, p in zip(stacks, PLACES)]
        for s, pid in zip(stacks, stuck):
            wait_until("it is killed", lambda: [
                x for x in s.log_lines("worker_died")
                if f"worker={pid} signal=9" in x])
            assert len(s.settled()) == 2
            assert s.fcgi({"REQUEST_METHOD": "GET",
                           "REQUEST_URI": "/healthz"}).status == 200


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGUSR1,
                                 signal.SIGINT])
def test_stop_lets_the_request_finish(pg, sig):
    s = Stack(pg, way="alone", workers=1)
    app = register_raw(s)
    body = b'{"a":"' + b"x" * 60000 + b'"}'
    f = FastCGI(s.sock)
    f.begin()
    f.params({"REQUEST_METHOD": "PUT", "REQUEST_URI": "/v1/users/u",
              "CONTENT_TYPE": "application/json", "CONTENT_LENGTH": len(body),
              "HTTP_X_PUBLIC_KEY": app.public,
              "HTTP_AUTHORIZATION": "Bearer " + app.token()})
    f.stdin(body[:30000], end=False)
    time.sleep(0.1)  # it reads the body now
    s.process.send_signal(sig)
    time.sleep(0.2)
    f.stdin(body[30000:])
    assert f.answer().status == 201
    s.process.wait(20)
    s.stop()
    assert not os.path.exists(s.sock)


def test_single_process_serves_its_queue(pg):
    """What waits for a process that is to end is answered, not reset: there
    may be no other on its socket."""
    s = Stack(pg, way="alone", workers=0)
    app = register_raw(s)
    auth = {"HTTP_X_PUBLIC_KEY": app.public,
            "HTTP_AUTHORIZATION": "Bearer " + app.token()}
    body = b'{"a":"' + b"x" * 60000 + b'"}'
    f = FastCGI(s.sock)
    f.begin()
    f.params({"REQUEST_METHOD": "PUT", "REQUEST_URI": "/v1/users/u",
              "CONTENT_TYPE": "application/json", "CONTENT_LENGTH": len(body),
              **auth})
    f.stdin(body[:30000], end=False)
    queued = []
    for _ in range(8):
        queued.append(FastCGI(s.sock))
        queued[-1].begin()
        queued[-1].params({"REQUEST_METHOD": "GET",
                           "REQUEST_URI": "/v1/whoami", **auth})
        queued[-1].stdin(b"")
    s.process.send_signal(signal.SIGTERM)
    f.stdin(body[30000:])
    assert f.answer().status == 201
    answers = [q.answer() for q in queued]
    assert [r and r.status for r in answers] == [200] * 8
    s.process.wait(20)
    s.stop()


def test_master_killed(pg):
    """Its workers end by themselves; a new master takes the socket over."""
    with Stack(pg, way="alone", workers=2) as s:
        workers = s.workers()
        s.process.kill()
        s.process.wait()

        def gone():
            return not any(os.path.exists(f"/proc/{p}") for p in workers)

        wait_until("orphans gone", gone)
        s.start_postern()
        assert register_raw(s)


def test_reload_takes_new_settings(make, tmp_path):
    s = make(ready=False, way="external")
    conf = s.dir / "reload.conf"

    def write(text):
        conf.write_text(text)
        conf.chmod(0o600)
        if os.getuid() == 0:
            import shutil
            shutil.chown(conf, "www-data")

    write("POSTERN_REALM = first\n")
    s.stop()
    s.env["POSTERN_CONFIG"] = str(conf)
    s.start_postern()
    s.start_lighttpd("")
    assert 'realm="first"' in s.get("/v1/whoami")["WWW-Authenticate"]
    old = set(s.workers())
    write("POSTERN_REALM = second\n")
    s.process.send_signal(signal.SIGHUP)

    def second():
        return all('realm="second"' in s.get("/v1/whoami")["WWW-Authenticate"]
                   for _ in range(10)) and not old & set(s.workers())

    wait_until("the new realm", second)
    # A bad file keeps the old settings and says why.
    for bad in ("POSTERN_REALM = third\nPOSTERN_NONSENSE = 1\n",
                "POSTERN_MAX_BODY = 12\n", "POSTERN_REALM\n"):
        write(bad)
        n = len(s.log_lines("reload_refused"))
        s.process.send_signal(signal.SIGHUP)
        wait_until("refused", lambda: len(s.log_lines("reload_refused")) > n)
        assert 'realm="second"' in s.get("/v1/whoami")["WWW-Authenticate"]
    assert "POSTERN_NONSENSE" in s.log()
    conf.chmod(0o644)
    n = len(s.log_lines("reload_refused"))
    s.process.send_signal(signal.SIGHUP)
    wait_until("refused", lambda: len(s.log_lines("reload_refused")) > n)


def reload_under_load(make, seconds):
    """A rolling reload each second under 64 connections: every request is
    answered, every body whole."""
    s = make(workers=4, env={"POSTERN_LOG_LEVEL": "warn"})
    app = s.register()
    auth = app.auth(exp=seconds + 600)
    deadline = time.monotonic() + seconds
    bad, done, sizes = [], [0], [10, 1000, 20000, 60000]

    def client(n):
        rng = random.Random(n)
        while time.monotonic() < deadline:
            if rng.random() < 0.5:
                r = s.get("/v1/whoami", auth)
                ok = r.status == 200
            else:
                text = "x" * rng.choice(sizes)
                r = s.request("PUT", f"/v1/users/u{n}", auth, {"t": text})
                ok = r.status in (200, 201) and r.json() == {"t": text}
            if not ok:
                bad.append(r)
            done[0] += 1

    threads = [threading.Thread(target=client, args=(n,)) for n in range(64)]
    for t in threads:
        t.start()
    reloads = 0
    while time.monotonic() < deadline:
        s.process.send_signal(signal.SIGHUP)
        reloads += 1
        time.sleep(1)
    for t in threads:
        t.join()
    ended = len([x for x in s.log_lines("worker_died")])
    print(f"{reloads} reloads, {done[0]} requests, {len(bad)} failed")
    assert bad == [] and ended == 0
    assert done[0] > 64


def test_reload_under_load(make):
    reload_under_load(make, 6)


@pytest.mark.long
def test_reload_under_load_long(make):
    reload_under_load(make, 60)


def test_registrations_while_workers_die(make):
    """Every 201 is a usable app, and no 201 is for an app that is not
    there: 1,000 registrations by 16 clients, workers killed at random."""
    s = make(workers=4, env={"POSTERN_LOG_LEVEL": "error"})
    made, other = [], []
    stop = threading.Event()

    def killer():
        rng = random.Random(1)
        while not stop.is_set():
            workers = s.workers()
            if workers:
                try:
                    os.kill(rng.choice(workers), signal.SIGKILL)
                except ProcessLookupError:
                    pass
            time.sleep(0.05)

    def one(n):
        try:
            r = s.request("POST", "/v1/apps",
                          {"Authorization": "Bearer " + REGISTRATION},
                          {"name": f"app {n}"})
        except OSError as e:
            other.append(str(e))
            return
        (made if r.status == 201 else other).append(
            App(r.json()) if r.status == 201 else r.status)

    t = threading.Thread(target=killer)
    t.start()
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        list(pool.map(one, range(1000)))
    stop.set()
    t.join()
    wait_until("ready", lambda: s.get("/readyz").status == 200)
    rows = {r[0] for r in s.sql("SELECT public_key FROM apps")}
    missing = [a for a in made if a.public not in rows]

    def usable(a):
        for _ in range(3):
            if s.get("/v1/whoami", a.auth()).status == 200:
                return True
        return False

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        unusable = [a for a, ok in zip(made, pool.map(usable, made)) if not ok]
    print(f"1000 registrations: {len(made)} answered 201, {len(other)} "
          f"otherwise, {len(rows)} rows, {len(missing)} missing, "
          f"{len(unusable)} unusable")
    assert missing == [] and unusable == []
    assert len(made) > 500


def flat_memory(make, warm, total):
    s = make(workers=1, env={"POSTERN_LOG_LEVEL": "error"})
    app = s.register()
    pid = s.workers()[0]
    auth = app.auth(exp=3600)
    params = [("REQUEST_METHOD", "GET"), ("REQUEST_URI", "/v1/whoami"),
              ("HTTP_X_PUBLIC_KEY", auth["X-Public-Key"]),
              ("HTTP_AUTHORIZATION", auth["Authorization"])]
    f = FastCGI(s.sock)

    def ask(n):
        for _ in range(n):
            f.begin(keep=True)
            f.params(params)
            f.stdin(b"")
            assert f.answer().status == 200

    ask(warm)
    before = rss_kib(pid)
    ask(total - warm)
    after = rss_kib(pid)
    f.s.close()
    print(f"{total} requests: worker's memory {before} KiB after {warm}, "
          f"{after} KiB at the end")
    assert s.workers() == [pid]
    if not SANITIZED:
        assert after - before <= 1024


def test_memory_is_flat(make):
    flat_memory(make, 2000, 10000)


@pytest.mark.long
def test_memory_is_flat_long(make):
    flat_memory(make, 10000, 100000)


def test_max_requests(make):
    s = make(workers=1, env={"POSTERN_MAX_REQUESTS": "5"})
    seen = set()
    for _ in range(30):
        assert s.get("/healthz").status == 200
        seen.update(s.workers())
    assert len(seen) > 2


def test_single_process(make):
    s = make(workers=0)
    app = s.register()
    assert s.workers() == []
    assert s.get("/v1/whoami", app.auth()).status == 200
    s.process.send_signal(signal.SIGHUP)
    s.process.wait(20)
    assert s.process.returncode == 0


@contextlib.contextmanager
def bound_here(s):
    """A single process on a socket that somebody else has bound, with room
    for many."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(s.sock)
        os.chmod(s.sock, 0o666)
        listener.listen(1000)
        process = subprocess.Popen(
            [s.scratch.bin / "postern.fcgi"], stdin=listener,
            env={**s.base_env(), **s.env, "POSTERN_LISTEN": "fd:0"},
            stdout=subprocess.DEVNULL, stderr=open(s.dir / "log", "ab"),
            preexec_fn=demoted(), cwd="/")
    try:
        yield process
    finally:
        stop(process)


@pytest.mark.parametrize("own", [True, False], ids=["own", "inherited"])
def test_backlog(pg, own):
    """So many may wait, and one that the kernel counts apart; the next is
    told at once."""
    with contextlib.ExitStack() as ends:
        s = ends.enter_context(Stack(
            pg, way="alone" if own else "idle", workers=0,
            env={"POSTERN_BACKLOG": "5"}))
        process = s.process if own else ends.enter_context(bound_here(s))
        assert s.fcgi({"REQUEST_METHOD": "GET",
                       "REQUEST_URI": "/healthz"}).status == 200
        process.send_signal(signal.SIGSTOP)
        ends.callback(process.send_signal, signal.SIGCONT)
        waiting = 0
        while True:
            c = ends.enter_context(socket.socket(socket.AF_UNIX))
            c.setblocking(False)
            try:
                c.connect(s.sock)
            except BlockingIOError:
                break
            waiting += 1
            assert waiting < 1000
        assert waiting == 6


@pytest.mark.covers("ASVS-V2.10.4", "ASVS-V6.4.2")
def test_memory_hygiene(make):
    """Not dumpable, no core, no secret in the environment or the arguments;
    secrets locked in memory."""
    s = make(workers=1)
    for pid in [s.process.pid, *s.workers()]:
        with open(f"/proc/{pid}/environ", "rb") as f:
            environ = f.read()
        for secret in (s.master_key, REGISTRATION):
            assert secret.encode() not in environ
        with open(f"/proc/{pid}/cmdline", "rb") as f:
            assert f.read().strip(b"\0").endswith(b"postern.fcgi")
        limits = open(f"/proc/{pid}/limits").read()
        core = [x for x in limits.splitlines() if "core file" in x][0]
        assert core.split()[4] == "0"
        if not SANITIZED:
            status = open(f"/proc/{pid}/status").read()
            locked = [x for x in status.splitlines() if "VmLck" in x][0]
            assert int(locked.split()[1]) > 0
        if os.getuid() == 0:
            # The same user can't look into it.
            for name in ("environ", "maps", "mem"):
                r = subprocess.run(["cat", f"/proc/{pid}/{name}"],
                                   capture_output=True, preexec_fn=demoted())
                assert r.returncode != 0 and b"denied" in r.stderr


def test_descriptors_closed_at_start(pg):
    """With 0 to 2 closed no socket becomes one of them."""
    with Stack(pg, way="alone", workers=1, ready=False) as s:
        s.process.terminate()
        s.process.wait()
        s.process = subprocess.Popen(
            ["/bin/sh", "-c", 'exec "$0" 0<&- 1>&- 2>&-',
             s.scratch.bin / "postern.fcgi"],
            env={**s.base_env(), **s.env}, preexec_fn=demoted(), cwd="/")
        wait_until("Postern's socket", s.listening)
        assert register_raw(s)
        for pid in [s.process.pid, *s.workers()]:
            for fd in (0, 1, 2):
                assert os.readlink(f"/proc/{pid}/fd/{fd}") == "/dev/null"


def test_notifications_are_sent(site):
    """Every change of an app, whoever makes it, is notified."""
    c = site.pg.connect(site.database)
    c.cursor().execute("LISTEN postern_apps")
    app = site.register()
    site.sql("UPDATE apps SET name = 'x' WHERE id = %s", app.id)
    site.request("DELETE", "/v1/app", app.auth())

    def three():
        c.poll()
        return len([n for n in c.notifies if n.payload == app.public]) == 3

    wait_until("three notifications", three)
    c.close()

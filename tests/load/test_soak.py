"""SOAK_S seconds of mixed traffic through lighttpd, with churn of apps and
keys; workers are killed and reloaded in the first and the last third. In the
middle one they are left alone, and their memory and descriptors are watched.

No answer is wrong, none but a killed worker's is missing, whatever was
acknowledged is there, and nothing grows."""
import itertools
import os
import random
import signal
import statistics
import threading
import time

import pytest

from lib.process import BUILD, PATIENCE, SANITIZED, at_once, wait_until
from lib.stack import Stack
from lib.tokens import made_up
from rig import private_bytes
from soak import Visitor

SECONDS = float(os.environ.get("SOAK_S", "36"))
CLIENTS = 4
PAUSE = 1.5      # between kills and reloads, at the least
CACHE = 100      # apps; full before anything is judged
VERDICTS = 512   # likewise
UNKNOWN = 1024   # KEY_UNKNOWN_MAX, likewise
GROWTH = 128 << 10
# A worker's notes of uses: one for each secret that is new to it, until they
# are written. Their memory is its own from the first time that it is needed.
NOTE, NOTES, ROUND = 32, 16384, 60


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


@pytest.fixture()
def stack(pg):
    with Stack(pg, workers=2, env={
            "POSTERN_CACHE_SIZE": str(CACHE),
            "POSTERN_VERDICTS": str(VERDICTS),
            "POSTERN_LOG_LEVEL": "warn"}) as s:
        yield s


class Soak:
    def __init__(self, stack):
        self.stack = stack
        self.end = threading.Event()
        self.visitors = [Visitor(stack, self.end, i) for i in range(CLIENTS)]
        self.kills = self.reloads = 0
        self.turns = itertools.cycle([self.kill, self.reload, self.kill])
        self.room = GROWTH
        self.samples = {}  # pid: [(seconds, bytes, descriptors)]

    def processes(self):
        return [self.stack.process.pid, *self.stack.workers()]

    def idle(self):
        """Descriptors of each process while nobody asks."""
        wait_until("all workers connected", lambda: self.stack.sql(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND"
            " usename = 'server'", self.stack.database) == [(2,)])
        return sorted(descriptors(p) for p in self.processes())

    def kill(self):
        """One of two, so that the other one serves meanwhile."""
        victim = random.choice(self.stack.workers())
        os.kill(victim, signal.SIGKILL)
        self.kills += 1
        wait_until("another worker", lambda: (
            len(set(self.stack.workers()) - {victim}) == 2))

    def reload(self):
        self.stack.reload()
        self.reloads += 1
        wait_until("no others", lambda: len(self.stack.workers()) == 2)

    def disturb(self, seconds):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            next(self.turns)()
            self.wait(max(PAUSE, seconds / 100))

    def wait(self, seconds):
        """Traffic goes on; no client may have given up."""
        self.end.wait(seconds)
        assert all(c.is_alive() for c in self.visitors)

    def fill(self):
        """The caches of every worker, that grow to their bounds: unknown keys,
        and what each request's buffers come to."""
        def some(_):
            for _ in range(UNKNOWN // 2):
                assert self.stack.get(
                    "/v1/whoami", made_up().auth()).status == 401
        at_once(8, some)

    def watch(self, seconds):
        """Samples of each process in the later two thirds of the time."""
        self.fill()
        self.wait(seconds / 3)
        begun, pids = time.monotonic(), self.processes()
        noted = self.new_secrets()
        while (at := time.monotonic() - begun) < seconds * 2 / 3:
            for pid in pids:
                self.samples.setdefault(pid, []).append(
                    (at, private_bytes(pid), descriptors(pid)))
            self.wait(min(5, seconds / 60))
        assert self.processes() == pids, "one has died by itself"
        if seconds / 3 < ROUND:
            self.room += NOTE * min(NOTES, self.new_secrets() - noted)

    def new_secrets(self):
        return sum(c.times[kind].n for c in self.visitors
                   for kind in ("register", "rotate", "enable"))

    def growth(self):
        """Of each process, in bytes: how far the later half's median is above
        the earlier's."""
        out = []
        for samples in self.samples.values():
            half = len(samples) // 2
            first, last = (statistics.median(b for _, b, _ in part)
                           for part in (samples[:half], samples[half:]))
            out.append(int(last - first))
        return out

    def run(self):
        for c in self.visitors:
            c.start()
        try:
            self.disturb(SECONDS / 3)
            self.watch(SECONDS / 3)
            self.disturb(SECONDS / 3)
        finally:
            self.end.set()
            for c in self.visitors:
                c.join(PATIENCE)

    def report(self):
        kinds = sorted({k for c in self.visitors for k in c.times})
        lines = []
        total = 0
        for kind in kinds:
            n = sum(c.times[kind].n for c in self.visitors if kind in c.times)
            kept = sorted(t for c in self.visitors if kind in c.times
                          for t in c.times[kind].kept)
            total += n
            lines.append(f"  {kind:9} {n:8}  p50 {percent(kept, .5):6.1f} ms"
                         f"  p99 {percent(kept, .99):6.1f} ms")
        interrupted = sum(c.interrupted for c in self.visitors)
        late = sum(c.late for c in self.visitors)
        lines.insert(0, f"soak: {SECONDS:.0f} s, {total} requests, "
                     f"{self.kills} kills that cost {interrupted} answers, "
                     f"{self.reloads} reloads; {late} times no news yet; "
                     f"growth in bytes, master first: "
                     f"{self.growth()}, room for {self.room}")
        (BUILD / "soak.txt").write_text("\n".join(lines) + "\n")


def percent(times, share):
    return 1000 * times[int(share * (len(times) - 1))]


def test_soak(stack):
    soak = Soak(stack)
    before = soak.idle()
    soak.run()
    soak.report()
    faults = [f for c in soak.visitors for f in c.faults]
    assert faults == [], f"{len(faults)}: {faults[:5]}"
    # One request at a time: no more can be lost with a worker.
    assert sum(c.interrupted for c in soak.visitors) <= soak.kills
    assert len(stack.log_lines("worker_died")) == soak.kills
    for c in soak.visitors:
        c.check()
    there = {i for i, in stack.sql("SELECT id FROM apps")}
    assert {h.app.id for c in soak.visitors for h in c.held} <= there
    assert not {i for c in soak.visitors for i in c.gone} & there
    assert soak.idle() == before
    for samples in soak.samples.values():
        half = len(samples) // 2
        assert max(n for _, _, n in samples[half:]) <= 1 + max(
            n for _, _, n in samples[:half])
    if not SANITIZED:
        assert max(soak.growth()) < soak.room

"""Workers, the master and the web server die, or run out of descriptors."""
import os
import random
import resource
import signal
import subprocess
import time

import pytest

from clients import BROKEN, Clients
from lib.process import demoted, wait_until

fault = pytest.mark.fault
KILL_S = 2


def kill_workers(s, seconds):
    """One at a time, as fast as others come."""
    rng, until, killed = random.Random(1), time.monotonic() + seconds, 0
    while time.monotonic() < until:
        for pid in rng.sample(s.workers(), 1) if s.workers() else []:
            os.kill(pid, signal.SIGKILL)
            killed += 1
        time.sleep(0.1)
    return killed


def workers_killed(s, record, seconds):
    with Clients(s, front=True) as c:
        c.strike()
        killed = kill_workers(s, seconds)
        assert killed > 5
        c.heal()
    record({**c.account(), "note": f"{killed} kills"})


KILLED = "The request in hand is lost, a 5xx of the web server's; no other"


@fault("Workers killed (SIGKILL), again and again", KILLED)
def test_workers_killed(pg, site, record):
    workers_killed(site(pg, workers=4), record, KILL_S)


@pytest.mark.long
@fault("Workers killed (SIGKILL) for a minute", KILLED)
def test_workers_killed_long(pg, site, record):
    workers_killed(site(pg, workers=4), record, 60)


@fault("The only worker killed (SIGKILL)", KILLED)
def test_only_worker_killed(pg, site, record):
    s = site(pg, workers=1)
    with Clients(s, front=True) as c:
        c.strike()
        os.kill(s.workers()[0], signal.SIGKILL)
        c.heal()
    figures = c.account()
    broken = sum(not a.normal for a in c.asked if a.end >= c.struck)
    assert broken <= 1
    record(figures)


@fault("The master killed (SIGKILL), started again by its supervisor",
       "Its workers end with what they have; an error of the web server's "
       "until it is back")
def test_master_killed(pg, site, record):
    s = site(pg)
    with Clients(s, front=True) as c:
        workers = s.workers()
        c.strike()
        s.process.kill()
        s.process.wait()
        wait_until("its workers' end", lambda: not any(
            os.path.exists(f"/proc/{p}") for p in workers))
        c.suffer(0.5)
        s.start_postern()
        c.heal()
    record(c.account())


@fault("The web server killed (SIGKILL), started again",
       "Connections break and are refused until it is back; Postern stays")
def test_web_server_killed(pg, site, record):
    s = site(pg)
    with Clients(s, front=True) as c:
        workers = s.workers()
        c.strike()
        s.lighttpd.kill()
        s.lighttpd.wait()
        c.suffer(0.5)
        c.some("warm", BROKEN)
        s.start_lighttpd("")
        c.heal()
    record(c.account())
    assert s.workers() == workers and s.process.poll() is None


def limit(pid, descriptors):
    """By the process's own user: root alone may lack the right."""
    subprocess.run(["prlimit", "--pid", str(pid), f"--nofile={descriptors}:"],
                   check=True, preexec_fn=demoted())


def starve(pid):
    """No more descriptors for this process than it has, of which 0 to 2
    are some."""
    limit(pid, 3)


@fault("A worker out of descriptors",
       "Nothing: another serves, and the worker is replaced")
def test_worker_out_of_descriptors(pg, site, record):
    s = site(pg)
    with Clients(s) as c:
        c.strike()
        pid = s.workers()[0]
        starve(pid)
        c.suffer(2)
        c.heal()
    assert all(a.normal for a in c.asked)
    assert pid not in s.workers() and len(s.workers()) == 2
    record(c.account())


@fault("All workers out of descriptors",
       "Requests wait for the workers that take their place")
def test_all_out_of_descriptors(pg, site, record):
    s = site(pg)
    with Clients(s) as c:
        c.strike()
        for pid in s.workers():
            starve(pid)
        c.suffer(2)
        c.heal()
    record(c.account())


@fault("The master out of descriptors, and its workers killed",
       "None takes their place until it has some; an error of the web "
       "server's, or a wait")
def test_master_out_of_descriptors(pg, site, record):
    s = site(pg)
    with Clients(s, front=True) as c:
        c.strike()
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        starve(s.process.pid)
        victim = s.workers()[0]
        os.kill(victim, signal.SIGKILL)
        wait_until("no other", lambda: s.log_lines("worker_spawn"))
        c.suffer(1)
        assert len(s.workers()) == 1
        limit(s.process.pid, soft)
        c.heal()
    wait_until("two workers", lambda: len(s.workers()) == 2)
    record(c.account())

"""Two Posterns, each with its own lighttpd, behind haproxy, on one Postgres:
directly and through pgbouncer in session mode."""
import contextlib
import os
import signal
import subprocess
import threading
import time

from lib.client import Client
from lib.postgres import PgBouncer
from lib.process import can_connect, demoted, free_port, stop, wait_until
from rig import load, must_succeed, table

TRIES = 100

HAPROXY = """\
global
	maxconn 4096
	nbthread 2
defaults
	mode http
	balance roundrobin
	timeout connect 2s
	timeout client 30s
	timeout server 30s
	retries 2
	option redispatch
	retry-on conn-failure empty-response
	option httpchk GET /readyz
	default-server check inter 200ms fall 2 rise 1
frontend all
	bind 127.0.0.1:{port}
	http-request disable-l7-retry if !METH_GET
	default_backend posterns
backend posterns
{servers}
"""


class Balancer(Client):
    """haproxy in front of lighttpds."""

    def __init__(self, directory, ports):
        super().__init__(free_port())
        path = directory / "haproxy.cfg"
        path.write_text(HAPROXY.format(port=self.port, servers="\n".join(
            f"\tserver node{i} 127.0.0.1:{p}" for i, p in enumerate(ports))))
        self.process = subprocess.Popen(
            ["/usr/sbin/haproxy", "-db", "-f", path],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=open(directory / "haproxy.log", "ab"),
            preexec_fn=demoted(), cwd="/")
        wait_until("haproxy", lambda: can_connect(self.port)
                   or self.process.poll() is not None)
        assert self.process.poll() is None, (
            directory / "haproxy.log").read_text()

    def stop(self):
        stop(self.process)


class Pair:
    """Two nodes and their balancer."""

    def __init__(self, world, ends, **env):
        self.world = world
        self.nodes = [ends.enter_context(world.stack(**env))
                      for _ in range(2)]
        self.balancer = Balancer(world.dir, [n.port for n in self.nodes])
        ends.callback(self.balancer.stop)
        wait_until("the balancer", lambda: self.balancer.get(
            "/readyz").status == 200)

    def roots(self):
        return [self.world.pg.process.pid, self.balancer.process.pid] + [
            p.pid for n in self.nodes for p in (n.process, n.lighttpd)]

    def measure(self, requests, seconds):
        load(self.balancer.port, requests, 1, [])
        r = must_succeed("two nodes", load(
            self.balancer.port, requests, seconds, self.roots()))
        for n in self.nodes:
            os.truncate(n.dir / "log", 0)
        return r


def freshness(pair):
    """ms until the other node refuses what this one has disabled; every app
    was registered on one node and used at once on the other."""
    here, there = pair.nodes
    taken = []
    for i in range(TRIES):
        app = here.register()
        r = there.get("/v1/whoami", app.auth())
        assert r.status == 200, r
        auth = app.auth()
        r = here.request("DELETE", "/v1/app", auth)
        assert r.status == 204, r
        begun = time.monotonic()
        wait_until("refused", lambda: there.get(
            "/v1/whoami", auth).status == 401)
        taken.append((time.monotonic() - begun) * 1000)
        here, there = there, here
    taken.sort()
    return taken[TRIES // 2], taken[int(TRIES * 0.99) - 1], taken[-1]


def node_lost(pair, requests, seconds):
    """One node's web server is killed in the middle of a load."""
    victim = pair.nodes[1].lighttpd
    timer = threading.Timer(seconds / 2, victim.send_signal, [signal.SIGKILL])
    timer.start()
    try:
        return load(pair.balancer.port, requests, seconds, pair.roots())
    finally:
        timer.join()
        victim.wait()
        pair.nodes[1].lighttpd = None


def report(world, seconds, measured):
    requests = world.requests("warm", world.some())
    rows = []
    with world.stack() as s:
        r = measured(world, s, requests)
    rows.append(["one node, no balancer", f"{r.rate:,.0f}", f"{r.p50:.2f}",
                 f"{r.p99:.2f}", f"{r.cpu:.0f}", "", "", ""])
    with contextlib.ExitStack() as ends:
        pair = Pair(world, ends)
        rows.append(row("two nodes behind haproxy", pair, requests, seconds))
        lost = node_lost(pair, requests, seconds)
    with contextlib.ExitStack() as ends:
        bouncer = PgBouncer(world.pg, "session", pool_size=100)
        ends.callback(bouncer.close)
        pair = Pair(world, ends, POSTERN_DATABASE_URL=bouncer.url(
            world.home.database))
        rows.append(row("the same through pgbouncer, session mode", pair,
                        requests, seconds))
    return table(["", "requests/s", "p50 ms", "p99 ms", "CPU µs",
                  "refused by the other node: p50 ms", "p99", "max"],
                 rows) + f"""

Each of {TRIES} apps was registered on one node, used at once on the other and \
deleted on the first; the time is until the other refuses. When the web \
server of one node was killed under load, {lost.failed} of \
{lost.requests:,} requests failed: haproxy asks the other node for a GET that \
got no answer (`retry-on`), and takes the dead one out by `/readyz`. Both nodes, the balancer and the load share the cores of \
this one machine, so the table shows that it works and what a balancer costs, \
not that two machines serve more."""


def row(name, pair, requests, seconds):
    r = pair.measure(requests, seconds)
    return [name, f"{r.rate:,.0f}", f"{r.p50:.2f}", f"{r.p99:.2f}",
            f"{r.cpu:.0f}", *(f"{t:.1f}" for t in freshness(pair))]

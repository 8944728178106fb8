#!/usr/bin/python3
"""make bench-scale: how cost grows with apps, workers, connections, tokens and
documents; memory, start-up, registration; two nodes. BENCH_S: seconds of each
measurement (5), BENCH_APPS: the most apps (1000000). Prints tables; a run of
at least 5 s each to a million apps, on a machine that was left to it, writes
them into docs/scaling.md, another into BUILD/bench/scaling.md."""
import contextlib
import json
import os
import random
import re
import subprocess
import time

# First: it says where the others are.
from rig import (HOUR, WHOLE, Used, binary, directory, http_request,
                 insert_apps, load, machine, median, must_succeed, new_apps,
                 private_bytes, put_block, quiet_load, table, write_requests)
from lib.client import Client
from lib.fastcgi import FastCGI
from lib.postgres import Postgres
from lib.process import Scratch, demoted, stop, wait_until
from lib.stack import Stack
from lib.tokens import REGISTRATION
import nodes

SECONDS = int(os.environ.get("BENCH_S", "5"))
MOST = int(os.environ.get("BENCH_APPS", "1000000"))
SIZES = [n for n in (1000, 10000, 100000, 1000000) if n <= MOST]
REAL = 20000        # of the apps, those that are asked for
CHUNKS = 20         # they lie all over the table
ROTATION = 200
SMALL_CACHE = 100
FEW, MANY = 100, 600
BOUND_FLAT, BOUND_COLD, BOUND_KEY = 1.05, 1.3, 512
BOUND_WORKER = 16 << 20
noises = []  # of each measurement


def verdict(met):
    return "met" if met else "**missed**"


class World:
    """A database that grows, and the apps in it that are asked for."""

    def __init__(self, pg):
        self.pg, self.scratch = pg, pg.scratch
        self.dir = pg.scratch.dir()
        self.apps = []
        self.size = 0
        self.home = Stack(pg, way="idle", workers=0, ready=False)
        self.home.tool("app", "create", "First")
        self.key_id, = self.home.sql("SELECT master_key_id FROM apps")[0]

    def stack(self, way="external", workers="auto", **env):
        return Stack(self.pg, way=way, workers=workers,
                     database=self.home.database, env={
                         "POSTERN_MASTER_KEY": self.home.master_key, **env})

    def without_triggers(self, text, *args):
        """They are for apps that somebody waits for."""
        self.home.sql("ALTER TABLE apps DISABLE TRIGGER USER")
        self.home.sql(text, *args)
        self.home.sql("ALTER TABLE apps ENABLE TRIGGER USER")

    def grow(self, size):
        """To so many apps."""
        real = min(size, REAL) if size <= 10000 else min(
            REAL, len(self.apps) + 10000)
        fresh = new_apps(max(0, real - len(self.apps)))
        filler = size - self.size - len(fresh)
        for i in range(CHUNKS):
            chunk = fresh[i::CHUNKS]
            if chunk:
                insert_apps(self.home, chunk)
            self.without_triggers(
                "INSERT INTO apps (name, public_key, encrypted_secret_key,"
                " master_key_id) SELECT 'An app', encode(sha256(("
                "gen_random_uuid()::text)::bytea), 'hex'), repeat('ab', 60),"
                " %s FROM generate_series(1, %s)",
                self.key_id, filler // CHUNKS)
        self.home.sql("VACUUM ANALYZE apps")
        self.apps += fresh
        self.size = size

    def requests(self, name, apps, method="GET", path="/v1/whoami", body=b"",
                 **claims):
        return write_requests(self.dir / name, [http_request(
            method, path, a, a.token(exp=24 * HOUR, **claims), body)
            for a in apps])

    def some(self, n=ROTATION):
        return random.Random(n).sample(self.apps, min(n, len(self.apps)))


def measured(world, stack, requests, connections=64):
    """A Result, after a warm-up; with Postgres, lighttpd and Postern."""
    roots = [world.pg.process.pid, stack.process.pid, stack.lighttpd.pid]
    load(stack.port, requests, 1, [], connections)
    r = quiet_load(stack.port, requests, SECONDS, roots, connections)
    noises.append(r.noise)
    os.truncate(stack.dir / "log", 0)
    return must_succeed("Postern", r)


def figures(r):
    return [f"{r.rate:,.0f}", f"{r.p50:.2f}", f"{r.p99:.2f}", f"{r.cpu:.0f}"]


FIGURES = ["requests/s", "p50 ms", "p99 ms", "CPU µs"]


# -- instructions

def ask(stack, app, token):
    with FastCGI(stack.sock) as f:
        f.begin()
        f.params({"REQUEST_METHOD": "GET", "REQUEST_URI": "/v1/whoami",
                  "SERVER_PROTOCOL": "HTTP/1.1", "REMOTE_ADDR": "127.0.0.1",
                  "HTTP_X_PUBLIC_KEY": app.public,
                  "HTTP_AUTHORIZATION": "Bearer " + token})
        f.stdin(b"")
        answer = f.answer()
    assert answer.status == 200, answer


def count(world, apps, **env):
    """Instructions of one process that serves these, with start and end."""
    stack = world.stack("idle", 0, **env)
    out = stack.dir / "callgrind.out"
    process = subprocess.Popen(
        ["valgrind", "--tool=callgrind", "-q", f"--callgrind-out-file={out}",
         stack.scratch.bin / "postern.fcgi"],
        env={**stack.base_env(), **stack.env}, stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=open(stack.dir / "log", "wb"),
        preexec_fn=demoted(), cwd="/")
    try:
        wait_until("the server", stack.listening, 60)
        wait_until("readiness", lambda: stack.fcgi(
            {"REQUEST_METHOD": "GET", "REQUEST_URI": "/readyz"}).status == 200)
        for a in apps:
            ask(stack, a, a.token(exp=HOUR, sub="user-000001"))
    finally:
        stop(process)
    return int(re.search(r"^summary: (\d+)", out.read_text(), re.M).group(1))


def instructions(world, many, **env):
    """A request's: two runs of different length, the difference of both."""
    return (count(world, many, **env)
            - count(world, many[:FEW], **env)) / (len(many) - FEW)


def instructions_row(world):
    apps = world.some(MANY)
    return [instructions(world, apps[:1] * MANY), instructions(world, apps),
            instructions(world, apps, POSTERN_CACHE_SIZE=str(SMALL_CACHE))]


# -- the tables

def by_apps(world):
    counts, rows = {}, []
    for size in SIZES:
        world.grow(size)
        warm = world.requests("warm", world.some())
        wide = world.requests("wide", world.some(REAL))
        with world.stack() as s:
            at_hand = measured(world, s, warm)
        with world.stack(POSTERN_CACHE_SIZE=str(SMALL_CACHE)) as s:
            beyond = measured(world, s, wide)
        counts[size] = instructions_row(world)
        bytes_, = world.home.sql(
            "SELECT pg_total_relation_size('apps') / 2.0 ^ 20")[0]
        rows.append([f"{size:,}", f"{bytes_:,.1f}",
                     *(f"{n:,.0f}" for n in counts[size]),
                     *figures(at_hand)[::3], *figures(beyond)[::3]])
        print("  apps:", *rows[-1], flush=True)
    least, most = counts[SIZES[0]], counts[SIZES[-1]]
    flat, cold = most[0] / least[0], most[1] / least[1]
    return table(
        ["apps", "table, MiB", "warm: instructions", "cold", "cold, evicting",
         "warm: requests/s", "CPU µs",
         f"cache of {SMALL_CACHE}: requests/s", "CPU µs"], rows) + f"""

Instructions are those of the worker. Warm from the fewest to the most apps: \
{flat:.3f}× (bound {BOUND_FLAT}): {verdict(flat <= BOUND_FLAT)}. Cold: \
{cold:.3f}× (bound {BOUND_COLD}): {verdict(cold <= BOUND_COLD)}. With the \
cache of {SMALL_CACHE} up to {REAL:,} apps are in rotation, so that nearly \
every request is a SELECT."""


def by_workers(world):
    requests = world.requests("warm", world.some())
    rows = []
    for n in (1, 2, 4, 8, 16, 32, 64):
        with world.stack(workers=n) as s:
            wait_until("all workers", lambda: len(s.workers()) == n)
            r = measured(world, s, requests)
            memory = sum(private_bytes(p) for p in s.workers())
        rows.append([n, *figures(r), f"{memory / 2**20:.1f}"])
        print("  workers:", *rows[-1], flush=True)
    return table(["workers", *FIGURES, "private MiB, all"], rows)


def by_connections(world):
    requests = world.requests("warm", world.some())
    rows = []
    with world.stack() as s:
        for n in (1, 8, 64, 256, 512):
            rows.append([n, *figures(measured(world, s, requests, n))])
            print("  connections:", *rows[-1], flush=True)
    return table(["connections", *FIGURES], rows)


def by_token(world):
    rows = []
    with world.stack() as s:
        for more in (0, 1000, 3000, 5500):
            apps = world.some()
            requests = world.requests("tokens", apps, sub="user-000001",
                                      note="x" * more)
            size = len(apps[0].token(sub="user-000001", note="x" * more))
            rows.append([f"{size:,}", *figures(measured(world, s, requests))])
            print("  token:", *rows[-1], flush=True)
    return table(["bytes of the token", *FIGURES], rows)


def document(size):
    return json.dumps({"text": "x" * (size - 12)}).encode()


def by_document(world):
    rows = []
    with world.stack() as s:
        for size in (100, 1000, 10000, 60000):
            row = [f"{size:,}"]
            for method in ("PUT", "GET"):  # the first writes what is read
                requests = world.requests(
                    "documents", world.some(), method, "/v1/users/one",
                    document(size) if method == "PUT" else b"")
                r = measured(world, s, requests)
                row += [*figures(r)[:1], *figures(r)[2:]]
            rows.append(row)
            print("  document:", *row, flush=True)
    return table(["bytes of the document", "PUT/s", "p99 ms", "CPU µs",
                  "GET/s", "p99 ms", "CPU µs"], rows)


def members(n, value):
    return json.dumps({f"k{i}": value for i in range(n)}).encode()


def by_members(world):
    """Each patch is as large as its document."""
    rows = []
    with world.stack(POSTERN_MAX_BODY=str(1 << 20)) as s:
        for kind, value in (("numbers", 1), ("objects", {"a": 1})):
            for n in (10, 100, 1000, 4000):
                few = world.some(4)
                for method in ("PUT", "PATCH"):
                    requests = world.requests(
                        "members", few, method, "/v1/users/one",
                        members(n, value))
                    r = measured(world, s, requests, 4)
                rows.append([kind, f"{n:,}", *figures(r)])
                print("  members:", *rows[-1], flush=True)
    return table(["members, all of them patched", "", *FIGURES], rows)


def cached(client):
    """How many keys it says it has at hand."""
    text = client.admin("GET", "/metrics").body.decode()
    return int(re.search(r"^postern_key_cache_apps (\d+)", text, re.M).group(1))


def memory(world):
    """Of one worker below a master: what it shares with that one, and with
    others that run the same libraries, is not its own."""
    n = min(10000, len(world.apps))
    with world.stack(workers=1) as s, \
            contextlib.closing(Client(sock=s.sock)) as c:
        wait_until("ready", lambda: c.request("GET", "/readyz").status == 200)
        pid, = s.workers()
        start = private_bytes(pid)
        before = None
        for i, a in enumerate(world.apps[:n]):
            assert c.status(a) == 200
            if i + 1 == ROTATION:
                assert cached(c) == ROTATION
                before = private_bytes(pid)
        after = private_bytes(pid)
        # Of the same process, and none was thrown out meanwhile.
        assert cached(c) == n and s.workers() == [pid]
        noted = cpu_of_uses(world, s)
    each = (after - before) / (n - ROTATION)
    return f"""\
A worker's private memory is {start / 2**20:.1f} MiB when it has started and \
{after / 2**20:.1f} MiB with {n:,} keys at hand (bound 16): \
{verdict(after <= BOUND_WORKER)}. Each cached key takes {each:.0f} bytes \
(bound {BOUND_KEY}): {verdict(each <= BOUND_KEY)}; that counts what remembers \
when it was last used. Writing that down took Postgres {noted / n * 1e6:.0f} µs \
of CPU a key: at most once a minute for each key and worker."""


def cpu_of_uses(world, stack):
    """Postgres' CPU seconds for the uses that a worker writes when it ends."""
    before = Used.now([world.pg.process.pid]).served
    stop(stack.process)
    wait_until("its session to end", lambda: not stack.sql(
        "SELECT FROM pg_stat_activity WHERE datname = current_database()"
        " AND usename = 'server'"))
    return Used.now([world.pg.process.pid]).served - before


def first_answer(stack):
    """ms from exec to the first 200 of /readyz."""
    begun = time.monotonic()
    stack.start_postern(wait=False)
    while True:
        try:
            if stack.fcgi({"REQUEST_METHOD": "GET",
                           "REQUEST_URI": "/readyz"}).status == 200:
                return (time.monotonic() - begun) * 1000
        except OSError:
            time.sleep(0.001)
        assert time.monotonic() - begun < 60 and stack.process.poll() is None


def start_up(world):
    rows = []
    for workers in (0, 4, 64):
        taken = []
        for _ in range(5):
            with world.stack("idle", workers) as s:
                taken.append(first_answer(s))
        rows.append([workers or "single process", f"{median(taken):.0f}"])
    return table(["workers", "ms from exec to ready"], rows)


def registration(world):
    """201s, each after its COMMIT; the apps go again."""
    body = b'{"name":"Registered"}'
    requests = write_requests(world.dir / "register", [(
        "POST /v1/apps HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Authorization: Bearer {REGISTRATION}\r\n"
        "Content-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n").encode() + body])
    with world.stack() as s:
        r = measured(world, s, requests)
    world.without_triggers("DELETE FROM apps WHERE name = 'Registered'")
    return figures(r)


def report(world):
    parts, rows = [], []
    world.grow(SIZES[0])
    rows.append([f"{SIZES[0]:,}", *registration(world)])
    for title, what in (("Apps", by_apps), ("Workers", by_workers),
                        ("Connections", by_connections),
                        ("Tokens", by_token), ("Documents", by_document),
                        ("Merge patches", by_members), ("Memory", memory), ("Start-up", start_up)):
        print(title, flush=True)
        parts.append(f"### {title}\n\n{what(world)}")
    rows.append([f"{world.size:,}", *registration(world)])
    parts.append("### Registration\n\n" + table(["apps", *FIGURES], rows))
    print("Two nodes", flush=True)
    parts.append("### Two nodes\n\n" + nodes.report(world, SECONDS, measured))
    return f"""\
{machine()}; {binary()}; {time.strftime('%Y-%m-%d')}. Each figure is of \
{SECONDS} s with wrk at 64 connections through lighttpd unless another number \
stands there; CPU a request is that of lighttpd, Postern and Postgres together.

""" + "\n\n".join(parts)


def main():
    scratch = Scratch()
    try:
        pg = Postgres(scratch, ["max_connections=400"])
        try:
            text = report(World(pg))
        finally:
            pg.stop()
    finally:
        scratch.remove()
    print(text)
    out = directory(SECONDS >= WHOLE and MOST >= 1000000, noises)
    put_block(out / "scaling.md", "make bench-scale", text, "Scaling")
    print(f"written: {out}/scaling.md")


if __name__ == "__main__":
    main()

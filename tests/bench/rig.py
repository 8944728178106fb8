"""What every benchmark needs: apps in bulk, wrk, the kernel's accounting of
CPU time and memory, and a block of figures in a document."""
import collections
import dataclasses
import hashlib
import json
import os
import pathlib
import re
import secrets
import shutil
import statistics
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "fronts")]

from psycopg2.extras import execute_values  # noqa: E402

from lib.process import BUILD, REPO  # noqa: E402
from lib.tokens import App, gcm_seal  # noqa: E402

TICK = os.sysconf("SC_CLK_TCK")
PROCESSORS = os.cpu_count()
HOUR = 3600
QUIET, TRIES = 0.05, 3
WHOLE = 5  # seconds of a measurement whose figures may stand in a document


# -- the machine

def machine():
    """Processor and cores, and what runs there."""
    text = pathlib.Path("/proc/cpuinfo").read_text()
    model = re.search(r"^model name\s*: (.*)$", text, re.M)
    return f"{model.group(1) if model else 'unknown'}, {PROCESSORS} cores"


def binary():
    """Which program was measured: version and the start of its SHA-256."""
    program = BUILD / "postern.fcgi"
    version = subprocess.run([program, "--version"], capture_output=True,
                             text=True).stdout.strip()
    digest = hashlib.sha256(program.read_bytes()).hexdigest()
    return f"{version or 'postern.fcgi'}, SHA-256 {digest[:16]}…"


def processes():
    """{pid: (parent, CPU ticks with those of its ended children)}"""
    found = {}
    for d in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            text = (d / "stat").read_text()
        except OSError:
            continue
        fields = text[text.rindex(")") + 2:].split()
        found[int(d.name)] = (int(fields[1]), sum(map(int, fields[11:15])))
    return found


def tree(roots, table):
    """CPU ticks of the processes below these, themselves included: a child's
    go over to its parent when it is waited for."""
    children = collections.defaultdict(list)
    for pid, (parent, _) in table.items():
        children[parent].append(pid)
    found, queue = set(), list(roots)
    while queue:
        pid = queue.pop()
        if pid in table and pid not in found:
            found.add(pid)
            queue += children[pid]
    return sum(table[pid][1] for pid in found)


@dataclasses.dataclass
class Used:
    """Seconds of CPU time so far."""
    served: float  # by the process trees that are measured
    others: float  # by all that this run did not start, the host included

    @classmethod
    def now(cls, roots):
        table = processes()
        everything = sum(ticks for _, ticks in table.values())
        with open("/proc/stat") as f:
            stolen = int(f.readline().split()[8])
        return cls(tree(roots, table) / TICK, (
            everything - tree([os.getpid()], table) + stolen) / TICK)


def private_bytes(pid):
    """Memory that is this process's alone."""
    text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
    return 1024 * sum(int(n) for n in re.findall(
        r"^Private_\w+:\s+(\d+) kB$", text, re.M))


# -- apps

def new_apps(n):
    return [App({"id": None, "public_key": secrets.token_hex(32),
                 "secret_key": secrets.token_hex(32)}) for _ in range(n)]


def insert_apps(stack, apps):
    """Straight into the table. One has to be registered already: it names
    the master key's id."""
    c = stack.pg.connect(stack.database)
    try:
        cur = c.cursor()
        cur.execute("SELECT master_key_id FROM apps"
                    " WHERE master_key_id IS NOT NULL LIMIT 1")
        key_id, = cur.fetchone()
        execute_values(
            cur, "INSERT INTO apps (name, public_key, encrypted_secret_key,"
            " master_key_id) VALUES %s",
            [("An app", a.public, gcm_seal(
                stack.master_key, bytes.fromhex(a.secret),
                f"postern-v1|{key_id}|{a.public}"), key_id) for a in apps],
            page_size=1000)
        cur.execute("ANALYZE apps")
    finally:
        c.close()


# -- load

def http_request(method, path, app, token, body=b"", more=()):
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1",
             f"X-Public-Key: {app.public}", f"Authorization: Bearer {token}"]
    lines += more
    if body:
        lines += ["Content-Type: application/json",
                  f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


def write_requests(path, requests):
    with open(path, "wb") as f:
        for r in requests:
            f.write(b"%d\n%b" % (len(r), r))
    return path


@dataclasses.dataclass
class Result:
    requests: int
    rate: float  # a second
    p50: float   # ms
    p99: float
    cpu: float   # µs a request, of the processes that were named
    failed: int  # answers that are no success, and broken connections
    noise: float  # share of the processors that others had meanwhile


class Watch:
    """What was used between its begin and its end: seconds by the trees of
    these processes, and the others' share of the machine."""

    def __init__(self, roots):
        self.roots = roots

    def __enter__(self):
        self.before, self.begun = Used.now(self.roots), time.monotonic()
        return self

    def __exit__(self, *exc):
        after, took = Used.now(self.roots), time.monotonic() - self.begun
        self.served = after.served - self.before.served
        self.noise = (after.others - self.before.others) / took / PROCESSORS


def load(port, requests, seconds, roots, connections=64):
    """wrk with the requests of a file, in turn, for that many seconds; or of
    two files, each tenth of the second one."""
    files = requests if isinstance(requests, list) else [requests]
    threads = min(2, connections)
    with Watch(roots) as watch:
        r = subprocess.run(
            ["wrk", f"-t{threads}", f"-c{connections}", f"-d{seconds}s",
             "--timeout", "10s", "-s", str(HERE / "load.lua"),
             f"http://127.0.0.1:{port}/", "--", *map(str, files)],
            capture_output=True, text=True, timeout=seconds + 60, check=True)
    found = json.loads(r.stdout.splitlines()[-1])
    n = found["requests"]
    if n == 0:
        raise SystemExit(f"no answer on port {port}: {r.stdout}")
    return Result(n, n / found["us"] * 1e6, found["p50"] / 1000,
                  found["p99"] / 1000, watch.served / n * 1e6,
                  found["status"] + found["broken"] + found["timeout"],
                  watch.noise)


def quiet(measure, seconds):
    """What measure() gives, again when others took more of the machine than
    QUIET allows: the least disturbed of TRIES. One that is short is for a look
    only."""
    best = None
    for _ in range(TRIES if seconds >= WHOLE else 1):
        r = measure()
        if best is None or r.noise < best.noise:
            best = r
        if best.noise <= QUIET:
            break
    return best


def quiet_load(port, requests, seconds, roots, connections=64):
    return quiet(
        lambda: load(port, requests, seconds, roots, connections), seconds)


def must_succeed(name, result):
    if result.failed:
        raise SystemExit(
            f"{name}: {result.failed} of {result.requests} requests failed")
    return result


def median(values):
    return statistics.median(values)


# -- programs that are built here

def build_program(name, command, env=None):
    """Into BUILD/bench; its path."""
    out = BUILD / "bench" / name
    out.parent.mkdir(exist_ok=True)
    subprocess.run([*command(out)], check=True, cwd=HERE / "peers",
                   env={**os.environ, **(env or {})})
    return out


def install(scratch, path):
    """Where the unprivileged user can run it."""
    out = scratch.bin / path.name
    shutil.copy(path, out)
    out.chmod(0o755)
    return out


# -- documents

def table(head, rows, left=1):
    """Markdown; the first columns are text, the others figures."""
    lines = [head, ["---" if i < left else "---:" for i in range(len(head))],
             *rows]
    return "\n".join("| " + " | ".join(map(str, r)) + " |" for r in lines)


def put_block(path, name, text, title):
    """Replace what stands between the marks of that name; without them it
    comes to the end."""
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    block = f"{begin}\n{text.strip()}\n{end}"
    old = path.read_text() if path.exists() else f"# {title}\n"
    if begin in old:
        head, _, rest = old.partition(begin)
        block = head + block + rest.partition(end)[2]
    else:
        block = f"{old.rstrip()}\n\n{block}\n"
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text(block)


def directory(long_enough, noises):
    """Where the figures may go: only those of a whole run on a machine that
    was left to it stand in the documents."""
    noise = median(noises)
    print(f"others had {noise:.1%} of the machine (median);"
          f" {max(noises):.1%} at most")
    if not long_enough:
        print("too short a run for the documents")
    elif noise > QUIET:
        print(f"too much for the documents: {QUIET:.0%} is the limit")
    else:
        return REPO / "docs"
    return BUILD / "bench"

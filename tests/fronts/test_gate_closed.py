"""The gates fail closed: whatever dies, is away, or answers nonsense, nothing
behind the gate is reached without Postern's yes."""
import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import threading

import pytest

from backends import BROKEN, Fake
from gates import GATES, AuthnzGate, LighttpdGate, TcpStack, behind, each_gate  # noqa: F401
from lib.postgres import Postgres
from lib.process import SANITIZED, demoted, wait_until
from lib.tokens import App

FILE, SERVICE = "/private/page.html", "/service/x"
FAILED = (500, 502, 503, 504)


class Hurt:
    """A gate with a Postern of its own, which may be hurt."""

    def __init__(self, kind, stack, behind):  # noqa: F811
        self.stack, self.behind = stack, behind
        self.spawned = kind.spawned
        self.program = stack.scratch.bin / "postern.fcgi"
        values = {}
        if self.spawned:
            self.program = stack.scratch.dir() / "postern.fcgi"
            shutil.copy(stack.scratch.bin / "postern.fcgi", self.program)
            self.program.chmod(0o755)
            values = {"/usr/local/lib/postern/postern.fcgi":
                      str(self.program)}
        self.gate = kind(stack, behind, values)
        self.postern = stack.tcp() if kind is AuthnzGate else stack

    def workers(self):
        """Process ids of those that decide."""
        if not self.spawned:
            return self.postern.workers() if self.postern.process else []
        mine = str(self.program).encode()
        return [int(p.parent.name) for p in
                pathlib.Path("/proc").glob("[0-9]*/cmdline")
                if cmdline(p).split(b"\0")[0] == mine]

    def kill_workers(self):
        for pid in self.workers():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def vanish(self):
        """No Postern any more."""
        if self.spawned:
            # Replaced by one that ends at once.
            new = self.program.with_suffix(".new")
            new.write_text("#!/bin/sh\nexit 1\n")
            new.chmod(0o755)
            new.rename(self.program)
            self.kill_workers()
        else:
            workers = self.workers()
            self.postern.process.kill()
            self.postern.process.wait()
            self.postern.process = None
            wait_until("no workers", lambda: not any(
                cmdline(pathlib.Path(f"/proc/{p}/cmdline"))
                for p in workers))

    def refused(self, headers, statuses, path=FILE):
        seen = self.behind.service.seen
        r = self.gate.ask("GET", path, headers)
        assert r.status in statuses, r
        assert b"guarded" not in r.body
        assert self.behind.service.seen == seen
        return r

    def cold_app(self):
        """An app that no worker has met."""
        out = self.stack.tool("app", "create", "--json", "Cold").stdout
        app = App(json.loads(out))
        self.stack.registered.append(app.secret)
        return app


def cmdline(path):
    try:
        return path.read_bytes()
    except OSError:
        return b""


@pytest.fixture(scope="module")
def own_pg(scratch):
    """A Postgres that may be stopped."""
    p = Postgres(scratch)
    p.shared = p.database()
    yield p
    p.discard()


@pytest.fixture()
def hurt(gate, own_pg, behind):  # noqa: F811
    with TcpStack(own_pg, database=own_pg.shared) as stack:
        hurt = Hurt(gate, stack, behind)
        with hurt.gate:
            yield hurt


@each_gate
def test_postern_gone(gate, hurt):
    app = hurt.stack.register()
    assert hurt.gate.ask("GET", FILE, app.auth()).status == 200
    hurt.vanish()
    if gate.spawned:  # Apache may take seconds to give up
        hurt.refused(app.auth(), FAILED, SERVICE)
        return
    for headers in ({}, app.auth(), app.auth(secret="0" * 64)):
        for path in (FILE, SERVICE):
            hurt.refused(headers, FAILED, path)


@each_gate
def test_killed_in_mid_decision(gate, hurt):
    """Bad tokens, whose key has to be looked up: the row's table is locked
    until the workers are gone."""
    hurt.gate.ask("GET", FILE)  # a process is there
    lock = hurt.stack.pg.connect(hurt.stack.database)
    lock.autocommit = False
    lock.cursor().execute("LOCK TABLE apps IN ACCESS EXCLUSIVE MODE")
    answers = []

    def ask(i):
        bad = {"X-Public-Key": f"{i:064x}",
               "Authorization": App({"id": 0, "public_key": "", "secret_key":
                                     "x" * 64}).auth()["Authorization"]}
        answers.append(hurt.refused(bad, FAILED + (401,), FILE))

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(2)]
    for t in threads:
        t.start()
    wait_until("a decision that waits", lambda: hurt.stack.sql(
        "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        " AND usename = 'server'"))
    hurt.kill_workers()
    lock.rollback()
    lock.close()
    for t in threads:
        t.join()
    assert len(answers) == 2, "one of the two was let in"
    assert any(r.status in FAILED for r in answers), answers
    app = hurt.stack.register()
    wait_until("it is back", lambda: hurt.gate.ask(
        "GET", FILE, app.auth()).status == 200)


@each_gate
def test_database_away(gate, hurt):
    """503, with Retry-After, for a key that is not known yet; not 401, and
    not nginx's 500."""
    cold, warm = hurt.cold_app(), hurt.stack.register()
    assert hurt.gate.ask("GET", FILE, warm.auth()).status == 200
    hurt.stack.pg.stop()
    try:
        for headers in (cold.auth(), cold.auth(secret="0" * 64),
                        {**cold.auth(), "X-Public-Key": "ab" * 32}):
            for path in (FILE, SERVICE):
                r = hurt.refused(
                    headers, (503 if gate.statuses else 401,), path)
                assert r["Retry-After"] == "1", r.headers.items()
                assert r["WWW-Authenticate"] is None
                if gate.body:
                    assert r["Content-Type"] == "application/problem+json"
                    assert (r.code, r.json()["status"]) == (
                        "database_unavailable", 503)
        # Without credentials nothing has to be looked up.
        assert hurt.refused({}, (401,))["WWW-Authenticate"]
    finally:
        hurt.stack.pg.start()
    wait_until("the database is back", lambda: hurt.gate.ask(
        "GET", FILE, cold.auth()).status == 200)


@each_gate
def test_single_use_tokens(gate, own_pg, behind):  # noqa: F811
    """Each front asks once for each request: good once is good once."""
    with TcpStack(own_pg, database=own_pg.shared,
                  env={"POSTERN_JWT_SINGLE_USE": "on"}) as stack:
        app = stack.register()
        with gate(stack, behind) as g:
            paths = [FILE, SERVICE, SERVICE + "/", "/private/sub/"]
            paths += ["/private/page.php"] * gate.php
            for i, path in enumerate(paths):
                auth = app.auth(jti=str(i))
                assert g.ask("GET", path, auth).status == 200, path
                r = g.ask("GET", path, auth)
                assert r.status == 401, path
                assert not gate.body or r.code == "token_replayed"


def limit_memory(pids, limit):
    for pid in pids:
        subprocess.run(["prlimit", "--pid", str(pid), f"--as={limit}:"],
                       check=False, preexec_fn=demoted(), cwd="/")


@pytest.mark.covers("RFC8725-3.3")
@pytest.mark.skipif(SANITIZED, reason="a sanitizer needs its memory")
@each_gate
def test_out_of_memory(gate, hurt, note):
    """No worker may grow, and each unknown key needs an entry in its cache and
    a query: the worker ends, or libpq finds no memory and it is 503."""
    app = hurt.stack.register()
    assert hurt.gate.ask("GET", FILE, app.auth()).status == 200
    before = set(hurt.workers())
    limit_memory(before, 1 << 20)
    bad = app.auth(secret="0" * 64)["Authorization"]
    for i in range(8192):
        r = hurt.refused({"X-Public-Key": f"{i:064x}", "Authorization": bad},
                         FAILED + (401,))
        if r.status in FAILED or r["Retry-After"]:
            break
    assert r.status in FAILED or r["Retry-After"], "there was always memory"
    note("503" if r["Retry-After"] else f"{r.status}, worker ended")
    limit_memory(before, "unlimited")
    wait_until("it is back", lambda: hurt.gate.ask(
        "GET", FILE, app.auth()).status == 200)


# Where a web server takes an authorizer's broken answer for consent: no program
# behind it may ever answer like that. All of them take one without Status for
# a 200, as CGI has it; lighttpd whatever is no header, too.
LETS_IN = {LighttpdGate: {"no_status", "empty", "no_end_of_head", "garbage"}}


@each_gate
def test_broken_answers_of_others(gate, own_pg, behind, note):  # noqa: F811
    fake = Fake(own_pg.scratch)
    values = {"/run/postern/postern.sock": fake.sock}
    if gate.spawned:
        values = {"/usr/local/lib/postern/postern.fcgi": str(fake.program)}
    elif gate is AuthnzGate:
        values = {"9000": str(fake.port)}
    let_in = set()
    with TcpStack(own_pg, way="idle",
                  database=own_pg.shared) as stack:
        with gate(stack, behind, values) as g:
            for broken in BROKEN:
                fake.kind.write_text(broken)
                before = behind.service.seen
                file, service = (g.ask("GET", p) for p in (FILE, SERVICE))
                if file.status == 200 and b"guarded" in file.body:
                    let_in.add(broken)
                assert (service.status == 200) == (broken in let_in) == (
                    behind.service.seen == before + 1), (broken, service)
    fake.stop()
    note("open: " + " ".join(sorted(let_in)))
    assert let_in == LETS_IN.get(gate, {"no_status"})

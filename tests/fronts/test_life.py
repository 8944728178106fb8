"""Slow and vanished clients, workers that die, reloads under load."""
import concurrent.futures
import contextlib
import http.client
import os
import signal
import threading

import pytest

from lib.fastcgi import FastCGI
from lib.process import wait_until
from ways import BY_NAME, WAYS, WORKERS, Site, answer

JSON = {"Content-Type": "application/json"}
OWN_MASTER = [w for w in WAYS if w.postern == "alone"]


@contextlib.contextmanager
def locked(site):
    """No document can be read or written meanwhile. Yields a function that
    tells how many requests wait for that."""
    c = site.stack.pg.connect(site.stack.database)
    c.autocommit = False
    c.cursor().execute("LOCK TABLE users IN ACCESS EXCLUSIVE MODE")

    def waiting():
        return site.stack.sql(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = %s"
            " AND wait_event_type = 'Lock'", site.stack.database)[0][0]

    try:
        yield waiting
    finally:
        c.rollback()
        c.close()


def whoami(site, app):
    return site.get("/v1/whoami", app.auth()).status


# -- clients

def test_slow_client(site, app, note):
    """As many slow clients as there are workers, where the server reads a
    request whole first; elsewhere one less. Others are served at each step,
    and in the end so are they."""
    n = site.way.processes if site.way.buffers else site.way.processes - 1
    body = b'{"slow":"' + b"x" * 3000 + b'"}'
    step = len(body) // 3 + 1
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(site.connect()) for _ in range(n)]
        for i, s in enumerate(slow):
            s.sendall(site.head("PUT", f"/v1/users/slow{i}", {
                **app.auth(), **JSON, "Content-Length": len(body)}))
        for at in range(0, len(body), step):
            assert whoami(site, app) == 200
            for s in slow:
                s.sendall(body[at:at + step])
        for s in slow:
            r = answer(s, "PUT")
            assert r.status in (200, 201), r
    note("ok" if site.way.buffers else "holds one")


@pytest.mark.parametrize("way", [
    BY_NAME["Apache proxy"]], ids=lambda w: w.name)
def test_slow_clients_are_bounded(pg, way, note):
    """Where a body is handed over as it comes, the server ends it."""
    with Site(pg, way, values={"body=10,MinRate=500": "body=1,MinRate=500"}) \
            as s, contextlib.ExitStack() as stack:
        app = s.register()
        slow = [stack.enter_context(s.connect()) for _ in range(WORKERS)]
        for c in slow:
            c.sendall(s.head("PUT", "/v1/users/slow", {
                **app.auth(), **JSON, "Content-Length": "1000"}) + b'{"')
        assert whoami(s, app) == 200  # none of them holds a worker
        assert {answer(c, "PUT").status for c in slow} == {408}
        assert s.get("/v1/users/slow", app.auth()).status == 404
        note(408)


def test_client_gone(site, app):
    """Clients that go away in the middle of a body: nothing is stored, and
    every worker lives."""
    before = site.programs() if site.way in OWN_MASTER else set()
    heads = ({"Content-Length": "1000"}, {"Transfer-Encoding": "chunked"})
    for i in range(2 * site.way.processes):
        with site.connect() as s:
            s.sendall(site.head("PUT", "/v1/users/left", {
                **app.auth(), **JSON, **heads[i % 2]}))
            s.sendall(b'{"a":1}' if i % 2 == 0 else b'7\r\n{"a":1}\r\n')
    for _ in range(2 * site.way.processes):
        assert whoami(site, app) == 200
    assert site.get("/v1/users/left", app.auth()).status == 404
    if before:
        assert site.programs() == before


def test_idle_clients(site, app):
    """More kept client connections than workers starve nobody. One that was
    asked before may be closed by the server, which keeps it for 5 s: a process
    for each request may take that long for the others."""
    def ask(s):
        s.sendall(site.head("GET", "/v1/whoami", app.auth()))
        assert answer(s).status == 200

    with contextlib.ExitStack() as stack:
        idle = [stack.enter_context(site.connect()) for _ in range(20)]
        for s in idle:
            ask(s)
        assert whoami(site, app) == 200
        for s in idle:
            try:
                ask(s)
            except (BrokenPipeError, ConnectionResetError):
                ask(stack.enter_context(site.connect()))
        assert whoami(site, app) == 200


# -- death

# What the client sees whose worker dies.
KILLED = {"Apache proxy": 503, "nginx": 502, "nginx kept": 502, "Caddy": 502,
          "spawn-fcgi": 502}


def connections(site):
    """Those on Postern's side of its socket, waiting ones among them; of all
    sockets, where lighttpd makes one for each process."""
    with open("/proc/net/unix") as f:
        return sum(1 for line in f if site.stack.sock in line
                   and line.split()[5] in ("02", "03"))


def test_worker_killed(site, app, note):
    """All workers are busy and others wait; one is killed. Whoever waits for
    a lone process with a queue of its own goes down with it."""
    n, own = site.way.processes, KILLED.get(site.way.name, 500)
    lone = site.way.name == "lighttpd spawned"
    wait_until("room", lambda: len(site.programs()) <= n)
    if site.way.name == "nginx kept":
        # Begin without kept connections: a request over one waits for the
        # worker that has it, be others free or not.
        site.front.reload()
        wait_until("none kept", lambda: connections(site) == 0)
    with concurrent.futures.ThreadPoolExecutor(n) as pool, \
            contextlib.ExitStack() as stack:
        with locked(site) as waiting:
            busy = [pool.submit(site.request, "PUT", f"/v1/users/busy{i}",
                                app.auth(), {}) for i in range(n)]
            wait_until("all busy", lambda: waiting() == n)
            victim = sorted(site.programs())[0]
            queued = [stack.enter_context(site.connect()) for _ in range(4)]
            for s in queued:
                s.sendall(site.head("GET", "/v1/whoami", app.auth()))
            if site.way.postern != "idle" or lone:
                wait_until("the queue", lambda: connections(site) >= n + 4)
            os.kill(victim, signal.SIGKILL)
            wait_until("it is gone", lambda: victim not in site.programs())
        statuses = sorted(f.result().status for f in busy)
        rest = sorted(answer(s).status for s in queued)
    assert [x for x in statuses if x not in (200, 201)] == [own]
    assert rest == [200] * 3 + [own if lone else 200]
    wait_until("served again", lambda: whoami(site, app) == 200)
    note(f"{own}, queue too" if lone else own)


# -- reloads

def under_load(site, app, reload, times=3, each=40):
    """Clients at work while reload is called; what failed."""
    end, failed, done = threading.Event(), [], [0]
    text = "x" * 30000

    def one(n, auth):
        if n % 2:
            r = site.get("/v1/whoami", auth)
            return None if r.status == 200 else r
        r = site.request("PUT", f"/v1/users/load{n}", auth, {"t": text})
        whole = r.status in (200, 201) and r.json() == {"t": text}
        return None if whole else r

    def client(n):
        auth = app.auth(exp=900)
        while not end.is_set():
            try:
                fault = one(n, auth)
            except (OSError, http.client.HTTPException) as e:
                fault = e  # refused, reset, cut short
            if fault is not None:
                failed.append(fault)
            done[0] += 1

    threads = [threading.Thread(target=client, args=(n,)) for n in range(6)]
    for t in threads:
        t.start()
    try:
        for _ in range(times):
            goal = done[0] + each
            wait_until("some requests", lambda: done[0] >= goal)
            reload()
        goal = done[0] + each
        wait_until("some requests", lambda: done[0] >= goal)
    finally:
        end.set()
        for t in threads:
            t.join()
    return failed, done[0]


def replaced(site, ask):
    """A reload, until all processes of before are gone."""
    def reload():
        before = site.programs()
        ask()
        wait_until("new processes", lambda: not before & site.programs())

    return reload


def reload_in_flight(site, app):
    """A reload while a request is being served, which ends well; and the
    server comes back."""
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        with locked(site) as waiting:
            busy = pool.submit(site.request, "PUT", "/v1/users/flight",
                               app.auth(), {"a": 1})
            wait_until("it is served", lambda: waiting() == 1)
            before = site.programs()
            asked = len(site.front.logs())
            reload = pool.submit(site.front.reload)
            # Caddy's own command may wait for the request to end.
            wait_until("it was asked", lambda: (
                reload.done() or '"uri":"/load"' in site.front.logs()[asked:]))
        assert busy.result().status in (200, 201)
        reload.result()
    if site.way.postern == "idle":
        wait_until("new processes", lambda: not before & site.programs())

    def again():
        try:
            return site.get("/v1/whoami", app.auth(), timeout=3).status == 200
        except OSError:
            return False

    wait_until("served again", again)


@pytest.mark.parametrize("site", OWN_MASTER, ids=lambda w: w.name,
                         indirect=True)
def test_reload_of_postern(site, app):
    """SIGHUP to the master."""
    before = len(site.stack.log_lines("worker_died"))
    failed, done = under_load(site, app, replaced(
        site, lambda: site.stack.process.send_signal(signal.SIGHUP)))
    assert failed == [], f"{len(failed)} of {done}"
    assert len(site.stack.log_lines("worker_died")) == before


def test_reload_of_the_server(site, app, note):
    """By its own means, which replaces the processes that it has started.
    Apache's managers of processes (mod_fcgid's, mod_cgid's) and Caddy's
    listener are themselves replaced, and lose some of what arrives meanwhile:
    only requests in flight are promised there."""
    reload = site.front.reload
    if site.way.name == "Caddy" or (
            site.way.server.name == "Apache" and site.way.postern == "idle"):
        reload_in_flight(site, app)
        note("in flight")
        return
    if site.way.name == "lighttpd spawned":
        reload = replaced(site, reload)
    failed, done = under_load(site, app, reload)
    assert failed == [], f"{len(failed)} of {done}"


# -- connections that the server keeps

@pytest.mark.parametrize("way", [BY_NAME["nginx"], BY_NAME["nginx kept"]],
                         ids=lambda w: w.name)
def test_kept_connections(pg, way, note):
    """More connections than workers, kept by the server, pin no worker."""
    n = 12
    with Site(pg, way) as s, \
            concurrent.futures.ThreadPoolExecutor(n) as pool:
        app = s.register()
        s.request("PUT", "/v1/users/u", app.auth(), {})
        with locked(s) as waiting:
            busy = [pool.submit(s.get, "/v1/users/u", app.auth())
                    for _ in range(n)]
            wait_until("all busy", lambda: waiting() == WORKERS)
            wait_until("all there", lambda: connections(s) >= n)
        assert {f.result().status for f in busy} == {200}
        if way.name == "nginx":
            wait_until("none kept", lambda: connections(s) == 0)
        else:
            assert connections(s) > WORKERS
            note("more kept")
        # A stranger to the kept connections, and then all of them again.
        for _ in range(2 * WORKERS):
            with FastCGI(s.stack.sock) as f:
                f.begin()
                f.params({"REQUEST_METHOD": "GET", "REQUEST_URI": "/readyz"})
                f.stdin(b"")
                assert f.answer().status == 200
        again = [pool.submit(whoami, s, app) for _ in range(4 * n)]
        assert {f.result() for f in again} == {200}

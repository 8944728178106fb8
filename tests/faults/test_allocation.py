"""No memory: each allocation in turn fails once, over one request of each
route and role."""
import contextlib
import json
import mmap
import re
import secrets
import shutil
import struct
import time

import pytest

from lib.client import Client
from lib.fastcgi import FastCGI, parse_cgi
from lib.process import BUILD, REPO, SANITIZED, wait_until
from lib.stack import Stack
from lib.tokens import ADMIN, REGISTRATION, App, made_up

fault = pytest.mark.fault
RESPONDER, AUTHORIZER = 1, 2
STDOUT, END_REQUEST = 6, 3


class Starved(Stack):
    """One process, whose nth allocation from now on fails."""

    def __init__(self, pg, database, master_key):
        library = pg.scratch.bin / "starve.so"
        if not library.exists():
            shutil.copy(BUILD / "faults" / "starve.so", library)
        order = pg.scratch.dir() / "order"
        order.write_bytes(bytes(16))
        order.chmod(0o666)
        with open(order, "r+b") as f:
            self.order = mmap.mmap(f.fileno(), 16)
        super().__init__(pg, way="alone", workers=0, database=database, env={
            "POSTERN_MASTER_KEY": master_key, "LD_PRELOAD": str(library),
            "STARVE_FILE": str(order)})

    def fail(self, nth):
        self.order[:] = struct.pack("=qq", nth, 0)

    def calls(self):
        return struct.unpack("=qq", self.order[:])[1]

    def stop(self):
        self.fail(0)
        super().stop()


class Cut(Exception):
    """An answer that ends before its end."""


def ask(s, r):
    """The answer; None without one."""
    out, ended = b"", False
    params = {"REQUEST_METHOD": r["method"], "REQUEST_URI": r["path"],
              **r.get("params", {})}
    for name, value in r.get("headers", {}).items():
        params["HTTP_" + name.upper().replace("-", "_")] = value
    body = json.dumps(r["body"]).encode() if "body" in r else b""
    if body:
        params |= {"CONTENT_TYPE": "application/json",
                   "CONTENT_LENGTH": len(body)}
    with contextlib.suppress(EOFError, ConnectionError, FileNotFoundError), \
            FastCGI(s.sock) as f:
        f.begin(r.get("role", RESPONDER))
        f.params(params)
        if r.get("role", RESPONDER) == RESPONDER:
            f.stdin(body)
        while not ended:
            _, kind, _, n, pad = struct.unpack(">BBHHBx", f.read(8))
            content = f.read(n + pad)[:n]
            out += content if kind == STDOUT else b""
            ended = kind == END_REQUEST
    if not out:
        return None
    answer = parse_cgi(out)
    if not ended or int(answer["Content-Length"] or 0) != len(answer.body):
        raise Cut(out)
    # nginx knows no other refusals than 401 and 403.
    answer.status = int(answer["X-Postern-Status"] or answer.status)
    return answer


class World:
    """A starved process, and a sound one on the same database, which says
    what is true."""

    def __init__(self, pg, ends):
        database, key = pg.database(), secrets.token_hex(32)
        self.sound = ends.enter_context(Stack(
            pg, way="alone", workers=0, database=database,
            env={"POSTERN_MASTER_KEY": key}))
        self.starved = ends.enter_context(Starved(pg, database, key))
        self.client = ends.enter_context(
            contextlib.closing(Client(sock=self.sound.sock)))
        wait_until("ready", lambda: self.client.request(
            "GET", "/readyz").status == 200)
        self.known = self.app()
        self.figures = {"in_flight": {"good": {}, "bad": {}}, "asked": 0,
                        "acknowledged": 0, "wrong": 0, "lost": 0, "hung": 0,
                        "slowest_s": 0, "normal_s": 0, "allocations": {}}

    def keep(self, answer):
        app = App(answer)
        for s in (self.sound, self.starved):
            s.registered.append(app.secret)
        return app

    def app(self):
        return self.keep(self.client.register().answer)

    def begin_anew(self):
        """A process that has done nothing yet."""
        self.starved.process.kill()
        self.starved.process.wait()
        self.starved.start_postern()

    def settle(self):
        """Back to normal: by its successor, if the process has ended."""
        s, start = self.starved, time.monotonic()
        ended = False

        def normal():
            nonlocal ended
            if s.process.poll() is not None:
                ended = True
                s.start_postern()
            answers = [ask(s, {"method": "GET", "path": "/readyz"}),
                       ask(s, whoami(self.known)),
                       ask(s, whoami(self.known, secret="0" * 64))]
            got = [r and r.status for r in answers]
            assert got[1] in (None, 200, 503) and got[2] in (None, 401, 503)
            return got == [200, 200, 401]

        wait_until("normal", normal)
        self.figures["normal_s"] = max(self.figures["normal_s"],
                                       time.monotonic() - start)
        return ended

    def attempt(self, route, n):
        """One request during which the nth allocation fails. True when it
        had fewer."""
        request = route.request(self)
        self.starved.fail(n)
        start = time.monotonic()
        r = ask(self.starved, request)
        took = time.monotonic() - start
        calls = self.starved.calls()
        self.starved.fail(0)
        f = self.figures
        status = "none" if r is None else str(r.status)
        side = f["in_flight"]["bad" if route.forged else "good"]
        side[status] = side.get(status, 0) + 1
        f["asked"] += 1
        f["slowest_s"] = max(f["slowest_s"], took)
        assert r is None or r.status >= 500 or r.status in route.right, r
        if r is not None and r.status in route.right and not route.forged:
            route.check(self, request, r)
            f["acknowledged"] += request["method"] != "GET"
        if calls < n:
            assert r.status in route.right, r
        return calls < n

    def each_allocation(self, route):
        """In turn, until the request has no more, of a new process too."""
        fresh, n = False, 1
        while True:
            untouched = self.attempt(route, n)
            if untouched and fresh:
                break
            fresh = self.settle()
            if untouched:
                self.begin_anew()
                fresh = True
            else:
                n += 1
        assert n > 10
        self.figures["allocations"][route.name] = n - 1


def whoami(app, **kw):
    return {"method": "GET", "path": "/v1/whoami", "headers": app.auth(**kw)}


class Route:
    forged = False

    def __init__(self, name, make, right, check=None):
        """make(world): the request. check(world, request, answer): whether
        what was answered is true."""
        self.name, self.make, self.right = name, make, right
        self.truth = check

    def request(self, world):
        return self.make(world)

    def check(self, world, request, answer):
        assert self.truth is None or \
            self.truth(world, request, answer) is not False


class Forged(Route):
    forged = True


def gate(path, **more):
    def make(world, **kw):
        return {"method": "GET", "path": path, **more,
                "headers": world.app().auth(**kw)}

    return make


def forged(make):
    return lambda world: make(world, secret="0" * 64)


AUTHORIZED = gate("/", role=AUTHORIZER)
NGINX = gate("/", params={"POSTERN_GATE": "nginx"})


def is_usable(world, request, answer):
    app = world.keep(answer.json())
    assert world.client.status(app) == 200


def is_stored(world, request, answer):
    assert answer.json() == request["body"] == world.client.request(
        "GET", "/v1/users/u", request["headers"]).json()


def of_app(method, path, body=None, user=None, before=None):
    """A request with the token of an app that was made for it."""
    def make(world):
        app = world.app()
        if before is not None:
            before(world, app)
        claims = {"sub": user} if user else {}
        return {"method": method, "path": path, "headers": app.auth(**claims),
                **({} if body is None else {"body": body}), "app": app}

    return make


def of_admin(method, path, body=None, before=None):
    def make(world):
        app = world.app()
        if before is not None:
            before(world, app)
        return {"method": method, "path": path.format(app.public),
                "headers": {"Authorization": "Bearer " + ADMIN},
                **({} if body is None else {"body": body}), "app": app}

    return make


def stored(world, app):
    r = world.client.request("PUT", "/v1/users/u", app.auth(), {"a": 1})
    assert r.status == 201


def rotated(world, app):
    r = world.client.request("POST", "/v1/app/rotate", app.auth(), {})
    assert r.status == 200
    app.secret = world.keep(r.json()).secret


def disabled(world, app):
    assert world.client.admin(
        "POST", f"/v1/apps/{app.public}/disable").status == 200


def app_is(status):
    """The app's own token, from then on."""
    def check(world, request, answer):
        wait_until(f"{status}", lambda: world.client.status(
            request["app"]) == status)

    return check


def new_secret(world, request, answer):
    app = world.keep(answer.json())
    wait_until("its new secret", lambda: world.client.status(app) == 200)


def register(world):
    return {"method": "POST", "path": "/v1/apps", "body": {"name": "x"},
            "headers": {"Authorization": "Bearer " + REGISTRATION}}


def plain(path):
    return lambda world: {"method": "GET", "path": path}


USER = "/v1/users/u"
ROUTES = [
    Route("GET /v1/whoami", lambda w: whoami(w.app()), {200}),
    Forged("GET /v1/whoami, forged",
           lambda w: whoami(w.app(), secret="0" * 64), {401}),
    Forged("GET /v1/whoami, unknown key", lambda w: whoami(made_up()), {401}),
    Route("nginx", NGINX, {204}),
    Route("/v1/auth", gate("/v1/auth"), {204}),
    Forged("/v1/auth, forged", forged(gate("/v1/auth")), {401}),
    Route("GET /v1/app", of_app("GET", "/v1/app"), {200}),
    Route("PATCH /v1/app", of_app("PATCH", "/v1/app", {"name": "y"}), {200},
          lambda w, q, r: w.client.whoami(q["app"]).json()["app"]["name"]
          == "y"),
    Route("DELETE /v1/app", of_app("DELETE", "/v1/app"), {204}, app_is(401)),
    Route("POST /v1/app/rotate", of_app("POST", "/v1/app/rotate", {
        "grace_seconds": 0}), {200}, new_secret),
    Route("DELETE /v1/app/previous-secret", of_app(
        "DELETE", "/v1/app/previous-secret", before=rotated), {204}),
    Route("GET /v1/users", of_app("GET", "/v1/users", before=stored), {200},
          lambda w, q, r: r.json()["users"][0]),
    Route("GET /v1/users/{user}", of_app("GET", USER, before=stored), {200},
          lambda w, q, r: r.json()["a"]),
    Route("PATCH /v1/users/{user}", of_app(
        "PATCH", USER, {"a": 2}, before=stored), {200}, is_stored),
    Route("DELETE /v1/users/{user}", of_app(
        "DELETE", USER, before=stored), {204}),
    Route("GET /v1/me", of_app("GET", "/v1/me", user="u", before=stored),
          {200}, lambda w, q, r: r.json()["a"]),
    Route("PUT /v1/me", of_app("PUT", "/v1/me", {"b": 1}, user="u"), {201},
          is_stored),
    Route("PATCH /v1/me", of_app(
        "PATCH", "/v1/me", {"a": 2}, user="u", before=stored), {200},
        is_stored),
    Route("DELETE /v1/me", of_app(
        "DELETE", "/v1/me", user="u", before=stored), {204}),
    Route("GET /v1/apps", of_admin("GET", "/v1/apps?limit=3"), {200}),
    Forged("GET /v1/apps, by another", lambda w: {
        "method": "GET", "path": "/v1/apps",
        "headers": {"Authorization": "Bearer " + "x" * 40}}, {401}),
    Route("GET /v1/apps/{public_key}", of_admin("GET", "/v1/apps/{}"), {200}),
    Route("PATCH /v1/apps/{public_key}", of_admin(
        "PATCH", "/v1/apps/{}", {"name": "z"}), {200}),
    Route("DELETE /v1/apps/{public_key}", of_admin("DELETE", "/v1/apps/{}"),
          {204}, app_is(401)),
    Route("POST /v1/apps/{public_key}/rotate", of_admin(
        "POST", "/v1/apps/{}/rotate"), {200}, new_secret),
    Route("POST /v1/apps/{public_key}/disable", of_admin(
        "POST", "/v1/apps/{}/disable"), {200}, app_is(401)),
    Route("POST /v1/apps/{public_key}/enable", of_admin(
        "POST", "/v1/apps/{}/enable", before=disabled), {200}, app_is(200)),
    Route("GET /v1/apps/{public_key}/events", of_admin(
        "GET", "/v1/apps/{}/events"), {200}),
    Route("GET /healthz", plain("/healthz"), {200}),
    Route("GET /readyz", plain("/readyz"), {200}),
    Route("GET /openapi.json", plain("/openapi.json"), {200}),
    Route("GET /metrics", of_admin("GET", "/metrics"), {200}),
    Route("OPTIONS", lambda w: {"method": "OPTIONS", "path": "/v1/apps"},
          {204}),
]
SHORT = {
    "gate": [Route("an authorizer", AUTHORIZED, {200}),
             Forged("an authorizer, forged", forged(AUTHORIZED), {401}),
             Forged("nginx, forged", forged(NGINX), {401})],
    "registration": [Route("POST /v1/apps", register, {201}, is_usable)],
    "document": [Route("PUT /v1/users/{user}", of_app(
        "PUT", USER, {"a": 1}), {201}, is_stored)],
}
PROMISE = ("The process ends without a byte of an answer, or it is a 5xx or "
           "the right one; another takes its place")


def each_allocation(pg, ends, record, routes):
    world = World(pg, ends)
    for route in routes:
        world.each_allocation(route)
    f = world.figures
    record({**f, "note": f"{sum(f['allocations'].values()):,} allocations "
                         f"of {len(routes)} kinds of request"})


needs_allocator = pytest.mark.skipif(
    SANITIZED, reason="a sanitizer has an allocator of its own")


@needs_allocator
@fault("Out of memory at each allocation in turn: an authorizer's decision",
       PROMISE)
def test_gate(pg, ends, record):
    each_allocation(pg, ends, record, SHORT["gate"])


@needs_allocator
@fault("Out of memory at each allocation in turn: a registration", PROMISE)
def test_registration(pg, ends, record):
    each_allocation(pg, ends, record, SHORT["registration"])


@needs_allocator
@fault("Out of memory at each allocation in turn: a document is stored",
       PROMISE)
def test_document(pg, ends, record):
    each_allocation(pg, ends, record, SHORT["document"])


def test_all_routes():
    """None of the server's is left out."""
    table = {f"{m} {p}" for m, p in re.findall(
        r'\{ M_(\w+), "([^"]+)"', (REPO / "src/api/routes.c").read_text())}
    ours = {r.name for r in [*ROUTES, *SHORT["registration"],
                             *SHORT["document"]]}
    assert len(table) > 25 and table <= ours, table - ours


@pytest.mark.long
@needs_allocator
@fault("Out of memory at each allocation in turn: every other route", PROMISE)
def test_every_route(pg, ends, record):
    each_allocation(pg, ends, record, ROUTES)

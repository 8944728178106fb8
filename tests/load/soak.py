"""Mixed traffic, and a model of what every answer has to be."""
import collections
import dataclasses
import math
import random
import secrets
import threading
import time

from lib.tokens import ADMIN, REGISTRATION, App, made_up

AUTH = {"Authorization": "Bearer " + ADMIN}
NEWS = 5       # seconds after which no worker may be without the news
APPS = 30      # of each client
SAMPLES = 50000
KILLED = 500   # by lighttpd, when the worker is gone
MERGE = "application/merge-patch+json"
PROBLEM = "application/problem+json"  # by Postern, which has to be right


class Interrupted(Exception):
    """Nobody knows whether it was done: the worker was killed meanwhile."""


@dataclasses.dataclass
class Dead:
    """Credentials that no worker takes from then on."""
    app: object
    secret: str
    since: float


@dataclasses.dataclass
class Held:
    app: object
    documents: dict = dataclasses.field(default_factory=dict)
    changed: float = -math.inf  # a worker may not have heard of it yet


class Times:
    """A fair sample of how long requests took."""

    def __init__(self):
        self.n, self.kept = 0, []

    def add(self, took):
        self.n += 1
        if len(self.kept) < SAMPLES:
            self.kept.append(took)
        else:
            i = random.randrange(self.n)
            if i < SAMPLES:
                self.kept[i] = took


class Visitor(threading.Thread):
    """One after the other, on apps of its own. What is wrong is put down in
    faults; what a killed worker left undone in interrupted."""

    def __init__(self, stack, end, seed):
        super().__init__(daemon=True)
        self.stack, self.end = stack, end
        self.random = random.Random(seed)
        self.held, self.dead, self.gone = [], [], []
        self.faults, self.interrupted, self.late = [], 0, 0
        self.times = collections.defaultdict(Times)
        self.acts = (
            [self.whoami] * 8 + [self.gate] * 4 + [self.document] * 10
            + [self.forged] * 3 + [self.unknown] * 3 + [self.revoked] * 3
            + [self.register] * 2 + [self.rotate] * 2 + [self.disable]
            + [self.delete])

    def run(self):
        while not self.end.is_set():
            if len(self.held) < 3:
                act = self.register
            else:
                act = self.random.choice(self.acts)
            try:
                act()
            except Interrupted:
                self.interrupted += 1
            except Exception as e:  # of a thread: told at the end
                self.faults.append(f"{act.__name__}: {e!r}")

    # -- asking

    def ask(self, what, method, path, headers, body=None):
        begun = time.monotonic()
        r = self.stack.request(method, path, headers, body)
        self.times[what].add(time.monotonic() - begun)
        if r.status == KILLED and r["Content-Type"] != PROBLEM:
            raise Interrupted
        return r

    def keep(self, r):
        app = App(r.json())
        self.stack.registered.append(app.secret)
        return app

    def expect(self, wanted, *request):
        r = self.ask(*request)
        if r.status not in wanted:
            self.faults.append(f"{request[:3]}: {r}, not {wanted}")
        return r

    def held_to(self, h, wanted, *request):
        """The same of an app whose keys are good. The news of a change takes
        its milliseconds to each worker; until then that is a 401, and what was
        asked for is not done."""
        while time.monotonic() < h.changed + NEWS:
            r = self.ask(*request)
            if r.status != 401:
                break
            self.late += 1
        else:
            return self.expect(wanted, *request)
        if r.status not in wanted:
            self.faults.append(f"{request[:3]}: {r}, not {wanted}")
        return r

    def refused_soon(self, app):
        until = time.monotonic() + NEWS
        while self.ask("revoked", "GET", "/v1/whoami",
                       app.auth()).status != 401:
            if time.monotonic() > until:
                self.faults.append("not refused yet")
                return

    def one(self):
        return self.random.choice(self.held)

    # -- what is done

    def whoami(self):
        h = self.one()
        r = self.held_to(h, {200}, "whoami", "GET", "/v1/whoami",
                         h.app.auth())
        if r.status == 200 and r.json()["app"]["id"] != h.app.id:
            self.faults.append(f"another app: {r}")

    def gate(self):
        h = self.one()
        r = self.held_to(h, {204}, "gate", "GET", "/v1/auth",
                         h.app.auth(sub="u"))
        if r["X-App-Id"] != str(h.app.id):
            self.faults.append(f"another app: {r.headers.items()}")

    def forged(self):
        self.expect({401}, "forged", "GET", self.random.choice(
            ["/v1/whoami", "/v1/auth", "/v1/users/u0"]),
            self.one().app.auth(secret=secrets.token_hex(32)))

    def unknown(self):
        self.expect({401}, "unknown", "GET", "/v1/whoami", made_up().auth())

    def revoked(self):
        now = time.monotonic()
        old = [d for d in self.dead[-50:] if now > d.since + NEWS]
        if old:
            d = self.random.choice(old)
            self.expect({401}, "revoked", "GET", "/v1/whoami",
                        d.app.auth(secret=d.secret))

    def register(self):
        if len(self.held) >= APPS:
            return self.delete()
        r = self.expect({201}, "register", "POST", "/v1/apps",
                        {"Authorization": "Bearer " + REGISTRATION},
                        {"name": "soak"})
        app = self.keep(r)
        self.held.append(Held(app))
        self.expect({200}, "whoami", "GET", "/v1/whoami", app.auth())
        return None

    def document(self):
        h, name = self.one(), f"u{self.random.randrange(5)}"
        act = self.random.choice(["GET", "GET", "PUT", "PATCH", "DELETE"])
        before = h.documents.get(name)
        body = after = None
        if act in ("PUT", "PATCH"):
            body = {self.random.choice("abc"): secrets.token_hex(20)}
            after = body if act == "PUT" else {**(before or {}), **body}
        elif act == "GET":
            after = before
        headers = h.app.auth()
        if act == "PATCH":
            headers["Content-Type"] = MERGE
        self.held.remove(h)  # for good, if the answer doesn't come
        r = self.held_to(
            h, {404} if before is None and act != "PUT" else
            {201} if before is None else
            {204} if act == "DELETE" else {200},
            act, act, f"/v1/users/{name}", headers, body)
        self.held.append(h)
        if before is None and act in ("PATCH", "DELETE"):
            after = None
        if r.status in (200, 201) and r.json() != after:
            self.faults.append(f"{act}: {r}, not {after}")
        h.documents[name] = after

    def rotate(self):
        h = self.one()
        self.held.remove(h)
        grace = self.random.choice([0, 0, 1, 3600])
        old = h.app.secret
        r = self.held_to(h, {200}, "rotate", "POST", "/v1/app/rotate",
                         h.app.auth(), {"grace_seconds": grace,
                                       "end_previous": True})
        h.app = self.keep(r)
        h.changed = time.monotonic()
        self.dead.append(Dead(h.app, old, h.changed + grace))
        self.held.append(h)

    def disable(self):
        h = self.one()
        self.held.remove(h)
        path = "/v1/apps/" + h.app.public
        self.expect({200}, "disable", "POST", path + "/disable", AUTH)
        self.refused_soon(h.app)
        self.expect({200}, "enable", "POST", path + "/enable", AUTH)
        h.changed = time.monotonic()
        self.held.append(h)

    def delete(self):
        h = self.one()
        self.held.remove(h)
        if self.random.random() < 0.5:
            self.held_to(h, {204}, "delete", "DELETE", "/v1/app", h.app.auth())
        else:
            self.expect({204}, "delete", "DELETE",
                        "/v1/apps/" + h.app.public, AUTH)
        self.gone.append(h.app.id)
        self.dead.append(Dead(h.app, h.app.secret, time.monotonic()))

    # -- the end

    def check(self):
        """All that was acknowledged is there."""
        for h in self.held:
            r = self.stack.get("/v1/whoami", h.app.auth())
            assert r.status == 200, r
            for name, document in h.documents.items():
                r = self.stack.get(f"/v1/users/{name}", h.app.auth())
                assert (r.json() if r.status == 200 else None) == document

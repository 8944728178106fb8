"""A steady mix of clients, good and bad, that goes on whatever happens and
keeps account of every answer."""
import collections
import dataclasses
import http.client
import itertools
import json
import threading
import time

from lib.process import at_once, wait_until
from lib.tokens import REGISTRATION, App, made_up

PATIENCE = 10  # seconds of a client; more is hung
PAUSE = 0.01  # of a client between two requests
IN_A_ROW = 10  # such normal answers to each client are back to normal
WEEK = 7 * 86400
BROKEN = "broken"  # no answer: refused, reset or cut short
HUNG = "hung"


@dataclasses.dataclass
class Asked:
    kind: str
    start: float
    end: float
    got: object  # a status, BROKEN or HUNG
    normal: bool


class Clients:
    """The good ones may get what is theirs, or be told to try again; the bad
    ones may not be let in, nor the good ones be refused.

    front: processes die, so that the web server may answer 5xx of its own, or
    break a connection."""

    # How many of each kind; and how long one waits between two requests, and
    # for all to be content.
    good = {"warm": 2, "gate": 1, "register": 2, "write": 1, "read": 1}
    bad = {"forged": 1, "revoked": 1, "replaced": 1, "stranger": 1}
    pause, patience = PAUSE, None

    def __init__(self, s, front=False):
        self.s, self.front = s, front
        self.ending = threading.Event()
        self.lock = threading.Lock()
        self.asked = []
        self.wrong, self.odd = [], []
        self.apps, self.documents = [], {}
        self.struck = self.healed = None
        self.open = set()  # who waits for an answer
        self.rows = collections.defaultdict(int)  # normal answers in a row
        self.app = s.register()
        self.bad_ones()
        self.threads = [
            threading.Thread(target=self.run, args=(kind, kind in self.good,
                                                    n), daemon=True)
            for kind, many in {**self.good, **self.bad}.items()
            for n in range(many)]

    def bad_ones(self):
        """An app that was disabled, and a secret that was replaced; both had
        been good on every worker."""
        self.revoked, self.replaced = self.s.register(), self.s.register()
        for app in (self.revoked, self.replaced):
            self.s.becomes(app, 200)
        self.s.sql("UPDATE apps SET disabled_at = now() WHERE id = %s",
                   self.revoked.id)
        r = self.s.request("POST", "/v1/app/rotate", self.replaced.auth(),
                           {"grace_seconds": 0})
        assert r.status == 200, r
        self.s.registered.append(r.json()["secret_key"])
        for app in (self.revoked, self.replaced):
            self.s.becomes(app, 401)

    # -- one request

    def request(self, kind, n, i):
        ask, app = self.s.request, self.app
        if kind == "warm":
            return ask("GET", "/v1/whoami", app.auth(exp=WEEK),
                       timeout=PATIENCE)
        if kind == "gate":
            return ask("GET", "/v1/auth", app.auth(exp=WEEK),
                       timeout=PATIENCE)
        if kind == "register":
            return ask("POST", "/v1/apps",
                       {"Authorization": "Bearer " + REGISTRATION},
                       {"name": f"{n}-{i}"}, timeout=PATIENCE)
        if kind == "write":
            return ask("PUT", f"/v1/users/{n}", app.auth(exp=WEEK), {"i": i},
                       timeout=PATIENCE)
        if kind == "read":
            return ask("GET", "/v1/users/0", app.auth(exp=WEEK),
                       timeout=PATIENCE)
        path = "/v1/auth" if i % 2 else "/v1/whoami"
        auth = {
            "forged": lambda: app.auth(exp=WEEK, secret="0" * 64),
            "revoked": lambda: self.revoked.auth(exp=WEEK),
            "replaced": lambda: self.replaced.auth(exp=WEEK),
            "stranger": lambda: made_up().auth(exp=WEEK),
        }[kind]()
        return ask("GET", path, auth, timeout=PATIENCE)

    def run(self, kind, good, n):
        for i in itertools.count(1):
            if self.ending.is_set():
                return
            start, r = time.monotonic(), None
            # What is written now may be there, also unacknowledged.
            floor = self.documents.get(0, 0)
            self.open.add((kind, n))
            try:
                r = self.request(kind, n, i)
                got = r.status
            except TimeoutError:
                got = HUNG
            except (OSError, http.client.HTTPException):
                got = BROKEN
            self.open.discard((kind, n))
            with self.lock:
                try:
                    self.note(kind, good, n, i, start, got, r, floor)
                except (ValueError, KeyError, AttributeError) as e:
                    self.wrong.append((kind, repr(e), r))
            self.ending.wait(self.pause)

    def note(self, kind, good, n, i, start, got, r, floor):
        normal = got in ((200, 201, 204) if good else (401,)) or (
            kind == "read" and got == 404 and floor == 0)
        self.asked.append(Asked(kind, start, time.monotonic(), got, normal))
        self.rows[kind, n] = self.rows[kind, n] + 1 if normal else 0
        if got in (HUNG, BROKEN):
            if got == HUNG or not self.front:
                self.odd.append((kind, got))
        elif got == 503 and r["Content-Type"] == "application/problem+json":
            if int(r["Retry-After"] or 0) < 1 or not r.code:
                self.odd.append((kind, r))
        elif got >= 500:
            if not self.front:
                self.odd.append((kind, r))
        elif not normal:
            self.wrong.append((kind, r))
        elif good:
            self.keep(kind, n, i, r, floor)

    def keep(self, kind, n, i, r, floor):
        if kind == "warm" and r.json()["app"]["id"] != self.app.id:
            self.wrong.append((kind, r))
        elif kind == "gate" and r["X-App-Id"] != str(self.app.id):
            self.wrong.append((kind, r))
        elif kind == "register":
            self.apps.append(App(r.json()))
        elif kind == "write":
            if r.json() != {"i": i}:
                self.wrong.append((kind, r))
            self.documents[n] = i
        elif kind == "read" and r.status == 200 and r.json()["i"] < floor:
            self.wrong.append((kind, r, floor))

    # -- the course of a test

    def __enter__(self):
        for t in self.threads:
            t.start()
        try:
            self.wait_normal()
            if self.s.log():  # not where the log is what fails
                self.s.warm(self.app)
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(self, *exc):
        self.end()

    def end(self):
        self.ending.set()
        for t in self.threads:
            t.join()
        self.s.registered += [a.secret for a in self.apps]

    def wait_normal(self):
        """Until all workers are connected, and all clients content."""
        if self.s.log():
            wait_until("all connected", self.s.all_connected, self.patience)
        with self.lock:
            self.rows.clear()
        wait_until("all clients served as ever", lambda: (
            len(self.rows) == len(self.threads)
            and min(list(self.rows.values())) >= IN_A_ROW), self.patience)

    def strike(self):
        """The fault comes now, in the midst of some requests."""
        wait_until("requests in flight", lambda: len(self.open) >= 2)
        self.struck = time.monotonic()

    def suffer(self, seconds):
        """The fault lasts, for so long; nobody fails over it."""
        time.sleep(seconds)

    def over(self):
        """The fault is."""
        self.healed = time.monotonic()

    def heal(self):
        """It is over; wait until all is as it was."""
        if self.healed is None:
            self.over()
        self.wait_normal()
        self.end()

    # -- the account

    def during(self):
        """What was asked from the strike to the end of the fault."""
        until = self.healed or time.monotonic()
        return [a for a in self.asked if self.struck <= a.start < until]

    def statuses(self, kind):
        """That this kind got while the fault lasted, so far."""
        return {a.got for a in self.during() if a.kind == kind}

    def some(self, kind, status):
        """This kind gets that too, sooner or later, while the fault lasts."""
        wait_until(f"{status} for {kind}", lambda: (
            status in self.statuses(kind)), self.patience)

    def only(self, kind, status):
        """This kind gets that, and nothing else."""
        self.some(kind, status)
        assert self.statuses(kind) == {status}, (kind, self.statuses(kind))

    def served_from_the_cache(self):
        """What is in it, and it alone."""
        self.only("warm", 200)
        self.only("gate", 204)
        self.some("register", 503)
        self.some("stranger", 503)

    def lost(self):
        """What was acknowledged and is not there, or can't be used."""
        def usable(app):
            """A worker that is not connected yet can't know."""
            return wait_until("an answer", lambda: (
                r := self.s.get("/v1/whoami", app.auth()).status) != 503
                and r) == 200

        rows = {r[0] for r in self.s.sql("SELECT public_key FROM apps")}
        missing = [a.public for a in self.apps if a.public not in rows]
        parts = at_once(4, lambda i: [
            a.public for a in self.apps[i::4] if not usable(a)])
        stored = {user: i for user, i in self.s.sql(
            "SELECT user_id, (information->>'i')::int FROM users"
            " WHERE app_id = %s", self.app.id)}
        missing += [f"document {n}" for n, i in self.documents.items()
                    if stored.get(str(n), 0) < i]
        return missing + [p for part in parts for p in part]

    def figures(self):
        """Of the table, so far."""
        lost = self.lost()
        flight = [a for a in self.asked if a.start < self.struck <= a.end]
        late = [a.end for a in self.asked
                if not a.normal and a.end > self.struck]
        return {
            "in_flight": tally(flight),
            "meanwhile": tally(self.during()),
            "asked": len(self.asked),
            "acknowledged": len(self.apps) + len(self.documents),
            "wrong": len(self.wrong),
            "lost": len(lost),
            "hung": sum(a.got == HUNG for a in self.asked),
            "slowest_s": max(a.end - a.start for a in self.asked),
            "normal_s": max([0, *(t - self.healed for t in late)]),
            "fault_s": self.healed - self.struck,
        }

    def account(self):
        """The figures; what must never be is asserted."""
        figures = self.figures()
        print(json.dumps(figures))
        assert self.wrong == [], self.wrong[:5]
        assert figures["lost"] == 0, self.lost()[:5]
        assert self.odd == [], self.odd[:5]
        assert min(collections.Counter(
            a.kind for a in self.asked).values()) >= IN_A_ROW
        return figures


def tally(asked):
    """{"good": {"200": n}, "bad": …}: how many got what."""
    out = {}
    for a in asked:
        side = "bad" if a.kind in ("forged", "revoked", "replaced",
                                   "stranger") else "good"
        counts = out.setdefault(side, {})
        counts[str(a.got)] = counts.get(str(a.got), 0) + 1
    return out


def total(all_figures):
    """Of several accounts: sums, and the longest times."""
    out = {}
    for f in all_figures:
        for name, value in f.items():
            if isinstance(value, dict):
                for side, counts in value.items():
                    sums = out.setdefault(name, {}).setdefault(side, {})
                    for status, n in counts.items():
                        sums[status] = sums.get(status, 0) + n
            elif name.endswith("_s"):
                out[name] = max(out.get(name, 0), value)
            else:
                out[name] = out.get(name, 0) + value
    return out

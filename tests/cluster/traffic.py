"""The clients of tests/faults, on each of a site's nodes at once, and two
more: one asks with a key that is revoked while the fault lasts, one with a
secret that is replaced then."""
import collections
import datetime
import http.client
import re
import threading
import time

from clients import Clients
from lib.process import at_once, wait_until
from lib.tokens import ADMIN, App
from members import LONG
from ways import CACHE_TTL

OPERATOR = {"Authorization": "Bearer " + ADMIN}
WEEK = 7 * 86400
# How long a dead link may go unnoticed, by docs/operating.md; twice that, as
# the machine is shared.
UNNOTICED = 24


class Changes:
    """What the operator does while the fault lasts, through whichever node
    does it first."""

    def __init__(self, nodes):
        self.nodes = nodes
        first = next(iter(nodes.values()))
        self.victim, self.renewed = first.register(), first.register()
        self.revoking = self.revoked = None  # when it was asked for, and done
        self.rotating = self.rotated = None
        self.ending = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def ask(self, path, body=None):
        """Until a node has done it; its answer. None when it is given up."""
        while not self.ending.is_set():
            for node in self.nodes.values():
                try:
                    r = node.request("POST", path, OPERATOR, body, timeout=LONG)
                except (OSError, http.client.HTTPException):
                    continue
                if r.status == 200:
                    return r
                assert r.status == 503, r
            self.ending.wait(0.1)

    def run(self):
        self.revoking = time.monotonic()
        if self.ask(f"/v1/apps/{self.victim.public}/disable"):
            self.revoked = time.monotonic()
        self.rotating = time.monotonic()
        r = self.ask(f"/v1/apps/{self.renewed.public}/rotate",
                     {"grace_seconds": 0})
        if r:
            self.renewed = App(r.json())
            self.rotated = time.monotonic()
            for node in self.nodes.values():
                node.registered.append(self.renewed.secret)


class Mix(Clients):
    good = {"warm": 1, "gate": 1, "register": 1, "write": 1, "read": 1,
            "renewed": 1}
    bad = {"forged": 1, "revoked": 1, "replaced": 1, "stranger": 1,
           "victim": 1}
    pause, patience = 0.1, LONG

    def __init__(self, node, changes):
        self.changes = changes
        self.yes = []  # to the victim, so long after its revocation
        self.refused = []  # the renewed, by its new secret: request ids
        super().__init__(node)

    def request(self, kind, n, i):
        if kind not in ("victim", "renewed"):
            return super().request(kind, n, i)
        app = getattr(self.changes, kind)
        r = self.s.get("/v1/whoami", app.auth(exp=WEEK), timeout=LONG)
        if kind == "renewed" and r.status == 401:
            # By a secret that was being replaced, or is the one.
            if self.changes.rotated and app is self.changes.renewed:
                self.refused.append(r["X-Request-Id"])
            else:
                assert self.changes.rotating
            r.status = 200
        return r

    def note(self, kind, good, n, i, start, got, r, floor):
        done = self.changes.revoked
        if kind == "victim" and got == 200:
            if done and start > done:
                self.yes.append(time.monotonic() - done)
            got = 401
        super().note(kind, good, n, i, start, got, r, floor)

    # -- the account

    def unheard(self):
        """Of the refused, how many came of a link whose end had not been
        noticed. Any other is wrong: a worker that has noticed says 503, and
        after it has come back it knows the new secret."""
        wall = time.time() - time.monotonic() + (self.changes.rotated or 0)
        links, judged = {}, {}
        for line in self.s.log().splitlines():
            found = re.search(r"time=(\S+).* pid=(\d+) event=(\w+)", line)
            if not found:
                continue
            at, pid, event = found.groups()
            if event in ("database_up", "database_lost"):
                links[pid] = event, seconds(at)
            elif event == "request":
                asked = re.search(r" request_id=(\S+)", line)
                if asked and asked.group(1) in self.refused:
                    judged[asked.group(1)] = links[pid], seconds(at)
        assert judged.keys() == set(self.refused)
        for (event, since), at in judged.values():
            assert event == "database_up" and since < wall, judged
            assert at - wall < UNNOTICED, judged
        return len(judged)

    def failed(self):
        """{kind: how many} that were not answered as ever."""
        return dict(collections.Counter(
            a.kind if a.kind in self.good else "bad" for a in self.asked
            if not a.normal and a.end > self.struck))

    def figures(self):
        late = [a.end for a in self.asked
                if not a.normal and a.end > self.struck]
        return {**super().figures(), "failed": self.failed(),
                "yes_s": max(self.yes, default=0), "yes": len(self.yes),
                "back_s": max([0, *(t - self.struck for t in late)])}

    def account(self):
        figures = super().account()
        beyond = [t for t in self.yes if t > CACHE_TTL]
        assert beyond == [], beyond
        return {**figures, "unheard": self.unheard()}


def seconds(text):
    """Of a log line's time."""
    return datetime.datetime.fromisoformat(
        text.replace("Z", "+00:00")).timestamp()


class Course:
    """A fault's, seen from all nodes."""

    def __init__(self, site):
        self.cluster = site.cluster
        self.changes = Changes(site.nodes)
        self.mixes = {way: Mix(node, self.changes)
                      for way, node in site.nodes.items()}
        self.leader = None
        self.took = None  # seconds until there was another
        self.ending = threading.Event()
        self.watch = threading.Thread(target=self.look, daemon=True)

    def __enter__(self):
        try:
            self.each(Mix.__enter__)
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(self, *exc):
        self.end()

    def each(self, call):
        """Of all mixes at once."""
        mixes = list(self.mixes.values())
        return at_once(len(mixes), lambda i: call(mixes[i]))

    def end(self):
        self.changes.ending.set()
        self.ending.set()
        self.each(Mix.end)
        for t in (self.changes.thread, self.watch):
            if t.is_alive():
                t.join()

    def look(self):
        """Who leads, by Patroni's word."""
        while not self.ending.wait(0.1):
            m = self.cluster.leader_now()
            if m is not None and m is not self.leader and self.took is None:
                self.took = time.monotonic() - self.struck

    def strike(self):
        self.leader = self.cluster.leader()
        self.each(Mix.strike)
        self.struck = min(m.struck for m in self.mixes.values())
        self.watch.start()

    def operate(self):
        """The fault is there: what the operator does in it."""
        self.changes.thread.start()

    def suffer(self, seconds):
        time.sleep(seconds)

    def taken_over(self):
        wait_until("another leader", lambda: self.took is not None, LONG)

    def over(self):
        self.each(Mix.over)

    def heal(self):
        """Until all is as it was, also what the operator wanted done."""
        if any(mix.healed is None for mix in self.mixes.values()):
            self.over()
        self.each(Mix.wait_normal)
        wait_until("the operator's changes", lambda: self.changes.rotated
                   and self.changes.revoked, LONG)
        for mix in self.mixes.values():
            mix.s.becomes(self.changes.victim, 401)
            mix.s.becomes(self.changes.renewed, 200)
        self.end()

    def account(self, call=Mix.account):
        return {"took_s": self.took,
                "ways": dict(zip(self.mixes, self.each(call)))}

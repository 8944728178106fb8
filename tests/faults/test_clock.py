"""The clock is stepped, for Postern alone (libfaketime); what runs by the
monotonic clock goes on."""
import glob
import os
import time

import pytest

from clients import WEEK, Clients
from lib.process import SANITIZED, wait_until

fault = pytest.mark.fault
DAY = 86400


class Clock:
    """How far Postern's is from the machine's."""

    def __init__(self, scratch):
        self.dir = scratch.dir()
        self.path = self.dir / "offset"
        self.step(0)
        library, = glob.glob("/usr/lib/*/faketime/libfaketime.so.1")
        self.env = {"LD_PRELOAD": library, "FAKETIME_NO_CACHE": "1",
                    "FAKETIME_TIMESTAMP_FILE": str(self.path),
                    "FAKETIME_DONT_FAKE_MONOTONIC": "1"}

    def step(self, seconds):
        """Whole at once: it is read at each look at the clock."""
        new = self.dir / "new"
        new.write_text(f"{seconds:+d}")
        os.replace(new, self.path)


def rotated(s):
    """An app with its old secret, good for another hour."""
    app = s.register()
    r = s.request("POST", "/v1/app/rotate", app.auth(),
                  {"grace_seconds": 3600})
    assert r.status == 200
    s.registered.append(r.json()["secret_key"])
    return app


def stepped(s, clock, c, offsets):
    """Each token and key counts by the clock as it is then; but an old secret
    that was over may have been forgotten."""
    app, old, leased = s.register(), rotated(s), s.register()
    kept = {200}
    s.sql("UPDATE apps SET expires_at = now() + interval '1 hour'"
          " WHERE id = %s", leased.id)
    for offset in offsets:
        clock.step(offset)
        ahead = offset > 0

        def status(a, **kw):
            return s.get("/v1/whoami", a.auth(**kw)).status

        for _ in range(8):  # of each worker
            assert status(app, exp=600) == (401 if ahead else 200)
            assert status(old, exp=WEEK) in ({401} if ahead else kept)
            assert status(leased, exp=WEEK) == (401 if ahead else 200)
            assert status(app, exp=WEEK, nbf=int(time.time()) + 3600) == (
                200 if ahead else 401)
            assert status(app, exp=offset + 60) == 200
        c.suffer(0.2)
        if ahead:
            kept.add(401)


@pytest.mark.skipif(SANITIZED, reason="libfaketime is loaded before all else")
@fault("The clock stepped by a day, forth and back",
       "Tokens and terms count by the clock as it is; caches, time-outs and "
       "connections don't notice")
def test_clock_stepped(pg, scratch, site, record):
    clock = Clock(scratch)
    s = site(pg, env=clock.env)
    with Clients(s) as c:
        wait_until("all workers connected", s.all_connected)
        ups = len(s.log_lines("database_up"))
        c.strike()
        stepped(s, clock, c, (DAY, 0, -DAY, DAY, -DAY, 0))
        c.heal()
    assert all(a.normal for a in c.asked)
    assert len(s.log_lines("database_up")) == ups
    record(c.account())


@pytest.mark.skipif(SANITIZED, reason="libfaketime is loaded before all else")
@fault("The clock stepped again while Postgres is away",
       "Waits and retries are as long as ever")
def test_clock_stepped_without_a_database(pg, scratch, site, record):
    clock = Clock(scratch)
    s = site(pg, env=clock.env)
    with Clients(s) as c:
        c.strike()
        with s.database_away():
            for offset in (DAY, -DAY, 0):
                clock.step(offset)
                c.suffer(0.5)
            c.some("register", 503)
            c.only("warm", 200)
            c.over()
        c.heal()
    record(c.account())

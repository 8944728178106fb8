"""Three times what one worker can do, offered by the clock: it does as much as
before, the web server refuses the rest at once, and nobody waits longer than
the queue is.

Each document that is stored costs the same, by a trigger that sleeps: capacity
is the database's, and stays what it is on a busy machine."""
import asyncio
import collections
import contextlib

import pytest

from lib.process import BUILD, SANITIZED, wait_until
from lib.stack import Stack
from offered import Offer, goodput
from servers import Nginx

BACKLOG = 24
PATIENCE = 10  # of a client, in seconds; the whole queue takes less than one
SECONDS = 6

# What the web server says when the queue is full.
FULL = {"lighttpd": 500, "nginx": 502}

SLOW = """
CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN PERFORM pg_sleep(0.02); RETURN NEW; END';
CREATE TRIGGER slow BEFORE INSERT ON users
    FOR EACH ROW EXECUTE FUNCTION slow();
"""


@pytest.fixture(params=FULL)
def site(pg, request):
    with contextlib.ExitStack() as ends:
        s = front = ends.enter_context(Stack(
            pg, way="external" if request.param == "lighttpd" else "alone",
            workers=1, env={"POSTERN_BACKLOG": str(BACKLOG),
                            "POSTERN_LOG_LEVEL": "warn"}))
        if request.param == "nginx":
            front = ends.enter_context(Nginx(s, "contrib/nginx/postern.conf"))
        wait_until("ready", lambda: front.get("/readyz").status == 200)
        s.sql(SLOW)
        yield request.param, s, front


def report(name, peak, kept, answers):
    times = collections.defaultdict(list)
    for a in answers:
        times[a.status].append(a.took * 1000)
    with open(BUILD / "overload.txt", "a") as f:
        f.write(f"overload, {name}: peak {peak:.0f}/s, at 3x of it "
                f"{kept:.0%};")
        for status, took in sorted(times.items(), key=str):
            took.sort()
            f.write(f" {status}: {len(took)}, p50 {took[len(took) // 2]:.1f}"
                    f" max {took[-1]:.1f} ms;")
        f.write("\n")


def test_overload(site):
    name, s, front = site
    app = front.register()
    offer = Offer(front.port, app, PATIENCE)
    alone = asyncio.run(offer.closed(4, 4))
    assert all(a.good for a in alone)
    begun = min(a.begun for a in alone)
    peak = goodput(alone, begun + 1, begun + 4)

    answers = asyncio.run(offer.open(3 * peak, SECONDS))
    begun = min(a.begun for a in answers)
    kept = goodput(answers, begun + 1, begun + SECONDS) / peak
    report(name, peak, kept, answers)
    good = [a for a in answers if a.good]
    refused = [a for a in answers if not a.good]
    assert len(refused) > len(answers) // 2, "that was no overload"
    assert kept > 0.8
    assert {a.status for a in refused} <= {FULL[name], 503}
    # lighttpd tries again by itself, and may then wait in the queue with a
    # request that has lost its body; all others are refused before any that
    # waits there is served.
    queue = BACKLOG / peak
    late = [a for a in refused if a.took > queue / 2]
    assert len(late) < len(refused) * 0.1
    if not SANITIZED:
        assert max(a.took for a in answers) < 4 * queue

    # What was acknowledged is there, and nothing that was refused.
    stored = {u for u, in s.sql("SELECT user_id FROM users")}
    assert stored == {f"u{a.number}" for a in alone + good}
    assert front.get("/v1/whoami", app.auth()).status == 200

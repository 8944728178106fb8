#!/usr/bin/python3
"""freshness [TRIES [REGISTRATIONS]]: how soon every worker knows.

Under load, from the return of a DELETE, disable or rotate (grace 0) on one
worker until every other worker refuses; and whether an app that was registered
on one worker can be used on all at once. Workers are single processes on one
database, so that each can be asked.

For each try two times are taken over the other workers: `refused`, the latest
of their first refusals, which includes the request that it came with and those
before it in the worker's queue; and `stale`, when the last yes came after all,
0 if there was none: how long a revoked key was of use.
"""
import contextlib
import multiprocessing
import os
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from lib.client import Client  # noqa: E402
from lib.postgres import Postgres  # noqa: E402
from lib.process import BUILD, PATIENCE, Scratch  # noqa: E402
from lib.stack import Fleet  # noqa: E402

WORKERS = 4
LOAD = 2  # processes, each asking one worker after the other
KINDS = ("delete", "disable", "rotate")


def load(socks, auths, stop):
    clients = [Client(sock=s) for s in socks]
    n = 0
    while not stop.is_set():
        clients[n % len(clients)].request(
            "GET", "/v1/whoami", auths[n % len(auths)])
        n += 1


@contextlib.contextmanager
def loaded(fleet):
    """Load on every worker, by processes of their own."""
    auths = [fleet.register().auth(exp=3600) for _ in range(20)]
    context = multiprocessing.get_context("fork")
    stop = context.Event()
    processes = [context.Process(
        target=load, args=([s.sock for s in fleet.stacks], auths, stop))
        for _ in range(LOAD)]
    for p in processes:
        p.start()
    try:
        yield
        assert all(p.is_alive() for p in processes), "the load has failed"
    finally:
        stop.set()
        for p in processes:
            p.join(PATIENCE)
            if p.is_alive():
                p.kill()


def change(kind, client, app):
    if kind == "delete":
        r = client.request("DELETE", "/v1/app", app.auth())
    elif kind == "disable":
        r = client.admin("POST", f"/v1/apps/{app.public}/disable")
    else:
        r = client.request("POST", "/v1/app/rotate", app.auth(),
                           {"grace_seconds": 0})
    assert r.status in (200, 204), r


def one_revocation(fleet, kind, turn):
    """(refused, stale) in ms, over the other workers."""
    here = turn % len(fleet)
    app = fleet.register(here)
    auth = app.auth()
    others = [c for i, c in enumerate(fleet.stacks) if i != here]
    for c in others:
        assert c.request("GET", "/v1/whoami", auth).status == 200
    change(kind, fleet[here], app)
    start = time.monotonic()
    waiting = set(others)
    stale = refused = 0
    while waiting:
        for c in [c for c in others if c in waiting]:
            status = c.request("GET", "/v1/whoami", auth).status
            took = (time.monotonic() - start) * 1000
            if status == 401:
                waiting.discard(c)
                refused = took
            else:
                assert status == 200, status
                stale = took
            assert took < PATIENCE * 1000, f"{kind}: not refused"
    # Once refused, it stays so.
    assert [c.request("GET", "/v1/whoami", auth).status for c in others] == [
        401] * len(others)
    return refused, stale


def one_registration(fleet, turn):
    app = fleet.register(turn % len(fleet))
    auth = app.auth()
    statuses = [c.request("GET", "/v1/whoami", auth).status
                for c in fleet.stacks]
    assert statuses == [200] * len(fleet), statuses


def quantiles(values):
    values = sorted(values)
    return [values[int(q * (len(values) - 1))] for q in (0.5, 0.99, 1)]


def measure(pg, tries, registrations):
    """The table, as text."""
    lines = [f"Freshness, ms: {WORKERS} workers under load,"
             f" {os.cpu_count()} processors, {tries} tries of each kind",
             f"{'':12}{'refused p50':>13}{'p99':>8}{'max':>8}"
             f"{'stale p50':>13}{'p99':>8}{'max':>8}{'any stale':>11}"]
    with Fleet(pg, WORKERS) as fleet, loaded(fleet):
        for kind in KINDS:
            taken = [one_revocation(fleet, kind, i) for i in range(tries)]
            refused, stale = zip(*taken)
            lines.append(
                f"{kind:12}"
                + "{:13.2f}{:8.2f}{:8.2f}".format(*quantiles(refused))
                + "{:13.2f}{:8.2f}{:8.2f}".format(*quantiles(stale))
                + f"{sum(s > 0 for s in stale):>7} of {tries}")
        for i in range(registrations):
            one_registration(fleet, i)
    lines.append(f"registered on one worker, used at once on all: "
                 f"{registrations} apps, no refusal")
    return "\n".join(lines) + "\n"


def main():
    tries = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    registrations = int(sys.argv[2]) if len(sys.argv) > 2 else 10000
    scratch = Scratch()
    try:
        pg = Postgres(scratch)
        try:
            table = measure(pg, tries, registrations)
        finally:
            pg.stop()
    finally:
        scratch.remove()
    print(table, end="")
    (BUILD / "freshness.txt").write_text(table)


if __name__ == "__main__":
    main()

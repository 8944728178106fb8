#!/usr/bin/python3
"""make bench: Postern beside bare FastCGI programs and what people would use
instead, in interleaved rounds. BENCH_S: seconds that each is asked in a round
(10), BENCH_ROUNDS: rounds (5), BENCH_ONLY: a pattern of those to ask beside
hello (all). Prints the table; a run of 5 rounds with 5 s or more each, on a
machine that was left to it, writes docs/performance.md and
docs/performance.svg, another the same into BUILD/bench."""
import dataclasses
import math
import os
import re
import time

# First: it says where the others are.
from rig import (WHOLE, binary, directory, machine, median, put_block, table)
import plot
from candidates import APPS, ROTATION, Candidates
from lib.postgres import Postgres
from lib.process import Scratch

SECONDS = int(os.environ.get("BENCH_S", "10"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
ONLY = os.environ.get("BENCH_ONLY", "")
CONNECTIONS = 64


@dataclasses.dataclass
class Bound:
    """measure of one over measure of the other, within each round."""
    measure: str
    one: str
    other: str
    bound: float
    at_least: bool
    aim: float = None

    def judge(self, runs):
        value = median([getattr(r[self.one], self.measure)
                        / getattr(r[self.other], self.measure) for r in runs])

        def met(limit):
            return value >= limit if self.at_least else value <= limit

        sign = "≥" if self.at_least else "≤"
        verdict = "met" if met(self.bound) else "**missed**"
        if self.aim is not None:
            verdict += ", aim met" if met(self.aim) else ", aim missed"
        return [f"{self.one}: {NAMES[self.measure]} to {self.other}",
                f"{sign} {self.bound:.2f}"
                + (f" ({self.aim:.2f})" if self.aim else ""),
                f"{value:.2f}", verdict]


NAMES = {"rate": "requests", "cpu": "CPU a request", "p99": "p99"}
BOUNDS = [
    Bound("rate", "Postern", "hello", 1.20, True, 1.30),
    Bound("cpu", "Postern", "hello", 1.00, False, 0.90),
    Bound("rate", "Postern", "hello-early", 1.00, True),
    Bound("p99", "Postern", "hello", 1.20, False),
    Bound("rate", "Postern, nginx, kept", "hello, nginx", 0.90, True),
    Bound("rate", "Postern", "Go, own port, SELECT", 1.90, True),
    Bound("rate", "Postern", "Go, key map, lighttpd proxy", 2.50, True),
    Bound("rate", "Postern", "Go, key map, lighttpd FastCGI", 2.50, True),
    Bound("rate", "Postern", "Node, own port, key map", 1.40, True),
    Bound("rate", "Postern", "PHP-FPM, SELECT", 4.50, True),
    Bound("rate", "Postern", "PHP-FPM, APCu", 1.90, True),
    Bound("p99", "Postern, nginx, kept", "Postern, nginx", 2.00, False),
]


def one_round(candidates, number, pg):
    """{name: Result}. Each round begins with another, so that none always
    has the same one before it."""
    n = len(candidates.list)
    start = number * 7 % n
    results = {}
    for i in range(n):
        c = candidates.list[(start + i) % n]
        # Awake, its keys at hand, and at first what it compiles compiled.
        c.warm_up(1 if number else 3)
        r = results[c.name] = c.measure(SECONDS, CONNECTIONS, pg.process.pid)
        print(f"  {c.name:32}{r.rate:9,.0f}/s {r.cpu:7.1f} µs"
              f"  p50 {r.p50:6.2f}  p99 {r.p99:6.2f} ms"
              f"  others {r.noise:.1%}", flush=True)
        candidates.trim_logs()
    return results


def rows(runs):
    """The table's rows: medians, and ratios within the round."""
    out = []
    for name in runs[0]:
        def of(measure):
            return median([getattr(r[name], measure) for r in runs])

        def ratio(measure):
            return median([getattr(r[name], measure)
                           / getattr(r["hello"], measure) for r in runs])

        out.append((name, of("rate"), ratio("rate"), of("p50"), of("p99"),
                    of("cpu"), ratio("cpu")))
    return out


def ms(value):
    return "-" if math.isnan(value) else f"{value:.2f}"


def text(runs, order):
    found = {r[0]: r for r in rows(runs)}
    figures = table(
        ["who answers", "requests/s", "to hello", "p50 ms", "p99 ms",
         "CPU µs", "to hello"],
        [[n, f"{found[n][1]:,.0f}", f"{found[n][2]:.2f}", ms(found[n][3]),
          ms(found[n][4]), f"{found[n][5]:.0f}", f"{found[n][6]:.2f}"]
         for n in order])
    bounds = table(["what it must show", "bound (aim)", "found", ""],
                   [b.judge(runs) for b in BOUNDS
                    if {b.one, b.other} <= set(order)])
    return f"""\
{machine()}; {binary()}; {time.strftime('%Y-%m-%d')}. Medians of \
{len(runs)} interleaved rounds, each {SECONDS} s with wrk at {CONNECTIONS} \
connections; {APPS:,} apps, {ROTATION} in rotation. Ratios are taken within \
the round. CPU is that of the web server, the workers and Postgres together.

![Requests and CPU to hello](performance.svg)

{figures}

{bounds}
"""


def main():
    scratch = Scratch()
    try:
        pg = Postgres(scratch, ["track_activity_query_size=16384"])
        try:
            with Candidates(pg) as candidates:
                candidates.check()
                candidates.list[1:] = [c for c in candidates.list[1:]
                                       if re.search(ONLY, c.name)]
                print("each refuses forged tokens and takes good ones",
                      flush=True)
                order = [c.name for c in candidates.list]
                runs = []
                for i in range(ROUNDS):
                    print(f"round {i + 1} of {ROUNDS}", flush=True)
                    runs.append(one_round(candidates, i, pg))
                candidates.check()  # and still does
        finally:
            pg.stop()
    finally:
        scratch.remove()
    report = text(runs, order)
    print(report)
    out = directory(SECONDS >= WHOLE and ROUNDS >= 5 and not ONLY,
                    [r.noise for run in runs for r in run.values()])
    put_block(out / "performance.md", "make bench", report, "Performance")
    found = {r[0]: r for r in rows(runs)}
    (out / "performance.svg").write_text(plot.bars(
        [(n, found[n][2], found[n][6]) for n in order]))
    print(f"written: {out}/performance.md, performance.svg")


if __name__ == "__main__":
    main()

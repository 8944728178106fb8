"""Does the time of a refusal tell an unknown key from a known one, or how much
of a signature was right?

One run of build/timing interleaves two classes in one process. But where a
process happens to have its memory makes one class a few ns faster than the
other, now this one, now that one: a leak is what all processes agree on. So
each process, with keys and addresses of its own, is one observation, and
Welch's t is over their differences: for two equal groups taken in pairs it is
the mean over its standard error. With RUNS processes |t| > FOUND has a chance
of one in a thousand if there is nothing; what is found has to be found again
with twice as many, twice, before it counts. The controls must be found, or the
method sees nothing.
"""
import math
import statistics
import subprocess

import pytest

from lib.process import BUILD
from lib.stack import Stack

RUNS, FOUND, AGAIN = 10, 4.8, 2  # t of 9 degrees of freedom, p = 0.001
APPS = 64
CROPS = 3

# Pair, whether the keys are cold, samples a run, and the part of a decision's
# time that is no difference yet. None at all where a secret is at stake: what
# is told of a signature adds up. Of like keys, 2 %: that is a few accesses to
# memory, or a cache line of Postgres's, and a key has 256 bits to guess.
PAIRS = {
    "first wrong byte": ("position", False, 20000, 0),
    "unknown, warm": ("unknown", False, 20000, 0.02),
    "unknown, cold": ("unknown", True, 1000, 0.02),
    "same, warm": ("same", False, 20000, 0),
    "same, cold": ("same", True, 1000, 0),
}
CONTROLS = {
    "naive comparison": ("naive", False, 20000, 0),
    "more work, warm": ("more", False, 20000, 0.02),
    "more work, cold": ("more", True, 1000, 0.02),
}


@pytest.fixture(scope="module")
def measure(pg):
    with Stack(pg, way="external", workers=1) as s:
        apps = "".join(f"{a.public} {a.secret}\n"
                       for a in (s.register() for _ in range(APPS)))

        def run(pair, cold, samples):
            """The median, and the difference at each crop, in ns."""
            r = subprocess.run(
                [BUILD / "timing", pair, str(samples)], input=apps, text=True,
                capture_output=True, timeout=300, env={
                    "POSTERN_CONFIG": "", "POSTERN_LIMIT_FAILURES": "0",
                    "POSTERN_DATABASE_URL": pg.url(s.database),
                    "POSTERN_MASTER_KEY": s.master_key,
                    "POSTERN_CACHE_TTL": "3600",
                    "POSTERN_CACHE_SIZE": "0" if cold else "1000"})
            assert r.returncode == 0, r.stderr
            median, *differences = map(float, r.stdout.split())
            assert len(differences) == CROPS and median > 0
            return median, differences

        yield run


def welch(differences):
    error = statistics.stdev(differences) / math.sqrt(len(differences))
    return statistics.mean(differences) / error if error else math.inf


def look(measure, spec, runs, factor=1):
    """Whether there is a difference, and what was seen, at the crop that says
    most."""
    pair, cold, samples, part = spec
    seen = [measure(pair, cold, samples * factor) for _ in range(runs)]
    median = statistics.median(m for m, _ in seen)
    crops = [[d[i] for _, d in seen] for i in range(CROPS)]
    most = max(crops, key=lambda d: abs(welch(d)))
    t, difference = welch(most), statistics.mean(most)
    found = abs(t) > FOUND and abs(difference) > part * median
    return found, f"t {t:.1f}, {difference:.1f} ns of {median:.0f}"


@pytest.mark.parametrize("name", CONTROLS)
def test_controls_are_found(measure, name, record_property):
    seen = []
    for again in range(AGAIN + 1):
        found, text = look(measure, CONTROLS[name], RUNS << again)
        seen.append(text)
        if found:
            record_property("seen", text)
            print(f"{name}: {text}")
            return
    pytest.fail(f"{name}: not found: {seen}")


def no_difference(measure, name, factor, record_property):
    seen = []
    for again in range(AGAIN + 1):
        found, text = look(measure, PAIRS[name], RUNS << again, factor)
        seen.append(text)
        if not found:
            record_property("seen", text)
            print(f"{name}: {text}")
            return
    pytest.fail(f"{name}: {seen}")


@pytest.mark.covers("API2:2023", "ASVS-V6.2.8")
@pytest.mark.parametrize("name", PAIRS)
def test_no_difference(measure, name, record_property):
    no_difference(measure, name, 1, record_property)


@pytest.mark.long
@pytest.mark.parametrize("name", PAIRS)
def test_no_difference_in_many(measure, name, record_property):
    no_difference(measure, name, 10, record_property)

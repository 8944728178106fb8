#!/usr/bin/python3
"""table.py [--check]: docs/reliability.md's table, of the tests' names and
promises and of the figures that their last runs left; or whether it has a row
for each test, and no other."""
import contextlib
import io
import json
import os
import pathlib
import platform
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "bench")]
DOCUMENT = HERE.parents[1] / "docs" / "reliability.md"
HEAD = ["Fault", "Promised", "In flight when it came", "Asked while it lasted",
        "Wrong answers", "Lost acknowledgements", "Slowest answer",
        "Back to normal"]


FILES = ["test_database", "test_standby", "test_processes", "test_allocation",
         "test_clock", "test_log"]


class Collector:
    """Every test's row: (name, promise)."""

    def __init__(self):
        self.rows = []

    @pytest.hookimpl(tryfirst=True)  # before the long ones are left out
    def pytest_collection_modifyitems(self, items):
        for item in sorted(items, key=lambda i: FILES.index(
                i.module.__name__)):
            for mark in item.iter_markers("fault"):
                self.rows.append(mark.args)


def promised():
    found = Collector()
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        status = pytest.main(["--collect-only", "-q", str(HERE)], [found])
    names = [name for name, _ in found.rows]
    if status != 0 or not names or len(names) != len(set(names)):
        sys.exit(f"{out.getvalue()}\nno names, or one twice: {names}")
    return found.rows


def counts(answers):
    """`good: 200 12, 503 3; bad: 401 4`"""
    sides = []
    for side in ("good", "bad"):
        got = answers.get(side) or {}
        if got:
            sides.append(f"{side} " + ", ".join(
                f"{n:,} × {status}" for status, n in sorted(got.items())))
    return "; ".join(sides) or "none"


def seconds(s):
    return "at once" if s < 0.05 else f"{s:.1f} s"


def row(name, promise, f):
    asked = counts(f["meanwhile"]) if "meanwhile" in f else f["note"]
    if "meanwhile" in f and "note" in f:
        asked += f" ({f['note']})"
    return [name, promise, counts(f["in_flight"]), asked, f["wrong"],
            f"{f['lost']} of {f['acknowledged']:,}",
            f"{f['slowest_s']:.1f} s", seconds(f["normal_s"])]


def check():
    """Of the document as it is: its rows against the tests."""
    there = [tuple(c.strip() for c in line.split("|")[1:3])
             for line in DOCUMENT.read_text().splitlines()
             if line.startswith("| ")][2:]
    rows = promised()
    if there != rows:
        sys.exit(f"docs/reliability.md: missing {set(rows) - set(there)}, "
                 f"too many {set(there) - set(rows)}, or in another order: "
                 "tools/test long faults, then tests/faults/table.py")
    print(f"{len(rows)} rows")


def write():
    from rig import binary, machine, put_block, table

    build = pathlib.Path(os.environ.get("POSTERN_BUILD", "build"))
    figures = json.loads((build / "faults.json").read_text())
    rows = promised()
    missing = [name for name, _ in rows if name not in figures]
    if missing:
        sys.exit(f"not run: {missing}")
    text = table(HEAD, [row(name, promise, figures[name])
                        for name, promise in rows], len(HEAD))
    asked = sum(f["asked"] for f in figures.values())
    text += (f"\n\nIn all, {asked:,} requests. {binary()}; {machine()}; "
             f"Linux {platform.release()}.")
    put_block(DOCUMENT, "faults", text, "Reliability")
    print(f"{len(rows)} rows in {DOCUMENT}")


if __name__ == "__main__":
    if sys.argv[1:] == ["--check"]:
        check()
    elif sys.argv[1:]:
        sys.exit(__doc__)
    else:
        write()

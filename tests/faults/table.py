#!/usr/bin/python3
"""table.py [--check]: docs/reliability.md's table, of the tests' names and
promises and of the figures that their last runs left; or whether it has a row
for each test, and no other."""
import json
import os
import pathlib
import platform
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
from rows import check, figures_of, promised, put, seconds  # noqa: E402

HEAD = ["Fault", "Promised", "In flight when it came", "Asked while it lasted",
        "Wrong answers", "Lost acknowledgements", "Slowest answer",
        "Back to normal"]
FILES = ["test_database", "test_standby", "test_processes", "test_allocation",
         "test_clock", "test_log"]


def counts(answers):
    """`good: 200 12, 503 3; bad: 401 4`"""
    sides = []
    for side in ("good", "bad"):
        got = answers.get(side) or {}
        if got:
            sides.append(f"{side} " + ", ".join(
                f"{n:,} × {status}" for status, n in sorted(got.items())))
    return "; ".join(sides) or "none"


def row(name, promise, f):
    asked = counts(f["meanwhile"]) if "meanwhile" in f else f["note"]
    if "meanwhile" in f and "note" in f:
        asked += f" ({f['note']})"
    return [name, promise, counts(f["in_flight"]), asked, f["wrong"],
            f"{f['lost']} of {f['acknowledged']:,}",
            f"{f['slowest_s']:.1f} s", seconds(f["normal_s"])]


def write(rows):
    from rig import binary, machine, table

    build = pathlib.Path(os.environ.get("POSTERN_BUILD", "build"))
    figures = json.loads((build / "faults.json").read_text())
    text = table(HEAD, [row(*r) for r in figures_of(rows, figures)], len(HEAD))
    asked = sum(f["asked"] for f in figures.values())
    text += (f"\n\nIn all, {asked:,} requests. {binary()}; {machine()}; "
             f"Linux {platform.release()}.")
    put("faults", text, rows)


if __name__ == "__main__":
    if sys.argv[1:] not in ([], ["--check"]):
        sys.exit(__doc__)
    rows = promised(HERE, FILES)
    check("faults", rows) if sys.argv[1:] else write(rows)

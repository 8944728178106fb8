"""What the tables of docs/reliability.md have in common: a row for each test
that has a name and a promise, in the document between the marks of its suite."""
import contextlib
import io
import pathlib
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "bench"))
DOCUMENT = HERE.parents[1] / "docs" / "reliability.md"


class Collector:
    """Every test's row: (name, promise)."""

    def __init__(self, files):
        self.files = files
        self.rows = []

    @pytest.hookimpl(tryfirst=True)  # before the long ones are left out
    def pytest_collection_modifyitems(self, items):
        faults = [i for i in items if i.get_closest_marker("fault")]
        for item in sorted(faults, key=lambda i: self.files.index(
                i.module.__name__)):
            self.rows += [m.args for m in item.iter_markers("fault")]


def promised(suite, files):
    """The rows of the suite in this directory, by its files in order."""
    found = Collector(files)
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        status = pytest.main(["--collect-only", "-q", str(suite)], [found])
    names = [name for name, _ in found.rows]
    if status != 0 or not names or len(names) != len(set(names)):
        sys.exit(f"{out.getvalue()}\nno names, or one twice: {names}")
    return found.rows


def check(name, rows):
    """Of the document as it is: its rows against the tests."""
    text = DOCUMENT.read_text().partition(f"<!-- begin {name} -->")[2]
    text = text.partition(f"<!-- end {name} -->")[0]
    there = [tuple(c.strip() for c in line.split("|")[1:3])
             for line in text.splitlines() if line.startswith("| ")][2:]
    if there != rows:
        sys.exit(f"docs/reliability.md: missing {set(rows) - set(there)}, "
                 f"too many {set(there) - set(rows)}, or in another order: "
                 f"tools/test long {name}, then tests/{name}/table.py")
    print(f"{len(rows)} rows")


def figures_of(rows, figures):
    """Those of each row; that none has not been run."""
    missing = [name for name, _ in rows if name not in figures]
    if missing:
        sys.exit(f"not run: {missing}")
    return [(name, promise, figures[name]) for name, promise in rows]


def put(name, text, rows):
    from rig import put_block

    put_block(DOCUMENT, name, text, "Reliability")
    print(f"{len(rows)} rows in {DOCUMENT}")


def seconds(s):
    return "at once" if s < 0.05 else f"{s:.1f} s"

"""The table of faults is that of the tests."""
import os
import subprocess
import sys

from harness import REPO


def test_a_row_for_each_fault():
    r = subprocess.run(
        [sys.executable, REPO / "tests/faults/table.py", "--check"],
        capture_output=True, text=True, cwd=REPO,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"})
    assert r.returncode == 0, r.stderr
    assert int(r.stdout.split()[0]) > 20

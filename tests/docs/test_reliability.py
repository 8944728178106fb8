"""The tables of faults are those of the tests."""
import os
import subprocess
import sys

import pytest

from lib.process import REPO


@pytest.mark.parametrize("suite,least", [("faults", 20), ("cluster", 9)])
def test_a_row_for_each_fault(suite, least):
    r = subprocess.run(
        [sys.executable, REPO / f"tests/{suite}/table.py", "--check"],
        capture_output=True, text=True, cwd=REPO,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"})
    assert r.returncode == 0, r.stderr
    assert int(r.stdout.split()[0]) > least

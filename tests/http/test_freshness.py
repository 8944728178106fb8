"""tests/bench/freshness.py in short form: every worker refuses what was
revoked on another, and none refuses what was just registered. The times are
printed by tools/test, and judge nothing."""
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "bench"))

import freshness  # noqa: E402
from lib.process import BUILD  # noqa: E402


def test_freshness(pg):
    (BUILD / "freshness.txt").write_text(freshness.measure(pg, 60, 500))


@pytest.mark.long
def test_freshness_long(pg):
    (BUILD / "freshness.txt").write_text(freshness.measure(pg, 1000, 10000))

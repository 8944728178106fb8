"""What it has from other suites."""
import pathlib
import sys

TESTS = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / d) for d in ("fronts", "bench")]

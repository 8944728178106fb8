"""The fixtures are those of the HTTP suite."""
import pathlib
import sys

TESTS = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / d) for d in ("http", "fronts", "bench")]

from fixtures import pg, pytest_configure, scratch  # noqa: E402,F401

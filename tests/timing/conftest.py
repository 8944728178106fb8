"""The fixtures are those of the HTTP suite."""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "http"))

from fixtures import pg, pytest_configure, scratch  # noqa: E402,F401

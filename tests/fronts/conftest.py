import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "http")]

from fixtures import pg, pytest_configure, scratch  # noqa: E402,F401

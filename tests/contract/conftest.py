import pathlib
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "http")]

from fixtures import pg, pytest_configure, scratch  # noqa: E402,F401
from harness import Stack  # noqa: E402


@pytest.fixture(scope="module")
def site(pg):  # noqa: F811
    with Stack(pg) as s:
        yield s

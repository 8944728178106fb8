"""The fixtures that every suite shares."""
import contextlib

import pytest

from lib.postgres import Postgres
from lib.process import BUILD, Scratch


def pytest_configure(config):
    if not (BUILD / "postern.fcgi").exists():
        raise pytest.UsageError(f"{BUILD}/postern.fcgi is not there: make")


@pytest.fixture(scope="session")
def scratch():
    s = Scratch()
    yield s
    s.remove()


@pytest.fixture(scope="session")
def pg(scratch):
    p = Postgres(scratch)
    yield p
    p.discard()


@pytest.fixture()
def ends():
    with contextlib.ExitStack() as stack:
        yield stack

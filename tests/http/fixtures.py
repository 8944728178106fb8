"""The fixtures that every suite shares."""
import os
import pathlib

import pytest

from harness import Postgres, Scratch


@pytest.fixture(scope="session")
def scratch():
    s = Scratch()
    yield s
    s.remove()


@pytest.fixture(scope="session")
def pg(scratch):
    p = Postgres(scratch)
    yield p
    p.stop()


def pytest_configure(config):
    build = pathlib.Path(os.environ.get("POSTERN_BUILD", "build"))
    if not build.is_absolute():
        build = pathlib.Path(__file__).resolve().parents[2] / build
    if not (build / "postern.fcgi").exists():
        raise pytest.UsageError(f"{build}/postern.fcgi is not there: make")

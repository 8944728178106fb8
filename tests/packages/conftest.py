import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "http"))

from harness import Postgres, Scratch  # noqa: E402
import packaging_tools  # noqa: E402


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


@pytest.fixture(scope="session")
def installed(scratch):
    """A DESTDIR that `make install` filled."""
    return packaging_tools.install(scratch.dir() / "dest")


@pytest.fixture(scope="session")
def deb(scratch):
    """The Debian package, built in a copy of the tree."""
    return packaging_tools.build_package(scratch)


@pytest.fixture(scope="session")
def bundle():
    """The tarball, and what its making printed."""
    return packaging_tools.make_bundle()


@pytest.fixture(scope="session")
def bare_root():
    """A Debian root with nothing but its base system, kept below build/."""
    return packaging_tools.bare_root()

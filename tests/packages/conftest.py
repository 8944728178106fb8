import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "http"))

from fixtures import pg, pytest_configure, scratch  # noqa: E402,F401
import packaging_tools  # noqa: E402
from packaging_tools import debian_root  # noqa: E402


@pytest.fixture(scope="session")
def installed(scratch):  # noqa: F811
    """A DESTDIR that `make install` filled."""
    return packaging_tools.install(scratch.dir() / "dest")


@pytest.fixture(scope="session")
def deb(scratch):  # noqa: F811
    """The Debian package, built in a copy of the tree."""
    return packaging_tools.build_package(scratch)


@pytest.fixture(scope="session")
def bundle():
    """The tarball, and what its making printed."""
    return packaging_tools.make_bundle()


@pytest.fixture(scope="session")
def bare_root():
    """This release with nothing but its base system."""
    return packaging_tools.bare_root(debian_root.own_release())


@pytest.fixture(scope="session")
def other_root():
    """The same of the other release."""
    return packaging_tools.bare_root(debian_root.other_release())

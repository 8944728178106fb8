import pytest

import packaging_tools
from packaging_tools import debian_root


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
    """This release with nothing but its base system."""
    return packaging_tools.bare_root(debian_root.own_release())


@pytest.fixture(scope="session")
def other_root():
    """The same of the other release."""
    return packaging_tools.bare_root(debian_root.other_release())

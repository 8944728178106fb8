import contextlib
import functools
import os
import pathlib

import pytest

from harness import Postgres, Scratch, Stack


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


@pytest.fixture(scope="session", params=["external", "spawned"])
def both(pg, request):
    """Postern behind lighttpd, in each of the example's two ways."""
    with Stack(pg, way=request.param) as s:
        yield s


@pytest.fixture(scope="session")
def site(pg):
    """Postern as master and workers behind lighttpd."""
    with Stack(pg, env={"POSTERN_LOG_LEVEL": "debug"}) as s:
        yield s


@pytest.fixture(scope="session")
def alone(pg):
    """Postern without a web server, for the raw FastCGI client."""
    with Stack(pg, way="alone",
               env={"POSTERN_REQUEST_TIMEOUT": "2"}) as s:
        yield s


@pytest.fixture()
def app(site):
    return site.register()


@pytest.fixture()
def make_of():
    """Stacks with settings of their own, ended with the test."""
    stacks = []

    def new(pg, **kw):
        stacks.append(Stack(pg, **kw))
        return stacks[-1]

    yield new
    with contextlib.ExitStack() as ends:  # all, also when one complains
        for s in stacks:
            ends.callback(s.stop)


@pytest.fixture()
def make(pg, make_of):
    """The same, on the Postgres that all tests share."""
    return functools.partial(make_of, pg)


def pytest_configure(config):
    build = pathlib.Path(os.environ.get("POSTERN_BUILD", "build"))
    if not build.is_absolute():
        build = pathlib.Path(__file__).resolve().parents[2] / build
    if not (build / "postern.fcgi").exists():
        raise pytest.UsageError(f"{build}/postern.fcgi is not there: make")

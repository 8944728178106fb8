import contextlib

import pytest

from fixtures import pg, pytest_configure, scratch  # noqa: F401
from harness import Stack


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
def make(pg):
    """Stacks with settings of their own, ended with the test."""
    stacks = []

    def new(**kw):
        stacks.append(Stack(pg, **kw))
        return stacks[-1]

    yield new
    with contextlib.ExitStack() as ends:  # all, also when one complains
        for s in stacks:
            ends.callback(s.stop)

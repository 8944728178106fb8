import contextlib
import functools

import pytest

from lib.postgres import PgProxy, Postgres
from lib.stack import Fleet, Stack


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


@pytest.fixture(scope="session")
def own(scratch):
    """A Postgres that counts statements, and that a test may stop."""
    p = Postgres(scratch, ["shared_preload_libraries=pg_stat_statements",
                           "pg_stat_statements.track_planning=off"])
    p.sql("CREATE EXTENSION pg_stat_statements")
    yield p
    p.discard()


@pytest.fixture()
def fleet(pg, ends):
    def new(n, **kw):
        return ends.enter_context(Fleet(kw.pop("server", pg), n, **kw))
    return new


@pytest.fixture()
def proxied(pg, ends):
    """One worker behind a proxy, its SELECT prepared."""
    proxy = ends.enter_context(contextlib.closing(PgProxy(pg)))
    f = ends.enter_context(Fleet(pg, 1, url=proxy.url))
    f.proxy = proxy
    assert f[0].status(f.register()) == 200
    return f

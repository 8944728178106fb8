import pytest

import clients
from lib.stack import Stack


@pytest.fixture(scope="session")
def site(pg):
    """Postern behind lighttpd, the browser's example among its pages."""
    with Stack(pg) as s:
        clients.publish(s)
        yield s


@pytest.fixture(scope="session")
def app(site):
    return site.register("Zoë's \"first\" & co")


@pytest.fixture(scope="session", params=clients.CLIENTS,
                ids=lambda c: c.__name__.lower())
def client(request, scratch, site):
    c = request.param(scratch, site)
    yield c
    c.close()

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "http"))

from fixtures import pg, pytest_configure, scratch  # noqa: E402,F401
from harness import Stack  # noqa: E402
import clients  # noqa: E402


@pytest.fixture(scope="session")
def site(pg):  # noqa: F811
    """Postern behind lighttpd, the browser's example among its pages."""
    with Stack(pg) as s:
        clients.publish(s)
        yield s


@pytest.fixture(scope="session")
def app(site):
    return site.register("Zoë's \"first\" & co")


@pytest.fixture(scope="session", params=clients.CLIENTS,
                ids=lambda c: c.__name__.lower())
def client(request, scratch, site):  # noqa: F811
    c = request.param(scratch, site)
    yield c
    c.close()

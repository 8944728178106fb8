import pytest

from lib.stack import Stack


@pytest.fixture(scope="session")
def site(pg):
    """Postern and the console behind lighttpd, by the example."""
    with Stack(pg) as s:
        yield s

import pytest

from lib.stack import Stack


@pytest.fixture(scope="module")
def site(pg):
    with Stack(pg) as s:
        yield s

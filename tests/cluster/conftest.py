"""Fixtures; and the records of which table.py makes the table."""
import json
import pathlib
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "faults")]

from lib.process import BUILD  # noqa: E402
from members import Cluster  # noqa: E402
from ways import Site, here  # noqa: E402

RECORDS = BUILD / "cluster.json"


@pytest.fixture(scope="session")
def cluster(scratch):
    if missing := here():
        pytest.skip(f"not here: {', '.join(missing)}")
    c = Cluster(scratch)
    yield c
    c.end()


@pytest.fixture(scope="session")
def shared(cluster):
    s = Site(cluster)
    yield s
    s.end()


@pytest.fixture()
def site(shared):
    """A sound cluster, whatever the test before did."""
    shared.cluster.repair()
    return shared


@pytest.fixture()
def unfenced(site):
    """The same with no watchdog."""
    site.cluster.fence("off")
    yield site
    site.cluster.repair()
    site.cluster.fence("required")


@pytest.fixture()
def record(request):
    """Keep the figures of a fault, under its name."""
    name = request.node.get_closest_marker("fault").args[0]

    def keep(figures):
        kept = json.loads(RECORDS.read_text()) if RECORDS.exists() else {}
        RECORDS.write_text(json.dumps({**kept, name: figures}, indent=1))

    return keep

"""Fixtures; and the records of which table.py makes the table."""
import contextlib
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


@contextlib.contextmanager
def whole(scratch, fenced):
    if missing := here():
        pytest.skip(f"not here: {', '.join(missing)}")
    with contextlib.ExitStack() as ends:
        cluster = Cluster(scratch, fenced)
        ends.callback(cluster.end)
        site = Site(cluster)
        ends.callback(site.end)
        yield site


@pytest.fixture(scope="session")
def shared(scratch):
    with whole(scratch, True) as site:
        yield site


@pytest.fixture()
def site(shared):
    """A sound cluster, whatever the test before did."""
    shared.cluster.repair()
    return shared


@pytest.fixture()
def unfenced(scratch):
    """One without a watchdog, of its own: Patroni does not take a watchdog
    back that was turned off."""
    with whole(scratch, False) as site:
        yield site


@pytest.fixture()
def record(request):
    """Keep the figures of a fault, under its name."""
    name = request.node.get_closest_marker("fault").args[0]

    def keep(figures):
        kept = json.loads(RECORDS.read_text()) if RECORDS.exists() else {}
        RECORDS.write_text(json.dumps({**kept, name: figures}, indent=1))

    return keep

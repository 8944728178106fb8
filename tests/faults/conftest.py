"""Fixtures; and the records of which table.py makes the table."""
import json

import pytest

from lib.process import BUILD
from lib.stack import Stack

RECORDS = BUILD / "faults.json"
QUICK = {"POSTERN_CACHE_TTL": "60", "POSTERN_QUERY_TIMEOUT": "1",
         "POSTERN_LOG_LEVEL": "info"}


@pytest.fixture()
def site(ends):
    """A stack on a Postgres, ended with the test."""
    def new(server, kind=Stack, env=None, **kw):
        return ends.enter_context(
            kind(server, env={**QUICK, **(env or {})}, **kw))

    return new


@pytest.fixture()
def record(request):
    """Keep the figures of a fault, under its name."""
    name = request.node.get_closest_marker("fault").args[0]

    def keep(figures):
        kept = json.loads(RECORDS.read_text()) if RECORDS.exists() else {}
        RECORDS.write_text(json.dumps({**kept, name: figures}, indent=1))

    return keep

"""A gate's 429 reaches the client, and a good token passes all the same."""
import pytest

from gates import GATES, TcpStack, behind, each_gate  # noqa: F401
from lib.process import wait_until

FILE, SERVICE = "/private/page.html", "/service/x"


@pytest.fixture(scope="module")
def limited(pg):
    # Where the web server starts Postern each process counts for itself.
    with TcpStack(pg, env={"POSTERN_LIMIT_FAILURES": "2/3600"}) as s:
        yield s


@each_gate
def test_too_many_failures(gate, limited, behind):  # noqa: F811
    app, other = limited.register(), limited.register()
    with gate(limited, behind) as g:
        bad = app.auth(secret="0" * 64)
        wait_until("429", lambda: g.ask("GET", FILE, bad).status
                   == (429 if g.statuses else 401))
        seen = behind.service.seen
        for path in (FILE, SERVICE):
            for _ in range(4):
                r = g.ask("GET", path, bad)
                assert b"guarded" not in r.body
                if not g.statuses:
                    assert r.status == 401
                    continue
                assert r.status == 429, r
                assert 1 <= int(r["Retry-After"]) <= 1800
                assert len(r.all("Retry-After")) == 1
                if g.body:
                    assert r.code == "too_many_failures"
                    assert r.json()["status"] == 429
        assert behind.service.seen == seen
        for good in (app, other):
            assert g.ask("GET", FILE, good.auth()).status == 200
            assert g.ask("GET", SERVICE, good.auth()).status == 200

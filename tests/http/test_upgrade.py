"""A schema that is newer than the program: served on, unless a migration says
that only programs may that know more."""
import threading

import pytest

from lib.process import wait_until

FUTURE = """INSERT INTO postern_migrations (version, name, serves_from)
VALUES (900, '900_future', %s)"""


def told(stack):
    """As `postern migrate` ends each migration."""
    stack.sql("NOTIFY postern_apps, 'schema'")


def known(stack):
    return stack.sql("SELECT max(version) FROM postern_migrations")[0][0]


@pytest.mark.parametrize("serves_from,running", [
    (None, False), (None, True), (0, True), ("known", False),
    ("known", True)])
def test_newer_and_served(make, serves_from, running):
    stack = make()
    app = stack.register()
    own = known(stack)
    stack.sql(FUTURE, own if serves_from == "known" else serves_from)
    told(stack)
    if not running:
        stack.reload()
    stack.all_workers("ready", "/readyz", 200)
    assert stack.get("/v1/whoami", app.auth()).status == 200
    assert not stack.log_lines("database_lost")
    assert stack.tool("check").returncode == 0


@pytest.mark.parametrize("running", [False, True])
def test_newer_and_not_served(make, running):
    stack = make(env={"POSTERN_CACHE_TTL": "1"})
    app = stack.register()
    stack.warm(app)
    stack.sql(FUTURE, 900)
    if running:
        told(stack)
    else:
        stack.reload()
    stack.all_workers("not ready", "/readyz", 503)
    assert "schema_newer" in stack.get("/readyz").json()["detail"]
    wait_until("what was at hand is over", lambda: stack.get(
        "/v1/whoami", app.auth()).status == 503)
    assert any("schema_newer" in x for x in
               stack.log_lines("database_unavailable"))
    r = stack.tool("check", check=False)
    assert r.returncode == 1
    assert "install the newer one" in " ".join(r.stdout.split())
    # The newer program's schema goes back: then it is served again.
    stack.sql("DELETE FROM postern_migrations WHERE version = 900")
    stack.all_workers("ready", "/readyz", 200)
    stack.becomes(app, 200)


def test_an_old_table(make):
    """The column may not be there yet; all may serve then."""
    stack = make()
    stack.sql("ALTER TABLE postern_migrations DROP COLUMN serves_from")
    stack.reload()
    stack.all_workers("ready", "/readyz", 200)
    assert stack.tool("check").returncode == 0


def test_two_nodes(make, make_of, pg):
    """Under load: a newer schema that they may serve costs no request; one that
    they may not is refused by both, and by nothing but 503."""
    one = make(env={"POSTERN_CACHE_TTL": "1"})
    other = make_of(pg, database=one.database, env={
        "POSTERN_MASTER_KEY": one.master_key, "POSTERN_CACHE_TTL": "1"})
    app = one.register()
    seen = {"one": [], "other": []}
    end = threading.Event()

    def ask(name, stack):
        while not end.is_set():
            seen[name].append(stack.get("/v1/whoami", app.auth()).status)

    asking = [threading.Thread(target=ask, args=x)
              for x in (("one", one), ("other", other))]
    for t in asking:
        t.start()
    try:
        one.sql(FUTURE, known(one))
        told(one)
        wait_until("both served on", lambda: all(
            len(v) > 50 for v in seen.values()))
        assert {s for v in seen.values() for s in v} == {200}
        one.sql("UPDATE postern_migrations SET serves_from = 900"
                " WHERE version = 900")
        told(one)
        wait_until("unready", lambda: one.get("/readyz").status == 503)
        wait_until("refused", lambda: all(
            v[-1] == 503 for v in seen.values()))
    finally:
        end.set()
        for t in asking:
            t.join()
    assert {s for v in seen.values() for s in v} == {200, 503}

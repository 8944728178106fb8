"""Migrations beside the service, and beside those who hold what they need."""
import contextlib
import re
import threading
import time

import pytest

from lib.process import wait_until
from lib.tokens import made_up
from test_times import take_back


def version(s):
    return s.sql("SELECT max(version) FROM postern_migrations")[0][0]


@contextlib.contextmanager
def held(s, *statements, name="a long reader"):
    """A session in whose transaction these were done."""
    c = s.pg.connect(s.database)
    try:
        cur = c.cursor()
        cur.execute("SET application_name = %s", (name,))
        cur.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        for text in statements:
            cur.execute(text)
        yield c
    finally:
        c.close()


class ColdKeys:
    """Requests that each need the database, as fast as they come; what is not
    answered as it should be is kept."""

    def __init__(self, s, threads=3):
        self.s, self.wrong, self.done = s, [], 0
        self.slowest = 0
        self.apps = [s.register() for _ in range(20)]
        self.ended = threading.Event()
        self.threads = [threading.Thread(target=self.run, args=(i,))
                        for i in range(threads)]

    def run(self, i):
        n = i
        while not self.ended.is_set():
            n += 1
            known = n % 4 == 0
            app = self.apps[n % len(self.apps)] if known else made_up()
            start = time.monotonic()
            # Its app's row is read for each.
            r = self.s.get("/v1/app" if known else "/v1/whoami", app.auth())
            self.slowest = max(self.slowest, time.monotonic() - start)
            self.done += 1
            if r.status != (200 if known else 401):
                self.wrong.append((r.status, r.body))

    def __enter__(self):
        for t in self.threads:
            t.start()
        return self

    def __exit__(self, *exc):
        self.ended.set()
        for t in self.threads:
            t.join()


def test_behind_a_dump(make):
    """Nobody is refused while a migration waits, and it is done in the end."""
    s = make()
    take_back(s)
    done = {}

    def migrate():
        done["got"] = s.tool("migrate", "--wait", "60", check=False)

    with ColdKeys(s) as load, held(s, "SELECT count(*) FROM apps",
                                   name="pg_dump") as dump:
        t = threading.Thread(target=migrate)
        t.start()
        wait_until("it waits", lambda: s.sql(
            "SELECT 1 FROM pg_locks WHERE NOT granted"
            " AND mode = 'AccessExclusiveLock'"))
        before = load.done
        until = time.monotonic() + 6
        wait_until("requests meanwhile", lambda: load.done > before + 200
                   and time.monotonic() > until)
        assert version(s) < 10
        pid = dump.info.backend_pid
        dump.close()
        t.join()
    got = done["got"]
    assert got.returncode == 0, got
    assert f"waits for process {pid} (pg_dump, owner), since 20" in got.stderr
    assert load.wrong == [] and load.slowest < 2
    assert "applied 010" in got.stdout


TABLES = ["apps", "app_uses", "users", "invites", "used_jtis", "app_events"]


@pytest.mark.parametrize("table", TABLES)
def test_who_is_in_the_way(make, table):
    s = make(way="idle")
    take_back(s)
    with held(s, f"SELECT count(*) FROM {table}") as c:
        got = s.tool("migrate", "--wait", "0", check=False)
        assert (got.returncode, version(s)) == (1, 9)
        assert (f"process {c.info.backend_pid} (a long reader, owner), since"
                in got.stderr) and f"on {table}" in got.stderr
        assert "pg_terminate_backend" in got.stderr
        assert "query_failed" not in got.stderr
        assert not re.search("CONTEXT|LOCK TABLE", got.stderr)
        # What only reads is in no one's way.
        s.tool("check", check=False)
    assert "applied 012" in s.tool("migrate").stdout


def test_a_row_in_the_way(make):
    """Of which a time has to be repaired."""
    s = make()
    take_back(s)
    app = s.register()
    s.sql("UPDATE apps SET disabled_at = 'infinity' WHERE id = %s", app.id)
    with held(s, f"SELECT FROM apps WHERE id = {app.id} FOR UPDATE"):
        got = s.tool("migrate", "--wait", "1", check=False)
        assert (got.returncode, "held up by process" in got.stderr) == (1, True)
        s.becomes(app, 401)
    s.tool("migrate")
    s.becomes(app, 401)


def test_another_migrate_in_the_way(make):
    s = make(way="idle")
    take_back(s)
    with held(s, "SELECT pg_advisory_xact_lock(7306085901294862)"):
        got = s.tool("migrate", "--wait", "0", check=False)
        assert got.returncode == 1 and "on another migrate" in got.stderr
    s.tool("migrate")


def test_what_fails_is_not_tried_again(make):
    s = make(way="idle")
    take_back(s)
    s.sql("ALTER TABLE apps ADD CONSTRAINT apps_finite_times CHECK (true)")
    start = time.monotonic()
    got = s.tool("migrate", check=False)
    assert got.returncode == 1 and "apps_finite_times" in got.stderr
    assert "waits" not in got.stderr and time.monotonic() - start < 10


def test_granted_beside_a_reader(make):
    s = make(way="idle")
    with held(s, *(f"SELECT count(*) FROM {t}" for t in TABLES)):
        assert "granted server" in s.tool("migrate", "--grant", "server",
                                          "--wait", "0").stdout


@pytest.mark.parametrize("value", ["-1", "x", "86401", ""])
def test_bad_patience(make, value):
    got = make(way="idle").tool("migrate", "--wait", value, check=False)
    assert got.returncode == 2 and "--wait" in got.stderr


@pytest.mark.parametrize("statement,table", [
    ("SELECT count(*) FROM apps", "apps"),
    ("LOCK TABLE users IN ROW EXCLUSIVE MODE", "users"),
    ("LOCK TABLE invites IN ROW EXCLUSIVE MODE", "invites"),
    ("LOCK TABLE used_jtis IN ROW EXCLUSIVE MODE", "used_jtis"),
    ("LOCK TABLE app_uses IN ROW EXCLUSIVE MODE", "app_uses"),
])
def test_rights_wait(make, statement, table):
    """For those who read apps, and who write the others."""
    s = make(way="idle")
    s.sql("DELETE FROM postern_migrations WHERE version >= 14")
    with held(s, statement):
        got = s.tool("migrate", "--wait", "0", check=False)
        assert (got.returncode, version(s)) == (1, 13)
        assert f"on {table}" in got.stderr
    s.tool("migrate")

"""Uses of very many keys: written in pieces, with requests between, and none
of them lost."""
import contextlib
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "bench"))

import rig  # noqa: E402
from lib.client import Client  # noqa: E402
from lib.process import SANITIZED, wait_until  # noqa: E402

MANY = 16384  # what a worker notes before it writes without waiting
PIECE = 512

WATCH = """
CREATE TABLE pieces (n bigint NOT NULL);
CREATE TABLE broken ();
CREATE FUNCTION watch() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    IF (SELECT count(*) FROM pieces) = 4 AND EXISTS (SELECT FROM broken) THEN
        RAISE 'no more';
    END IF;
    INSERT INTO pieces SELECT count(*) FROM written;
    PERFORM pg_sleep(0.02);
    RETURN NULL;
END $$;
CREATE TRIGGER watch AFTER INSERT ON app_uses
    REFERENCING NEW TABLE AS written
    FOR EACH STATEMENT EXECUTE FUNCTION watch();
"""


class Used:
    """One process that has seen many apps once."""

    def __init__(self, make, *more):
        self.s = make(way="alone", workers=0, env={
            "POSTERN_CACHE_SIZE": "20000", "POSTERN_CACHE_TTL": "600",
            "POSTERN_LOG_LEVEL": "error"})
        self.client = Client(sock=self.s.sock)
        self.s.sql(";".join([WATCH, *more]))
        self.first = self.client.register()
        self.s.registered.append(self.first.secret)
        apps = rig.new_apps(MANY)
        rig.insert_apps(self.s, apps)
        self.auths = [a.auth(exp=3600) for a in apps]
        self.use(self.auths)

    def use(self, auths):
        for auth in auths:  # so many that reading the answers would take long
            self.client.send("GET", "/v1/whoami", auth)
            r = self.client.kept.output()
            assert r.startswith(b"Status: 200 "), r

    def written(self):
        return self.s.sql("SELECT count(*) FROM app_uses"
                          " WHERE last_used_at IS NOT NULL")[0][0]

    def pieces(self):
        return [n for n, in self.s.sql("SELECT n FROM pieces")]

    def end(self):
        self.client.close()
        self.s.process.terminate()
        assert self.s.process.wait(300 if SANITIZED else 60) == 0


def test_requests_come_between_the_pieces(make):
    u = Used(make)
    seen = set()
    with contextlib.closing(u.s.pg.connect(u.s.database)) as c:
        cur, until = c.cursor(), time.monotonic() + 60

        # A request is always waiting, or about to: wait_until would sleep.
        while time.monotonic() < until:
            u.use(u.auths[:1])
            cur.execute("SELECT count(*), sum(n) FROM pieces")
            n, written = cur.fetchone()
            seen.add(n)
            if written is not None and written >= MANY:
                break
    assert u.written() == MANY
    assert len(seen) > MANY // PIECE // 4
    assert max(u.pieces()) <= PIECE
    # A new round has begun: what is used again is written again, by a process
    # that ends too.
    u.s.sql("UPDATE app_uses SET last_used_at = '2000-01-01'")
    u.use(u.auths[::8])
    u.end()
    assert u.s.sql("SELECT count(*) FROM app_uses"
                   " WHERE last_used_at > '2001-01-01'") == [(MANY // 8,)]


def test_a_piece_that_fails_is_written_later(make):
    """Those after it too, and what was used meanwhile."""
    u = Used(make, "INSERT INTO broken DEFAULT VALUES")
    wait_until("some pieces", lambda: len(u.pieces()) == 4)
    assert u.written() == sum(u.pieces()) < MANY
    u.use(u.auths[:100])
    u.client.request("GET", "/v1/whoami", u.first.auth())
    u.s.sql("TRUNCATE broken")
    u.end()
    assert u.written() == MANY + 1
    assert max(u.pieces()) <= PIECE

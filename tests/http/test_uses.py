"""Uses of very many keys: written in pieces, with requests between, and none
of them lost."""
import bisect
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
CREATE TABLE pieces (n bigint NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp());
CREATE TABLE broken ();
CREATE FUNCTION watch() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    IF (SELECT count(*) FROM pieces) = 4 AND EXISTS (SELECT FROM broken) THEN
        RAISE 'no more';
    END IF;
    INSERT INTO pieces (n) SELECT count(*) FROM written;
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
        self.times = []  # of answers
        self.s.sql(";".join([WATCH, *more]))
        self.first = self.client.register()
        self.s.registered.append(self.first.secret)
        apps = rig.new_apps(MANY)
        rig.insert_apps(self.s, apps)
        self.auths = [a.auth(exp=3600) for a in apps]
        self.use(self.auths)

    def use(self, auths):
        for auth in auths:
            self.client.send("GET", "/v1/whoami", auth)
            self.answered(self.client)

    def answered(self, client):
        """So many that reading the answers whole would take long."""
        r = client.kept.output()
        self.times.append(time.time())
        assert r.startswith(b"Status: 200 "), r

    def use_on(self, times):
        """One key, so often; a request is always there to be served."""
        with contextlib.closing(Client(sock=self.s.sock)) as other:
            one, next_one = self.client, other
            one.send("GET", "/v1/whoami", self.auths[0])
            for _ in range(times):
                next_one.send("GET", "/v1/whoami", self.auths[0])
                self.answered(one)
                one, next_one = next_one, one
            self.answered(one)

    def between(self):
        """Between how many of the pieces a request was answered."""
        ats = [at for at, in self.s.sql(
            "SELECT extract(epoch FROM at)::float8 FROM pieces ORDER BY at")]
        return len({bisect.bisect(ats, t) for t in self.times}
                   & set(range(1, len(ats))))

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

    def all_written():
        u.use_on(50)
        return u.written() >= MANY

    wait_until("written", all_written, 60)
    assert u.between() > MANY // PIECE // 4
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

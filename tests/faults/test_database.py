"""Postgres stops, hangs, refuses, is full, or can't be reached."""
import contextlib
import os
import shutil
import signal
import subprocess
import threading
import time

import psycopg2
import pytest

from clients import Clients
from lib.postgres import PgProxy
from lib.process import wait_until
from lib.standby import Node

fault = pytest.mark.fault
OUTAGE = 1.5  # seconds, of the short ones
WARM = "Keys in the cache verify, all else is 503 at once"
NEVER = "until it is back"


@pytest.fixture(scope="module")
def node(scratch):
    n = Node(scratch)
    yield n
    n.end()


@pytest.fixture()
def server(node):
    """A Postgres that may be stopped."""
    if not node.running():
        node.start()
    return node


def stopped(s, server, record, sig, outage):
    with Clients(s) as c:
        c.strike()
        server.stop(sig)
        c.suffer(outage)
        c.served_from_the_cache()
        server.start()
        c.heal()
    record(c.account())


@fault("Postgres stopped (fast)", f"{WARM}, {NEVER}")
def test_stopped_fast(server, site, record):
    stopped(site(server), server, record, signal.SIGINT, OUTAGE)


@fault("Postgres stopped (immediate)", f"{WARM}, {NEVER}")
def test_stopped_immediate(server, site, record):
    stopped(site(server), server, record, signal.SIGQUIT, OUTAGE)


@pytest.mark.long
@fault("Postgres stopped for longer than the cache keeps keys",
       "From then on all is 503, nothing is let in")
def test_stopped_long(server, site, record):
    s = site(server, env={"POSTERN_CACHE_TTL": "5"})
    with Clients(s) as c:
        c.strike()
        server.stop(signal.SIGINT)
        c.suffer(20)
        assert c.statuses("warm") == {200, 503}
        last = [a for a in c.during() if a.start > c.struck + 10]
        assert {a.got for a in last} == {503}
        server.start()
        c.heal()
    record(c.account())


@fault("Postgres stopped (smart)",
       "Nothing, as it waits for its sessions; when they have ended, "
       "503 until it is back")
def test_stopped_smart(server, site, record):
    s = site(server)
    with Clients(s) as c:
        c.strike()
        server.process.send_signal(signal.SIGTERM)
        c.suffer(1)
        assert all(a.normal for a in c.during()) and server.running()
        s.process.send_signal(signal.SIGHUP)  # other workers, new sessions
        wait_until("its end", lambda: not server.running())
        c.suffer(1)
        server.start()
        c.heal()
    record(c.account())


@fault("Postgres restarted", "503 for what needs it meanwhile")
def test_restarted(server, site, record):
    with Clients(site(server)) as c:
        c.strike()
        server.stop(signal.SIGINT)
        server.start()
        c.heal()
    record(c.account())


@fault("Postgres killed (SIGKILL, all of it)", f"{WARM}, {NEVER}")
def test_killed(server, site, record):
    with Clients(site(server)) as c:
        c.strike()
        server.kill()
        c.suffer(OUTAGE)
        c.served_from_the_cache()
        server.start()
        c.heal()
    record(c.account())


def paused(s, server, record, outage):
    with Clients(s) as c:
        c.strike()
        server.hang()
        c.suffer(outage)
        c.served_from_the_cache()
        server.go_on()
        c.heal()
    record(c.account())


PAUSED = "As when it is stopped, once a query has timed out on each worker"


@fault("Postgres paused (SIGSTOP)", PAUSED)
def test_paused(server, site, record):
    paused(site(server), server, record, 3)


@pytest.mark.long
@fault("Postgres paused (SIGSTOP) for half a minute", PAUSED)
def test_paused_long(server, site, record):
    paused(site(server), server, record, 30)


@fault("Postgres refuses connections (the database allows none)",
       f"{WARM}, {NEVER}")
def test_database_refuses(server, site, record):
    s = site(server)
    with Clients(s) as c:
        c.strike()
        with s.database_away():
            c.suffer(OUTAGE)
            c.served_from_the_cache()
            c.over()
        c.heal()
    record(c.account())


def cut_off(server, s):
    """End the sessions of Postern, until it has none left."""
    server.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
               f" WHERE datname = '{s.database}' AND usename = 'server'"
               " AND application_name = 'postern'")


@fault("Postgres refuses connections (pg_hba)", f"{WARM}, {NEVER}")
def test_hba_refuses(server, site, record):
    s = site(server)
    hba = server.dir / "data" / "pg_hba.conf"
    allowed = hba.read_text()
    with Clients(s) as c:
        c.strike()
        server.refuse("server")
        try:
            cut_off(server, s)
            c.suffer(OUTAGE)
            c.served_from_the_cache()
        finally:
            hba.write_text(allowed)
            server.sql("SELECT pg_reload_conf()")
        c.heal()
    record(c.account())


@fault("Out of connections (the role's limit)", f"{WARM}, {NEVER}")
def test_role_limit(server, site, record):
    s = site(server)
    with Clients(s) as c:
        c.strike()
        server.sql("ALTER ROLE server CONNECTION LIMIT 0")
        try:
            cut_off(server, s)
            c.suffer(OUTAGE)
            c.served_from_the_cache()
        finally:
            server.sql("ALTER ROLE server CONNECTION LIMIT -1")
        c.heal()
    record(c.account())


class Hog:
    """Takes every connection that Postgres has for such as us."""

    def __init__(self, server, database):
        self.server, self.database = server, database
        self.taken = []
        self.ending = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self):
        while not self.ending.is_set():
            try:
                self.taken.append(
                    self.server.connect(self.database, "server"))
            except psycopg2.OperationalError:
                self.ending.wait(0.01)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *exc):
        self.ending.set()
        self.thread.join()
        for c in self.taken:
            c.close()


@fault("Out of connections (max_connections)",
       "503 for what needs a connection, until one is free")
def test_max_connections(scratch, site, record):
    server = Node(scratch, ["max_connections=12"])
    try:
        s = site(server)
        with Clients(s) as c:
            c.strike()
            with Hog(server, s.database) as hog:
                def all_taken():
                    cut_off(server, s)
                    return len(hog.taken) == 12 - 3  # the superuser's

                wait_until("all connections taken", all_taken)
                c.suffer(OUTAGE)
                c.some("register", 503)
            c.heal()
        record(c.account())
    finally:
        server.end()


@contextlib.contextmanager
def small_disk(server, mib):
    """A file system of that size for Postgres."""
    d = server.scratch.dir() / "disk"
    d.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mib}m,mode=777",
                    "postern-test", d], check=True)
    try:
        yield d
    finally:
        subprocess.run(["umount", "-l", d], check=True)


def fill(d):
    """The disk, to its last byte."""
    with open(d / "filler", "wb", buffering=0) as f:
        with contextlib.suppress(OSError):
            while f.write(bytes(65536)):
                pass
        with contextlib.suppress(OSError):
            while f.write(b"0"):
                pass
    return d / "filler"


needs_root = pytest.mark.skipif(
    os.getuid() != 0, reason="needs root, to mount a small file system")


@needs_root
@fault("Disk full (tables)",
       "503 for what can't be stored; what is there is served")
def test_tables_full(scratch, site, record):
    server = Node(scratch)
    try:
        with small_disk(server, 64) as disk:
            if os.getuid() == 0:
                shutil.chown(disk, "www-data")
            server.sql(f"CREATE TABLESPACE small LOCATION '{disk}'")
            server.sql("CREATE DATABASE full_one TABLESPACE small")
            server.migrate("full_one")
            s = site(server, database="full_one")
            with Clients(s) as c:
                c.strike()
                filler = fill(disk)
                c.some("register", 503)
                c.suffer(OUTAGE)
                assert c.statuses("warm") == {200}
                assert c.statuses("stranger") <= {401}
                assert "sqlstate=53100" in s.log()
                filler.unlink()
                c.heal()
            record(c.account())
            s.stop()
            server.end()
    finally:
        server.end()


@needs_root
@fault("Disk full (write-ahead log), which ends Postgres",
       f"{WARM}, until there is room and it is started again")
def test_wal_full(scratch, site, record):
    server = Node(scratch, ["min_wal_size=32MB", "max_wal_size=32MB",
                            "wal_recycle=off"])
    try:
        with small_disk(server, 128) as disk:
            server.stop()
            wal = server.dir / "data" / "pg_wal"
            subprocess.run(["cp", "-a", wal, disk], check=True)
            shutil.rmtree(wal)
            wal.symlink_to(disk / "pg_wal")
            server.start()
            s = site(server)
            with Clients(s) as c:
                c.strike()
                filler = fill(disk)

                def dead():
                    with contextlib.suppress(psycopg2.Error):
                        server.sql("SELECT pg_switch_wal()")
                    return not server.running()

                wait_until("Postgres gives up", dead)
                c.suffer(1)
                c.served_from_the_cache()
                filler.unlink()
                server.start()
                c.heal()
            record(c.account())
            s.stop()
            server.end()
    finally:
        server.end()


HANGS = ("503 for what needs it, when the server's time-out is over; all else "
         "goes on, and the connection stays")


@fault("A statement that hangs (a lock)", HANGS)
def test_lock_held(server, site, record):
    s = site(server)
    c0 = server.connect(s.database)
    c0.autocommit = False
    with Clients(s) as c:
        c.strike()
        c0.cursor().execute(
            "LOCK TABLE apps, users IN ACCESS EXCLUSIVE MODE")
        c.suffer(3)
        c.some("warm", 200)
        c.some("register", 503)
        c.some("stranger", 503)
        c0.rollback()
        c.heal()
    c0.close()
    record(c.account())


@fault("A row that somebody has locked",
       "503 for who writes that row, when the server's time-out is over; "
       "nothing else")
def test_row_held(server, site, record):
    s = site(server)
    c0 = server.connect(s.database)
    c0.autocommit = False
    with Clients(s) as c:
        losses = len(s.log_lines("database_lost"))
        c.strike()
        c0.cursor().execute(
            "UPDATE users SET version = version WHERE app_id = %s",
            (c.app.id,))
        c.suffer(4)
        c.some("write", 503)
        assert {a.got for a in c.during() if a.kind != "write"} <= {
            200, 201, 204, 401}
        c0.rollback()
        c.heal()
        assert len(s.log_lines("database_lost")) == losses
    c0.close()
    record(c.account())


@fault("A statement that hangs (a trigger that sleeps)", HANGS)
def test_trigger_sleeps(server, site, record):
    s = site(server)
    with Clients(s) as c:
        c.strike()
        s.sql("CREATE FUNCTION doze() RETURNS trigger LANGUAGE plpgsql AS"
              " 'BEGIN PERFORM pg_sleep(60); RETURN NEW; END';"
              "CREATE TRIGGER doze BEFORE INSERT ON apps"
              " FOR EACH ROW EXECUTE FUNCTION doze()")
        c.suffer(3)
        c.some("warm", 200)
        c.some("register", 503)
        s.sql("DROP TRIGGER doze ON apps")
        c.heal()
    record(c.account())


class Wire(PgProxy):
    """A proxy that can stop to forward, without a word to either side; such a
    connection stays dead."""

    def __init__(self, pg):
        self.dead = set()
        self.mute = False
        super().__init__(pg)

    def silence(self):
        with self.lock:
            self.mute = True
            self.dead |= {s for pair in self.connections for s in pair}

    def speak(self):
        with self.lock:
            self.mute = False

    def pump(self, source, sink):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if self.mute:
                    self.dead |= {source, sink}
                if source not in self.dead:
                    sink.sendall(data)
        self.shut(source, sink)

    def message(self, client, message):
        if not self.mute and client not in self.dead:
            super().message(client, message)


def cut_silently(server, site, record, sever):
    wire = Wire(server)
    try:
        database = server.database()
        s = site(server, database=database,
                 env={"POSTERN_DATABASE_URL": wire.url(database)})
        with Clients(s) as c:
            c.strike()
            sever(wire)
            c.suffer(4)  # longer than what a worker waits for an answer
            c.some("register", 503)
            c.only("warm", 200)
            wire.lose = ""
            wire.speak()
            c.heal()
        record(c.account())
        s.stop()
    finally:
        wire.close()


@fault("The connection cut without a word, both ways",
       "503 after the query's time-out; a new connection as soon as there is "
       "a way")
def test_cut_both_ways(server, site, record):
    cut_silently(server, site, record, Wire.silence)


@fault("Postgres' answers lost, while it does what it is told",
       "503, never a 201 without its answer; a new connection as soon as "
       "there is a way")
def test_answers_lost(server, site, record):
    def lose(wire):
        wire.lose = "".join(map(chr, range(256)))

    cut_silently(server, site, record, lose)


def storm(server, s, ending, sent):
    """Notifications of unknown keys, one after the other, and of all keys
    now and then."""
    c = server.connect(s.database)
    cur = c.cursor()
    while not ending.is_set():
        cur.execute("SELECT count(pg_notify('postern_apps', md5(i::text"
                    " || random()) || md5(random()::text)))"
                    " FROM generate_series(1, 5000) AS i")
        cur.execute("NOTIFY postern_apps, '*'")
        sent[0] += 5001
    c.close()


def notification_storm(s, server, record, seconds):
    ending, sent = threading.Event(), [0]
    t = threading.Thread(target=storm, args=(server, s, ending, sent))
    with Clients(s) as c:
        c.strike()
        t.start()
        try:
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                app = s.register()
                s.becomes(app, 200)
                s.sql("UPDATE apps SET disabled_at = now() WHERE id = %s",
                      app.id)
                s.becomes(app, 401)
            assert sent[0] > 50000
        finally:
            ending.set()
            t.join()
        c.heal()
    figures = c.account()
    assert figures["meanwhile"]["good"].keys() <= {"200", "201", "204"}
    record({**figures, "note": f"{sent[0]:,} notifications"})


@fault("A storm of notifications", "Nothing; revocations are heard among them")
def test_notification_storm(server, site, record):
    notification_storm(site(server), server, record, 3)


@pytest.mark.long
@fault("A storm of notifications for half a minute",
       "Nothing; revocations are heard among them")
def test_notification_storm_long(server, site, record):
    notification_storm(site(server), server, record, 30)

"""docs/operating.md's part on logical replication, its blocks as they stand, on
two clusters: the same version, or the two releases' own, under load."""
import functools
import os
import pathlib
import re
import shutil
import signal
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading
import time

import psycopg2
import pytest

from lib.postgres import Postgres
from lib.process import (
    PATIENCE, REPO, USER, demoted, run_tool, stop, wait_until)
from lib.stack import Stack
from lib.tokens import ADMIN, REGISTRATION, App
import texts

sys.path.insert(0, str(REPO / "tools"))
import debian_root  # noqa: E402

PAGE = REPO / "docs/operating.md"
AUTH = {"Authorization": "Bearer " + ADMIN}
OLD, NEW = 5432, 5433
TTL = 2
TROUBLE = 503, 502, 500  # 500: lighttpd has no way to Postern


class Cluster(Postgres):
    """One of two on one machine: they share a directory of sockets. release
    is whose Postgres it is, None for this machine's."""

    def __init__(self, scratch, sockets, port, release=None):
        self.scratch, self.dir, self.port = scratch, sockets, port
        self.data, self.count = sockets / f"data{port}", 0
        self.process = self.view = None
        where = pathlib.Path("/")
        if release:
            lower = debian_root.core(release)
            self.view = debian_root.debian_view(
                lower, pathlib.Path(tempfile.mkdtemp(dir=scratch.path)),
                {str(sockets): sockets})
            where = pathlib.Path(lower.partition(":")[0])
        found = sorted((where / "usr/lib/postgresql").glob("*/bin"))[-1]
        self.bin = pathlib.Path("/") / found.relative_to(where)
        self.version = int(self.bin.parts[-2])
        subprocess.run(
            self.command("initdb", "-D", self.data, "-A", "trust", "-U",
                         "postgres", "-E", "UTF8", "--locale=C.UTF-8",
                         "--no-sync"),
            check=True, stdout=subprocess.DEVNULL, preexec_fn=self.become(),
            cwd="/", timeout=PATIENCE)
        self.start()

    def become(self):
        return None if self.view else demoted()

    def command(self, name, *args):
        if self.view:
            return self.view.command(self.bin / name, *args, user="www-data")
        return [self.bin / name, *args]

    def start(self):
        self.process = subprocess.Popen(
            self.command("postgres", "-D", self.data, "-c", "listen_addresses=",
                         "-c", f"port={self.port}", "-c", "fsync=off",
                         "-c", f"unix_socket_directories={self.dir}"),
            stdout=open(self.dir / f"log{self.port}", "ab"),
            stderr=subprocess.STDOUT, preexec_fn=self.become(), cwd="/")
        wait_until("Postgres", self.answers)

    def answers(self):
        assert self.process.poll() is None
        try:
            self.connect("postgres").close()
            return True
        except psycopg2.OperationalError:
            return False

    def url(self, name, user="server"):
        user = "postgres" if user == "owner" else user
        return f"host={self.dir} port={self.port} dbname={name} user={user}"

    def connect(self, name, user="postgres"):
        c = psycopg2.connect(self.url(name, user))
        c.autocommit = True
        return c

    def end(self):
        try:
            stop(self.process, signal.SIGINT)
        finally:
            if self.view:
                self.view.close()


class Site(Stack):
    """Behind a socket that outlives it, as systemd's."""

    def __init__(self, cluster, folder, **kw):
        self.folder, url = folder, folder / "database-url"
        url.write_text(f"host={cluster.dir} dbname=postern user=postern\n")
        url.chmod(0o600)
        if os.getuid() == 0:
            shutil.chown(url, USER, USER)
        self.listener = None
        super().__init__(cluster, database="postern", workers=3, env={
            "POSTERN_DATABASE_URL": None, "POSTERN_LISTEN": None,
            "POSTERN_DATABASE_URL_FILE": str(url),
            "POSTERN_CACHE_TTL": str(TTL), **kw})

    def start_postern(self, wait=True):
        if self.listener is None:
            self.listener = socket.socket(socket.AF_UNIX)
            self.listener.bind(self.sock)
            os.chmod(self.sock, 0o777)
            self.listener.listen(128)
        fd = self.listener.fileno()
        self.process = subprocess.Popen(
            ["bash", "-c", f"exec 3<&{fd} {fd}<&-; LISTEN_PID=$$ LISTEN_FDS=1 "
                           f"exec {self.scratch.bin}/postern.fcgi"],
            env={**self.base_env(), **self.env}, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=self.log_device(),
            preexec_fn=self.demoted(), pass_fds=[fd], cwd="/")

    def restart(self):
        assert stop(self.process) == 0
        self.start_postern()


SHIM = """#!/usr/bin/python3
import os, socket, sys
args = sys.argv
if args[0].endswith("/su"):
    assert args[1:4] == ["-", "postgres", "-c"] and len(args) == 5, args
    os.execvpe("sh", ["sh", "-c", args[4]], {**os.environ, "PGHOST": "%(dir)s",
               "PGUSER": "postgres"})
if args[0].endswith("/runuser"):
    assert args[1:4] == ["-u", "postern", "--"], args
    os.execvp(args[4], args[4:])
s = socket.socket(socket.AF_UNIX)
s.connect("%(ask)s")
s.sendall(" ".join(args[1:]).encode() + b"\\n")
assert s.recv(1) == b"+"
"""


class Reader:
    """Who does what the page says: root's commands by other means."""

    def __init__(self, old, site):
        self.old, self.site = old, site
        self.dir, self.failed = old.scratch.dir(), None
        self.does = {"restart postgresql": self.restart_postgres,
                     "restart postern": site.restart}
        ask = str(self.dir / "ask")
        for name in ("su", "runuser", "systemctl"):
            path = self.dir / name
            path.write_text(SHIM % {"dir": old.dir, "ask": ask})
            path.chmod(0o755)
        reader = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                try:
                    reader.does[self.rfile.readline().decode().strip()]()
                    self.wfile.write(b"+")
                except BaseException as e:
                    reader.failed = e

        self.server = socketserver.ThreadingUnixStreamServer(ask, Handler)
        threading.Thread(target=self.server.serve_forever,
                         daemon=True).start()

    def restart_postgres(self):
        stop(self.old.process, signal.SIGINT)
        self.old.start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def run(self, blocks, between=()):
        """All in one shell; between is {text of a block: what is done before
        it}. What was printed."""
        script = []
        for i, text in enumerate(blocks):
            for mark, what in dict(between).items():
                if mark in text:
                    self.does[f"hook {i}"] = what
                    script.append(f"systemctl hook {i}")
            script += [f"echo '@@{i}' >&2", text.replace(
                "/run/postgresql", str(self.old.dir)).replace(
                "/etc/postern", str(self.site.folder))]
        env = {k: v for k, v in self.site.env.items()
               if k not in ("POSTERN_LISTEN", "POSTERN_WORKERS")}
        r = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", "\n".join(script)], text=True,
            capture_output=True, timeout=240, cwd=self.dir,
            stdin=subprocess.DEVNULL,
            env={**self.site.base_env(), **env, "PATH":
                 f"{self.dir}:{self.old.scratch.bin}:/usr/bin:/bin"})
        if self.failed:
            raise self.failed
        assert r.returncode == 0, r.stderr[-3000:]
        return r.stdout


class Load:
    """Apps registered, disabled, and documents written, all the time; what was
    acknowledged is kept, and each answer held against it."""

    def __init__(self, s):
        self.s = s
        self.apps = []      # acknowledged
        self.disabled = {}  # id: when that was acknowledged
        self.documents = {}  # id: the last number that was acknowledged
        self.statuses, self.wrong = {}, []
        self.ending = threading.Event()
        self.threads = [threading.Thread(target=self.go_on, args=(f,))
                        for f in (self.register, self.disable,
                                  functools.partial(self.write, 0),
                                  functools.partial(self.write, 1),
                                  self.ask, self.ask)]

    def go_on(self, what):
        n = 0
        while not self.ending.is_set():
            try:
                what(n)
            except Exception as e:  # told at the end
                self.wrong.append(repr(e))
                return
            n += 1
            time.sleep(0.01)

    def request(self, *args, good):
        r = self.s.request(*args)
        kind = self.statuses.setdefault(args[0], {})
        kind[r.status] = kind.get(r.status, 0) + 1
        if r.status not in (*good, *TROUBLE):
            self.wrong.append(f"{args[:2]}: {r}")
        return r if r.status in good else None

    def register(self, n):
        r = self.request(
            "POST", "/v1/apps", {"Authorization": "Bearer " + REGISTRATION},
            {"name": f"app {n}"}, good=[201])
        if r:
            app = App(r.json())
            self.s.registered.append(app.secret)
            self.apps.append(app)

    def disable(self, n):
        """Each fifth, after it was admitted."""
        for app in self.apps[::5]:
            if app.id in self.disabled:
                continue
            if self.request("GET", "/v1/whoami", app.auth(), good=[200]) and \
                    self.request("POST", f"/v1/apps/{app.public}/disable",
                                 AUTH, good=[200]):
                self.disabled[app.id] = time.monotonic()
            return

    def write(self, mine, n):
        """Each writer in an app of its own, for its numbers only grow; it may
        be that a 503 was done."""
        for app in self.apps[1 + mine:2 + mine]:
            if self.request("PUT", f"/v1/users/{mine}", app.auth(),
                            {"n": n}, good=[200, 201]):
                self.documents[app.id, mine] = n

    def ask(self, n):
        for app in list(self.apps)[-8:] + list(self.apps)[:8]:
            known = self.disabled.get(app.id)
            asked = time.monotonic()
            off = known is not None and asked - known > TTL
            r = self.request("GET", "/v1/whoami", app.auth(), good=[
                401] if off else [200, 401])
            if r and r.status == 401 and self.apps.index(app) % 5:
                self.wrong.append(f"refused: {app.id}: {r}")

    def __enter__(self):
        for t in self.threads:
            t.start()
        return self

    def __exit__(self, *exc):
        self.ending.set()
        for t in self.threads:
            t.join()
        print(self.statuses)

    def wait(self, more=10):
        """Until so much more of each was acknowledged."""
        def count():
            return len(self.apps), len(self.disabled), sum(
                self.documents.values())
        before = count()
        wait_until("load goes on", lambda: self.wrong or all(
            now >= then + least for now, then, least in zip(
                count(), before, (more, 2, more))), 60)
        assert not self.wrong, self.wrong[:5]

    def kept(self):
        """All that was acknowledged is there, once."""
        assert not self.wrong, self.wrong[:5]
        s = self.s
        for app in self.apps:
            want = 401 if app.id in self.disabled else 200
            got = s.get("/v1/whoami", app.auth()).status
            # One whose answer was lost may be disabled all the same.
            assert got == want or (got == 401 and self.apps.index(app) % 5 ==
                                   0), (app.id, got)
        for (app_id, mine), n in self.documents.items():
            app, = [a for a in self.apps if a.id == app_id]
            r = s.get(f"/v1/users/{mine}", app.auth())
            assert r.status == 200 and r.json()["n"] >= n
        events = dict(((i, e), n) for i, e, n in s.sql(
            "SELECT app_id, event, count(*) FROM app_events GROUP BY 1, 2"))
        for app in self.apps:
            assert events[app.id, "created"] == 1
        for app_id in self.disabled:
            assert events[app_id, "disabled"] == 1
        assert s.sql("SELECT count(*), count(DISTINCT id) FROM apps"
                     )[0][0] >= len(self.apps)


def while_it_follows(old, new, site):
    """A Postern on the subscriber hears what was done on the publisher, and the
    trail comes once."""
    new.sql("ALTER DATABASE postern CONNECTION LIMIT -1")
    # Not ready: its sequences are behind.
    with Stack(new, database="postern", ready=False,
               env={"POSTERN_MASTER_KEY": site.master_key,
                    "POSTERN_DATABASE_URL": new.url("postern", "postern"),
                    "POSTERN_CACHE_TTL": "600"}) as s:
        apps = [site.register() for _ in range(3)]
        for app in apps:
            s.becomes(app, 200)
            s.warm(app)
        off, away, changed = apps
        old.sql(f"UPDATE apps SET disabled_at = now() WHERE id = {off.id}",
                "postern")
        s.becomes(off, 401)
        assert site.request("DELETE", f"/v1/apps/{away.public}",
                            AUTH).status == 204
        s.becomes(away, 401)
        r = site.request("POST", "/v1/app/rotate", changed.auth(),
                         {"grace_seconds": 0})
        assert r.status == 200
        site.registered.append(r.json()["secret_key"])
        s.becomes(changed, 200, r.json()["secret_key"])
        s.becomes(changed, 401, changed.secret)
        assert new.sql(
            "SELECT event, count(*) FROM app_events WHERE app_id IN"
            f" ({off.id}, {away.id}, {changed.id}) GROUP BY 1 ORDER BY 1",
            "postern") == [("created", 3), ("deleted", 1), ("disabled", 1),
                           ("rotated", 1)]
    new.sql("ALTER DATABASE postern CONNECTION LIMIT 0")


def releases():
    """Whose Postgres is old and whose is new: None is this machine's own."""
    own = debian_root.own_release()
    return [None if r == own else r for r in debian_root.RELEASES]


def test_what_replicates(pg):
    """Changes of replicated rows are told to the workers; no other trigger
    does on a subscriber again what was done on the publisher. Each table has
    a key for its rows' changes."""
    c = pg.connect(pg.database())
    cur = c.cursor()
    cur.execute("SELECT tgname, tgenabled FROM pg_trigger WHERE NOT tgisinternal")
    states = dict(cur.fetchall())
    assert states.pop("postern_apps_notify") == "A"
    assert states.pop("postern_apps_notify_truncate") == "A"
    assert states and set(states.values()) == {"O"}, states
    cur.execute("SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r'"
                " AND oid >= 16384 AND NOT EXISTS (SELECT FROM pg_index"
                " WHERE indrelid = pg_class.oid AND indisprimary)")
    assert cur.fetchall() == []
    c.close()


@pytest.mark.parametrize("which", [
    "same", pytest.param("other", marks=pytest.mark.long)])
def test_another_postgres(scratch, ran, ends, which):
    part = texts.part(PAGE, texts.ANOTHER_POSTGRES)
    found = [(n, text) for n, text in texts.blocks(PAGE, "sh") if n in part]
    d = scratch.dir()
    two = []
    for port, release in zip((OLD, NEW), releases() if which == "other"
                             else (None, None)):
        try:
            two.append(Cluster(scratch, d, port, release))
        except debian_root.Unavailable as why:
            pytest.skip(str(why))
        ends.callback(two[-1].end)
    old, new = two
    if which == "other":
        assert old.version < new.version
    for sql in ("CREATE ROLE postern LOGIN", "CREATE DATABASE postern"):
        old.sql(sql)
    run_tool(scratch, ["migrate", "--grant", "postern"],
             {"POSTERN_DATABASE_URL": old.url("postern", "owner")})
    site = ends.enter_context(Site(old, scratch.dir()))
    reader = Reader(old, site)
    ends.callback(reader.close)
    with Load(site) as load:
        load.wait()
        printed = reader.run([text for _, text in found], {
            "CONNECTION LIMIT 0\" | old": lambda: (
                load.wait(), while_it_follows(old, new, site))})
        site.pg = new
        switched = time.monotonic()
        load.wait()
        while time.monotonic() < switched + TTL:
            load.wait(1)
    load.kept()
    assert re.search(r"^ok +sequences", printed, re.M), printed
    assert not re.search(r"^(FAIL|warn)", printed, re.M), printed
    assert new.sql("SELECT count(*) FROM pg_subscription") == [(0,)]
    assert old.sql("SELECT count(*) FROM pg_replication_slots") == [(0,)]
    # Nobody serves by the old one.
    assert not old.sql("SELECT 1 FROM pg_stat_activity JOIN pg_roles"
                       " ON rolname = usename WHERE datname = 'postern'"
                       " AND NOT rolsuper")
    ran(PAGE, f"ran on two clusters ({which})", [n for n, _ in found])

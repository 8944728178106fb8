"""Postern behind lighttpd, by the example configuration; and single processes
that can be told apart."""
import contextlib
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess

from lib.client import Client
from lib.fastcgi import FastCGI
from lib.postgres import ask
from lib.process import (
    REPO, SANITIZED, SAN_ENV, USER, at_once, can_connect, demoted, free_port,
    reap_log, run_tool, stop, wait_until)
from lib.tokens import ADMIN, REGISTRATION, gcm_seal, made_up


def choose_way(conf, way):
    """lighttpd.conf.example with one of its two ways uncommented."""
    lines, block = [], None
    for line in conf.splitlines():
        stripped = line.strip()
        if stripped.startswith("# BEGIN way "):
            block = int(stripped[-1])
        elif stripped.startswith("# END way "):
            block = None
        elif block is not None:
            line = line.lstrip("#") if block == way else "#" + line
        lines.append(line)
    return "\n".join(lines) + "\n"


class Stack(Client):
    """Postern behind lighttpd, by the example configuration.

    way: "external" (master and workers on a Unix socket), "spawned" (started
    by lighttpd), "alone" (no lighttpd: FastCGI on its socket), or "idle"
    (settings and a database; something else starts Postern). direct: requests
    go to that socket, by one connection that is kept."""

    def __init__(self, pg, way="external", workers=2, env=None, database=None,
                 ready=True, extra_conf="", wait=True, direct=False):
        self.pg, self.way, self.scratch = pg, way, pg.scratch
        self.dir = self.scratch.dir()
        self.database = database or pg.database()
        self.master_key = secrets.token_hex(32)
        super().__init__(None if direct else free_port(),
                         str(self.dir / "fcgi"))
        self.env = {
            "POSTERN_DATABASE_URL": pg.url(self.database),
            "POSTERN_MASTER_KEY": self.master_key,
            "POSTERN_REGISTRATION_TOKEN": REGISTRATION,
            "POSTERN_ADMIN_TOKEN": ADMIN,
            "POSTERN_WORKERS": str(workers),
            "POSTERN_LISTEN": "unix:" + self.sock,
            # All tests come from one address.
            "POSTERN_LIMIT_FAILURES": "0",
            **(env or {}),
        }
        self.env = {k: v for k, v in self.env.items() if v is not None}
        self.process = self.lighttpd = None
        if way in ("external", "alone"):
            self.start_postern(wait)
        if way in ("external", "spawned"):
            self.start_lighttpd(extra_conf)
        if ready and way in ("external", "spawned"):
            wait_until("ready", lambda: self.get("/readyz").status == 200)

    def secrets(self):
        """What no log may hold; every signed token starts with the last."""
        return [v for k, v in self.env.items() if k.endswith(("_KEY", "_TOKEN"))
                and len(v) >= 16] + self.registered + ["eyJ"]

    # -- processes

    def base_env(self):
        return {"PATH": os.environ["PATH"], "HOME": str(self.dir), **SAN_ENV}

    def command(self):
        return [self.scratch.bin / "postern.fcgi"]

    def demoted(self):
        return demoted()

    def start_postern(self, wait=True):
        self.process = subprocess.Popen(
            self.command(),
            env={**self.base_env(), **self.env}, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=self.log_device(),
            preexec_fn=self.demoted(), cwd="/")
        if wait:
            wait_until("Postern's socket", lambda: self.listening()
                       or self.process.poll() is not None)
            assert self.process.poll() is None, self.log()

    def log_device(self):
        return open(self.dir / "log", "ab")

    def listening(self):
        s = socket.socket(socket.AF_UNIX)
        try:
            s.connect(self.sock)
            return True
        except OSError:
            return False
        finally:
            s.close()

    def start_lighttpd(self, extra):
        conf = (REPO / "lighttpd.conf.example").read_text()
        spawned = self.way == "spawned"
        config = self.dir / "postern.conf"
        values = {
            "port": str(self.port), "state": f'"{self.dir}"',
            "log": f'"{self.dir}/error.log"',
            "www": f'"{self.scratch.path}/www"',
            "socket": f'"{self.sock}"', "config": f'"{config}"',
            "program": f'"{self.scratch.bin}/postern.fcgi"',
        }
        lines = []
        for line in choose_way(conf, 2 if spawned else 1).splitlines():
            if line.startswith("var."):
                name = line[4:].split()[0]
                if name in values:
                    line = f"var.{name} = {values[name]}"
            lines.append(line)
        text = "\n".join(lines) + "\n" + extra
        if SANITIZED:
            text = text.replace(
                '"POSTERN_CONFIG" => var.config',
                '"POSTERN_CONFIG" => var.config, "ASAN_OPTIONS" => "%s"'
                % SAN_ENV["ASAN_OPTIONS"])
        path = self.dir / "lighttpd.conf"
        path.write_text(text)
        if spawned:
            self.write_settings(config)
            # lighttpd gives its children no stderr unless it has this log.
            with open(path, "a") as f:
                f.write(f'server.breakagelog = "{self.dir}/log"\n')
        self.lighttpd = subprocess.Popen(
            ["lighttpd", "-D", "-f", path], env=self.base_env(),
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=open(self.dir / "lighttpd.log", "ab"),
            preexec_fn=demoted(), cwd="/")
        wait_until("lighttpd", lambda: can_connect(self.port)
                   or self.lighttpd.poll() is not None)
        assert self.lighttpd.poll() is None, \
            (self.dir / "lighttpd.log").read_text()

    def write_settings(self, path):
        """The settings file of a Postern that a web server starts."""
        settings = {k: v for k, v in self.env.items()
                    if k not in ("POSTERN_LISTEN", "POSTERN_WORKERS")}
        settings["POSTERN_LOG_TARGET"] = "stderr"
        path.write_text("".join(f"{k}={v}\n" for k, v in settings.items()))
        path.chmod(0o600)
        if os.getuid() == 0:
            shutil.chown(path, USER, USER)

    def workers(self):
        """Process ids of the workers."""
        out = subprocess.run(
            ["pgrep", "-P", str(self.process.pid)], capture_output=True,
            text=True).stdout
        return [int(p) for p in out.split()]

    def log(self):
        try:
            return (self.dir / "log").read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def log_lines(self, event):
        return [line for line in self.log().splitlines()
                if f" event={event}" in line]

    def stop(self):
        self.close()
        try:
            if self.process is not None:
                assert stop(self.process) == 0, self.log()[-2000:]
        finally:
            stop(self.lighttpd, signal.SIGINT)
        reap_log(self.log())
        secret_text_absent(self, *self.secrets())

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.stop()

    # -- FastCGI without a web server

    def fcgi(self, params, body=b"", role=1, **kw):
        with FastCGI(self.sock) as f:
            f.begin(role, **kw)
            f.params(params)
            if role == 1:
                f.stdin(body)
            return f.answer()

    @contextlib.contextmanager
    def database_away(self):
        """No connection to the stack's database, for as long as it lasts."""
        def allow(yes):
            ask(self.pg.connect("postgres"), f"ALTER DATABASE {self.database}"
                f" ALLOW_CONNECTIONS {yes}")

        allow("false")
        try:
            ask(self.pg.connect("postgres"),
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                f" WHERE datname = '{self.database}'")
            self.all_workers("not ready", "/readyz", 503)
            yield
        finally:
            allow("true")
        wait_until("every worker's connection", self.all_connected)
        self.all_workers("ready", "/readyz", 200)

    def all_connected(self):
        """By the log: an idle worker is not met by asking."""
        last = {}
        for line in self.log().splitlines():
            found = re.search(r" pid=(\d+) event=(database_\w+)", line)
            if found:
                last[int(found.group(1))] = found.group(2)
        pids = self.workers() or [self.process.pid]
        return all(last.get(p) == "database_up" for p in pids)

    def all_workers(self, what, path, status, headers=dict):
        """Wait until none of many requests at once is answered otherwise."""
        wait_until(what, lambda: {r.status for r in at_once(
            12, lambda i: self.get(path, headers()))} == {status})

    def becomes(self, app, status, secret=None):
        """Whether an app's token is good: news takes milliseconds."""
        self.all_workers(f"{status} for {app.public}", "/v1/whoami", status,
                         lambda: app.auth(secret=secret))

    def warm(self, app, secret=None):
        """Every worker has the app's keys in its cache."""
        seen = len(self.log_lines("request"))

        def all_have():
            at_once(8, lambda i: self.get(
                "/v1/whoami", app.auth(secret=secret)))
            return pids(line for line in self.log_lines("request")[seen:]
                        if f"status=200 app_id={app.id} " in line
                        ) >= set(self.workers() or [self.process.pid])

        wait_until("all workers warm", all_have)

    def reload(self):
        """New workers, the old ones gone: what they held back is written."""
        old = set(self.workers())
        self.process.send_signal(signal.SIGHUP)
        wait_until("new workers", lambda: (
            not old & (new := set(self.workers())) and len(new) >= len(old)))

    def sql(self, text, *args):
        return ask(self.pg.connect(self.database), text, args)

    def tool(self, *args, stdin=None, check=True, env=None):
        settings = {k: v for k, v in self.env.items()
                    if k not in ("POSTERN_LISTEN", "POSTERN_WORKERS")}
        settings["POSTERN_DATABASE_URL"] = self.pg.url(self.database, "owner")
        return run_tool(self.scratch, args, {**settings, **(env or {})},
                        stdin, check)


class Fleet:
    """n single processes on one database, for the workers of a master: each
    has its own socket, so a request goes to the one that is meant."""

    def __init__(self, pg, n, env=None, url=None, wait_up=True):
        self.pg = pg
        self.database = pg.database()
        self.master_key = secrets.token_hex(32)
        self.env = {"POSTERN_MASTER_KEY": self.master_key, **(env or {})}
        if url is not None:
            self.env["POSTERN_DATABASE_URL"] = url(self.database)
        self.stacks = []
        try:
            for _ in range(n):
                self.stacks.append(Stack(
                    pg, way="alone", workers=0, env=self.env,
                    database=self.database, direct=True))
            if wait_up:
                self.wait_up()
        except BaseException:
            self.stop()
            raise

    def wait_up(self):
        for c in self.stacks:
            wait_until("ready", lambda c=c:
                       c.request("GET", "/readyz").status == 200)

    def __getitem__(self, i):
        return self.stacks[i]

    def __len__(self):
        return len(self.stacks)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.stop()

    def register(self, i=0):
        return self.stacks[i].register()

    def sql(self, text, *args):
        return self.stacks[0].sql(text, *args)

    def statuses(self, app, **kw):
        return [c.status(app, **kw) for c in self.stacks]

    def refused_soon(self, app, **kw):
        for i, c in enumerate(self.stacks):
            wait_until(f"refused by worker {i}",
                       lambda c=c: c.status(app, **kw) == 401)
        assert self.statuses(app, **kw) == [401] * len(self)

    def log_count(self, event, i=0):
        return len(self.stacks[i].log_lines(event))

    def insert(self, apps):
        """Apps straight into the table, sealed by another implementation than
        Postern's. One has to be registered already."""
        key_id = self.sql("SELECT master_key_id FROM apps LIMIT 1")[0][0]
        rows = [self.row(app, key_id) for app in apps]
        c = self.pg.connect(self.database)
        try:
            c.cursor().executemany(
                "INSERT INTO apps (name, public_key, encrypted_secret_key,"
                " master_key_id) VALUES ('An app', %s, %s, %s)", rows)
        finally:
            c.close()

    def row(self, app, key_id):
        return (app.public, gcm_seal(
            self.master_key, bytes.fromhex(app.secret),
            f"postern-v1|{key_id}|{app.public}"), key_id)

    def settle(self):
        """Until every worker has taken in all notifications so far: they come
        in order, so the last one's effect is waited for."""
        app = made_up()
        assert self.statuses(app) == [401] * len(self)
        self.insert([app])
        for c in self.stacks:
            wait_until("settled", lambda c=c: c.status(app) == 200)

    def stop(self):
        with contextlib.ExitStack() as ends:
            for s in self.stacks:
                ends.callback(s.stop)


def secret_text_absent(stack, *texts):
    """No secret in any log."""
    for name in ("log", "error.log"):
        path = stack.dir / name
        if path.exists():
            text = path.read_text(errors="replace")
            for secret in texts:
                assert secret not in text


def pids(lines):
    """Whose log lines these are."""
    return {int(re.search(r" pid=(\d+) ", line).group(1)) for line in lines}

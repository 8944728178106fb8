"""Workers that can be told apart, and what stands between them and Postgres:
a proxy that holds messages back, and pgbouncer."""
import contextlib
import json
import os
import pathlib
import secrets
import signal
import socket
import struct
import subprocess
import threading

import psycopg2

from harness import (ADMIN, REGISTRATION, App, FastCGI, Response,
                     Stack, demoted, gcm_seal, stop, wait_until)


def made_up():
    """An app that is not registered."""
    return App({"id": None, "public_key": secrets.token_hex(32),
                "secret_key": secrets.token_hex(32)})


class Client:
    """FastCGI requests over one kept connection."""

    def __init__(self, path):
        self.path = path
        self.f = None

    def close(self):
        if self.f is not None:
            self.f.s.close()
        self.f = None

    @staticmethod
    def record(kind, content=b""):
        return struct.pack(">BBHHBx", 1, kind, 1, len(content), 0) + content

    def send(self, method, path, headers=None, body=None):
        if self.f is None:
            self.f = FastCGI(self.path)
        params = {"REQUEST_METHOD": method, "REQUEST_URI": path}
        for name, value in (headers or {}).items():
            params["HTTP_" + name.upper().replace("-", "_")] = value
        data = b"" if body is None else json.dumps(body).encode()
        if data:
            params["CONTENT_TYPE"] = "application/json"
            params["CONTENT_LENGTH"] = len(data)
        self.f.s.sendall(
            self.record(1, struct.pack(">HB5x", 1, 1))
            + self.record(4, FastCGI.encode(params)) + self.record(4)
            + (self.record(5, data) if data else b"") + self.record(5))

    def receive(self) -> Response:
        r = self.f.answer()
        assert r is not None, "no answer"
        return r

    def request(self, method, path, headers=None, body=None):
        self.send(method, path, headers, body)
        return self.receive()

    def whoami(self, app, **kw):
        return self.request("GET", "/v1/whoami", app.auth(**kw))

    def status(self, app, **kw):
        return self.whoami(app, **kw).status

    def admin(self, method, path, body=None):
        return self.request(
            method, path, {"Authorization": "Bearer " + ADMIN}, body)

    def register(self, name="An app"):
        r = self.request("POST", "/v1/apps",
                         {"Authorization": "Bearer " + REGISTRATION},
                         {"name": name})
        assert r.status == 201, r
        return App(r.json())


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
        self.clients = []
        try:
            for _ in range(n):
                self.stacks.append(Stack(pg, way="alone", workers=0,
                                         env=self.env,
                                         database=self.database))
                self.clients.append(Client(self.stacks[-1].sock))
            if wait_up:
                self.wait_up()
        except BaseException:
            self.stop()
            raise

    def wait_up(self):
        for c in self.clients:
            wait_until("ready", lambda c=c:
                       c.request("GET", "/readyz").status == 200)

    def __getitem__(self, i):
        return self.clients[i]

    def __len__(self):
        return len(self.clients)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.stop()

    def register(self, i=0):
        app = self.clients[i].register()
        self.stacks[i].registered.append(app.secret)
        return app

    def sql(self, text, *args):
        return self.stacks[0].sql(text, *args)

    def statuses(self, app, **kw):
        return [c.status(app, **kw) for c in self.clients]

    def refused_soon(self, app, **kw):
        for i, c in enumerate(self.clients):
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
        for c in self.clients:
            wait_until("settled", lambda c=c: c.status(app) == 200)

    def stop(self):
        with contextlib.ExitStack() as ends:
            for s in self.stacks:
                ends.callback(s.stop)
            for c in self.clients:
                ends.callback(c.close)


class PgProxy:
    """Between a worker and Postgres, on a Unix socket of its own. What
    Postgres says is taken apart into messages, which can be held, put in
    another order or lost."""

    def __init__(self, pg):
        self.pg = pg
        self.dir = pg.scratch.dir()
        self.path = str(self.dir / ".s.PGSQL.5432")
        self.target = str(pg.dir / ".s.PGSQL.5432")
        self.lock = threading.RLock()
        self.connections = set()  # of pairs of sockets
        self.held = None  # (client's socket, kind, message), while holding
        self.lose = ""  # kinds of messages that never arrive
        self.listener = None
        self.open()

    def url(self, database):
        return f"host={self.dir} dbname={database} user=server"

    def open(self):
        s = socket.socket(socket.AF_UNIX)
        s.bind(self.path)
        os.chmod(self.path, 0o777)
        s.listen(64)
        self.listener = s
        threading.Thread(target=self.accept, args=(s,), daemon=True).start()

    def accept(self, listener):
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            try:
                server.connect(self.target)
            except OSError:
                client.close()
                server.close()
                continue
            with self.lock:
                if self.listener is not listener:
                    client.close()
                    server.close()
                    return
                self.connections.add((client, server))
            threading.Thread(target=self.pump, args=(client, server),
                             daemon=True).start()
            threading.Thread(target=self.take_apart, args=(server, client),
                             daemon=True).start()

    @staticmethod
    def shut(*sockets):
        for s in sockets:
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)

    def pump(self, source, sink):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        self.shut(source, sink)

    def take_apart(self, server, client):
        pending = b""
        with contextlib.suppress(OSError):
            while data := server.recv(65536):
                pending += data
                while len(pending) >= 5:
                    end = 1 + struct.unpack(">I", pending[1:5])[0]
                    if len(pending) < end:
                        break
                    self.message(client, pending[:end])
                    pending = pending[end:]
        with self.lock:
            if self.held is None:
                self.shut(server, client)

    def message(self, client, message):
        kind = chr(message[0])
        with self.lock:
            if kind in self.lose:
                return
            if self.held is not None:
                self.held.append((client, kind, message))
            else:
                client.sendall(message)

    def hold(self):
        with self.lock:
            self.held = []

    def kinds(self):
        with self.lock:
            return "".join(kind for _, kind, _ in self.held)

    def wait_kinds(self, wanted):
        """Until what is held has these kinds, in this order."""
        def there():
            rest = iter(self.kinds())
            return all(k in rest for k in wanted)
        wait_until(f"{wanted} held: {self.kinds()}", there)

    def release(self, order=None, go_on=True):
        """Send what is held in one packet: order sorts the kinds, as they
        came if None. go_on: and hold no more."""
        with self.lock:
            held = self.held
            if order is not None:
                held = sorted(held, key=lambda h: order.index(h[1]))
            self.held = None if go_on else []
            for client in {c for c, _, _ in held}:
                with contextlib.suppress(OSError):  # it may have gone
                    client.sendall(
                        b"".join(m for c, _, m in held if c is client))

    def take(self, kind):
        """Take the held messages of a kind out, to be sent later."""
        with self.lock:
            taken = [h for h in self.held if h[1] == kind]
            self.held = [h for h in self.held if h[1] != kind]
            return taken

    def send(self, taken):
        with self.lock:
            for client, _, message in taken:
                client.sendall(message)

    def cut(self):
        """Postgres is away."""
        with self.lock:
            listener, self.listener = self.listener, None
            if listener is not None:
                self.shut(listener)
                listener.close()
                os.unlink(self.path)
            for pair in self.connections:
                self.shut(*pair)
            self.connections.clear()
            self.held = None

    close = cut


class PgBouncer:
    def __init__(self, pg, mode, pool_size=20):
        self.dir = pg.scratch.dir()
        config = self.dir / "pgbouncer.ini"
        users = self.dir / "users"
        users.write_text('"server" ""\n"owner" ""\n')
        config.write_text(
            "[databases]\n"
            f"* = host={pg.dir}\n"
            "[pgbouncer]\n"
            f"pool_mode = {mode}\n"
            f"default_pool_size = {pool_size}\n"
            f"unix_socket_dir = {self.dir}\n"
            "unix_socket_mode = 0777\n"
            "listen_port = 6432\n"
            "auth_type = trust\n"
            f"auth_file = {users}\n"
            "admin_users = owner\n"
            f"logfile = {self.dir}/log\n")
        for p in (config, users):
            p.chmod(0o644)
        self.process = subprocess.Popen(
            ["/usr/sbin/pgbouncer", config], stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            preexec_fn=demoted(), cwd="/")
        wait_until("pgbouncer", self.answers)

    def answers(self):
        assert self.process.poll() is None, (self.dir / "log").read_text()
        try:
            psycopg2.connect(self.url("postgres", "owner")).close()
            return True
        except psycopg2.OperationalError:
            return False

    def url(self, database, user="server"):
        return f"host={self.dir} port=6432 dbname={database} user={user}"

    def close(self):
        # Since 1.23 it waits for its clients on SIGTERM.
        stop(self.process, signal.SIGKILL)


def proc_status(pid, name):
    """A number of /proc/PID/status, in its kB."""
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1])
    raise KeyError(name)

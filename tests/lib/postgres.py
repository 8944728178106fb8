"""A Postgres of the tests' own, also by TLS, and what stands before it: a proxy
that holds messages back, and pgbouncer."""
import contextlib
import fcntl
import hashlib
import os
import pathlib
import shutil
import signal
import socket
import struct
import subprocess
import threading

import psycopg2

from lib.process import (
    BUILD, USER, demoted, free_port, run_tool, stop, wait_until)

MIGRATED = "migrated"  # a database to copy


def ask(c, text, args=None):
    """What a statement answers, if it has rows, on a connection that ends with
    it."""
    try:
        cur = c.cursor()
        cur.execute(text, args)
        return cur.fetchall() if cur.description else None
    finally:
        c.close()


class Postgres:
    options = ()  # of the command line, of a kind of server
    # A cluster like no other, with a system identifier of its own; else it is
    # a copy of one that was made once.
    own = False

    def __init__(self, scratch, settings=()):
        """settings: more NAME=VALUE for the server."""
        self.dir = scratch.dir()
        self.scratch = scratch
        self.settings = [a for s in settings for a in ("-c", s)]
        self.bin = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"))[-1]
        self.count = 0
        self.process = None
        if self.own:
            self.make()
        else:
            copy_made(self)
            self.start()

    def make(self):
        subprocess.run(
            [self.bin / "initdb", "-D", self.dir / "data", "-A", "trust",
             "-U", "owner", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"],
            check=True, stdout=subprocess.DEVNULL, preexec_fn=demoted(),
            cwd="/")
        self.start()
        self.sql("CREATE ROLE server LOGIN")

    def start(self):
        self.process = subprocess.Popen(
            [self.bin / "postgres", "-D", self.dir / "data",
             "-c", "listen_addresses=", "-c", "fsync=off",
             "-c", "max_connections=200",
             # Or its launcher is never done, of so many databases.
             "-c", "autovacuum_naptime=1h",
             "-c", f"unix_socket_directories={self.dir}", *self.settings,
             *self.options],
            stdout=open(self.dir / "log", "ab"), stderr=subprocess.STDOUT,
            preexec_fn=demoted(), cwd="/")

        def up():
            try:
                self.connect("postgres").close()
                return True
            except psycopg2.OperationalError:
                return False

        wait_until("Postgres", up)

    def stop(self, sig=signal.SIGINT):
        stop(self.process, sig)

    def discard(self):
        """At once, as nobody needs what it has any more."""
        self.stop(signal.SIGQUIT)

    def connect(self, name, user="owner", **more):
        c = psycopg2.connect(host=str(self.dir), dbname=name, user=user,
                             **more)
        c.autocommit = True
        return c

    def sql(self, text, name="postgres"):
        """As the owner."""
        return ask(self.connect(name), text)

    def url(self, name, user="server"):
        return f"host={self.dir} dbname={name} user={user}"

    def database(self, migrate=True):
        self.count += 1
        name = f"db{self.count}"
        if migrate and not self.own:
            self.sql(f"CREATE DATABASE {name} TEMPLATE {MIGRATED}"
                     " STRATEGY file_copy")
            return name
        self.sql(f"CREATE DATABASE {name}")
        if migrate:
            self.migrate(name)
        return name

    def migrate(self, name):
        return run_tool(self.scratch, ["migrate", "--grant", "server"],
                        {"POSTERN_DATABASE_URL": self.url(name, "owner")})


class Made(Postgres):
    """The one that the others are copies of."""

    own = True


def copy_made(pg):
    """Its data, from the build's folder, where it is made anew when what makes
    it is another. As whoever may read it: nobody else's files are in it."""
    folder = BUILD / f"postgres-{os.getuid()}"
    key = hashlib.sha256(b"".join(p.read_bytes() for p in (
        pg.scratch.bin / "postern", pg.bin / "initdb", pathlib.Path(__file__)
        ))).hexdigest()
    with open(f"{folder}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        known = folder / "key"
        if not known.exists() or known.read_text() != key:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            made = Made(pg.scratch)
            made.sql(f"CREATE DATABASE {MIGRATED}")
            made.migrate(MIGRATED)
            made.stop()
            copy(made.dir / "data", folder)
            shutil.rmtree(made.dir)
            known.write_text(key)
        copy(folder / "data", pg.dir)


def copy(data, into):
    subprocess.run(["cp", "-a", data, into], check=True)


def openssl(*args):
    subprocess.run(["openssl", *args], check=True, capture_output=True)


class TlsPostgres(Postgres):
    """On one port of each address; the certificate is for the names."""

    own = True

    def __init__(self, scratch, names=("localhost",), addresses="127.0.0.1"):
        d = self.certs = scratch.dir()
        openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
                "-subj", "/CN=Test CA", "-keyout", d / "ca.key",
                "-out", d / "ca.crt")
        openssl("req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj",
                f"/CN={names[0]}", "-keyout", d / "server.key",
                "-out", d / "server.csr")
        (d / "ext").write_text("subjectAltName=" + ",".join(
            f"DNS:{n}" for n in names))
        openssl("x509", "-req", "-in", d / "server.csr", "-CA", d / "ca.crt",
                "-CAkey", d / "ca.key", "-days", "2", "-set_serial", "1",
                "-extfile", d / "ext", "-out", d / "server.crt")
        if os.getuid() == 0:
            for path in d.iterdir():
                shutil.chown(path, USER, USER)
        (d / "server.key").chmod(0o600)
        self.tcp_port = free_port()
        super().__init__(scratch, [
            f"listen_addresses={addresses}", f"port={self.tcp_port}", "ssl=on",
            f"ssl_cert_file={d}/server.crt", f"ssl_key_file={d}/server.key"])

    def connect(self, name, user="owner"):
        c = psycopg2.connect(host=str(self.dir), port=self.tcp_port,
                             dbname=name, user=user)
        c.autocommit = True
        return c

    def url(self, name, user="server", hosts="localhost", ports=None):
        return (f"host={hosts} port={ports or self.tcp_port} dbname={name} "
                f"user={user} sslmode=verify-full "
                f"sslrootcert={self.certs}/ca.crt")


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

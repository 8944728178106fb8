"""Private Postgres, Postern and lighttpd for the tests.

Everything lives in one temporary directory, on Unix sockets and free ports of
127.0.0.1, runs unprivileged when the tests run as root, and is ended by
process id.
"""
import base64
import contextlib
import hashlib
import hmac
import http.client
import json
import os
import pathlib
import pwd
import random
import re
import secrets
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import jwt
import psycopg2
from Cryptodome.Cipher import AES

REPO = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("POSTERN_BUILD", REPO / "build")).resolve()
SANITIZED = os.environ.get("POSTERN_SANITIZED") == "1"
PATIENCE = 60 if SANITIZED else 20
USER = "www-data"
REGISTRATION = "registration-token-for-the-tests-0001"
ADMIN = "admin-token-for-the-tests-000000000001"
SAN_ENV = {
    "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=0:exitcode=99"
                    ":allocator_may_return_null=1",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
}


def demoted():
    """preexec_fn: become the unprivileged user, if we are root."""
    if os.getuid() != 0:
        return None
    user = pwd.getpwnam(USER)

    def become():
        os.setgroups([])
        os.setgid(user.pw_gid)
        os.setuid(user.pw_uid)

    return become


def wait_until(what, check, patience=None):
    """Wait for a condition with a deadline; its value is returned."""
    deadline = time.monotonic() + (patience or PATIENCE)
    while True:
        value = check()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"timed out: {what}")
        time.sleep(0.02)


def at_once(n, call):
    """Call n times, all starting together."""
    gate = threading.Barrier(n)

    def one(i):
        gate.wait()
        return call(i)

    with ThreadPoolExecutor(n) as pool:
        return list(pool.map(one, range(n)))


def free_port():
    """Below the ports of outgoing connections (Linux's begin at 32768), one of
    which could take it before whoever it is for listens on it."""
    while True:
        port = random.SystemRandom().randrange(10240, 32768)
        with socket.socket() as s, contextlib.suppress(OSError):
            s.bind(("127.0.0.1", port))
            return port


def can_connect(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


def stop(process, sig=signal.SIGTERM, patience=None):
    """End a process that we started, and wait for it."""
    if process is None:
        return None
    if process.poll() is None:
        process.send_signal(sig)
        try:
            process.wait(patience or PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"{process.args} did not end on {sig}")
    return process.returncode


class Scratch:
    """The temporary directory: binaries and pages are copied to where the
    unprivileged user can read them."""

    def __init__(self):
        self.path = pathlib.Path(tempfile.mkdtemp(prefix="pt", dir="/tmp"))
        self.path.chmod(0o755)
        if os.getuid() == 0:
            shutil.chown(self.path, USER, USER)
        self.bin = self.path / "bin"
        shutil.copytree(REPO / "www", self.path / "www")
        self.bin.mkdir()
        for name in ("postern", "postern.fcgi"):
            shutil.copy(BUILD / name, self.bin / name)
        for p in [self.bin, *self.bin.iterdir(), self.path / "www"]:
            p.chmod(0o755)
        self.count = 0

    def dir(self):
        self.count += 1
        d = self.path / f"s{self.count}"
        d.mkdir()
        d.chmod(0o755)
        if os.getuid() == 0:
            shutil.chown(d, USER, USER)
        return d

    def remove(self):
        shutil.rmtree(self.path, ignore_errors=True)


class Postgres:
    options = ()  # of the command line, of a kind of server

    def __init__(self, scratch, settings=()):
        """settings: more NAME=VALUE for the server."""
        self.dir = scratch.dir()
        self.scratch = scratch
        self.settings = [a for s in settings for a in ("-c", s)]
        self.bin = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"))[-1]
        self.count = 0
        self.process = None
        subprocess.run(
            [self.bin / "initdb", "-D", self.dir / "data", "-A", "trust",
             "-U", "owner", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"],
            check=True, stdout=subprocess.DEVNULL, preexec_fn=demoted(),
            cwd="/")
        self.start()
        with self.connect("postgres") as c:
            c.cursor().execute("CREATE ROLE server LOGIN")

    def start(self):
        self.process = subprocess.Popen(
            [self.bin / "postgres", "-D", self.dir / "data",
             "-c", "listen_addresses=", "-c", "fsync=off",
             "-c", "max_connections=200",
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

    def connect(self, name, user="owner"):
        c = psycopg2.connect(host=str(self.dir), dbname=name, user=user)
        c.autocommit = True
        return c

    def url(self, name, user="server"):
        return f"host={self.dir} dbname={name} user={user}"

    def database(self, migrate=True):
        self.count += 1
        name = f"db{self.count}"
        c = self.connect("postgres")
        c.cursor().execute(f"CREATE DATABASE {name}")
        c.close()
        if migrate:
            self.migrate(name)
        return name

    def migrate(self, name):
        return run_tool(self.scratch, ["migrate", "--grant", "server"],
                        {"POSTERN_DATABASE_URL": self.url(name, "owner")})


def run_tool(scratch, args, env=None, stdin=None, check=True):
    r = subprocess.run(
        [scratch.bin / "postern", *args], input=stdin, text=True,
        env={"PATH": os.environ["PATH"], "HOME": str(scratch.path),
             **SAN_ENV, **(env or {})},
        capture_output=True, timeout=PATIENCE, preexec_fn=demoted(), cwd="/")
    if check and r.returncode != 0:
        raise AssertionError(f"postern {args}: {r.returncode} {r.stderr}")
    return r


class Response:
    def __init__(self, status, headers, body):
        self.status = status
        self.headers = headers
        self.body = body

    def json(self):
        return json.loads(self.body)

    def __getitem__(self, name):
        return self.headers.get(name)

    def all(self, name):
        return self.headers.get_all(name) or []

    @property
    def code(self):
        return self.json()["code"]

    def __repr__(self):
        return f"<{self.status} {self.body[:300]!r}>"


class App:
    def __init__(self, answer):
        self.id = answer["id"]
        self.public = answer["public_key"]
        self.secret = answer["secret_key"]
        self.answer = answer

    def token(self, exp=300, secret=None, headers=None, algorithm="HS256",
              **claims):
        if exp is not None:
            claims.setdefault("exp", int(time.time()) + exp)
        return jwt.encode(claims, secret or self.secret, algorithm=algorithm,
                          headers=headers)

    def auth(self, **kw):
        return {"X-Public-Key": self.public,
                "Authorization": "Bearer " + self.token(**kw)}


def b64(data):
    if isinstance(data, str):
        data = data.encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def raw_token(secret, header='{"alg":"HS256"}', payload=None, digest="sha256",
              mac=None):
    """Sign any bytes as header and payload."""
    if payload is None:
        payload = json.dumps({"exp": int(time.time()) + 300})
    signed = f"{b64(header)}.{b64(payload)}"
    if mac is None:
        mac = hmac.new(secret.encode(), signed.encode(), digest).digest()
    return f"{signed}.{b64(mac)}"


def gcm(master_hex, nonce, aad):
    """AES-GCM by another implementation than Postern's."""
    cipher = AES.new(bytes.fromhex(master_hex), AES.MODE_GCM, nonce=nonce)
    cipher.update(aad.encode())
    return cipher


def gcm_seal(master_hex, raw, aad=""):
    """hex(nonce, ciphertext, tag); without aad as goliauth writes it."""
    nonce = secrets.token_bytes(12)
    text, tag = gcm(master_hex, nonce, aad).encrypt_and_digest(raw)
    return (nonce + text + tag).hex()


def gcm_open(master_hex, sealed, aad=""):
    box = bytes.fromhex(sealed)
    return gcm(master_hex, box[:12], aad).decrypt_and_verify(
        box[12:-16], box[-16:])


def reap_log(text):
    # Not "stack smashing": that is libfcgi's, on hostile records.
    for bad in ("ERROR: AddressSanitizer", "runtime error:"):
        assert bad not in text, text[text.index(bad) - 500:][:4000]


class Http:
    """A client of the web server on self.port. self.registered keeps the
    secret keys that it was given."""

    def request(self, method, path, headers=None, body=None, timeout=None):
        c = http.client.HTTPConnection(
            "127.0.0.1", self.port, timeout=timeout or PATIENCE)
        try:
            headers = dict(headers or {})
            if isinstance(body, (dict, list)):
                body = json.dumps(body)
                headers.setdefault("Content-Type", "application/json")
            if isinstance(body, str):
                body = body.encode()
            if body is None and method in ("POST", "PUT", "PATCH"):
                headers.setdefault("Content-Length", "0")
            c.request(method, path, body, headers)
            r = c.getresponse()
            return Response(r.status, r.headers, r.read())
        finally:
            c.close()

    def get(self, path, headers=None, **kw):
        return self.request("GET", path, headers, **kw)

    def raw_http(self, text, patience=5):
        """Bytes to the web server, and all that comes back until it closes."""
        with socket.create_connection(
                ("127.0.0.1", self.port), timeout=patience) as s:
            s.sendall(text if isinstance(text, bytes) else text.encode())
            out = b""
            try:
                while chunk := s.recv(65536):
                    out += chunk
            except socket.timeout:
                pass
            return out

    def register(self, name="An app"):
        r = self.request("POST", "/v1/apps",
                         {"Authorization": "Bearer " + REGISTRATION},
                         {"name": name})
        assert r.status == 201, r
        app = App(r.json())
        self.registered.append(app.secret)
        return app


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


class Stack(Http):
    """Postern behind lighttpd, by the example configuration.

    way: "external" (master and workers on a Unix socket), "spawned" (started
    by lighttpd), "alone" (no lighttpd: the raw FastCGI client), or "idle"
    (settings and a database; something else starts Postern)."""

    def __init__(self, pg, way="external", workers=2, env=None, database=None,
                 ready=True, extra_conf="", wait=True):
        self.pg, self.way, self.scratch = pg, way, pg.scratch
        self.dir = self.scratch.dir()
        self.database = database or pg.database()
        self.master_key = secrets.token_hex(32)
        self.sock = str(self.dir / "fcgi")
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
        self.registered = []  # their secret keys
        self.port = free_port()
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
        def admin(text):
            c = self.pg.connect("postgres")
            c.cursor().execute(text)
            c.close()

        def allow(yes):
            admin(f"ALTER DATABASE {self.database} ALLOW_CONNECTIONS {yes}")

        allow("false")
        try:
            admin("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
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
        wait_until("new workers", lambda: not old & set(self.workers())
                   and self.workers())

    def sql(self, text, *args):
        c = self.pg.connect(self.database)
        try:
            cur = c.cursor()
            cur.execute(text, args)
            return cur.fetchall() if cur.description else None
        finally:
            c.close()

    def tool(self, *args, stdin=None, check=True, env=None):
        settings = {k: v for k, v in self.env.items()
                    if k not in ("POSTERN_LISTEN", "POSTERN_WORKERS")}
        settings["POSTERN_DATABASE_URL"] = self.pg.url(self.database, "owner")
        return run_tool(self.scratch, args, {**settings, **(env or {})},
                        stdin, check)


class FastCGI:
    """A FastCGI client that can misbehave. One request a connection, unless
    keep is given to begin()."""

    def __init__(self, path, timeout=None):
        self.s = socket.socket(socket.AF_UNIX)
        self.s.settimeout(timeout or PATIENCE)
        self.s.connect(path)
        self.pending = b""

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.s.close()

    def record(self, kind, content=b"", request=1, version=1, length=None):
        n = len(content) if length is None else length
        self.s.sendall(
            struct.pack(">BBHHBx", version, kind, request, n, 0) + content)

    def begin(self, role=1, keep=False, version=1):
        self.record(1, struct.pack(">HB5x", role, int(keep)), version=version)

    @staticmethod
    def encode(params):
        def size(n):
            return bytes([n]) if n < 128 else struct.pack(">I", n | 1 << 31)

        pairs = params.items() if isinstance(params, dict) else params
        out = b""
        for name, value in pairs:
            name, value = (x if isinstance(x, bytes) else str(x).encode()
                           for x in (name, value))
            out += size(len(name)) + size(len(value)) + name + value
        return out

    def params(self, params, end=True):
        data = self.encode(params)
        for i in range(0, len(data), 65000):
            self.record(4, data[i:i + 65000])
        if end:
            self.record(4)

    def stdin(self, body, end=True):
        for i in range(0, len(body), 65000):
            self.record(5, body[i:i + 65000])
        if end:
            self.record(5)

    def read(self, n):
        while len(self.pending) < n:
            chunk = self.s.recv(65536)
            if not chunk:
                raise EOFError
            self.pending += chunk
        out, self.pending = self.pending[:n], self.pending[n:]
        return out

    def answer(self):
        """The CGI answer, or None when the connection ended without one."""
        out = b""
        try:
            while True:
                _, kind, _, n, pad = struct.unpack(">BBHHBx", self.read(8))
                content = self.read(n + pad)[:n]
                if kind == 6:
                    out += content
                if kind == 3:
                    break
        except (EOFError, ConnectionResetError):
            pass
        return parse_cgi(out) if out else None


def parse_cgi(out):
    import email

    head, _, body = out.partition(b"\r\n\r\n")
    assert head.startswith(b"Status: "), out
    status, _, headers = head.partition(b"\r\n")
    return Response(int(status.split()[1]),
                    email.message_from_bytes(headers + b"\r\n"), body)


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


def sha256(text):
    return hashlib.sha256(text.encode()).hexdigest()

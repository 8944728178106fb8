"""The ways to host Postern: which server, from which file, and who starts
Postern. `Site` is one of them, running."""
import dataclasses
import http.client
import os
import pathlib
import pwd
import shutil
import socket
import subprocess
import typing

from lib.client import Client
from lib.fastcgi import Response
from lib.process import PATIENCE, SANITIZED, wait_until
from lib.stack import Stack
from servers import Apache, Caddy, Front, Lighttpd, Nginx

WORKERS = 2  # of a Postern that runs on its own
MAX_BODY = 65536
ORIGIN = "https://page.example"  # of a page that may call the API
SCRIPT = "/cgi-bin/postern.fcgi"
PROGRAMS = ("postern.fcgi", "index.fcgi")


def pattern(mount):
    return {"^/(v1/": f"^{mount}/(v1/"}


def alias(mount):
    return {"Alias /": f"Alias {mount}/"}


def caddy_path(mount):
    return {"path /v1/* /healthz /readyz /metrics /openapi.json":
            f"path {mount}/*"}


def variable(mount):
    return {'var.mount   = ""': f'var.mount   = "{mount}"'}


@dataclasses.dataclass(frozen=True)
class Way:
    name: str
    server: typing.Type[Front]
    file: str
    # alone: a program of its own; idle: the web server starts it; multiwatch
    postern: str = "alone"
    # Which of the file's ways.
    way: int = None
    # What its head says to change for another mount.
    mount: typing.Callable = None
    # Does a script's name arrive that ends in .fcgi? Else POSTERN_BASE_PATH.
    script: typing.Callable = None
    # Is the mount always told by the script's name?
    by_name: bool = False
    # Requests at once: what the file says, or WORKERS.
    processes: int = WORKERS
    # Is a body read whole before a worker gets it?
    buffers: bool = True


def lighttpd_script(mount):
    return {**pattern(mount), '("/" =>': f'("{mount}" =>'}


class Multiwatch(Front):
    """Not a web server: contrib/spawn-fcgi/postern, which needs none of the
    replacements but the paths."""

    name = "multiwatch"

    def configure(self):
        path, = self.site_files()
        return path

    def command(self, path):
        return ["/bin/sh", path]

    def start(self, wait=True):
        super().start(wait=False)
        wait_until("multiwatch's socket", self.stack.listening)

    def fill(self, text):
        # multiwatch itself is where its package put it.
        self.values.setdefault("/usr/bin/multiwatch", "/usr/bin/multiwatch")
        return super().fill(text)


class SharedHost(Apache):
    """Apache as a host runs it for its customers: the site can bring nothing
    but files. Its user's home is ours, by nss_wrapper."""

    def __init__(self, stack, *files, directory="", **kw):
        self.directory = directory
        super().__init__(stack, *files, **kw)

    def configure(self):
        self.home = self.dir / "home"
        self.root = self.dir / "site"
        self.app = self.root / self.directory.strip("/")
        for d in (self.home, self.app):
            d.mkdir(exist_ok=True, parents=True)
        shutil.copytree(self.scratch.path / "www", self.app,
                        dirs_exist_ok=True)
        shutil.copy(self.scratch.bin / "postern.fcgi", self.app / "index.fcgi")
        shutil.copy(self.files[0], self.app / ".htaccess")
        self.home_settings = self.home / ".postern.conf"
        self.stack.write_settings(self.home_settings)
        me = pwd.getpwnam("www-data") if os.getuid() == 0 \
            else pwd.getpwuid(os.getuid())
        (self.dir / "passwd").write_text(
            f"{me.pw_name}:x:{me.pw_uid}:{me.pw_gid}::{self.home}:/bin/sh\n")
        (self.dir / "group").write_text(f"{me.pw_name}:x:{me.pw_gid}:\n")
        wrapper, = pathlib.Path("/usr/lib").glob("*/libnss_wrapper.so")
        preload = str(wrapper)
        if SANITIZED:  # its own library has to come first
            preload = subprocess.run(
                ["gcc", "-print-file-name=libasan.so"], check=True,
                capture_output=True, text=True).stdout.strip() + ":" + preload
        self.extra = f"""\
FcgidInitialEnv LD_PRELOAD {preload}
FcgidInitialEnv NSS_WRAPPER_PASSWD {self.dir}/passwd
FcgidInitialEnv NSS_WRAPPER_GROUP {self.dir}/group
FcgidMaxProcessesPerClass 8
FcgidMaxRequestLen 131072
Listen 127.0.0.1:{self.port}
DocumentRoot "{self.root}"
<Directory "{self.root}">
	AllowOverride All
	Options +ExecCGI
	Require all granted
</Directory>
"""
        return super().configure()

    def site_files(self):
        return []  # the customer's file is no part of the host's


WAYS = [
    Way("lighttpd", Lighttpd, "lighttpd.conf.example", way=1, mount=pattern,
        script=lighttpd_script),
    Way("lighttpd spawned", Lighttpd, "lighttpd.conf.example", "idle", 2,
        pattern, lighttpd_script, processes=4),
    Way("lighttpd CGI", Lighttpd, "contrib/lighttpd/cgi.conf", "idle",
        mount=variable, by_name=True, processes=4),
    Way("Apache proxy", Apache, "contrib/apache/mod_proxy_fcgi.conf",
        mount=pattern),
    Way("Apache fcgid", Apache, "contrib/apache/mod_fcgid.conf", "idle",
        mount=alias, script=alias, processes=8),
    Way("Apache htaccess", SharedHost, "contrib/apache/htaccess", "idle",
        by_name=True, processes=8),
    Way("Apache CGI", Apache, "contrib/apache/cgi.conf", "idle",
        mount=alias, script=alias, processes=4, buffers=False),
    Way("nginx", Nginx, "contrib/nginx/postern.conf", way=1, mount=pattern),
    Way("nginx kept", Nginx, "contrib/nginx/postern.conf", way=2,
        mount=pattern),
    Way("Caddy", Caddy, "contrib/caddy/Caddyfile", mount=caddy_path),
    Way("spawn-fcgi", Nginx, "contrib/nginx/postern.conf", "multiwatch", 1,
        mount=pattern, processes=4),
]
BY_NAME = {w.name: w for w in WAYS}


class Site(Client):
    """One way, running: its own Postern and its own web server. Paths are
    relative to the mount."""

    def __init__(self, pg, way, mount="", script=False, values=None, env=None,
                 **kw):
        self.way, self.prefix = way, mount
        directory = mount
        if way.server is SharedHost and script:
            # The program's own name in the path.
            directory = mount.rpartition("/")[0]
            self.prefix = directory + "/index.fcgi"
        self.stack = self.front = self.watcher = None
        self.base = bool(mount) and not way.by_name and not (
            script and way.script)
        change = way.script if script and way.script else way.mount
        if mount and change:
            values = {**change(mount), **(values or {})}
        self.stack = Stack(
            pg, way="alone" if way.postern == "alone" else "idle",
            workers=WORKERS, ready=False, env={
                "POSTERN_QUERY_TIMEOUT": "30",
                **({"POSTERN_BASE_PATH": mount} if self.base else {}),
                **(env or {})})
        try:
            if way.postern == "multiwatch":
                self.watcher = Multiwatch(
                    self.stack, "contrib/spawn-fcgi/postern")
            if way.server is SharedHost:
                kw["directory"] = directory
            self.front = way.server(
                self.stack, way.file, values=values, way=way.way, **kw)
        except BaseException:
            self.stop()
            raise
        super().__init__(self.front.port, registered=self.stack.registered)
        wait_until("ready", lambda: self.get("/readyz").status == 200)

    def request(self, method, path, *args, **kw):
        return super().request(method, self.prefix + path, *args, **kw)

    def stop(self):
        for part in (self.front, self.watcher, self.stack):
            if part is not None:
                part.stop()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.stop()

    def head(self, method, path, headers, *more):
        """The bytes of a request's head; headers may repeat a name."""
        if isinstance(headers, dict):
            headers = headers.items()
        lines = [f"{method} {self.prefix}{path} HTTP/1.1",
                 f"Host: 127.0.0.1:{self.port}",
                 *(f"{k}: {v}" for k, v in headers), *more]
        return ("\r\n".join(lines) + "\r\n\r\n").encode()

    @property
    def scratch_bin(self):
        return self.stack.scratch.bin / "postern.fcgi"

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), PATIENCE)

    def exchange(self, data, method="GET"):
        """What comes back for these bytes."""
        with self.connect() as s:
            s.sendall(data)
            return answer(s, method)

    def programs(self):
        """Process ids of Postern that serve: workers or single processes."""
        roots = {p.process.pid for p in (self.front, self.watcher)
                 if p is not None}
        if self.stack.process is not None:
            return set(self.stack.workers())
        parents, found = {}, set()
        for d in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                text = (d / "stat").read_text()
            except OSError:
                continue
            name = text[text.index("(") + 1:text.rindex(")")]
            state, parent = text[text.rindex(")") + 2:].split()[:2]
            parents[int(d.name)] = int(parent)
            if name in PROGRAMS and state != "Z":
                found.add(int(d.name))

        def ours(pid):
            while pid > 1:
                if pid in roots:
                    return True
                pid = parents.get(pid, 0)
            return False

        return {pid for pid in found if ours(pid)}


def answer(s, method="GET"):
    r = http.client.HTTPResponse(s, method=method)
    r.begin()
    return Response(r.status, r.headers, r.read())

"""The gates: which front and which of the shipped files, and what stands
behind them."""
import http.client
import json
import shutil

import pytest

from backends import Php, Service
from lib.fastcgi import Response
from lib.process import PATIENCE, REPO, can_connect, free_port, wait_until
from lib.stack import Stack
from servers import Apache, Caddy, Lighttpd, Nginx

IDENTITY = ("X-App-Id", "X-App-Name", "X-App-Public-Key", "X-Token-Subject")
VARIABLES = ("POSTERN_APP_ID", "POSTERN_APP_NAME", "POSTERN_APP_PUBLIC_KEY",
             "POSTERN_SUBJECT")
MODULES = "/usr/lib/apache2/modules"


class Gate:
    """behind: the Php and the Service; values: more to replace in the file."""

    files = ()
    php = True         # the recipe guards PHP
    body = True        # a refusal's body arrives as Postern wrote it
    statuses = True    # a refusal's status arrives; else it is 401
    spawned = False    # the web server starts Postern itself
    longest = 1 << 15  # what a header of Postern's may hold

    def __init__(self, stack, behind, values=None):
        self.behind = behind
        shipped = "".join((REPO / f).read_text() for f in self.files)
        given = {"/srv/www": str(behind.php.www),
                 "/run/php/php-fpm.sock": behind.php.sock,
                 "3000": str(behind.service.port)}
        given = {k: v for k, v in given.items() if k in shipped}
        self.front = self.start(stack, {**given, **(values or {})})

    def ask(self, method, path, headers=(), body=None):
        """headers: a dict, or pairs, which are sent as they stand."""
        c = http.client.HTTPConnection("127.0.0.1", self.front.port,
                                       timeout=PATIENCE)
        try:
            pairs = list(headers.items() if isinstance(headers, dict)
                         else headers)
            if body is not None or method in ("POST", "PUT"):
                pairs.append(("Content-Length", str(len(body or b""))))
            c.putrequest(method, path)
            for name, value in pairs:
                c.putheader(name, value)
            c.endheaders(body)
            r = c.getresponse()
            return Response(r.status, r.headers, r.read())
        finally:
            c.close()

    def told(self, path, headers=(), method="GET", body=None):
        """What PHP or the service was told, past the gate."""
        r = self.ask(method, path, headers, body)
        assert r.status == 200, (r, self.front.logs()[-2000:])
        return json.loads(r.body)

    def stop(self):
        self.front.stop()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.stop()


class LighttpdGate(Gate):
    name = "lighttpd"
    files = ("contrib/lighttpd/gate.conf",)

    def start(self, stack, values):
        lua = stack.scratch.dir() / "gate.lua"
        shutil.copy(REPO / "contrib/lighttpd/gate.lua", lua)
        return WholeLighttpd(stack, *self.files, values={
            "/etc/lighttpd/gate.lua": str(lua), **values})


class WholeLighttpd(Lighttpd):
    """The recipe is a part of a lighttpd.conf: this is the rest of it."""

    def configure(self):
        path = super().configure()
        path.write_text(f"""\
server.port = {self.port}
server.bind = "127.0.0.1"
server.document-root = "{self.values['/srv/www']}"
server.errorlog = "{self.dir}/error.log"
server.upload-dirs = ("{self.dir}")
mimetype.assign = (".html" => "text/html", "" => "text/plain")
index-file.names = ("index.html")
static-file.exclude-extensions = (".php")
{path.read_text()}""")
        return path


class FcgidGate(Gate):
    name = "Apache fcgid"
    files = ("contrib/apache/gate-fcgid.conf",)
    body = False
    statuses = False
    spawned = True
    longest = 8000

    def start(self, stack, values):
        return Apache(stack, *self.files, values=values, main=(
            f"LoadModule proxy_http_module {MODULES}/mod_proxy_http.so"))


class AuthnzGate(Gate):
    name = "Apache authnz"
    files = ("contrib/apache/gate-authnz.conf",)
    longest = 8000

    def start(self, stack, values):
        if "9000" not in values:
            values = {"9000": str(stack.tcp().port), **values}
        return Apache(stack, *self.files, values=values, main="\n".join(
            f"LoadModule {m}_module {MODULES}/mod_{m}.so"
            for m in ("proxy_http", "authn_core", "authz_user",
                      "authnz_fcgi")))


class NginxGate(Gate):
    name = "nginx"
    files = ("contrib/nginx/gate.conf",)

    def start(self, stack, values):
        return Nginx(stack, *self.files, values=values)


class CaddyGate(Gate):
    name = "Caddy"
    files = ("contrib/caddy/Caddyfile.gate",)
    php = False

    def start(self, stack, values):
        return Caddy(stack, *self.files, values=values)


GATES = [LighttpdGate, FcgidGate, AuthnzGate, NginxGate, CaddyGate]
each_gate = pytest.mark.parametrize("gate", GATES, ids=lambda g: g.name)


class TcpStack(Stack):
    """Postern with a second one on a TCP port, over the same database."""

    second = None

    def tcp(self):
        if self.second is None:
            port = free_port()
            self.second = Stack(
                self.pg, way="alone", database=self.database, wait=False,
                env={**self.env, "POSTERN_LISTEN": f"127.0.0.1:{port}"})
            self.second.port = port
            wait_until("Postern's port", lambda: can_connect(port))
        return self.second

    def stop(self):
        try:
            if self.second is not None:
                self.second.stop()
        finally:
            super().stop()


class Behind:
    def __init__(self, scratch):
        self.php = Php(scratch)
        self.service = Service()

    def stop(self):
        self.php.stop()
        self.service.stop()


@pytest.fixture(scope="session")
def behind(scratch):
    b = Behind(scratch)
    yield b
    b.stop()


@pytest.fixture(scope="session")
def stack(pg):
    with TcpStack(pg, way="external",
               env={"POSTERN_LOG_LEVEL": "debug"}) as s:
        yield s

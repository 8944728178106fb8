"""What a gate guards: files, PHP, a service; and something that only looks
like Postern."""
import http.server
import json
import os
import pathlib
import socket
import struct
import subprocess
import threading

from lib.process import demoted, stop, wait_until

PAGE = """<?php
header('Content-Type: application/json');
if (isset($_GET['status'])) http_response_code((int)$_GET['status']);
echo json_encode(['server' => $_SERVER, 'query' => $_GET,
    'method' => $_SERVER['REQUEST_METHOD'],
    'length' => strlen(file_get_contents('php://input')),
    'sha256' => hash('sha256', file_get_contents('php://input'))]);
"""


class Php:
    """php-fpm, and a document root with the guarded folder."""

    def __init__(self, scratch):
        self.dir = scratch.dir()
        self.sock = str(self.dir / "php")
        self.www = self.dir / "www"
        private = self.www / "private"
        (private / "v1").mkdir(parents=True)
        (private / "empty").mkdir()
        (private / "sub").mkdir()
        (private / "sub/index.html").write_text("guarded file\n")
        for name in ("page.html", "healthz", "v1/whoami", "openapi.json"):
            (private / name).write_text("guarded file\n")
        (private / "page.php").write_text(PAGE)
        (self.www / "open.html").write_text("open file\n")
        conf = self.dir / "fpm.conf"
        conf.write_text(f"""\
[global]
error_log = {self.dir}/log
[www]
listen = {self.sock}
pm = static
pm.max_children = 2
""")
        program = sorted(pathlib.Path("/usr/sbin").glob("php-fpm*"))[-1]
        self.process = subprocess.Popen(
            [program, "-F", "-n", "-y", conf], cwd="/", preexec_fn=demoted(),
            env={"PATH": os.environ["PATH"]}, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until("php-fpm", lambda: os.path.exists(self.sock))

    def stop(self):
        stop(self.process)


class Service(http.server.ThreadingHTTPServer):
    """Tells in JSON what reached it, headers as they were spelt."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Echo)
        self.seen = 0
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def port(self):
        return self.server_address[1]

    def stop(self):
        self.shutdown()
        self.server_close()


class Echo(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        self.server.seen += 1
        n = int(self.headers.get("Content-Length") or 0)
        body, trailers = self.rfile.read(n), []
        if self.headers.get("Transfer-Encoding") == "chunked":
            body, trailers = self.chunks()
        out = json.dumps({
            "method": self.command, "uri": self.path, "length": len(body),
            "headers": self.headers.items() + trailers}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(out)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(out)

    def chunks(self):
        body, trailers = b"", []
        while n := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(n)
            self.rfile.readline()
        while line := self.rfile.readline().decode().strip():
            name, _, value = line.partition(":")
            trailers.append((name, value.strip()))
        return body, trailers

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_OPTIONS = answer

    def log_message(self, *args):
        pass


# What a broken authorizer may answer: bytes of STDOUT, and whether the request
# is ended in form.
VARIABLES = b"Variable-POSTERN_APP_ID: 666\r\nX-App-Id: 666\r\n"
BROKEN = {
    "empty": (b"", True),
    "cut": (b"", False),
    "no_status": (VARIABLES + b"Content-Type: text/plain\r\n\r\n", True),
    "status_not_first": (VARIABLES + b"Status: 401 Unauthorized\r\n\r\n",
                         True),
    "no_end_of_head": (b"Status: 401 Unauthorized\r\nContent-", True),
    "head_cut": (b"Status: 401 Unauthorized\r\nContent-", False),
    "garbage": (bytes(range(128, 256)) * 3, True),
    "garbage_records": (None, False),
}


def fake(listener, kind_of):
    """Answer every FastCGI request on the listener as kind_of() says."""
    while True:
        try:
            s, _ = listener.accept()
        except OSError:
            return
        with s:
            try:
                request = read_request(s)
                out, ends = BROKEN[kind_of()]
                if out is None:
                    s.sendall(b"HTTP/1.1 200 OK\r\n\r\n" * 20)
                if out:
                    s.sendall(record(6, request, out))
                if ends:
                    s.sendall(record(6, request) + record(
                        3, request, bytes(8)))
                # Closed with input unread, the answer would be reset.
                s.settimeout(5)
                s.shutdown(socket.SHUT_WR)
                while s.recv(4096):
                    pass
            except (OSError, EOFError):
                pass


def record(kind, request, content=b""):
    return struct.pack(">BBHHBx", 1, kind, request, len(content), 0) + content


def read_request(s):
    """Read to the end of the params (an authorizer gets no more for sure)."""
    f = s.makefile("rb")
    while True:
        head = f.read(8)
        if len(head) < 8:
            raise EOFError
        _, kind, request, n, pad = struct.unpack(">BBHHBx", head)
        f.read(n + pad)
        if kind == 4 and n == 0:
            return request


class Fake:
    """In Postern's place: a Unix socket, a port, and a program."""

    def __init__(self, scratch):
        self.dir = scratch.dir()
        self.kind = self.dir / "kind"
        self.sock = str(self.dir / "fcgi")
        self.program = self.dir / "fake.fcgi"
        unix, self.tcp = socket.socket(socket.AF_UNIX), socket.socket()
        unix.bind(self.sock)
        os.chmod(self.sock, 0o666)
        self.tcp.bind(("127.0.0.1", 0))
        self.listeners = [unix, self.tcp]
        for s in self.listeners:
            s.listen()
            threading.Thread(target=fake, args=(s, self.kind.read_text),
                             daemon=True).start()
        # mod_fcgid starts it as the unprivileged user, the socket on fd 0.
        source = pathlib.Path(__file__).read_text()
        source = source[source.index("# What a broken"):
                        source.index("class Fake")]
        self.program.write_text(
            "#!/usr/bin/python3\nimport os\nimport pathlib\n"
            f"import socket\nimport struct\n{source}\n"
            "fake(socket.socket(fileno=os.dup(0)),\n"
            f"     pathlib.Path({str(self.kind)!r}).read_text)\n")
        self.program.chmod(0o755)

    @property
    def port(self):
        return self.tcp.getsockname()[1]

    def stop(self):
        for s in self.listeners:
            s.close()

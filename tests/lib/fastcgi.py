"""FastCGI without a web server."""
import email
import json
import socket
import struct

from lib.process import PATIENCE


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

    @staticmethod
    def framed(kind, content=b"", request=1, version=1, length=None):
        n = len(content) if length is None else length
        return struct.pack(">BBHHBx", version, kind, request, n, 0) + content

    def record(self, kind, content=b"", **kw):
        self.s.sendall(self.framed(kind, content, **kw))

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
        self.stream(4, self.encode(params), end)

    def stdin(self, body, end=True):
        self.stream(5, body, end)

    def stream(self, kind, data, end=True):
        """A record at a time, as a slow web server."""
        for i in range(0, len(data), 65000):
            self.record(kind, data[i:i + 65000])
        if end:
            self.record(kind)

    def whole(self, params, body=b""):
        """A request in one piece, on a connection that stays."""
        data = self.framed(1, struct.pack(">HB5x", 1, 1))
        for kind, content in ((4, self.encode(params)), (5, body)):
            for i in range(0, len(content), 65000):
                data += self.framed(kind, content[i:i + 65000])
            data += self.framed(kind)
        self.s.sendall(data)

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
        out = self.output()
        return parse_cgi(out) if out else None

    def output(self):
        """What it wrote, until it was done or had ended."""
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
        return out


def parse_cgi(out):
    head, _, body = out.partition(b"\r\n\r\n")
    assert head.startswith(b"Status: "), out
    status, _, headers = head.partition(b"\r\n")
    return Response(int(status.split()[1]),
                    email.message_from_bytes(headers + b"\r\n"), body)

"""The client of all tests."""
import http.client
import json
import socket

from lib.fastcgi import FastCGI, Response
from lib.process import PATIENCE
from lib.tokens import ADMIN, REGISTRATION, App


class Client:
    """Asks the web server on a port of 127.0.0.1; without one Postern itself,
    by FastCGI on its socket, over one connection that is kept. self.registered
    has the secret keys that it was given."""

    port = sock = kept = None

    def __init__(self, port=None, sock=None, registered=None):
        self.port, self.sock = port, sock
        self.registered = [] if registered is None else registered

    def request(self, method, path, headers=None, body=None, timeout=None):
        if self.port is None:
            self.send(method, path, headers, body)
            return self.receive()
        headers, body = self.written(headers, body)
        if body is None and method in ("POST", "PUT", "PATCH"):
            headers.setdefault("Content-Length", "0")
        c = http.client.HTTPConnection(
            "127.0.0.1", self.port, timeout=timeout or PATIENCE)
        try:
            c.request(method, path, body, headers)
            r = c.getresponse()
            return Response(r.status, r.headers, r.read())
        finally:
            c.close()

    @staticmethod
    def written(headers, body):
        headers = dict(headers or {})
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
            headers.setdefault("Content-Type", "application/json")
        return headers, body.encode() if isinstance(body, str) else body

    def get(self, path, headers=None, **kw):
        return self.request("GET", path, headers, **kw)

    def whoami(self, app, **kw):
        return self.get("/v1/whoami", app.auth(**kw))

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
        app = App(r.json())
        self.registered.append(app.secret)
        return app

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

    # -- straight to Postern

    def send(self, method, path, headers=None, body=None):
        headers, body = self.written(headers, body)
        params = {"REQUEST_METHOD": method, "REQUEST_URI": path}
        if body:
            params["CONTENT_LENGTH"] = len(body)
        if kind := headers.pop("Content-Type", None):
            params["CONTENT_TYPE"] = kind
        for name, value in headers.items():
            params["HTTP_" + name.upper().replace("-", "_")] = value
        if self.kept is None:
            self.kept = FastCGI(self.sock)
        self.kept.whole(params, body or b"")

    def receive(self):
        r = self.kept.answer()
        assert r is not None, "no answer"
        return r

    def close(self):
        if self.kept is not None:
            self.kept.s.close()
        self.kept = None

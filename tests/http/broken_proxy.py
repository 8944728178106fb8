"""An HTTP proxy that breaks one thing at a time, between a client and a Stack.

It reads one request a connection, hands it on, and closes. What it breaks is
an attribute, set by name: Broken(port, drop_request={"authorization"}).
"""
import gzip
import http.client
import socket
import threading
import time
from email.utils import formatdate


class Broken:
    def __init__(self, port, drop_request=(), drop_response=(), rename=None,
                 refuse=(), refuse_status=405, max_body=None,
                 no_chunked=False, lose_body=False, pages=False, skew=0,
                 date=True, strip="", add="", decode=False, redirect=None,
                 silent=False, garbage=None, static=None, server=None,
                 basic=False, status=None, weak_etag=False,
                 set_response=None, too_large=413, hasty=False,
                 fake_status=None, tls=None, compress="", max_header=None,
                 header_status=400):
        self.port_behind = port
        self.drop_request = {h.lower() for h in drop_request}
        self.drop_response = {h.lower() for h in drop_response}
        self.rename = {k.lower(): v for k, v in (rename or {}).items()}
        self.refuse, self.refuse_status = set(refuse), refuse_status
        self.max_body, self.too_large = max_body, too_large
        self.no_chunked, self.lose_body = no_chunked, lose_body
        self.pages, self.skew, self.date = pages, skew, date
        self.strip, self.add, self.decode = strip, add, decode
        self.redirect, self.silent, self.garbage = redirect, silent, garbage
        self.static, self.server, self.basic = static or {}, server, basic
        self.status, self.weak_etag = status, weak_etag
        self.set_response = set_response or {}
        self.max_header, self.header_status = max_header, header_status
        self.compress = compress  # the ETag that comes of it
        self.hasty = hasty  # refuses a body before it has come
        self.fake_status = fake_status or {}  # after it was done
        self.tls = tls  # an ssl.SSLContext
        self.seen = []  # (method, path) of what came
        self.arrived = threading.Event()
        self.release = threading.Event()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self.port}"
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.release.set()
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(20)
        assert not self.thread.is_alive()

    def serve(self):
        while True:
            try:
                s, _ = self.listener.accept()
            except OSError:
                return
            with s:
                s.settimeout(20)
                try:
                    if self.tls:
                        s = self.tls.wrap_socket(s, server_side=True)
                    self.one(s, s.makefile("rb"))
                except OSError:
                    pass  # the client went away

    @staticmethod
    def read_body(f, headers):
        if headers.get("transfer-encoding", "").lower() != "chunked":
            return f.read(int(headers.get("content-length", 0)))
        body = b""
        while size := int(f.readline().split(b";")[0] or b"0", 16):
            body += f.read(size)
            f.readline()
        f.readline()
        return body

    def one(self, s, f):
        line = f.readline()
        if not line:
            return  # it didn't like our certificate
        method, path, _ = line.decode("latin-1").split(" ", 2)
        headers = {}
        while (line := f.readline()) not in (b"\r\n", b""):
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.strip().lower()] = value.strip()
        if self.max_header and self.max_header < max(
                len(v) for v in headers.values()):
            if self.header_status:  # or it just hangs up
                s.sendall(self.render(method, *self.page(self.header_status)))
            return
        chunked = "transfer-encoding" in headers
        self.seen.append((method, path))
        if self.hasty and int(headers.get("content-length", 0)) > 60000:
            s.sendall(self.render(method, *self.page(413)))
            return
        if headers.pop("expect", "") and not self.no_chunked:
            s.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = self.read_body(f, headers) if not (
            chunked and self.no_chunked) else b""
        self.arrived.set()
        if self.silent:
            self.release.wait(30)
            return
        if self.garbage is not None:
            s.sendall(self.garbage)
            return
        answer = self.own(method, path, chunked, body) or \
            self.behind(method, path, headers, body)
        s.sendall(self.render(method, *answer))

    def page(self, status, extra=(), text="<h1>from the proxy</h1>"):
        return status, [("Content-Type", "text/html"), *extra], text.encode()

    def own(self, method, path, chunked, body):
        """What is answered without asking further."""
        if path in self.static:
            return self.page(200, text=self.static[path])
        if self.redirect:
            return self.page(301, [("Location", self.redirect + path)])
        if self.basic:
            return self.page(401, [("WWW-Authenticate", 'Basic realm="x"')])
        if self.status:
            return self.page(self.status)
        if method in self.refuse:
            return self.page(self.refuse_status)
        if chunked and self.no_chunked:
            return self.page(411)
        if self.max_body is not None and len(body) > self.max_body:
            return self.page(self.too_large)
        if self.strip and not path.startswith(self.strip):
            return self.page(404)
        return None

    def behind(self, method, path, headers, body):
        path = self.add + path[len(self.strip):]
        if self.decode:
            path = path.replace("%20", "+").replace("%2F", "/")
        out = {self.rename.get(k, k): v for k, v in headers.items()
               if k not in self.drop_request
               and k not in ("transfer-encoding", "content-length")}
        if self.lose_body:
            body = b""
        if body or method in ("POST", "PUT", "PATCH"):
            out["content-length"] = str(len(body))
        c = http.client.HTTPConnection("127.0.0.1", self.port_behind,
                                       timeout=20)
        try:
            c.putrequest(method, path, skip_host=True,
                         skip_accept_encoding=True)
            for k, v in out.items():
                c.putheader(k, v)
            c.endheaders(body or None)
            r = c.getresponse()
            answer = r.status, r.getheaders(), r.read()
        finally:
            c.close()
        if method in self.fake_status:
            return self.page(self.fake_status[method])
        if self.compress and "gzip" in headers.get(
                "accept-encoding", "") and answer[0] == 200:
            head = [(k, v) for k, v in answer[1]
                    if k.lower() not in ("content-length", "etag")]
            head.append(("Content-Encoding", "gzip"))
            head += [("ETag", self.compress.replace("tag", v[1:-1]))
                     for k, v in answer[1] if k.lower() == "etag"]
            answer = answer[0], head, gzip.compress(answer[2])
        if self.pages and answer[0] >= 400:
            kept = [(k, v) for k, v in answer[1]
                    if k.lower() not in ("content-type", "content-length")]
            return self.page(answer[0], kept)
        return answer

    def render(self, method, status, headers, body):
        skip = {"connection", "content-length", "transfer-encoding", "date",
                *self.drop_response}
        if self.server is not None:
            skip.add("server")
        skip |= {k.lower() for k in self.set_response}
        out = [f"HTTP/1.1 {status} X"]
        for k, v in headers:
            if k.lower() == "etag" and self.weak_etag:
                v = "W/" + v
            if k.lower() not in skip:
                out.append(f"{k}: {v}")
        if self.server:
            out.append(f"Server: {self.server}")
        out += [f"{k}: {v}" for k, v in self.set_response.items()]
        if self.date:
            out.append("Date: " + formatdate(time.time() + self.skew,
                                             usegmt=True))
        if status not in (204, 304):
            length = len(body)
            if method == "HEAD":
                body = b""
                length = 0
            out.append(f"Content-Length: {length}")
        else:
            body = b""
        out.append("Connection: close")
        return ("\r\n".join(out) + "\r\n\r\n").encode("latin-1") + body

"""The ways in: more of FastCGI's streams, the path rule of each web server,
plain CGI, sockets handed over, descriptors that are closed."""
import json
import os
import socket
import struct
import subprocess
import threading
import time

import pytest

from lib.fastcgi import FastCGI, parse_cgi
from lib.process import PATIENCE, demoted, stop, wait_until
from lib.tokens import REGISTRATION, App

pytestmark = pytest.mark.strange

BODY = b'{"name":"raw"}'
TIMEOUT = 2  # of the fixture `alone`, POSTERN_REQUEST_TIMEOUT


def registration(length=len(BODY), **more):
    p = {"REQUEST_METHOD": "POST", "REQUEST_URI": "/v1/apps",
         "CONTENT_TYPE": "application/json",
         "HTTP_AUTHORIZATION": "Bearer " + REGISTRATION, **more}
    if length is not None:
        p["CONTENT_LENGTH"] = length
    return p


def get(path, **more):
    return {"REQUEST_METHOD": "GET", "REQUEST_URI": path, **more}


def apps(stack):
    return stack.sql("SELECT count(*) FROM apps")[0][0]


def alive(stack):
    """Every worker answers: as many at once as there are, and some more."""
    clients = [FastCGI(stack.sock) for _ in range(4)]
    try:
        for f in clients:
            f.begin()
            f.params(get("/readyz"))
            f.stdin(b"")
        assert [f.answer().status for f in clients] == [200] * 4
    finally:
        for f in clients:
            f.s.close()


# -- bodies and records

def test_no_body_at_all(alone):
    for length in (None, "", "0", "-1"):
        r = alone.fcgi(registration(length), b"")
        assert (r.status, r.code) == (400, "body_required")
    # A GET's body is read over, and a missing one is no fault.
    assert alone.fcgi(get("/healthz", CONTENT_LENGTH="3"), b"abc").status == 200
    assert alone.fcgi(get("/healthz", CONTENT_LENGTH=""), b"").status == 200


def test_body_of_unknown_length_is_bounded(alone):
    for n, status in ((65536, 400), (65537, 413), (3000000, 413)):
        body = b'{"name":"' + b"x" * (n - 11) + b'"}'
        try:
            r = alone.fcgi(registration(None), body)
        except (BrokenPipeError, ConnectionResetError):
            assert n > 2000000  # past what is drained
            continue
        assert r.status == status


def test_bytes_one_by_one(alone):
    """What a record is doesn't depend on what one read() brings."""
    with FastCGI(alone.sock) as f:
        sent = []
        f.s, real = type("S", (), {"sendall": lambda _, b: sent.append(b)})(), f.s
        f.begin()
        f.params(registration())
        f.stdin(BODY)
        f.s = real
        for b in b"".join(sent):
            real.send(bytes([b]))
        assert f.answer().status == 201


def test_padding(alone):
    def padded(f, kind, content, pad):
        f.s.sendall(struct.pack(">BBHHBx", 1, kind, 1, len(content), pad)
                    + content + b"\xff" * pad)

    with FastCGI(alone.sock) as f:
        f.begin()
        padded(f, 4, f.encode(registration()), 255)
        f.record(4)
        padded(f, 5, BODY, 7)
        f.record(5)
        assert f.answer().status == 201


def half(f, where):
    """Send a registration up to somewhere."""
    data = f.encode(registration())
    if where == "nothing":
        return
    if where == "half a header":
        f.s.sendall(b"\1\1\0\1")
        return
    f.begin()
    if where == "begun":
        return
    f.record(4, data[:len(data) // 2])
    if where == "half the params":
        return
    f.record(4, data[len(data) // 2:])
    if where == "params without an end":
        return
    f.record(4)
    if where == "no body":
        return
    if where == "a record cut":
        f.s.sendall(struct.pack(">BBHHBx", 1, 5, 1, len(BODY), 0) + BODY[:5])
        return
    f.record(5, BODY[:5])


PLACES = ["nothing", "half a header", "begun", "half the params",
          "params without an end", "no body", "a record cut", "half the body"]


@pytest.mark.parametrize("end", ["close", "shutdown", "abort", "disorder"])
@pytest.mark.parametrize("where", PLACES)
def test_streams_that_end_early(alone, where, end):
    """Nothing is done, whatever is answered; and the next one is served."""
    count = apps(alone)
    with FastCGI(alone.sock) as f:
        half(f, where)
        try:
            if end == "abort":
                f.record(2)
            elif end == "disorder":
                f.record(4, b"\1\1ab")
                f.record(5)
            if end != "close":
                f.s.shutdown(socket.SHUT_WR)
                r = f.answer()
                assert r is None or r.status >= 400, r
        except OSError:
            pass
    alive(alone)
    assert apps(alone) == count


@pytest.mark.parametrize("role", [1, 2, 3, 9])
def test_no_request_ends_without_an_answer(alone, role):
    """lighttpd takes an authorizer's end without output for consent: what is
    ended in form has a Status before that, and it is no yes."""
    def speak(f, where, end):
        f.begin(role, keep=end == "again")
        if where == "params without an end":
            f.params(get("/"), end=False)
        elif where == "params cut":
            f.record(4, FastCGI.encode(get("/"))[:-2])
            f.record(4)
        elif where == "params":
            f.params(get("/"))
        if end == "abort":
            f.record(2)
        elif end == "disorder":
            f.record(5)
            f.record(77, b"x" * 8)
            f.record(4)
        elif end == "again":
            f.begin(role)
            f.params(get("/"))
        f.s.shutdown(socket.SHUT_WR)

    for where in ("begun", "params without an end", "params cut", "params"):
        for end in ("shutdown", "abort", "disorder", "again"):
            with FastCGI(alone.sock) as f:
                out = b""
                try:
                    speak(f, where, end)
                    while True:
                        _, kind, request, n, pad = struct.unpack(
                            ">BBHHBx", f.read(8))
                        content = f.read(n + pad)[:n]
                        out += content if kind == 6 else b""
                        if kind == 3 and content[4] == 0:
                            assert out.startswith(b"Status: "), (where, end)
                            assert role != 2 or not out.startswith(
                                b"Status: 2"), (where, end)
                except (EOFError, OSError):
                    pass
    alive(alone)


def test_a_client_that_does_not_read(alone):
    """More than the socket buffers hold is left unread."""
    app = App(alone.fcgi(registration(), BODY).json())
    auth = {"HTTP_X_PUBLIC_KEY": app.public,
            "HTTP_AUTHORIZATION": "Bearer " + app.token()}
    big = json.dumps({"x": "y" * 65000}).encode()
    r = alone.fcgi({"REQUEST_METHOD": "PUT", "REQUEST_URI": "/v1/users/u",
                    "CONTENT_TYPE": "application/json",
                    "CONTENT_LENGTH": len(big), **auth}, big)
    assert r.status == 201
    deaf = []
    try:
        for _ in range(4):
            f = FastCGI(alone.sock)
            f.s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            deaf.append(f)
            f.begin()
            f.params(get("/v1/users/u", **auth))
            f.stdin(b"")
        alive(alone)
    finally:
        for f in deaf:
            f.s.close()


@pytest.mark.parametrize("gate", ["/v1/auth", "plain", "nginx", "authorizer"])
@pytest.mark.parametrize("length", [0, 100, 65536, 300000, 5000000])
def test_gate_with_a_body(alone, gate, length):
    """The decision ignores the body, however large, and arrives whole."""
    app = App(alone.fcgi(registration(), BODY).json())
    params = get("/v1/auth" if gate == "/v1/auth" else "/x",
                 CONTENT_LENGTH=length, HTTP_X_PUBLIC_KEY=app.public,
                 HTTP_AUTHORIZATION="Bearer " + app.token())
    if gate in ("plain", "nginx"):
        params["POSTERN_GATE"] = gate

    def send(f):
        try:
            f.stdin(b"x" * length)
        except OSError:
            pass

    with FastCGI(alone.sock) as f:
        f.begin(role=2 if gate == "authorizer" else 1)
        f.params(params)
        sender = threading.Thread(target=send, args=(f,))
        sender.start()
        r = f.answer()
        sender.join()
    assert r is not None and r.status == (200 if gate == "authorizer" else 204)
    alive(alone)


# -- kept connections

def test_a_kept_connection_after_a_refused_body(alone):
    """What was not read of one body is not taken for the next request."""
    with FastCGI(alone.sock) as f:
        for body in (b"x" * 70000, b"x" * 200000):
            f.begin(keep=True)
            f.params(registration(len(body)))
            f.stdin(body)
            assert f.answer().status == 413
        try:
            f.begin(keep=True)
            f.params(get("/healthz"))
            f.stdin(b"")
            r = f.answer()
        except OSError:
            r = None
        assert r is None or r.status == 200


# -- what is no request

def test_management_records(alone):
    """Questions about the server and unknown types, before a request: what
    is answered is libfcgi's, and the next client is served."""
    for kind, content in ((9, FastCGI.encode([("FCGI_MPXS_CONNS", "")])),
                          (9, b""), (99, b"x")):
        with FastCGI(alone.sock) as f:
            try:
                f.record(kind, content, request=0)
                f.begin()
                f.params(get("/healthz"))
                f.stdin(b"")
                f.s.shutdown(socket.SHUT_WR)
                while f.s.recv(65536):
                    pass
            except OSError:
                pass
    alive(alone)


def test_what_is_no_request(alone):
    for role in (0, 4, 9, 65535):
        with FastCGI(alone.sock) as f:
            f.begin(role=role)
            try:
                f.params(get("/healthz"))
                f.stdin(b"")
                assert f.answer() is None
            except OSError:
                pass
    for noise in (b"GET / HTTP/1.1\r\n\r\n", b"\0" * 64, b"\xff" * 64,
                  b"\1\1\0\1\0\2\0\0xx", struct.pack(">BBHHBx", 2, 1, 1, 8, 0)
                  + b"\0\1\0\0\0\0\0\0"):
        with FastCGI(alone.sock) as f:
            try:
                f.s.sendall(noise)
                f.s.shutdown(socket.SHUT_WR)
                assert f.answer() is None
            except OSError:
                pass
    alive(alone)


def test_hostile_lengths_cost_a_worker_at_most(make):
    """libfcgi aborts on lengths that add up past INT_MAX: the master starts
    another worker."""
    s = make(way="alone", env={"POSTERN_REQUEST_TIMEOUT": "2"})
    for _ in range(2):
        with FastCGI(s.sock) as f:
            f.begin()
            try:
                f.record(4, struct.pack(">II", 0xC0000000, 0xC0000000) + b"ab")
                f.answer()
            except OSError:
                pass
    wait_until("two workers", lambda: len(s.workers()) == 2)
    alive(s)


def test_strange_params(alone):
    """Bytes of strangers in names and values: an answer, and no 5xx."""
    rows = [
        [], [("REQUEST_METHOD", "")], [("REQUEST_URI", "/healthz")],
        [("REQUEST_METHOD", "GET"), ("REQUEST_URI", "")],
        [("REQUEST_METHOD", b"GET\0POST"), ("REQUEST_URI", b"/healthz\0x")],
        [("", ""), ("=", "="), ("REQUEST_URI", "*")],
        [("REQUEST_METHOD", "GET"), ("REQUEST_URI", b"\xff\xfe/\x01")],
        [("REQUEST_METHOD", "GET"), ("REQUEST_URI", "/v1/" + "a" * 9000)],
        [("REQUEST_METHOD", "GET"), ("REQUEST_URI", "://")],
        [("REQUEST_METHOD", "X" * 5000), ("REQUEST_URI", "/healthz")],
        [("REQUEST_METHOD", "GET"), ("REQUEST_URI", "/v1/whoami"),
         ("HTTP_X_PUBLIC_KEY", b"\xff" * 64), ("HTTP_AUTHORIZATION", b"\xff")],
    ]
    for params in rows:
        r = alone.fcgi(params)
        assert r is not None and r.status < 500, (params, r)
    r = alone.fcgi([*get("/healthz").items(),
                    *((f"HTTP_X{i}", "y" * 10) for i in range(20000))])
    assert r.status == 400
    r = alone.fcgi(get("/healthz", HTTP_COOKIE="x" * (1 << 20)))
    assert r.status == 400
    alive(alone)


@pytest.mark.parametrize("name,first,second", [
    ("CONTENT_LENGTH", len(BODY), 3), ("CONTENT_LENGTH", len(BODY), "-1"),
    ("CONTENT_LENGTH", len(BODY), f"0{len(BODY)}"),
    ("REQUEST_METHOD", "POST", "GET"), ("REQUEST_METHOD", "POST", "OPTIONS"),
    ("REQUEST_URI", "/v1/apps", "/healthz"),
    ("REQUEST_URI", "/v1/apps", "/v1/apps?x"),
    ("CONTENT_TYPE", "application/json", "text/plain"),
    ("FCGI_ROLE", "RESPONDER", "AUTHORIZER"),
    ("SCRIPT_NAME", "/v1/apps", "/x.fcgi"), ("PATH_INFO", "/a", "/b"),
    ("QUERY_STRING", "a", "b"), ("REMOTE_ADDR", "127.0.0.1", "127.0.0.2"),
    ("HTTP_CONTENT_ENCODING", "identity", "gzip"),
    ("HTTP_ORIGIN", "https://a.example", "https://b.example")])
def test_params_that_decide_come_once(alone, name, first, second):
    """With two values they are a refusal, in either order; with one twice, or
    with an empty one beside it, they are what they say."""
    others = [(k, v) for k, v in registration().items() if k != name]
    before = apps(alone)
    for pair in ((first, second), (second, first), (first, second, first)):
        r = alone.fcgi(others + [(name, v) for v in pair], BODY)
        assert r.status == 400, (pair, r)
        body = json.loads(r.body)
        assert body["code"] == "bad_request" and name in body["detail"]
    assert apps(alone) == before
    for same in ((first, first), ("", first), (first, "")):
        r = alone.fcgi(others + [(name, v) for v in same], BODY)
        assert r.status == 201, (same, r)
        alone.registered.append(r.json()["secret_key"])
    alive(alone)


@pytest.mark.parametrize("values,asker", [
    (("nginx", "plain"), None), (("plain", "nginx"), "nginx"),
    (("off", "nginx"), "nginx"), (("plain", "off"), None)])
def test_a_gate_asked_for_twice(alone, values, asker):
    """Never a yes, and never no gate."""
    r = alone.fcgi(registration(), BODY)
    app = App(r.json())
    alone.registered.append(app.secret)
    good = [("REQUEST_METHOD", "GET"), ("REQUEST_URI", "/healthz"),
            ("HTTP_X_PUBLIC_KEY", app.public),
            ("HTTP_AUTHORIZATION", "Bearer " + app.token())]
    for once in values:
        assert alone.fcgi(good + [("POSTERN_GATE", once)] * 2).status == 204
    r = alone.fcgi(good + [("POSTERN_GATE", v) for v in values])
    if asker == "nginx":
        assert (r.status, r["X-Postern-Status"]) == (403, "400")
    else:
        assert r.status == 400
    for role, param in ((3 - 1, "RESPONDER"), (1, "AUTHORIZER")):
        r = alone.fcgi(good + [("FCGI_ROLE", param)], role=role)
        assert r.status == 400, r
    # What nginx sends for an include and an override: no yes by either.
    for pair in (("/v1/auth", "/healthz"), ("/healthz", "/v1/auth")):
        r = alone.fcgi([g for g in good if g[0] != "REQUEST_URI"] + [
            ("REQUEST_URI", uri) for uri in pair])
        assert r.status == 400


# -- the path rule, one row a web server and mount

@pytest.mark.covers("ASVS-V13.1.1")
@pytest.mark.parametrize("uri,script,info", [
    ("/v1/users/a%20b?x=1", "/v1/users", "/a b"),        # lighttpd "/v1/"
    ("/v1/users/a%20b?x=1", "/v1", "/users/a b"),        # "/v1", ScriptAlias
    ("/v1/users/a%20b?x=1", "", "/v1/users/a b"),        # fixed root, Alias
    ("/v1/users/a%20b?x=1", "/index.fcgi", "/v1/users/a b"),     # rewritten
    ("/index.fcgi/v1/users/a%20b", "/index.fcgi", "/v1/users/a b"),
    ("/v1/users/a%20b?x=1", None, None),                 # authorizer, Caddy
    ("/v1/users/a%20b?x=1", "/v1/users/a b", None),      # nginx, ProxyPass
    ("/sub/v1/users/a%20b", "/sub/index.fcgi", "/v1/users/a b"),  # .htaccess
    ("/sub/index.fcgi/v1/users/a%20b", "/sub/index.fcgi", "/v1/users/a b"),
    ("http://host:80/v1/users/a%20b", "", "/v1/users/a b"),  # absolute form
    ("/v1/users/a%20b#frag", "", "/v1/users/a b"),
    (None, "/index.cgi", "/v1/users/a b"),               # no REQUEST_URI
    (None, "", "/v1/users/a b"),
])
def test_path_rule(alone, uri, script, info):
    app = App(alone.fcgi(registration(), BODY).json())
    r = alone.fcgi({
        "REQUEST_METHOD": "PUT", "REQUEST_URI": "/v1/users/a%20b",
        "CONTENT_TYPE": "application/json", "CONTENT_LENGTH": 8,
        "HTTP_X_PUBLIC_KEY": app.public,
        "HTTP_AUTHORIZATION": "Bearer " + app.token()}, b'{"a": 1}')
    assert r.status == 201
    params = {"REQUEST_METHOD": "GET", "HTTP_X_PUBLIC_KEY": app.public,
              "HTTP_AUTHORIZATION": "Bearer " + app.token(sub="a b")}
    for name, value in (("REQUEST_URI", uri), ("SCRIPT_NAME", script),
                        ("PATH_INFO", info)):
        if value is not None:
            params[name] = value
    r = alone.fcgi(params)
    if uri is None and script == "/index.cgi":
        assert r.status in (200, 404)
    else:
        assert (r.status, r.json()) == (200, {"a": 1})


@pytest.mark.parametrize("uri", [
    "/v1/users/a/", "/v1//users/a", "/v1/./users/a", "/v1/users/../users/a",
    "/v1/users/%2e%2e", "/v1/users/%2E", "/v1/users/%00", "/v1/users/a%",
    "/v1/users/%zz", "/v1/users/%ff", "v1/users/a", "/V1/users/a",
    "/v1/users/a%0a", "x?u=://h/healthz", "?u=://h/healthz", "://h/healthz",
    "x/y://h/healthz", "1x://h/healthz", "http:/h/healthz", "#://h/healthz"])
def test_odd_paths(alone, uri):
    app = App(alone.fcgi(registration(), BODY).json())
    r = alone.fcgi(get(uri, HTTP_X_PUBLIC_KEY=app.public,
                       HTTP_AUTHORIZATION="Bearer " + app.token()))
    assert r.status in (400, 404), r


def test_base_path(make):
    s = make(way="alone", env={"POSTERN_BASE_PATH": "/api/x"})
    assert s.fcgi(get("/api/x/healthz")).status == 200
    r = s.fcgi(registration(REQUEST_URI="/api/x/v1/apps"), BODY)
    assert r.status == 201
    assert r["Location"] == "/api/x/v1/apps/" + r.json()["public_key"]
    app = App(r.json())
    auth = {"HTTP_X_PUBLIC_KEY": app.public,
            "HTTP_AUTHORIZATION": "Bearer " + app.token()}
    assert s.fcgi(get("/api/x/v1/whoami", **auth)).status == 200
    assert s.fcgi(get("/api/xy/v1/whoami", **auth)).status == 404


# -- without a web server, and other ways to start

def cgi(stack, params, body=b"", args=(), **env):
    program = stack.scratch.bin / "postern.fcgi"
    r = subprocess.run(
        [program, *args], input=body, capture_output=True, timeout=PATIENCE,
        env={**stack.base_env(), **stack.env, **env,
             "GATEWAY_INTERFACE": "CGI/1.1",
             **{k: str(v) for k, v in params.items()}},
        preexec_fn=demoted(), cwd="/")
    return r


def test_plain_cgi_refuses(alone):
    count = apps(alone)
    for length, status in (("5", 400), ("20", 400), ("x", 400), ("", 400),
                           (70000, 413)):
        r = cgi(alone, registration(length), BODY)
        assert parse_cgi(r.stdout).status == status, (length, r.stdout)
    assert apps(alone) == count
    r = cgi(alone, get("/healthz"), POSTERN_MASTER_KEY="short")
    answer = parse_cgi(r.stdout)
    assert answer.status == 500
    assert b"POSTERN_MASTER_KEY" in r.stderr
    assert b"short" not in r.stdout
    # The gate may be asked by CGI as well.
    r = cgi(alone, get("/healthz"), POSTERN_GATE="plain")
    assert parse_cgi(r.stdout).status == 401


def test_plain_cgi_chunked(alone):
    """Apache hands it over without CONTENT_LENGTH: its end is the length."""
    more = {"HTTP_TRANSFER_ENCODING": "chunked"}
    r = cgi(alone, registration(None, **more), BODY)
    assert parse_cgi(r.stdout).status == 201
    count = apps(alone)
    for body, status in ((BODY[:-1], 400), (b"", 400), (b"x" * 70000, 413)):
        r = cgi(alone, registration(None, **more), body)
        assert parse_cgi(r.stdout).status == status
    assert apps(alone) == count


@pytest.mark.parametrize("length", [None, 100000])
def test_plain_cgi_over_one_socket(alone, length):
    """Under mod_cgid input and output are one socket: input that nobody
    wants must not cost the answer."""
    ours, theirs = socket.socketpair()
    ours.settimeout(PATIENCE)
    params = registration(length, HTTP_TRANSFER_ENCODING="chunked")
    params["HTTP_AUTHORIZATION"] = "Bearer wrong"
    with ours, theirs:
        process = subprocess.Popen(
            [alone.scratch.bin / "postern.fcgi"], stdin=theirs, stdout=theirs,
            env={**alone.base_env(), **alone.env,
                 "GATEWAY_INTERFACE": "CGI/1.1",
                 **{k: str(v) for k, v in params.items()}},
            preexec_fn=demoted(), cwd="/")
        theirs.close()
        ours.sendall(b"x" * 100000)
        ours.shutdown(socket.SHUT_WR)
        answer = b""
        while chunk := ours.recv(65536):
            answer += chunk
        assert process.wait(PATIENCE) == 0
    assert parse_cgi(answer).status == 401


def test_plain_cgi_with_the_database_away(alone):
    r = cgi(alone, get("/healthz"), POSTERN_DATABASE_URL="host=/nowhere")
    assert parse_cgi(r.stdout).status == 200
    r = cgi(alone, registration(), BODY, POSTERN_DATABASE_URL="host=/nowhere")
    answer = parse_cgi(r.stdout)
    assert answer.status == 503 and answer["Retry-After"]


def test_cgi_fcgi(alone):
    """libfcgi's own client."""
    def ask(params, body=b""):
        r = subprocess.run(
            ["cgi-fcgi", "-bind", "-connect", alone.sock], input=body,
            env={k: str(v) for k, v in params.items()}, capture_output=True,
            timeout=PATIENCE, cwd="/")
        assert r.returncode == 0, r
        return parse_cgi(r.stdout)

    app = App(ask(registration(), BODY).json())
    auth = {"HTTP_X_PUBLIC_KEY": app.public,
            "HTTP_AUTHORIZATION": "Bearer " + app.token(sub="ada")}
    assert ask(get("/v1/whoami", **auth)).json()["claims"]["sub"] == "ada"
    assert ask(get("/v1/whoami")).status == 401
    doc = json.dumps({"x": "y" * 60000}).encode()
    put = {"REQUEST_METHOD": "PUT", "REQUEST_URI": "/v1/me",
           "CONTENT_TYPE": "application/json", "CONTENT_LENGTH": len(doc)}
    assert ask({**put, **auth}, doc).status == 201
    assert ask(get("/v1/me", **auth)).json() == json.loads(doc)
    assert ask({**put, **auth, "CONTENT_LENGTH": 70000},
               b"x" * 70000).status == 413


class Odd:
    """A server started by a shell line, on a socket of ours."""

    def __init__(self, stack, line, listen=None, **env):
        self.sock = str(stack.scratch.dir() / "odd")
        self.log = stack.scratch.dir() / "log"
        settings = {k: v for k, v in stack.env.items()
                    if k != "POSTERN_LISTEN"}
        settings.update(env)
        fd = None
        if listen is None:
            settings["POSTERN_LISTEN"] = "unix:" + self.sock
        else:
            s = socket.socket(socket.AF_UNIX)
            s.bind(self.sock)
            s.listen(64)
            os.chmod(self.sock, 0o666)
            fd = s.fileno()

        become = demoted()

        def prepare():
            if fd is not None and fd != listen:
                os.dup2(fd, listen)
            elif fd is not None:
                os.set_inheritable(fd, True)
            if become:
                become()

        self.process = subprocess.Popen(
            ["/bin/sh", "-c", line], close_fds=listen != 3,
            env={**stack.base_env(), **settings,
                 "PROGRAM": str(stack.scratch.bin / "postern.fcgi"),
                 "LOG": str(self.log)},
            stdin=subprocess.DEVNULL if listen != 0 else None,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            preexec_fn=prepare, cwd="/")
        if fd is not None:
            s.close()

    def ask(self, params, body=b""):
        with FastCGI(self.sock) as f:
            f.begin()
            f.params(params)
            f.stdin(body)
            return f.answer()

    def check(self):
        def ready():
            try:
                r = self.ask(get("/readyz"))
            except OSError:
                return False
            return r is not None and r.status == 200

        wait_until("readiness", ready)
        for _ in range(4):
            app = App(self.ask(registration(), BODY).json())
            r = self.ask(get("/v1/whoami", HTTP_X_PUBLIC_KEY=app.public,
                             HTTP_AUTHORIZATION="Bearer " + app.token()))
            assert r.status == 200

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        stop(self.process)


@pytest.mark.parametrize("closed", [
    "<&-", ">&-", "2>&-", "<&- >&-", ">&- 2>&-", "<&- 2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("workers", ["0", "2"])
def test_descriptors_closed_at_start(alone, closed, workers):
    """The database's socket must not become stdout."""
    with Odd(alone, f'exec "$PROGRAM" {closed}',
             POSTERN_WORKERS=workers) as odd:
        odd.check()
    assert odd.process.returncode == 0


@pytest.mark.parametrize("workers", ["0", "2", "auto"])
@pytest.mark.parametrize("closed", ["2>$LOG", ">&- 2>&-"])
def test_socket_on_descriptor_0(alone, workers, closed):
    with Odd(alone, f'exec "$PROGRAM" {closed}', listen=0,
             POSTERN_WORKERS=workers) as odd:
        odd.check()
    assert odd.process.returncode == 0


def test_socket_from_systemd(alone):
    with Odd(alone, 'LISTEN_PID=$$ LISTEN_FDS=1 exec "$PROGRAM" 2>$LOG',
             listen=3) as odd:
        odd.check()
    # Meant for another process: not ours, and there is nothing else.
    odd = Odd(alone, 'LISTEN_PID=1 LISTEN_FDS=1 exec "$PROGRAM" 2>$LOG',
              listen=3)
    assert odd.process.wait(PATIENCE) == 1
    assert "POSTERN_LISTEN" in odd.log.read_text()

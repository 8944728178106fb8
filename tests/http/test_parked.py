"""Connections that have no request for us, or a part of one: none of them
holds a worker, however many there are, and what they ask is answered."""
import contextlib
import functools
import http.client
import signal
import socket
import struct
import subprocess
import threading
import time

import pytest

from lib.fastcgi import FastCGI, parse_cgi
from lib.process import (
    at_once, can_connect, demoted, free_port, stop, wait_until)
from lib.stack import Stack
from test_tokens import register_raw

WORKERS = 2
AT_ONCE = 1.5   # seconds; it takes milliseconds on a machine that is free
HALF = 5        # seconds that a request has for its params
HEALTH = {"REQUEST_METHOD": "GET", "REQUEST_URI": "/healthz"}
BODY = b'{"a":1}'
VALUES = ["FCGI_MAX_CONNS", "FCGI_MAX_REQS", "FCGI_MPXS_CONNS"]


class Peer(FastCGI):
    """Over either kind of socket."""

    def __init__(self, where):
        if isinstance(where, str):
            super().__init__(where)
            return
        self.s = socket.create_connection(("127.0.0.1", where), 20)
        self.s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.pending = b""

    def ask(self, params=HEALTH, body=b"", role=1, keep=False, stdin=True):
        self.begin(role, keep)
        self.params(params)
        if stdin:
            self.stdin(body)
        return self.answer()

    def take(self):
        """The next record: type, id, content."""
        _, kind, request, n, pad = struct.unpack(">BBHHBx", self.read(8))
        return kind, request, self.read(n + pad)[:n]

    def ask_values(self, names=VALUES):
        self.record(9, self.encode([(n, "") for n in names]), request=0)

    def values(self):
        kind, request, content = self.take()
        assert (kind, request) == (10, 0)
        pairs = []
        while content:
            n, v = content[0], content[1]
            pairs.append((content[2:2 + n].decode(),
                          content[2 + n:2 + n + v].decode()))
            content = content[2 + n + v:]
        return pairs

    def closed(self):
        """Closed by the server, without having said anything."""
        try:
            return self.s.recv(1) == b""
        except ConnectionResetError:
            return True

    def open_still(self):
        self.s.setblocking(False)
        try:
            return self.s.recv(1) != b""
        except BlockingIOError:
            return True
        except ConnectionResetError:
            return False
        finally:
            self.s.settimeout(20)


class Server(Stack):
    def __init__(self, pg, kind, workers, **env):
        self.tcp = free_port() if kind == "tcp" else None
        if self.tcp:
            env["POSTERN_LISTEN"] = f"127.0.0.1:{self.tcp}"
        super().__init__(pg, way="alone", workers=workers, env=env)
        self.where = self.tcp or self.sock

    def listening(self):
        return can_connect(self.tcp) if self.tcp else super().listening()

    def client(self):
        return Peer(self.where)

    def ask(self, *args, **kw):
        with self.client() as f:
            return f.ask(*args, **kw)

    fcgi = ask


@pytest.fixture(scope="module", params=["unix", "tcp", "single", "single-tcp"])
def server(pg, request):
    kind, _, more = request.param.partition("-")
    with Server(pg, "tcp" if "tcp" in (kind, more) else "unix",
                0 if kind == "single" else WORKERS) as s:
        s.count = 1 if kind == "single" else WORKERS
        s.app = None
        yield s


@pytest.fixture(scope="module")
def one(pg):
    """One worker, on a Unix socket."""
    with Server(pg, "unix", 1) as s:
        s.app = register_raw(s)
        yield s


def put(app, user="u", length=len(BODY)):
    return {"REQUEST_METHOD": "PUT", "REQUEST_URI": f"/v1/users/{user}",
            "CONTENT_TYPE": "application/json", "CONTENT_LENGTH": length,
            "HTTP_X_PUBLIC_KEY": app.public,
            "HTTP_AUTHORIZATION": "Bearer " + app.token()}


# -- what a connection may do, so that nothing can be answered yet

def silent(f):
    pass


def half_a_header(f):
    f.s.sendall(b"\1\1\0")


def begun(f, role=1):
    f.begin(role)


def half_the_params(f):
    f.begin()
    f.record(4, f.encode(HEALTH)[:9])


def params_without_an_end(f):
    f.begin()
    f.params(HEALTH, end=False)


def no_body(f):
    f.begin()
    f.params({**HEALTH, "CONTENT_LENGTH": 7})


def half_the_body(f):
    no_body(f)
    f.stdin(BODY[:3], end=False)


def body_without_an_end(f):
    no_body(f)
    f.stdin(BODY, end=False)


def a_record_cut(f):
    no_body(f)
    f.s.sendall(struct.pack(">BBHHBx", 1, 5, 1, 7, 3) + BODY)


def many_params(f):
    """More than a socket's buffer holds, and no end."""
    f.begin()
    for _ in range(10):
        f.record(4, f.encode([("HTTP_X_PAD", "x" * 60000)]))


def values_asked(f):
    f.ask_values()
    assert len(f.values()) == 3


def values_four_times(f):
    f.ask_values(["FCGI_MPXS_CONNS"] * 4)
    assert f.values() == [("FCGI_MPXS_CONNS", "0")]


def half_a_question(f):
    f.s.sendall(struct.pack(">BBHHBx", 1, 9, 0, 17, 0) + b"\x0f\0FCGI_MPX")


def unknown_type(f):
    f.record(77, b"what?", request=0)
    assert f.take() == (11, 0, b"\x4d" + bytes(7))


def many_unknown(f):
    """Never reads what it is told."""
    with contextlib.suppress(OSError):
        for _ in range(200):
            f.s.sendall(struct.pack(">BBHHBx", 1, 77, 0, 0, 0) * 1000)


def aborted(f):
    begun(f)
    f.record(2)


def aborted_in_the_body(f):
    half_the_body(f)
    f.record(2)


def abort_of_nothing(f):
    f.record(2)


def wrong_version(f):
    f.begin(version=2)


def unknown_role(f):
    f.begin(role=9)
    with contextlib.suppress(OSError):
        f.params(HEALTH)


def huge_lengths(f):
    f.begin()
    f.record(4, struct.pack(">II", 0xC0000000, 0xC0000000) + b"ab")


def lengths_without_end(f):
    f.begin()
    f.record(4, struct.pack(">II", 0xD0000000, 0x80000001) + b"ab")


def noise(f):
    f.s.sendall(b"GET / HTTP/1.1\r\n\r\n" * 50)


def kept(f):
    assert f.ask(keep=True).status == 200


def kept_and_begun(f):
    kept(f)
    params_without_an_end(f)


def kept_and_asked(f):
    kept(f)
    values_asked(f)


def kept_half_a_header(f):
    kept(f)
    half_a_header(f)


def kept_authorizer(f):
    assert f.ask(role=2, keep=True, stdin=False).status == 401


def closing(f):
    """Answered before its body's end, which never comes."""
    f.begin()
    f.params({**HEALTH, "REQUEST_URI": "/v1/auth"})
    for _ in range(40):
        f.record(5, b"x" * 60000)
    assert f.answer().status == 401


STATES = [
    silent, half_a_header, begun, functools.partial(begun, role=2),
    half_the_params, params_without_an_end, no_body, half_the_body,
    body_without_an_end, a_record_cut, many_params, values_asked,
    values_four_times, half_a_question, unknown_type, many_unknown, aborted,
    aborted_in_the_body, abort_of_nothing, wrong_version, unknown_role,
    huge_lengths, lengths_without_end, noise, kept, kept_and_begun,
    kept_and_asked, kept_half_a_header, kept_authorizer, closing]


def name(state):
    return getattr(state, "__name__", "begun-authorizer")


@pytest.mark.covers("API4:2023")
@pytest.mark.parametrize("times", [1, 4])
@pytest.mark.parametrize("state", STATES, ids=name)
def test_nobody_holds_a_worker(server, state, times):
    """As many as there are workers, and four times as many."""
    with contextlib.ExitStack() as ends:
        for _ in range(times * server.count):
            state(ends.enter_context(server.client()))
        start = time.monotonic()
        for _ in range(2 * server.count):
            assert server.ask().status == 200
        assert time.monotonic() - start < AT_ONCE


def test_all_of_them_at_once(server):
    with contextlib.ExitStack() as ends:
        for state in STATES:
            state(ends.enter_context(server.client()))
        start = time.monotonic()
        for _ in range(2 * server.count):
            assert server.ask().status == 200
        assert time.monotonic() - start < AT_ONCE


def test_a_byte_at_a_time(server):
    """Many of them; the others are served meanwhile, and at last they are."""
    clients, stop = [], threading.Event()
    with contextlib.ExitStack() as ends:
        for _ in range(4 * server.count):
            f = ends.enter_context(server.client())
            f.sent, f.send = [], f.s.sendall
            f.s, real = type("S", (), {"sendall": f.sent.append})(), f.s
            f.ask_values()
            f.begin()
            f.params({**HEALTH, "HTTP_X_PAD": "x" * 1500})
            f.stdin(b"y" * 100)
            f.s = real
            f.sent = b"".join(f.sent)
            clients.append(f)

        def trickle():
            for at in range(len(clients[0].sent)):
                for f in clients:
                    f.s.sendall(f.sent[at:at + 1])
                time.sleep(0.001)
                if stop.is_set():
                    return

        thread = threading.Thread(target=trickle)
        thread.start()
        try:
            start, n = time.monotonic(), 0
            while thread.is_alive():
                assert server.ask().status == 200
                n += 1
            assert n > (time.monotonic() - start) / AT_ONCE
        finally:
            stop.set()
            thread.join()
        for f in clients:
            assert len(f.values()) == 3
            assert f.answer().status == 200


def test_a_new_connection_waits_for_no_other(pg):
    """Its request comes a moment later, when the worker that took it could be
    in another's: that one is slow, and the other worker free."""
    with Server(pg, "unix", 2) as s, contextlib.ExitStack() as ends:
        app = register_raw(s)
        assert s.ask(put(app), BODY).status == 201
        c = ends.enter_context(contextlib.closing(pg.connect(s.database)))
        for _ in range(5):
            c.autocommit = False
            c.cursor().execute("SELECT 1 FROM users FOR UPDATE")
            with s.client() as late, s.client() as slow:
                time.sleep(0.01)
                slow.begin()
                slow.params(put(app))
                slow.stdin(BODY)
                time.sleep(0.02)
                start = time.monotonic()
                assert late.ask().status == 200
                assert time.monotonic() - start < 0.5
                c.rollback()
                assert slow.answer().status in (200, 201)


# -- what they ask is answered

def test_values(server):
    with server.client() as f:
        f.ask_values()
        found = dict(f.values())
        assert sorted(found) == VALUES
        assert found["FCGI_MPXS_CONNS"] == "0"
        assert int(found["FCGI_MAX_REQS"]) == server.count
        assert int(found["FCGI_MAX_CONNS"]) >= server.count
        for names, told in ((["FCGI_MPXS_CONNS", "WHAT", ""], 1), ([], 0),
                            (["x" * 300, "FCGI_MAX_REQS"], 1),
                            (["FCGI_MAX_REQ", "FCGI_MAX_REQSS"], 0)):
            f.ask_values(names)
            assert len(f.values()) == told
        f.record(9, f.encode([("FCGI_MAX_REQS", "v" * 200)]), request=0)
        assert [n for n, _ in f.values()] == ["FCGI_MAX_REQS"]
        assert f.ask().status == 200


@pytest.mark.parametrize("place", ["before", "begun", "params", "body",
                                   "between", "padded"])
def test_values_in_a_request(server, place):
    """Wherever they are asked for, all in one packet or not."""
    for packed in (False, True):
        with server.client() as f:
            real, sent = f.s, []
            if packed:
                f.s = type("S", (), {"sendall": sent.append})()

            def ask_at(here):
                if here == place:
                    f.ask_values()

            ask_at("before")
            f.begin(keep=True)
            ask_at("begun")
            data = f.encode(HEALTH)
            f.record(4, data[:20])
            ask_at("params")
            f.record(4, data[20:])
            f.record(4)
            f.record(5, b"abc")
            ask_at("body")
            f.record(5)
            if place == "padded":
                real.sendall(b"".join(sent))
                f.s, sent = real, []
                f.s.sendall(struct.pack(">BBHHBx", 1, 9, 0, 17, 255)
                            + b"\x0f\0FCGI_MPXS_CONNS" + bytes(255))
            if packed and sent:
                real.sendall(b"".join(sent))
                f.s = real
            if place in ("between", "padded"):
                assert f.answer().status == 200
                ask_at("between")
                assert len(f.values()) == (3 if place == "between" else 1)
            else:
                assert len(f.values()) == 3
                assert f.answer().status == 200
            assert f.ask().status == 200


def test_questions_that_are_broken(server):
    for content in (b"\x0f", b"\x0f\0FCGI_", b"\xff", b"\x80\0\0"):
        with server.client() as f:
            f.record(9, content, request=0)
            assert f.closed()


@pytest.mark.parametrize("role", [1, 2])
def test_another_request_beside_it(server, role):
    """No multiplexing: told so, and the one at hand is answered."""
    with server.client() as f:
        f.begin(role)
        f.record(1, struct.pack(">HB5x", role, 0), request=2)
        f.record(4, f.encode(HEALTH), request=2)
        assert f.take() == (3, 2, b"\0\0\0\0\1\0\0\0")
        f.params(HEALTH)
        f.stdin(b"")
        assert f.answer().status == (401 if role == 2 else 200)


def test_requests_in_one_packet(server):
    """Several, with what is asked between them: each is answered in turn."""
    with server.client() as f:
        real, sent = f.s, []
        f.s = type("S", (), {"sendall": sent.append})()
        for i in range(5):
            f.begin(keep=True)
            f.params(HEALTH)
            f.stdin(b"z" * 100 * i)
        f.ask_values()
        f.s = real
        f.s.sendall(b"".join(sent))
        assert [f.answer().status for _ in range(5)] == [200] * 5
        assert len(f.values()) == 3


def test_padding_everywhere(server):
    for pad in (1, 8, 255):
        with server.client() as f:
            def padded(kind, content=b""):
                f.s.sendall(struct.pack(">BBHHBx", 1, kind, 1, len(content),
                                        pad) + content + b"\1" * pad)

            for _ in range(2):
                padded(1, struct.pack(">HB5x", 1, 1))
                padded(4, f.encode(HEALTH))
                padded(4)
                padded(5, b"abc")
                padded(5)
                assert f.answer().status == 200


def test_what_is_late_of_a_request(server):
    """An authorizer is answered without its body, which comes all the same."""
    with server.client() as f:
        for _ in range(3):
            assert f.ask(role=2, keep=True, stdin=False).status == 401
            f.stdin(b"late" * 5000)
            f.record(2)
        assert f.ask().status == 200


# -- bounds

def test_half_a_request_has_little_time(one):
    halves = [half_a_header, begun, half_the_params, params_without_an_end,
              many_params, half_a_question, kept_and_begun]
    with contextlib.ExitStack() as ends:
        start = time.monotonic()
        clients = [ends.enter_context(one.client()) for _ in halves]
        quiet = [ends.enter_context(one.client()) for _ in range(2)]
        kept(quiet[1])
        for state, f in zip(halves, clients):
            state(f)
        slow = ends.enter_context(one.client())
        slow.begin()
        slow.params(put(one.app))
        slow.stdin(BODY[:3], end=False)
        for f in clients:
            assert f.closed()
        assert HALF - 1 < time.monotonic() - start < HALF + 3
        # A body has the request's own time; silence none.
        assert all(f.open_still() for f in [slow, *quiet])
        slow.stdin(BODY[3:])
        assert slow.answer().status in (200, 201)
        assert all(f.ask().status == 200 for f in quiet)


def test_a_body_has_the_requests_time(pg):
    with Server(pg, "unix", 1, POSTERN_REQUEST_TIMEOUT="2") as s:
        with s.client() as f, s.client() as g:
            start = time.monotonic()
            half_the_body(f)
            half_the_params(g)
            assert f.closed() and g.closed()
            assert 1.5 < time.monotonic() - start < 5


def test_the_oldest_silent_one_makes_room(one):
    with contextlib.ExitStack() as ends:
        slow = ends.enter_context(one.client())
        slow.begin()
        slow.params(put(one.app))
        time.sleep(0.1)
        quiet = [ends.enter_context(one.client()) for _ in range(30)]
        kept(quiet[0])
        quiet += [ends.enter_context(one.client()) for _ in range(60)]
        wait_until("the oldest is closed", lambda: not quiet[1].open_still())
        assert one.ask().status == 200
        assert quiet[-1].open_still()
        assert sum(f.open_still() for f in quiet) < 70
        slow.stdin(BODY)
        assert slow.answer().status in (200, 201)


def test_a_flood_of_halves(one):
    """With no silent one among them the oldest goes: the next is served."""
    with contextlib.ExitStack() as ends:
        for _ in range(150):
            half_the_params(ends.enter_context(one.client()))
        start = time.monotonic()
        assert one.ask().status == 200
        assert time.monotonic() - start < AT_ONCE


def test_large_bodies_in_part(pg):
    """What they hold together is bounded, and whoever goes on is served."""
    with Server(pg, "unix", 1, POSTERN_MAX_BODY=str(4 << 20)) as s:
        app = register_raw(s)
        body = b'{"a":"' + b"x" * (3 << 20) + b'"}'
        with contextlib.ExitStack() as ends:
            for _ in range(20):
                f = ends.enter_context(s.client())
                f.begin()
                f.params(put(app, length=len(body)))
                with contextlib.suppress(OSError):
                    f.stdin(body[:-5], end=False)
            with open(f"/proc/{s.workers()[0]}/status") as status:
                rss = [x for x in status if "VmRSS" in x][0].split()[1]
            assert int(rss) < 160 << 10
            f.stdin(body[-5:])
            assert f.answer().status == 201
            assert s.ask().status == 200


@pytest.mark.parametrize("pad", [0, 60000, 200000, 1 << 20])
def test_params_that_are_too_many(one, pad):
    """Wherever those stand that count: a refusal, and never a yes."""
    more = [(f"HTTP_X{i}", "y") for i in range(300 if pad == 0 else 0)]
    more += [("HTTP_COOKIE", "c" * pad)]
    more = more if pad != 60000 else more * 2
    for params in ([*HEALTH.items(), *more], [*more, *HEALTH.items()]):
        for gate in ([], [("POSTERN_GATE", "plain")]):
            for method in ("GET", "OPTIONS"):
                r = one.ask([*params, ("REQUEST_METHOD", method), *gate])
                assert r.status in (400, 401, 404), (r, method)
                r = one.ask([*params, ("REQUEST_METHOD", method), *gate],
                            role=2)
                assert r.status in (400, 401), (r, method)


@pytest.mark.parametrize("pieces", [1, 3, 100])
def test_documents_in_pieces(server, pieces):
    """Of every size around a buffer's, and come whole."""
    server.app = server.app or register_raw(server)
    for n in (8000, 8180, 8192, 40000, 65528):
        body = b'{"a":"' + b"x" * (n - 8) + b'"}'
        with server.client() as f:
            f.begin()
            f.params(put(server.app, f"u{n}", len(body)))
            step = -(-n // pieces)
            for at in range(0, n, step):
                f.record(5, body[at:at + step])
            f.record(5)
            assert f.answer().status in (200, 201)
        r = server.ask({**put(server.app, f"u{n}"), "REQUEST_METHOD": "GET",
                        "CONTENT_LENGTH": ""})
        assert len(r.json()["a"]) == n - 8


# -- a body that nobody wants

UNWANTED = {
    "auth": ({"REQUEST_METHOD": "POST", "REQUEST_URI": "/v1/auth"}, 1, 401),
    "gate": ({"REQUEST_METHOD": "POST", "REQUEST_URI": "/x",
              "POSTERN_GATE": "plain"}, 1, 401),
    "nginx": ({"REQUEST_METHOD": "POST", "REQUEST_URI": "/x",
               "POSTERN_GATE": "nginx"}, 1, 401),
    "authorizer": ({"REQUEST_METHOD": "POST", "REQUEST_URI": "/x"}, 2, 401),
    "not found": ({"REQUEST_METHOD": "POST", "REQUEST_URI": "/no"}, 1, 404),
    "method": ({"REQUEST_METHOD": "POST", "REQUEST_URI": "/healthz"}, 1, 405),
    "options": ({"REQUEST_METHOD": "OPTIONS", "REQUEST_URI": "/v1/apps"}, 1,
                204),
    "credentials": ({"REQUEST_METHOD": "PUT", "REQUEST_URI": "/v1/me"}, 1,
                    401),
    "length": ({"REQUEST_METHOD": "POST", "REQUEST_URI": "/healthz",
                "CONTENT_LENGTH": "x"}, 1, 405),
    "get": (HEALTH, 1, 200),
    "head": ({**HEALTH, "REQUEST_METHOD": "HEAD"}, 1, 200),
    "yes": (None, 1, 204),
    "too large": (None, 1, 413)}


@pytest.mark.parametrize("length", [0, 100, 9000, 70000, 300000])
@pytest.mark.parametrize("what", UNWANTED)
def test_an_unwanted_body_costs_nothing(server, what, length):
    """The connection is kept and good for the next request, or closed at
    once; no one waits for anything."""
    params, role, status = UNWANTED[what]
    if params is None:
        server.app = server.app or register_raw(server)
        params = put(server.app)
        if what == "yes":
            params["POSTERN_GATE"] = "plain"
        elif length < 65537:
            params["CONTENT_LENGTH"] = length = length + 65537
    params = {"CONTENT_LENGTH": length, **params}
    with server.client() as f:
        start = time.monotonic()
        for _ in range(3):
            r = f.ask(params, b"x" * length, role=role, keep=True)
            assert r.status == status
        assert f.ask(keep=True).status == 200
        r = f.ask(params, b"x" * length, role=role)
        assert r.status == status
        assert f.closed()
        assert time.monotonic() - start < AT_ONCE


@pytest.mark.parametrize("role", [1, 2])
def test_a_body_beyond_all_bounds(server, role):
    """Answered before its end, which is then passed over: the answer is not
    lost to a reset, and nobody waits meanwhile."""
    with server.client() as f:
        f.begin(role)
        f.params({"REQUEST_METHOD": "POST", "REQUEST_URI": "/v1/auth"})

        def send():
            with contextlib.suppress(OSError):
                f.stdin(b"x" * 20_000_000)

        thread = threading.Thread(target=send)
        thread.start()
        assert server.ask().status == 200
        thread.join()
        assert f.answer().status == 401


# -- the ends of a process

@pytest.mark.parametrize("workers", [0, 2])
def test_stop_with_parked_connections(pg, workers):
    """Silent ones keep nobody; what has begun is answered, and so is what
    comes on a connection that was taken just before."""
    s = Server(pg, "unix", workers)
    app = register_raw(s)
    with contextlib.ExitStack() as ends:
        quiet = [ends.enter_context(s.client()) for _ in range(4)]
        idle = [ends.enter_context(s.client()) for _ in range(4)]
        half = [ends.enter_context(s.client()) for _ in range(4)]
        for f in idle:
            kept(f)
        for i, f in enumerate(half):
            f.begin(keep=True)
            f.params(put(app, f"u{i}"))
            f.stdin(BODY[:3], end=False)
        time.sleep(0.2)
        start = time.monotonic()
        s.process.terminate()
        time.sleep(0.2)
        first = quiet.pop().ask(keep=True)
        assert first.status == 200
        for f in half:
            f.stdin(BODY[3:])
            assert f.answer().status == 201
        assert s.process.wait(10) == 0
        assert time.monotonic() - start < 5
        assert all(f.closed() for f in quiet + idle)
    s.stop()


def test_reload_with_parked_connections(pg):
    """A body that comes slowly lives through it."""
    with Server(pg, "unix", 2) as s:
        app = register_raw(s)
        with s.client() as f, s.client() as g:
            f.begin()
            f.params(put(app), end=False)
            g.begin()
            g.params(put(app, "g"))
            time.sleep(0.2)
            old = set(s.workers())
            s.process.send_signal(signal.SIGHUP)
            wait_until("new workers", lambda: len(set(s.workers()) - old) == 2)
            for other in (f, g):
                if other is f:
                    other.record(4)
                other.stdin(BODY)
                assert other.answer().status == 201


def test_parsed(one):
    """The client of these tests is right about what it reads."""
    with one.client() as f:
        f.begin()
        f.params(HEALTH)
        f.stdin(b"")
        kinds, out = [], b""
        while not kinds or kinds[-1] != 3:
            kind, request, content = f.take()
            kinds.append(kind)
            out += content if kind == 6 else b""
            assert request == 1
    assert kinds[-2:] == [6, 3] and parse_cgi(out).status == 200


# -- a web server that asks

HAPROXY = """\
defaults
	mode http
	timeout connect 5s
	timeout client 20s
	timeout server 20s
fcgi-app postern
	docroot /nowhere
	option get-values
	{keep}
	pass-header Authorization
frontend front
	bind 127.0.0.1:{port}
	default_backend back
backend back
	use-fcgi-app postern
	http-reuse always
	server postern {where} proto fcgi {pool}
"""


@contextlib.contextmanager
def haproxy(server, keep, pool):
    port = free_port()
    conf = server.dir / f"haproxy.{port}"
    where = f"127.0.0.1:{server.tcp}" if server.tcp else f"unix@{server.sock}"
    conf.write_text(HAPROXY.format(port=port, where=where, keep=keep,
                                   pool=pool))
    process = subprocess.Popen(
        ["/usr/sbin/haproxy", "-db", "-f", conf], stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        preexec_fn=demoted(), cwd="/")
    try:
        wait_until("haproxy", lambda: can_connect(port)
                   or process.poll() is not None)
        assert process.poll() is None
        yield port
    finally:
        stop(process)


@pytest.mark.parametrize("keep,pool", [
    ("no option keep-conn", ""), ("option keep-conn", "pool-purge-delay 1s"),
    ("option keep-conn", "pool-max-conn 0")],
    ids=["closed", "kept", "no pool"])
def test_haproxy_asks_for_values(server, keep, pool):
    """It asks on a new connection, and waits for what it is told."""
    server.app = server.app or register_raw(server)
    with haproxy(server, keep, pool) as port:
        def ask(i):
            c = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            with contextlib.closing(c):
                for path, body, status in (
                        ("/healthz", None, 200), ("/v1/whoami", None, 200),
                        ("/no", b"x" * 5000, 404),
                        (f"/v1/users/h{i}", b'{"a":"' + b"x" * 9000 + b'"}',
                         (200, 201))):
                    c.request("PUT" if body else "GET", path, body, {
                        "X-Public-Key": server.app.public,
                        "Content-Type": "application/json",
                        "Authorization": "Bearer " + server.app.token()})
                    r = c.getresponse()
                    r.read()
                    assert r.status == status or r.status in (
                        status if isinstance(status, tuple) else ())

        start = time.monotonic()
        for _ in range(3):
            at_once(4 * server.count, ask)
        assert time.monotonic() - start < 4 * AT_ONCE
        assert server.ask().status == 200

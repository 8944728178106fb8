"""The FastCGI stream as a hostile or broken web server sends it."""
import random
import socket
import struct
import time

import pytest

from lib.fastcgi import FastCGI
from lib.process import wait_until
from lib.stack import Stack
from test_tokens import register_raw

pytestmark = pytest.mark.strange


@pytest.fixture(scope="module")
def app(alone):
    return register_raw(alone)


def put(app, user="s", **extra):
    return {"REQUEST_METHOD": "PUT", "REQUEST_URI": f"/v1/users/{user}",
            "CONTENT_TYPE": "application/json",
            "HTTP_X_PUBLIC_KEY": app.public,
            "HTTP_AUTHORIZATION": "Bearer " + app.token(), **extra}


def absent(alone, app, user="s"):
    r = alone.fcgi({**put(app, user), "REQUEST_METHOD": "GET"})
    return r.status == 404


BODY = b'{"a":1}'


@pytest.mark.parametrize("length", ["", "-1", None])
def test_unknown_length_is_read_to_the_end(alone, app, length):
    extra = {} if length is None else {"CONTENT_LENGTH": length}
    r = alone.fcgi(put(app, f"u{length}", **extra), BODY)
    assert r.status == 201
    big = b'{"a":"' + b"x" * 70000 + b'"}'
    r = alone.fcgi(put(app, "s", **extra), big)
    assert (r.status, r.code) == (413, "body_too_large")


@pytest.mark.parametrize("length,code", [
    (len(BODY) + 1, "body_incomplete"), (len(BODY) - 1, "body_incomplete"),
    (0, "body_incomplete"), (10 ** 12, "body_too_large"),
    ("x", "bad_request"), ("1e1", "bad_request"), ("+7", "bad_request"),
    ("7 ", "bad_request"), ("9" * 40, "bad_request"), ("-7", "bad_request"),
])
def test_false_length_is_never_acted_on(alone, app, length, code):
    r = alone.fcgi(put(app, CONTENT_LENGTH=length), BODY)
    assert (r.status, r.code) == (413 if "large" in code else 400, code)
    assert absent(alone, app)


def test_body_cut_short(alone, app):
    """The stream, or the connection, ends early: nothing is done."""
    for how in ("abort", "close", "shutdown", "no params end"):
        with FastCGI(alone.sock) as f:
            f.begin()
            f.params(put(app, CONTENT_LENGTH=len(BODY)),
                     end=how != "no params end")
            if how != "no params end":
                f.stdin(BODY[:4], end=False)
            if how == "abort":
                f.record(2)
                r = f.answer()
                assert r is None or r.status == 400
            elif how == "shutdown":
                f.s.shutdown(socket.SHUT_WR)
                r = f.answer()
                assert r is None or r.status == 400
    assert alone.fcgi({"REQUEST_METHOD": "GET",
                       "REQUEST_URI": "/healthz"}).status == 200
    assert absent(alone, app)


def test_split_records(alone, app):
    with FastCGI(alone.sock) as f:
        f.begin()
        data = f.encode(put(app, "split", CONTENT_LENGTH=len(BODY)))
        for i in range(0, len(data), 7):
            f.record(4, data[i:i + 7])
        f.record(4)
        for i in range(len(BODY)):
            f.record(5, BODY[i:i + 1])
        f.record(5)
        assert f.answer().status == 201


def healthy(alone):
    return alone.fcgi({"REQUEST_METHOD": "GET",
                       "REQUEST_URI": "/healthz"}).status == 200


@pytest.mark.parametrize("name,data", [
    ("garbage", random.Random(4096).randbytes(4096)),
    ("version 2", struct.pack(">BBHHBx", 2, 1, 1, 8, 0) + b"\0\1" + b"\0" * 6),
    ("role 9", struct.pack(">BBHHBx", 1, 1, 1, 8, 0) + b"\0\x09" + b"\0" * 6),
    ("filter role", struct.pack(">BBHHBx", 1, 1, 1, 8, 0) + b"\0\3" + b"\0" * 6),
    ("short begin", struct.pack(">BBHHBx", 1, 1, 1, 2, 0) + b"\0\1"),
    ("lengths past INT_MAX",
     struct.pack(">BBHHBx", 1, 1, 1, 8, 0) + b"\0\1" + b"\0" * 6 +
     struct.pack(">BBHHBx", 1, 4, 1, 8, 0) +
     struct.pack(">II", 1 << 31 | 0x40000000, 1 << 31 | 0x40000000)),
    ("GET_VALUES four times",
     struct.pack(">BBHHBx", 1, 9, 0, 68, 0) +
     (b"\x0f\x00FCGI_MPXS_CONNS" * 4)),
    ("stdin first", struct.pack(">BBHHBx", 1, 5, 1, 0, 0)),
])
def test_broken_protocol(alone, name, data):
    """It may cost a worker, which the master replaces; never the service."""
    with FastCGI(alone.sock, timeout=5) as f:
        f.s.sendall(data)
        try:
            f.s.shutdown(socket.SHUT_WR)
            f.s.recv(65536)
        except OSError:
            pass
    wait_until("healthy again", lambda: healthy(alone))


@pytest.mark.covers("API4:2023")
def test_many_and_long_params(alone, app):
    good = put(app, "p", CONTENT_LENGTH=len(BODY))
    for extra in ({f"HTTP_X{i}": "y" for i in range(400)},
                  {"HTTP_COOKIE": "c" * 100000}):
        r = alone.fcgi({**good, **extra}, BODY)
        assert (r.status, r.code) == (400, "bad_request")
    assert absent(alone, app, "p")


@pytest.mark.covers("API4:2023")
def test_stalled_connections_are_released(pg):
    """More stalled connections than workers: each is let go at the request's
    deadline, wherever it stalls."""
    with Stack(pg, way="alone", workers=2,
               env={"POSTERN_REQUEST_TIMEOUT": "1"}) as s:
        app = register_raw(s)
        stalled = []
        for i in range(8):
            f = FastCGI(s.sock)
            stalled.append(f)
            if i % 4 == 1:
                f.s.sendall(b"\x01\x01\x00")  # half a header
            elif i % 4 == 2:
                f.begin()
                f.params(put(app), end=False)
            elif i % 4 == 3:
                f.begin()
                f.params(put(app, CONTENT_LENGTH=len(BODY)))
                f.stdin(BODY[:3], end=False)
        start = time.monotonic()
        wait_until("served beside the stalled", lambda: healthy(s), 30)
        took = time.monotonic() - start
        for f in stalled:
            f.s.close()
        print(f"8 stalled connections on 2 workers: healthy after {took:.1f} s")
        assert absent(s, app)


def test_a_client_that_trickles(pg):
    """A byte now and then does not extend the deadline."""
    with Stack(pg, way="alone", workers=1,
               env={"POSTERN_REQUEST_TIMEOUT": "2"}) as s:
        app = register_raw(s)
        with FastCGI(s.sock) as f:
            f.begin()
            f.params(put(app, CONTENT_LENGTH=1000))
            start = time.monotonic()
            try:
                while time.monotonic() - start < 30:
                    f.record(5, b" ")
                    time.sleep(0.2)
            except OSError:
                pass
            assert time.monotonic() - start < 29
        assert healthy(s)


def test_kept_connections_do_not_pin(pg):
    """More kept connections than workers, each good for more requests."""
    with Stack(pg, way="alone", workers=2) as s:
        kept = [FastCGI(s.sock) for _ in range(20)]
        for turn in range(3):
            for f in kept:
                f.begin(keep=True)
                f.params({"REQUEST_METHOD": "GET", "REQUEST_URI": "/healthz"})
                f.stdin(b"")
                assert f.answer().status == 200
            assert healthy(s)
        for f in kept:
            f.s.close()
        assert healthy(s)


def test_client_gone_before_the_answer(alone, app):
    for _ in range(20):
        f = FastCGI(alone.sock)
        f.begin()
        f.params({"REQUEST_METHOD": "GET", "REQUEST_URI": "/healthz"})
        f.stdin(b"")
        f.s.close()
    assert healthy(alone)


def test_slow_client_through_lighttpd(site):
    """lighttpd reads the request whole first: no worker waits."""
    slow = []
    for _ in range(8):
        c = socket.create_connection(("127.0.0.1", site.port))
        c.sendall(b"PUT /v1/users/x HTTP/1.1\r\nHost: x\r\n"
                  b"Content-Length: 1000\r\n\r\nx")
        slow.append(c)
    assert site.get("/healthz").status == 200
    for c in slow:
        c.close()


def test_chunked_body(site):
    app = site.register()
    head = (f"PUT /v1/users/c HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
            f"X-Public-Key: {app.public}\r\nAuthorization: Bearer "
            f"{app.token()}\r\nContent-Type: application/json\r\n"
            f"Transfer-Encoding: chunked\r\n\r\n")
    answer = site.raw_http(head + '3\r\n{"a\r\n4\r\n":1}\r\n0\r\n\r\n')
    assert answer.startswith(b"HTTP/1.1 201"), answer

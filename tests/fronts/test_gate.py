"""Postern as the gate of something else: each front's recipe in contrib/
guards files, PHP and a service."""
import hashlib
import json
import time
import urllib.parse

import pytest

from gates import GATES, IDENTITY, VARIABLES, behind, stack  # noqa: F401
from lib.tokens import raw_token

NAME = "Zoë/& co"
SUBJECT = "a b/é=%"
FILE, PHP, SERVICE = "/private/page.html", "/private/page.php", "/service/x"


@pytest.fixture(scope="module", params=GATES, ids=lambda g: g.name)
def gate(request, stack, behind):  # noqa: F811
    with request.param(stack, behind) as g:
        yield g


@pytest.fixture(scope="module")
def app(stack):  # noqa: F811
    return stack.register(NAME)


def paths(gate):
    return (FILE, PHP, SERVICE) if gate.php else (FILE, SERVICE)


def quote(text):
    return urllib.parse.quote(text, safe="")


def identity(app, subject):
    return [str(app.id), quote(NAME), app.public, quote(subject)]


def service_told(answer):
    """The identity headers as the service got them, in any spelling."""
    out = {}
    for name, value in answer["headers"]:
        out.setdefault(name.lower().replace("_", "-"), []).append(value)
    return [out.get(n.lower(), [""]) for n in IDENTITY]


def test_good_tokens_pass(gate, app):
    for kw in ({"sub": SUBJECT}, {}):
        auth = app.auth(**kw)
        r = gate.ask("GET", FILE, auth)
        assert (r.status, r.body) == (200, b"guarded file\n")
        for path in paths(gate):
            assert gate.ask("GET", path, auth).status == 200, path


def refusals(app):
    """What is sent, and the code of Postern's problem."""
    key = {"X-Public-Key": app.public}
    return [
        ({}, "credentials_missing"),
        (key, "token_missing"),
        ({"Authorization": app.auth()["Authorization"]}, "public_key_missing"),
        (app.auth(exp=-300), "token_expired"),
        (app.auth(nbf=int(time.time()) + 300), "token_not_yet_valid"),
        (app.auth(sub=""), "token_subject"),
        (app.auth(secret="0" * 64), "invalid_credentials"),
        ({**app.auth(), "X-Public-Key": "ab" * 32}, "invalid_credentials"),
        ({**key, "Authorization": "Bearer x.y.z"}, "invalid_credentials"),
        ({**key, "Authorization": "Basic eDp5"}, "invalid_credentials"),
        ({**key, "Authorization": "Bearer " + raw_token(
            app.secret, '{"alg":"none"}')}, "token_algorithm"),
    ]


def test_refusals_arrive(gate, app):
    """Status, challenge and body are Postern's."""
    seen = gate.behind.service.seen
    for headers, code in refusals(app):
        for path in paths(gate):
            r = gate.ask("GET", path, headers)
            assert r.status == 401, (path, code, r)
            assert len(r.all("WWW-Authenticate")) == 1, r.headers.items()
            assert r["WWW-Authenticate"].startswith('Bearer realm="'), code
            assert ("error=" in r["WWW-Authenticate"]) == (
                code not in ("credentials_missing", "token_missing"))
            assert b"guarded" not in r.body
            if gate.body:
                assert r["Content-Type"] == "application/problem+json"
                assert r.code == code and r.json()["status"] == 401, path
    assert gate.behind.service.seen == seen


@pytest.mark.covers("API2:2023")
def test_every_method_needs_a_token(gate, app):
    """A preflight is no consent."""
    seen = gate.behind.service.seen
    preflight = {"Origin": "https://x.example",
                 "Access-Control-Request-Method": "GET"}
    for method in ("GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE"):
        for path in paths(gate):
            r = gate.ask(method, path, preflight)
            assert r.status == 401, (method, path, r)
            assert method != "HEAD" or r.body == b""
    assert gate.behind.service.seen == seen
    for method in ("HEAD", "OPTIONS", "DELETE", "PUT"):
        r = gate.ask(method, SERVICE, app.auth())
        assert r.status == 200, method
        if method != "HEAD":
            assert json.loads(r.body)["method"] == method
    r = gate.ask("HEAD", FILE, app.auth())
    assert (r.status, r.body, r["Content-Length"]) == (200, b"", "13")


LIKE_PUBLIC = [
    "/private/healthz", "/private/v1/whoami", "/private/openapi.json",
    "/service/healthz", "/service/readyz", "/service/v1/auth", "/service/v1/"]


def test_paths_named_like_public_ones(gate, app):
    for path in LIKE_PUBLIC:
        for method in ("GET", "OPTIONS"):
            assert gate.ask(method, path).status == 401, path
        assert gate.ask("GET", path, app.auth()).status == 200, path


AROUND = [
    "//private/page.html", "/./private/page.html", "/x/../private/page.html",
    "/%70rivate/page.html", "/private//page.html", "/private/%2e/page.html",
    "/open.html/../private/page.html", "/private/page.php/healthz",
    "/private%2fpage.html", "/private/page.html?/healthz", "/private/",
    "//service/x", "/%73ervice/x", "/service/../service/x", "/private",
    "/PRIVATE/page.html", "/private/page.html/", "/private/page.php%00.html",
    "/private/page.html/v1/auth", "/service/..;/x", "http://x/service/x"]


@pytest.mark.covers("API2:2023")
def test_no_way_around(gate):
    seen = gate.behind.service.seen
    for path in AROUND:
        r = gate.ask("GET", path)
        assert 300 < r.status < 405, (path, r)
        assert b"guarded" not in r.body and b'"server"' not in r.body
    assert gate.behind.service.seen == seen


def spellings(name):
    out = [""]
    for part in name.split("-"):
        out = [o + sep + part for o in out for sep in ("-", "_")]
    return sorted({o[1:] for o in out})


FORGED = "said-by-the-client"


def forged():
    """Every header by which a client could speak for the gate."""
    names = [s for n in IDENTITY for s in spellings(n)]
    names += [n.upper() for n in names] + [n.lower() for n in names]
    names += list(VARIABLES) + ["Variable-" + v for v in VARIABLES]
    names += ["HTTP_X_APP_ID", "HTTP-X-App-Id", "REDIRECT_POSTERN_APP_ID",
              "Postern-Subject", "Postern-App-Id", "X-Postern-Status"]
    return [(n, FORGED) for n in names]


@pytest.mark.parametrize("subject", [SUBJECT, ""],
                         ids=["user's", "app's"])
def test_identity_unforged(gate, app, subject):
    """Also for an app token, whose subject is empty: a forged one would be
    somebody."""
    auth = app.auth(**({"sub": subject} if subject else {}))
    good, pairs = list(auth.items()), forged()
    sent = [good]
    for i in range(0, len(pairs), 20):  # Apache takes 100 headers
        some = pairs[i:i + 20]
        sent += [some + good, good + some * 2, some + good + some]
    for headers in sent:
        told = service_told(gate.told(SERVICE, headers))
        assert told == [[v] for v in identity(app, subject)], headers
        if not gate.php:
            continue
        server = gate.told(PHP, headers)["server"]
        assert [server.get(v, "") for v in VARIABLES] == identity(app, subject)
        for name in IDENTITY:
            name = "HTTP_" + name.upper().replace("-", "_")
            assert FORGED not in server.get(name, ""), name


def test_long_subjects(gate, app):
    for subject in ("y" * 5000, "/" * 5000):
        auth = app.auth(sub=subject)
        if len(quote(subject)) > gate.longest:  # refused, never cut short
            for path in paths(gate):
                r = gate.ask("GET", path, auth)
                assert r.status == 500 and b"guarded" not in r.body
            continue
        assert service_told(gate.told(SERVICE, auth))[3] == [quote(subject)]
        if gate.php:
            server = gate.told(PHP, auth)["server"]
            assert server["POSTERN_SUBJECT"] == quote(subject)


def test_connection_takes_nothing_away(gate, app):
    """Connection: names headers that a proxy drops: a client that makes it
    drop X-Token-Subject would turn its user token into an app token."""
    for name in IDENTITY:
        tricky = "x-x-app-app-" + name[6:] if name[2] == "A" else \
            "x-x-token-token-subject"
        for value in (name, f"close, {name}", f"{name.lower()}, keep-alive",
                      tricky, name.replace("-", "_")):
            headers = [("Connection", value), ("Connection", name),
                       *app.auth(sub=SUBJECT).items()]
            told = service_told(gate.told(SERVICE, headers))
            assert told == [[v] for v in identity(app, SUBJECT)], value


def test_trailers_are_not_believed(gate, app):
    fields = "".join(f"{n}: {FORGED}\r\n" for n in IDENTITY)
    auth = "".join(f"{n}: {v}\r\n" for n, v in app.auth().items())
    for path in paths(gate)[1:]:
        out = gate.front.raw_http(
            f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{auth}"
            "Trailer: X-Token-Subject, X-App-Id\r\n"
            "Transfer-Encoding: chunked\r\n\r\n"
            f"3\r\nabc\r\n0\r\n{fields}\r\n")
        assert out.split()[1] in (b"200", b"400"), out
        assert b'"length":' in out.replace(b" ", b"") or b" 400 " in out
        assert FORGED.encode() not in out.partition(b"\r\n\r\n")[2], out


CONDITIONS = [
    {"If-None-Match": "*"}, {"If-Match": '"x"'}, {"Range": "bytes=0-3"},
    {"If-Modified-Since": "Wed, 01 Jan 2098 00:00:00 GMT"},
    {"Connection": "Upgrade", "Upgrade": "websocket",
     "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
     "Sec-WebSocket-Version": "13"},
    {"X-HTTP-Method-Override": "OPTIONS"}, {"X-Original-URL": "/healthz"},
    {"X-Original-URI": "/healthz", "X-Forwarded-Uri": "/healthz"}]


def test_no_header_is_a_way_in(gate, app):
    seen = gate.behind.service.seen
    for headers in CONDITIONS:
        for path in paths(gate):
            r = gate.ask("GET", path, headers)
            assert r.status == 401, (headers, path, r)
    assert gate.behind.service.seen == seen
    r = gate.ask("GET", FILE, {"Range": "bytes=0-3", **app.auth()})
    assert (r.status, r.body) == (206, b"guar")


def test_clients_can_not_choose_the_gate(gate, app):
    for name in ("POSTERN_GATE", "Postern-Gate", "FCGI_ROLE", "Fcgi-Role"):
        for value in ("plain", "nginx", "", "RESPONDER", "off"):
            for path in paths(gate):
                r = gate.ask("GET", path, {name: value})
                assert r.status == 401, (name, value, path)
                r = gate.ask("GET", path, {name: value, **app.auth()})
                assert r.status == 200, (name, value, path)


def test_credentials_twice(gate, app):
    good, other = app.auth(), app.auth(secret="0" * 64)
    for pairs in ([*good.items(), *other.items()],
                  [*other.items(), *good.items()],
                  [*good.items(), ("X-Public-Key", "ab" * 32)]):
        for path in paths(gate):
            assert gate.ask("GET", path, pairs).status in (400, 401)


def test_query_and_uri_survive(gate, app):
    query = "a=1&b=x%20y&v1/auth"
    r = gate.told(f"/service/a%20b?{query}", app.auth())
    assert r["uri"] == f"/service/a%20b?{query}"
    if gate.php:
        r = gate.told(f"{PHP}?{query}", app.auth())
        assert r["server"]["QUERY_STRING"] == query
        assert r["server"]["REQUEST_URI"] == f"{PHP}?{query}"
        assert r["query"] == {"a": "1", "b": "x y", "v1/auth": ""}


def test_bodies_arrive_whole(gate, app):
    for size in (0, 5, 70000, 300000):
        body = bytes(i * 7 % 251 for i in range(size))
        r = gate.told(SERVICE, app.auth(), "POST", body)
        assert r["length"] == size
        if gate.php:
            r = gate.told(PHP, app.auth(), "POST", body)
            assert (r["method"], r["length"]) == ("POST", size)
            assert r["sha256"] == hashlib.sha256(body).hexdigest()
        for path in paths(gate)[1:]:
            assert gate.ask("POST", path, {}, body).status == 401


def test_what_stands_behind_speaks_for_itself(gate, app):
    """Its own refusals are not taken for the gate's."""
    if gate.php:
        for status in (401, 403, 404, 500):
            r = gate.ask("GET", f"{PHP}?status={status}", app.auth())
            assert r.status == status
            assert json.loads(r.body)["method"] == "GET"
    r = gate.ask("GET", "/private/absent", app.auth())
    assert r.status == 404
    r = gate.ask("GET", "/private/empty/", app.auth())
    assert r.status in (403, 404)
    assert gate.ask("GET", "/open.html").status in (200, 403, 404)


def test_nothing_of_the_gate_leaks(gate, app):
    for path in paths(gate):
        for headers in ({}, app.auth(sub=SUBJECT)):
            r = gate.ask("GET", path, headers)
            for name in r.headers:
                assert not name.lower().startswith(
                    ("variable-", "x-app-", "x-token-", "x-postern-")), name

"""One suite for every way to host Postern. What a server answers by itself, or
does in its own manner, stands in the test, is asserted and goes into the
table."""
import http.client
import json
import time

import pytest

from lib.process import PATIENCE
from lib.tokens import ADMIN, REGISTRATION, b64, raw_token
from ways import MAX_BODY, ORIGIN

REGISTRAR = {"Authorization": "Bearer " + REGISTRATION}
JSON = {"Content-Type": "application/json"}
BUFFER = 128 * 1024  # the limit in each shipped file
CSP = "default-src 'none'; script-src 'self'"


def token_of(app, length):
    """A good token of exactly this many characters."""
    for header in ('{"alg":"HS256"}', '{"alg":"HS256" }', '{"alg":"HS256"  }'):
        size = length - len(b64(header)) - len("..") - 43
        claims = f'{{"exp":{int(time.time()) + 600},"x":"'
        pad = size * 3 // 4 - len(claims) - 2
        token = raw_token(app.secret, header, claims + "y" * pad + '"}')
        if len(token) == length:
            return token
    raise AssertionError("no token has this length")


def document(size):
    """A JSON object of exactly this many bytes."""
    return '{"t":"' + "x" * (size - 8) + '"}'


def is_problem(r, status, code):
    assert r.status == status, r
    assert r["Content-Type"] == "application/problem+json"
    assert (r.json()["status"], r.code) == (status, code)
    assert r["X-Request-Id"]


def is_servers_own(r, status):
    """Answered by the web server, without Postern."""
    assert r.status == status, r
    assert r["X-Request-Id"] is None
    assert b'"code"' not in r.body


def test_register(site, note):
    r = site.request("POST", "/v1/apps", REGISTRAR, {"name": "Zoë & co"})
    assert r.status == 201, r
    answer = r.json()
    site.registered.append(answer["secret_key"])
    assert r["Location"] == "/v1/apps/" + answer["public_key"]
    assert r["Cache-Control"] == "no-store"
    assert r["Content-Type"] == "application/json"
    assert answer["name"] == "Zoë & co"
    assert r["X-Request-Id"]
    # Where it leads to.
    r = site.get(r["Location"], {"Authorization": "Bearer " + ADMIN})
    assert (r.status, r.json()["id"]) == (200, answer["id"])


def test_whoami(site, app):
    r = site.get("/v1/whoami", app.auth(scope="x"))
    assert r.status == 200, r
    assert r.json()["app"]["public_key"] == app.public
    assert r.json()["claims"]["scope"] == "x"
    assert r["Cache-Control"] == "private, no-cache"


def test_refusals(site, app):
    auth = app.auth()
    for method, path, headers, body, status, code in (
            ("GET", "/v1/nothing", {}, None, 404, "no_such_route"),
            ("GET", "/v1/app", app.auth(sub="u"), None, 403, None),
            ("PUT", "/v1/users/r", {**auth, "Content-Type": "text/plain"},
             "{}", 415, None),
            ("PUT", "/v1/users/r", {**auth, **JSON}, '{"a":', 400, None),
            ("GET", "/v1/users/absent", auth, None, 404, None),
            ("PUT", "/v1/users/r", {**auth, **JSON, "If-Match": '"9"'}, "{}",
             412, None),
            ("POST", "/v1/apps", {**auth, **JSON}, '{"name":"x"}', 401, None)):
        r = site.request(method, path, headers, body)
        is_problem(r, status, code or r.code)


@pytest.mark.covers("RFC6750-3")
def test_challenge(site, app):
    r = site.get("/v1/whoami")
    is_problem(r, 401, "credentials_missing")
    assert r["WWW-Authenticate"] == 'Bearer realm="postern"'
    r = site.get("/v1/whoami", {**app.auth(), "Authorization": "Bearer a.b.c"})
    is_problem(r, 401, "invalid_credentials")
    assert 'error="invalid_token"' in r["WWW-Authenticate"]
    r = site.get("/v1/whoami", app.auth(exp=-600))
    is_problem(r, 401, "token_expired")


def test_wrong_key(site, app):
    for key in ("0" * 64, "xyz", app.public.upper(), app.public[:-2]):
        r = site.get("/v1/whoami", {**app.auth(), "X-Public-Key": key})
        is_problem(r, 401, "invalid_credentials")
    r = site.get("/v1/whoami", {"Authorization": app.auth()["Authorization"]})
    is_problem(r, 401, "public_key_missing")


@pytest.mark.covers("API2:2023")
def test_key_twice(site, app):
    """Joined or doubled by the server: never one of the two."""
    other = site.register()
    for keys in ((app.public, app.public), (app.public, other.public),
                 (other.public, app.public)):
        headers = [("X-Public-Key", k) for k in keys]
        headers.append(("Authorization", "Bearer " + app.token()))
        r = site.exchange(site.head("GET", "/v1/whoami", headers))
        is_problem(r, 401, r.code)


@pytest.mark.covers("RFC6750-2", "API2:2023")
def test_token_twice(site, app, note):
    headers = [("X-Public-Key", app.public)] + [
        ("Authorization", "Bearer " + app.token())] * 2
    r = site.exchange(site.head("GET", "/v1/whoami", headers))
    if site.way.name.startswith(("nginx", "spawn")):
        is_servers_own(r, 400)
        note(400)
    else:
        is_problem(r, 401, r.code)


def test_key_with_underscores(site, app, note):
    """X_Public_Key beside the real one. nginx and Apache drop it; lighttpd
    passes it as a second one; Caddy passes one of the two, whichever: which
    then has to fit the token. Nobody becomes another app."""
    other = site.register()
    seen = set()
    for _ in range(8):
        r = site.exchange(site.head("GET", "/v1/whoami", [
            ("X-Public-Key", app.public), ("X_Public_Key", other.public),
            ("Authorization", "Bearer " + app.token())]))
        seen.add(r.status)
        if r.status == 200:
            assert r.json()["app"]["public_key"] == app.public
        else:
            is_problem(r, 401, r.code)
    name = site.way.name
    if name == "Caddy":
        assert seen <= {200, 401}
        note("either")
    elif name.startswith("lighttpd"):
        assert seen == {401}
    else:
        assert seen == {200}
        note("dropped")


def test_method(site, app):
    for method, path, allow in (
            ("DELETE", "/v1/whoami", {"GET", "HEAD", "OPTIONS"}),
            ("PUT", "/v1/apps", {"GET", "HEAD", "POST", "OPTIONS"}),
            ("POST", "/v1/users/u",
             {"GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"})):
        r = site.request(method, path, {**app.auth(), **JSON}, "{}")
        is_problem(r, 405, "method_not_allowed")
        assert set(r["Allow"].split(", ")) == allow


@pytest.mark.parametrize("method", ["FOO", "TRACE"])
def test_method_of_others(site, app, note, method):
    r = site.exchange(site.head(method, "/v1/whoami", app.auth()), method)
    name, own = site.way.name, None
    if name.startswith("lighttpd"):
        own = {"FOO": 501}.get(method)
    elif name.startswith(("nginx", "spawn")):
        own = {"TRACE": 405}.get(method)
    elif name == "Apache htaccess" and method == "TRACE":
        # TraceEnable is the host's to set; without, Apache sends it back.
        is_servers_own(r, 200)
        note("echo")
        return
    elif name.startswith("Apache"):
        own = {"TRACE": 405}.get(method)
    if own:
        is_servers_own(r, own)
        note(own)
    else:
        is_problem(r, 405, "method_not_allowed")


def test_options(site, app):
    r = site.request("OPTIONS", "/v1/users/u", {"Origin": "https://a.example"})
    assert (r.status, r.body) == (204, b"")
    assert "PATCH" in r["Allow"]
    assert "application/merge-patch+json" in r["Accept-Patch"]
    assert r["Access-Control-Allow-Origin"] is None


def test_preflight(site, app):
    """A page with tracing may call: its headers are allowed as it asks."""
    asked = "authorization,baggage,sentry-trace,traceparent,x-public-key"
    r = site.request("OPTIONS", "/v1/users/u", {
        "Origin": ORIGIN, "Access-Control-Request-Method": "PUT",
        "Access-Control-Request-Headers": asked})
    assert (r.status, r.body) == (204, b"")
    assert r["Access-Control-Allow-Origin"] == ORIGIN
    assert r["Access-Control-Allow-Headers"] == asked
    assert "PUT" in r["Access-Control-Allow-Methods"]
    assert {v.strip() for v in ",".join(r.all("Vary")).split(",")} >= {
        "Origin", "Access-Control-Request-Headers"}
    r = site.get("/v1/whoami", {**app.auth(), "Origin": ORIGIN})
    assert r["Access-Control-Allow-Origin"] == ORIGIN


def test_body_whole(site, app):
    """64 KiB, the most that is allowed, there and back."""
    text = document(MAX_BODY)
    r = site.request("PUT", "/v1/users/whole", {**app.auth(), **JSON}, text)
    assert r.status in (200, 201), r
    assert site.get("/v1/users/whole", app.auth()).json() == json.loads(text)


def test_body_too_large(site, app):
    """Beyond Postern's limit and below the server's: Postern's answer."""
    for size in (MAX_BODY + 1, BUFFER - 1024):
        r = site.request("PUT", "/v1/users/large", {**app.auth(), **JSON},
                         document(size))
        is_problem(r, 413, "body_too_large")
    assert site.get("/v1/users/large", app.auth()).status == 404


def test_body_beyond_the_server(site, app, note):
    """Beyond the server's limit too, where it has one. Caddy cuts the body
    there, and passes it on: still more than Postern takes."""
    r = site.request("PUT", "/v1/users/large", {**app.auth(), **JSON},
                     document(2 * BUFFER))
    own = {"Apache fcgid": 500, "Apache htaccess": 500, "Apache proxy": None,
           "Apache CGI": None, "Caddy": None}.get(site.way.name, 413)
    if own:
        is_servers_own(r, own)
        note(own)
    else:
        is_problem(r, 413, "body_too_large")
    assert site.get("/v1/users/large", app.auth()).status == 404


def test_chunked(site, app):
    for size in (8, 5000, 60000):
        text = document(size).encode()
        step = max(size // 7, 3)
        chunks = b"".join(
            b"%x\r\n%s\r\n" % (len(text[i:i + step]), text[i:i + step])
            for i in range(0, size, step)) + b"0\r\n\r\n"
        r = site.exchange(site.head(
            "PUT", "/v1/users/chunked", {**app.auth(), **JSON},
            "Transfer-Encoding: chunked") + chunks, "PUT")
        assert r.status in (200, 201), r
        r = site.get("/v1/users/chunked", app.auth())
        assert r.json() == json.loads(text)


def test_chunked_too_large(site, app):
    text = document(MAX_BODY + 1).encode()
    chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (len(text), text)
    r = site.exchange(site.head(
        "PUT", "/v1/users/large", {**app.auth(), **JSON},
        "Transfer-Encoding: chunked") + chunks, "PUT")
    is_problem(r, 413, "body_too_large")
    assert site.get("/v1/users/large", app.auth()).status == 404


def test_empty_body(site, app):
    for method, path in (("PUT", "/v1/users/empty"),
                         ("PATCH", "/v1/users/empty"), ("POST", "/v1/apps")):
        headers = {**(REGISTRAR if method == "POST" else app.auth()), **JSON}
        r = site.request(method, path, headers, b"")
        is_problem(r, 400, "body_required")
    assert site.get("/v1/users/empty", app.auth()).status == 404


def test_etag(site, app):
    auth = {**app.auth(), **JSON}
    r = site.request("PUT", "/v1/users/etag", auth, {"a": 1})
    tag = r["ETag"]
    assert r.status in (200, 201) and tag.startswith('"')
    r = site.get("/v1/users/etag", {**auth, "If-None-Match": tag})
    assert (r.status, r.body, r["ETag"]) == (304, b"", tag)
    r = site.request("PUT", "/v1/users/etag", {**auth, "If-Match": tag},
                     {"a": 2})
    assert r.status == 200 and r["ETag"] != tag
    r = site.request("PUT", "/v1/users/etag", {**auth, "If-Match": tag},
                     {"a": 3})
    is_problem(r, 412, r.code)
    assert site.get("/v1/users/etag", auth).json() == {"a": 2}


@pytest.mark.parametrize("header", ["If-Match", "If-None-Match"])
def test_conditions(site, app, header):
    """What is no condition is a refusal, and what can't be ours matches
    nothing, whichever way it comes."""
    auth = {**app.auth(), **JSON}
    tag = site.request("PUT", "/v1/users/cond", auth, {"a": 1})["ETag"]
    for value, status in (
            ("x", 400), ('"x', 400), ("*, " + tag, 400), (",", 400),
            ("\xff", 400), ('"\xff"', None), ('W/"x"', None), ('"x"', None)):
        for method in ("PUT", "PATCH"):
            wanted = status or (412 if header == "If-Match" else 200)
            r = site.request(method, "/v1/users/cond",
                             {**auth, header: value}, {"a": 1})
            assert r.status == wanted, (method, value, r)
            if wanted != 200:
                is_problem(r, wanted, r.code)


def test_condition_twice(site, app, note):
    """One list (RFC 9110 section 5.3); but lighttpd passes the first line
    alone, and nginx refuses."""
    auth = {**app.auth(), **JSON}
    name = site.way.name
    for values, wanted, first in (
            (("TAG", '"x"'), 412, 412), (('"x"', "TAG"), 412, 200),
            (("x", '"y"'), 400, 400), (("*", '"y"'), 400, 412)):
        tag = site.request("PUT", "/v1/users/twice", auth, {"a": 1})["ETag"]
        r = site.exchange(site.head("PUT", "/v1/users/twice", [
            *auth.items(),
            *(("If-None-Match", v.replace("TAG", tag)) for v in values),
            ("Content-Length", "2")]) + b"{}", "PUT")
        if name.startswith(("nginx", "spawn")):
            is_servers_own(r, 400)
        elif name.startswith("lighttpd"):
            assert r.status == first
        else:
            is_problem(r, wanted, r.code)
    note("first" if name.startswith("lighttpd") else
         400 if name.startswith(("nginx", "spawn")) else "ok")


def test_empty_condition(site, app, note):
    """lighttpd drops a header without a value: docs/protocol.md warns."""
    auth = {**app.auth(), **JSON}
    site.request("PUT", "/v1/users/void", auth, {"a": 1})
    r = site.exchange(site.head("PUT", "/v1/users/void", [
        *auth.items(), ("If-Match", ""), ("Content-Length", "2")]) + b"{}",
        "PUT")
    if site.way.name.startswith("lighttpd"):
        assert r.status == 200
        note("dropped")
    else:
        is_problem(r, 400, "bad_request")


def test_part_of_a_document(site, app):
    auth = {**app.auth(), **JSON}
    site.request("PUT", "/v1/users/part", auth, {"a": 1})
    r = site.request("PUT", "/v1/users/part",
                     {**auth, "Content-Range": "bytes 0-1/8"}, "{}")
    is_problem(r, 400, "bad_request")
    assert site.get("/v1/users/part", auth).json() == {"a": 1}


def test_write_names_what_it_shows(site, app):
    for user in ("loc", "a%20b", "a+b"):
        r = site.request("PUT", "/v1/users/" + user, app.auth(), {"a": 1.0})
        assert r["Content-Location"] == site.prefix + "/v1/users/" + user
        now = site.get("/v1/users/" + user, app.auth())
        assert (r.body, r["ETag"]) == (now.body, now["ETag"])


def test_merge_patch(site, app):
    auth = app.auth()
    site.request("PUT", "/v1/users/patch", auth, {"a": 1, "b": 2})
    r = site.request("PATCH", "/v1/users/patch",
                     {**auth, "Content-Type": "application/merge-patch+json"},
                     '{"a":null,"c":3}')
    assert (r.status, r.json()) == (200, {"b": 2, "c": 3})


@pytest.mark.parametrize("type,status", [
    ("application/json;charset=utf8", 200),
    ('Application/JSON ; Charset="UTF-8";', 200),
    ("application/json; version=1", 200),
    ("application/json;odata=verbose", 200),
    ('application/json;a="x;charset=latin1"', 200),
    ("application/json; charset=latin1", 415),
    ("application/json; charset", 415),
    ("application/jsonx", 415)])
def test_content_type(site, app, type, status):
    r = site.request("PUT", "/v1/users/media", app.auth(), {})
    assert r.status in (200, 201)
    r = site.request("PUT", "/v1/users/media",
                     {**app.auth(), "Content-Type": type}, "{}")
    assert r.status == status, r
    type = type.replace("/json", "/merge-patch+json")
    r = site.request("PATCH", "/v1/users/media",
                     {**app.auth(), "Content-Type": type}, "{}")
    assert r.status == status, r


def test_no_content(site, app):
    auth = app.auth()
    site.request("PUT", "/v1/users/gone", auth, {})
    r = site.request("DELETE", "/v1/users/gone", auth)
    assert (r.status, r.body) == (204, b"")
    assert site.get("/v1/users/gone", auth).status == 404


def test_head(site, app):
    auth = app.auth()
    site.request("PUT", "/v1/users/head", auth, {"a": 1})
    full = site.get("/v1/users/head", auth)
    r = site.request("HEAD", "/v1/users/head", auth)
    assert (r.status, r.body, r["ETag"]) == (200, b"", full["ETag"])
    assert r["Content-Type"] == full["Content-Type"]
    assert site.request("HEAD", "/v1/whoami").status == 401


NAMES = [("a%20b", "a b"), ("%C3%A9", "é"), ("a%3Fb", "a?b"), ("a%25b", "a%b"),
         ("a%23b", "a#b"), ("x.fcgi", "x.fcgi"), ("x.html", "x.html"),
         ("a+b", "a+b"), ("a%26b=c", "a&b=c"), ("%252F", "%2F")]


def test_names_of_users(site):
    own = site.register()
    auth = own.auth()
    for raw, name in NAMES:
        r = site.request("PUT", "/v1/users/" + raw, auth, {"name": name})
        assert r.status == 201, (raw, r)
        assert site.get("/v1/users/" + raw, auth).json() == {"name": name}
        r = site.get("/v1/me", own.auth(sub=name))
        assert r.json() == {"name": name}
    r = site.get("/v1/users?limit=50", auth)
    assert sorted(u["user"] for u in r.json()["users"]) == sorted(
        n for _, n in NAMES)


def test_slash_in_a_name(site, app, note):
    r = site.request("PUT", "/v1/users/a%2Fb", app.auth(), {"n": 1})
    if site.way.name == "Apache htaccess":
        # AllowEncodedSlashes is the host's to set; /v1/me needs no path.
        is_servers_own(r, 404)
        note(404)
        r = site.request("PUT", "/v1/me", app.auth(sub="a/b"), {"n": 1})
    assert r.status in (200, 201), r
    assert site.get("/v1/me", app.auth(sub="a/b")).json() == {"n": 1}


def test_query(site):
    own = site.register()
    for name in "abc":
        site.request("PUT", f"/v1/users/{name}", own.auth(), {})
    r = site.get("/v1/users?limit=2", own.auth())
    assert [u["user"] for u in r.json()["users"]] == ["a", "b"]
    r = site.get("/v1/users?limit=2&after=" + r.json()["next"], own.auth())
    assert [u["user"] for u in r.json()["users"]] == ["c"]


def test_request_id(site, app):
    for mine in ("abc-1.2:3_X", "r" * 128):
        r = site.get("/v1/whoami", {**app.auth(), "X-Request-Id": mine})
        assert r.all("X-Request-Id") == [mine]
    made = site.get("/healthz", {"X-Request-Id": "no spaces"})["X-Request-Id"]
    assert made != "no spaces" and len(made) == 32


def test_long_token(site, app, note):
    """8192 characters are a token, one more is Postern's own 401. What Apache
    lets through under .htaccess is the host's to set."""
    for length, status in ((7600, 200), (8192, 200), (8193, 401)):
        token = token_of(app, length)
        r = site.get("/v1/whoami", {**app.auth(),
                                    "Authorization": "Bearer " + token})
        if site.way.name == "Apache htaccess" and length > 8000:
            is_servers_own(r, 400)
            note(400)
        elif status == 200:
            assert r.status == 200, r
        else:
            is_problem(r, 401, "invalid_credentials")


@pytest.mark.parametrize("value", ["bytes=0-1", "bytes=-1", "bytes=0-0,2-3",
                                   "bytes=999999-", "lines=1-2"])
def test_no_ranges(site, app, value):
    """A part of an answer is no document, and no problem either."""
    auth = app.auth()
    site.request("PUT", "/v1/users/range", auth, {"a": 1})
    whole = site.get("/v1/users/range", auth)
    r = site.get("/v1/users/range", {**auth, "Range": value})
    assert (r.status, r.body, r["ETag"]) == (200, whole.body, whole["ETag"])
    r = site.get("/openapi.json", {"Range": value})
    assert r.status == 200 and r.json()["openapi"]
    r = site.get("/v1/whoami", {"Range": value})
    is_problem(r, 401, "credentials_missing")


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd", "gzip, br, zstd, *"])
def test_no_compression(site, app, coding):
    """What a client gets is what it may send back."""
    auth = {**app.auth(), **JSON}
    tag = site.request("PUT", "/v1/users/coded", auth,
                       {"a": "x" * 5000})["ETag"]
    r = site.get("/v1/users/coded", {**auth, "Accept-Encoding": coding})
    assert (r.status, r["ETag"], r["Content-Encoding"]) == (200, tag, None)
    r = site.request("PUT", "/v1/users/coded", {
        **auth, "If-Match": r["ETag"], "Accept-Encoding": coding}, {})
    assert r.status == 200 and r["Content-Encoding"] is None


def test_health(site, app):
    assert site.get("/healthz").status == 200
    assert site.get("/readyz").status == 200
    # No client can ask for the gate's decision by a header.
    for name in ("Postern-Gate", "FCGI-Role", "X-Postern-Gate"):
        assert site.get("/healthz", {name: "plain"}).status == 200


def test_pages(site):
    """The static pages, with their policy."""
    r = site.get("/")
    assert r.status == 200 and b"Postern" in r.body
    assert r["Content-Security-Policy"].startswith(CSP)
    assert r["X-Content-Type-Options"] == "nosniff"
    for path, kind in (("/app.js", "javascript"), ("/style.css", "text/css"),
                       ("/", "text/html"), ("/icon.svg", "image/svg")):
        r = site.get(path)
        assert r.status == 200 and kind in r["Content-Type"]
        assert r["Content-Security-Policy"].startswith(CSP)
        # Asked for each time, for two versions' don't fit together.
        assert r.all("Cache-Control") == ["no-cache"]
        valid = {n: r[h] for n, h in (("If-None-Match", "ETag"), (
            "If-Modified-Since", "Last-Modified")) if r[h]}
        assert valid
        again = site.get(path, valid)
        assert (again.status, again.body) == (304, b"")
        assert again.all("Cache-Control") in (["no-cache"], [])
    # It is the pages' own: what Postern answers is its to say.
    for path in ("/healthz", "/v1/whoami", "/v1/users/x.js"):
        assert not site.get(path).all("Content-Security-Policy")


def test_kept_client(site, app):
    """One connection, many requests, refusals with unread bodies among
    them."""
    c = http.client.HTTPConnection("127.0.0.1", site.port, timeout=PATIENCE)
    auth, sock, ended = app.auth(), None, 0
    for method, path, headers, body, status in [
            ("GET", "/v1/whoami", auth, None, 200),
            ("PUT", "/v1/users/kept", {**auth, **JSON}, b"{}", None),
            ("PUT", "/v1/users/kept", JSON, document(3000).encode(), 401),
            ("GET", "/v1/users/kept", auth, None, 200),
            ("DELETE", "/v1/users/kept", auth, None, 204),
            ("GET", "/v1/users/kept", auth, None, 404),
            ("HEAD", "/v1/whoami", auth, None, 200),
            ("GET", "/v1/whoami", auth, None, 200)] * 3:
        try:
            c.request(method, site.prefix + path, body, headers)
            r = c.getresponse()
        except (ConnectionError, http.client.RemoteDisconnected):
            # A server may end a kept connection at any time (RFC 9112,
            # 9.3.1); that it does so again and again would be no keeping.
            ended += 1
            c.close()
            sock = None
            c.request(method, site.prefix + path, body, headers)
            r = c.getresponse()
        r.read()
        assert r.status == status or (status is None and r.status < 300) or (
            ended and status == 204 and r.status == 404)
        assert sock in (None, c.sock), "the connection was not kept"
        sock = c.sock
    c.close()
    assert ended <= 1

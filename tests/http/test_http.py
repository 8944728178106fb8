"""HTTP: refusals and their order, problems, ids, OPTIONS, HEAD, CORS, the
gate's decision."""
import json
import re

import pytest

from lib.fastcgi import FastCGI
from lib.stack import Stack
from lib.tokens import ADMIN, REGISTRATION

pytestmark = pytest.mark.strange

JSON = {"Content-Type": "application/json"}
TITLES = {400: "Bad Request", 401: "Unauthorized", 403: "Forbidden",
          404: "Not Found", 405: "Method Not Allowed",
          412: "Precondition Failed", 413: "Content Too Large",
          415: "Unsupported Media Type", 503: "Service Unavailable"}


def problem(r, status, code):
    assert r.status == status, r
    assert r["Content-Type"] == "application/problem+json"
    p = r.json()
    assert set(p) == {"type", "title", "status", "detail", "instance", "code"}
    assert p["code"] == code
    assert p["status"] == status and p["title"] == TITLES[status]
    assert p["detail"]
    assert p["instance"].endswith(r["X-Request-Id"])
    assert (r["WWW-Authenticate"] is not None) == (
        status == 401 or code in ("app_token_required", "other_user",
                                  "user_token_required"))


BIG = b'{"a":"' + b"x" * 66000 + b'"}'


@pytest.mark.covers("ASVS-V13.1.4", "ASVS-V13.2.5")
def test_order_of_refusals(site, app):
    """404, 405, 401, 403, 413, 415, 400, 404, 412: each before the next."""
    user, good = app.auth(sub="u"), app.auth()
    text = {"Content-Type": "text/plain"}
    stale = {"If-Match": '"x"'}
    rows = [
        ("BREW", "/v1/nothing", {}, BIG, 404, "no_such_route"),
        ("POST", "/v1/users/a", text, BIG, 405, "method_not_allowed"),
        ("PUT", "/v1/users/a", text, BIG, 401, "credentials_missing"),
        ("PUT", "/v1/users/a", {**user, **text}, BIG, 403, "other_user"),
        ("PUT", "/v1/users/a", {**good, **text, **stale}, BIG, 413,
         "body_too_large"),
        ("PUT", "/v1/users/a", {**good, **text, **stale}, b"{", 415,
         "unsupported_media_type"),
        ("PUT", "/v1/users/a", {**good, **JSON, **stale}, b"{", 400,
         "json_invalid"),
        ("PATCH", "/v1/users/a", {**good, **JSON, **stale}, b"{}", 404,
         "not_found"),
        ("PUT", "/v1/users/a", {**good, **JSON, **stale}, b"{}", 412,
         "precondition_failed"),
    ]
    for method, path, headers, body, status, code in rows:
        if method == "BREW":  # lighttpd knows the registered methods only
            method = "POST"
        problem(site.request(method, path, headers, body), status, code)


@pytest.mark.parametrize("path", [
    "/v1/", "/v1/nothing", "/v1/app/", "/v1//app", "/v1/app/x", "/v1/App",
    "/v1/users/a/b", "/v1/users/", "/v1/app%00", "/v1/%zz", "/v1/a/b/c/d/e/f/g"
])
def test_no_such_route(site, path):
    raw = f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    answer = site.raw_http(raw)
    assert answer.split()[1] in (b"404", b"400"), answer


@pytest.mark.covers("ASVS-V13.2.1")
def test_405_and_options_name_the_methods(site):
    want = {
        "/v1/apps": "POST, OPTIONS",
        "/v1/whoami": "GET, HEAD, OPTIONS",
        "/v1/app": "GET, HEAD, PATCH, DELETE, OPTIONS",
        "/v1/app/rotate": "POST, OPTIONS",
        "/v1/app/previous-secret": "DELETE, OPTIONS",
        "/v1/users": "GET, HEAD, OPTIONS",
        "/v1/users/x": "GET, HEAD, PUT, PATCH, DELETE, OPTIONS",
        "/v1/me": "GET, HEAD, PUT, PATCH, DELETE, OPTIONS",
        "/healthz": "GET, HEAD, OPTIONS", "/readyz": "GET, HEAD, OPTIONS",
    }
    for path, allow in want.items():
        r = site.request("OPTIONS", path)
        assert (r.status, r.body) == (204, b"")
        assert set(r["Allow"].split(", ")) >= set(allow.split(", "))
        method = next(m for m in ("PUT", "POST", "GET")
                      if m not in r["Allow"].split(", "))
        r = site.request(method, path)
        problem(r, 405, "method_not_allowed")
        assert set(r["Allow"].split(", ")) >= set(allow.split(", "))
    problem(site.request("OPTIONS", "/v1/nothing"), 404, "no_such_route")


def test_head_is_get_without_body(site, app):
    site.request("PUT", "/v1/users/h", {**app.auth(), **JSON}, "{}")
    for path, auth in (("/healthz", {}), ("/v1/whoami", app.auth()),
                       ("/v1/users/h", app.auth()), ("/v1/whoami", {}),
                       ("/v1/nothing", {})):
        get = site.get(path, auth)
        head = site.request("HEAD", path, auth)
        assert (head.status, head.body) == (get.status, b"")
        for name in ("Content-Type", "Content-Length", "ETag",
                     "Cache-Control", "WWW-Authenticate"):
            assert head[name] == get[name]


def test_request_ids(site, app):
    for good in ("a", "A-b_c.d:e", "x" * 128):
        assert site.get("/healthz", {"X-Request-Id": good})[
            "X-Request-Id"] == good
    seen = set()
    for bad in ("", "a b", "x" * 129, "é".encode(), 'a"b', "a=b"):
        r = site.get("/healthz", {"X-Request-Id": bad})
        assert re.fullmatch("[0-9a-f]{32}", r["X-Request-Id"])
        seen.add(r["X-Request-Id"])
    assert len(seen) == 6
    # The access line carries it.
    site.get("/v1/whoami", {**app.auth(), "X-Request-Id": "find-me-1"})
    line = [x for x in site.log_lines("request") if "find-me-1" in x][0]
    assert "route=/v1/whoami status=200" in line
    assert f"app_id={app.id}" in line
    assert re.search(r" us=\d+$", line)


def test_a_request_cannot_forge_a_log_line(alone):
    evil = "/v1/whoami?x=\nlevel=info event=forged"
    r = alone.fcgi([("REQUEST_METHOD", "GET\nevent=forged"),
                    ("REQUEST_URI", evil),
                    ("REMOTE_ADDR", "1.2.3.4\nevent=forged x"),
                    ("HTTP_X_REQUEST_ID", "a\nevent=forged")])
    assert r.status == 405
    assert not [x for x in alone.log().splitlines()
                if x.startswith(("event=forged", "level=info event=forged"))]


@pytest.mark.covers("API8:2023")
def test_cors(make):
    s = make(env={"POSTERN_CORS_ORIGINS":
                  "https://app.example https://b.example"})
    app = s.register()
    ok = {"Origin": "https://app.example"}
    r = s.request("OPTIONS", "/v1/app", {
        **ok, "Access-Control-Request-Method": "PATCH"})
    assert r.status == 204
    assert r["Access-Control-Allow-Origin"] == "https://app.example"
    assert "PATCH" in r["Access-Control-Allow-Methods"]
    for name in ("Authorization", "X-Public-Key", "Content-Type", "If-Match"):
        assert name in r["Access-Control-Allow-Headers"]
    assert r["Access-Control-Allow-Credentials"] is None
    for path in ("/v1/whoami", "/v1/nothing", "/healthz"):
        r = s.get(path, {**app.auth(), **ok})
        assert r["Access-Control-Allow-Origin"] == "https://app.example"
        assert "Origin" in r["Vary"]
        assert "ETag" in r["Access-Control-Expose-Headers"]
    for other in ("https://evil.example", "https://app.example.evil", "null",
                  "http://app.example", "https://app.example/", "*"):
        r = s.get("/v1/whoami", {**app.auth(), "Origin": other})
        assert r.status == 200
        assert r["Access-Control-Allow-Origin"] is None


@pytest.fixture(scope="module")
def cors_site(pg):
    with Stack(pg, env={"POSTERN_CORS_ORIGINS": "https://app.example"}) as s:
        yield s


TRACING = ("authorization,baggage,cache-control,content-type,sentry-trace,"
           "traceparent,tracestate,x-public-key,x-requested-with")


@pytest.mark.parametrize("asked,granted", [
    (TRACING, True),
    ("X-Public-Key", True),
    ("x-public-key , authorization", True),
    (",, a,\t,b,,", True),
    ("!#$%&'*+-.^_`|~09azAZ", True),
    ("a" * 1024, True),
    ("a" * 1025, False),
    (",".join(["a"] * 513), False),
    (None, False), ("", False), (" ", False), (",", False), (", ,", False),
    ("a b", False), ("a;b", False), ("a, b c", False), ('"a"', False),
    ("a: b", False), ("a/b", False), ("(a)", False), ("<script>", False),
    ("\u00e9", False), ("a,\u00e9", False), ("x@y", False),
])
def test_cors_headers(cors_site, asked, granted):
    """A preflight gets what it asks for, if that is a list of names."""
    s = cors_site
    headers = {"Origin": "https://app.example",
               "Access-Control-Request-Method": "PUT"}
    if asked is not None:
        headers["Access-Control-Request-Headers"] = asked.encode().decode(
            "latin-1")
    r = s.request("OPTIONS", "/v1/users/u", headers)
    assert r.status == 204
    assert r["Vary"] == "Origin, Access-Control-Request-Headers"
    allowed = r["Access-Control-Allow-Headers"]
    if granted:
        assert allowed == asked
    else:
        assert set(allowed.split(", ")) == {
            "Authorization", "Content-Type", "If-Match", "If-None-Match",
            "X-Public-Key", "X-Request-Id"}
    # Not for others, nor where there is nothing.
    r = s.request("OPTIONS", "/v1/users/u",
                  {**headers, "Origin": "https://evil.example"})
    assert r["Access-Control-Allow-Headers"] is None
    assert r["Vary"] == "Origin, Access-Control-Request-Headers"
    r = s.request("OPTIONS", "/v1/nothing", headers)
    assert r["Access-Control-Allow-Headers"] is None
    r = s.get("/healthz", headers)
    assert r["Access-Control-Allow-Headers"] is None
    assert r["Vary"] == "Origin"


@pytest.mark.covers("API8:2023")
def test_no_cors_by_default(site):
    r = site.request("OPTIONS", "/v1/app", {
        "Origin": "https://x.example",
        "Access-Control-Request-Headers": TRACING})
    assert not [k for k, _ in r.headers.items()
                if k.lower().startswith("access-control")]


# -- the gate

IDENTITY = ("X-App-Id", "X-App-Name", "X-App-Public-Key", "X-Token-Subject")


def test_gate_by_path(site):
    app = site.register("Zoë/& co")
    for method in ("GET", "POST", "PUT", "DELETE", "OPTIONS", "HEAD"):
        r = site.request(method, "/v1/auth?x", app.auth(sub="a b/é"))
        assert (r.status, r.body) == (204, b"")
        assert [r[n] for n in IDENTITY] == [
            str(app.id), "Zo%C3%AB%2F%26%20co", app.public, "a%20b%2F%C3%A9"]
        r = site.request(method, "/v1/auth")
        assert r.status == 401


def test_gate_sends_all_four(alone, raw):
    """The subject is there, and empty, for an app token (lighttpd drops
    empty headers on their way to the client)."""
    auth = {**raw.params, "HTTP_AUTHORIZATION": "Bearer " + raw.token()}
    r = gate(alone, "plain", **auth)
    assert (r.status, r["X-Token-Subject"]) == (204, "")
    assert all(r[name] is not None for name in IDENTITY)


def gate(alone, value, **params):
    return alone.fcgi({"REQUEST_METHOD": "GET", "REQUEST_URI": "/private",
                       **({"POSTERN_GATE": value} if value else {}),
                       **params})


@pytest.fixture(scope="module")
def raw(alone):
    from test_tokens import register_raw
    app = register_raw(alone)
    app.params = {"HTTP_X_PUBLIC_KEY": app.public,
                  "HTTP_AUTHORIZATION": "Bearer " + app.token(sub="ada")}
    return app


@pytest.mark.covers("API2:2023")
@pytest.mark.parametrize("value", ["plain", "nginx", "anything"])
def test_gate_decides_before_routing(alone, raw, value):
    for uri in ("/healthz", "/readyz", "/v1/apps", "/", "/private", "/%zz",
                "//", "/openapi.json"):
        for method in ("GET", "OPTIONS", "POST", "BREW", "HEAD"):
            params = {"REQUEST_URI": uri, "REQUEST_METHOD": method,
                      "CONTENT_LENGTH": "12"}
            r = gate(alone, value, **params)
            assert r.status == 401, (uri, method)
            r = gate(alone, value, **params, **raw.params)
            assert r.status == 204, (uri, method)
            assert r["X-Token-Subject"] == "ada"


def test_gate_under_nginx_maps_refusals(alone, raw):
    """auth_request knows 2xx, 401 and 403 alone, and drops the body."""
    many = [("REQUEST_URI", "/"), ("POSTERN_GATE", "nginx"),
            *raw.params.items(), *((f"HTTP_X{i}", "y") for i in range(300))]
    r = alone.fcgi(many)
    assert (r.status, r["X-Postern-Status"]) == (403, "400")
    assert r["X-Postern-Problem"] + "\n" == r.body.decode()
    r = alone.fcgi({"REQUEST_URI": "/", "POSTERN_GATE": "nginx"})
    assert (r.status, r["X-Postern-Status"]) == (401, "401")
    assert json.loads(r["X-Postern-Problem"])["code"] == "credentials_missing"
    assert gate(alone, "nginx", **raw.params)["X-Postern-Problem"] is None
    r = alone.fcgi([("POSTERN_GATE", "plain"), *many[2:], many[0]])
    assert (r.status, r["X-Postern-Problem"]) == (400, None)


def test_authorizer_role(alone, raw):
    def ask(params):
        with FastCGI(alone.sock) as f:
            f.begin(role=2)
            f.params(params)
            return f.answer()

    r = ask({"REQUEST_METHOD": "GET", "REQUEST_URI": "/healthz"})
    assert r.status == 401 and r["WWW-Authenticate"]
    for method in ("GET", "OPTIONS", "POST"):
        r = ask({"REQUEST_METHOD": method, "REQUEST_URI": "/healthz",
                 "CONTENT_LENGTH": "5", **raw.params})
        assert r.status == 200
        assert r["Variable-POSTERN_APP_ID"] == str(raw.id)
        assert r["Variable-POSTERN_APP_NAME"] == "raw"
        assert r["Variable-POSTERN_APP_PUBLIC_KEY"] == raw.public
        assert r["Variable-POSTERN_SUBJECT"] == "ada"
    # The client can't choose the role: HTTP_ names are no roles.
    r = alone.fcgi({"REQUEST_METHOD": "GET", "REQUEST_URI": "/healthz",
                    "HTTP_FCGI_ROLE": "AUTHORIZER", "HTTP_POSTERN_GATE": "x"})
    assert r.status == 200


def test_authorizer_under_lighttpd(make):
    """A static folder behind the gate, as lighttpd asks for it."""
    s = make(extra_conf="""
$HTTP["url"] =~ "^/(index.html|healthz$)" {
	fastcgi.server = ("/" => ((
		"socket" => var.socket, "mode" => "authorizer",
		"check-local" => "disable", "docroot" => var.www)))
}
""")
    app = s.register()
    assert s.get("/index.html").status == 401
    assert s.get("/index.html", app.auth(secret="x" * 64)).status == 401
    assert s.request("OPTIONS", "/index.html").status == 401
    r = s.get("/index.html", app.auth())
    assert r.status == 200 and b"Postern" in r.body
    s.process.send_signal(9)
    s.process.wait()
    s.process = None
    assert s.get("/index.html", app.auth()).status in (500, 503)


@pytest.mark.covers("RFC8725-3.12", "API5:2023")
def test_operator_tokens_are_no_jwts(site, app):
    for token in (REGISTRATION, ADMIN):
        r = site.get("/v1/whoami", {"X-Public-Key": app.public,
                                    "Authorization": "Bearer " + token})
        assert r.status == 401
    r = site.request("POST", "/v1/apps", app.auth(), {"name": "x"})
    assert r.status == 401


def test_every_answer_is_json_or_empty(site, app):
    for method in ("GET", "PUT", "POST", "DELETE", "PATCH"):
        for path in ("/v1/app", "/v1/none", "/v1/users/x", "/v1/whoami"):
            r = site.request(method, path, {"X-Public-Key": app.public})
            if r.body:
                json.loads(r.body)

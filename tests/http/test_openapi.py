"""/openapi.json is true: every operation is called so that each status that it
documents comes at least once, and every answer is what the document says."""
import contextlib
import json
import pathlib
import subprocess
import threading
import time

import pytest

from lib.ownkey import Pair
from lib.process import REPO, wait_until
from lib.stack import Stack
from lib.tokens import ADMIN, REGISTRATION, raw_token
from openapi import Document, judge

HERE = pathlib.Path(__file__).resolve().parent
SOURCE = REPO / "src/api/openapi.json"
DOCUMENT = Document(SOURCE.read_text())
OPERATIONS = list(DOCUMENT.operations.values())
METRICS = "metrics-token-for-the-tests-00000000001"
UNKNOWN = "ab" * 32
# More headers than any request needs.
MANY = {f"X-Many-{i}": "y" for i in range(300)}


def bearer(token):
    return {"Authorization": "Bearer " + token}


class Walk:
    """A stack, and requests to it as the document's operations."""

    def __init__(self, stack):
        self.s = stack

    def prepare(self, op, app=None):
        """What makes op succeed: an app for it, and its request's headers,
        with a document of the user ada where one has to be there."""
        app = app or self.s.register()
        schemes = {name for way in op.security for name in way}
        if "token" in schemes:
            user = op.path in ("/v1/me", "/v1/auth")
            headers = app.auth(**({"sub": "ada"} if user else {}))
        else:
            headers = bearer(ADMIN) if schemes else {}
        return app, headers

    def document(self, app):
        r = self.s.request("PUT", "/v1/users/ada", app.auth(), {"v": 1})
        assert r.status in (200, 201), r
        return r["ETag"]

    def call(self, op, app, headers, body=None, key=None, user="ada"):
        """Send it, and judge the answer. Without a body of its own it has the
        document's example."""
        path = op.path.format(public_key=key or app and app.public,
                              user=user)
        example, media = op.example()
        r = self.s.request(op.method, path, {**media, **headers},
                           example if body is None else body)
        judge(op, r)
        if r["Cache-Control"] == "no-store" and r.status in (200, 201):
            self.s.registered.append(r.json().get("secret_key", UNKNOWN))
        return r

    def good(self, op, **more):
        app, headers = self.prepare(op)
        if op.path in ("/v1/users/{user}", "/v1/me") and op.method != "PUT":
            self.document(app)
        return self.call(op, app, {**headers, **more})

    def during(self, change, call):
        """call while a transaction with change is open, which is committed
        when call waits for it."""
        out = []
        c = self.s.pg.connect(self.s.database)
        c.autocommit = False
        c.cursor().execute(*change)
        thread = threading.Thread(target=lambda: out.append(call()))
        thread.start()
        try:
            wait_until("a wait for the row", lambda: self.s.sql(
                "SELECT count(*) FROM pg_stat_activity"
                " WHERE wait_event_type = 'Lock' AND datname = %s",
                self.s.database)[0][0] or out)
        finally:
            c.commit()
            c.close()
            thread.join()
        assert out, "no answer, or a bad one"
        return out[0]


# -- how each status is provoked

def created(w, op):
    app, headers = w.prepare(op)
    return w.call(op, app, headers)


def stored_anew(w, op):
    if op.method != "PUT":
        return w.good(op)
    app, headers = w.prepare(op)
    w.document(app)
    return w.call(op, app, headers)


def not_modified(w, op):
    app, headers = w.prepare(op)
    if op.path == "/openapi.json":
        tag = w.s.get("/openapi.json")["ETag"]
    else:
        tag = w.document(app)
    return w.call(op, app, {**headers, "If-None-Match": f'"x", W/{tag}'})


def forbidden(w, op):
    app, _ = w.prepare(op)
    if op.path == "/v1/auth":  # nginx, which asks for something forbidden
        return judge(op, w.s.fcgi([
            ("REQUEST_METHOD", "GET"), ("REQUEST_URI", "/private"),
            ("POSTERN_GATE", "nginx"),
            *[("HTTP_" + n.upper().replace("-", "_"), v)
              for n, v in {**app.auth(), **MANY}.items()]]))
    if op.path == "/v1/apps":
        with Stack(w.s.pg, workers=1, database=w.s.database, env={
                "POSTERN_REGISTRATION": "closed"}) as s:
            return Walk(s).call(op, app, bearer(REGISTRATION))
    claims = {} if op.path == "/v1/me" else {"sub": "eve"}
    return w.call(op, app, app.auth(**claims))


def not_found(w, op):
    app, headers = w.prepare(op)
    if "{public_key}" in op.path:
        return w.call(op, app, headers, key=UNKNOWN)
    if op.method == "PUT":  # the app goes while its user comes
        return w.during(("DELETE FROM apps WHERE id = %s", (app.id,)),
                        lambda: w.call(op, app, headers))
    return w.call(op, app, headers)


def overlap(w, op):
    app, headers = w.prepare(op)
    w.s.sql("UPDATE apps SET previous_encrypted_secret_key ="
            " encrypted_secret_key, previous_valid_until ="
            " now() + interval '1 hour' WHERE id = %s", app.id)
    return w.call(op, app, headers)


def conflict(w, op):
    if op.path == "/v1/apps/{public_key}/rotate":
        return overlap(w, op)
    if op.path == "/v1/apps":
        return key_in_use(w)
    app, headers = w.prepare(op)
    return w.during(
        ("UPDATE apps SET encrypted_secret_key = 'other' WHERE id = %s",
         (app.id,)), lambda: w.call(op, app, headers))


def unauthorized(w, op):
    app, _ = w.prepare(op)
    return w.call(op, app, {})


RECIPES = {
    "200": stored_anew,
    "201": created,
    "204": lambda w, op: w.good(op),
    "304": not_modified,
    "400": lambda w, op: w.good(op, **MANY),
    "401": unauthorized,
    "403": forbidden,
    "404": not_found,
    "409": conflict,
    "412": lambda w, op: w.good(op, **{"If-Match": '"other"'}),
    "413": lambda w, op: w.call(op, *w.prepare(op), "x" * 70000),
    "415": lambda w, op: w.good(op, **{"Content-Type": "text/plain"}),
}


@pytest.fixture(scope="module")
def walk(pg):
    with Stack(pg, env={"POSTERN_METRICS_TOKEN": METRICS}) as s:
        yield Walk(s)


@pytest.mark.covers("API3:2023", "API9:2023", "ASVS-V13.2.5")
@pytest.mark.parametrize("op", OPERATIONS, ids=lambda op: op.id)
def test_each_status(walk, op):
    for status in op.responses:
        if status not in ("429", "503"):
            r = RECIPES[status](walk, op)
            assert str(r.status) == status, (op, status, r)


def test_unavailable(make):
    """503 where it is documented, and nowhere else."""
    walk = Walk(make())
    ready = [(op, *walk.prepare(op)) for op in OPERATIONS]
    with walk.s.database_away():
        for op, app, headers in ready:
            r = walk.call(op, app, headers)
            assert (r.status == 503) == ("503" in op.responses), (op, r)
            if r.status == 503:
                assert r.code == "database_unavailable"


def test_too_many_failures(make):
    """429 where it is documented, and nowhere else; good ones pass."""
    walk = Walk(make(env={"POSTERN_LIMIT_FAILURES": "1/3600"}))
    wrong = {**bearer("x" * 40), "X-Public-Key": UNKNOWN}
    assert walk.s.get("/v1/whoami", wrong).status == 401
    for op in OPERATIONS:
        app, headers = walk.prepare(op)
        r = walk.call(op, app, wrong)
        assert (r.status == 429) == ("429" in op.responses), (op, r)
        if r.status == 429:
            assert r.code == "too_many_failures"
        assert walk.good(op).status < 300, op


@pytest.mark.parametrize("op", [o for o in OPERATIONS if "409" in o.responses
                                and o.path.startswith("/v1/app/")
                                or o.id in ("changeOwnApp", "deleteOwnApp")],
                         ids=lambda op: op.id)
def test_the_app_goes_meanwhile(walk, op):
    """Its credentials were good a moment ago; they are of nobody now."""
    app, headers = walk.prepare(op)
    r = walk.during(("DELETE FROM apps WHERE id = %s", (app.id,)),
                    lambda: walk.call(op, app, headers))
    assert (r.status, r.code) == (401, "invalid_credentials")


# -- the rest of what it says

CODES = {}


def code(name):
    def add(recipe):
        CODES[name] = recipe
        return recipe
    return add


def ask(w, headers, path="/v1/whoami"):
    op = next(o for o in OPERATIONS if o.path == path and o.method == "GET")
    return w.call(op, None, headers, key=UNKNOWN)


def register(w, body=None, **headers):
    return w.call(DOCUMENT.operations["registerApp"], None,
                  {**bearer(REGISTRATION), **headers}, body)


def whoami_with(**kw):
    """iat and nbf are seconds from now, which is when it is called."""
    def recipe(w):
        times = {k: int(time.time()) + v if k in ("iat", "nbf") and
                 isinstance(v, int) else v for k, v in kw.items()}
        return ask(w, w.s.register().auth(**times))

    return recipe


def token_algorithm(w):
    app = w.s.register()
    return ask(w, {"X-Public-Key": app.public, **bearer(
        raw_token(app.secret, '{"alg":"HS512"}'))})


def key_in_use(w):
    body = json.dumps({"name": "An app", "jwk": Pair("ES256").jwk()})
    assert register(w, body).status == 201
    return register(w, body)


def body_incomplete(w):
    return judge(DOCUMENT.operations["registerApp"], w.s.fcgi({
        "REQUEST_METHOD": "POST", "REQUEST_URI": "/v1/apps",
        "CONTENT_TYPE": "application/json", "CONTENT_LENGTH": "20",
        "HTTP_AUTHORIZATION": "Bearer " + REGISTRATION}, b'{"name"'))


def replayed(w):
    headers = w.s.register().auth(jti="once", aud="here",
                                  iat=int(time.time()))
    first = ask(w, headers)
    assert first.status == 200, first
    return ask(w, headers)


def key_unavailable(w):
    app = w.s.register()
    w.s.sql("UPDATE apps SET master_key_id = 'another' WHERE id = %s", app.id)
    return ask(w, app.auth())


def previous_secret(w):
    app = w.s.register()
    op = DOCUMENT.operations["rotateOwnApp"]
    assert w.call(op, app, app.auth()).status == 200
    return w.call(op, app, app.auth())


PLAIN = {
    "bad_request": lambda w: ask(w, MANY, "/healthz"),
    "body_incomplete": body_incomplete,
    "body_required": lambda w: register(w, ""),
    "json_invalid": lambda w: register(w, "{"),
    "value_invalid": lambda w: register(w, '{"name":""}'),
    "key_invalid": lambda w: register(w, '{"name":"x","jwk":{}}'),
    "key_in_use": key_in_use,
    "credentials_missing": lambda w: ask(w, {}),
    "public_key_missing": lambda w: ask(w, bearer("a.b.c")),
    "token_missing": lambda w: ask(w, {"X-Public-Key": UNKNOWN}),
    "invalid_credentials": whoami_with(secret="0" * 64),
    "token_expired": whoami_with(exp=-60),
    "token_not_yet_valid": whoami_with(nbf=600),
    "token_without_exp": whoami_with(exp=None),
    "token_subject": whoami_with(sub=""),
    "token_algorithm": token_algorithm,
    "token_malformed": whoami_with(nbf="soon"),
    "previous_secret": previous_secret,
    "app_token_required": lambda w: ask(
        w, w.s.register().auth(sub="u"), "/v1/app"),
    "user_token_required": lambda w: ask(w, w.s.register().auth(), "/v1/me"),
    "other_user": lambda w: ask(
        w, w.s.register().auth(sub="eve"), "/v1/users/{user}"),
    "not_found": lambda w: ask(w, bearer(ADMIN), "/v1/apps/{public_key}"),
    "key_unavailable": key_unavailable,
    "overlap_in_progress": lambda w: overlap(
        w, DOCUMENT.operations["rotateOwnApp"]),
    "unsupported_media_type": lambda w: register(
        w, **{"Content-Type": "text/plain"}),
    "body_too_large": lambda w: register(w, "x" * 70000),
    "precondition_failed": lambda w: ask(
        w, {"If-Match": '"other"'}, "/openapi.json"),
}
# Of settings that ask for more.
STRICT = {
    "token_too_old": whoami_with(iat=-600),
    "token_without_iat": whoami_with(),
    "token_audience": whoami_with(iat=0, aud="elsewhere"),
    "token_without_jti": whoami_with(iat=0, aud="here"),
    "token_replayed": replayed,
}
# Seen in test_each_status, test_unavailable, test_other_paths and where limits
# are low.
ELSEWHERE = {"registration_closed", "conflict", "database_unavailable",
             "no_such_route", "method_not_allowed", "too_many_failures",
             "too_many_registrations", "app_rate_limited"}
# A defect of ours, by definition.
NEVER = {"internal_error"}


def test_each_code_has_its_recipe():
    parts = [set(PLAIN), set(STRICT), ELSEWHERE, NEVER]
    codes = DOCUMENT.doc["components"]["schemas"]["ProblemCode"]["enum"]
    assert sorted(c for part in parts for c in part) == codes


@pytest.mark.parametrize("name", PLAIN)
def test_each_code(walk, name):
    assert PLAIN[name](walk).code == name


def test_codes_of_strict_settings(make):
    w = Walk(make(workers=1, env={
        "POSTERN_JWT_MAX_AGE": "300", "POSTERN_JWT_AUDIENCE": "here",
        "POSTERN_JWT_SINGLE_USE": "on"}))
    for name, recipe in STRICT.items():
        assert recipe(w).code == name


def test_codes_of_low_limits(make):
    w = Walk(make(env={"POSTERN_REGISTRATION": "open",
                       "POSTERN_LIMIT_REGISTRATIONS": "1/3600",
                       "POSTERN_LIMIT_APP": "1/3600"}))
    app = w.s.register()
    anyone = DOCUMENT.operations["registerApp"], None, {}
    assert w.call(*anyone).status == 201
    r = w.call(*anyone)
    assert (r.status, r.code) == (429, "too_many_registrations")
    assert w.s.get("/v1/whoami", app.auth()).status == 200
    r = ask(w, app.auth())
    assert (r.status, r.code) == (429, "app_rate_limited")


@pytest.mark.covers("API9:2023", "ASVS-V13.2.1")
def test_other_methods_and_paths(walk):
    responses = DOCUMENT.doc["components"]["responses"]
    paths = {}
    for op in OPERATIONS:
        paths.setdefault(op.path, set()).add(op.method)
    del paths["/v1/auth"]  # takes any
    for path, methods in paths.items():
        path = path.format(public_key=UNKNOWN, user="ada")
        allow = methods | {"OPTIONS"}
        if "GET" in methods:
            allow |= {"HEAD"}
        for method in {"GET", "PUT", "POST", "PATCH", "DELETE"} - methods:
            r = walk.s.request(method, path)
            assert (r.status, r.code) == (405, "method_not_allowed"), (path, r)
            DOCUMENT.judge(responses["MethodNotAllowed"], r, path)
            assert set(r["Allow"].split(", ")) == allow
        r = walk.s.request("OPTIONS", path)
        assert (r.status, r.body) == (204, b"")
        assert set(r["Allow"].split(", ")) == allow
    for path in ("/v1/", "/v1/nothing", "/v1/users/a/b", "/v1/apps/x/y"):
        r = walk.s.get(path, bearer(ADMIN))
        assert (r.status, r.code) == (404, "no_such_route"), r
        DOCUMENT.judge(responses["NoSuchRoute"], r, path)


@pytest.mark.parametrize(
    "op", [o for o in OPERATIONS if o.method == "GET"], ids=lambda op: op.id)
def test_head_is_get_without_the_body(walk, op):
    app, headers = walk.prepare(op)
    walk.document(app)
    path = op.path.format(public_key=app.public, user="ada")
    get, head = (walk.s.request(m, path, headers) for m in ("GET", "HEAD"))
    assert (head.status, head.body) == (get.status, b"")
    assert {n.lower() for n in head.headers} == {n.lower()
                                                 for n in get.headers}


# -- the document by itself

def test_validator():
    r = subprocess.run(["node", HERE / "openapi.mjs", SOURCE],
                       capture_output=True, text=True, cwd=HERE)
    assert (r.returncode, r.stdout.strip()) == (0, "3.1"), r.stderr


def test_validator_refuses(tmp_path):
    """It does look."""
    doc = json.loads(SOURCE.read_text())
    del doc["info"]["title"]
    bad = tmp_path / "openapi.json"
    bad.write_text(json.dumps(doc))
    r = subprocess.run(["node", HERE / "openapi.mjs", bad],
                       capture_output=True, text=True, cwd=HERE)
    assert r.returncode == 1 and "title" in r.stderr


def examples():
    """Each (where, example, schema)."""
    doc = DOCUMENT

    def content(where, media):
        for name, content in media.items():
            for key, example in content["examples"].items():
                yield (f"{where} {name} {key}", doc.follow(example)["value"],
                       content["schema"])

    for name, header in doc.doc["components"]["headers"].items():
        yield name, header["example"], header["schema"]
    for name, p in doc.doc["components"]["parameters"].items():
        yield name, p["example"], p["schema"]
    for name, r in doc.doc["components"]["responses"].items():
        yield from content(name, r.get("content", {}))
    for op in OPERATIONS:
        if op.body:
            yield from content(op, op.body["content"])
        for status, r in op.responses.items():
            yield from content(f"{op} {status}",
                               doc.follow(r).get("content", {}))


def test_examples():
    seen = list(examples())
    assert len(seen) > 100
    for where, value, schema in seen:
        DOCUMENT.judge_value(value, schema, where)


@pytest.mark.covers("API3:2023")
@pytest.mark.parametrize("fault", [
    lambda r: r.update(id="7"), lambda r: r.update(more=1),
    lambda r: r.pop("updated_at"), lambda r: r.update(created_at="today"),
    lambda r: r.update(public_key="AB" * 32)])
def test_schemas_judge(fault):
    """A judge that lets everything pass would make all of this worthless."""
    value = json.loads(json.dumps(
        DOCUMENT.doc["components"]["examples"]["app"]["value"]))
    schema = {"$ref": "#/components/schemas/App"}
    DOCUMENT.judge_value(value, schema, "good")
    fault(value)
    with pytest.raises(AssertionError):
        DOCUMENT.judge_value(value, schema, "bad")


def test_served(both):
    r = both.get("/openapi.json")
    assert r.status == 200
    assert r.json() == DOCUMENT.doc
    assert r["Content-Type"] == "application/json"
    assert r["Cache-Control"] == "public, no-cache"
    again = both.get("/openapi.json", {"If-None-Match": r["ETag"]})
    assert (again.status, again.body) == (304, b"")
    assert again["ETag"] == r["ETag"] and \
        again["Cache-Control"] == r["Cache-Control"]
    other = both.get("/openapi.json", {"If-None-Match": '"other"'})
    assert (other.status, other.body) == (200, r.body)
    # Credentials are not looked at, and change nothing.
    assert both.get("/openapi.json", bearer("x")).body == r.body
    assert both.get("/openapi.json", {"If-Match": "*"}).status == 200


def test_servers_are_relative():
    """So that the same document is right below every mount."""
    from urllib.parse import urljoin

    [server] = DOCUMENT.doc["servers"]
    for base in ("https://a.example/", "https://a.example/x/",
                 "https://a.example/cgi/postern.fcgi/"):
        assert urljoin(base + "openapi.json", server["url"]) == base

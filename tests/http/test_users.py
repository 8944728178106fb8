"""The users' information: documents, conditions, patches, pages, borders."""
import json

import pytest

from lib.tokens import REGISTRATION

pytestmark = pytest.mark.strange

JSON = {"Content-Type": "application/json"}
MERGE = {"Content-Type": "application/merge-patch+json"}


def put(s, app, user, body, headers=None, **claims):
    h = {**app.auth(**claims), **JSON, **(headers or {})}
    return s.request("PUT", f"/v1/users/{user}", h, body)


def test_life_of_a_document(site, app):
    assert site.get("/v1/users/ada", app.auth()).status == 404
    r = put(site, app, "ada", {"city": "London", "n": [1, 2]})
    assert (r.status, r.json()) == (201, {"city": "London", "n": [1, 2]})
    first = r["ETag"]
    r = site.get("/v1/users/ada", app.auth())
    assert (r.status, r["ETag"], r["Content-Type"]) == (
        200, first, "application/json")
    assert "no-cache" in r["Cache-Control"]
    r = put(site, app, "ada", {"city": "Paris"})
    assert (r.status, r.json()) == (200, {"city": "Paris"})
    assert r["ETag"] != first
    assert site.request("DELETE", "/v1/users/ada", app.auth()).status == 204
    assert site.request("DELETE", "/v1/users/ada", app.auth()).status == 404
    again = put(site, app, "ada", {"city": "London"})
    assert again.status == 201 and again["ETag"] not in (first, r["ETag"])


@pytest.mark.covers("RFC8725-3.12")
def test_me_is_the_same_document(site, app):
    me = app.auth(sub="ada")
    assert site.get("/v1/me", me).status == 404
    assert site.request("PUT", "/v1/me", me, {"a": 1}).status == 201
    assert site.get("/v1/users/ada", app.auth()).json() == {"a": 1}
    assert site.get("/v1/users/ada", me).json() == {"a": 1}
    r = site.request("PATCH", "/v1/me", {**me, **MERGE}, '{"b":2}')
    assert r.json() == {"a": 1, "b": 2}
    assert site.request("DELETE", "/v1/me", me).status == 204
    r = site.get("/v1/me", app.auth())
    assert (r.status, r.code) == (403, "user_token_required")


@pytest.mark.covers("RFC8725-3.8", "API1:2023", "ASVS-V13.1.4")
def test_users_are_bytes(site, app):
    """Near-equal names are other users; policy compares bytes."""
    names = {"ada": "ada", "Ada": "Ada", "ada%20": "ada ", "%C3%A9": "é",
             "e%CC%81": "e\u0301", "a%2Fb": "a/b", "a+b": "a+b",
             "%F0%9F%94%91": "\U0001f511", "x.fcgi": "x.fcgi",
             "%25": "%", "a%3Fb": "a?b"}
    for path, name in names.items():
        assert put(site, app, path, {"name": name}).status == 201, path
    for path, name in names.items():
        r = site.get(f"/v1/users/{path}", app.auth(sub=name))
        assert (r.status, r.json()) == (200, {"name": name})
        for other in names.values():
            if other != name:
                r = site.get(f"/v1/users/{path}", app.auth(sub=other))
                assert (r.status, r.code) == (403, "other_user")
    page = site.get("/v1/users?limit=100", app.auth()).json()
    listed = [u["user"] for u in page["users"]]
    assert listed == sorted(names.values(), key=lambda n: n.encode())


@pytest.mark.parametrize("user", [
    "%00", "a%00b", "%0a", "%7f", "%ff", "%C0%AF", "%ED%A0%80", "%zz", "%",
    "%2", ".", "..", "%2e", "x" * 256, "%C3%A9" * 128])
def test_bad_users(site, app, user):
    # Raw, as clients and web servers would tidy the path.
    raw = (f"GET /v1/users/{user} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
           f"X-Public-Key: {app.public}\r\n"
           f"Authorization: Bearer {app.token()}\r\n\r\n")
    status = int(site.raw_http(raw).split()[1])
    assert status in (400, 404)
    assert put(site, app, "x" * 255, {}).status in (200, 201)


@pytest.mark.covers("RFC8725-3.10")
def test_subject_too_long_for_a_document(site, app):
    r = site.get("/v1/me", app.auth(sub="x" * 256))
    assert (r.status, r.code) == (400, "value_invalid")
    r = site.get("/v1/me", app.auth(sub="a\nb"))
    assert (r.status, r.code) == (400, "value_invalid")


@pytest.mark.covers("API1:2023", "ASVS-V13.1.4")
def test_other_apps_users_are_absent(site, app):
    other = site.register()
    put(site, other, "ada", {"secret": "x"})
    for method, body in (("GET", None), ("DELETE", None), ("PATCH", "{}")):
        mine = site.request(method, "/v1/users/ada",
                            {**app.auth(), **JSON}, body)
        absent = site.request(method, "/v1/users/nobody",
                              {**app.auth(), **JSON}, body)
        assert mine.status == absent.status == 404
        assert {k: v for k, v in mine.json().items() if k != "instance"} == \
            {k: v for k, v in absent.json().items() if k != "instance"}
        assert [k for k in mine.headers] == [k for k in absent.headers]
    assert put(site, app, "ada", {"mine": 1}).status == 201
    assert site.get("/v1/users/ada", other.auth()).json() == {"secret": "x"}
    # A key with the other app's secret is nobody.
    r = site.get("/v1/users/ada", app.auth(secret=other.secret))
    assert r.status == 401


def test_documents_are_exact(site, app):
    text = ('{"a":1.10,"b":12345678901234567890,"c":0.1000000000000000055,'
            '"d":-0,"e":1E2,"f":"\\u00e9\\ud83d\\udd11","g":"\\u001f\\/",'
            '"h":{"x":null}}')
    assert put(site, app, "exact", text).status == 201
    body = site.get("/v1/users/exact", app.auth()).body.decode()
    for part in ("1.10", "12345678901234567890", "0.1000000000000000055",
                 '"e": 100', '"f": "é🔑"'):
        assert part in body
    assert json.loads(body)["g"] == "\x1f/"


def nested(n):
    return '{"a":' * (n - 1) + "{}" + "}" * (n - 1)


@pytest.mark.covers("API4:2023", "ASVS-V13.2.2")
@pytest.mark.parametrize("body,status,code", [
    (nested(32), 201, None), (nested(33), 400, "json_invalid"),
    ('{"a":' + "[" * 31 + "]" * 31 + "}", 201, None),
    ('{"a":' + "[" * 32 + "]" * 32 + "}", 400, "json_invalid"),
    ("[" * 60000, 400, "json_invalid"),
    ('{"a":"\\u0000"}', 400, "json_invalid"),
    ('{"\\u0000":1}', 400, "json_invalid"),
    (b'{"a":"\0"}', 400, "json_invalid"),
    ('{"a":1,"a":2}', 400, "json_invalid"),
    ('{"a":1,"\\u0061":2}', 400, "json_invalid"),
    ('{"a":{"b":1,"b":1}}', 400, "json_invalid"),
    ('{"a":"\\ud800"}', 400, "json_invalid"),
    ('{"a":"\\udc00\\ud800"}', 400, "json_invalid"),
    (b'{"a":"\xed\xa0\x80"}', 400, "json_invalid"),
    (b'{"a":"\xc0\xaf"}', 400, "json_invalid"),
    ("[]", 400, "json_invalid"), ("null", 400, "json_invalid"),
    ("1", 400, "json_invalid"), ('"x"', 400, "json_invalid"),
    ("{}{}", 400, "json_invalid"), ("{},", 400, "json_invalid"),
    ('{"a":01}', 400, "json_invalid"), ('{"a":1.}', 400, "json_invalid"),
    ('{"a":+1}', 400, "json_invalid"), ('{"a":NaN}', 400, "json_invalid"),
    ('{"a":Infinity}', 400, "json_invalid"),
    ("{'a':1}", 400, "json_invalid"), ('{"a":1,}', 400, "json_invalid"),
    ('{"a":"\n"}', 400, "json_invalid"), ('{"a":tru}', 400, "json_invalid"),
    ('\ufeff{"a":1}', 400, "json_invalid"),
    ('{"a":1e200000}', 400, "json_invalid"),
    ('{"a":1e-20000}', 400, "json_invalid"),
    ('{"a":1e999999999999999999999}', 400, "json_invalid"),
    ("{" + ",".join(f'"{i}":1e100000' for i in range(3000)) + "}",
     413, "body_too_large"),
    ('{"a":1e308,"b":5e-324}', 201, None),
    ('{"a":"' + "x" * 65527 + '"}', 201, None),
    ('{"a":"' + "x" * 65529 + '"}', 413, "body_too_large"),
    ("{" + " " * 200000 + "}", 413, "body_too_large"),
    ('{"a":"' + "\\u0041" * 10000 + '"}', 201, None),
    ("", 400, "body_required"),
])
def test_bodies(site, app, body, status, code):
    site.request("DELETE", "/v1/users/doc", app.auth())
    r = put(site, app, "doc", body)
    if len(body) > 128 * 1024:
        assert r.status == 413  # lighttpd's own
        return
    assert r.status == status, r
    if code:
        assert r.code == code
        assert site.get("/v1/users/doc", app.auth()).status == 404


@pytest.mark.covers("ASVS-V13.1.5", "ASVS-V13.2.5")
@pytest.mark.parametrize("headers,status", [
    ({"Content-Type": "application/json; charset=utf-8"}, 201),
    ({"Content-Type": "APPLICATION/JSON"}, 201),
    ({"Content-Type": "application/json;charset=utf8"}, 201),
    ({"Content-Type": 'application/json; Charset="UTF-8" ;'}, 201),
    ({"Content-Type": "application/json;"}, 201),
    ({"Content-Type": "application/json; version=1"}, 201),
    ({"Content-Type": "application/json;odata=verbose; ;a=\"x;y\""}, 201),
    ({"Content-Type": "application/json; charset=latin1"}, 415),
    ({"Content-Type": "application/json; charset=utf-8; charset=x"}, 415),
    ({"Content-Type": "application/json; version"}, 415),
    ({"Content-Type": 'application/json; a="b'}, 415),
    ({"Content-Type": "application/json, application/json"}, 415),
    ({"Content-Type": "text/plain"}, 415),
    ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
    ({"Content-Type": "application/merge-patch+json"}, 415),
    ({"Content-Type": "application/jsonx"}, 415),
    ({"Content-Type": ""}, 415),
    ({"Content-Encoding": "gzip"}, 415),
    ({"Content-Encoding": "identity"}, 201),
])
def test_media_types(site, app, headers, status):
    site.request("DELETE", "/v1/users/doc", app.auth())
    r = put(site, app, "doc", "{}", headers)
    assert r.status == status, r
    if status == 415:
        assert r.code == "unsupported_media_type"


@pytest.mark.covers("ASVS-V13.1.5", "ASVS-V13.2.5")
@pytest.mark.parametrize("parameters,ok", [
    ("", True), (";", True), (" ; charset=UTF8", True), ("; x=1", True),
    ('; charset="utf-8"; x="a;b"', True), ("; charset=utf-16", False),
    ("; charset", False)])
def test_media_types_everywhere(site, app, parameters, ok):
    """Each kind of body goes by the same reading."""
    registrar = {"Authorization": "Bearer " + REGISTRATION}
    put(site, app, "media", "{}")
    for method, path, auth, body, kind, other in (
            ("POST", "/v1/apps", registrar, '{"name":"m"}', JSON, MERGE),
            ("PUT", "/v1/users/media", app.auth(), "{}", JSON, MERGE),
            ("PATCH", "/v1/users/media", app.auth(), "{}", MERGE, None),
            ("PATCH", "/v1/users/media", app.auth(), "{}", JSON, None),
            ("PATCH", "/v1/app", app.auth(), '{"name":"m"}', MERGE, None),
            ("POST", "/v1/app/rotate", app.auth(), '{"grace_seconds":-1}',
             JSON, MERGE)):
        r = site.request(method, path, {
            **auth, "Content-Type": kind["Content-Type"] + parameters}, body)
        if ok:
            assert r.status in (200, 201, 400), r
        else:
            assert (r.status, r.code) == (415, "unsupported_media_type"), r
        if other:
            r = site.request(method, path, {
                **auth, "Content-Type": other["Content-Type"] + parameters},
                body)
            assert r.status == 415, r


def test_conditions(site, app):
    a = app.auth()

    def do(method, body=None, **headers):
        h = {**a, **JSON,
             **{k.replace("_", "-"): v for k, v in headers.items()}}
        return site.request(method, "/v1/users/c", h, body)

    # Nothing there yet.
    assert do("PUT", "{}", If_Match='"x"').status == 412
    assert do("PUT", "{}", If_Match="*").status == 412
    assert do("PATCH", "{}", If_Match='"x"').status == 404
    assert do("DELETE", If_Match='"x"').status == 404
    r = do("PUT", '{"v":1}', If_None_Match="*")
    assert r.status == 201
    one = r["ETag"]
    assert do("PUT", '{"v":0}', If_None_Match="*").status == 412
    # A read.
    r = do("GET", If_None_Match=one)
    assert (r.status, r.body, r["ETag"]) == (304, b"", one)
    assert do("GET", If_None_Match="W/" + one).status == 304
    assert do("GET", If_None_Match=f'"a", {one}').status == 304
    assert do("GET", If_None_Match="*").status == 304
    assert do("GET", If_None_Match='"a"').status == 200
    assert do("GET", If_Match=one).status == 200
    assert do("GET", If_Match='"a"').status == 412
    # A change on the version read.
    r = do("PUT", '{"v":2}', If_Match=one)
    assert r.status == 200
    two = r["ETag"]
    r = do("PUT", '{"v":3}', If_Match=one)
    assert (r.status, r.code) == (412, "precondition_failed")
    assert do("PUT", '{"v":3}', If_Match="W/" + two).status == 412
    assert do("PATCH", '{"w":1}', If_Match=one).status == 412
    assert do("DELETE", If_Match=one).status == 412
    assert do("PUT", '{"v":3}', If_None_Match=two).status == 412
    r = do("PATCH", '{"w":1}', If_Match=f'"x", {two}')
    assert (r.status, r.json()) == (200, {"v": 2, "w": 1})
    assert do("DELETE", If_Match=two).status == 412
    assert do("DELETE", If_Match=r["ETag"]).status == 204


# RFC 9110 section 13: what is asked -> is it If-Match's yes, If-None-Match's
# yes, of a document that is there with the tag TAG? None: 400, by any method.
ASKED = {
    "match": ("TAG", True, False),
    "weak": ("W/TAG", False, False),
    "other": ('"x"', False, True),
    "other, weak": ('W/"x"', False, True),
    "list": ('"x", TAG , "y"', True, False),
    "list of weak": ('W/"x",W/TAG', False, False),
    "list without": ('"x", "y"', False, True),
    "empty elements": (',, TAG ,', True, False),
    "any": ("*", True, False),
    "any, spaces": ("  *  ", True, False),
    "compressed": ("TAG-gzip", True, False),
    "compressed, br": ("TAG-br", True, False),
    "compressed, zstd": ("TAG-zstd", True, False),
    "compressed, old": ("TAG;gzip", True, False),
    "compressed, weak": ("W/TAG-gzip", False, False),
    "compressed, unknown": ("TAG-x", False, True),
    "empty tag": ('""', False, True),
    "any in quotes": ('"*"', False, True),
    "SQL": ('"{*}", "a,b", "\\", "NULL", "\';--"', False, True),
    "UTF-8": ('"\u00e9"', False, True),
    "not UTF-8": (b'"\xff\xfe"', False, True),
    "not UTF-8 beside": (b'"\xc0\xaf", TAG', True, False),
    "malformed": ("x", None, None),
    "not quoted": ("RAW", None, None),
    "open": ('"x', None, None),
    "open behind": ('TAG, "x', None, None),
    "single quotes": ("'x'", None, None),
    "W alone": ("W/", None, None),
    "small w": ("w/TAG", None, None),
    "no comma": ("TAG TAG", None, None),
    "any and more": ("*, TAG", None, None),
    "more and any": ("TAG, *", None, None),
    "any twice": ("*, *", None, None),
    "commas": (",,", None, None),
    "space inside": ('"a b"', None, None),
    "not UTF-8 outside": (b"\xff", None, None),
    "braces": ("{*}", None, None),
    "semicolon": ("TAG;x=1", None, None),
}


BY_ME = ("match", "malformed")  # the same by /v1/me


def asks(text, tag):
    if isinstance(text, bytes):
        text = text.decode("latin-1")
    else:
        text = text.encode().decode("latin-1")
    for coding in ("-gzip", "-br", "-zstd", ";gzip", "-x"):
        text = text.replace("TAG" + coding, tag[:-1] + coding + '"')
    return text.replace("TAG", tag).replace("RAW", tag.strip('"'))


@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("header", ["If-Match", "If-None-Match"])
def test_conditional_requests(site, app, header, asked):
    text, match, none_match = ASKED[asked]
    for there in (True, False):
        for method in ("GET", "HEAD", "PUT", "PATCH", "DELETE"):
            for path, auth in ([("/v1/users/cond", app.auth())] + [
                    ("/v1/me", app.auth(sub="cond"))] * (asked in BY_ME)):
                tag = '"5f3a-1"'
                site.request("DELETE", "/v1/users/cond", app.auth())
                if there:
                    tag = put(site, app, "cond", '{"v":1}')["ETag"]
                body = '{"v":2}' if method in ("PUT", "PATCH") else None
                r = site.request(method, path, {
                    **auth, **JSON, header: asks(text, tag)}, body)
                write = method not in ("GET", "HEAD")
                if header == "If-Match":
                    holds, no = match, 412
                else:
                    holds, no = none_match, 412 if write else 304
                done = {"PUT": 200, "DELETE": 204}.get(method, 200)
                if not there:
                    # Without the condition: 404, which goes first, or 201.
                    done = 201 if method == "PUT" else 404
                    if method == "PUT" and holds is not None:
                        holds = header == "If-None-Match"
                    elif holds is not None:
                        holds = True
                wanted = 400 if holds is None else done if holds else no
                assert r.status == wanted, (method, path, there, r)
                if wanted == 400 and method != "HEAD":
                    assert r.code == "bad_request"
                after = site.get("/v1/users/cond", app.auth())
                changed = wanted in (200, 201, 204) and write
                if changed and method == "DELETE":
                    assert after.status == 404
                elif changed or there:
                    assert after.json() == {"v": 2 if changed else 1}
                    assert after["ETag"] == (r["ETag"] if changed else tag)
                else:
                    assert after.status == 404


def test_both_conditions(site, app):
    """Each of the two has to hold; If-Match is looked at first (13.2.2)."""
    tag = put(site, app, "both", '{"v":1}')["ETag"]
    for match, none_match, method, status in (
            (tag, '"x"', "GET", 200), (tag, tag, "GET", 304),
            ('"x"', tag, "GET", 412), ('"x"', '"x"', "GET", 412),
            ("*", "*", "GET", 304), (tag, "x", "GET", 400),
            ("x", tag, "PUT", 400), (tag, tag, "PUT", 412),
            ('"x"', '"x"', "PUT", 412), (tag, "*", "PUT", 412),
            (tag, "x", "DELETE", 400), (tag, '"x"', "PUT", 200)):
        body = '{"v":1}' if method == "PUT" else None
        r = site.request(method, "/v1/users/both", {
            **app.auth(), **JSON, "If-Match": match,
            "If-None-Match": none_match}, body)
        assert r.status == status, (match, none_match, method, r)


def test_conditions_where_nothing_has_a_tag(site, app):
    """A write is not done on a condition that can't hold."""
    for headers, status in (
            ({"If-Match": '"x"'}, 412), ({"If-Match": 'W/"x"'}, 412),
            ({"If-None-Match": "*"}, 412), ({"If-None-Match": "x"}, 400),
            ({"If-Match": "x"}, 400), ({"If-Match": "*"}, 200),
            ({"If-None-Match": '"x"'}, 200)):
        r = site.request("PATCH", "/v1/app", {
            **app.auth(), **JSON, **headers}, '{"name":"n"}')
        assert r.status == status, (headers, r)
        if status != 200:
            r = site.request("DELETE", "/v1/app", {**app.auth(), **headers})
            assert r.status == status
    # A read has no such danger; malformed is malformed.
    assert site.get("/v1/app", {
        **app.auth(), "If-None-Match": '"x"'}).status == 200
    assert site.get("/v1/app", {
        **app.auth(), "If-None-Match": "x"}).status == 400
    # What else is wrong is told first, in the usual order.
    assert site.get("/v1/app", {"If-None-Match": "x"}).status == 401
    assert site.get("/v1/nothing", {"If-None-Match": "x"}).status == 404
    assert put(site, app, "u", "{}", {
        "If-Match": "x", "Content-Type": "text/plain"}).status == 415
    # The gate's headers are those of another request.
    assert site.get("/v1/auth", {**app.auth(), "If-Match": "x"}).status == 204


@pytest.mark.parametrize("value", ["bytes 0-1/2", "bytes */2", "x"])
def test_part_of_a_document(site, app, value):
    """RFC 9110 section 14.5: a part would replace the whole."""
    put(site, app, "part", '{"v":1}')
    for method, path, body in (("PUT", "/v1/users/part", "{}"),
                               ("PUT", "/v1/users/part2", "{}"),
                               ("PATCH", "/v1/users/part", '{"v":2}')):
        r = site.request(method, path, {
            **app.auth(), **JSON, "Content-Range": value}, body)
        assert (r.status, r.code) == (400, "bad_request"), r
    assert site.get("/v1/users/part", app.auth()).json() == {"v": 1}
    assert site.get("/v1/users/part2", app.auth()).status == 404
    assert site.get("/v1/users/part", {
        **app.auth(), "Content-Range": value}).status == 200


@pytest.mark.parametrize("user", ["ada", "a%20b", "a+b", "%C3%A9", "x:@,;",
                                  "a%2fb", "%7E"])
def test_what_a_write_answers(site, app, user):
    """The document as it is stored, named as that, and its tag (9.3.4)."""
    path = f"/v1/users/{user}"
    sent = '{ "b":1.0e1, "a":"\\u0041" , "n":{}}'
    for method, body, status in (("PUT", sent, 201), ("PUT", sent, 200),
                                 ("PATCH", '{"c":2}', 200)):
        r = site.request(method, path, {**app.auth(), **JSON}, body)
        assert r.status == status
        assert r["Content-Location"] == path
        now = site.get(path, app.auth())
        assert (r.body, r["ETag"]) == (now.body, now["ETag"])
        assert r.body.decode() != sent
    r = site.request("PUT", "/v1/me?x", {**app.auth(sub="me"), **JSON}, "{}")
    assert r["Content-Location"] == "/v1/me"


def test_accept_patch(site, app):
    for path in ("/v1/users/u", "/v1/me", "/v1/app", f"/v1/apps/{app.public}"):
        r = site.request("OPTIONS", path)
        assert "PATCH" in r["Allow"]
        assert set(r["Accept-Patch"].split(", ")) == {
            "application/merge-patch+json", "application/json"}
    for path in ("/v1/users", "/v1/whoami", "/v1/apps", "/healthz"):
        r = site.request("OPTIONS", path)
        assert r["Accept-Patch"] is None and "PATCH" not in r["Allow"]


# RFC 7396, appendix A: the pairs of objects.
@pytest.mark.parametrize("target,patch,result", [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ({"a": 1}, {"a": {"b": {"c": 2, "d": None}}}, {"a": {"b": {"c": 2}}}),
    ({"a": {"b": 1}}, {}, {"a": {"b": 1}}),
    ({"": 1, "x y": {"é": 2}}, {"": None, "x y": {"é": 3}},
     {"x y": {"é": 3}}),
])
def test_merge_patch(site, app, target, patch, result):
    put(site, app, "p", target)
    r = site.request("PATCH", "/v1/users/p", {**app.auth(), **MERGE},
                     json.dumps(patch))
    assert (r.status, r.json()) == (200, result)


@pytest.mark.covers("API4:2023")
def test_merge_patch_borders(site, app):
    h = {**app.auth(), **MERGE}
    assert site.request("PATCH", "/v1/users/none", h, "{}").status == 404
    put(site, app, "p", {"a": 1.10})
    for bad in ("[]", "null", "1", '"x"'):
        assert site.request("PATCH", "/v1/users/p", h, bad).status == 400
    r = site.request("PATCH", "/v1/users/p", {**app.auth(),
                     "Content-Type": "text/plain"}, "{}")
    assert r.status == 415
    assert "application/merge-patch+json" in r["Accept-Patch"]
    # It can't grow without bound.
    for i in range(4):
        r = site.request("PATCH", "/v1/users/p", h,
                         json.dumps({str(i): "x" * 60000}))
    assert (r.status, r.code) == (413, "body_too_large")
    assert set(site.get("/v1/users/p", app.auth()).json()) == {"a", "0", "1"}


def test_merge_patches_at_once(site, app):
    """None is lost: each adds its own member."""
    from concurrent.futures import ThreadPoolExecutor

    put(site, app, "m", {})
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda i: site.request(
            "PATCH", "/v1/users/m", {**app.auth(), **MERGE},
            json.dumps({f"k{i}": i})), range(40)))
    assert {r.status for r in answers} == {200}
    assert site.get("/v1/users/m", app.auth()).json() == {
        f"k{i}": i for i in range(40)}


@pytest.mark.covers("API4:2023")
def test_pages(site, app):
    names = sorted((f"u{i:03d}" for i in range(250)), key=str.encode)
    site.sql("INSERT INTO users (app_id, user_id, information)"
             " SELECT %s, 'u' || lpad(i::text, 3, '0'), '{}'"
             " FROM generate_series(0, 249) i", app.id)
    seen, after, pages = [], None, 0
    while True:
        path = "/v1/users?limit=100" + (f"&after={after}" if after else "")
        page = site.get(path, app.auth()).json()
        seen += [u["user"] for u in page["users"]]
        pages += 1
        after = page["next"]
        if after is None:
            break
    assert (seen, pages) == (names, 3)
    assert len(site.get("/v1/users", app.auth()).json()["users"]) == 50
    item = page["users"][0]
    assert set(item) == {"user", "etag", "created_at", "updated_at"}
    assert site.get(f"/v1/users/{item['user']}",
                    app.auth())["ETag"] == item["etag"]
    for bad in ("limit=0", "limit=201", "limit=x", "limit=-1", "limit=",
                "limit=1&limit=2", "after=" + "x" * 256, "after=%ff", "after=",
                "after=%zz"):
        r = site.get("/v1/users?" + bad, app.auth())
        assert r.status == 400, bad
        if "%" not in bad:  # those may be lighttpd's own
            assert r.code == "value_invalid", bad
    assert site.get("/v1/users?x=y&limit=1", app.auth()).status == 200

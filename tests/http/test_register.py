"""Registration, its policies, and the app's own life."""
import functools
import json
import operator
import re
import time
import urllib.parse

import pytest
from lib.stack import secret_text_absent
from lib.tokens import ADMIN, REGISTRATION, App, gcm_open

pytestmark = pytest.mark.strange

JSON = {"Content-Type": "application/json"}
BY_ADMIN = {"Authorization": "Bearer " + ADMIN}


def post(s, body, token=REGISTRATION, headers=None):
    h = dict(headers or {})
    if token:
        h["Authorization"] = "Bearer " + token
    return s.request("POST", "/v1/apps", h, body)


@pytest.mark.covers("API3:2023")
def test_answer(site):
    r = post(site, {"name": "Größe ✓"})
    assert r.status == 201
    a = r.json()
    assert set(a) >= {"id", "name", "public_key", "secret_key", "created_at",
                      "updated_at"}
    assert a["name"] == "Größe ✓"
    assert re.fullmatch("[0-9a-f]{64}", a["public_key"])
    assert re.fullmatch("[0-9a-f]{64}", a["secret_key"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z",
                        a["created_at"])
    assert r["Location"] == "/v1/apps/" + a["public_key"]
    assert r["Cache-Control"] == "no-store"
    # Never readable again, and not in clear anywhere.
    again = site.get("/v1/app", App(a).auth())
    assert a["secret_key"] not in again.body.decode()
    row = site.sql("SELECT encrypted_secret_key, master_key_id FROM apps"
                   " WHERE id = %s", a["id"])[0]
    assert len(row[0]) == 2 * (12 + 32 + 16)
    assert a["secret_key"] not in row[0]
    secret_text_absent(site, a["secret_key"], site.master_key, REGISTRATION)


@pytest.mark.covers("RFC8725-3.5", "ASVS-V6.2.6")
def test_keys_are_random(site):
    """Each bit of keys and of the nonces that seal them is now 0 and now 1, and
    none comes twice."""
    apps = [site.register() for _ in range(64)]
    sealed = dict(site.sql("SELECT public_key, encrypted_secret_key FROM apps"))
    drawn = ([a.public for a in apps], [a.secret for a in apps],
             [sealed[a.public][:24] for a in apps])
    for texts in drawn:
        assert len(set(texts)) == 64
        numbers = [int(t, 16) for t in texts]
        every = 16 ** len(texts[0]) - 1
        assert functools.reduce(operator.or_, numbers) == every
        assert functools.reduce(operator.and_, numbers) == 0
    assert not set(drawn[0]) & set(drawn[1])


@pytest.mark.parametrize("name", [
    "x", "x" * 100, "é" * 100, "\U0001f511" * 100, "' OR 1=1", "a\u00a0 b",
    "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
    "\U0001f469\u200d\U0001f467", "<b>&amp;", "../..", "\u0639\u0631\u0628"])
def test_good_names(site, name):
    r = post(site, {"name": name})
    assert r.status == 201 and r.json()["name"] == name


WHITE = "\t\n\v\f\r \u0085\u00a0\u1680\u2000\u2009\u200a\u2028\u2029" \
    "\u202f\u205f\u3000"
HIDDEN = "\u061c\u200b\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060" \
    "\u2066\u2067\u2068\u2069\ufeff\ufdd0\ufdef\ufffe\uffff" \
    "\U0001fffe\U0010ffff\u0001\u001b\u007f\u0080\u009f\u2028\u2029"


def test_names_are_trimmed(site):
    app = App(post(site, {"name": "first"}).json())
    for white in WHITE:
        name = f"{white} x y{white}\u3000"
        r = post(site, {"name": name})
        assert (r.status, r.json()["name"]) == (201, "x y")
        key = r.json()["public_key"]
        for path, headers in (("/v1/app", app.auth()),
                              (f"/v1/apps/{key}", BY_ADMIN)):
            r = site.request("PATCH", path, headers, {"name": "other"})
            r = site.request("PATCH", path, headers, {"name": name})
            assert (r.status, r.json()["name"]) == (200, "x y")
            assert site.get(path, headers).json()["name"] == "x y"
    r = post(site, {"name": " " * 500 + "x" * 100 + "\u3000" * 500})
    assert (r.status, r.json()["name"]) == (201, "x" * 100)
    out = site.tool("app", "create", "--json", " \u3000x y\u00a0").stdout
    assert json.loads(out)["name"] == "x y"


@pytest.mark.covers("ASVS-V13.2.2")
def test_names_hide_nothing(site):
    """By whatever turns or shows nothing one name passes for another; those
    that exist stay, and can be found."""
    app = App(post(site, {"name": "first"}).json())
    for c in HIDDEN:
        for name in (f"a{c}b", f"{c}ab", f"ab{c}", c):
            if c in WHITE and name != f"a{c}b" and name != c:
                continue
            for r in (post(site, {"name": name}),
                      site.request("PATCH", "/v1/app", app.auth(),
                                   {"name": name}),
                      site.request("PATCH", f"/v1/apps/{app.public}", BY_ADMIN,
                                   {"name": name})):
                assert (r.status, r.code) == (400, "value_invalid"), name
        r = site.tool("app", "create", f"a{c}b", check=False)
        assert (r.returncode, r.stdout) == (2, "")
    assert site.get("/v1/app", app.auth()).json()["name"] == "first"
    old = " evil\u202egro.knab\u200b "
    site.sql("UPDATE apps SET name = %s WHERE public_key = %s", old,
             app.public)
    assert site.get("/v1/app", app.auth()).json()["name"] == old
    assert site.get("/v1/whoami", app.auth()).json()["app"]["name"] == old
    found = site.get("/v1/apps?" + urllib.parse.urlencode(
        {"search": "\u202egro"}), BY_ADMIN).json()["apps"]
    assert [a["public_key"] for a in found] == [app.public]
    # A change of something else leaves it.
    r = site.request("PATCH", f"/v1/apps/{app.public}", BY_ADMIN,
                     {"expires_at": None})
    assert r.json()["name"] == old
    # The tool shows what it is made of.
    shown = site.tool("app", "get", app.public).stdout
    assert "evil\\xe2\\x80\\xaegro.knab\\xe2\\x80\\x8b" in shown
    assert "\u202e" not in shown and "\u200b" not in shown


@pytest.mark.covers("RFC8725-3.5", "API3:2023", "ASVS-V13.2.2")
@pytest.mark.parametrize("body,code", [
    ({"name": ""}, "value_invalid"), ({"name": "x" * 101}, "value_invalid"),
    ({"name": "  \t "}, "value_invalid"), ({"name": "\u3000"}, "value_invalid"),
    ({"name": "a\nb"}, "value_invalid"), ({"name": "a\x7fb"}, "value_invalid"),
    ({"name": 1}, "value_invalid"), ({"name": None}, "value_invalid"),
    ({"name": ["x"]}, "value_invalid"), ({}, "value_invalid"),
    ({"name": "x", "public_key": "0" * 64}, "value_invalid"),
    ('{"name":"a\\u0000b"}', "json_invalid"),
    ('{"name":"a","name":"b"}', "json_invalid"),
    ('{"name":"a"', "json_invalid"), ("[]", "json_invalid"),
    ("'x'", "json_invalid"), ('{"name":"\\ud800"}', "json_invalid"),
    (b'{"name":"\xff"}', "json_invalid"), ("", "body_required"),
    ('{"name":NaN}', "json_invalid"), ("{'name':'x'}", "json_invalid"),
    ('{"name":"a\tb"}', "json_invalid"),
])
def test_bad_bodies(site, body, code):
    headers = {} if isinstance(body, dict) else JSON
    r = post(site, body, headers=headers)
    assert (r.status, r.code) == (400, code)


@pytest.mark.covers("API6:2023")
def test_needs_the_token(site):
    count = site.sql("SELECT count(*) FROM apps")
    for token, code in ((None, "credentials_missing"),
                        ("wrong" * 10, "invalid_credentials"),
                        (REGISTRATION[:-1], "invalid_credentials"),
                        (REGISTRATION + "x", "invalid_credentials")):
        # Whatever else was sent: no body, bad JSON, too much of it.
        for body in ({"name": "x"}, "{", "x" * 70000):
            r = post(site, body, token, JSON)
            assert (r.status, r.code) == (401, code)
    assert site.sql("SELECT count(*) FROM apps") == count
    assert post(site, {"name": "by admin"}, ADMIN).status == 201


@pytest.mark.covers("ASVS-V2.10.2")
def test_token_policy_without_a_token(make):
    s = make(env={"POSTERN_REGISTRATION_TOKEN": None,
                  "POSTERN_ADMIN_TOKEN": None})
    assert post(s, {"name": "x"}, None).status == 401
    assert post(s, {"name": "x"}).status == 401


@pytest.mark.covers("API6:2023")
def test_open_and_closed(make):
    s = make(env={"POSTERN_REGISTRATION": "open"})
    assert post(s, {"name": "x"}, None).status == 201
    s = make(env={"POSTERN_REGISTRATION": "closed"})
    r = post(s, {"name": "x"})
    assert (r.status, r.code) == (403, "registration_closed")


@pytest.mark.covers("ASVS-V2.10.3", "ASVS-V6.2.5", "ASVS-V6.2.7")
def test_sealed_format(site, app):
    """Opened by another AES-GCM: nonce, ciphertext, tag; bound to its row."""
    sealed, key_id = site.sql(
        "SELECT encrypted_secret_key, master_key_id FROM apps WHERE id = %s",
        app.id)[0]
    raw = gcm_open(site.master_key, sealed,
                   f"postern-v1|{key_id}|{app.public}")
    assert raw.hex() == app.secret


@pytest.mark.covers("API10:2023", "ASVS-V6.2.7")
def test_swapped_ciphertexts_do_not_open(site):
    a, b = site.register(), site.register()
    site.sql("UPDATE apps SET encrypted_secret_key = (SELECT"
             " encrypted_secret_key FROM apps WHERE id = %s) WHERE id = %s",
             b.id, a.id)
    for secret in (a.secret, b.secret):
        assert site.get("/v1/whoami", a.auth(secret=secret)).status == 401
    assert site.get("/v1/whoami", b.auth()).status == 200
    assert any(a.public in line for line in site.log_lines("sealed_key_broken"))


@pytest.mark.covers("API3:2023")
def test_read_rename_delete(site, app):
    r = site.get("/v1/app", app.auth())
    assert r.status == 200
    assert r.json()["name"] == "An app"
    assert r.json()["disabled_at"] is None
    r = site.request("PATCH", "/v1/app", app.auth(), {"name": "New"})
    assert (r.status, r.json()["name"]) == (200, "New")
    assert r.json()["updated_at"] > app.answer["updated_at"]
    r = site.request("PATCH", "/v1/app", app.auth(), {"name": ""})
    assert r.status == 400
    r = site.request("PATCH", "/v1/app", app.auth(), {"public_key": "x"})
    assert r.status == 400
    site.request("PUT", "/v1/users/u", app.auth(), {"a": 1})
    r = site.request("DELETE", "/v1/app", app.auth())
    assert (r.status, r.body) == (204, b"")
    assert site.get("/v1/app", app.auth()).status == 401
    assert site.sql("SELECT count(*) FROM users WHERE app_id = %s",
                    app.id) == [(0,)]
    events = site.sql("SELECT event, actor FROM app_events WHERE app_id = %s"
                      " ORDER BY id", app.id)
    assert events == [("created", "registration"), ("renamed", "app"),
                      ("deleted", "app")]


def rotate(s, app, body=None, **kw):
    r = s.request("POST", "/v1/app/rotate", app.auth(**kw), body)
    assert r.status == 200, r
    assert r["Cache-Control"] == "no-store"
    return r.json()


@pytest.mark.covers("API5:2023", "ASVS-V2.10.1")
def test_rotate_with_two_slots(site, app):
    old = app.secret
    a = rotate(site, app)
    assert a["public_key"] == app.public and a["secret_key"] != old
    assert a["previous_valid_until"] > a["updated_at"]
    new = a["secret_key"]
    for secret in (old, new):
        assert site.get("/v1/whoami", app.auth(secret=secret)).status == 200
    # The previous secret serves, and never manages.
    for method, path, body in (
            ("POST", "/v1/app/rotate", None), ("DELETE", "/v1/app", None),
            ("PATCH", "/v1/app", {"name": "taken over"}),
            ("DELETE", "/v1/app/previous-secret", None)):
        r = site.request(method, path, app.auth(secret=old), body)
        assert (r.status, r.code) == (403, "previous_secret")
    assert site.get("/v1/app", app.auth(secret=old)).status == 200
    # Rotating again keeps the newest two.
    newest = rotate(site, app, {"grace_seconds": 60, "end_previous": True},
                    secret=new)["secret_key"]
    assert site.get("/v1/whoami", app.auth(secret=old)).status == 401
    assert site.get("/v1/whoami", app.auth(secret=new)).status == 200
    # The overlap ends early.
    r = site.request("DELETE", "/v1/app/previous-secret",
                     app.auth(secret=newest))
    assert r.status == 204
    assert site.get("/v1/whoami", app.auth(secret=new)).status == 401
    r = site.get("/v1/app", app.auth(secret=newest))
    assert r.json()["previous_valid_until"] is None


@pytest.mark.covers("ASVS-V2.10.1", "ASVS-V3.5.1")
def test_rotate_at_once_and_for_a_second(site, app):
    old = app.secret
    new = rotate(site, app, {"grace_seconds": 0})["secret_key"]
    assert site.get("/v1/whoami", app.auth(secret=old)).status == 401
    newest = rotate(site, app, {"grace_seconds": 1}, secret=new)["secret_key"]
    assert site.get("/v1/whoami", app.auth(secret=new)).status == 200
    until = time.monotonic() + 10
    while site.get("/v1/whoami", app.auth(secret=new)).status == 200:
        assert time.monotonic() < until
        time.sleep(0.05)
    assert site.get("/v1/whoami", app.auth(secret=newest)).status == 200


@pytest.mark.covers("ASVS-V13.2.2")
@pytest.mark.parametrize("body", [
    {"grace_seconds": -1}, {"grace_seconds": 2592001}, {"grace_seconds": 1.5},
    {"grace_seconds": "60"}, {"grace_seconds": None}, {"grace": 1},
    {"grace_seconds": 10 ** 30}])
def test_bad_grace(site, app, body):
    r = site.request("POST", "/v1/app/rotate", app.auth(), body)
    assert (r.status, r.code) == (400, "value_invalid")
    assert site.get("/v1/whoami", app.auth()).status == 200


@pytest.mark.covers("RFC8725-3.12", "API5:2023", "ASVS-V13.1.4")
def test_user_token_does_not_manage(site, app):
    for method, path in (("GET", "/v1/app"), ("PATCH", "/v1/app"),
                         ("DELETE", "/v1/app"), ("POST", "/v1/app/rotate"),
                         ("DELETE", "/v1/app/previous-secret"),
                         ("GET", "/v1/users"), ("GET", "/v1/users/other")):
        r = site.request(method, path, app.auth(sub="me"))
        assert r.status == 403, (method, path, r)


def test_tool_and_server_agree(site):
    out = site.tool("app", "create", "By the tool", "--json").stdout
    import json
    app = App(json.loads(out))
    site.becomes(app, 200)
    out = json.loads(site.tool("app", "rotate", app.public, "--grace", "0",
                               "--json").stdout)
    site.becomes(app, 401)
    app.secret = out["secret_key"]
    site.becomes(app, 200)
    site.tool("app", "disable", app.public)
    site.becomes(app, 401)
    site.tool("app", "enable", app.public)
    site.becomes(app, 200)
    site.tool("app", "delete", app.public)
    site.becomes(app, 401)
    events = [e for (e,) in site.sql(
        "SELECT event FROM app_events WHERE app_id = %s ORDER BY id", app.id)]
    assert events == ["created", "rotated", "disabled", "enabled", "deleted"]


@pytest.mark.covers("API8:2023")
def test_least_rights(site, app):
    import psycopg2
    c = site.pg.connect(site.database, "server")
    for statement in ("DELETE FROM app_events",
                      "INSERT INTO app_events (app_id, public_key, event,"
                      " actor) VALUES (1, 'x', 'y', 'z')",
                      "ALTER TABLE apps ADD COLUMN x int",
                      "CREATE TABLE x ()", "TRUNCATE apps"):
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            c.cursor().execute(statement)
    c.close()
    with pytest.raises(psycopg2.Error):
        site.sql("UPDATE app_events SET actor = 'nobody'")

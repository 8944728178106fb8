"""The operator's routes and commands, the audit trail, expiry."""
import json
import re

import psycopg2
import pytest

from lib.process import at_once
from lib.tokens import ADMIN, REGISTRATION, App

JSON = {"Content-Type": "application/json"}
AUTH = {"Authorization": "Bearer " + ADMIN}
MEMBERS = ["id", "name", "public_key", "key", "created_at", "updated_at",
           "disabled_at", "expires_at", "previous_key", "previous_valid_until",
           "last_used_at", "previous_last_used_at"]
UNKNOWN = "ab" * 32
MALFORMED = ["x", "AB" * 32, "ab" * 15, "ab" * 65, "a" * 63, "..", "%2e%2e",
             "%00", "%", "%ff", "0" * 64 + "%20", "'%20OR%201=1--"]


def admin(s, method, path, body=None, **headers):
    return s.request(method, path, {**AUTH, **headers}, body)


def path_of(app, what=""):
    return f"/v1/apps/{app.public}{what}"


def ROUTES(key):
    one = f"/v1/apps/{key}"
    return [("GET", one), ("PATCH", one), ("DELETE", one),
            ("POST", one + "/rotate"), ("POST", one + "/disable"),
            ("POST", one + "/enable"), ("GET", one + "/events")]


def events(s, app):
    return s.sql("SELECT event, actor FROM app_events WHERE app_id = %s"
                 " ORDER BY id", app.id)


# -- reading

def test_location_leads_to_the_app(site):
    r = site.request("POST", "/v1/apps", AUTH, {"name": "located"})
    assert r.status == 201
    created = r.json()
    site.registered.append(created["secret_key"])
    r = admin(site, "GET", r["Location"])
    assert r.status == 200
    assert r["Content-Type"] == "application/json"
    assert r["Cache-Control"] == "private, no-cache"
    assert list(r.json()) == MEMBERS
    assert {k: created[k] for k in MEMBERS} == r.json()
    assert created["secret_key"] not in r.body.decode()
    head = admin(site, "HEAD", "/v1/apps/" + created["public_key"])
    assert (head.status, head.body) == (200, b"")
    assert head["Content-Length"] == r["Content-Length"]
    assert head["Cache-Control"] == r["Cache-Control"]


def test_pages(make):
    s = make()
    assert admin(s, "GET", "/v1/apps").json() == {"apps": [], "next": None}
    s.sql("INSERT INTO apps (name, public_key, encrypted_secret_key)"
          " SELECT 'n' || i, lpad(to_hex(i), 64, '0'), 'x'"
          " FROM generate_series(1, 230) AS i")
    # Gaps change nothing: pages go by id, not by number.
    s.sql("DELETE FROM apps WHERE id %% 10 = 0")
    expected = [n for n in range(1, 231) if n % 10]

    def pages(limit):
        ids, after, sizes = [], None, []
        while True:
            query = f"?limit={limit}" if limit else "?"
            if after is not None:
                query += f"&after={after}"
            r = admin(s, "GET", "/v1/apps" + query)
            assert r.status == 200
            page = r.json()
            assert list(page) == ["apps", "next"]
            assert all(list(a) == MEMBERS for a in page["apps"])
            ids += [a["id"] for a in page["apps"]]
            sizes.append(len(page["apps"]))
            if page["next"] is None:
                return ids, sizes
            assert page["next"] == ids[-1]
            after = page["next"]

    assert pages(None) == (expected, [50, 50, 50, 50, 7])
    assert pages(200) == (expected, [200, 7])
    assert pages(69) == (expected, [69, 69, 69])  # no empty page at the end
    assert pages(1)[0] == expected
    r = admin(s, "GET", "/v1/apps?after=9223372036854775807")
    assert r.json() == {"apps": [], "next": None}
    # What comes and goes between two pages moves nothing.
    first = admin(s, "GET", "/v1/apps?limit=5").json()
    s.sql("DELETE FROM apps WHERE id = 5")
    second = admin(s, "GET", f"/v1/apps?limit=5&after={first['next']}").json()
    assert [a["id"] for a in second["apps"]] == [6, 7, 8, 9, 11]


@pytest.mark.parametrize("query", [
    "limit=0", "limit=201", "limit=-1", "limit=x", "limit=", "limit=1&limit=2",
    "limit=1.5", "limit=%", "limit=99999999999999999999", "after=-1",
    "after=x", "after=", "after=9223372036854775808", "after=1&after=1",
    "after=1%20", "after=%31%"])
def test_bad_pages(site, query):
    r = admin(site, "GET", "/v1/apps?" + query)
    assert (r.status, r.code) == (400, "value_invalid")


# -- who may

@pytest.mark.covers("API5:2023", "ASVS-V13.1.4")
def test_nobody_else(site, app):
    """Whatever else was sent: 401, and nothing is changed."""
    out = json.loads(site.tool("invite", "--json").stdout)
    site.registered.append(out["token"])
    before = admin(site, "GET", path_of(app)).json()
    for who in ({}, {"Authorization": "Bearer " + REGISTRATION},
                {"Authorization": "Bearer " + out["token"]},
                {"Authorization": "Bearer " + ADMIN[:-1]},
                {"Authorization": "Bearer " + ADMIN + "1"},
                {"Authorization": "Bearer " + ADMIN.upper()},
                {"Authorization": "Basic " + ADMIN},
                {"X-Public-Key": ADMIN}, app.auth(), app.auth(sub="u")):
        for method, path in [("GET", "/v1/apps"), *ROUTES(app.public),
                             *ROUTES(UNKNOWN), *ROUTES("malformed")]:
            for body, headers in ((None, {}), ("{", JSON), ("x" * 70000, {})):
                if body and method == "GET":
                    continue
                r = site.request(method, path, {**who, **headers}, body)
                assert r.status == 401, (who, method, path, r)
                assert r.code == ("credentials_missing"
                                  if "Authorization" not in who
                                  else "invalid_credentials")
                assert r["WWW-Authenticate"].startswith("Bearer realm=")
                assert r["Cache-Control"] == "no-store"
    after = admin(site, "GET", path_of(app)).json()
    assert {k: v for k, v in after.items() if k != "last_used_at"} == \
        {k: v for k, v in before.items() if k != "last_used_at"}


@pytest.mark.covers("ASVS-V2.10.2")
def test_no_admin_token(make):
    s = make(env={"POSTERN_ADMIN_TOKEN": None})
    app = s.register()
    for method, path in [("GET", "/v1/apps"), *ROUTES(app.public)]:
        for who in (AUTH, {"Authorization": "Bearer "},
                    {"Authorization": "Bearer x"}, {}, app.auth(),
                    {"Authorization": "Bearer " + REGISTRATION}):
            assert s.request(method, path, who).status == 401
    assert s.get("/v1/whoami", app.auth()).status == 200


@pytest.mark.covers("RFC8725-3.12")
def test_admin_token_is_no_app(site, app):
    for path in ("/v1/whoami", "/v1/app", "/v1/users", "/v1/me", "/v1/auth"):
        for more in ({}, {"X-Public-Key": app.public}):
            assert site.get(path, {**AUTH, **more}).status == 401


def test_methods(site, app):
    for path, allow in (
            ("/v1/apps", "GET, HEAD, POST, OPTIONS"),
            (path_of(app), "GET, HEAD, PATCH, DELETE, OPTIONS"),
            (path_of(app, "/rotate"), "POST, OPTIONS"),
            (path_of(app, "/disable"), "POST, OPTIONS"),
            (path_of(app, "/enable"), "POST, OPTIONS"),
            (path_of(app, "/events"), "GET, HEAD, OPTIONS")):
        for who in (AUTH, {}):
            r = site.request("OPTIONS", path, who)
            assert (r.status, r["Allow"], r.body) == (204, allow, b"")
            for method in {"GET", "PUT", "POST", "PATCH", "DELETE"} - set(
                    allow.split(", ")):
                r = site.request(method, path, who)
                assert (r.status, r.code) == (405, "method_not_allowed")
                assert r["Allow"] == allow
    for path in (path_of(app, "/"), path_of(app, "/nosuch"), "/v1/apps/",
                 path_of(app, "/rotate/"), "/v1/app/" + app.public):
        assert admin(site, "GET", path).status in (401, 404)
        assert admin(site, "POST", path).code in ("no_such_route",
                                                  "method_not_allowed")


# -- unknown and malformed keys

@pytest.mark.parametrize("key", [UNKNOWN, "ab" * 16, "ab" * 64])
def test_unknown_keys(site, key):
    for method, path in ROUTES(key):
        body = {} if method == "PATCH" else None
        r = admin(site, method, path, body)
        assert (r.status, r.code) == (404, "not_found"), (method, path, r)
        assert r["Cache-Control"] == "no-store"


@pytest.mark.parametrize("key", MALFORMED)
def test_malformed_keys(alone_admin, key):
    """Past the web server, which refuses some paths itself."""
    for method, path in ROUTES(key):
        body = b"{}" if method == "PATCH" else b""
        r = alone_admin(method, path, body)
        assert r.status in (400, 404), (method, path, r)
        assert r.code in ("not_found", "no_such_route", "bad_request")
        assert alone_admin(method, path, body, token="x").status in (401, 404)


@pytest.fixture(scope="module")
def alone_admin(alone):
    def call(method, path, body=b"", token=ADMIN):
        return alone.fcgi({
            "REQUEST_METHOD": method, "REQUEST_URI": path,
            "CONTENT_LENGTH": str(len(body)),
            "CONTENT_TYPE": "application/json",
            "HTTP_AUTHORIZATION": "Bearer " + token}, body)
    return call


def test_order_of_refusals(site, app):
    """401, 413, 415, 400, 404."""
    for key in (app.public, UNKNOWN, "x"):
        one = "/v1/apps/" + key
        r = site.request("PATCH", one, {}, "x" * 70000)
        assert r.status == 401
        r = admin(site, "PATCH", one, "x" * 70000, **JSON)
        assert (r.status, r.code) == (413, "body_too_large")
        r = admin(site, "PATCH", one, "{}", **{"Content-Type": "text/plain"})
        assert (r.status, r.code) == (415, "unsupported_media_type")
        assert r["Accept-Patch"]
        r = admin(site, "PATCH", one, "{", **JSON)
        assert (r.status, r.code) == (400, "json_invalid")
        r = admin(site, "PATCH", one)
        assert (r.status, r.code) == (400, "body_required")
        r = admin(site, "PATCH", one, {"id": 1})
        assert (r.status, r.code) == (400, "value_invalid")
        r = admin(site, "POST", one + "/rotate", {"grace_seconds": -1})
        assert (r.status, r.code) == (400, "value_invalid")
        r = admin(site, "POST", one + "/rotate", "{}",
                  **{"Content-Type": "text/plain"})
        assert r.status == 415
    assert events(site, app) == [("created", "registration")]


# -- changing

def test_patch(site, app):
    r = admin(site, "PATCH", path_of(app), {"name": "Größe ✓"})
    assert (r.status, r.json()["name"]) == (200, "Größe ✓")
    assert list(r.json()) == MEMBERS
    assert r["Cache-Control"] == "private, no-cache"
    assert r.json()["updated_at"] > app.answer["updated_at"]
    assert r.json()["expires_at"] is None
    r = admin(site, "PATCH", path_of(app),
              {"name": "both", "expires_at": "2099-01-02T03:04:05.5+01:00"},
              **{"Content-Type": "application/merge-patch+json"})
    assert r.json()["name"] == "both"
    assert r.json()["expires_at"] == "2099-01-02T02:04:05.500000Z"
    # What is not named stays.
    r = admin(site, "PATCH", path_of(app), {"name": "third"})
    assert r.json()["expires_at"] == "2099-01-02T02:04:05.500000Z"
    r = admin(site, "PATCH", path_of(app), {"expires_at": None})
    assert (r.json()["name"], r.json()["expires_at"]) == ("third", None)
    assert admin(site, "GET", path_of(app)).json() == r.json()
    site.becomes(app, 200)
    assert [e for e, who in events(site, app)] == [
        "created", "renamed", "renamed", "expiry_changed", "renamed",
        "expiry_changed"]
    assert {who for e, who in events(site, app)[1:]} == {"admin"}


@pytest.mark.parametrize("sent,shown", [
    ("2099-01-02t03:04:05z", "2099-01-02T03:04:05.000000Z"),
    ("2099-01-02T03:04:05-00:00", "2099-01-02T03:04:05.000000Z"),
    ("2099-01-02T00:00:00+23:59", "2099-01-01T00:01:00.000000Z"),
    ("2096-02-29T00:00:00.123456789Z", "2096-02-29T00:00:00.123456Z"),
    ("2098-12-31T23:59:60Z", "2099-01-01T00:00:00.000000Z"),
    ("9999-12-31T23:59:59.9999999Z", "9999-12-31T23:59:59.999999Z")])
def test_dates(site, app, sent, shown):
    r = admin(site, "PATCH", path_of(app), {"expires_at": sent})
    assert (r.status, r.json()["expires_at"]) == (200, shown)
    assert admin(site, "GET", path_of(app)).json()["expires_at"] == shown
    # By the tool, the same.
    again = site.register()
    out = site.tool("app", "expire", "--json", "--expires", sent, again.public)
    assert json.loads(out.stdout)["expires_at"] == shown


@pytest.mark.covers("API3:2023", "ASVS-V13.2.2")
@pytest.mark.parametrize("body", [
    {"name": ""}, {"name": None}, {"name": 1}, {"name": "a\nb"},
    {"name": "x" * 101}, {"expires_at": ""}, {"expires_at": 1},
    {"expires_at": "tomorrow"}, {"expires_at": "2030-01-31"},
    {"expires_at": "2030-01-31T00:00:00"}, {"expires_at": "infinity"},
    {"expires_at": "2030-02-31T00:00:00Z"}, {"expires_at": "now"},
    {"expires_at": "2030-13-01T00:00:00Z"},
    {"expires_at": "2030-01-01T99:00:00Z"},
    {"expires_at": "2030-01-01T24:00:00Z"},
    {"expires_at": "2030-01-01T00:00:60Z"},
    {"expires_at": "2030-06-30T23:58:60Z"},
    {"expires_at": "9999-12-31T23:59:60Z"},
    {"expires_at": "9999-12-31T23:59:59-00:01"},
    {"expires_at": "0001-01-01T00:00:00+00:01"},
    {"expires_at": "2030-02-29T00:00:00Z"},
    {"expires_at": "2030-01-01T00:00:00+24:00"},
    {"expires_at": "2030-01-01T00:00:00+00:60"},
    {"expires_at": "2030-01-01 00:00:00Z"},
    {"expires_at": "0000-01-01T00:00:00Z"},
    {"expires_at": "2030-01-01T00:00:00+99:99"},
    {"expires_at": "2030-01-01T00:00:00." + "0" * 60000 + "Z"},
    {"expires_at": ["2030-01-31T00:00:00Z"]}, {"secret_key": "x"},
    {"disabled_at": None}, {"id": 1}, {"public_key": UNKNOWN},
    {"name": "good", "expires_at": "bad"}, {"name": "good", "more": 1}])
def test_bad_patches(site, body):
    app = site.register()
    r = admin(site, "PATCH", path_of(app), body)
    assert (r.status, r.code) == (400, "value_invalid"), r
    got = admin(site, "GET", path_of(app)).json()
    assert got == {k: app.answer[k] for k in MEMBERS}


@pytest.mark.covers("ASVS-V3.5.1")
def test_disable_and_enable(site, app):
    site.becomes(app, 200)
    r = admin(site, "POST", path_of(app, "/disable"))
    assert r.status == 200 and list(r.json()) == MEMBERS
    since = r.json()["disabled_at"]
    assert since
    site.becomes(app, 401)
    # Again: it stays disabled since then.
    r = admin(site, "POST", path_of(app, "/disable"))
    assert (r.status, r.json()["disabled_at"]) == (200, since)
    # Disabled is not gone: it is managed as before.
    assert admin(site, "GET", path_of(app)).json()["disabled_at"] == since
    r = admin(site, "POST", path_of(app, "/enable"))
    assert (r.status, r.json()["disabled_at"]) == (200, None)
    site.becomes(app, 200)
    assert admin(site, "POST", path_of(app, "/enable")).status == 200
    assert [e for e, _ in events(site, app)][:2] == ["created", "disabled"]
    assert ("enabled", "admin") in events(site, app)


def test_rotate(site, app):
    old = app.secret
    site.becomes(app, 200)
    r = admin(site, "POST", path_of(app, "/rotate"), {"grace_seconds": 3600})
    assert (r.status, r["Cache-Control"]) == (200, "no-store")
    a = r.json()
    site.registered.append(a["secret_key"])
    assert sorted(a) == sorted([*MEMBERS, "secret_key"])
    assert (a["public_key"], a["id"]) == (app.public, app.id)
    assert re.fullmatch("[0-9a-f]{64}", a["secret_key"])
    assert a["secret_key"] != old and a["previous_valid_until"]
    site.becomes(app, 200, a["secret_key"])
    site.becomes(app, 200, old)
    # No other answer has it.
    for method, path in (("GET", path_of(app)), ("GET", "/v1/apps?limit=200"),
                         ("PATCH", path_of(app))):
        text = admin(site, method, path, {"name": "An app"}
                     if method == "PATCH" else None).body.decode()
        assert a["secret_key"] not in text and old not in text
        assert "secret_key" not in text
    # At once; no body is {}, a day.
    r = admin(site, "POST", path_of(app, "/rotate"), {"grace_seconds": 0})
    newest = r.json()["secret_key"]
    site.registered.append(newest)
    assert r.json()["previous_valid_until"] is None
    for secret in (old, a["secret_key"]):
        site.becomes(app, 401, secret)
    site.becomes(app, 200, newest)
    r = admin(site, "POST", path_of(app, "/rotate"))
    site.registered.append(r.json()["secret_key"])
    day = site.sql("SELECT extract(epoch FROM previous_valid_until -"
                   " rotated_at) FROM apps WHERE id = %s", app.id)[0][0]
    assert day == 86400
    assert [e for e in events(site, app) if e[0] == "rotated"] == [
        ("rotated", "admin")] * 3


def test_delete(site, app):
    site.request("PUT", "/v1/users/u", app.auth(), {"a": 1})
    r = admin(site, "DELETE", path_of(app))
    assert (r.status, r.body) == (204, b"")
    assert r["Cache-Control"] == "private, no-cache"
    site.becomes(app, 401)
    for method, path in ROUTES(app.public):
        # The trail outlives it.
        assert admin(site, method, path,
                     {} if method == "PATCH" else None).status == (
                         200 if path.endswith("/events") else 404)
    assert site.sql("SELECT count(*) FROM users WHERE app_id = %s",
                    app.id) == [(0,)]
    assert events(site, app) == [("created", "registration"),
                                 ("deleted", "admin")]
    out = json.loads(site.tool("app", "events", app.public, "--json").stdout)
    assert [e["event"] for e in out["events"]] == ["created", "deleted"]


def test_database_away(make):
    s = make()
    app = s.register()
    with s.database_away():
        for method, path in [("GET", "/v1/apps"), *ROUTES(app.public)]:
            r = admin(s, method, path, {} if method == "PATCH" else None)
            assert (r.status, r.code) == (503, "database_unavailable")
            assert r["Retry-After"] and r["Cache-Control"] == "no-store"
            assert s.request(method, path).status == 401
    assert events(s, app) == [("created", "registration")]


# -- the audit trail

def test_actors(site, app):
    """Each operation writes its event, with its actor."""
    admin(site, "PATCH", path_of(app), {"name": "a"})
    site.request("PATCH", "/v1/app", app.auth(), {"name": "b"})
    r = site.request("POST", "/v1/app/rotate", app.auth())
    app.secret = r.json()["secret_key"]
    site.registered.append(app.secret)
    site.request("DELETE", "/v1/app/previous-secret", app.auth())
    site.tool("app", "expire", app.public, "--expires", "1d")
    site.sql("UPDATE apps SET disabled_at = now() WHERE id = %s", app.id)
    admin(site, "POST", path_of(app, "/enable"))
    admin(site, "DELETE", path_of(app))
    got = events(site, app)
    tool = got[5][1]
    assert tool.startswith("cli:")
    assert got == [
        ("created", "registration"), ("renamed", "admin"), ("renamed", "app"),
        ("rotated", "app"), ("previous_ended", "app"),
        ("expiry_changed", tool), ("disabled", "db:owner"),
        ("enabled", "admin"), ("deleted", "admin")]
    text = site.tool("app", "events", app.public).stdout.splitlines()
    assert text[0].split() == ["ID", "AT", "EVENT", "ACTOR"]
    assert [tuple(line.split()[2:]) for line in text[1:]] == got
    assert max(map(len, text)) < 80
    text = site.tool("app", "events").stdout.splitlines()
    assert text[0].split() == ["ID", "AT", "EVENT", "PUBLIC", "KEY", "ACTOR"]
    assert [tuple(line.split()[i] for i in (2, 4)) for line in text[1:]
            if line.split()[3] == app.public] == got
    r = site.tool("app", "events", app.public, "--json", "--limit", "9")
    assert len(json.loads(r.stdout)["events"]) == 9 and r.stderr == ""
    r = site.tool("app", "events", app.public, "--json", "--limit", "2")
    assert "--limit" in r.stderr  # there are more
    out = json.loads(r.stdout)["events"]
    assert [e["event"] for e in out] == ["enabled", "deleted"]
    assert list(out[0]) == [
        "id", "app_id", "public_key", "event", "actor", "at", "invite_id",
        "login", "request_id", "remote", "old", "new"]
    # Of all, too; and one that never was is a failure.
    out = json.loads(site.tool("app", "events", "--json").stdout)["events"]
    assert [e["id"] for e in out] == sorted(e["id"] for e in out)
    assert app.public in {e["public_key"] for e in out}
    r = site.tool("app", "events", UNKNOWN, check=False)
    assert r.returncode == 1 and r.stdout == ""


def test_an_event_shares_its_changes_fate(make):
    """No change without its event, no event without its change."""
    s = make()
    app = s.register()
    s.becomes(app, 200)
    c = s.pg.connect(s.database)
    c.autocommit = False
    c.cursor().execute("UPDATE apps SET name = 'x' WHERE id = %s", (app.id,))
    c.rollback()
    c.close()
    assert events(s, app) == [("created", "registration")]
    # The event can't be written: then nothing is changed.
    s.sql("ALTER TABLE app_events ADD CONSTRAINT none CHECK (id < 0)"
          " NOT VALID")
    for method, path in ROUTES(app.public)[1:-1]:
        r = admin(s, method, path,
                  {"name": "y"} if method == "PATCH" else None)
        assert r.status == 503, (method, path, r)
    r = s.request("POST", "/v1/apps", AUTH, {"name": "z"})
    assert r.status == 503
    assert "secret_key" not in r.json()
    s.sql("ALTER TABLE app_events DROP CONSTRAINT none")
    assert s.sql("SELECT name, disabled_at, rotated_at FROM apps") == [
        ("An app", None, None)]
    assert events(s, app) == [("created", "registration")]
    s.becomes(app, 200)
    assert admin(s, "DELETE", path_of(app)).status == 204


def test_append_only(site, app):
    for user, error in (("server", psycopg2.errors.InsufficientPrivilege),
                        ("owner", psycopg2.errors.InsufficientPrivilege)):
        c = site.pg.connect(site.database, user)
        for statement in (
                "UPDATE app_events SET actor = 'nobody'",
                "UPDATE app_events SET at = now() WHERE false",
                "DELETE FROM app_events",
                f"DELETE FROM app_events WHERE app_id = {app.id}",
                "TRUNCATE app_events"):
            with pytest.raises(error):
                c.cursor().execute(statement)
        c.close()
    c = site.pg.connect(site.database, "server")
    for statement in (
            "INSERT INTO app_events (app_id, public_key, event, actor)"
            " VALUES (1, 'x', 'created', 'admin')",
            "DROP TRIGGER postern_apps_audit ON apps",
            "ALTER TABLE apps DISABLE TRIGGER ALL",
            "SET session_replication_role = replica",
            "DROP TABLE app_events"):
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            c.cursor().execute(statement)
    c.close()
    assert events(site, app) == [("created", "registration")]


def test_changes_at_once_are_all_recorded(site, app):
    answers = at_once(12, lambda i: admin(
        site, "PATCH", path_of(app), {"name": f"n{i}"}))
    assert {r.status for r in answers} == {200}
    assert events(site, app)[1:] == [("renamed", "admin")] * 12


# -- expiry

def test_expiry_comes_by_itself(make):
    """Warm workers refuse at that moment, without any news: the row was last
    changed before, and nobody tells."""
    s = make()
    app = s.register()
    until = s.sql("SELECT to_char((now() + interval '4 s') AT TIME ZONE 'UTC',"
                  " 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')")[0][0]
    r = admin(s, "PATCH", path_of(app), {"expires_at": until})
    assert r.json()["expires_at"] == until
    s.warm(app)
    # No SELECT could tell them: what they have is in their caches. Nor could
    # one tell them that it was extended.
    with s.database_away():
        s.becomes(app, 503)
    s.becomes(app, 401)
    assert "reason=app_expired" in s.log()
    # Managed as ever; extended, it works again.
    assert admin(s, "GET", path_of(app)).json()["expires_at"] == until
    r = admin(s, "PATCH", path_of(app), {"expires_at": None})
    assert r.status == 200
    s.becomes(app, 200)


def test_expiry_by_the_tool(site):
    out = json.loads(site.tool("app", "create", "short", "--expires", "1d",
                               "--json").stdout)
    app = App(out)
    site.registered.append(app.secret)
    assert out["expires_at"]
    site.becomes(app, 200)
    r = site.tool("app", "expire", app.public, "--expires",
                  "2020-01-01T00:00:00Z")
    assert "2020-01-01T00:00:00.000000Z" in r.stdout
    assert app.secret not in r.stdout
    site.becomes(app, 401)
    line = [x for x in site.tool("app", "list").stdout.splitlines()
            if app.public in x]
    assert line[0].split()[1] == "expired"
    out = json.loads(site.tool("app", "expire", app.public, "--expires",
                               "never", "--json").stdout)
    assert out["expires_at"] is None
    site.becomes(app, 200)
    for args in (["expire", app.public], ["expire", "--expires", "1d"],
                 ["expire", app.public, "--expires", "1w"],
                 ["end-previous"], ["events", "x"]):
        assert site.tool("app", *args, check=False).returncode == 2
    for args in (["expire", UNKNOWN, "--expires", "1d"],
                 ["end-previous", UNKNOWN]):
        r = site.tool("app", *args, check=False)
        assert (r.returncode, r.stdout) == (1, "") and UNKNOWN in r.stderr


def test_end_previous_by_the_tool(site, app):
    old = app.secret
    r = admin(site, "POST", path_of(app, "/rotate"))
    app.secret = r.json()["secret_key"]
    site.registered.append(app.secret)
    site.becomes(app, 200, old)
    out = json.loads(site.tool("app", "end-previous", app.public,
                               "--json").stdout)
    assert out["previous_valid_until"] is None
    site.becomes(app, 401, old)
    site.becomes(app, 200)


def test_an_app_of_another_key_length(make):
    """Keys of 16 and 64 bytes are managed alike."""
    for size in ("16", "64"):
        s = make(env={"POSTERN_KEY_BYTES": size})
        app = s.register()
        assert len(app.public) == 2 * int(size)
        assert admin(s, "GET", path_of(app)).json()["id"] == app.id
        assert admin(s, "DELETE", path_of(app)).status == 204

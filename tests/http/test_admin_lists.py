"""Searching the apps, and reading the trail, over HTTP."""
import json
from urllib.parse import quote

import pytest

from lib.process import at_once
from lib.stack import Stack
from test_admin import AUTH, UNKNOWN, admin, path_of

KEYS = ["0123" * 16, "01ab" * 16, "ff" * 64, "fe" * 16]


def search(s, text, more=""):
    r = admin(s, "GET", f"/v1/apps?search={quote(text, safe='')}{more}")
    assert r.status == 200, (text, r)
    return r.json()


def names(s, text):
    return [a["name"] for a in search(s, text)["apps"]]


@pytest.fixture(scope="module")
def shop(pg):
    """A few apps with telling names."""
    with Stack(pg) as s:
        for name, key in zip(("Größe 100%", "a_b \\ c", "AXB", "Zürich"),
                             KEYS):
            s.sql("INSERT INTO apps (name, public_key, encrypted_secret_key)"
                  " VALUES (%s, %s, 'x')", name, key)
        yield s


# -- search

@pytest.mark.parametrize("text,expected", [
    ("größe", ["Größe 100%"]), ("GRÖSSE", []), ("ÖSS", []),
    ("RÖ", ["Größe 100%"]), ("axb", ["AXB"]), ("xB", ["AXB"]),
    ("ZÜR", ["Zürich"]), ("z", ["Zürich"]), ("%", ["Größe 100%"]),
    ("0%", ["Größe 100%"]), ("_", ["a_b \\ c"]), ("a_b", ["a_b \\ c"]),
    ("\\", ["a_b \\ c"]), ("\\ ", ["a_b \\ c"]), ("%B", []), ("a%b", []),
    ("01", ["Größe 100%", "a_b \\ c"]), ("0123", ["Größe 100%"]),
    ("01AB", ["a_b \\ c"]), ("123", []), ("'; --", []), ("(", []),
    (KEYS[0], ["Größe 100%"]), (KEYS[2], ["AXB"]), (KEYS[3], ["Zürich"]),
    (KEYS[2][:100], ["AXB"]), (UNKNOWN, []), ("f", ["AXB", "Zürich"])])
def test_search(shop, text, expected):
    assert names(shop, text) == expected
    out = shop.tool("app", "list", "--search", text).stdout.splitlines()
    assert len(out) == 1 + len(expected)


@pytest.mark.parametrize("query", [
    "search=", "search=%20", "search=" + "x" * 101, "search=%00", "search=%0a",
    "search=a%00", "search=%ff", "search=%", "search=a&search=b",
    "search=" + "ff" * 65, "search=" + quote("ö" * 101)])
def test_bad_search(shop, query):
    # Past the web server, which lets some of these through to nobody.
    r = shop.fcgi({"REQUEST_METHOD": "GET", "REQUEST_URI": "/v1/apps?" + query,
                   "QUERY_STRING": query,
                   "HTTP_AUTHORIZATION": AUTH["Authorization"]})
    assert (r.status, r.code) == (400, "value_invalid"), r


def test_search_bounds(shop):
    assert names(shop, "ö" * 100) == []
    r = shop.tool("app", "list", "--search", "", check=False)
    assert r.returncode == 2 and "--search" in r.stderr


def test_search_goes_by_pages(make):
    s = make()
    s.sql("INSERT INTO apps (name, public_key, encrypted_secret_key)"
          " SELECT CASE WHEN i % 3 = 0 THEN 'Third' ELSE 'other' END || i,"
          " lpad(to_hex(i), 64, '0'), 'x' FROM generate_series(1, 100) AS i"
          .replace("%", "%%"))
    expected = list(range(3, 101, 3))
    for limit in (1, 10, 11, 33, 50):
        ids, more = [], ""
        while True:
            page = search(s, "tHIRD", f"&limit={limit}{more}")
            ids += [a["id"] for a in page["apps"]]
            if page["next"] is None:
                break
            assert page["next"] == ids[-1] and len(page["apps"]) == limit
            more = f"&after={page['next']}"
        assert ids == expected


# -- the trail

EVENT = ["id", "app_id", "public_key", "event", "actor", "at", "invite_id",
         "login", "request_id", "remote", "old", "new"]


def trail(s, key, query=""):
    r = admin(s, "GET", f"/v1/apps/{key}/events{query}")
    assert r.status == 200, r
    assert r["Cache-Control"] == "private, no-cache"
    assert list(r.json()) == ["events", "next"]
    return r.json()


def test_trail(site, app):
    admin(site, "PATCH", path_of(app), {"name": "renamed"})
    admin(site, "POST", path_of(app, "/disable"))
    got = trail(site, app.public)
    assert [(e["event"], e["actor"]) for e in got["events"]] == [
        ("disabled", "admin"), ("renamed", "admin"),
        ("created", "registration")]
    assert got["next"] is None
    for e in got["events"]:
        assert list(e) == EVENT
        assert (e["app_id"], e["public_key"]) == (app.id, app.public)
        assert e["at"].endswith("Z")
    # The tool's reader reads downwards.
    out = site.tool("app", "events", app.public, "--json").stdout
    assert json.loads(out)["events"] == got["events"][::-1]


def test_trail_outlives_its_app(site, app):
    other = site.register()
    assert admin(site, "DELETE", path_of(app)).status == 204
    assert admin(site, "GET", path_of(app)).status == 404
    got = trail(site, app.public)["events"]
    assert [e["event"] for e in got] == ["deleted", "created"]
    # Nothing before the first one: the end, not an unknown key.
    assert trail(site, app.public, f"?before={got[-1]['id']}") == {
        "events": [], "next": None}
    assert [e["event"] for e in trail(site, other.public)["events"]] == [
        "created"]


def test_trail_follows_a_changed_key(site, app):
    """Someone gave the app another key by hand: it is the same app."""
    key = "5e" * 32
    site.sql("UPDATE apps SET public_key = %s WHERE id = %s", key, app.id)
    for k in (key, app.public):
        assert [(e["event"], e["public_key"])
                for e in trail(site, k)["events"]] == [
            ("changed", key), ("changed", app.public),
            ("created", app.public)]
    site.sql("DELETE FROM apps WHERE id = %s", app.id)


def test_trail_by_pages(site, app):
    answers = at_once(9, lambda i: admin(
        site, "PATCH", path_of(app), {"name": f"n{i}"}))
    assert {r.status for r in answers} == {200}
    expected = [e["id"] for e in trail(site, app.public)["events"]]
    assert len(expected) == 10 and expected == sorted(expected, reverse=True)
    for limit in (1, 3, 5, 10, 11):
        ids, before = [], ""
        while True:
            page = trail(site, app.public, f"?limit={limit}{before}")
            ids += [e["id"] for e in page["events"]]
            if page["next"] is None:
                break
            assert page["next"] == ids[-1] and len(page["events"]) == limit
            before = f"&before={page['next']}"
        assert ids == expected


@pytest.mark.parametrize("query", [
    "limit=0", "limit=201", "limit=x", "before=0", "before=-1", "before=x",
    "before=", "before=9223372036854775808", "before=1&before=2"])
def test_bad_trail(site, app, query):
    # Before the key is looked at, as everywhere.
    for key in (app.public, UNKNOWN, "x"):
        r = admin(site, "GET", f"/v1/apps/{key}/events?{query}")
        assert (r.status, r.code) == (400, "value_invalid"), r

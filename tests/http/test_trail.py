"""The audit trail: what each way of changing something leaves in it, by which
request and from where, what nobody can write there, and how long it is kept."""
import json
import re
import secrets
import threading

import psycopg2
import pytest

from lib.process import wait_until
from lib.stack import Stack
from lib.tokens import ADMIN, REGISTRATION, sha256

AUTH = {"Authorization": "Bearer " + ADMIN}
COLUMNS = ("event", "actor", "login", "request_id", "remote", "invite_id",
           "old_values", "new_values")
HIDDEN = "hidden"
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
DENIED = psycopg2.errors.InsufficientPrivilege


class Any:
    """What a row is only known to have."""

    def __init__(self, fits):
        self.fits = fits

    def __eq__(self, other):
        return self.fits(other)

    def __repr__(self):
        return "(any)"


A_TIME = Any(lambda v: isinstance(v, str) and bool(TIME.fullmatch(v)))
KEY_ID = Any(lambda v: isinstance(v, str)
             and bool(re.fullmatch("[0-9a-f]{16}", v)))
CLI = Any(lambda v: v.startswith("cli:"))


@pytest.fixture(scope="module")
def s(pg):
    with Stack(pg, env={"POSTERN_TRUSTED_PROXIES": "127.0.0.0/8"}) as stack:
        yield stack


@pytest.fixture(scope="module")
def counter():
    return iter(range(10 ** 6))


@pytest.fixture()
def app(s):
    return s.register()


def last_id(s):
    return s.sql("SELECT coalesce(max(id), 0) FROM app_events")[0][0]


def rows(s, since):
    return [dict(zip(COLUMNS, row)) for row in s.sql(
        f"SELECT {', '.join(COLUMNS)} FROM app_events WHERE id > %s"
        " ORDER BY id", since)]


def answer(s, r, app=None):
    """A 2xx; what it told is no log's, nor the trail's."""
    assert r.status < 300, r
    if r.body and "secret_key" in r.json():
        s.registered.append(r.json()["secret_key"])
        if app is not None:
            app.secret = r.json()["secret_key"]
    return r


def http(method, path, body=None, auth=None):
    """A request by its app's own token, or by what auth says."""
    def run(s, app, headers):
        creds = auth if auth is not None else app.auth()
        r = s.request(method, path.format(key=app.public),
                      {**headers, **creds}, body)
        return answer(s, r, app)
    return run


def admin(method, tail="", body=None):
    return http(method, "/v1/apps/{key}" + tail, body, AUTH)


def changed(old, new, event="changed"):
    return [(event, old, new)]


ROTATED = ({"encrypted_secret_key": HIDDEN, "rotated_at": None,
            "previous_encrypted_secret_key": None,
            "previous_master_key_id": None, "previous_valid_until": None},
           {"encrypted_secret_key": HIDDEN, "rotated_at": A_TIME,
            "previous_encrypted_secret_key": HIDDEN,
            "previous_master_key_id": KEY_ID, "previous_valid_until": A_TIME})
ROTATED_AT_ONCE = (
    {"encrypted_secret_key": HIDDEN, "rotated_at": None},
    {"encrypted_secret_key": HIDDEN, "rotated_at": A_TIME})
WHEN = "2040-01-31T00:00:00Z"
BOTH = ({"name": "An app", "expires_at": None},
        {"name": "Both", "expires_at": "2040-01-31T00:00:00.000000Z"})
GONE = {"name": "An app", "created_at": A_TIME, "master_key_id": KEY_ID}

# What an app's own request, or the operator's, leaves: actor, how, and for each
# row the event, what was there before and what after.
REQUESTS = {
    "renamed by the operator": (
        "admin", admin("PATCH", body={"name": "Né"}),
        changed({"name": "An app"}, {"name": "Né"}, "renamed")),
    "renamed by itself": (
        "app", http("PATCH", "/v1/app", {"name": "b"}),
        changed({"name": "An app"}, {"name": "b"}, "renamed")),
    "renamed to its name": (
        "admin", admin("PATCH", body={"name": "An app"}), changed({}, {})),
    "two things at once": (
        "admin", admin("PATCH", body={"name": "Both", "expires_at": WHEN}),
        [("renamed", *BOTH), ("expiry_changed", *BOTH)]),
    "disabled": (
        "admin", admin("POST", "/disable"),
        changed({"disabled_at": None}, {"disabled_at": A_TIME}, "disabled")),
    "enabled": (
        "admin", admin("POST", "/enable"), changed({}, {})),
    "rotated by the operator": (
        "admin", admin("POST", "/rotate"), [("rotated", *ROTATED)]),
    "rotated by itself": (
        "app", http("POST", "/v1/app/rotate"), [("rotated", *ROTATED)]),
    "rotated at once": (
        "app", http("POST", "/v1/app/rotate", {"grace_seconds": 0}),
        [("rotated", *ROTATED_AT_ONCE)]),
    "ended what wasn't there": (
        "app", http("DELETE", "/v1/app/previous-secret"), changed({}, {})),
    "deleted by the operator": (
        "admin", admin("DELETE"), [("deleted", GONE, None)]),
    "deleted by itself": (
        "app", http("DELETE", "/v1/app"), [("deleted", GONE, None)]),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_a_request(s, app, counter, name):
    """The row has its request's id and the client's address, as the log has
    them, and what was there before and after."""
    actor, run, events = REQUESTS[name]
    n = next(counter)
    client = f"198.51.{n // 250}.{n % 250 + 1}"
    since = last_id(s)
    r = run(s, app, {"X-Request-Id": f"trail-{n}",
                     "X-Forwarded-For": f"203.0.113.9, {client}"})
    assert r["X-Request-Id"] == f"trail-{n}"
    assert rows(s, since) == [
        dict(zip(COLUMNS, (event, actor, "server", f"trail-{n}", client, None,
                           old, new)))
        for event, old, new in events]
    assert any(f"request_id=trail-{n} " in line and f"remote={client} " in line
               for line in s.log_lines("request"))


def test_registrations(s, counter):
    """By the token, by the operator, by an invite: which, too."""
    invite = json.loads(s.tool("invite", "--json", "--uses", "2").stdout)
    s.registered.append(invite["token"])
    for actor, token, invite_id in (
            ("registration", REGISTRATION, None), ("admin", ADMIN, None),
            (f"invite:{invite['id']}", invite["token"], invite["id"])):
        since, n = last_id(s), next(counter)
        r = answer(s, s.request(
            "POST", "/v1/apps", {"Authorization": "Bearer " + token,
                                 "X-Request-Id": f"reg-{n}",
                                 "X-Forwarded-For": "2001:DB8::7"},
            {"name": "made"}))
        assert rows(s, since) == [dict(zip(COLUMNS, (
            "created", actor, "server", f"reg-{n}", "2001:db8::7", invite_id,
            None, {"name": "made", "created_at": A_TIME,
                   "master_key_id": KEY_ID})))]
        got = s.get(f"/v1/apps/{r.json()['public_key']}/events", AUTH).json()
        event, = got["events"]
        assert (event["invite_id"], event["login"], event["request_id"],
                event["remote"], event["old"], event["new"]["name"]) == (
            invite_id, "server", f"reg-{n}", "2001:db8::7", None, "made")


def test_open_registration(make):
    s = make(env={"POSTERN_REGISTRATION": "open",
                  "POSTERN_LIMIT_REGISTRATIONS": "0"})
    answer(s, s.request("POST", "/v1/apps", {
        "X-Forwarded-For": "192.0.2.66"}, {"name": "x"}))
    # No proxy is trusted here.
    (event,) = rows(s, 0)
    assert (event["actor"], event["remote"]) == ("open", "127.0.0.1")
    assert len(event["request_id"]) == 32


# -- the tool

def tool(*args):
    def run(s, app):
        out = s.tool(*(a.format(key=app.public) for a in args))
        if "--json" in args and "secret_key" in out.stdout:
            s.registered.append(json.loads(out.stdout)["secret_key"])
        return out
    return run


TOOL = {
    "expire": (tool("app", "expire", "{key}", "--expires", WHEN), changed(
        {"expires_at": None}, {"expires_at": "2040-01-31T00:00:00.000000Z"},
        "expiry_changed")),
    "disable": (tool("app", "disable", "{key}"), changed(
        {"disabled_at": None}, {"disabled_at": A_TIME}, "disabled")),
    "rotate": (tool("app", "rotate", "{key}", "--json"),
               [("rotated", *ROTATED)]),
    "delete": (tool("app", "delete", "{key}"), [("deleted", GONE, None)]),
    "token": (tool("token", "--app", "{key}"),
              [("secret_opened", None, None)]),
    "a user's token": (tool("token", "--user", "u", "{key}"),
                       [("secret_opened", None, None)]),
    "get": (tool("app", "get", "{key}"), []),
    "list": (tool("app", "list"), []),
    "events": (tool("app", "events", "{key}"), []),
}


@pytest.mark.parametrize("name", TOOL)
def test_the_tool(s, app, name):
    run, events = TOOL[name]
    since = last_id(s)
    run(s, app)
    assert rows(s, since) == [dict(zip(COLUMNS, (
        event, CLI, "owner", None, None, None, old, new)))
        for event, old, new in events]


def test_a_secret_from_standard_input(s, app):
    """Nothing is opened: that is no event. Nor is what can't be opened."""
    since = last_id(s)
    s.tool("token", "--app", stdin=app.secret + "\n")
    s.tool("token", "--app", "ab" * 32, check=False)
    s.tool("app", "disable", app.public)
    assert s.tool("token", "--app", app.public, check=False).returncode == 1
    assert [r["event"] for r in rows(s, since)] == ["disabled"]


def test_no_secret_unseen(s, app):
    """What the trail can't be told of isn't opened."""
    env = {"POSTERN_DATABASE_URL": s.pg.url(s.database)}
    since = last_id(s)
    s.tool("token", "--app", app.public, env=env)
    s.sql("REVOKE ALL ON FUNCTION postern_note_opened FROM server")
    got = s.tool("token", "--app", app.public, env=env, check=False)
    assert (got.returncode, got.stdout) == (1, "")
    assert "postern migrate --grant" in got.stderr
    assert app.secret not in got.stderr
    s.pg.migrate(s.database)
    s.tool("token", "--app", app.public, env=env)
    assert [(r["event"], r["actor"], r["login"]) for r in rows(s, since)] == [
        ("secret_opened", CLI, "server")] * 2


def test_invites(s):
    since = last_id(s)
    made = json.loads(s.tool("invite", "--json", "--label", "für X",
                             "--expires", WHEN).stdout)
    s.registered.append(made["token"])
    i = made["id"]
    s.tool("invite", "revoke", str(i))
    s.tool("invite", "revoke", str(i))  # it is: nothing changes
    s.tool("invite", "list")
    new = {"label": "für X", "uses": 0, "uses_max": 1, "created_at": A_TIME,
           "expires_at": "2040-01-31T00:00:00.000000Z"}
    assert rows(s, since) == [dict(zip(COLUMNS, (
        event, CLI, "owner", None, None, i, old, new))) for event, old, new in (
        ("invite_created", None, new),
        ("invite_revoked", {"revoked_at": None}, {"revoked_at": A_TIME}))]
    out = s.tool("app", "events").stdout.splitlines()
    assert [line.split()[2:6] for line in out if f"  invite {i} " in line] == [
        ["invite_created", "invite", str(i), CLI],
        ["invite_revoked", "invite", str(i), CLI]]
    event, = [e for e in json.loads(s.tool(
        "app", "events", "--json").stdout)["events"]
        if (e["event"], e["invite_id"]) == ("invite_revoked", i)]
    assert (event["app_id"], event["public_key"], event["actor"]) == (
        None, None, CLI)


# -- by hand, in SQL

HAND = {
    "name": ("UPDATE apps SET name = 'x' WHERE id = {app}",
             changed({"name": "An app"}, {"name": "x"}, "renamed")),
    "a long name": (
        "UPDATE apps SET name = repeat('é', 5000) WHERE id = {app}",
        changed({"name": "An app"}, {"name": "é" * 300}, "renamed")),
    "sealed": (
        "UPDATE apps SET encrypted_secret_key = 'ab' WHERE id = {app}",
        changed({"encrypted_secret_key": HIDDEN},
                {"encrypted_secret_key": HIDDEN}, "rotated")),
    "goliauth's format": (
        "UPDATE apps SET master_key_id = NULL WHERE id = {app}",
        changed({"master_key_id": KEY_ID}, {"master_key_id": None})),
    "a former secret": (
        "UPDATE apps SET previous_encrypted_secret_key = 'ab'"
        " WHERE id = {app}",
        changed({"previous_encrypted_secret_key": None},
                {"previous_encrypted_secret_key": HIDDEN})),
    "when it was made": (
        "UPDATE apps SET created_at = '2001-01-01 01:00+01' WHERE id = {app}",
        changed({"created_at": A_TIME},
                {"created_at": "2001-01-01T00:00:00.000000Z"})),
    "in another zone": (
        "SET timezone = 'Asia/Kathmandu'; UPDATE apps SET expires_at ="
        " '2040-01-31 00:00:00.25Z' WHERE id = {app}",
        changed({"expires_at": None},
                {"expires_at": "2040-01-31T00:00:00.250000Z"},
                "expiry_changed")),
    "deleted": ("DELETE FROM apps WHERE id = {app}",
                [("deleted", GONE, None)]),
    "uses": ("UPDATE invites SET uses = 1 WHERE id = {invite}",
             changed({"uses": 0}, {"uses": 1}, "invite_changed")),
    "as if it were used": (
        "BEGIN; SET LOCAL postern.actor = 'invite:{invite}';"
        " UPDATE invites SET uses = 3 WHERE id = {invite}; COMMIT",
        changed({"uses": 0}, {"uses": 3}, "invite_changed")),
    "as if another were used": (
        "BEGIN; SET LOCAL postern.actor = 'invite:0';"
        " UPDATE invites SET uses = 1 WHERE id = {invite}; COMMIT",
        changed({"uses": 0}, {"uses": 1}, "invite_changed")),
    "token": (
        "UPDATE invites SET token_hash = 'x{invite}' WHERE id = {invite}",
        changed({"token_hash": HIDDEN}, {"token_hash": HIDDEN},
                "invite_changed")),
    "revoked and renamed": (
        "UPDATE invites SET revoked_at = '2040-01-01Z', label = 'y'"
        " WHERE id = {invite}", [
            (event, {"label": "x", "revoked_at": None},
             {"label": "y", "revoked_at": "2040-01-01T00:00:00.000000Z"})
            for event in ("invite_revoked", "invite_changed")]),
    "good again": (
        "UPDATE invites SET revoked_at = now() WHERE id = {invite};"
        " UPDATE invites SET revoked_at = NULL WHERE id = {invite}",
        changed({"revoked_at": None}, {"revoked_at": A_TIME},
                "invite_revoked")
        + changed({"revoked_at": A_TIME}, {"revoked_at": None},
                  "invite_changed")),
    "no change": ("UPDATE invites SET uses = uses WHERE id = {invite}", []),
    "an invite's end": (
        "DELETE FROM invites WHERE id = {invite}",
        [("invite_deleted", {"label": "x", "uses": 0, "uses_max": 5,
                             "created_at": A_TIME}, None)]),
}


@pytest.mark.parametrize("name", HAND)
def test_by_hand(s, app, name):
    text, events = HAND[name]
    (invite,), = s.sql(
        "INSERT INTO invites (label, token_hash, uses_max) VALUES ('x', %s, 5)"
        " RETURNING id", app.public)
    since = last_id(s)
    c = s.pg.connect(s.database)
    c.cursor().execute(text.format(app=app.id, invite=invite))
    c.close()
    got = rows(s, since)
    assert [(r["event"], r["old_values"], r["new_values"]) for r in got] \
        == events
    for r in got:
        assert (r["login"], r["request_id"], r["remote"]) == (
            "owner", None, None)
        assert r["invite_id"] == (
            invite if r["event"].startswith("invite_") else None)
        assert r["actor"] == "db:owner" or "BEGIN" in text


def test_all_at_once(make):
    """TRUNCATE goes around no trail."""
    s = make(way="idle")
    s.sql("INSERT INTO apps (name, public_key, encrypted_secret_key) VALUES"
          " ('a', 'aa', 'ss1'), ('b', 'bb', 'ss2')")
    s.sql("INSERT INTO invites (label, token_hash, uses_max)"
          " VALUES ('l', 'hh', 1)")
    since = last_id(s)
    s.sql("TRUNCATE apps CASCADE")
    s.sql("TRUNCATE invites")
    assert [(r["event"], r["actor"], r["old_values"].get("name"))
            for r in rows(s, since)] == [
        ("deleted", "db:owner", "a"), ("deleted", "db:owner", "b"),
        ("invite_deleted", "db:owner", None)]


def test_the_server_itself(s, app):
    """What it takes away after a deletion, and the uses that it writes down,
    are nobody's events."""
    for user in ("a", "b"):
        r = s.request("PUT", f"/v1/users/{user}", app.auth(), {"x": 1})
        assert r.status in (200, 201)
    since = last_id(s)
    s.request("DELETE", "/v1/app", app.auth())
    wait_until("nothing is left", lambda: s.sql(
        "SELECT id FROM apps WHERE id = %s", app.id) == [])
    assert [r["event"] for r in rows(s, since)] == ["deleted"]


def test_resealed(s, app):
    master = secrets.token_hex(32)
    since = last_id(s)
    s.tool("reseal", check=False, env={
        "POSTERN_MASTER_KEY": master, "POSTERN_MASTER_KEYS_OLD": s.master_key})
    got = [r for r in rows(s, since) if r["event"] == "resealed"]
    assert got and {r["actor"] for r in got} == {got[0]["actor"]}
    for r in got:
        assert (r["actor"], r["login"]) == (CLI, "owner")
        assert r["old_values"]["master_key_id"] != \
            r["new_values"]["master_key_id"]
        assert r["new_values"]["encrypted_secret_key"] == HIDDEN
    s.tool("reseal", check=False, env={"POSTERN_MASTER_KEYS_OLD": master})


# -- what nobody can write there

BOUNDS = {
    "request_id": (["a", "A.b:c_d-9", "x" * 128],
                   ["", "x" * 129, "a b", "a\nb", "\n", "é", 'a"', "a/b"]),
    "remote": (["192.0.2.1", "::1", "fe80::1%eth0", "[::1]:80", "unix:"],
               ["", "x" * 65, "a b", "1.2.3.4\n", "\x7f", "é"]),
}


@pytest.mark.parametrize("column", BOUNDS)
def test_bounds(s, app, column):
    """What a session says of itself is what it may be, or isn't there."""
    good, bad = BOUNDS[column]
    c = s.pg.connect(s.database, "server")
    c.autocommit = False
    for value in good + bad:
        since = last_id(s)
        cursor = c.cursor()
        cursor.execute("SELECT set_config('postern.actor', %s, true),"
                       f" set_config('postern.{column}', %s, true)",
                       ("z" * 300, value))
        cursor.execute("UPDATE apps SET name = 'x' WHERE id = %s", (app.id,))
        c.commit()
        got = rows(s, since)[0]
        assert got[column] == (value if value in good else None), repr(value)
        # An actor is what the login says; the login is what it is.
        assert (got["actor"], got["login"]) == ("z" * 200, "server")
    c.close()


@pytest.mark.parametrize("value", [
    "unix:", "", "198.51.100.1 x", "a\tb", "\xff\xfe", "x" * 500, "a,b"])
def test_addresses_that_are_none(s, value):
    """Whatever the web server hands on, the change isn't held up by it."""
    got = s.fcgi([
        ("REQUEST_METHOD", "POST"), ("REQUEST_URI", "/v1/apps"),
        ("CONTENT_TYPE", "application/json"), ("CONTENT_LENGTH", "12"),
        ("REMOTE_ADDR", value), ("HTTP_X_REQUEST_ID", "bad id\n"),
        ("HTTP_AUTHORIZATION", "Bearer " + REGISTRATION)], b'{"name":"x"}')
    assert got is not None and got.status == 201, s.log()[-3000:]
    s.registered.append(got.json()["secret_key"])
    row = rows(s, 0)[-1]
    assert row["remote"] == (value if value == "unix:" else None)
    assert re.fullmatch("[0-9a-f]{32}", row["request_id"])


FORGERIES = [
    "INSERT INTO app_events (app_id, public_key, event, actor)"
    " VALUES (1, 'x', 'x', 'admin')",
    "UPDATE app_events SET remote = '192.0.2.1'",
    "DELETE FROM app_events",
    "SET postern.event = 'pruned'; DELETE FROM app_events",
    "SELECT postern_audit_write('public', 1, '{x}', NULL, '{created}', NULL,"
    " NULL)",
    "SELECT postern_audit_values('{}', '{}')",
    "CREATE TEMP TABLE invites (LIKE invites); CREATE TRIGGER t AFTER INSERT"
    " ON pg_temp.invites FOR EACH ROW EXECUTE FUNCTION"
    " public.postern_invites_audit()",
    "CREATE TEMP TABLE apps (LIKE apps INCLUDING DEFAULTS); CREATE TRIGGER t"
    " AFTER INSERT ON pg_temp.apps FOR EACH ROW EXECUTE FUNCTION"
    " public.postern_apps_audit(); INSERT INTO pg_temp.apps (id, name,"
    " public_key, encrypted_secret_key) VALUES (1, 'x', 'x', 'x')",
    "CREATE TRIGGER t AFTER INSERT ON invites FOR EACH ROW"
    " EXECUTE FUNCTION postern_invites_audit()",
    "INSERT INTO invites (token_hash, uses_max) VALUES ('x', 1)",
    "DELETE FROM invites", "TRUNCATE invites", "TRUNCATE apps",
]


@pytest.mark.parametrize("login", ["server", "passerby"])
@pytest.mark.parametrize("text", FORGERIES)
def test_no_login_forges(s, login, text):
    make_passerby(s)
    since = last_id(s)
    c = s.pg.connect(s.database, login)
    with pytest.raises(DENIED):
        c.cursor().execute(text)
    c.close()
    assert rows(s, since) == []


def make_passerby(s):
    if s.sql("SELECT 1 FROM pg_roles WHERE rolname = 'passerby'") == []:
        s.sql("CREATE ROLE passerby LOGIN")


def test_a_secret_that_nobody_opened(s, app):
    make_passerby(s)
    since = last_id(s)
    c = s.pg.connect(s.database, "passerby")
    with pytest.raises(DENIED):
        c.cursor().execute("SELECT postern_note_opened(%s)", (app.public,))
    c.close()
    assert s.sql("SELECT postern_note_opened('ab')") == [(False,)]
    assert rows(s, since) == []


@pytest.mark.parametrize("table,columns", [("apps", "(LIKE apps)"),
                                           ("invites", "(LIKE invites)"),
                                           ("others", "(id bigint)")])
def test_for_its_own_table_alone(s, table, columns):
    """Not even where it has the name."""
    for function in ("postern_apps_audit", "postern_invites_audit"):
        since = last_id(s)
        c = s.pg.connect(s.database)
        cursor = c.cursor()
        cursor.execute(f"CREATE TEMP TABLE {table} {columns}")
        for kind in ("AFTER INSERT", "BEFORE TRUNCATE"):
            each = "STATEMENT" if "TRUNCATE" in kind else "ROW"
            cursor.execute(
                f"CREATE TRIGGER t{each} {kind} ON pg_temp.{table} FOR EACH"
                f" {each} EXECUTE FUNCTION public.{function}()")
        with pytest.raises(DENIED):
            cursor.execute(
                f"INSERT INTO pg_temp.{table} SELECT"
                f" (jsonb_populate_record(NULL::pg_temp.{table},"
                ' \'{"id": 1, "name": "x", "public_key": "x",'
                ' "encrypted_secret_key": "x", "label": "x", "uses": 0,'
                ' "token_hash": "x", "uses_max": 1, "created_at": "2001-01-01",'
                ' "updated_at": "2001-01-01", "keys_as_found": false}\')).*')
        with pytest.raises(DENIED):
            cursor.execute(f"TRUNCATE pg_temp.{table}")
        c.close()
        assert rows(s, since) == []


def test_nothing_secret(s):
    """Behind all that was done above: no key, hash or sealed byte is there."""
    text = "\n".join(t for t, in s.sql("SELECT e::text FROM app_events AS e"))
    values = "\n".join(
        t for t, in s.sql("SELECT concat(old_values, new_values)"
                          " FROM app_events"))
    for secret in s.registered + [ADMIN, REGISTRATION, s.master_key]:
        assert secret not in text and sha256(secret) not in text
    for sealed, previous, public in s.sql(
            "SELECT encrypted_secret_key, previous_encrypted_secret_key,"
            " public_key FROM apps WHERE length(encrypted_secret_key) > 8"):
        assert sealed not in text
        assert previous is None or len(previous) < 8 or previous not in text
        assert public not in values
    for token_hash, in s.sql("SELECT token_hash FROM invites"):
        assert token_hash not in values


# -- from before

def test_rows_from_before(s, app):
    s.sql("INSERT INTO app_events (app_id, public_key, event, actor, login)"
          " VALUES (%s, %s, 'renamed', 'admin', NULL)", app.id, app.public)
    event = s.get(f"/v1/apps/{app.public}/events", AUTH).json()["events"][0]
    assert {k: v for k, v in event.items() if v is not None} == {
        "id": event["id"], "app_id": app.id, "public_key": app.public,
        "event": "renamed", "actor": "admin", "at": A_TIME}
    assert list(event)[6:] == ["invite_id", "login", "request_id", "remote",
                               "old", "new"]


# -- how long it is kept

DAYS = {"0": 0, "1": 0, "36500": 0, "00": 0, "36501": 2, "-1": 2, "": 2,
        "1.5": 2, "1e3": 2, "x": 2, " 1": 2, "99999999999999999999": 2}


def old_rows(s, n, days):
    s.sql("INSERT INTO app_events (app_id, public_key, event, actor, at)"
          " SELECT 10 ^ 9, 'old', 'renamed', 'admin',"
          " now() - make_interval(days => %s, hours => 1)"
          " FROM generate_series(1, %s)", days, n)


def count(s, event="renamed"):
    return s.sql("SELECT count(*) FROM app_events WHERE app_id = 10 ^ 9"
                 " AND event = %s", event)[0][0]


@pytest.fixture(scope="module")
def kept(pg):
    """A database with a trail."""
    with Stack(pg, way="idle") as stack:
        yield stack


@pytest.mark.parametrize("days", DAYS)
def test_days(kept, days):
    old_rows(kept, 1, 30000)
    before = count(kept)
    for got, wrong in (
            (kept.tool("audit", "prune", "--days", days, check=False), 2),
            (kept.tool("audit", "prune", env={"POSTERN_AUDIT_DAYS": days},
                       check=False), 1)):
        # Without a value a setting is what it is by default.
        rc = 0 if wrong == 1 and days == "" else DAYS[days] and wrong
        assert got.returncode == rc, got
        assert rc == 0 or "days" in got.stderr.lower()
    assert count(kept) == (0 if days == "1" else before)


def test_for_ever(kept):
    """By default, and by either 0; what is asked for goes before the
    setting."""
    old_rows(kept, 1, 30000)
    before = count(kept)
    for args, env in (((), {}), (("--days", "0"), {}),
                      (("--days", "0"), {"POSTERN_AUDIT_DAYS": "1"}),
                      (("--days", "36500"), {"POSTERN_AUDIT_DAYS": "1"})):
        got = kept.tool("audit", "prune", *args, env=env)
        assert "for ever" in got.stdout or "pruned 0 " in got.stdout
        assert (count(kept), count(kept, "pruned")) == (before, 0)
    out = json.loads(kept.tool("audit", "prune", "--json").stdout)
    assert out == {"days": 0, "pruned": 0, "before": None}
    kept.tool("audit", "prune", env={"POSTERN_AUDIT_DAYS": "1"})
    assert count(kept) == 0


def test_what_goes(kept):
    """What is older, whatever its number is; and that it is gone is there."""
    old_rows(kept, 3, 11)
    old_rows(kept, 2, 8)
    old_rows(kept, 4, 12)
    since = last_id(kept)
    got = kept.tool("audit", "prune", "--json",
                    env={"POSTERN_AUDIT_DAYS": "10"})
    out = json.loads(got.stdout)
    assert out == {"days": 10, "pruned": 7, "before": A_TIME}
    assert count(kept) == 2
    assert rows(kept, since) == [dict(zip(COLUMNS, (
        "pruned", CLI, "owner", None, None, None, None,
        {"before": out["before"]})))]
    # There is nothing more: that is no event.
    got = kept.tool("audit", "prune", "--days", "10")
    assert got.stdout == f"pruned 0 events from before {got.stdout.split()[-1]}\n"
    assert len(rows(kept, since)) == 1
    # The newest number stays, by which seals are counted.
    assert last_id(kept) == since + 1


def test_in_pieces(kept):
    """One that is stopped has done what it has done."""
    kept.tool("audit", "prune", "--days", "1")
    since = last_id(kept)
    old_rows(kept, 2500, 20)
    c = kept.pg.connect(kept.database)
    c.autocommit = False
    c.cursor().execute("SELECT FROM app_events WHERE id = %s FOR UPDATE",
                       (since + 1500,))
    got = kept.tool("audit", "prune", "--days", "15", check=False,
                    env={"POSTERN_QUERY_TIMEOUT": "1"})
    c.rollback()
    c.close()
    assert got.returncode == 1
    assert 0 < count(kept) < 2500
    left = count(kept)
    assert [r["event"] for r in rows(kept, since + 2500)] == ["pruned"]
    out = json.loads(kept.tool(
        "audit", "prune", "--days", "15", "--json").stdout)
    assert (out["pruned"], count(kept)) == (left, 0)


def test_while_others_write(s):
    """Nobody waits, nothing new goes, and there is an end to it."""
    old_rows(s, 5000, 20)
    since = last_id(s)
    made, end = [], threading.Event()

    def write():
        while not end.is_set():
            made.append(s.register().public)

    threads = [threading.Thread(target=write) for _ in range(2)]
    for t in threads:
        t.start()
    try:
        wait_until("some are there", lambda: len(made) > 2)
        got = [json.loads(s.tool("audit", "prune", "--days", "15",
                                 "--json").stdout)["pruned"]
               for _ in range(2)]
    finally:
        end.set()
        for t in threads:
            t.join()
    assert (got, count(s)) == ([5000, 0], 0)
    created = s.sql("SELECT public_key FROM app_events WHERE id > %s"
                    " AND event = 'created'", since)
    assert sorted(k for k, in created) == sorted(made)


def test_by_the_owner_alone(s):
    old_rows(s, 3, 20)
    got = s.tool("audit", "prune", "--days", "15", check=False,
                 env={"POSTERN_DATABASE_URL": s.pg.url(s.database)})
    assert got.returncode == 1 and "owns the tables" in got.stderr
    assert count(s) == 3
    # Nor by hand, but as the tool does it.
    with pytest.raises(DENIED):
        s.sql("DELETE FROM app_events WHERE app_id = 10 ^ 9")
    s.tool("audit", "prune", "--days", "15")
    assert count(s) == 0


def test_an_app_without_a_trail(s, app):
    """It is there, its trail is not; of one that is gone nothing is left."""
    gone = s.register()
    s.request("DELETE", "/v1/app", gone.auth())
    s.sql("INSERT INTO app_events (app_id, public_key, event, actor, at)"
          " SELECT %s, 'its former key', 'changed', 'x', now()", app.id)
    c = s.pg.connect(s.database)
    c.cursor().execute("BEGIN; SET LOCAL postern.event = 'pruned'")
    c.cursor().execute("DELETE FROM app_events WHERE public_key IN (%s, %s)",
                       (app.public, gone.public))
    c.cursor().execute("COMMIT")
    c.close()
    got = s.get(f"/v1/apps/{app.public}/events", AUTH).json()["events"]
    assert [e["public_key"] for e in got] == ["its former key"]
    assert s.get(f"/v1/apps/{gone.public}/events", AUTH).status == 404
    assert s.get(f"/v1/apps/{'ab' * 32}/events", AUTH).status == 404


def test_an_app_without_any(s):
    """As goliauth's are, until something is done."""
    key = "cd" * 32
    s.sql("INSERT INTO apps (name, public_key, encrypted_secret_key)"
          " VALUES ('g', %s, 'x')", key)
    c = s.pg.connect(s.database)
    c.cursor().execute("BEGIN; SET LOCAL postern.event = 'pruned'")
    c.cursor().execute("DELETE FROM app_events WHERE public_key = %s", (key,))
    c.cursor().execute("COMMIT")
    c.close()
    r = s.get(f"/v1/apps/{key}/events", AUTH)
    assert (r.status, r.json()) == (200, {"events": [], "next": None})

"""Times as someone may have put them into the tables by hand: without an end,
beyond what RFC 3339 can say, before our era. What Postgres says is there
decides, and no reader of it says what isn't so."""
import json
import re

import psycopg2
import pytest

from lib.stack import Stack
from lib.tokens import ADMIN

AUTH = {"Authorization": "Bearer " + ADMIN}
RFC3339 = re.compile(r"(?!0000)\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")

INFINITE = ("infinity", "-infinity")
PAST = ("-infinity", "4000-01-01 BC", "0044-03-15 BC", "0001-01-01")
FUTURE = ("10000-01-01", "294276-12-31 23:59:59.999999")
FIRST = "0001-01-01T00:00:00.000000Z"
LAST = "9999-12-31T23:59:59.999999Z"

CHECKS = {
    "apps": ("created_at", "updated_at", "disabled_at", "expires_at",
             "previous_valid_until", "rotated_at", "deleted_at"),
    "app_uses": ("last_used_at", "previous_last_used_at"),
    "users": ("created_at", "updated_at"),
    "invites": ("created_at", "expires_at", "revoked_at"),
    "used_jtis": ("expires_at",),
    "app_events": ("at",),
}


def unchecked(s):
    """As a table is whose owner took the checks away."""
    for table in CHECKS:
        s.sql(f"ALTER TABLE {table}"
              f" DROP CONSTRAINT IF EXISTS {table}_finite_times")


@pytest.fixture(scope="module")
def loose(pg):
    with Stack(pg) as s:
        unchecked(s)
        yield s


def put(s, app, columns, value):
    for column in columns.split():
        s.sql(f"UPDATE apps SET {column} = %s WHERE id = %s", value, app.id)


def shown(s, app):
    """The app as each reader has it; all agree, and their times are times."""
    one = s.get("/v1/apps/" + app.public, AUTH).json()
    listed = s.get("/v1/apps?search=" + app.public, AUTH).json()["apps"]
    tool = json.loads(s.tool("app", "get", app.public, "--json").stdout)
    found = json.loads(s.tool("app", "list", "--search", app.public,
                              "--json").stdout)["apps"]
    assert one == listed[0] == tool == found[0]
    for name, value in one.items():
        if name.endswith(("_at", "_until")) and value is not None:
            assert RFC3339.fullmatch(value), (name, value)
    assert one["created_at"] and one["updated_at"]
    return one


def state(s, app):
    text = s.tool("app", "list", "--search", app.public).stdout
    line, = (x for x in text.splitlines() if app.public in x)
    return line.split()[1]


def nearest(value):
    """What there are words for."""
    return FIRST if value in PAST else LAST


def gate(s, app, **kw):
    return s.get("/v1/auth", app.auth(**kw)).status


# What each value of each column means to whom a token is let in.
VERDICTS = [
    *(("disabled_at", v, 401, "disabled") for v in ("infinity", *PAST, *FUTURE)),
    *(("expires_at", v, 401, "expired") for v in PAST),
    *(("expires_at", v, 200, "active") for v in ("infinity", *FUTURE)),
    *(("created_at updated_at rotated_at", v, 200, "active")
      for v in (*INFINITE, *PAST[1:], *FUTURE)),
]


@pytest.mark.parametrize("column,value,status,word", VERDICTS)
def test_let_in(loose, column, value, status, word):
    s = loose
    app = s.register()
    s.becomes(app, 200)
    put(s, app, column, value)
    s.becomes(app, status)
    assert gate(s, app) == (204 if status == 200 else 401)
    assert state(s, app) == word
    a = shown(s, app)
    if column in a:
        never = (column, value) == ("expires_at", "infinity")
        assert a[column] == (None if never else nearest(value))
    if word == "disabled":
        # What every key has been for ends, and comes back.
        token = s.tool("token", "--app", app.public, check=False)
        assert (token.returncode, "is disabled" in token.stderr) == (1, True)
        for action, now in (("disable", 401), ("enable", 200)):
            r = s.request("POST", f"/v1/apps/{app.public}/{action}", AUTH)
            assert r.status == 200
            s.becomes(app, now)
    if status == 200:
        assert RFC3339.fullmatch(
            s.get("/v1/whoami", app.auth()).json()["app"]["created_at"])


def test_counts_are_of_what_is_let_in(make):
    s = make()
    unchecked(s)
    for column, value, _, _ in VERDICTS:
        put(s, s.register(), column, value)
    text = s.get("/metrics", AUTH).body.decode()
    counts = {k: int(v) for k, v in re.findall(
        r'^postern_apps\{state="(\w+)"\} (\d+)', text, re.M)}
    words = [v[3] for v in VERDICTS]
    assert counts == {w: words.count(w) for w in set(words)}


@pytest.mark.parametrize("value,status", [
    *((v, 401) for v in (*PAST, "infinity")), *((v, 200) for v in FUTURE)])
def test_overlap(loose, value, status):
    """No overlap is without an end: one that was made so is over."""
    s = loose
    app = s.register()
    old = app.secret
    r = s.request("POST", "/v1/app/rotate", app.auth(), {"grace_seconds": 60})
    app.secret = r.json()["secret_key"]
    s.registered.append(app.secret)
    s.becomes(app, 200, old)
    put(s, app, "previous_valid_until", value)
    s.becomes(app, status, old)
    assert gate(s, app, secret=old) == (204 if status == 200 else 401)
    s.becomes(app, 200)
    a = shown(s, app)
    assert a["previous_valid_until"] == (
        None if value == "infinity" else nearest(value))


@pytest.mark.parametrize("value", ("infinity", *PAST, *FUTURE))
def test_other_tables(loose, value):
    """Documents, uses, invites and the trail are read and written on."""
    s = loose
    app = s.register()
    path = "/v1/users/u"
    assert s.request("PUT", path, app.auth(), {"a": 1}).status == 201
    s.sql("UPDATE users SET created_at = %s, updated_at = %s"
          " WHERE app_id = %s", value, value, app.id)
    r = s.get(path, app.auth())
    assert r.status == 200 and r["ETag"]
    user, = s.get("/v1/users", app.auth()).json()["users"]
    assert user["etag"] == r["ETag"]
    assert all(RFC3339.fullmatch(user[k]) for k in ("created_at", "updated_at"))
    for method in ("PUT", "PATCH"):
        r = s.request(method, path, {**app.auth(), "If-Match": r["ETag"]},
                      {"a": 2})
        assert r.status == 200
    s.sql("INSERT INTO app_uses VALUES (%s, %s, %s)", app.id, value, value)
    shown(s, app)
    s.becomes(app, 200)
    # The trail's events.
    s.sql("INSERT INTO app_events (app_id, public_key, event, actor, at)"
          " VALUES (%s, %s, 'changed', 'x', %s)", app.id, app.public, value)
    got = s.get(f"/v1/apps/{app.public}/events", AUTH).json()["events"]
    assert len(got) == 2 and all(RFC3339.fullmatch(e["at"]) for e in got)
    tool = json.loads(s.tool("app", "events", app.public, "--json").stdout)
    assert tool["events"][::-1] == got
    s.tool("app", "events", app.public)


@pytest.mark.parametrize("column", CHECKS["invites"])
@pytest.mark.parametrize("value", ("infinity", *PAST, *FUTURE))
def test_invites(loose, column, value):
    s = loose
    made = json.loads(s.tool("invite", "--json").stdout)
    s.sql(f"UPDATE invites SET {column} = %s WHERE id = %s", value, made["id"])
    dead = column == "revoked_at" or (column == "expires_at" and value in PAST)
    listed = [i for i in json.loads(s.tool("invite", "list", "--json").stdout)
              ["invites"] if i["id"] == made["id"]][0]
    assert listed["state"] == {"revoked_at": "revoked"}.get(
        column, "expired" if dead else "good")
    assert all(v is None or RFC3339.fullmatch(v)
               for k, v in listed.items() if k.endswith("_at"))
    assert (listed["expires_at"] is None) == (
        (column, value) == ("expires_at", "infinity"))
    assert (listed["revoked_at"] is None) == (column != "revoked_at")
    s.tool("invite", "list")
    r = s.request("POST", "/v1/apps",
                  {"Authorization": "Bearer " + made["token"]}, {"name": "x"})
    assert r.status == (401 if dead else 201)
    if not dead:
        s.registered.append(r.json()["secret_key"])


@pytest.mark.parametrize("text", [
    "infinity", "-infinity", "10000-01-01T00:00:00Z", "0000-01-01T00:00:00Z",
    # The hours of a zone lead beyond both ends of what there are words for.
    "9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00+12:00"])
def test_not_by_the_api(site, app, text):
    r = site.request("PATCH", "/v1/apps/" + app.public, AUTH,
                     {"expires_at": text})
    # What has words may be taken, and then comes back in them.
    assert r.status == 400 or RFC3339.fullmatch(r.json()["expires_at"]), r


# -- the tables refuse them

@pytest.mark.parametrize("value", INFINITE)
def test_refused_by_the_tables(site, app, value):
    seen = 0
    site.sql("INSERT INTO users (app_id, user_id, information)"
             " VALUES (%s, 'u', '{}') ON CONFLICT DO NOTHING", app.id)
    rows = {
        "apps": ("name, public_key, encrypted_secret_key",
                 "'x', md5(random()::text), 'x'"),
        "app_uses": ("app_id", str(app.id)),
        "users": ("app_id, user_id, information", f"{app.id}, 'v', '{{}}'"),
        "invites": ("token_hash, uses_max", "md5(random()::text), 1"),
        "used_jtis": ("app_id, jti_hash", "1, md5(random()::text)"),
        "app_events": ("app_id, public_key, event, actor", "1, 'x', 'x', 'x'"),
    }
    for table, columns in CHECKS.items():
        for column in columns:
            names, values = rows[table]
            with pytest.raises(psycopg2.errors.CheckViolation) as e:
                site.sql(f"INSERT INTO {table} ({names}, {column})"
                         f" VALUES ({values}, %s)", value)
            assert f"{table}_finite_times" in str(e.value)
            seen += 1
    # Every column of a time that there is: a new one needs a line above.
    assert site.sql(
        "SELECT count(*) FROM information_schema.columns"
        " WHERE table_schema = 'public' AND data_type LIKE 'timestamp%%'"
        " AND table_name <> 'postern_migrations'") == [(seen,)]


OLD = {
    "disabled_at": ("is not null", "is not null"),
    "expires_at": ("is null", "<= now()"),
    "previous_valid_until": ("<= now()", "<= now()"),
    "rotated_at": ("is not null", "is null"),
    "created_at": ("is not null", "is not null"),
    "updated_at": ("is not null", "is not null"),
}


def take_back(s):
    """The schema of 0.1.0, of whose rows none is checked; but with the column
    that this program can't serve without."""
    unchecked(s)
    s.sql("DELETE FROM postern_migrations WHERE version >= 9;"
          "ALTER TABLE postern_migrations DROP COLUMN serves_from")
    s.sql("DROP FUNCTION IF EXISTS postern_repair_times")


def test_old_rows_keep_their_meaning(make):
    """And are no hindrance to what is done with them next."""
    s = make()
    take_back(s)
    rows = []
    for column, (inf, minus) in OLD.items():
        for value, want in zip(INFINITE, (inf, minus)):
            rows.append((s.register(), column, want))
            put(s, rows[-1][0], column, value)
    key = rows[0][0].id
    s.sql("INSERT INTO users (app_id, user_id, information, created_at,"
          " updated_at) VALUES (%s, 'a', '{}', 'infinity', '-infinity'),"
          " (%s, 'b', '{}', '-infinity', '2020-01-01')", key, key)
    s.sql("INSERT INTO app_uses VALUES (%s, 'infinity', '-infinity')", key)
    s.sql("INSERT INTO invites (token_hash, uses_max, created_at, expires_at,"
          " revoked_at) VALUES ('a', 1, 'infinity', 'infinity', 'infinity'),"
          " ('b', 1, '-infinity', '-infinity', NULL)")
    s.sql("INSERT INTO used_jtis VALUES (1, 'a', 'infinity'),"
          " (1, 'b', '-infinity')")
    s.sql("INSERT INTO app_events (app_id, public_key, event, actor, at)"
          " VALUES (1, 'x', 'x', 'x', 'infinity')")
    assert "applied 011_checked_times" in s.tool("migrate").stdout
    for app, column, want in rows:
        assert s.sql(f"SELECT {column} {want} AND isfinite(coalesce({column},"
                     " now())) FROM apps WHERE id = %s", app.id) == [(True,)], \
            (column, want)
    assert s.sql("SELECT DISTINCT isfinite(created_at), isfinite(updated_at)"
                 " FROM users") == [(True, True)]
    assert s.sql("SELECT last_used_at <= now(), previous_last_used_at"
                 " FROM app_uses") == [(True, None)]
    assert s.sql("SELECT token_hash, expires_at <= now(), revoked_at <= now()"
                 " FROM invites ORDER BY 1") == [
        ("a", None, True), ("b", True, None)]
    assert s.sql("SELECT expires_at > now() FROM used_jtis ORDER BY jti_hash"
                 ) == [(True,), (False,)]
    # All but the trail's, which is never changed, are checked.
    assert s.sql("SELECT conrelid::regclass::text FROM pg_constraint"
                 " WHERE conname LIKE '%%_finite_times' AND NOT convalidated"
                 ) == [("app_events",)]
    for app, _, _ in rows:
        for action in ("disable", "enable", "rotate"):
            r = s.request("POST", f"/v1/apps/{app.public}/{action}", AUTH)
            assert r.status == 200, r
            if action == "rotate":
                s.registered.append(r.json()["secret_key"])


def test_goliauth_goes_on_inserting(make):
    """With times of its own; Go's zero time is one."""
    s = make()
    for at in ("2019-02-03 04:05:06", "0001-01-01 00:00:00+00"):
        s.sql("INSERT INTO apps (name, public_key, encrypted_secret_key,"
              " created_at, updated_at) VALUES ('g', md5(random()::text),"
              " 'x', %s, %s)", at, at)
    listed = s.get("/v1/apps", AUTH).json()["apps"]
    assert [a["created_at"] for a in listed][-1] == FIRST

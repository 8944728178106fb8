"""Deleting an app, whatever it has: refused at once and unseen by every reader,
its documents taken away in pieces, its row after the last of them."""
import json
import os
import re
import signal
import threading

import psycopg2
import pytest

from lib.process import REPO, wait_until
from lib.tokens import ADMIN
from others import Others

AUTH = {"Authorization": "Bearer " + ADMIN}
MANY = 30000

# Documents that take a while, as on a disk: so many exceed a query's time.
SLOW = """
CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM sum(i) FROM generate_series(1, 500) AS i;
    RETURN OLD;
END $$;
CREATE TRIGGER slowly BEFORE DELETE ON users
    FOR EACH ROW EXECUTE FUNCTION slowly();
"""

# Rows and bytes of each piece.
WATCH = """
CREATE TABLE pieces (n bigint NOT NULL, size bigint);
CREATE FUNCTION watch() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    INSERT INTO pieces SELECT count(*), sum(octet_length(information::text))
        FROM old HAVING count(*) > 0;
    RETURN NULL;
END $$;
CREATE TRIGGER watch AFTER DELETE ON users REFERENCING OLD TABLE AS old
    FOR EACH STATEMENT EXECUTE FUNCTION watch();
"""


def fill(s, app, n):
    s.sql("INSERT INTO users (app_id, user_id, information)"
          " SELECT %s, 'u' || i, '{\"a\": 1}' FROM generate_series(1, %s) AS i",
          app.id, n)


def documents(s, app):
    return s.sql("SELECT count(*) FROM users WHERE app_id = %s", app.id)[0][0]


def row(s, app):
    return s.sql("SELECT public_key, deleted_at IS NOT NULL FROM apps"
                 " WHERE id = %s", app.id)


def swept(s, app):
    wait_until("the last document gone", lambda: not row(s, app), 120)
    assert documents(s, app) == 0


def ends(s, app):
    """The trail's words of its end, with who did it."""
    return s.sql("SELECT event, actor, public_key FROM app_events"
                 " WHERE app_id = %s AND event <> 'created' ORDER BY id", app.id)


def by_admin(s, app):
    return s.request("DELETE", "/v1/apps/" + app.public, AUTH).status


def by_itself(s, app):
    return s.request("DELETE", "/v1/app", app.auth()).status


def by_tool(s, app):
    r = s.tool("app", "delete", app.public, check=False)
    return 204 if r.returncode == 0 else 404


WAYS = {by_admin: "admin", by_itself: "app", by_tool: "cli:"}


class Held:
    """A document is in somebody's hands, so that the row has to stay."""

    def __init__(self, s, app):
        self.s, self.app = s, app

    def __enter__(self):
        self.c = self.s.pg.connect(self.s.database)
        self.c.autocommit = False
        self.c.cursor().execute("SELECT FROM users WHERE app_id = %s"
                                " AND user_id = 'u1' FOR UPDATE",
                                (self.app.id,))
        return self

    def __exit__(self, *exc):
        self.c.close()


def wait_held(s, app):
    wait_until("all but one", lambda: documents(s, app) == 1)
    assert row(s, app) == [(f"deleted-{app.id}", True)]


@pytest.mark.parametrize("many", [
    MANY, pytest.param(10 * MANY, marks=pytest.mark.long)])
@pytest.mark.parametrize("way", WAYS, ids=lambda w: w.__name__)
def test_many_documents(make, way, many):
    s = make(env={"POSTERN_QUERY_TIMEOUT": "1"})
    s.sql(WATCH if many > MANY else SLOW + WATCH)  # the tool has 20 s here
    app = s.register()
    fill(s, app, many)
    s.warm(app)
    with Others(s, 400 * many // MANY) as others:
        if way is by_tool:
            assert way(s, app) == 204
        else:
            with Held(s, app):  # no answer can have waited for the last
                assert way(s, app) == 204
                assert documents(s, app) > 0
        s.becomes(app, 401)
        assert s.get("/v1/apps/" + app.public, AUTH).status == 404
        assert by_admin(s, app) == 404
        assert by_itself(s, app) == 401
        assert by_tool(s, app) == 404
        if way is by_tool:
            assert not row(s, app)
        swept(s, app)
    others.unharmed()
    (event, actor, key), = ends(s, app)
    assert (event, key) == ("deleted", app.public)
    assert actor.startswith(WAYS[way])
    assert max(n for n, _ in s.sql("SELECT * FROM pieces")) <= 1000
    assert not s.log_lines("sweep_failed")


@pytest.mark.parametrize("way", WAYS, ids=lambda w: w.__name__)
@pytest.mark.parametrize("n", [0, 1, 999])
def test_few_documents_go_at_once(site, way, n):
    app = site.register()
    fill(site, app, n)
    assert way(site, app) == 204
    assert not row(site, app) and documents(site, app) == 0
    assert [e[0] for e in ends(site, app)] == ["deleted"]
    site.becomes(app, 401)


@pytest.mark.parametrize("state", [
    "disabled_at = now()", "expires_at = now()", "expires_at = now() + '1 day'",
    "previous_encrypted_secret_key = encrypted_secret_key, "
    "previous_master_key_id = master_key_id, "
    "previous_valid_until = now() + '1 day'"])
@pytest.mark.parametrize("way", [by_admin, by_tool],
                         ids=lambda w: w.__name__)
def test_in_any_state(site, way, state):
    app = site.register()
    fill(site, app, 2)
    site.sql(f"UPDATE apps SET {state} WHERE id = %s", app.id)
    before = len(ends(site, app))
    with Held(site, app):
        assert way(site, app) == 204
        wait_held(site, app)
        assert site.sql(
            "SELECT encrypted_secret_key, master_key_id,"
            " previous_encrypted_secret_key, previous_master_key_id,"
            " previous_valid_until FROM apps WHERE id = %s", app.id) == [
            ("", None, None, None, None)]
        assert [e[0] for e in ends(site, app)[before:]] == ["deleted"]
        site.becomes(app, 401)
    # It is found again, by whoever looks.
    site.reload()
    swept(site, app)
    assert [e[0] for e in ends(site, app)[before:]] == ["deleted"]


def counts(s):
    text = s.get("/metrics", AUTH).body.decode()
    return dict(re.findall(r'^postern_apps\{state="(\w+)"\} (\d+)', text, re.M))


def tool_json(s, *args):
    return json.loads(s.tool(*args, "--json").stdout)


# Each reader's answer while a deleted app's row is still there is what it is
# without the row.
READERS = {
    "get": lambda s, k: s.get("/v1/apps/" + k, AUTH).status,
    "list": lambda s, k: s.get("/v1/apps", AUTH).json(),
    "page": lambda s, k: s.get("/v1/apps?limit=1", AUTH).json(),
    "search": lambda s, k: s.get("/v1/apps?search=Going", AUTH).json(),
    "search key": lambda s, k: s.get("/v1/apps?search=" + k, AUTH).json(),
    "search mark": lambda s, k: s.get("/v1/apps?search=deleted", AUTH).json(),
    "patch": lambda s, k: s.request("PATCH", "/v1/apps/" + k, AUTH,
                                    {"name": "x"}).status,
    "expire": lambda s, k: s.request("PATCH", "/v1/apps/" + k, AUTH,
                                     {"expires_at": None}).status,
    "rotate": lambda s, k: s.request(
        "POST", f"/v1/apps/{k}/rotate", AUTH).status,
    "disable": lambda s, k: s.request(
        "POST", f"/v1/apps/{k}/disable", AUTH).status,
    "enable": lambda s, k: s.request(
        "POST", f"/v1/apps/{k}/enable", AUTH).status,
    "delete": lambda s, k: s.request("DELETE", "/v1/apps/" + k, AUTH).status,
    "events": lambda s, k: s.get(f"/v1/apps/{k}/events", AUTH).json(),
    "metrics": lambda s, k: counts(s),
    "tool list": lambda s, k: tool_json(s, "app", "list"),
    "tool events": lambda s, k: tool_json(s, "app", "events", k),
    "reseal": lambda s, k: tool_json(s, "reseal", "--dry-run"),
    "check": lambda s, k: tool_json(s, "check"),
    **{"tool " + what: lambda s, k, what=what: (lambda r: (
        r.returncode, r.stderr))(s.tool(
            "app", *what.split(), k, check=False))
       for what in ("get", "rotate", "rotate --grace 0", "disable", "enable",
                    "expire --expires never", "end-previous", "delete")},
    "token": lambda s, k: s.tool("token", "--app", k, check=False).stderr,
}


def test_unseen(make):
    s = make()
    s.register()
    app = s.register("Going")
    fill(s, app, 2)
    with Held(s, app):
        assert by_admin(s, app) == 204
        wait_held(s, app)
        s.becomes(app, 401)
        seen = {name: ask(s, app.public) for name, ask in READERS.items()}
        assert s.get(f"/v1/apps/deleted-{app.id}", AUTH).status == 404
        assert s.get(f"/v1/apps/deleted-{app.id}/events", AUTH).status == 404
        assert row(s, app)
        # The number is its own until nothing is left.
        with pytest.raises(psycopg2.errors.UniqueViolation):
            s.sql("INSERT INTO apps (id, name, public_key,"
                  " encrypted_secret_key) VALUES (%s, 'x', 'x', 'x')", app.id)
    s.reload()
    swept(s, app)
    for name, ask in READERS.items():
        assert ask(s, app.public) == seen[name], name
    assert seen["get"] == 404 and len(seen["list"]["apps"]) == 1
    assert [e["event"] for e in seen["events"]["events"]] == [
        "deleted", "created"]
    assert seen["metrics"]["active"] == "1"


MARK = """UPDATE apps SET deleted_at = now(), public_key = 'deleted-' || id,
encrypted_secret_key = '' WHERE id = %s"""


@pytest.mark.parametrize("more", [{}, {"If-None-Match": "*"}])
def test_late_put(make, more):
    """By a worker that hasn't heard of it; also one that was there first in the
    queue behind the mark."""
    s = make(workers=1)
    app = s.register()
    s.warm(app)
    s.sql("ALTER TABLE apps DISABLE TRIGGER postern_apps_notify")
    got = []
    c = s.pg.connect(s.database)
    c.autocommit = False
    cur = c.cursor()
    cur.execute("INSERT INTO users VALUES (%s, 'held', '{}')", (app.id,))
    cur.execute(MARK, (app.id,))

    def put():
        got.append(s.request("PUT", "/v1/users/late", {**app.auth(), **more},
                             {"a": 1}).status)

    t = threading.Thread(target=put)
    t.start()
    wait_until("it waits", lambda: s.sql(
        "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        " AND datname = current_database()"))
    c.commit()
    c.close()
    t.join()
    put()
    assert got == [404, 404]
    assert s.sql("SELECT user_id FROM users WHERE app_id = %s"
                 " AND user_id <> 'held'", app.id) == []
    # Nor does a use that was noted before come back to it.
    s.reload()
    assert s.sql("SELECT 1 FROM app_uses WHERE app_id = %s", app.id) == []
    swept(s, app)


def test_put_conditions_still_hold(site, app):
    """The statement tells an app that is gone from a condition that isn't met."""
    path = "/v1/users/u"
    r = site.request("PUT", path, app.auth(), {"a": 1})
    assert r.status == 201
    for more, status in (({"If-None-Match": "*"}, 412),
                         ({"If-None-Match": r["ETag"]}, 412),
                         ({"If-None-Match": '"x"'}, 200),
                         ({"If-Match": "*"}, 200), ({"If-Match": '"x"'}, 412)):
        assert site.request("PUT", path, {**app.auth(), **more},
                            {"a": 2}).status == status, more


def test_resumed_by_another(make):
    s = make()
    s.sql(SLOW)
    app = s.register()
    fill(s, app, MANY)
    assert by_admin(s, app) == 204
    wait_until("begun", lambda: documents(s, app) < MANY)
    for pid in s.workers():
        os.kill(pid, signal.SIGKILL)
    assert documents(s, app) > 0
    swept(s, app)
    assert [e[0] for e in ends(s, app)] == ["deleted"]


def test_one_that_is_held_keeps_up_no_other(make):
    s = make(workers=1)
    held, other = s.register(), s.register()
    fill(s, held, 1500)
    fill(s, other, 1500)
    with Held(s, held):
        assert by_admin(s, held) == 204
        wait_held(s, held)
        assert by_admin(s, other) == 204
        swept(s, other)
        assert row(s, held)


def test_large_documents(make):
    """Pieces are bounded by size, too."""
    s = make()
    s.sql(WATCH)
    app = s.register()
    s.sql("ALTER TABLE users ALTER information SET STORAGE EXTERNAL")
    s.sql("INSERT INTO users (app_id, user_id, information) SELECT %s,"
          " 'u' || i, jsonb_build_object('a', repeat('x', 3000000))"
          " FROM generate_series(1, 12) AS i", app.id)
    assert by_admin(s, app) == 204
    swept(s, app)
    pieces = s.sql("SELECT * FROM pieces")
    assert sum(n for n, _ in pieces) == 12
    assert max(size for _, size in pieces) < 12 << 20


def test_by_psql(site):
    """Whoever deletes a row by hand has it deleted, with all, and told."""
    app = site.register()
    fill(site, app, 3)
    site.warm(app)
    site.sql("DELETE FROM apps WHERE id = %s", app.id)
    assert documents(site, app) == 0
    assert ends(site, app) == [("deleted", "db:owner", app.public)]
    site.becomes(app, 401)
    # One that was marked by hand is deleted as by the program.
    app = site.register()
    site.warm(app)
    site.sql("UPDATE apps SET deleted_at = now() WHERE id = %s", app.id)
    site.becomes(app, 401)
    assert by_admin(site, app) == 404
    assert ends(site, app) == [("deleted", "db:owner", app.public)]


def test_goliauth_goes_on(site):
    app = site.register()
    fill(site, app, 1)
    with Held(site, app):
        assert by_admin(site, app) == 204
        site.sql("INSERT INTO apps (name, public_key, encrypted_secret_key,"
                 " created_at, updated_at) VALUES ('g', md5(random()::text),"
                 " 'x', now(), now())")
    assert site.sql("DELETE FROM apps WHERE name = 'g' RETURNING"
                    " deleted_at") == [(None,)]


def test_migrated(make):
    """From a schema without the mark, with apps in it."""
    s = make(way="idle")
    s.sql("INSERT INTO apps (name, public_key, encrypted_secret_key)"
          " VALUES ('g', 'g', 'x')")
    s.sql("DELETE FROM postern_migrations WHERE version >= 13;"
          "ALTER TABLE apps DROP COLUMN deleted_at")
    audit = (REPO / "sql" / "007_resealed.sql").read_text()
    s.sql(audit.replace("%", "%%"))
    assert "applied 013_deleted_apps" in s.tool("migrate").stdout
    assert s.sql("SELECT name, deleted_at FROM apps") == [("g", None)]
    assert s.sql("UPDATE apps SET deleted_at = now() RETURNING id")
    assert [e[0] for e in s.sql("SELECT event FROM app_events ORDER BY id")
            ] == ["created", "deleted"]

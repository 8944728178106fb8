"""What Postgres refuses by a constraint is no other request's doing, unless it
is: a sequence behind its table, as after a restore or logical replication."""
import re

import pytest

from lib.tokens import ADMIN, REGISTRATION

TOKEN = {"Authorization": "Bearer " + ADMIN}


def register(stack):
    return stack.request("POST", "/v1/apps", {
        "Authorization": "Bearer " + REGISTRATION}, {"name": "A"})


def set_back(stack, table):
    stack.sql(f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), 1,"
              " false)")


def check(stack, user):
    r = stack.tool("check", check=False, env={
        "POSTERN_DATABASE_URL": stack.pg.url(stack.database, user)})
    line, = [x for x in r.stdout.splitlines() if "sequences" in x]
    return line, " ".join(r.stdout.split())


def mended(stack, text):
    """What check says to run; then all is well."""
    said = re.findall(r"SELECT setval\('[^']*', \(SELECT max\(id\) FROM \w+"
                      r"\)\);", text)
    assert said, text
    for line in said:
        stack.sql(line)
    assert check(stack, "owner")[0].startswith("ok")


def logged(stack, constraint):
    return [x for x in stack.log_lines("query_failed") if constraint in x]


@pytest.mark.parametrize("user", ["owner", "server"])
def test_sequence_of_apps(make, user):
    stack = make()
    stack.register(), stack.register()
    set_back(stack, "apps")
    assert check(stack, user)[0].startswith("FAIL")
    r = register(stack)
    assert (r.status, r["Retry-After"] is not None) == (503, True)
    assert logged(stack, "apps_pkey")
    mended(stack, check(stack, user)[1])
    assert register(stack).status == 201


@pytest.mark.parametrize("method,path,body", [
    ("POST", "/disable", None), ("PATCH", "", {"name": "B"}),
    ("POST", "/rotate", {"grace_seconds": 0}), ("DELETE", "", None)])
def test_sequence_of_the_trail(make, method, path, body):
    """Nothing is done without its line in the trail, and it isn't said that
    another request was there first."""
    stack = make()
    app = stack.register()
    stack.register()
    set_back(stack, "app_events")
    r = stack.request(method, f"/v1/apps/{app.public}{path}", TOKEN, body)
    assert r.status == 503
    assert logged(stack, "app_events_pkey")
    assert stack.get("/v1/whoami", app.auth()).status == 200
    line, text = check(stack, "owner")
    assert line.startswith("FAIL")
    mended(stack, text)
    r = stack.request(method, f"/v1/apps/{app.public}{path}", TOKEN, body)
    assert r.status in (200, 204)


def test_sequence_of_invites(make):
    stack = make()
    for label in ("one", "two"):
        stack.tool("invite", "--label", label)
    set_back(stack, "invites")
    r = stack.tool("invite", "--label", "three", check=False)
    assert r.returncode == 1
    mended(stack, check(stack, "owner")[1])
    stack.tool("invite", "--label", "four")


def test_sequence_at_its_end(make):
    """No value of the caller's was out of range."""
    stack = make()
    stack.sql("SELECT setval(pg_get_serial_sequence('apps', 'id'),"
              " 9223372036854775807)")
    assert register(stack).status == 503


@pytest.mark.parametrize("constraint", [
    "ALTER TABLE apps ADD CONSTRAINT mine UNIQUE (name)",
    "ALTER TABLE apps ADD CONSTRAINT mine CHECK (name <> 'A') NOT VALID",
    "CREATE TABLE names (name text PRIMARY KEY); ALTER TABLE apps"
    " ADD CONSTRAINT mine FOREIGN KEY (name) REFERENCES names NOT VALID"])
def test_constraints_of_others(make, constraint):
    """Their names are in the log."""
    stack = make()
    stack.register("A")
    stack.sql(constraint)
    assert register(stack).status == 503
    assert logged(stack, "mine")


def test_app_went(make):
    """The one that means something: no row for a user of an app that is
    gone."""
    stack = make()
    app = stack.register()
    stack.warm(app)
    stack.sql("ALTER TABLE apps DISABLE TRIGGER ALL")
    stack.sql("DELETE FROM apps")
    r = stack.request("PUT", "/v1/users/u", app.auth(), {})
    assert r.status == 404

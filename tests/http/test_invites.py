"""Invites: registration tokens with limits, and the tool that makes them."""
import json
import re
import subprocess
import threading

import psycopg2
import pytest

from lib.process import BUILD, at_once, run_tool, wait_until
from lib.stack import secret_text_absent
from lib.tokens import ADMIN, REGISTRATION, App, sha256

TOKEN = re.compile(r"postern-invite-[0-9a-f]{64}")
JSON = {"Content-Type": "application/json"}
NO_SUCH = "postern-invite-" + "0" * 64


class Invite:
    def __init__(self, s, *args):
        out = json.loads(s.tool("invite", "--json", *args).stdout)
        self.s, self.id, self.token, self.out = s, out["id"], out["token"], out
        s.registered.append(self.token)  # no log may hold it

    def post(self, body={"name": "invited"}, **headers):
        return post(self.s, self.token, body, **headers)

    @property
    def uses(self):
        return self.s.sql("SELECT uses FROM invites WHERE id = %s",
                          self.id)[0][0]


def post(s, token, body={"name": "invited"}, **headers):
    r = s.request("POST", "/v1/apps",
                  {"Authorization": "Bearer " + token, **headers}, body)
    if r.status == 201:
        s.registered.append(r.json()["secret_key"])
    return r


def essence(r):
    """All of an answer but what is each answer's own."""
    body = r.json()
    body.pop("instance")
    return (r.status, body, sorted(
        (k, v) for k, v in r.headers.items()
        if k.lower() not in ("date", "x-request-id")))


def refused(s, token):
    """401, and nothing tells it from a token that never was."""
    r = post(s, token)
    assert (r.status, r.code) == (401, "invalid_credentials")
    assert essence(r) == essence(post(s, NO_SUCH))
    assert essence(r) == essence(post(s, "x" * len(NO_SUCH)))


# -- the server

@pytest.mark.covers("API6:2023")
def test_as_many_as_it_says(site):
    invite = Invite(site, "--uses", "3")
    for n in range(1, 4):
        r = invite.post({"name": f"app {n}"})
        assert r.status == 201, r
        assert r["Cache-Control"] == "no-store"
        assert invite.uses == n
        app = App(r.json())
        assert site.get("/v1/whoami", app.auth()).status == 200
        assert site.sql("SELECT event, actor FROM app_events WHERE app_id = %s",
                        app.id) == [("created", f"invite:{invite.id}")]
    for _ in range(4):
        refused(site, invite.token)
    assert invite.uses == 3
    assert site.sql("SELECT count(*) FROM app_events WHERE actor = %s",
                    f"invite:{invite.id}") == [(3,)]


def test_one_use_is_the_default(site):
    invite = Invite(site)
    assert invite.post().status == 201
    refused(site, invite.token)


@pytest.mark.covers("API6:2023")
def test_at_once(make):
    s = make(workers=4)
    invite = Invite(s, "--uses", "5")
    answers = at_once(20, lambda i: invite.post({"name": f"n{i}"}))
    assert sorted(r.status for r in answers) == [201] * 5 + [401] * 15
    assert len({r.json()["public_key"] for r in answers
                if r.status == 201}) == 5
    # Those who lost the race in the transaction are told the same.
    assert len({str(essence(r)) for r in answers if r.status == 401}) == 1
    assert essence(post(s, NO_SUCH)) in [
        essence(r) for r in answers if r.status == 401]
    assert invite.uses == 5
    assert s.sql("SELECT count(*) FROM apps") == [(5,)]


@pytest.mark.parametrize("body,headers,status", [
    ("", {}, 400), ("{", JSON, 400), ({"name": ""}, {}, 400),
    ({"name": "x", "uses": 1}, {}, 400), ({"name": "a\nb"}, {}, 400),
    ("name=x", {"Content-Type": "application/x-www-form-urlencoded"}, 415),
    ('{"name":"x"}', {}, 415), ("x" * 70000, JSON, 413),
])
def test_a_failed_registration_uses_none_up(site, body, headers, status):
    invite = Invite(site)
    assert invite.post(body, **headers).status == status
    assert invite.uses == 0
    assert invite.post().status == 201
    # Once used up, the credential's fault comes first.
    assert invite.post(body, **headers).status == 401


def test_lost_before_commit_uses_none_up(make):
    """The use is counted, the app not yet inserted: the connection dies."""
    s = make()
    invite = Invite(s)
    c = s.pg.connect(s.database)
    c.autocommit = False
    c.cursor().execute("LOCK TABLE apps IN SHARE MODE")
    got = []
    t = threading.Thread(target=lambda: got.append(invite.post()))
    t.start()
    pid = wait_until("the insert waits", lambda: s.sql(
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
        " AND wait_event_type = 'Lock' AND query LIKE 'INSERT INTO apps%%'"
    ))[0][0]
    s.sql("SELECT pg_terminate_backend(%s)", pid)
    t.join()
    c.rollback()
    c.close()
    assert (got[0].status, got[0].code) == (503, "database_unavailable")
    assert invite.uses == 0 and s.sql("SELECT count(*) FROM apps") == [(0,)]
    assert wait_until("registered", lambda: invite.post().status == 201)
    assert invite.uses == 1 and s.sql("SELECT count(*) FROM apps") == [(1,)]


def test_revoked_meanwhile(make):
    """It was good when it was looked at, and is revoked before it counts."""
    s = make()
    invite = Invite(s)
    c = s.pg.connect(s.database)
    c.autocommit = False
    c.cursor().execute("UPDATE invites SET revoked_at = now() WHERE id = %s",
                       (invite.id,))
    got = []
    t = threading.Thread(target=lambda: got.append(invite.post()))
    t.start()
    wait_until("the use waits", lambda: s.sql(
        "SELECT 1 FROM pg_stat_activity WHERE datname = current_database()"
        " AND wait_event_type = 'Lock' AND query LIKE 'UPDATE invites%%'"))
    c.commit()
    c.close()
    t.join()
    assert essence(got[0]) == essence(post(s, NO_SUCH))
    assert invite.uses == 0 and s.sql("SELECT count(*) FROM apps") == [(0,)]
    assert "reason=invite_not_good" in s.log()


def test_expired(site):
    invite = Invite(site, "--expires", "1s")
    # Valid until then, refused from then on, by the database's clock.
    wait_until("expired", lambda: site.sql(
        "SELECT expires_at <= now() FROM invites WHERE id = %s",
        invite.id)[0][0])
    refused(site, invite.token)
    assert invite.uses == 0
    site.sql("UPDATE invites SET expires_at = now() + interval '1 hour'"
             " WHERE id = %s", invite.id)
    assert invite.post().status == 201


@pytest.mark.covers("ASVS-V3.5.1")
def test_revoked(site):
    invite = Invite(site, "--uses", "2", "--expires", "never")
    assert invite.post().status == 201
    for _ in range(2):  # again changes nothing
        r = site.tool("invite", "revoke", str(invite.id))
        assert (r.stdout, r.stderr) == (f"revoked: {invite.id}\n", "")
    refused(site, invite.token)
    assert invite.uses == 1


def test_near_tokens(site):
    """Nothing near an invite's token is one."""
    invite = Invite(site)
    t = invite.token
    for token in (t[:-1], t + "0", t.upper(), t[:15] + t[15:].upper(),
                  t[15:], "postern_invite-" + t[15:], t[:-1] + "g",
                  t[:-1] + ("0" if t[-1] != "0" else "1"),
                  sha256(t), "postern-invite-" + sha256(t)):
        r = post(site, token)
        assert (r.status, r.code) == (401, "invalid_credentials"), token
    r = site.request("POST", "/v1/apps?token=" + t, {}, {"name": "x"})
    assert (r.status, r.code) == (401, "credentials_missing")
    r = site.request("POST", "/v1/apps", {"Authorization": "Basic " + t},
                     {"name": "x"})
    assert r.status == 401
    assert invite.uses == 0


@pytest.mark.covers("RFC8725-3.12", "API5:2023")
def test_nowhere_else(site, app):
    invite = Invite(site)
    bearer = {"Authorization": "Bearer " + invite.token}
    one = "/v1/apps/" + app.public
    for method, path in (
            ("GET", "/v1/apps"), ("GET", one), ("PATCH", one), ("DELETE", one),
            ("POST", one + "/rotate"), ("POST", one + "/disable"),
            ("POST", one + "/enable"), ("GET", "/v1/whoami"),
            ("GET", "/v1/app"), ("DELETE", "/v1/app"),
            ("POST", "/v1/app/rotate"), ("GET", "/v1/users"),
            ("GET", "/v1/users/u"), ("PUT", "/v1/users/u"), ("GET", "/v1/me"),
            ("GET", "/v1/auth"), ("POST", "/v1/auth")):
        for headers in (bearer, {**bearer, "X-Public-Key": app.public}):
            r = site.request(method, path, headers)
            assert r.status == 401, (method, path, r)
    assert invite.uses == 0
    assert site.get("/v1/whoami", app.auth()).status == 200


@pytest.mark.parametrize("policy,status,code", [
    ("open", 201, None), ("closed", 403, "registration_closed")])
def test_other_policies(make, policy, status, code):
    """Where all may register, or none, an invite is not looked at."""
    s = make(env={"POSTERN_REGISTRATION": policy})
    invite = Invite(s)
    for token in (invite.token, NO_SUCH):
        r = post(s, token)
        assert r.status == status
        assert code is None or r.code == code
    assert invite.uses == 0
    assert s.sql("SELECT DISTINCT actor FROM app_events"
                 " WHERE event = 'created'") == (
        [("open",)] if status == 201 else [])


def test_without_a_registration_token(make):
    s = make(env={"POSTERN_REGISTRATION_TOKEN": None,
                  "POSTERN_ADMIN_TOKEN": None})
    assert post(s, REGISTRATION).status == 401
    assert post(s, NO_SUCH).status == 401
    assert Invite(s).post().status == 201


def test_database_away(make):
    """Who may have an invite is asked to come again; who can't is told no."""
    s = make()
    invite = Invite(s)
    with s.database_away():
        for token in (invite.token, NO_SUCH):
            r = post(s, token)
            assert (r.status, r.code) == (503, "database_unavailable")
            assert r["Retry-After"] and r["WWW-Authenticate"] is None
        for token in ("x" * 40, invite.token[:-1], invite.token.upper()):
            assert post(s, token).status == 401
        # Nobody is let in, and the other tokens are known without it.
        assert post(s, REGISTRATION).status == 503
        assert post(s, REGISTRATION, "{", **JSON).status == 400
    assert invite.uses == 0
    assert invite.post().status == 201


@pytest.mark.covers("ASVS-V2.10.3")
def test_only_its_hash_is_kept(site):
    invite = Invite(site, "--label", "kept")
    row = site.sql("SELECT invites::text FROM invites WHERE id = %s",
                   invite.id)[0][0]
    assert invite.token not in row and invite.token[15:] not in row
    assert sha256(invite.token) in row
    assert invite.post().status == 201
    dump = subprocess.run(
        [site.pg.bin / "pg_dump", "-a", "-h", site.pg.dir, "-U", "owner",
         site.database], capture_output=True, text=True, check=True).stdout
    assert sha256(invite.token) in dump and invite.token[15:] not in dump
    secret_text_absent(site, invite.token, invite.token[15:])


@pytest.mark.covers("API6:2023")
def test_rights_of_the_server(site):
    """The server's role makes no invite, and prolongs none."""
    invite = Invite(site)
    c = site.pg.connect(site.database, "server")
    for statement in (
            "INSERT INTO invites (token_hash, uses_max) VALUES ('x', 1)",
            "DELETE FROM invites", "TRUNCATE invites",
            "UPDATE invites SET uses_max = 10", "UPDATE invites SET label = ''",
            "UPDATE invites SET expires_at = NULL",
            "UPDATE invites SET revoked_at = NULL",
            "UPDATE invites SET token_hash = 'x'",
            "SELECT label FROM invites", "SELECT * FROM invites",
            "SELECT nextval('invites_id_seq')"):
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            c.cursor().execute(statement)
    # Nor more of the rest than it needs.
    for statement in ("DELETE FROM app_uses", "TRUNCATE used_jtis",
                      "DELETE FROM postern_migrations",
                      "INSERT INTO postern_migrations (version, name)"
                      " VALUES (99, 'x')"):
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            c.cursor().execute(statement)
    c.close()
    # The tool, run with the server's settings, says what is wrong.
    r = site.tool("invite", check=False, env={
        "POSTERN_DATABASE_URL": site.pg.url(site.database)})
    assert (r.returncode, r.stdout) == (1, "")
    assert "permission denied" in r.stderr and "role that owns" in r.stderr
    assert invite.post().status == 201


# -- the tool

def test_make(site):
    r = site.tool("invite")
    assert TOKEN.fullmatch(r.stdout.strip()) and r.stdout.count("\n") == 1
    i, max_, valid = site.sql(
        "SELECT id, uses_max, extract(epoch FROM expires_at - created_at)"
        " FROM invites WHERE token_hash = %s", sha256(r.stdout.strip()))[0]
    assert max_ == 1 and abs(valid - 7 * 86400) < 60
    assert f"Invite {i} registers 1 app until " in r.stderr
    assert r.stdout.strip() not in r.stderr
    assert post(site, r.stdout.strip()).status == 201
    site.registered.append(r.stdout.strip())
    r = site.tool("invite", "--uses=12", "--expires", "never")
    assert "registers 12 apps. " in r.stderr


@pytest.mark.parametrize("when,seconds", [
    ("90s", 90), ("30m", 1800), ("12h", 43200), ("2d", 172800)])
def test_spans(site, when, seconds):
    invite = Invite(site, "--expires", when)
    valid = site.sql("SELECT extract(epoch FROM expires_at - created_at)"
                     " FROM invites WHERE id = %s", invite.id)[0][0]
    assert abs(valid - seconds) < 60


def test_times(site):
    def expires(when):
        return Invite(site, "--expires", when).out["expires_at"]

    assert expires("never") is None
    assert expires("2099-12-31T23:59:59Z") == "2099-12-31T23:59:59.000000Z"
    assert expires("2099-12-31T23:59:59.5+01:00") == \
        "2099-12-31T22:59:59.500000Z"
    r = site.tool("invite", "--expires", "2099-02-31T00:00:00Z", check=False)
    assert (r.returncode, r.stdout) == (2, "") and r.stderr


def test_list(make):
    s = make(way="alone", ready=False)
    assert json.loads(s.tool("invite", "list", "--json").stdout) == {
        "invites": []}
    good = Invite(s, "--uses", "3", "--label", "Größe \u202e✓")
    revoked = Invite(s, "--expires", "never")
    expired = Invite(s, "--expires", "2020-01-01T00:00:00Z")
    used = Invite(s)
    s.sql("UPDATE invites SET uses = 1 WHERE id = %s", used.id)
    out = json.loads(
        s.tool("invite", "revoke", str(revoked.id), "--json").stdout)
    assert out["state"] == "revoked" and out["revoked_at"]
    text = s.tool("invite", "list", "--json").stdout
    all_ = json.loads(text)["invites"]
    assert [(i["id"], i["state"], i["uses"], i["uses_max"]) for i in all_] == [
        (good.id, "good", 0, 3), (revoked.id, "revoked", 0, 1),
        (expired.id, "expired", 0, 1), (used.id, "used_up", 1, 1)]
    assert all_[0]["label"] == "Größe \u202e✓"
    assert all_[0] == {k: v for k, v in good.out.items() if k != "token"}
    assert all_[1] == out
    lines = s.tool("invite", "list").stdout.splitlines()
    assert lines[0].split() == ["ID", "STATE", "USES", "CREATED", "EXPIRES",
                                "LABEL"]
    assert [line.split()[1] for line in lines[1:]] == [
        "good", "revoked", "expired", "used_up"]
    assert lines[1].split()[2] == "0/3" and lines[2].split()[4] == "never"
    # What could steer a terminal is shown, not done.
    assert "\\xe2\\x80\\xae" in lines[1] and "\u202e" not in lines[1]
    for i in (good, revoked, expired, used):
        assert i.token not in text and sha256(i.token) not in text


def test_revoke_what_is_not_there(site):
    r = site.tool("invite", "revoke", "999999", check=False)
    assert (r.returncode, r.stdout) == (1, "")
    assert "999999" in r.stderr and "invite list" in r.stderr


@pytest.mark.parametrize("args", [
    ["--uses", "0"], ["--uses", "-1"], ["--uses", "1000001"],
    ["--uses", "1e3"], ["--uses", ""], ["--uses"], ["--expires", "7"],
    ["--expires", "0d"], ["--expires", "-1d"], ["--expires", "7w"],
    ["--expires", "soon"], ["--expires", "2030-01-31"], ["--expires", ""],
    ["--label", ""], ["--label", " "], ["--label", "x" * 101],
    ["--label", "a\nb"], ["--label", "a\x1bb"], ["--nope"], ["nosuch"],
    ["list", "x"], ["list", "--uses", "1"], ["revoke"], ["revoke", "1", "2"],
    ["revoke", "0"], ["revoke", "-1"], ["revoke", "x"],
    ["revoke", "9223372036854775808"], ["--uses", "1", "list"],
])
def test_usage(scratch, args):
    r = run_tool(scratch, ["invite", *args], check=False)
    assert (r.returncode, r.stdout) == (2, "") and r.stderr


def test_help(scratch):
    for args in (["--help"], ["list", "--help"], ["revoke", "--help"]):
        r = run_tool(scratch, ["invite", *args])
        assert r.stderr == "" and "usage: postern invite" in r.stdout


def test_token_that_can_not_be_written(site):
    count = site.sql("SELECT count(*) FROM invites")[0][0]
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [BUILD / "postern", "invite"], stdout=full,
            stderr=subprocess.PIPE, text=True, env={
                "POSTERN_DATABASE_URL": site.pg.url(site.database, "owner")})
    assert done.returncode == 1
    assert site.sql("SELECT count(*) FROM invites")[0][0] == count + 1
    newest = site.sql("SELECT max(id) FROM invites")[0][0]
    assert f"invite revoke {newest}" in done.stderr
    assert not TOKEN.search(done.stderr)


def test_tokens_differ_and_admin_is_not_one(site):
    tokens = {Invite(site).token for _ in range(5)}
    assert len(tokens) == 5
    assert post(site, ADMIN).status == 201

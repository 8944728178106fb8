"""Requests at the same time, and what the operator does meanwhile."""
import json
import secrets

import pytest

from lib.process import at_once
from lib.stack import Stack
from lib.tokens import gcm_open, gcm_seal

JSON = {"Content-Type": "application/json"}


def test_rotations_at_once(site):
    """One wins; the others' secret is no longer the app's."""
    for _ in range(5):
        app = site.register()
        auth = app.auth()
        answers = at_once(6, lambda i: site.request(
            "POST", "/v1/app/rotate", auth, {"grace_seconds": 60}))
        won = [r for r in answers if r.status == 200]
        assert len(won) == 1, answers
        for r in answers:
            assert (r.status, r.code if r.status != 200 else None) in (
                (200, None), (409, "conflict"), (403, "previous_secret")), r
        new = won[0].json()["secret_key"]
        assert site.get("/v1/app", app.auth(secret=new)).status == 200
        assert site.get("/v1/whoami", auth).status == 200


def test_changes_of_one_version_at_once(site, app):
    """If-Match lets one of them through."""
    r = site.request("PUT", "/v1/users/r", app.auth(), {"v": 0})
    for turn in range(5):
        headers = {**app.auth(), **JSON, "If-Match": r["ETag"]}
        answers = at_once(8, lambda i: site.request(
            "PUT" if i % 2 else "PATCH", "/v1/users/r", headers,
            json.dumps({"v": f"{turn}.{i}"})))
        won = [a for a in answers if a.status == 200]
        assert len(won) == 1, answers
        assert {a.status for a in answers} == {200, 412}
        r = site.get("/v1/users/r", app.auth())
        assert (r["ETag"], r.json()) == (won[0]["ETag"], won[0].json())


def test_creations_at_once(site, app):
    for n in range(5):
        headers = {**app.auth(), **JSON, "If-None-Match": "*"}
        answers = at_once(8, lambda i: site.request(
            "PUT", f"/v1/users/n{n}", headers, json.dumps({"i": i})))
        assert sorted(a.status for a in answers) == [201] + [412] * 7
        won = [a for a in answers if a.status == 201][0]
        assert site.get(f"/v1/users/n{n}", app.auth()).json() == won.json()
        # And without a condition: one creates, all are stored whole.
        answers = at_once(8, lambda i: site.request(
            "PUT", f"/v1/users/m{n}", app.auth(), {"i": i}))
        assert sorted(a.status for a in answers) == [200] * 7 + [201]
        assert len({a["ETag"] for a in answers}) == 8


def test_the_app_goes_while_its_users_come(site):
    for _ in range(5):
        app = site.register()
        auth = app.auth()

        def one(i):
            if i == 0:
                return site.request("DELETE", "/v1/app", auth)
            return site.request("PUT", f"/v1/users/u{i}", auth, {"i": i})

        answers = at_once(8, one)
        assert answers[0].status == 204
        assert {a.status for a in answers[1:]} <= {201, 401, 404}, answers
        assert site.sql("SELECT count(*) FROM users WHERE app_id = %s",
                        app.id) == [(0,)]


def test_another_master_key(make):
    """An app sealed by a key that this server hasn't got is not refused as
    if its credentials were wrong."""
    s = make()
    app = s.register()
    other = make(database=s.database,
                 env={"POSTERN_MASTER_KEY": secrets.token_hex(32)})
    r = other.get("/v1/whoami", app.auth())
    assert (r.status, r.code) == (503, "key_unavailable")
    assert r["Retry-After"]
    assert other.log_lines("master_key_missing")
    assert other.get("/v1/whoami", other.register().auth()).status == 200
    assert s.get("/v1/whoami", app.auth()).status == 200


@pytest.mark.covers("ASVS-V6.2.4")
def test_master_keys_of_each_length(pg):
    """AES-128, -192 and -256; each opened by another implementation."""
    for size in (16, 24, 32):
        with Stack(pg, workers=1, env={
                "POSTERN_MASTER_KEY": secrets.token_hex(size)}) as s:
            app = s.register()
            assert s.get("/v1/whoami", app.auth()).status == 200
            sealed, key_id = s.sql(
                "SELECT encrypted_secret_key, master_key_id FROM apps")[0]
            raw = gcm_open(s.env["POSTERN_MASTER_KEY"], sealed,
                           f"postern-v1|{key_id}|{app.public}")
            assert raw.hex() == app.secret


@pytest.mark.covers("API10:2023", "ASVS-V6.2.1")
def test_rows_that_others_spoilt(site):
    """Whatever stands in a row, it opens nothing and breaks nothing."""
    for column, values in (
            ("encrypted_secret_key", ["", "zz", "ab", "ab" * 27, "ab" * 28,
                                      "ab" * 60, "AB" * 60, "é", "x" * 100000]),
            ("master_key_id", [None, "", "x", "x" * 100000, "'"])):
        for value in values:
            app = site.register()
            site.sql(f"UPDATE apps SET {column} = %s WHERE id = %s",
                     value, app.id)
            for secret in (app.secret, "", "0" * 64):
                r = site.get("/v1/whoami", app.auth(secret=secret or "x"))
                assert r.status in (401, 503), (column, value, r)
    site.sql("UPDATE apps SET encrypted_secret_key = 'x' WHERE length("
             "encrypted_secret_key) > 1000")
    # A broken previous key leaves the current one alone.
    app = site.register()
    r = site.request("POST", "/v1/app/rotate", app.auth())
    new = r.json()["secret_key"]
    site.sql("UPDATE apps SET previous_encrypted_secret_key = 'zz'"
             " WHERE id = %s", app.id)
    assert site.get("/v1/whoami", app.auth(secret=new)).status == 200
    assert site.get("/v1/whoami", app.auth()).status == 401


@pytest.mark.covers("RFC8725-3.3", "API10:2023")
def test_an_empty_secret_opens_nothing(site):
    """libjwt verifies nothing with an empty key: a row that seals one."""
    for raw in (b"", b"\0" * 32):
        app = site.register()
        key_id = site.sql("SELECT master_key_id FROM apps WHERE id = %s",
                          app.id)[0][0]
        sealed = gcm_seal(site.master_key, raw,
                          f"postern-v1|{key_id}|{app.public}")
        site.sql("UPDATE apps SET encrypted_secret_key = %s WHERE id = %s",
                 sealed, app.id)
        r = site.get("/v1/whoami", app.auth(secret="not this"))
        assert r.status == 401
        if raw:
            assert site.get("/v1/whoami",
                            app.auth(secret=raw.hex())).status == 200
        else:
            header = {"X-Public-Key": app.public}
            for token in (app.token(secret="\0"),
                          "eyJhbGciOiJIUzI1NiJ9.eyJleHAiOjk5OTk5OTk5OTl9."):
                r = site.get("/v1/whoami", {
                    **header, "Authorization": "Bearer " + token})
                assert r.status == 401


def test_disabled_and_expired_meanwhile(site):
    """What was committed is soon seen by all."""
    app = site.register()
    for _ in range(10):
        site.sql("UPDATE apps SET disabled_at = now() WHERE id = %s", app.id)
        site.becomes(app, 401)
        site.sql("UPDATE apps SET disabled_at = NULL WHERE id = %s", app.id)
        site.becomes(app, 200)
    site.sql("UPDATE apps SET expires_at = now() + interval '1 day'"
             " WHERE id = %s", app.id)
    assert site.get("/v1/app", app.auth()).json()["expires_at"]
    site.sql("DELETE FROM apps WHERE id = %s", app.id)
    site.becomes(app, 401)

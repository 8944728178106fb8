"""The overlap of two secrets, when each was last used, and tokens that are
good once."""
import json
import time

import pytest

from lib.process import at_once, wait_until
from lib.tokens import ADMIN, App, raw_token, sha256

AUTH = {"Authorization": "Bearer " + ADMIN}
SINGLE = {"POSTERN_JWT_SINGLE_USE": "on"}


def rotate(s, app, grace=None, status=200, **more):
    """The app's new secret; it is the app's from now on."""
    body = more if grace is None else {"grace_seconds": grace, **more}
    r = s.request("POST", "/v1/app/rotate", app.auth(), body)
    assert r.status == status, r
    assert r.json()["public_key"] == app.public
    s.registered.append(r.json()["secret_key"])
    app.secret = r.json()["secret_key"]
    return r.json()


def statuses(s, app, secret):
    return {r.status for r in at_once(8, lambda i: s.get(
        "/v1/whoami", app.auth(secret=secret)))}


def uses(s, app):
    """(last_used_at, previous_last_used_at), the same for all who ask."""
    one = json.loads(s.tool("app", "get", app.public, "--json").stdout)
    two = s.get("/v1/apps/" + app.public, AUTH).json()
    assert one == two
    return one["last_used_at"], one["previous_last_used_at"]


# -- the overlap

@pytest.mark.covers("ASVS-V2.10.1")
def test_grace(make):
    """The old secret serves until then, and never again."""
    s = make()
    app = s.register()
    old = app.secret
    a = rotate(s, app, 1)
    assert a["previous_valid_until"] > a["updated_at"]
    s.becomes(app, 200)
    s.becomes(app, 401, old)
    # Not before its time: the refusal came no sooner than the database's
    # clock says.
    assert s.sql("SELECT previous_valid_until <= now() FROM apps") == [(True,)]
    for _ in range(3):
        assert statuses(s, app, old) == {401}
        assert statuses(s, app, app.secret) == {200}
    s.reload()  # nor by workers that start afresh
    assert statuses(s, app, old) == {401}


def test_warm_workers_end_it_by_their_clock(make):
    """No news comes when the time is over, and no row is read. While none can
    come it is no "yes" any more, and not known to be a "no"."""
    s = make()
    app = s.register()
    old = app.secret
    rotate(s, app, 4)
    s.warm(app, old)
    with s.database_away():
        s.becomes(app, 503, old)
        assert statuses(s, app, app.secret) == {200}
    assert statuses(s, app, old) == {401}


@pytest.mark.covers("ASVS-V3.5.1")
def test_ended_early(site, app):
    old = app.secret
    rotate(site, app, 3600)
    site.becomes(app, 200, old)
    r = site.request("DELETE", "/v1/app/previous-secret", app.auth())
    assert (r.status, r.body) == (204, b"")
    site.becomes(app, 401, old)
    site.becomes(app, 200)
    assert site.get("/v1/app", app.auth()).json()["previous_valid_until"] \
        is None
    assert site.sql("SELECT previous_encrypted_secret_key IS NULL FROM apps"
                    " WHERE id = %s", app.id) == [(True,)]
    # What is not there can be ended again.
    r = site.request("DELETE", "/v1/app/previous-secret", app.auth())
    assert r.status == 204


def test_the_newest_two(site, app):
    held = [app.secret]
    for _ in range(4):
        rotate(site, app, 3600, end_previous=True)
        held.append(app.secret)
        for secret in held[-2:]:
            site.becomes(app, 200, secret)
        for secret in held[:-2]:
            site.becomes(app, 401, secret)
    assert len(set(held)) == 5
    # The older of the two serves, but does not manage.
    r = site.request("POST", "/v1/app/rotate", app.auth(secret=held[-2]))
    assert (r.status, r.code) == (403, "previous_secret")
    assert site.sql("SELECT DISTINCT public_key FROM app_events"
                    " WHERE app_id = %s", app.id) == [(app.public,)]


# -- a promised overlap is not ended without a word

def by_app(s, app, body):
    return s.request("POST", "/v1/app/rotate", app.auth(), body)


def by_admin(s, app, body):
    return s.request("POST", f"/v1/apps/{app.public}/rotate", AUTH, body)


# What is asked for while an older secret is valid, and what becomes of it.
ORDERS = [
    (None, 409), ({}, 409), ({"grace_seconds": 60}, 409),
    ({"end_previous": False}, 409),
    ({"grace_seconds": 60, "end_previous": False}, 409),
    ({"end_previous": True}, 200),
    ({"grace_seconds": 60, "end_previous": True}, 200),
    ({"grace_seconds": 0}, 200),
    ({"grace_seconds": 0, "end_previous": False}, 200),
    *(({"end_previous": bad}, 400) for bad in (None, 1, "true", [], {})),
]


@pytest.mark.parametrize("ask", [by_app, by_admin])
@pytest.mark.parametrize("order,status", ORDERS)
def test_second_rotation(site, app, ask, order, status):
    first = app.secret
    rotate(site, app)
    second, before = app.secret, site.sql(
        "SELECT * FROM apps WHERE id = %s", app.id)
    r = ask(site, app, order)
    assert r.status == status, r
    if status != 200:
        assert r.code == {409: "overlap_in_progress",
                          400: "value_invalid"}[status]
        assert site.sql("SELECT * FROM apps WHERE id = %s", app.id) == before
        for secret in (first, second):
            site.becomes(app, 200, secret)
        return
    site.registered.append(r.json()["secret_key"])
    site.becomes(app, 200, r.json()["secret_key"])
    site.becomes(app, 401, first)
    site.becomes(app, 401 if r.json()["previous_valid_until"] is None else 200,
                 second)


# Nothing is promised any more, or nothing was.
OVER = [
    "previous_valid_until = now()",
    "previous_valid_until = now() - interval '1 day'",
    "previous_valid_until = NULL",
    "previous_encrypted_secret_key = NULL",
    "previous_encrypted_secret_key = NULL, previous_valid_until = NULL",
]


@pytest.mark.parametrize("ask", [by_app, by_admin])
@pytest.mark.parametrize("what", OVER)
def test_after_an_overlap(site, app, ask, what):
    rotate(site, app)
    site.sql(f"UPDATE apps SET {what} WHERE id = %s", app.id)
    r = ask(site, app, {})
    assert r.status == 200, r
    site.registered.append(r.json()["secret_key"])


def test_ended_early_is_over(site, app):
    rotate(site, app)
    r = site.request("DELETE", "/v1/app/previous-secret", app.auth())
    assert r.status == 204
    rotate(site, app)
    assert by_admin(site, app, {}).code == "overlap_in_progress"


def test_the_end_is_the_databases(site, app):
    """Refused until then, and not for longer."""
    rotate(site, app, 1)
    until = site.sql("SELECT previous_valid_until FROM apps WHERE id = %s",
                     app.id)[0][0]
    seen = set()

    def over():
        r = by_app(site, app, {"grace_seconds": 5})
        seen.add((r.status, r.json().get("code")))
        return r.status == 200 and r

    r = wait_until("the overlap's end", over)
    site.registered.append(r.json()["secret_key"])
    assert seen == {(409, "overlap_in_progress"), (200, None)}
    assert site.sql("SELECT rotated_at >= %s FROM apps WHERE id = %s",
                    until, app.id) == [(True,)]


def test_rotations_at_once_keep_what_the_first_promised(site):
    """Without a guard they would undo each other."""
    for _ in range(5):
        app = site.register()
        answers = at_once(6, lambda i: by_admin(site, app, {}))
        won = [r for r in answers if r.status == 200]
        assert len(won) == 1, answers
        assert {r.code for r in answers if r.status != 200} == {
            "overlap_in_progress"}
        site.registered.append(won[0].json()["secret_key"])
        site.becomes(app, 200)
        site.becomes(app, 200, won[0].json()["secret_key"])


def test_second_rotation_by_the_tool(site, app):
    def tool(*options):
        return site.tool("app", "rotate", app.public, "--json", *options,
                         check=False)

    for options, good in (((), True), ((), False), (("--grace", "60"), False),
                          (("--end-previous",), True), (("--grace", "0"), True)):
        got = tool(*options)
        assert got.returncode == (0 if good else 1), got
        if good:
            site.registered.append(json.loads(got.stdout)["secret_key"])
        else:
            assert "--end-previous" in got.stderr and got.stdout == ""


@pytest.mark.parametrize("grace", [0, 1, 2592000])
def test_bounds_of_grace(site, app, grace):
    old = app.secret
    rotate(site, app, grace)
    got = site.sql("SELECT extract(epoch FROM previous_valid_until -"
                   " rotated_at)::int FROM apps WHERE id = %s", app.id)
    assert got == [(grace or None,)]
    if grace == 0:
        site.becomes(app, 401, old)
    for bad in (grace + 0.5, -1, 2592001, str(grace), True):
        r = site.request("POST", "/v1/app/rotate", app.auth(),
                         {"grace_seconds": bad})
        assert (r.status, r.code) == (400, "value_invalid")
    r = site.tool("app", "rotate", app.public, "--grace", str(grace), "--json",
                  "--end-previous")
    app.secret = json.loads(r.stdout)["secret_key"]
    site.registered.append(app.secret)
    site.becomes(app, 200)


# -- when they were used

def test_last_used(make):
    """Safe to finish a rotation: a fact."""
    s = make()
    app, idle = s.register(), s.register()
    assert uses(s, app) == (None, None)
    before = s.sql("SELECT now()")[0][0].timestamp()
    assert s.get("/v1/whoami", app.auth()).status == 200
    assert s.get("/v1/whoami", idle.auth(secret="0" * 64)).status == 401
    s.reload()
    last, previous = uses(s, app)
    assert last and previous is None
    age = s.sql("SELECT extract(epoch FROM last_used_at)::float8"
                " FROM app_uses WHERE app_id = %s", app.id)[0][0] - before
    assert -1 < age < 60
    # A refused request is no use.
    assert uses(s, idle) == (None, None)
    # The old secret was used to rotate, and not since: that is no use of it
    # as the previous one, nor one of the new one.
    old = app.secret
    rotate(s, app, 3600)
    s.reload()
    assert uses(s, app) == (None, None)
    s.becomes(app, 200)
    s.reload()
    last, previous = uses(s, app)
    assert last and previous is None, "safe to finish"
    # A client that was forgotten shows.
    s.becomes(app, 200, old)
    s.reload()
    last, previous = uses(s, app)
    assert last and previous
    # The app itself is told the same.
    got = s.get("/v1/app", app.auth()).json()
    assert (got["last_used_at"], got["previous_last_used_at"]) == (
        last, previous)
    # The next rotation makes a new start.
    rotate(s, app, 3600, end_previous=True)
    assert uses(s, app) == (None, None)
    s.becomes(app, 200)
    r = s.request("DELETE", "/v1/app/previous-secret", app.auth())
    assert r.status == 204
    s.reload()
    last, previous = uses(s, app)
    assert last and previous is None


def test_a_worker_that_had_not_heard(make):
    """It takes the old secret for the current one; the trail of uses knows
    better. Here no trigger runs, as if the news were lost."""
    s = make(workers=1)
    app = s.register()
    refused = s.get("/v1/whoami", app.auth(secret="0" * 64))
    assert refused.status == 401  # the key is warm, and not used
    s.sql("ALTER TABLE apps DISABLE TRIGGER postern_apps_notify;"
          " SET session_replication_role = replica; UPDATE apps SET"
          " previous_encrypted_secret_key = encrypted_secret_key,"
          " previous_master_key_id = master_key_id, previous_valid_until ="
          " now() + interval '1 hour', encrypted_secret_key = 'x',"
          " rotated_at = now() - interval '5 s';"
          " ALTER TABLE apps ENABLE ALWAYS TRIGGER postern_apps_notify")
    assert s.get("/v1/whoami", app.auth()).status == 200
    s.reload()
    last, previous = uses(s, app)
    assert last is None and previous


def test_eviction_loses_no_use(make):
    """A cache of one: each app puts the other out."""
    s = make(workers=1, env={"POSTERN_CACHE_SIZE": "1"})
    apps = [s.register(f"n{i}") for i in range(20)]
    for _ in range(2):
        for app in apps:
            assert s.get("/v1/whoami", app.auth()).status == 200
    gone = apps.pop()
    assert s.request("DELETE", "/v1/app", gone.auth()).status == 204
    s.reload()
    assert s.sql("SELECT count(*) FROM app_uses WHERE last_used_at IS NOT NULL"
                 ) == [(len(apps),)]


def test_uses_wait_for_the_database(make):
    """What can't be written now is written later."""
    s = make(workers=1)
    app = s.register()
    assert s.get("/v1/whoami", app.auth()).status == 200
    with s.database_away():
        assert s.get("/v1/whoami", app.auth()).status == 200
    s.reload()
    assert uses(s, app)[0]


def test_uses_of_a_single_process(make):
    s = make(workers=0)
    app = s.register()
    assert s.get("/v1/whoami", app.auth()).status == 200
    s.process.terminate()
    assert s.process.wait() == 0
    assert s.sql("SELECT count(*) FROM app_uses WHERE app_id = %s",
                 app.id) == [(1,)]


@pytest.mark.long
def test_uses_are_written_each_minute(make):
    s = make()
    app = s.register()
    assert s.get("/v1/whoami", app.auth()).status == 200
    wait_until("written", lambda: uses(s, app)[0], patience=90)


# -- tokens that are good once

def whoami(s, app, token):
    return s.get("/v1/whoami", {"X-Public-Key": app.public,
                                "Authorization": "Bearer " + token})


@pytest.mark.covers("ASVS-V3.5.2", "ASVS-V3.5.3")
def test_once(make):
    s = make(env=SINGLE, workers=4)
    app, other = s.register(), s.register()
    token = app.token(jti="a")
    assert whoami(s, app, token).status == 200
    # On any worker, for any path, as another token of the same jti, and
    # after a reload.
    answers = at_once(12, lambda i: whoami(s, app, token))
    answers += [whoami(s, app, app.token(jti="a", exp=200)),
                s.get("/v1/auth", {"X-Public-Key": app.public,
                                   "Authorization": "Bearer " + token}),
                s.get("/v1/users", app.auth(jti="a"))]
    s.reload()
    answers.append(whoami(s, app, token))
    for r in answers:
        assert (r.status, r.code) == (401, "token_replayed")
        assert 'error="invalid_token"' in r["WWW-Authenticate"]
    # Another app's is another one.
    assert whoami(s, other, other.token(jti="a")).status == 200
    assert whoami(s, app, app.token(jti="A")).status == 200
    assert s.get("/v1/auth", app.auth(jti="gate")).status == 204
    assert s.get("/v1/auth", app.auth(jti="gate")).status == 401
    rows = s.sql("SELECT app_id, jti_hash FROM used_jtis")
    assert (app.id, sha256("a")) in rows and len(rows) == 4


@pytest.mark.covers("ASVS-V3.5.3")
def test_once_at_once(make):
    s = make(env=SINGLE, workers=4)
    app = s.register()
    becomes_warm = [whoami(s, app, app.token(jti=f"w{i}")) for i in range(8)]
    assert {r.status for r in becomes_warm} == {200}
    for n in range(3):
        token = app.token(jti=f"n{n}")
        answers = at_once(30, lambda i: whoami(s, app, token))
        assert sorted(r.status for r in answers) == [200] + [401] * 29
        assert {r.code for r in answers if r.status == 401} == {
            "token_replayed"}


def test_what_a_jti_must_be(make):
    s = make(env=SINGLE)
    app = s.register()
    now = int(time.time())
    r = whoami(s, app, app.token())
    assert (r.status, r.code) == (401, "token_without_jti")
    for jti in ("", 1, None, ["a"], {}, True):
        r = whoami(s, app, app.token(jti=jti))
        assert (r.status, r.code) == (401, "token_malformed"), jti
    for jti in ("'; --", "\x01", "\ufffe", "é", "x" * 5000, " "):
        token = raw_token(app.secret, payload=json.dumps(
            {"exp": now + 60, "jti": jti}))
        assert whoami(s, app, token).status == 200, jti
        assert whoami(s, app, token).code == "token_replayed"
    # However far its end is.
    for exp in (1e300, 253402300800, 4e9 + 0.5):
        token = raw_token(app.secret, payload=json.dumps(
            {"exp": exp, "jti": f"{exp}"}))
        assert whoami(s, app, token).status == 200, exp
        assert whoami(s, app, token).code == "token_replayed"


def test_refused_requests_use_none_up(make):
    s = make(env={**SINGLE, "POSTERN_JWT_AUDIENCE": "here"})
    app = s.register()
    good = {"aud": "here", "jti": "kept"}
    old = app.secret
    for refused in (
            whoami(s, app, app.token(secret="0" * 64, **good)),
            whoami(s, app, app.token(exp=-60, **good)),
            whoami(s, app, app.token(nbf=int(time.time()) + 600, **good)),
            whoami(s, app, app.token(jti="kept", aud="there")),
            whoami(s, app, app.token(sub="", **good)),
            whoami(s, app, app.token(algorithm="HS512", **good)),
            whoami(s, App({**app.answer, "public_key": "ab" * 32}),
                   app.token(**good)),
            s.get("/v1/app", app.auth(sub="u", **good)),
            s.get("/v1/users/other", app.auth(sub="u", **good)),
            s.get("/v1/me", app.auth(**good)),
            s.get("/v1/nosuch", app.auth(**good)),
            s.request("PUT", "/v1/whoami", app.auth(**good)),
            s.request("OPTIONS", "/v1/whoami", app.auth(**good))):
        assert refused.status in (204, 401, 403, 404, 405)
        assert refused.status == 204 or refused.code != "token_replayed"
    assert s.sql("SELECT count(*) FROM used_jtis") == [(0,)]
    # Under the previous secret the same jti is used up as well.
    r = s.request("POST", "/v1/app/rotate", app.auth(aud="here", jti="r"))
    app.secret = r.json()["secret_key"]
    s.registered.append(app.secret)
    r = s.request("PATCH", "/v1/app", app.auth(secret=old, **good),
                  {"name": "x"})
    assert (r.status, r.code) == (403, "previous_secret")
    assert s.get("/v1/whoami", app.auth(secret=old, **good)).status == 200
    assert s.get("/v1/whoami", app.auth(**good)).code == "token_replayed"


def test_once_needs_the_database(make):
    """Warm keys are no help: what may have been used is not let in."""
    s = make(env=SINGLE)
    app = s.register()
    token = app.token(jti="kept")
    for i in range(8):
        assert whoami(s, app, app.token(jti=f"w{i}")).status == 200
    with s.database_away():
        for path in ("/v1/whoami", "/v1/auth"):
            r = s.get(path, {"X-Public-Key": app.public,
                             "Authorization": "Bearer " + token})
            assert (r.status, r.code) == (503, "database_unavailable")
            assert r["Retry-After"]
        assert whoami(s, app, app.token(secret="0" * 64)).status in (401, 503)
    # A worker whose connection is only just back may still say 503.
    wait_until("once", lambda: whoami(s, app, token).status == 200)
    assert whoami(s, app, token).status == 401


def test_purge(make):
    """Those whose tokens have long expired go; no other does."""
    s = make(env=SINGLE)
    app = s.register()
    assert whoami(s, app, app.token(jti="kept")).status == 200
    s.sql("INSERT INTO used_jtis SELECT 1, 'old' || i,"
          " now() - interval '2 hours' FROM generate_series(1, 1000) AS i")
    s.sql("INSERT INTO used_jtis VALUES"
          " (1, 'recent', now() - interval '30 minutes'),"
          " (1, 'valid', now() + interval '1 minute')")
    s.reload()
    assert s.sql("SELECT jti_hash FROM used_jtis ORDER BY 1") == sorted(
        [("recent",), ("valid",), (sha256("kept"),)])
    assert whoami(s, app, app.token(jti="kept")).code == "token_replayed"


@pytest.mark.long
def test_purge_by_the_minute(make):
    s = make(env=SINGLE)
    s.sql("INSERT INTO used_jtis VALUES (1, 'x', now() - interval '2 hours')")
    wait_until("purged", lambda: s.sql("SELECT count(*) FROM used_jtis")
               == [(0,)], patience=120)


def test_many_uses_where_not_single(site, app):
    token = app.token(jti="a")
    for _ in range(3):
        assert whoami(site, app, token).status == 200
    assert site.sql("SELECT count(*) FROM used_jtis") == [(0,)]

"""A worker that news of changes can't reach: its "no" may be wrong by now, so
it is none, and its "yes" has an end."""
import contextlib
import json
import secrets
import threading
import time

import pytest

from lib.postgres import PgProxy
from lib.process import wait_until
from lib.stack import Fleet
from lib.tokens import gcm_seal, made_up, raw_token

SET = "UPDATE apps SET {} WHERE public_key = %s"
DISABLE = SET.format("disabled_at = now()")


@pytest.fixture()
def cut_off(pg, ends):
    """One worker behind a proxy, with settings of its own."""
    def new(**env):
        proxy = ends.enter_context(contextlib.closing(PgProxy(pg)))
        f = ends.enter_context(Fleet(pg, 1, url=proxy.url, env={
            "POSTERN_CACHE_TTL": "600", **env}))
        f.proxy = proxy
        return f
    return new


def lose(f):
    lost = f.log_count("database_lost")
    f.proxy.cut()
    wait_until("lost", lambda: f.log_count("database_lost") > lost)


# -- what is asked

BODY = {"CONTENT_TYPE": "application/json", "CONTENT_LENGTH": 2}
PATCH = {**BODY, "CONTENT_TYPE": "application/merge-patch+json"}


def way(method, path, role=1, **params):
    return {"method": method, "path": path, "role": role, "params": params}


WHOAMI = way("GET", "/v1/whoami")
GATES = [
    way("GET", "/v1/auth"),
    way("OPTIONS", "/v1/auth"),
    way("GET", "/x", POSTERN_GATE="plain"),
    way("POST", "/x", POSTERN_GATE="nginx", **BODY),
    way("GET", "/x", role=2),
]
# With a token of the app's; the last ones need its current secret.
ROUTES = [
    WHOAMI,
    way("HEAD", "/v1/whoami"),
    way("GET", "/v1/app"),
    way("GET", "/v1/users"),
    *[way("GET", p) for p in ("/v1/users/u", "/v1/me")],
    *[way("PUT", p, **BODY) for p in ("/v1/users/u", "/v1/me")],
    *[way("PATCH", p, **PATCH) for p in ("/v1/users/u", "/v1/me")],
    *[way("DELETE", p) for p in ("/v1/users/u", "/v1/me")],
    way("PATCH", "/v1/app", **PATCH),
    way("POST", "/v1/app/rotate", **BODY),
    way("DELETE", "/v1/app/previous-secret"),
    way("DELETE", "/v1/app"),
]


def ask(f, w, auth):
    params = {"REQUEST_METHOD": w["method"], "REQUEST_URI": w["path"],
              **w["params"]}
    for name, value in auth.items():
        params["HTTP_" + name.upper().replace("-", "_")] = value
    body = b"{}" if "CONTENT_LENGTH" in params and w["role"] == 1 else b""
    return f.stacks[0].fcgi(params, body, w["role"])


def status(w, r):
    """As it was meant: nginx is told of no other refusal than 401 and 403."""
    if w["params"].get("POSTERN_GATE") == "nginx" and r.status == 403:
        return int(r["X-Postern-Status"])
    return r.status


def assert_unavailable(w, r):
    assert status(w, r) == 503, (w, r)
    assert int(r["Retry-After"]) >= 1, (w, r)
    assert r["WWW-Authenticate"] is None, (w, r)
    if w["method"] != "HEAD":
        assert r.code == "database_unavailable", (w, r)


# -- a "no" by what is at hand

class Row:
    """An app whose token is refused by what its row says, for a worker that
    has it at hand, and what makes it good."""

    def __init__(self, f, why, app, change=None, remedy=None, token=None):
        self.f, self.why, self.app, self.remedy = f, why, app, remedy
        self.kw = {"secret": token}
        if change:
            f.sql(SET.format(change), app.public)

    def auth(self):
        return self.app.auth(**self.kw)


def rotated(f):
    """An app that was rotated, and its former secret."""
    app = f.register()
    r = f[0].request("POST", "/v1/app/rotate", app.auth(), {})
    assert r.status == 200, r
    old, app.secret = app.secret, r.json()["secret_key"]
    f.stacks[0].registered.append(app.secret)
    return app, old


def sealed(f, app, secret):
    key_id = f.sql("SELECT master_key_id FROM apps WHERE public_key = %s",
                   app.public)[0][0]
    return gcm_seal(f.master_key, bytes.fromhex(secret),
                    f"postern-v1|{key_id}|{app.public}")


def update(f, app, change):
    f.sql(SET.format(change), app.public)


def rotate_elsewhere(f, app, secret):
    update(f, app, f"encrypted_secret_key = '{sealed(f, app, secret)}'")


def refused_rows(f):
    """One of each kind."""
    new = secrets.token_hex(32)
    app = f.register()
    yield Row(f, "signature_bad", app, token=new,
              remedy=lambda: rotate_elsewhere(f, app, new))
    newer = secrets.token_hex(32)
    both, _ = rotated(f)
    yield Row(f, "signature_bad", both, token=newer,
              remedy=lambda: rotate_elsewhere(f, both, newer))
    over, old = rotated(f)
    yield Row(f, "signature_bad", over, token=old,
              change="previous_valid_until = now() - interval '1 minute'",
              remedy=lambda: update(
                  f, over, "previous_valid_until = now() + interval '1 day'"))
    disabled = f.register()
    yield Row(f, "app_disabled", disabled, change="disabled_at = now()",
              remedy=lambda: update(f, disabled, "disabled_at = NULL"))
    expired = f.register()
    yield Row(f, "app_expired", expired,
              change="expires_at = now() - interval '1 minute'",
              remedy=lambda: update(
                  f, expired, "expires_at = now() + interval '1 hour'"))
    broken = f.register()
    yield Row(f, "sealed_key_refused", broken,
              change="encrypted_secret_key = repeat('ab', 60)",
              remedy=lambda: rotate_elsewhere(f, broken, broken.secret))
    nobody = made_up()
    yield Row(f, "key_unknown", nobody, remedy=lambda: f.insert([nobody]))


def assert_all_unavailable(f, rows, ways):
    for row in rows:
        for w in ways:
            assert_unavailable(w, ask(f, w, row.auth()))


def test_no_is_none(cut_off):
    """Each kind of "no" by what is at hand, on each way that it is asked for:
    before it, while cut off, after the change elsewhere, while the connection
    is there and LISTEN is not proved, and when all is told."""
    f = cut_off()
    good, f.spare = f.register(), f.register()
    rows = list(refused_rows(f))
    for row in rows:
        for w in (WHOAMI, WHOAMI, *GATES):
            r = ask(f, w, row.auth())
            assert (status(w, r), r.code) == (401, "invalid_credentials"), (
                row.why, w, r)
    assert f[0].status(good) == 200
    lose(f)
    for row in rows:
        r = f[0].whoami(row.app, **row.kw)
        assert r.status == 503, (row.why, r)
        line = f.stacks[0].log_lines("request")[-1]
        assert f"cause={row.why}" in line and "status=503" in line, line
    assert_all_unavailable(f, rows, GATES + ROUTES)
    assert ask(f, WHOAMI, good.auth()).status == 200
    for w in GATES:
        assert ask(f, w, good.auth()).status in (200, 204)
    # What asks the database anyway, and so the rule for a former secret.
    for w in ROUTES[2:]:
        sub = {"sub": "u"} if "/me" in w["path"] else {}
        assert_unavailable(w, ask(f, w, good.auth(**sub)))
    for row in rows:
        row.remedy()
    assert_all_unavailable(f, rows, [WHOAMI, *GATES])
    f.proxy.lose = "A"
    f.proxy.open()
    wait_until("unproved", lambda: any(
        "without_notifications" in line
        for line in f.stacks[0].log_lines("database_unavailable")))
    assert_all_unavailable(f, rows, [WHOAMI, *GATES])
    f.proxy.lose = ""
    f.wait_up()
    for row in rows:
        r = f[0].whoami(row.app, **row.kw)
        assert r.status == 200, (row.why, r)


def test_every_step_of_coming_back(cut_off, ends):
    """What the server says arrives piece by piece: a "no" by what is at hand
    is none until the cache is empty, and never wrong then."""
    f = cut_off()
    app, new = f.register(), secrets.token_hex(32)
    assert f[0].status(app, secret=new) == 401
    lose(f)
    rotate_elsewhere(f, app, new)
    f.proxy.hold()
    f.proxy.open()
    ending, pieces = threading.Event(), []

    def trickle():
        while not ending.wait(0.1):
            if f.proxy.kinds():
                pieces.append(f.proxy.kinds())
                f.proxy.release(go_on=False)

    t = threading.Thread(target=trickle, daemon=True)
    ends.callback(t.join)
    ends.callback(ending.set)
    t.start()
    seen = []

    def back():
        seen.append(f[0].status(app, secret=new))
        return seen[-1] == 200

    wait_until("back", back)
    assert set(seen) == {200, 503}
    assert len(pieces) >= 3, pieces


# -- what stays a "no"

def payload(**claims):
    return json.dumps({"exp": int(time.time()) + 300, **claims})


FAULTS = {
    "token_expired": lambda a: a.token(exp=-3600),
    "token_not_yet_valid": lambda a: a.token(nbf=int(time.time()) + 3600),
    "token_without_exp": lambda a: a.token(exp=None),
    "token_subject": lambda a: a.token(sub=""),
    "token_algorithm": lambda a: raw_token(
        a.secret, '{"alg":"none"}', payload()),
    "token_malformed": lambda a: raw_token(a.secret, payload="[]"),
}
SHAPES = {
    "credentials_missing": {},
    "public_key_missing": {"Authorization": "Bearer a.b.c"},
    "token_missing": {"X-Public-Key": "ab" * 32},
    "invalid_credentials": {"X-Public-Key": "ab" * 32,
                            "Authorization": "Bearer a.b"},
}
SHAPELESS = {"X-Public-Key": "AB" * 32, "Authorization": "Bearer a.b.c"}


def test_faults_of_the_token_stay(cut_off):
    """The signature is good, or the request no request: no news changes
    that."""
    f = cut_off()
    app, old = rotated(f)
    assert [f[0].status(app), f[0].status(app, secret=old)] == [200, 200]

    def check():
        for code, make in FAULTS.items():
            r = f[0].request("GET", "/v1/whoami", {
                "X-Public-Key": app.public,
                "Authorization": "Bearer " + make(app)})
            assert r.status == 401, r
            assert r.code in (code, f"{code}_invalid"), r
        for code, auth in SHAPES.items():
            r = f[0].request("GET", "/v1/whoami", auth)
            assert (r.status, r.code) == (401, code), r
        assert f[0].request("GET", "/v1/whoami", SHAPELESS).status == 401
        r = f[0].admin("GET", "/v1/apps")
        admin = {"Authorization": "Bearer " + "x" * 40}
        r = f[0].request("GET", "/v1/apps", admin)
        assert (r.status, r.code) == (401, "invalid_credentials"), r
        for path, kw, code in (("/v1/me", {}, "user_token_required"),
                               ("/v1/users", {"sub": "u"},
                                "app_token_required"),
                               ("/v1/users/v", {"sub": "u"}, "other_user")):
            r = f[0].request("GET", path, app.auth(**kw))
            assert r.status == 403, (code, r)
        assert f[0].status(app, secret=old) == 200

    check()
    lose(f)
    check()
    # Whether this one may be used up, the row tells.
    r = f[0].request("POST", "/v1/app/rotate", app.auth(secret=old), {})
    assert (r.status, r.code) == (503, "database_unavailable")


def test_counts_as_a_failure(cut_off):
    """Else whoever guesses could do so without end while Postgres is away."""
    f = cut_off(POSTERN_LIMIT_FAILURES="5/3600")
    app, nobody = f.register(), made_up()
    assert f[0].status(app) == 200
    assert f[0].status(nobody) == 401
    lose(f)
    wrong = {"secret": "0" * 64}
    for a, kw in ((app, wrong), (nobody, {}), (app, wrong), (nobody, {})):
        r = f[0].whoami(a, **kw)
        assert (r.status, r.code) == (503, "database_unavailable"), r
    for a, kw in ((app, wrong), (nobody, {})):
        r = f[0].whoami(a, **kw)
        assert (r.status, r.code) == (429, "too_many_failures"), r
        assert r["Retry-After"]
    assert f[0].status(app) == 200


# -- clocks go on

@pytest.mark.parametrize("what", ["expires_at", "previous_valid_until"])
def test_a_term_that_ends_meanwhile(cut_off, what):
    """It may have been extended elsewhere: by then it is no "yes", and no
    "no"."""
    f = cut_off()
    app, old = rotated(f)
    kw = {"secret": old} if what == "previous_valid_until" else {}
    update(f, app, f"{what} = now() + interval '4 seconds'")
    assert f[0].status(app, **kw) == 200
    lose(f)
    update(f, app, f"{what} = now() + interval '1 day'")
    seen = wait_until("over", lambda: [
        s for s in [f[0].status(app, **kw)] if s != 200])
    assert seen == [503]
    assert_unavailable(GATES[3], ask(f, GATES[3], app.auth(**kw)))
    f.proxy.open()
    f.wait_up()
    assert f[0].status(app, **kw) == 200


# -- how long a "yes" lasts

TTL = 5


class Sampled:
    """One app's answers, each with the time around it."""

    def __init__(self, f):
        self.f, self.seen = f, []
        self.app = f.register()
        assert f[0].status(self.app) == 200
        self.loaded = time.monotonic()

    def question(self):
        """The last one so far that Postgres answers: between what times."""
        before = time.monotonic()
        assert self.f[0].status(made_up()) == 401
        self.asked = before, time.monotonic()

    def sample(self, until):
        while (start := time.monotonic()) < until:
            got = self.f[0].status(self.app)
            self.seen.append((got, start, time.monotonic()))
            time.sleep(0.02)

    def check(self):
        """Good until its time is over, counted from that question, and not
        beyond; and also when what is at hand was as old as it may be."""
        before, after = self.asked
        assert {s for s, _, _ in self.seen} == {200, 503}
        assert not [s for s in self.seen
                    if s[0] == 200 and s[1] > after + TTL]
        assert not [s for s in self.seen
                    if s[0] == 503 and s[2] < before + TTL]
        assert [s for s in self.seen
                if s[0] == 200 and s[1] > self.loaded + TTL]


def cut(f):
    lose(f)


def flap(f):
    """Connections come about, answer, and never are proved."""
    f.proxy.lose = "A"
    f.proxy.cut()
    f.proxy.open()


def silent(f):
    """Noticed by nothing but a question that isn't answered."""
    f.proxy.hold()


@pytest.mark.parametrize("loss", [cut, flap, silent])
def test_until_when(cut_off, loss):
    f = cut_off(POSTERN_CACHE_TTL=str(TTL), POSTERN_QUERY_TIMEOUT="1")
    s = Sampled(f)
    while time.monotonic() < s.loaded + TTL - 1.5:
        s.question()
        time.sleep(0.02)
    loss(f)
    f.sql(DISABLE, s.app.public)  # nobody tells of it
    end = s.asked[1] + TTL
    if loss is flap:
        while time.monotonic() < end + 1:
            s.sample(time.monotonic() + 0.7)
            flap(f)
    s.sample(end + 1)
    s.check()
    f.proxy.lose = ""
    if loss is silent:
        f.proxy.release()
    elif loss is cut:
        f.proxy.open()
    wait_until("told", lambda: f[0].status(s.app) == 401)
    assert f.log_count("database_lost") == 1

"""Limits: whom they hold up, and that nobody can be held up by another."""
import os
import signal
import subprocess
import secrets

import pytest

from lib.process import at_once, wait_until
from lib.tokens import ADMIN, REGISTRATION, App, made_up
from test_invites import Invite
from test_metrics import value

BAD = "x" * 64  # no app's secret key


class Caller:
    """Requests by FastCGI, from any address."""

    def __init__(self, stack, address="192.0.2.1", forwarded=None):
        self.stack, self.address, self.forwarded = stack, address, forwarded

    def ask(self, headers=None, method="GET", path="/v1/whoami", body=b"",
            **params):
        params = {"REQUEST_METHOD": method, "REQUEST_URI": path,
                  "REMOTE_ADDR": self.address, **params}
        if self.forwarded is not None:
            params["HTTP_X_FORWARDED_FOR"] = self.forwarded
        for name, text in (headers or {}).items():
            params["HTTP_" + name.upper().replace("-", "_")] = text
        if body:
            params.update(CONTENT_TYPE="application/json",
                          CONTENT_LENGTH=len(body))
        return self.stack.fcgi(params, body)

    def bad(self):
        """The status for a key of its own and a wrong signature."""
        return self.ask(made_up().auth()).status

    def register(self, token=None):
        return self.ask({"Authorization": "Bearer " + token} if token else {},
                        "POST", "/v1/apps", b'{"name":"x"}')


def until_empty(call, n):
    """The statuses of n calls, and of one that finds nothing left."""
    assert [call() for _ in range(n)] == [401] * n
    assert call() == 429


@pytest.fixture()
def limited(make):
    def new(failures="3/3600", **env):
        workers = env.pop("workers", 2)
        s = make(way="alone", workers=workers,
                 env={"POSTERN_LIMIT_FAILURES": failures, **env})
        wait_until("ready", lambda: s.fcgi(
            {"REQUEST_METHOD": "GET", "REQUEST_URI": "/readyz"}).status == 200)
        r = Caller(s, "127.0.0.1").register(REGISTRATION)
        s.app = App(r.json())
        s.registered.append(s.app.secret)
        return s
    return new


@pytest.mark.covers("API2:2023", "API4:2023")
def test_failures_of_an_address(limited):
    s = limited()
    c, app = Caller(s), s.app
    until_empty(c.bad, 3)
    r = c.ask(made_up().auth())
    assert (r.status, r.code) == (429, "too_many_failures")
    # Three an hour: another in twenty minutes.
    assert 1100 < int(r["Retry-After"]) <= 1200
    assert r["WWW-Authenticate"] is None and r["Cache-Control"] == "no-store"
    # All sorts of wrong credentials, on the operator's paths too.
    for headers, path in [
            (app.auth(secret=BAD), "/v1/whoami"), (app.auth(secret=BAD), "/v1/auth"),
            ({"Authorization": "Bearer " + BAD}, "/v1/apps"),
            ({"X-Public-Key": app.public, "Authorization": "Basic eDp5"},
             "/v1/app")]:
        assert c.ask(headers, path=path).status == 429, (headers, path)
    # A good token passes; so does the operator's.
    assert c.ask(app.auth()).status == 200
    assert c.ask({"Authorization": "Bearer " + ADMIN}, path="/v1/apps").status == 200
    assert c.register(REGISTRATION).status == 201
    # A good signature is told what it needs to know.
    r = c.ask(app.auth(exp=-300))
    assert (r.status, r.code) == (401, "token_expired")
    # Nothing sent is nothing wrong.
    assert c.ask().code == "credentials_missing"
    # Others are not held up.
    assert Caller(s, "192.0.2.2").bad() == 401


def test_log_and_metrics_say_so(limited):
    s = limited("1/3600")
    c = Caller(s)
    until_empty(c.bad, 1)
    assert c.ask(s.app.auth(secret=BAD)).status == 429
    lines = [line for line in s.log_lines("request") if " status=429" in line]
    assert len(lines) == 2
    assert all("reason=too_many_failures" in x and "remote=192.0.2.1" in x
               for x in lines)
    assert "cause=key_unknown" in lines[0] and "cause=signature_bad" in lines[1]
    r = c.ask({"Authorization": "Bearer " + ADMIN}, path="/metrics")
    text = r.body.decode()
    assert value(text, "postern_refusals_total", reason="too_many_failures") == 2
    assert value(text, "postern_requests_total", status="429") == 2


@pytest.mark.covers("API2:2023")
def test_failures_of_a_key(limited):
    """From many addresses; the app itself does not notice."""
    s = limited()
    for i in range(3):
        assert Caller(s, f"198.51.100.{i}").ask(
            s.app.auth(secret=BAD)).status == 401
    assert Caller(s, "198.51.100.9").ask(s.app.auth(secret=BAD)).status == 429
    assert Caller(s, "198.51.100.9").ask(s.app.auth()).status == 200
    assert Caller(s, "198.51.100.9").bad() == 401
    # An unknown key is limited like a known one.
    stranger = made_up()
    got = [Caller(s, f"203.0.113.{i}").ask(stranger.auth()).status
           for i in range(4)]
    assert got == [401, 401, 401, 429]


def test_workers_share(limited):
    """However many they are, and also when they die in the middle."""
    s = limited("40/3600", workers=4)
    callers = [Caller(s) for _ in range(8)]
    got = at_once(8, lambda i: [callers[i].bad() for _ in range(4)])
    assert sum(got, []) == [401] * 32
    for pid in s.workers():
        os.kill(pid, signal.SIGKILL)
        wait_until("another worker", lambda pid=pid: pid not in s.workers()
                   and len(s.workers()) == 4)
    wait_until("served", lambda: (Caller(s).ask(s.app.auth()) or 0)
               and Caller(s).ask(s.app.auth()).status == 200)
    got = at_once(8, lambda i: [callers[i].bad() for _ in range(4)])
    assert sorted(sum(got, [])) == [401] * 8 + [429] * 24
    # And a reload forgets nothing.
    s.reload()
    assert Caller(s).bad() == 429


def test_killed_under_fire(limited):
    """Workers killed while they count: nothing stays locked, nobody waits."""
    s = limited("1000/60", workers=2)

    def fire(i):
        n = 0
        for _ in range(60):
            try:
                r = Caller(s, f"192.0.2.{i}").ask(made_up().auth())
            except OSError:
                continue
            n += r is not None and r.status == 401
        return n

    def kill(_):
        for _ in range(5):
            pids = s.workers()
            if pids:
                os.kill(pids[0], signal.SIGKILL)
            wait_until("workers", lambda: len(s.workers()) == 2)
        return 1

    got = at_once(5, lambda i: kill(i) if i == 0 else fire(i))
    assert all(got), got
    wait_until("served", lambda: getattr(
        Caller(s).ask(s.app.auth()), "status", 0) == 200)
    assert Caller(s, "192.0.2.250").bad() == 401


def test_ipv6_by_64(limited):
    s = limited()
    addresses = [f"2001:db8:1:2::{secrets.token_hex(2)}" for _ in range(4)]
    got = [Caller(s, a).bad() for a in addresses]
    assert got == [401, 401, 401, 429]
    assert Caller(s, "2001:db8:1:2:ffff:ffff:ffff:ffff").bad() == 429
    assert Caller(s, "2001:db8:1:3::1").bad() == 401
    # IPv4 in IPv6's writing is the same address.
    until_empty(Caller(s, "::ffff:192.0.2.1").bad, 3)
    assert Caller(s, "192.0.2.1").bad() == 429


# As many as a content network has.
MANY = [f"100.{i // 250}.{i % 250}.0/24" for i in range(3000)] + [
    f"2001:db8:{i:x}::/48" for i in range(0xab, 0x400)]


@pytest.mark.covers("API4:2023")
@pytest.mark.parametrize("more", [[], MANY], ids=["two", "thousands"])
def test_forwarded_for(limited, more):
    """Believed of trusted proxies only, and of them only what they added."""
    s = limited(POSTERN_TRUSTED_PROXIES=", ".join(
        [*more[::2], "10.0.0.0/8", "2001:db8:aa::/48", *more[1::2]]))
    # A stranger's word, a new one each time.
    got = [Caller(s, "192.0.2.1", f"203.0.113.{i}").bad() for i in range(4)]
    assert got == [401, 401, 401, 429]
    # Behind a proxy: clients apart, whatever they say themselves.
    for client in ("198.51.100.1", "198.51.100.2"):
        got = [Caller(s, "10.0.0.1", f"203.0.113.{i}, 10.9.9.9, {client}"
                      ).bad() for i in range(4)]
        assert got == [401, 401, 401, 429]
    # Two proxies in a row.
    assert Caller(s, "2001:db8:aa::1", "198.51.100.2, 10.0.0.1").bad() == 429
    # The client's address in the log is the one that counts.
    assert any("remote=198.51.100.2" in line
               for line in s.log_lines("request"))
    # A header that came twice: the last one is nearest to us.
    def twice(i):
        return s.fcgi([
            ("REQUEST_METHOD", "GET"), ("REQUEST_URI", "/v1/whoami"),
            ("REMOTE_ADDR", "10.0.0.1"),
            ("HTTP_X_FORWARDED_FOR", f"203.0.113.{i}"),
            ("HTTP_X_FORWARDED_FOR", "198.51.100.3"),
            ("HTTP_X_PUBLIC_KEY", secrets.token_hex(32)),
            ("HTTP_AUTHORIZATION", made_up().auth()["Authorization"])]).status

    assert [twice(i) for i in range(4)] == [401, 401, 401, 429]


@pytest.mark.covers("API8:2023")
def test_untrusted_by_default(limited):
    s = limited()
    got = [Caller(s, "10.0.0.1", f"203.0.113.{i}").bad() for i in range(4)]
    assert got == [401, 401, 401, 429]


def test_address_unknown(limited):
    """Those of whom no address is told share a bucket."""
    s = limited()
    got = [Caller(s, a).bad() for a in ("", "unix:", "nonsense", "")]
    assert got == [401, 401, 401, 429]
    assert Caller(s, "").ask(s.app.auth()).status == 200


def test_off(limited):
    s = limited("0")
    c = Caller(s)
    assert {c.bad() for _ in range(400)} == {401}


@pytest.mark.covers("API8:2023")
def test_defaults(limited):
    """On by default, and generous."""
    s = limited(None)
    c = Caller(s)
    assert {c.bad() for _ in range(300)} == {401}
    wait_until("429", lambda: c.bad() == 429)


def test_tokens_come_back(limited):
    """One a second."""
    s = limited("1/1")
    c = Caller(s)
    wait_until("429", lambda: c.bad() == 429)
    assert c.ask(made_up().auth())["Retry-After"] in ("1", None)
    wait_until("401 again", lambda: c.bad() == 401)


@pytest.mark.covers("API4:2023", "API6:2023")
def test_registrations(limited):
    s = limited(POSTERN_REGISTRATION="open",
                POSTERN_LIMIT_REGISTRATIONS="2/3600")
    c = Caller(s)
    invite = Invite(s)
    # With an invite at hand; there is no need of it yet.
    assert [c.register(t).status for t in (None, invite.token)] == [201] * 2
    r = c.register()
    assert (r.status, r.code) == (429, "too_many_registrations")
    assert 1700 < int(r["Retry-After"]) <= 1800
    assert c.register(BAD).status == 429
    # With a good token there is no limit.
    for token in [REGISTRATION, ADMIN] * 3:
        assert c.register(token).status == 201
    assert invite.uses == 0
    assert c.register(invite.token).status == 201
    assert invite.uses == 1
    assert Caller(s, "192.0.2.2").register().status == 201
    actors = [a for a, in s.sql("SELECT actor FROM app_events")]
    assert "admin" in actors and "registration" in actors
    assert sum(a.startswith("invite:") for a in actors) == 1
    # Failed authentications and registrations are apart.
    assert c.bad() == 401


def test_tokens_are_not_counted(limited):
    """Who registers by token leaves an address's bucket to strangers."""
    s = limited(POSTERN_REGISTRATION="open",
                POSTERN_LIMIT_REGISTRATIONS="1/3600")
    c = Caller(s)
    for _ in range(3):
        assert c.register(REGISTRATION).status == 201
    assert [c.register().status for _ in range(2)] == [201, 429]


def test_no_registration_limit_elsewhere(limited):
    s = limited("100/60", POSTERN_LIMIT_REGISTRATIONS="1/3600")
    c = Caller(s)
    assert {c.register(REGISTRATION).status for _ in range(4)} == {201}
    assert c.register().code == "credentials_missing"


@pytest.mark.covers("API4:2023")
def test_rate_of_an_app(limited):
    s = limited(POSTERN_LIMIT_APP="5/3600")
    other = App(Caller(s).register(REGISTRATION).json())
    got = at_once(8, lambda i: Caller(s, f"192.0.2.{i}").ask(
        s.app.auth(**({"sub": "u"} if i % 2 else {}))).status)
    assert sorted(got) == [200] * 5 + [429] * 3
    r = Caller(s).ask(s.app.auth())
    assert (r.status, r.code) == (429, "app_rate_limited")
    assert 600 < int(r["Retry-After"]) <= 720
    assert Caller(s).ask(s.app.auth(), path="/v1/auth").status == 429
    assert Caller(s).ask(other.auth()).status == 200
    # Nobody can use it up without the app's secret.
    for i in range(6):
        Caller(s, f"198.51.100.{i}").ask(other.auth(secret=BAD))
    assert Caller(s).ask(other.auth()).status == 200


def test_a_limited_token_is_not_used_up(limited):
    s = limited(POSTERN_LIMIT_APP="1/2", POSTERN_JWT_SINGLE_USE="on")
    c = Caller(s)
    assert c.ask(s.app.auth(jti="a")).status == 200
    again = s.app.auth(jti="b")
    r = c.ask(again)
    assert r.status in (200, 429)
    if r.status == 429:
        wait_until("its turn", lambda: c.ask(again).status == 200)
    assert c.ask(again).status in (401, 429)


def test_gate_of_nginx(limited):
    """nginx's auth_request knows 401 and 403: a 429 comes as the latter."""
    s = limited("1/3600")
    c = Caller(s)
    assert c.ask(made_up().auth(), POSTERN_GATE="nginx").status == 401
    r = c.ask(made_up().auth(), POSTERN_GATE="nginx")
    assert (r.status, r["X-Postern-Status"]) == (403, "429")
    assert int(r["Retry-After"]) > 3000
    assert "too_many_failures" in r["X-Postern-Problem"]
    r = c.ask(made_up().auth(), POSTERN_GATE="plain")
    assert (r.status, r.code) == (429, "too_many_failures")


def test_single_process(limited):
    s = limited("2/3600", workers=0)
    until_empty(Caller(s).bad, 2)
    assert Caller(s).ask(s.app.auth()).status == 200


@pytest.mark.parametrize("name,value", [
    ("FAILURES", "5"), ("FAILURES", "5/0"), ("FAILURES", "0/5"),
    ("REGISTRATIONS", "1000001/1"), ("APP", "5/86401"), ("APP", "a/b"),
    ("APP", "5/5/5"), ("APP", "-1/5")])
def test_bad_rates(scratch, name, value):
    refused(scratch, "POSTERN_LIMIT_" + name, value)


@pytest.mark.parametrize("value", ["localhost", "10.0.0.0/33",
                                   "1.2.3.4;5.6.7.8"])
def test_bad_proxies(scratch, value):
    for before in ([], MANY):
        refused(scratch, "POSTERN_TRUSTED_PROXIES", value, before)


def refused(scratch, name, value, before=()):
    r = subprocess.run(
        [scratch.bin / "postern.fcgi"], capture_output=True, text=True, env={
            "POSTERN_DATABASE_URL": "x=y", "POSTERN_LISTEN": "127.0.0.1:1",
            "POSTERN_MASTER_KEY": secrets.token_hex(32),
            name: " ".join([*before, value])})
    assert r.returncode == 1 and name in r.stderr and value in r.stderr
    assert len(r.stderr) < 500

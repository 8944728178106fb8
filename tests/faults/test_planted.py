"""A table of verdicts whose every entry is wrong (plant.c, in a program that
is not the product): no flaw of the table lets a token in whose MAC is none."""
import contextlib
import shutil

import jwt
import pytest

from lib.client import Client
from lib.process import BUILD, wait_until
from lib.stack import Stack
from lib.tokens import b64, raw_token


class Planted(Stack):
    def command(self):
        program = self.scratch.bin / "planted"
        if not program.exists():
            shutil.copy(BUILD / "faults" / "planted", program)
        return [program]


@pytest.fixture(scope="module")
def planted(pg):
    with Planted(pg, way="alone", workers=0) as s, \
            contextlib.closing(Client(sock=s.sock)) as c:
        wait_until("ready", lambda: c.request("GET", "/readyz").status == 200)
        yield c


@pytest.fixture(scope="module")
def app(planted):
    return planted.register()


def ask(planted, app, token, path="/v1/whoami"):
    return planted.request("GET", path, {
        "X-Public-Key": app.public, "Authorization": "Bearer " + token})


def test_it_lies(planted, app):
    """What is well signed passes, whatever it says: the hook works."""
    for token in (app.token(exp=-3600), app.token(exp=None), app.token(sub=""),
                  raw_token(app.secret, payload="[]"),
                  raw_token(app.secret, '{"alg":"none"}')):
        r = ask(planted, app, token, "/v1/auth")
        assert (r.status, r["X-Token-Subject"]) == (204, "planted"), r


def forgeries(app, other):
    good = app.token(sub="ada")
    head, payload, mac = good.split(".")
    yield "unsigned", f"{head}.{payload}."
    yield "none", jwt.encode({"sub": "x"}, None, algorithm="none")
    yield "none, with a MAC", f'{b64(b"{}")}.{payload}.{mac}'
    yield "another's", other.token(sub="ada")
    yield "another header", f'{b64(chr(32))}.{payload}.{mac}'
    yield "another payload", f'{head}.{b64(chr(32))}.{mac}'
    yield "cut", good[:-1]
    yield "zeros", f"{head}.{payload}.{b64(bytes(32))}"
    yield "HS512", f"{head}.{payload}.{b64(bytes(64))}"
    yield "empty key", jwt.encode({"sub": "ada"}, "", algorithm="HS256")
    yield "decoded key", jwt.encode({"sub": "ada"}, bytes.fromhex(app.secret),
                                    algorithm="HS256")
    for i in range(len(good)):
        swapped = "A" if good[i] != "A" else "B"
        yield f"character {i}", good[:i] + swapped + good[i + 1:]


@pytest.mark.covers("RFC8725-3.3")
def test_no_forgery_passes(planted, app):
    """Also those of which the genuine one was just seen."""
    other = planted.register()
    for what, token in forgeries(app, other):
        assert ask(planted, app, app.token(sub="ada")).status == 200
        r = ask(planted, app, token)
        assert (r.status, r.code) == (401, "invalid_credentials"), what


@pytest.mark.covers("RFC8725-3.3")
def test_no_state_of_the_app_is_overlooked(planted, app):
    """An app that must not be used is asked about before the table is."""
    gone = planted.register()
    assert ask(planted, gone, gone.token()).status == 200
    assert planted.admin(
        "POST", f"/v1/apps/{gone.public}/disable").status == 200
    wait_until("refused",
               lambda: ask(planted, gone, gone.token()).status == 401)
    assert ask(planted, app, gone.token()).status == 401

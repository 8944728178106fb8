"""What a process's memory holds, as a debugger that is allowed to look finds
it: the cores of a live master and of a worker."""
import base64
import pathlib
import subprocess
import time

import pytest

from lib.fastcgi import FastCGI
from lib.process import SANITIZED
from lib.stack import Stack
from lib.tokens import ADMIN, REGISTRATION

METRICS = "metrics-token-for-the-tests-0000000001"
USUAL = "0x33"  # the memory that a core has by the kernel's default (core(5))
IDLE = 0.5      # seconds; a worker is idle ten times sooner
PAUSE = 0.05    # in which a worker reads what was sent

pytestmark = pytest.mark.skipif(
    SANITIZED, reason="the sanitizer's quarantine keeps what was freed")


@pytest.fixture(scope="module")
def used(pg):
    """A server that has made, sealed, opened and used keys, and is idle."""
    with Stack(pg, workers=1, env={"POSTERN_METRICS_TOKEN": METRICS}) as s:
        app = s.register()
        now = s.request("POST", "/v1/app/rotate", app.auth(),
                        {}).json()["secret_key"]
        for secret in (app.secret, now):
            auth = app.auth(secret=secret, sub="ada")
            for _ in range(3):  # its verdict is kept
                assert s.get("/v1/whoami", auth).status == 200
        assert s.get("/v1/whoami", app.auth(secret="0" * 64)).status == 401
        assert s.request("PUT", "/v1/users/ada", app.auth(secret=now),
                         {"pad": "x" * 20000}).status == 201
        for path, token in (("/v1/apps", ADMIN), ("/metrics", METRICS)):
            assert s.get(path, {
                "Authorization": "Bearer " + token}).status == 200
        for way in in_pieces, in_many_params, unfinished:
            way(s)
        time.sleep(IDLE)
        s.public_key = app.public
        s.kept_secret = {
            "master key": forms(s.master_key), "secret key": forms(now),
            "secret key before": forms(app.secret),
            "admin token": [ADMIN.encode()],
            "registration token": [REGISTRATION.encode()],
            "metrics token": [METRICS.encode()],
            "token": parts(auth["Authorization"])}
        yield s


PARAMS = {"REQUEST_METHOD": "GET", "REQUEST_URI": "/v1/apps",
          "HTTP_AUTHORIZATION": "Bearer " + ADMIN}


def in_pieces(stack):
    """Each record is read by itself, the last ones being short."""
    with FastCGI(stack.sock) as f:
        f.begin()
        for kind, content in ((4, f.encode(PARAMS)), (4, b""), (5, b"")):
            time.sleep(PAUSE)
            f.record(kind, content)
        assert f.answer().status == 200


def in_many_params(stack):
    """More than libfcgi reads at once, the token among the first."""
    with FastCGI(stack.sock) as f:
        f.begin()
        f.params({**PARAMS, "HTTP_X_PAD": "x" * 9000})
        f.stdin(b"")
        assert f.answer().status == 200


def unfinished(stack):
    """The web server goes away among the params."""
    with FastCGI(stack.sock) as f:
        f.begin()
        f.params(PARAMS, end=False)
        time.sleep(PAUSE)


def forms(secret):
    """A key as its characters and as what they stand for."""
    raw = bytes.fromhex(secret)
    return [secret.encode(), secret.upper().encode(), raw,
            base64.b64encode(raw).rstrip(b"=")]


def parts(token):
    """What a token is made of: its MAC also as the bytes that it stands for."""
    header, payload, mac = token.split()[1].split(".")
    return [f"{header}.{payload}".encode(), payload.encode(), mac.encode(),
            base64.urlsafe_b64decode(mac + "=")]


def core(pid, directory, which=None):
    """The core that gdb writes of a process that goes on; which: another
    coredump_filter than the one that it has."""
    path = pathlib.Path(f"/proc/{pid}/coredump_filter")
    before = path.read_text().strip()
    if which:
        path.write_text(which)
    try:
        subprocess.run(["gcore", "-o", directory / "core", str(pid)],
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                       timeout=120, check=True)
    finally:
        path.write_text("0x" + before)
    return (directory / f"core.{pid}").read_bytes()


@pytest.mark.covers("ASVS-V6.4.2", "ASVS-V2.10.4")
@pytest.mark.parametrize("who", ["master", "worker"])
def test_no_secret(used, who, tmp_path):
    """Not in the core that it would leave, which has no memory at all, and not
    in one as the kernel makes them of other programs either."""
    pid = used.process.pid if who == "master" else used.workers()[0]
    own, usual = core(pid, tmp_path), core(pid, tmp_path, USUAL)
    assert used.pg.url(used.database).encode() not in own
    # What is no secret is there, so that all of its memory was looked at.
    assert b"POSTERN_" in usual and len(usual) > 100 * len(own)
    if who == "worker":
        assert used.public_key.encode() in usual
    for what, found in used.kept_secret.items():
        for text in found:
            assert text not in own, what
            assert text not in usual, what
    for name in ("environ", "cmdline"):
        text = pathlib.Path(f"/proc/{pid}/{name}").read_bytes()
        for what, found in used.kept_secret.items():
            assert not any(f in text for f in found), (name, what)

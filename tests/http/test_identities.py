"""The tool on a Postgres that asks who you are, as Debian installs it: root's
commands, the server's user's, and everybody else's."""
import os
import pathlib
import pwd
import subprocess

import psycopg2
import pytest

from lib.postgres import Postgres
from lib.process import PATIENCE, SAN_ENV, USER, stop

# Users that every system has: the cluster's and tables', and the server's.
OWNER, SERVER, OTHER = USER, "nobody", "daemon"

pytestmark = pytest.mark.skipif(
    os.getuid() != 0, reason="only root can be more than one user")


def as_user(name):
    user = pwd.getpwnam(name)

    def become():
        os.initgroups(name, user.pw_gid)
        os.setgid(user.pw_gid)
        os.setuid(user.pw_uid)

    return become


class Peer(Postgres):
    """Only who is the role's system user gets in."""

    def connect(self, name, user=OWNER):
        """As OWNER: our own effective user, for a moment."""
        os.seteuid(pwd.getpwnam(OWNER).pw_uid)
        try:
            c = psycopg2.connect(host=str(self.dir), dbname=name, user=OWNER)
        finally:
            os.seteuid(0)
        c.autocommit = True
        return c


@pytest.fixture(scope="module")
def peer(scratch):
    p = Peer.__new__(Peer)
    p.dir, p.scratch, p.settings, p.count = scratch.dir(), scratch, [], 0
    p.bin = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"))[-1]
    subprocess.run(
        [p.bin / "initdb", "-D", p.dir / "data", "-A", "peer", "-U", OWNER,
         "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"], check=True,
        stdout=subprocess.DEVNULL, preexec_fn=as_user(OWNER), cwd="/")
    p.start()
    c = p.connect("postgres")
    c.cursor().execute(f"CREATE ROLE {SERVER} LOGIN")
    c.cursor().execute("CREATE ROLE ghost LOGIN")
    c.cursor().execute(f"CREATE ROLE {OTHER} LOGIN")
    c.cursor().execute("CREATE DATABASE site")
    c.close()
    yield p
    stop(p.process)


@pytest.fixture(scope="module")
def etc(peer, scratch):
    """The settings as README makes them: the server's group reads the one
    file, root alone the other."""
    d = scratch.dir()
    os.chown(d, 0, pwd.getpwnam(SERVER).pw_gid)
    d.chmod(0o750)
    for name, role, mode in (("postern.conf", SERVER, 0o640),
                             ("operator.conf", OWNER, 0o600)):
        text = (f"POSTERN_DATABASE_URL = host={peer.dir} dbname=site"
                f" user={role}\n")
        if role == SERVER:
            text += f"POSTERN_MASTER_KEY = {os.urandom(32).hex()}\n"
        path = d / name
        path.write_text(text)
        os.chown(path, 0, pwd.getpwnam(SERVER).pw_gid)
        path.chmod(mode)
    return d


@pytest.fixture(scope="module")
def tool(scratch, etc):
    def run(user, *args, env=None):
        r = subprocess.run(
            [scratch.bin / "postern", *args], text=True, capture_output=True,
            env={"PATH": os.environ["PATH"],
                 "POSTERN_CONFIG": str(etc / "postern.conf"), **SAN_ENV,
                 **(env or {})}, stdin=subprocess.DEVNULL, timeout=PATIENCE,
            preexec_fn=None if user == "root" else as_user(user), cwd="/")
        assert "event=" not in r.stderr, r
        return r
    return run


@pytest.fixture(scope="module")
def made(tool):
    r = tool("root", "migrate", "--grant", SERVER)
    assert (r.returncode, r.stderr) == (0, ""), r


def test_root_does_it_all(tool, made, peer):
    for args in (["app", "create", "By root"], ["app", "list"],
                 ["invite", "--uses", "5", "--expires", "7d"], ["check"],
                 ["reseal", "--dry-run"],
                 ["migrate", "--grant", SERVER]):
        r = tool("root", *args)
        assert r.returncode == 0 and "denied" not in r.stderr, (args, r)
    # The trail has who it was, not whom the database let in.
    c = peer.connect("site")
    cur = c.cursor()
    cur.execute("SELECT DISTINCT actor FROM app_events")
    assert cur.fetchall() == [("cli:root",)]
    c.close()


def test_check_is_the_servers(tool, made, peer):
    """As the server's role, also by root: what it says is what requests get."""
    c = peer.connect("site")
    c.cursor().execute(f"REVOKE ALL ON users FROM {SERVER}")
    try:
        for user in ("root", SERVER):
            r = tool(user, "check")
            assert r.returncode == 1
            assert f"{SERVER} lacks" in r.stdout
    finally:
        tool("root", "migrate", "--grant", SERVER)
        c.close()
    for user in ("root", SERVER):
        assert tool(user, "check").returncode == 0


def test_the_servers_user(tool, made):
    """It can do what the server can, and is told who can do the rest."""
    assert tool(SERVER, "app", "list").returncode == 0
    for args in (["invite"], ["invite", "list"],
                 ["migrate", "--grant", OTHER]):
        r = tool(SERVER, *args)
        assert r.returncode == 1
        assert "permission denied" in r.stderr
        assert "operator.conf" in r.stderr


def test_somebody_else(tool, made, peer):
    url = f"host={peer.dir} dbname=site user="
    r = tool(OTHER, "app", "list", env={
        "POSTERN_CONFIG": "", "POSTERN_DATABASE_URL": url + SERVER})
    assert r.returncode == 1
    assert f"takes role {SERVER} from the system user {SERVER}" in r.stderr
    # His settings are not his to read.
    assert "Permission denied" in tool(OTHER, "app", "list").stderr
    r = tool("root", "app", "list", env={
        "POSTERN_CONFIG": "", "POSTERN_DATABASE_URL": url + "ghost"})
    assert r.returncode == 1 and "no system user ghost" in r.stderr


def test_the_environment_is_first(tool, made, peer):
    r = tool("root", "invite", env={
        "POSTERN_DATABASE_URL": f"host={peer.dir} dbname=site user={SERVER}"})
    assert r.returncode == 1 and "permission denied" in r.stderr


def test_what_is_wrong_in_it_is_said(tool, made, etc):
    path = etc / "operator.conf"
    good = path.read_text()
    try:
        path.write_text("POSTERN_DATABASE_ULR = x\n")
        r = tool("root", "app", "list")
        assert r.returncode == 1 and f"{path}:1" in r.stderr
        path.write_text(good)
        path.chmod(0o604)
        r = tool("root", "app", "list")
        assert r.returncode == 1 and "open to others" in r.stderr
        # The server's part doesn't look at it.
        assert tool("root", "check").returncode == 0
    finally:
        path.write_text(good)
        path.chmod(0o600)

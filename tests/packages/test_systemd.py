"""The units: sound and hardened, and their environment is one that the server
starts in, on a socket handed over. There is no systemd to run them here."""
import concurrent.futures
import os
import re
import secrets
import shutil
import signal
import struct
import subprocess

import pytest

from lib.process import REPO, SANITIZED, demoted, wait_until
from lib.stack import Stack
from lib.tokens import ADMIN, REGISTRATION, App
from packaging_tools import ENV, call

UNITS = REPO / "contrib/systemd"
SERVICE = (UNITS / "postern.service").read_text()


def values(name, text=SERVICE):
    """All values of a unit's key, in order."""
    return re.findall(rf"^{name}=(.*)$", text, re.M)


@pytest.fixture()
def units(scratch, installed):
    """A copy of the installed units, with the path where the program is."""
    d = scratch.dir()
    for name in ("postern.service", "postern.socket"):
        text = (installed / "usr/local/lib/systemd/system" / name).read_text()
        (d / name).write_text(text.replace(
            "ExecStart=/usr/local", f"ExecStart={installed}/usr/local"))
    return d


def test_verify(units):
    r = call("systemd-analyze", "verify", "--man=no", units / "postern.service",
             units / "postern.socket", check=False)
    assert (r.returncode, r.stdout) == (0, "")
    # It does see what is wrong.
    path = units / "postern.service"
    path.write_text(path.read_text().replace("Type=exec", "Type=soon"))
    assert "soon" in call("systemd-analyze", "verify", "--man=no", path,
                          check=False).stdout


# -- the master key as an encrypted credential

DROP_INS = {"service": (UNITS / "encrypted-service.conf").read_text(),
            "socket": (UNITS / "encrypted-socket.conf").read_text()}


def effective(kind, key):
    """A key's values in the unit with the drop-in, of which an empty one takes
    away what stands before it."""
    out = []
    for value in values(key, (UNITS / f"postern.{kind}").read_text() + "\n" +
                        DROP_INS[kind]):
        out = [*out, value] if value else []
    return out


@pytest.fixture()
def with_drop_ins(units):
    for kind, text in DROP_INS.items():
        d = units / f"postern.{kind}.d"
        d.mkdir()
        (d / "encrypted.conf").write_text(text)
    return units


def test_drop_ins(with_drop_ins, installed):
    """Sound, installed as an example, and the key in clear isn't waited for."""
    command = ["systemd-analyze", "verify", "--man=no",
               *with_drop_ins.glob("postern.*[et]")]
    r = call(*command, check=False)
    assert (r.returncode, r.stdout) == (0, "")
    f = with_drop_ins / "postern.service.d/encrypted.conf"
    f.write_text(f.read_text().replace("LoadCredentialEncrypted=",
                                       "LoadCredentialEncripted="))
    assert "LoadCredentialEncripted" in call(*command, check=False).stdout
    for kind in DROP_INS:
        paths = effective(kind, "ConditionPathExists")
        assert paths == ["/etc/postern/master-key.cred",
                         "/etc/postern/database-url"], kind
        assert "/etc/postern/master-key" in values(
            "ConditionPathExists", (UNITS / f"postern.{kind}").read_text())
        assert (installed / "usr/local/share/doc/postern/contrib/systemd" /
                f"encrypted-{kind}.conf").read_text() == DROP_INS[kind]
        assert not (installed / "usr/local/lib/systemd/system" /
                    f"encrypted-{kind}.conf").exists()
    # All that the unit hands over, and the key in no other way.
    assert {*values("LoadCredential"),
            "master-key:/etc/postern/master-key.cred"} == {
        *effective("service", "LoadCredential"),
        *values("LoadCredentialEncrypted", DROP_INS["service"]),
        "master-key:/etc/postern/master-key"}
    assert not any("master-key" in v for v in
                   effective("service", "LoadCredential"))


@pytest.fixture()
def creds(scratch):
    """systemd-creds with a host's key of its own, the machine's untouched."""
    if os.getuid() != 0:
        pytest.skip("needs root")
    d = scratch.dir()

    def run(*args, host="host", **kw):
        return subprocess.run(
            ["systemd-creds", *args], capture_output=True, **kw,
            env={**ENV, "SYSTEMD_CREDENTIAL_SECRET": str(d / host)})

    return run


def encrypted(creds, f, key):
    r = creds("encrypt", "--with-key=host", "--name=master-key", "-", str(f),
              input=key.encode(), check=True)
    assert key.encode() not in f.read_bytes() + r.stdout
    return f


@pytest.mark.covers("ASVS-V6.4.1")
def test_encrypted_round_trip(creds, scratch):
    key = secrets.token_hex(32)
    f = encrypted(creds, scratch.dir() / "master-key.cred", key)

    def opens(name="master-key", path=f, **kw):
        r = creds("decrypt", f"--name={name}", str(path), "-", **kw)
        return r.stdout.decode() if r.returncode == 0 else None

    assert opens() == key
    # Neither as another credential, nor altered, nor on another host.
    assert opens("admin-token") is None
    altered = f.with_name("altered")
    text = f.read_text()
    at = len(text) // 2
    altered.write_text(
        text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1:])
    assert opens(path=altered) is None
    other = f.with_name("other")
    creds("encrypt", "--with-key=host", "--name=master-key", "-", str(other),
          input=b"x", check=True, host="other")
    assert opens(host="other") is None
    assert opens(path=other) is None


@pytest.mark.covers("ASVS-V6.4.1")
def test_starts_by_encrypted(pg, creds):
    """What systemd opened is in CREDENTIALS_DIRECTORY, and nowhere else."""
    d = pg.scratch.dir()
    with Stack(pg, way="idle", workers=1, ready=False) as s:
        encrypted(creds, d / "master-key.cred", s.env.pop("POSTERN_MASTER_KEY"))
        handed = d / "credentials"
        handed.mkdir()
        for line in effective("service", "Environment"):
            name, path = line.split("=", 1)
            f = handed / path.removeprefix("%d/")
            if f.name == "master-key":
                creds("decrypt", "--name=master-key",
                      str(d / "master-key.cred"), str(f), check=True)
            else:
                f.write_text(s.env.pop(name.removesuffix("_FILE")))
            f.chmod(0o400)
            shutil.chown(f, "www-data", "www-data")
            s.env[name] = str(f)
        handed.chmod(0o500)
        shutil.chown(handed, "www-data", "www-data")
        s.env["CREDENTIALS_DIRECTORY"] = str(handed)
        s.start_postern()
        r = s.fcgi({"REQUEST_METHOD": "POST", "REQUEST_URI": "/v1/apps",
                    "CONTENT_TYPE": "application/json", "CONTENT_LENGTH": 15,
                    "HTTP_AUTHORIZATION": "Bearer " + REGISTRATION},
                   b'{"name":"unit"}')
        assert r.status == 201, s.log()


@pytest.mark.covers("API8:2023")
def test_exposure(units):
    """Below 2.0 of 10."""
    command = ["systemd-analyze", "security", "--offline=yes",
               units / "postern.service"]
    r = call(*command, "--threshold=20", check=False)
    assert r.returncode == 0, r.stdout
    assert call(*command, "--threshold=5", check=False).returncode != 0


def test_socket(units):
    text = (units / "postern.socket").read_text()
    assert values("SocketMode", text) == ["0660"]
    path, = values("ListenStream", text)
    example = (REPO / "lighttpd.conf.example").read_text()
    assert f'var.socket  = "{path}"' in example


def credentials(d, settings):
    """What LoadCredential= makes of files: 0400, of the unit's user, in a
    directory of its own. Gives the environment that the unit sets."""
    source = dict(v.split(":") for v in values("LoadCredential"))
    env = {}
    for line in values("Environment"):
        name, path = line.split("=", 1)
        setting = name.removesuffix("_FILE")
        credential = path.removeprefix("%d/")
        assert source.pop(credential) == f"/etc/postern/{credential}"
        f = d / credential
        f.write_text(settings[setting] + "\n")
        f.chmod(0o400)
        if os.getuid() == 0:
            shutil.chown(f, "www-data", "www-data")
        env[name] = str(f)
    assert source == {}
    d.chmod(0o500)
    return env


class Activated(Stack):
    """Postern as the unit starts it, by socket activation."""

    prefix = ()
    program = None

    def __init__(self, pg, **kw):
        super().__init__(pg, way="alone", **kw)

    def start_postern(self, wait=True):
        d = self.scratch.dir()
        env = credentials(d, self.env)
        if os.getuid() == 0:
            shutil.chown(d, "www-data", "www-data")
        # The other settings, as in postern.conf.
        env["POSTERN_WORKERS"] = self.env["POSTERN_WORKERS"]
        given = {**self.base_env(), **env, "POSTERN_CONFIG": ""}
        self.process = subprocess.Popen(
            [*self.prefix, "systemd-socket-activate", "-l", self.sock,
             *[w for k, v in given.items() for w in ("-E", f"{k}={v}")],
             self.program or self.scratch.bin / "postern.fcgi"], env=ENV,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=open(self.dir / "log", "ab"), preexec_fn=demoted(),
            cwd="/")
        wait_until("the socket", self.listening)

    def ask(self, method, path, headers=None, body=b""):
        params = {"REQUEST_METHOD": method, "REQUEST_URI": path,
                  "SERVER_PROTOCOL": "HTTP/1.1", "REMOTE_ADDR": "127.0.0.1"}
        for name, value in (headers or {}).items():
            params["HTTP_" + name.upper().replace("-", "_")] = value
        if body:
            params.update(CONTENT_TYPE="application/json",
                          CONTENT_LENGTH=len(body))
        return self.fcgi(params, body)

    def enrol(self):
        r = self.ask("POST", "/v1/apps", {
            "Authorization": "Bearer " + self.env[
                "POSTERN_REGISTRATION_TOKEN"]}, b'{"name":"unit"}')
        assert r.status == 201, r
        self.registered.append(r.json()["secret_key"])
        return App(r.json())


def test_activation(pg):
    with Activated(pg) as s:
        app = s.enrol()
        assert s.ask("GET", "/v1/whoami", app.auth()).status == 200
        assert s.ask("GET", "/v1/apps", {
            "Authorization": "Bearer " + ADMIN}).status == 200
        assert len(s.workers()) == 2
        for fd in (0, 1, 2):
            assert "socket" not in os.readlink(f"/proc/{s.process.pid}/fd/{fd}")
        assert not s.log_lines("secrets_not_locked")


def test_reload_keeps_the_socket(pg):
    """New workers on the socket handed over; no request fails meanwhile."""
    with Activated(pg) as s:
        app = s.enrol()
        old = set(s.workers())
        done = False

        def client():
            count = 0
            while not done:
                assert s.ask("GET", "/v1/whoami", app.auth()).status == 200
                count += 1
            return count

        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            clients = [pool.submit(client) for _ in range(4)]
            try:
                s.process.send_signal(signal.SIGHUP)
                wait_until("new workers", lambda: len(s.workers()) == 2
                           and not old & set(s.workers()))
            finally:
                done = True
            assert all(c.result() > 0 for c in clients)
        assert s.log_lines("reload")


def acl_for(uid):
    """An access list: the owner and uid may read (acl(5), version 2)."""
    none = 0xffffffff
    entries = [(0x01, 4, none), (0x02, 4, uid), (0x04, 0, none),
               (0x10, 4, none), (0x20, 0, none)]
    return struct.pack("<I", 2) + b"".join(
        struct.pack("<HHI", *e) for e in entries)


@pytest.mark.covers("ASVS-V6.4.1")
@pytest.mark.skipif(os.getuid() != 0, reason="needs root")
def test_credential_by_acl(scratch):
    """Where it can, systemd leaves the file root's and adds an ACL: 0440."""
    import pwd

    d = scratch.dir()
    f = d / "master-key"
    f.write_text(secrets.token_hex(32))
    f.chmod(0o400)
    shutil.chown(f, "root", "root")
    os.setxattr(f, "system.posix_acl_access",
                acl_for(pwd.getpwnam("www-data").pw_uid))
    assert f.stat().st_mode & 0o777 == 0o440
    r = subprocess.run(
        [scratch.bin / "postern.fcgi"], capture_output=True, text=True,
        env={**ENV, "POSTERN_CONFIG": "", "POSTERN_MASTER_KEY_FILE": str(f),
             "POSTERN_DATABASE_URL": "host=/nonexistent",
             "POSTERN_LISTEN": "unix:/nonexistent/s"}, preexec_fn=demoted())
    assert "/nonexistent/s" in r.stderr, r.stderr


# -- what the unit forbids, the server does not do

def system_calls(filters):
    """The calls that SystemCallFilter= lets through, of systemd's own lists."""
    def expand(name):
        if not name.startswith("@"):
            return {name}
        out = set()
        for line in call("systemd-analyze", "syscall-filter",
                         name).stdout.splitlines()[1:]:
            word = line.strip()
            if word and not word.startswith("#"):
                out |= expand(word)
        return out

    allowed = set()
    for value in filters:
        words = value.removeprefix("~").split()
        for word in words:
            if value.startswith("~"):
                allowed -= expand(word)
            else:
                allowed |= expand(word)
    return allowed


@pytest.mark.skipif(SANITIZED, reason="the sanitizers' calls are not ours")
def test_system_calls(pg):
    """A whole life, start, requests, reload and stop, uses none but those
    allowed, and maps nothing writable as code."""
    trace = pg.scratch.dir() / "trace"

    class Traced(Activated):
        prefix = ("strace", "-D", "-f", "-qq", "-o", str(trace))

    with Traced(pg) as s:
        app = s.enrol()
        assert s.ask("GET", "/v1/whoami", app.auth()).status == 200
        assert s.ask("GET", "/metrics", {
            "Authorization": "Bearer " + ADMIN}).status in (200, 404)
        old = set(s.workers())
        s.process.send_signal(signal.SIGHUP)
        wait_until("new workers", lambda: len(s.workers()) == 2
                   and not old & set(s.workers()))
        assert s.ask("GET", "/v1/whoami", app.auth()).status == 200
    wait_until("the trace", lambda: re.search(
        rf"^{s.process.pid} +exit_group\(0\) ", trace.read_text(), re.M))
    # What comes before is the activation's.
    start = f'execve("{pg.scratch.bin}/postern.fcgi"'
    lines = trace.read_text().partition(start)[2].splitlines()
    used = {m.group(1) for m in (re.match(
        r"\d+ +(?:<\.\.\. )?(\w+)(?:\(| resumed>)", line) for line in lines)
        if m}
    assert {"accept4", "mlock2", "epoll_wait", "prlimit64"} <= used
    assert used - system_calls(values("SystemCallFilter")) == set()
    for line in lines:
        if re.search(r" (mmap|mprotect|pkey_mprotect)\(.*PROT_EXEC", line):
            assert " mmap(" in line and "PROT_WRITE" not in line, line
        m = re.search(r" socket\((\w+)", line)
        if m:
            assert m.group(1) in \
                values("RestrictAddressFamilies")[0].split(), line

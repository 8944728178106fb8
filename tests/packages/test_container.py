"""The containers. In the short form what compose.yaml says is held against the
rest, and its settings and secrets start a server; in the long form buildah makes
the images of each release, on a base of debootstrap's, and they run: as far as
a chroot and a name space can stand for a container."""
import json
import os
import re
import shlex
import shutil
import signal
import subprocess

import pytest
import yaml

from lib.client import Client
from lib.process import PATIENCE, REPO, SAN_ENV, free_port, stop, wait_until
from lib.tokens import App
from packaging_tools import (BUILD_PATIENCE, ENV, VERSION, View, apt_as_here,
                             bare_root, call, debian_root, needs_root)

DIR = REPO / "contrib/container"
COMPOSE = yaml.safe_load((DIR / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]
CONTAINERFILE = (DIR / "Containerfile").read_text()
UID = 10001
README = (DIR / "README.md").read_text()


def stages():
    """{name: its instructions, a line each}"""
    text = re.sub(r"^#.*\n", "", CONTAINERFILE, flags=re.M)
    text = re.sub(r"\s*\\\n\s*", " ", text)
    parts = re.split(r"^FROM \S+ AS (\w+)$", text, flags=re.M)
    return {name: body.strip().splitlines()
            for name, body in zip(parts[1::2], parts[2::2])}


def values(stage, instruction):
    return [line.split(" ", 1)[1] for line in stages()[stage]
            if line.startswith(instruction + " ")]


def image_env(stage):
    return dict(w.split("=", 1) for v in values(stage, "ENV")
                for w in shlex.split(v))


# -- what the files say

def test_no_root():
    """Neither image runs as root, and neither has its group."""
    for stage in ("web", "postern"):
        user, = values(stage, "USER")
        assert re.fullmatch(r"1\d{4}:1\d{4}", user)
        assert values(stage, "HEALTHCHECK") and values(stage, "CMD")
    for name, service in SERVICES.items():
        if name != "db":
            assert service["read_only"] and service["cap_drop"] == ["ALL"]
            assert "no-new-privileges:true" in service["security_opt"]


def test_only_what_is_named():
    """No directory of the tree as a whole: var/ has tokens."""
    for body in stages().values():
        for line in body:
            if line.startswith(("COPY ", "ADD ")) and "--from" not in line:
                for source in line.split()[1:-1]:
                    assert (REPO / source).exists(), line
                    assert source not in (".", "..", "var", "build"), line


def test_packages():
    """What the build wants, debian/control wants too."""
    control = (REPO / "debian/control").read_text()
    wanted = set(re.search(r"^Build-Depends: (.*?)^\S", control, re.M | re.S)
                 .group(1).replace(",", " ").split())
    run = values("build", "RUN")[0]
    assert {p for p in wanted if p.startswith("lib") or p == "pkgconf"} == {
        w for w in run.split() if w.endswith("-dev") or w == "pkgconf"} - {
        "libc6-dev"}
    # By no name of a release's.
    for body in stages().values():
        assert not re.search(r"\blib(jwt|fcgi|pq|ssl|json-c)\d",
                             "\n".join(body))


def test_settings_exist():
    """Every variable is a setting, and every secret is made and handed over."""
    known = set(re.findall(r'^\t\{ "(POSTERN_[A-Z_]+)", SETTING_', (
        REPO / "src/base/config_table.c").read_text(), re.M))
    made = set(re.findall(r"secrets\.new/([\w.-]+)", (
        DIR / "make-secrets").read_text())) | {
        "master-key", "registration-token", "admin-token"}
    for name, secret in COMPOSE["secrets"].items():
        assert secret == {"file": f"./secrets/{name}"} and name in made
    used = set()
    for service in SERVICES.values():
        for variable, value in service.get("environment", {}).items():
            if variable.endswith("_FILE"):
                name = value.removeprefix("/run/secrets/")
                assert name in service["secrets"], value
                used.add(name)
            if variable.startswith("POSTERN_"):
                assert variable.removesuffix("_FILE") in known
    assert used == set(COMPOSE["secrets"])
    for variable in image_env("postern"):
        assert variable in known | {"POSTERN_CONFIG"}


def test_who_reaches_what():
    """The socket's volume and the database's network are for those two."""
    on = {n: set(s["networks"]) for n, s in SERVICES.items()}
    assert on == {"db": {"db"}, "migrate": {"db"}, "postern": {"db"},
                  "web": {"web"}}
    assert COMPOSE["networks"]["db"]["internal"] is True
    mounts = {n for n, s in SERVICES.items()
              if "socket:/run/postern" in s.get("volumes", ())}
    assert mounts == {"postern", "web"}
    published = {n: s["ports"] for n, s in SERVICES.items() if "ports" in s}
    assert published == {"web": ["127.0.0.1:8080:8080"]}


def test_readme():
    """Its commands name what is there."""
    for path in re.findall(r"\]\(([^)]+)\)", README):
        assert (DIR / path).resolve().exists(), path
    for stage in re.findall(r"--target (\w+)", README + CONTAINERFILE):
        assert stage in stages()
    for service in re.findall(r"compose (?:exec|logs|restart) (\w+)", README):
        assert service in SERVICES


# -- with the secrets

@pytest.fixture(scope="session")
def secrets(scratch):
    """make-secrets' directory, as it is in /run/secrets."""
    if os.getuid() != 0:
        pytest.skip("needs root")
    d = scratch.dir()
    shutil.copy(DIR / "make-secrets", d)
    r = call(d / "make-secrets", umask=0o022)
    assert "master-key" in r.stdout
    return d / "secrets"


def test_secrets(secrets):
    assert secrets.stat().st_mode & 0o777 == 0o700
    for f in secrets.iterdir():
        mode, owner = f.stat().st_mode & 0o777, f.stat().st_uid
        assert (mode, owner) == ((0o444, 0) if f.name in (
            "owner-password", "server.sql") else (0o440, UID)), f.name
        assert "\n" not in f.read_text().removesuffix("\n")
    read = {f.name: f.read_text().strip() for f in secrets.iterdir()}
    assert f"password={read['owner-password']}" in read["migrate-url"]
    server = re.search(r"password=(\w+)", read["database-url"]).group(1)
    assert f"'{server}'" in read["server.sql"]
    values = [read[n] for n in ("master-key", "registration-token",
                                "admin-token", "owner-password")] + [server]
    assert len(set(values)) == 5
    for value in values:
        assert re.fullmatch("[0-9a-f]{64}", value)
    again = call(secrets.parent / "make-secrets", check=False)
    assert again.returncode == 1 and "stays as it is" in again.stdout
    assert read == {f.name: f.read_text().strip() for f in secrets.iterdir()}


class Mounted:
    """A secrets directory as the containers get it, its database here."""

    def __init__(self, pg, secrets, scratch):
        self.pg, self.name = pg, pg.database(migrate=False)
        self.dir = scratch.dir()
        for f in secrets.iterdir():
            copy = self.dir / f.name
            copy.write_text(f.read_text().replace(
                "host=db dbname=postern",
                f"host=/run/postgresql dbname={self.name}"))
            os.chown(copy, f.stat().st_uid, f.stat().st_gid)
            copy.chmod(f.stat().st_mode)

    def read(self, name):
        return (self.dir / name).read_text().strip()

    def here(self, env):
        """An environment of compose.yaml's for this machine's own view."""
        out = {k: v.replace("/run/secrets", str(self.dir))
               for k, v in env.items()}
        url = out.pop("POSTERN_DATABASE_URL_FILE")
        return {**out, "POSTERN_DATABASE_URL": self.read(os.path.basename(
            url)).replace("/run/postgresql", str(self.pg.dir))}


def as_user(*args):
    return ["setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups",
            *map(str, args)]


def test_starts_and_is_healthy(pg, secrets, scratch):
    """What compose.yaml sets migrates the database and starts the server; its
    health check sees it well, ill and gone."""
    mounted, run = Mounted(pg, secrets, scratch), scratch.dir()
    os.chown(run, UID, UID)
    migrate = SERVICES["migrate"]
    call(*as_user(scratch.bin / "postern", *migrate["command"][1:]), env={
        **image_env("postern"), **mounted.here(migrate["environment"]),
        **SAN_ENV})
    env = {**ENV, **image_env("postern"), **SAN_ENV, **mounted.here(
        SERVICES["postern"]["environment"]), "POSTERN_WORKERS": "1",
        "POSTERN_LISTEN": f"unix:{run}/postern.sock"}
    log = open(run / "log", "ab")
    p = subprocess.Popen(as_user(scratch.bin / "postern.fcgi"), env=env,
                         stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def healthy(*path, **other):
        return subprocess.run(as_user(DIR / "healthy", *path), env={
            **env, **other}, capture_output=True,
            timeout=PATIENCE).returncode == 0

    workers = []
    try:
        wait_until("ready", lambda: healthy("/readyz") or p.poll() is not None)
        assert healthy() and not healthy("/v1/whoami")
        assert not healthy(POSTERN_LISTEN="unix:/nonexistent")
        workers = call("pgrep", "-P", p.pid).stdout.split()
        for pid in workers:
            os.kill(int(pid), signal.SIGSTOP)
        assert not healthy()
    finally:
        for pid in workers:
            os.kill(int(pid), signal.SIGCONT)
        assert stop(p) == 0, (run / "log").read_text()
    assert not healthy()
    for address, asked in (("0.0.0.0:{}", "127.0.0.1:{}"),
                           ("127.0.0.1:{}", "127.0.0.1:{}"),
                           ("[::]:{}", "127.0.0.1:{}")):
        # What cgi-fcgi is told, without a server.
        d = scratch.dir()
        (d / "cgi-fcgi").write_text('#!/bin/sh\necho "$3" >"$0.asked"\n'
                                    "echo Status: 200 OK\n")
        (d / "cgi-fcgi").chmod(0o755)
        call(DIR / "healthy", env={"PATH": f"{d}:{ENV['PATH']}",
                                   "POSTERN_LISTEN": address.format(9000)})
        assert (d / "cgi-fcgi.asked").read_text() == \
            asked.format(9000) + "\n"


# -- the images

def buildah(storage, *args, **kw):
    return call("buildah", "--root", storage / "root", "--runroot",
                storage / "run", "--storage-driver", "vfs", *args,
                patience=BUILD_PATIENCE * 4, env={"HOME": storage}, **kw)


def base_image(storage, release):
    """What the registries would give by this name."""
    root = bare_root(release)
    buildah(storage, "from", "--name", "base", "scratch")
    where = buildah(storage, "mount", "base").stdout.strip()
    call("cp", "-a", f"{root}/.", where, patience=BUILD_PATIENCE)
    apt_as_here(where)
    buildah(storage, "commit", "--rm", "base", f"debian:{release}-slim")


@pytest.fixture(scope="module", params=debian_root.RELEASES)
def images(request):
    """{stage: (its root, its configuration)}, of one release."""
    needs_root()
    if shutil.which("buildah", path=ENV["PATH"]) is None:
        pytest.skip("needs buildah")
    storage = REPO / "build/containers"
    shutil.rmtree(storage, ignore_errors=True)
    storage.mkdir(parents=True)
    try:
        base_image(storage, request.param)
        yield {stage: image(storage, request.param, stage)
               for stage in ("postern", "web")}
    finally:
        buildah(storage, "rm", "--all", check=False)
        shutil.rmtree(storage, ignore_errors=True)


def image(storage, release, stage):
    tag = f"{stage}:test"
    buildah(storage, "build", "--isolation=chroot", "--pull-never", "--format",
            "docker", "--build-arg", f"RELEASE={release}", "--target", stage,
            "-t", tag, "-f", DIR / "Containerfile", REPO)
    config = json.loads(buildah(storage, "inspect", "--type", "image",
                                tag).stdout)["Docker"]["config"]
    buildah(storage, "from", "--pull-never", "--name", stage, tag)
    return buildah(storage, "mount", stage).stdout.strip(), config


class Container:
    """A service of compose.yaml in its image's root, which is read-only, as
    its image's user without any capability; it is process 1."""

    def __init__(self, image, service, mounts, env=None, log=None):
        self.root, self.config = image
        self.service, self.extra, self.log = service, env or {}, log
        lines = [f"mount --bind {self.root} {self.root}",
                 f"mkdir -p {self.root}/run/secrets "
                 f"{self.root}/run/postgresql"]
        lines += [f"mount --bind {outside} {self.root}{inside}"
                  for inside, outside in mounts.items()]
        lines += [f"mount -t tmpfs -o mode=1777 tmpfs {self.root}{path}"
                  for path in service.get("tmpfs", ())]
        # The kernel's file systems, and then no more writing.
        lines += [f"mount -t proc proc {self.root}/proc",
                  f"mount --rbind /dev {self.root}/dev",
                  f"mount -o remount,ro,bind {self.root}"]
        self.view = View("\n".join(lines), self.root)

    def command(self, *args):
        env = {**dict(e.split("=", 1) for e in self.config["Env"]),
               **self.service.get("environment", {}), **self.extra}
        uid, gid = self.config["User"].split(":")
        holder = f"/proc/{self.view.holder.pid}"
        return ["nsenter", f"--mount={holder}/ns/mnt",
                f"--root={holder}/root", "unshare", "--pid", "--fork", "--kill-child",
                "chroot", self.root, "setpriv", f"--reuid={uid}",
                f"--regid={gid}", "--clear-groups", "--bounding-set=-all",
                "--no-new-privs", "env", "-i",
                *[f"{k}={v}" for k, v in env.items()], *args]

    def run(self, *args, check=True):
        return call(*self.command(*args), check=check)

    def start(self):
        self.process = subprocess.Popen(
            self.command(*self.service.get("command", self.config["Cmd"])),
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        return self

    def stop(self):
        """As the runtime does it: the image's signal to process 1."""
        sig = getattr(signal, self.config.get("StopSignal") or "SIGTERM")
        inner = call("pgrep", "-P", self.process.pid).stdout.split()
        for pid in inner:
            os.kill(int(pid), sig)
        return self.process.wait(PATIENCE)

    def healthy(self):
        kind, *test = self.config["Healthcheck"]["Test"]
        assert kind == "CMD"
        return self.run(*test, check=False).returncode == 0


@pytest.mark.long
def test_images(images, pg, secrets, scratch):
    """From make-secrets to a token that passes, through lighttpd; and to an
    end that is none by force."""
    mounted, volume = Mounted(pg, secrets, scratch), scratch.dir()
    os.chown(volume, UID, UID)  # as the image has it
    volume.chmod(0o750)
    mounts = {"/run/secrets": mounted.dir, "/run/postgresql": pg.dir}
    log = open(scratch.dir() / "log", "ab")
    migrate = Container(images["postern"], SERVICES["migrate"], mounts)
    out = migrate.run(*SERVICES["migrate"]["command"]).stdout
    migrate.view.close()
    assert "server" in out, out
    server = Container(images["postern"], SERVICES["postern"], {
        **mounts, "/run/postern": volume}, log=log).start()
    port = free_port()
    web = Container(images["web"], SERVICES["web"], {
        "/run/postern": volume}, {"PORT": str(port)}, log).start()
    try:
        serves(Client(port), server, web, mounted)
    finally:
        codes = [c.stop() for c in (web, server)]
        for c in (web, server):
            c.view.close()
    text = open(log.name).read()
    assert codes == [0, 0], text
    for name in ("master-key", "registration-token", "admin-token"):
        assert mounted.read(name) not in text


def serves(site, server, web, mounted):
    for c in (server, web):
        wait_until("healthy", c.healthy)
    wait_until("ready", lambda: site.get("/readyz").status == 200)
    token = mounted.read("registration-token")
    r = site.request("POST", "/v1/apps", {"Authorization": f"Bearer {token}"},
                     {"name": "Zoë in a container"})
    assert r.status == 201, r
    app = App(r.json())
    r = site.get("/v1/whoami", app.auth())
    assert r.json()["app"]["name"] == "Zoë in a container"
    assert site.get("/v1/whoami").status == 401
    assert b"<title>Postern" in site.get("/").body
    # The tool, as `docker compose exec` runs it.
    assert server.run("postern", "--version").stdout == \
        f"postern {VERSION}\n"
    listed = server.run("postern", "app", "list", "--json").stdout
    assert json.loads(listed)["apps"][0]["public_key"] == app.public
    assert server.run("sh", "-c", "touch /x /run/x /tmp/x /run/postern/../x",
                      check=False).returncode != 0


@pytest.mark.long
def test_image_has_no_more(images):
    """No compiler, no sources, no settings, nothing that is set-uid of ours."""
    root, config = images["postern"]
    assert config["User"] == f"{UID}:{UID}"
    for path in ("src", "usr/bin/gcc", "etc/postern", "packages",
                 "tmp/packages", "usr/include/jwt.h"):
        assert not os.path.lexists(f"{root}/{path}"), path
    libraries = call("chroot", root, "ldd", "/usr/bin/postern",
                     "/usr/lib/postern/postern.fcgi").stdout
    assert "libjwt" in libraries and "not found" not in libraries
    assert os.listdir(f"{root}/var/lib/apt/lists") == []

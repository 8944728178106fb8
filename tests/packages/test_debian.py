"""The Debian package: builds, pleases lintian, and holds what it should; in
the long form it is installed in a bare Debian, tried, and purged."""
import gzip
import os
import re
import shutil
import signal
import subprocess

import pytest

from lib.process import PATIENCE, REPO, demoted, wait_until
from packaging_tools import ENV, VERSION, call, debian_view
from test_install import names
from test_systemd import Activated, values


# Where this release's debhelper puts units.
UNIT_DIRS = ("/lib/systemd/system", "/usr/lib/systemd/system")


def control(deb, field):
    return call("dpkg-deb", "-f", deb, field).stdout.strip()


@pytest.fixture(scope="session")
def unpacked(deb, scratch):
    d = scratch.dir() / "root"
    call("dpkg-deb", "-x", deb, d)
    return d


def test_version(deb):
    """CHANGES.md, the changelog and the package agree."""
    line = (REPO / "debian/changelog").read_text().splitlines()[0]
    assert re.match(rf"postern \({re.escape(VERSION)}-\d+\) ", line), line
    assert control(deb, "Version").rpartition("-")[0] == VERSION


def test_lintian(deb):
    """Neither errors nor warnings."""
    r = call("lintian", "--fail-on", "error,warning", "--allow-root",
             next(deb.parent.glob("*.changes")), check=False,
             patience=120, preexec_fn=demoted(),
             env={"HOME": deb.parent})
    assert r.returncode == 0, r.stdout
    assert not re.search(r"^[EW]: ", r.stdout, re.M)


def test_contents(deb, unpacked):
    listing = {}
    for line in call("dpkg-deb", "-c", deb).stdout.splitlines():
        mode, owner, _, _, _, path = line.split(maxsplit=5)
        assert owner == "root/root"
        listing[path.removeprefix(".")] = mode
    doc = "/usr/share/doc/postern"
    plain = [f"/usr/share/postern/{n}"
             for n in names("www/*") + names("sql/*.sql")]
    units, = [d for d in UNIT_DIRS if d + "/" in listing]
    plain += [f"{units}/postern.{kind}" for kind in ("service", "socket")]
    plain += ["/usr/share/bash-completion/completions/postern",
              "/usr/share/zsh/vendor-completions/_postern"]
    plain += [f"/usr/share/man/man{m.suffix[1:]}/{m.name}.gz"
              for m in names("man/*.[158]")]
    plain += [f"{doc}/README.Debian", f"{doc}/copyright", f"{doc}/changelog.gz",
              f"{doc}/changelog.Debian.gz",
              f"{doc}/examples/lighttpd.conf.example"]
    plain += [f"{doc}/examples/{n}"
              for n in names("contrib/*.md") + names("contrib/*/*")
              if n.parts[1] not in ("systemd", "bundle", "container")]
    for path in plain:
        # debhelper compresses what is large.
        assert listing.get(path, listing.get(path + ".gz")) == "-rw-r--r--", \
            path
    for path in ("/usr/bin/postern", "/usr/lib/postern/postern.fcgi"):
        assert listing[path] == "-rwxr-xr-x"
    assert listing["/etc/postern/"] == "drwxr-x---"
    assert listing["/etc/postern/postern.conf"] == "-rw-r-----"
    for path, mode in listing.items():
        assert "s" not in mode[1:] and mode[8] != "w", path
    assert "/usr/local" not in (
        unpacked / units[1:] / "postern.service").read_text()
    with gzip.open(unpacked / doc[1:] / "changelog.Debian.gz", "rt") as f:
        assert f.read() == (REPO / "debian/changelog").read_text()


def test_depends(deb):
    """On the libraries of this release, by debhelper's own finding."""
    written = re.search(r"^Depends: (.*)$", (
        REPO / "debian/control").read_text(), re.M).group(1)
    assert "${shlibs:Depends}" in written and "lib" not in \
        written.replace("${shlibs:Depends}", "")
    found = {re.split(r"[ (]", d)[0]
             for d in control(deb, "Depends").split(", ")}
    for library in ("libfcgi", "libjson-c", "libjwt", "libpq", "libssl",
                    "libcurl"):
        owner, = {p for p in found if re.match(rf"{library}\d", p)}
        assert call("dpkg-query", "-W", owner).stdout.startswith(owner)


def test_settings_are_comments(deb, unpacked, scratch):
    """The settings file sets nothing, names every setting, and its defaults
    are what the program takes."""
    text = (unpacked / "etc/postern/postern.conf").read_text()
    assert all(line.startswith("#") for line in text.split("\n") if line)
    found = re.findall(r"^#(POSTERN_[A-Z_]+) =(.*)$", text, re.M)
    known = re.findall(r'^\t\{ "(POSTERN_[A-Z_]+)", SETTING_', (
        REPO / "src/base/config_table.c").read_text(), re.M)
    assert [name.removesuffix("_FILE") for name, _ in found] == known
    f = scratch.dir() / "postern.conf"
    f.write_text("".join(f"{n} ={v}\n" for n, v in found))
    f.chmod(0o600)
    if os.getuid() == 0:
        shutil.chown(f, "www-data")
    r = subprocess.run(
        [unpacked / "usr/lib/postern/postern.fcgi"], capture_output=True,
        text=True, preexec_fn=demoted(), timeout=PATIENCE, env={
            **ENV, "POSTERN_CONFIG": str(f), "POSTERN_MASTER_KEY": os.urandom(
                32).hex(), "POSTERN_DATABASE_URL": "host=/nonexistent",
            "POSTERN_LISTEN": "unix:/nonexistent/s"})
    assert r.returncode == 1 and "/nonexistent/s" in r.stderr, r.stderr


def test_serves(pg, unpacked):
    """The programs of the package, as its unit starts them."""
    class Packaged(Activated):
        program = unpacked / "usr/lib/postern/postern.fcgi"

    with Packaged(pg) as s:
        app = s.enrol()
        assert s.ask("GET", "/v1/whoami", app.auth()).status == 200


def test_scripts(deb, scratch):
    d = scratch.dir() / "control"
    call("dpkg-deb", "-e", deb, d)
    assert (d / "conffiles").read_text() == "/etc/postern/postern.conf\n"
    for name in ("postinst", "prerm", "postrm"):
        call("sh", "-n", d / name)
        # It never starts, restarts or enables a service by itself.
        text = (d / name).read_text()
        assert not re.search(r"invoke (re)?start|^\s*systemctl (re)?start",
                             text, re.M)


# -- in a Debian of its own

class InDebian(Activated):
    """The installed package, its server started as the unit says."""

    def __init__(self, pg, view, sockets, **kw):
        self.view, self.sockets = view, sockets
        super().__init__(pg, **kw)

    def start_postern(self, wait=True):
        view = self.view
        url = f"host=/run/postgresql dbname={self.database} user=server"
        readme = view.run("cat", "/usr/share/doc/postern/README.Debian").stdout
        # The commands that the README gives for the secrets, as they stand.
        step = readme[readme.index("2. The secrets."):readme.index("Keep a")]
        commands = re.findall(r"^     (\S.*)$", step, re.M)
        assert len(commands) == 6
        view.run("sh", "-euc", "\n".join(commands).replace(
            "host=/run/postgresql dbname=postern user=postern", url))
        read = {}
        for name in ("master-key", "registration-token", "admin-token"):
            setting = "POSTERN_" + name.upper().replace("-", "_")
            read[setting] = view.run("cat", f"/etc/postern/{name}").stdout \
                .strip()
        self.env.update(read)
        view.run("sh", "-euc", """
            umask 077; mkdir /run/credentials
            cd /etc/postern
            for f in master-key database-url registration-token admin-token; do
                install -m 400 -o postern $f /run/credentials/; done
            chown postern /run/credentials""")
        env = dict(v.split("=", 1) for v in values("Environment"))
        self.sock = str(self.sockets / "postern.sock")
        self.process = subprocess.Popen(
            view.command(*values("ExecStart")[0].replace(
                "/usr/local", "/usr").split(), user="postern", env={
                **{k: v.replace("%d", "/run/credentials")
                   for k, v in env.items()},
                "POSTERN_LISTEN": "unix:/run/postern/postern.sock"}),
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=open(self.dir / "log", "ab"))
        wait_until("the socket", lambda: self.listening()
                   or self.process.poll() is not None)
        assert self.process.poll() is None, self.log()


@pytest.mark.long
def test_installed_and_purged(deb, pg, scratch, bare_root):
    d, sockets, archive = scratch.dir(), scratch.dir(), scratch.dir()
    shutil.copy(deb, archive)
    with debian_view(bare_root, d, {"/run/postgresql": pg.dir, "/run/postern":
                                    sockets, "/mnt": archive}) as view:
        view.run("apt-get", "-qq", "update", patience=120)
        r = view.run("apt-get", "-q", "-y", "install",
                     "--no-install-recommends", f"/mnt/{deb.name}",
                     patience=300, env={"DEBIAN_FRONTEND": "noninteractive"})
        assert "Setting up libpq5" in r.stdout  # what it depends on came too
        assert "README.Debian" in r.stdout
        entry = view.run("getent", "passwd", "postern").stdout.split(":")
        assert entry[5:] == ["/nonexistent", "/usr/sbin/nologin\n"]
        assert view.run("stat", "-c", "%a %U:%G", "/etc/postern",
                        "/etc/postern/postern.conf").stdout == \
            "750 root:postern\n640 root:postern\n"
        assert view.run("postern", "--version").stdout == \
            f"postern {VERSION}\n"
        shutil.chown(sockets, int(entry[2]), int(entry[3]))
        name = pg.database(migrate=False)
        view.run("postern", "migrate", "--grant", "server", env={
            "POSTERN_CONFIG": "", "POSTERN_DATABASE_URL":
            f"host=/run/postgresql dbname={name} user=owner"})
        with InDebian(pg, view, sockets, database=name) as s:
            app = s.enrol()
            assert s.ask("GET", "/v1/whoami", app.auth()).status == 200
            old = set(s.workers())
            s.process.send_signal(signal.SIGHUP)
            wait_until("new workers", lambda: s.workers()
                       and not old & set(s.workers()))
            assert s.ask("GET", "/v1/whoami", app.auth()).status == 200
        view.run("umount", "/run/postern")
        r = view.run("apt-get", "-q", "-y", "purge", "postern", patience=120)
        assert "such as the master key" in r.stdout
        left = view.run("ls", "/etc/postern").stdout.split()
        assert left == ["admin-token", "database-url", "master-key",
                        "registration-token"]
        assert view.run("getent", "passwd", "postern",
                        check=False).returncode == 2
        assert view.run("sh", "-c", "ls -d /usr/*/postern* /run/postern",
                        check=False).stdout.count("No such file") == 2

"""The bundle for shared hosts: its own libraries, nothing else of ours in
reach of the web, and it serves from a document root by .htaccess alone: under
this machine's Apache, and in the long form in a bare Debian with nothing but
Apache. On any other release it says that it was not made for it."""
import os
import platform
import re
import shutil
import subprocess
import tarfile

import pytest

from lib.process import REPO, wait_until
from lib.stack import Stack
from packaging_tools import VERSION, View, call, debian_view, needs_root

STARTED = ("index.fcgi", "postern")
PROGRAMS = ("lib/index.fcgi", "lib/postern")
GLIBC = re.compile(r"(linux-vdso|ld-linux\S*|libc|libm|libresolv|libpthread"
                   r"|libdl|librt)\.so\.\d+$")


@pytest.fixture(scope="session")
def unpacked(bundle, scratch):
    d = scratch.dir() / "gate"
    d.mkdir()
    call("tar", "xzf", bundle[0], "--strip-components=1", "-C", d)
    return d


def test_members(bundle):
    """One directory, root's numbers, no links, nothing that others write."""
    with tarfile.open(bundle[0]) as tar:
        for m in tar:
            assert m.name.split("/")[0] == f"postern-{VERSION}"
            assert m.isfile() or m.isdir()
            assert (m.uid, m.gid) == (0, 0)
            executable = m.isdir() or \
                m.name.split("/", 1)[1] in STARTED + PROGRAMS
            assert m.mode == (0o755 if executable else 0o644), m.name
        names = {m.split("/", 1)[-1] for m in tar.getnames()}
    assert {".htaccess", "INSTALL", "lib/libpq.so.5", "lib/release", *STARTED,
            *PROGRAMS} <= names
    assert {p.name for p in (REPO / "www").iterdir()} <= names
    # A license for every library, ours among them.
    assert "lib/licenses/postern" in names
    assert not [n for n in names if n.endswith(".conf")]


def test_libraries(bundle, unpacked):
    """All from the bundle but glibc's; no other place is ever searched."""
    for name in PROGRAMS:
        out = call("ldd", unpacked / name,
                   env={"LD_LIBRARY_PATH": "/usr/lib/x86_64-linux-gnu"}).stdout
        for line in out.splitlines():
            library, _, path = line.strip().partition(" => ")
            library = os.path.basename(library.split()[0])
            if not GLIBC.match(library):
                assert path.split()[0] == f"{unpacked}/lib/{library}", line
        dynamic = call("readelf", "-d", unpacked / name).stdout
        assert re.findall(r"\((R\w*PATH)\).*\[(.*)\]", dynamic) == \
            [("RPATH", "$ORIGIN")]
    for library in (unpacked / "lib").glob("*.so*"):
        assert "PATH)" not in call("readelf", "-d", library).stdout, library


def test_glibc(bundle, unpacked):
    """What it needs is said, and is what its files ask for."""
    said = re.search(r"needs glibc (\S+) or later", bundle[1]).group(1)
    for name in STARTED:
        assert f"glibc {said} or later" in (unpacked / name).read_text()
    needed = set()
    for path in [unpacked / n for n in PROGRAMS] + list(
            (unpacked / "lib").glob("*.so*")):
        needed |= set(re.findall(
            r"GLIBC_([\d.]+)", call("objdump", "-T", path).stdout))
    assert said == max(needed, key=lambda v: [int(n) for n in v.split(".")])


# -- the release

THIS = platform.freedesktop_os_release()
MACHINE = platform.machine()
MADE_ON = f"{THIS['ID']} {THIS.get('VERSION_ID', THIS['VERSION_CODENAME'])}" \
    f" {MACHINE}"


def test_release_is_said(bundle, unpacked):
    assert (unpacked / "lib/release").read_text() == MADE_ON + "\n"
    assert f"for {MADE_ON}," in bundle[1]
    assert f'made on "{MADE_ON}"' in (unpacked / "INSTALL").read_text()


# A host's os-release, and how it is then called.
OTHERS = {
    'ID=debian\nVERSION_ID="11"\n': "debian 11",
    'PRETTY_NAME="A B"\nID=debian\nVERSION_ID=120\n': "debian 120",
    'ID=debian\nVERSION_CODENAME=forky\n': "debian forky",
    'ID=ubuntu\nID_LIKE=debian\nVERSION_ID="12"\n': "ubuntu 12",
    'ID="almalinux"\nVERSION_ID="9.4"\n': "almalinux 9.4",
    'ID=arch\n': "arch release",
    "": "unknown release",
}


def test_other_release(unpacked, scratch):
    """In words, before any program of the bundle is started; and let in by
    name, it runs."""
    needs_root()
    d = scratch.dir()
    shutil.copytree(unpacked, d / "gate", symlinks=True)
    known = d / "gate/lib/release"
    (d / "os-release").touch()
    with View(f"mount --bind {d}/os-release /etc/os-release") as view:
        for text, host in OTHERS.items():
            for name in STARTED:
                other_release(view, d, name, text, f"{host} {MACHINE}")
                known.write_text(MADE_ON + "\n")


def other_release(view, d, name, text, host):
    (d / "os-release").write_text(text)
    known = d / "gate/lib/release"

    def version():
        return view.run(d / "gate" / name, "--version", check=False,
                        env={"ID": "debian", "VERSION_ID": "12"})

    r = version()
    assert r.returncode == 1, host
    assert f'made on "{MADE_ON}"' in r.stdout
    assert f'this host is "{host}"' in r.stdout
    assert f"{known}\n" in r.stdout and r.stdout.count("\n") == 1
    known.write_text(f"{MADE_ON}\n{host}\n")
    r = version()
    assert (r.returncode, r.stdout.split()[1]) == (0, VERSION), r.stdout


def test_started_by_a_link(unpacked, scratch):
    """From anywhere, as the customer's PATH may have it."""
    d = scratch.dir()
    (d / "postern").symlink_to(unpacked / "postern")
    r = call("postern", "--version", env={"PATH": f"{d}:/usr/bin:/bin"},
             cwd="/")
    assert r.stdout == f"postern {VERSION}\n"


@pytest.mark.long
def test_real_other_release(unpacked, other_root, scratch):
    """What the dynamic linker says there, or doesn't, nobody gets to see."""
    d = scratch.dir()
    with debian_view(other_root, d, {"/mnt": unpacked}) as view:
        for name in STARTED:
            r = view.run(f"/mnt/{name}", "--version", check=False)
            assert r.returncode == 1, r.stdout
            assert re.fullmatch(f'postern: this bundle was made on "{MADE_ON}".'
                                f'* this host is "debian .*\n', r.stdout)


APACHE = """
ServerRoot {state}
ServerName localhost
Listen 127.0.0.1:{port}
PidFile {state}/pid
DefaultRuntimeDir {state}
Mutex file:{state}
ErrorLog {log}
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule dir_module {modules}/mod_dir.so
LoadModule mime_module {modules}/mod_mime.so
LoadModule rewrite_module {modules}/mod_rewrite.so
LoadModule fcgid_module {modules}/mod_fcgid.so
TypesConfig /dev/null
FcgidIPCDir {state}
FcgidProcessTableFile {state}/table
FcgidMaxProcessesPerClass 3
DocumentRoot {docroot}
<Directory {docroot}>
	AllowOverride All
	Options +ExecCGI
	Require all granted
</Directory>
"""


class Hosted(Stack):
    """The bundle in a document root of Apache, set up by its INSTALL. view is
    the host; state (a log, Apache's own files) is at the same path in it."""

    def __init__(self, pg, view, user, docroot, prefix="", dbhost=None):
        self.view, self.user, self.docroot = view, user, docroot
        self.prefix = prefix
        self.dbhost = dbhost or str(pg.dir)
        super().__init__(pg, way="alone", database=pg.database(migrate=False))

    def shell(self, script, **kw):
        """As the customer, in the document root."""
        return self.view.run("sh", "-euc", f"cd {self.docroot}{self.prefix}\n"
                             "HOME=$(getent passwd $(id -u) | cut -d: -f6)\n"
                             + script, user=self.user, **kw)

    def settings(self):
        """~/.postern.conf, as INSTALL says."""
        text = (REPO / "contrib/bundle/INSTALL").read_text()
        command = re.search(r"\((umask .*conf)\)", text).group(1)
        url = f"host={self.dbhost} dbname={self.database} user=owner"
        self.shell(f"""{command}
            {{ echo 'POSTERN_DATABASE_URL = {url}'
            echo "POSTERN_MASTER_KEY = $(./postern master-key)"
            echo 'POSTERN_REGISTRATION_TOKEN = {self.env[
                "POSTERN_REGISTRATION_TOKEN"]}'
            }} >>~/.postern.conf""")
        text = self.shell("cat ~/.postern.conf").stdout
        self.env["POSTERN_MASTER_KEY"] = re.search(
            "^POSTERN_MASTER_KEY = (.*)$", text, re.M).group(1)
        assert self.shell("stat -c %a ~/.postern.conf").stdout == "600\n"

    def start_postern(self, wait=True):
        self.settings()
        self.shell("./postern migrate && ./postern check")
        state = self.scratch.dir()
        modules = "/usr/lib/apache2/modules"
        conf = state / "apache.conf"
        conf.write_text(APACHE.format(
            state=state, port=self.port, log=f"{self.dir}/log",
            modules=modules, docroot=self.docroot))
        for d in (self.dir, state):
            d.chmod(0o777)
        (self.dir / "log").touch()
        (self.dir / "log").chmod(0o666)
        self.process = subprocess.Popen(
            self.view.command("apache2", "-DFOREGROUND", "-f", conf,
                              user=self.user), stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        wait_until("ready", self.ready)

    def ready(self):
        assert self.process.poll() is None, \
            self.log() + self.process.stderr.read()
        try:
            return self.get("/readyz").status == 200
        except OSError:  # not yet
            return False

    def request(self, method, path, headers=None, body=None, timeout=None):
        return super().request(method, self.prefix + path, headers, body,
                               timeout)


def mapped(stack):
    """The libraries that the running server has loaded."""
    pids = subprocess.run(["pgrep", "-P", str(stack.process.pid)],
                          capture_output=True, text=True).stdout.split()
    out = set()
    for pid in pids:
        children = subprocess.run(["pgrep", "-P", pid, "index.fcgi"],
                                  capture_output=True, text=True).stdout
        for child in children.split():
            with open(f"/proc/{child}/maps") as f:
                found = set(re.findall(r"(/\S+(?:\.so\S*|\.fcgi))$",
                                       f.read(), re.M))
            # As seen from inside, wherever that is.
            own, = [p for p in found if p.endswith("/index.fcgi")]
            root = own.removesuffix(
                f"{stack.docroot}{stack.prefix}/lib/index.fcgi")
            out |= {path.removeprefix(root) for path in found - {own}}
    return out


def serves(s):
    app = s.register("Hosted")
    r = s.get("/v1/whoami", app.auth())
    assert (r.status, r.json()["app"]["name"]) == (200, "Hosted"), r
    assert s.get("/v1/whoami").status == 401
    r = s.request("PUT", "/v1/users/a%2Fb", app.auth(), {"city": "Bern"})
    assert r.status in (201, 404)  # 404: Apache's, AllowEncodedSlashes
    r = s.request("PUT", "/v1/users/ada", app.auth(), {"city": "Bern"})
    assert r.status == 201
    assert s.get("/v1/me", app.auth(sub="ada")).json() == {"city": "Bern"}
    # The page, and what it loads.
    assert b"<title>Postern" in s.get("/").body
    for name in re.findall(r'(?:src|href)="([\w.-]+)"',
                           s.get("/").body.decode()):
        assert s.get("/" + name).body == (REPO / "www" / name).read_bytes()
    # What else lies there is not for the web.
    for path in ("/postern", "/INSTALL", "/lib/", "/lib/libpq.so.5",
                 "/lib/release", "/lib/index.fcgi", "/lib/postern",
                 "/lib/licenses/postern", "/.htaccess", "/.postern.conf"):
        assert s.get(path).status == 403, path
    assert s.get("/index.fcgi").status == 404
    loaded = mapped(s)
    assert f"{s.docroot}{s.prefix}/lib/libpq.so.5" in loaded
    for path in loaded:
        assert path.startswith(f"{s.docroot}{s.prefix}/lib/") or \
            GLIBC.match(os.path.basename(path)) or "/libnss_" in path, path


def give(user, path):
    call("chown", "-R", f"{user}:", path)


@pytest.mark.parametrize("prefix", ["", "/sub"])
def test_htaccess(pg, scratch, bundle, prefix):
    """Under this machine's Apache, with a home directory of our own."""
    needs_root()
    d = scratch.dir()
    home, docroot = d / "home", d / "site"
    home.mkdir()
    (docroot / prefix[1:]).mkdir(parents=True)
    call("tar", "xzf", bundle[0], "--strip-components=1", "-C",
         docroot / prefix[1:])
    with open("/etc/passwd") as f:
        lines = [":".join([*e[:5], str(home), e[6]]) if e[0] == "www-data"
                 else ":".join(e) for e in (x.split(":") for x in f)]
    (d / "passwd").write_text("".join(lines))
    give("www-data", home)
    with View(f"mount --bind {d}/passwd /etc/passwd") as view, \
            Hosted(pg, view, "www-data", docroot, prefix) as s:
        serves(s)


@pytest.mark.long
def test_bare_debian(pg, scratch, bundle, bare_root):
    """Where there is Apache, and none of our packages."""
    d, archive = scratch.dir(), scratch.dir()
    shutil.copy(bundle[0], archive)
    binds = {"/run/postgresql": pg.dir, str(scratch.path): scratch.path,
             "/mnt": archive}
    with debian_view(bare_root, d, binds) as view:
        view.run("apt-get", "-qq", "update", patience=120)
        view.run("apt-get", "-q", "-y", "install", "--no-install-recommends",
                 "apache2", "libapache2-mod-fcgid", patience=300,
                 env={"DEBIAN_FRONTEND": "noninteractive"})
        missing = view.run("dpkg", "-l", "libpq5", "libfcgi*", "libjwt*",
                           check=False)
        assert not re.search("^ii", missing.stdout, re.M)
        view.run("sh", "-euc", f"""
            useradd -m hoster
            mkdir -p /var/www/gate
            tar xzf /mnt/{bundle[0].name} --strip-components=1 -C /var/www/gate
            chmod 711 /home/hoster""")
        with Hosted(pg, view, "hoster", "/var/www/gate",
                    dbhost="/run/postgresql") as s:
            serves(s)

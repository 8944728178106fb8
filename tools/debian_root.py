"""A Debian release in a directory: made by debootstrap from where this
machine's own packages come, kept below POSTERN_ROOTS (~/.cache/postern) and
made anew when it is older than a week. What is done in it happens in a view
of its own, in an overlay that leaves it as it is."""
import contextlib
import fcntl
import hashlib
import os
import pathlib
import shutil
import subprocess
import time

REPO = pathlib.Path(__file__).resolve().parents[1]
RELEASES = "bookworm", "trixie"  # that Postern is held to, oldest first
OLD_S = 7 * 86400
MAKE_PATIENCE = 1200
PATIENCE = 60
# What a newcomer's machine needs before `git clone` and `make run`.
BARE = "ca-certificates,git,make"
ENV = {"PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
       "LC_ALL": "C.UTF-8"}


class Unavailable(Exception):
    """This machine can't; the text says why."""


def call(*args, env=None, check=True, patience=PATIENCE, **kw):
    r = subprocess.run([str(a) for a in args], env={**ENV, **(env or {})},
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                       text=True, errors="replace", timeout=patience, **kw)
    if check and r.returncode != 0:
        raise AssertionError(f"{args}: {r.returncode}\n{r.stdout[-4000:]}")
    return r


def demand_mounts():
    """Mounts of our own take root's rights; without them, say so."""
    if os.getuid() != 0:
        raise Unavailable("needs root")
    if subprocess.run(["unshare", "-m", "true"],
                      capture_output=True).returncode != 0:
        raise Unavailable("needs a mount namespace of its own")


def own_release():
    """The code name of this machine's release, "" if it is no Debian."""
    words = dict(line.partition("=")[::2] for line in pathlib.Path(
        "/etc/os-release").read_text().splitlines())
    if words.get("ID") != "debian":
        return ""
    return words.get("VERSION_CODENAME", "")


def other_release():
    """The one of the two that this machine is not."""
    return RELEASES[0] if own_release() == RELEASES[-1] else RELEASES[-1]


def home():
    return pathlib.Path(os.environ.get("POSTERN_ROOTS") or
                        pathlib.Path.home() / ".cache/postern")


def mirror():
    """Where this machine's own release comes from."""
    targets = call("apt-get", "indextargets", "--format",
                   "$(REPO_URI) $(CODENAME) $(COMPONENT)",
                   "Created-By: Packages")
    for line in targets.stdout.splitlines():
        if line.split()[1:] == [own_release(), "main"]:
            return line.split()[0]
    raise Unavailable("needs a mirror of Debian that apt knows")


@contextlib.contextmanager
def locked(folder):
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def fresh(stamp, key):
    """Was this made with that key, less than a week ago?"""
    return (stamp.exists() and stamp.read_text() == key and
            time.time() - stamp.stat().st_mtime < OLD_S)


def make_base(folder, release):
    new = folder / "base.new"
    for old in (folder / "base", folder / "core", new):
        shutil.rmtree(old, ignore_errors=True)
    # What it has no script for is newer than it: as unstable is made.
    scripts = pathlib.Path("/usr/share/debootstrap/scripts")
    script = scripts / (release if (scripts / release).exists() else "sid")
    call("debootstrap", "--variant=minbase", f"--include={BARE}", release,
         new, mirror(), script, patience=MAKE_PATIENCE)
    (new / "usr/sbin/policy-rc.d").write_text("#!/bin/sh\nexit 101\n")
    (new / "usr/sbin/policy-rc.d").chmod(0o755)
    shutil.rmtree(new / "var/cache/apt/archives", ignore_errors=True)
    new.rename(folder / "base")


def base(release):
    """The bare release's directory."""
    demand_mounts()
    if shutil.which("debootstrap", path=ENV["PATH"]) is None:
        raise Unavailable("needs debootstrap")
    folder = home() / release
    with locked(folder):
        if not fresh(folder / "base.made", BARE):
            (folder / "base.made").unlink(missing_ok=True)
            (folder / "core.made").unlink(missing_ok=True)
            make_base(folder, release)
            (folder / "base.made").write_text(BARE)
    return folder / "base"


class View:
    """The file system as it is after some mounts of our own, which end with
    the process that holds them; commands run in it, below root."""

    def __init__(self, mounts, root="/"):
        self.root = root
        self.holder = subprocess.Popen(
            ["unshare", "-m", "--propagation", "private", "sh", "-euc",
             mounts + "\necho ready; exec cat"], env=ENV,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        if self.holder.stdout.readline() != b"ready\n":
            raise Unavailable("needs to mount: " + mounts)

    def command(self, *args, user=None, env=None):
        who = [f"--userspec={user}:{user}", "--groups="] if user else []
        settings = {**ENV, "HOME": "/nonexistent", **(env or {})}
        return ["nsenter", f"--mount=/proc/{self.holder.pid}/ns/mnt",
                f"--root=/proc/{self.holder.pid}/root", "chroot", *who, str(self.root), "env", "-i",
                *[f"{k}={v}" for k, v in settings.items()],
                *[str(a) for a in args]]

    def run(self, *args, user=None, env=None, **kw):
        return call(*self.command(*args, user=user, env=env), **kw)

    def close(self):
        self.holder.stdin.close()
        assert self.holder.wait(PATIENCE) == 0

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()


def debian_view(lower, directory, binds, keep=False):
    """A Debian of one's own above lower, which may name several directories
    as overlay does. What changes in it stays in memory, or, if it is to be
    kept, in directory/up. binds are {path in it: directory here}."""
    root = directory / "root"
    mounts = [] if keep else [f"mount -t tmpfs tmpfs {directory}"]
    mounts += [f"mkdir {directory}/up {directory}/work {root}",
               f"mount -t overlay overlay -o lowerdir={lower},"
               f"upperdir={directory}/up,workdir={directory}/work {root}",
               f"mount -t proc proc {root}/proc",
               f"mount --rbind /sys {root}/sys",
               f"mount -t devpts devpts {root}/dev/pts -o ptmxmode=0666",
               f"ln -sf pts/ptmx {root}/dev/ptmx",
               f"mount -t tmpfs tmpfs {root}/dev/shm",  # Apache's
               f"cp /etc/resolv.conf {root}/etc/",
               "apt-config dump | grep ^Acquire:: "
               f">{root}/etc/apt/apt.conf.d/99test"]
    for inside, outside in binds.items():
        mounts += [f"mkdir -p {root}{inside}",
                   f"mount --bind {outside} {root}{inside}"]
    return View("\n".join(mounts), root)


def make_core(bare, folder):
    """What tools/deps core installs, as a layer of its own."""
    new = folder / "core.new"
    for old in (folder / "core", new):
        shutil.rmtree(old, ignore_errors=True)
    new.mkdir()
    with debian_view(bare, new, {"/postern/tools": REPO / "tools"},
                     keep=True) as view:
        view.run("/postern/tools/deps", "core", patience=MAKE_PATIENCE)
        view.run("apt-get", "clean")
    (new / "up").rename(folder / "core")
    shutil.rmtree(new)


def core(release):
    """The release with the packages of `tools/deps core`: what debian_view
    takes as lower."""
    bare = base(release)
    key = hashlib.sha256((REPO / "tools/deps").read_bytes()).hexdigest()
    folder = bare.parent
    with locked(folder):
        if not fresh(folder / "core.made", key):
            (folder / "core.made").unlink(missing_ok=True)
            make_core(bare, folder)
            (folder / "core.made").write_text(key)
    return f"{folder}/core:{bare}"

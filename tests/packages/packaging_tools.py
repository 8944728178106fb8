"""What the tests of the installations share: the builds, and a private view
of the file system to try them in."""
import os
import pathlib
import re
import shutil
import subprocess

import pytest

from harness import BUILD, PATIENCE, REPO, demoted

BUILD_PATIENCE = 300
VERSION = re.search(r"^## (\d\S*)", (REPO / "CHANGES.md").read_text(),
                    re.M).group(1)
ENV = {"PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
       "LC_ALL": "C.UTF-8"}


def call(*args, env=None, check=True, patience=PATIENCE, **kw):
    r = subprocess.run([str(a) for a in args], env={**ENV, **(env or {})},
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                       text=True, timeout=patience, **kw)
    if check and r.returncode != 0:
        raise AssertionError(f"{args}: {r.returncode}\n{r.stdout[-4000:]}")
    return r


def install(dest, *variables):
    call("make", "-C", REPO, "install", f"BUILD={BUILD}", f"DESTDIR={dest}",
         *variables, patience=BUILD_PATIENCE, umask=0o077)
    return dest


def build_package(scratch):
    d = scratch.dir()
    tree = d / "postern"
    shutil.copytree(REPO, tree, symlinks=True, ignore=shutil.ignore_patterns(
        "build*", "var", ".git", "node_modules", "__pycache__"))
    if os.getuid() == 0:
        call("chown", "-R", "www-data:", d)
    call("dpkg-buildpackage", "-us", "-uc", "-b", "-j2", cwd=tree,
         env={"HOME": d}, patience=BUILD_PATIENCE, preexec_fn=demoted())
    found, = d.glob("postern_*.deb")
    return found


def make_bundle():
    # Not with the flags of a sanitized build.
    r = call("tools/bundle", REPO / "build", VERSION, cwd=REPO,
             patience=BUILD_PATIENCE)
    return REPO / f"build/postern-{VERSION}-bundle.tar.gz", r.stdout


def needs_root():
    """Mounts of our own take root's rights; without them, say so."""
    if os.getuid() != 0:
        pytest.skip("needs root")
    if subprocess.run(["unshare", "-m", "true"],
                      capture_output=True).returncode != 0:
        pytest.skip("needs a mount namespace of its own")


def bare_root():
    needs_root()
    if shutil.which("debootstrap", path=ENV["PATH"]) is None:
        pytest.skip("needs debootstrap")
    root = REPO / "build/bookworm"
    if not root.exists():
        # From where this machine's own packages come.
        targets = call("apt-get", "indextargets", "--format",
                       "$(REPO_URI) $(CODENAME)", "Created-By: Packages")
        mirror = next(line.split()[0] for line in targets.stdout.splitlines()
                      if line.endswith(" bookworm"))
        new = root.with_suffix(".new")
        shutil.rmtree(new, ignore_errors=True)
        new.parent.mkdir(exist_ok=True)
        call("debootstrap", "--variant=minbase", "bookworm", new, mirror,
             patience=1200)
        (new / "usr/sbin/policy-rc.d").write_text("#!/bin/sh\nexit 101\n")
        (new / "usr/sbin/policy-rc.d").chmod(0o755)
        new.rename(root)
    return root


class View:
    """The file system as it is after some mounts of our own, which end with
    the process that holds them; commands run in it, below root."""

    def __init__(self, mounts, root="/"):
        self.root = root
        self.holder = subprocess.Popen(
            ["unshare", "-m", "--propagation", "private", "sh", "-euc",
             mounts + "\necho ready; exec cat"], env=ENV,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.holder.stdout.readline() == b"ready\n", mounts

    def command(self, *args, user=None, env=None):
        who = [f"--userspec={user}:{user}", "--groups="] if user else []
        settings = {**ENV, "HOME": "/nonexistent", **(env or {})}
        return ["nsenter", f"--mount=/proc/{self.holder.pid}/ns/mnt",
                "chroot", *who, str(self.root), "env", "-i",
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


def debian_view(bare_root, directory, binds):
    """A bare Debian of one's own: what changes in it goes to directory. binds
    are {path in it: directory here}."""
    for name in ("up", "work", "root"):
        (directory / name).mkdir()
    root = directory / "root"
    mounts = [f"mount -t overlay overlay -o lowerdir={bare_root},"
              f"upperdir={directory}/up,workdir={directory}/work {root}",
              f"mount -t proc proc {root}/proc",
              f"mount -t tmpfs tmpfs {root}/dev/shm",  # Apache's
              f"cp /etc/resolv.conf {root}/etc/",
              "apt-config dump | grep ^Acquire:: "
              f">{root}/etc/apt/apt.conf.d/99test"]
    for inside, outside in binds.items():
        mounts += [f"mkdir -p {root}{inside}",
                   f"mount --bind {outside} {root}{inside}"]
    return View("\n".join(mounts), root)

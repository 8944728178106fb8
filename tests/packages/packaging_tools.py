"""What the tests of the installations share: the builds, and where to try
them: tools/debian_root.py's views of a file system."""
import os
import pathlib
import re
import shutil
import sys

import pytest

from lib.process import BUILD, REPO, demoted

sys.path.insert(0, str(REPO / "tools"))

import debian_root  # noqa: E402
from debian_root import ENV, View, call, debian_view  # noqa: E402,F401

BUILD_PATIENCE = 300
VERSION = re.search(r"^## (\d\S*)", (REPO / "CHANGES.md").read_text(),
                    re.M).group(1)


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


def or_skip(demand, *args):
    """What it gives, or a skip with the reason why it can't."""
    try:
        return demand(*args)
    except debian_root.Unavailable as why:
        pytest.skip(str(why))


def needs_root():
    or_skip(debian_root.demand_mounts)


def apt_as_here(root):
    """By the ways out that this machine's own has."""
    settings = call("apt-config", "dump").stdout
    path = pathlib.Path(root) / "etc/apt/apt.conf.d/99test"
    path.write_text("".join(re.findall(r"^Acquire::.*\n", settings, re.M)))


def bare_root(release):
    """A release with nothing but its base system."""
    return or_skip(debian_root.base, release)

"""What Postern is built on: docs/platforms.md says it of this release as it is,
and a build on what it can't be built with ends in a sentence."""
import pathlib
import re
import subprocess

import pytest

from lib.process import REPO
from packaging_tools import ENV, call, debian_root

PAGE = (REPO / "docs/platforms.md").read_text()


def make(tmp_path, version=None, **env):
    """What make says and would do, where pkg-config finds that libjwt, or, with
    None, none."""
    for path in call("pkg-config", "--variable", "pc_path",
                     "pkg-config").stdout.strip().split(":"):
        for pc in pathlib.Path(path).glob("*.pc"):
            if pc.name != "libjwt.pc":
                (tmp_path / pc.name).symlink_to(pc)
    if version:
        (tmp_path / "libjwt.pc").write_text(
            f"Name: libjwt\nDescription: -\nVersion: {version}\n"
            "Libs: -ljwt\nCflags:\n")
    return subprocess.run(
        ["make", "-C", REPO, f"BUILD={tmp_path}/build", "-n", "all"],
        capture_output=True, text=True,
        env={**ENV, "PKG_CONFIG_LIBDIR": str(tmp_path), **env})


@pytest.mark.parametrize("version", ["1.10.2", "1.17.2", "1.18.4"])
def test_libjwt_1(tmp_path, version):
    r = make(tmp_path, version)
    assert r.returncode == 0 and "-ljwt" in r.stdout, r.stderr


@pytest.mark.parametrize("version", ["2.0.0", "2.1.3", "3.0.0", "3.3.2",
                                     "3.6.1", "12.0"])
def test_libjwt_of_another_kind(tmp_path, version):
    """A sentence, and not one command of the build."""
    r = make(tmp_path, version)
    assert r.returncode == 2
    assert f"libjwt 1 (here is libjwt {version})" in r.stderr
    assert "docs/platforms.md" in r.stderr
    assert " CC " not in r.stdout


def test_nothing_there(tmp_path):
    for env in ({}, {"PKG_CONFIG": "/nonexistent/pkg-config"}):
        r = make(tmp_path, None, **env)
        assert r.returncode == 2 and "(here is no libjwt)" in r.stderr
        assert " CC " not in r.stdout
        for path in tmp_path.iterdir():
            path.unlink()
    # What builds nothing asks for nothing.
    r = call("make", "-C", REPO, "help", env={"PKG_CONFIG": "/nonexistent"})
    assert "make run" in r.stdout


# The page's names, and the packages that say which version is here.
PACKAGES = {"gcc": "gcc", "glibc": "libc6", "libjwt": "libjwt-dev",
            "libfcgi": "libfcgi-dev", "json-c": "libjson-c-dev",
            "OpenSSL": "libssl-dev", "libcurl": "libcurl4-openssl-dev",
            "Postgres": "postgresql",
            "lighttpd": "lighttpd", "nginx": "nginx", "Apache": "apache2-bin",
            "mod_fcgid": "libapache2-mod-fcgid", "Caddy": "caddy"}


def column(release):
    """{name: version} of the page's table of releases."""
    head, *rows = [[cell.strip() for cell in line.strip("|").split("|")]
                   for line in re.search(r"^\| +\| Debian 12.*?\n\n", PAGE,
                                         re.M | re.S).group().splitlines()
                   if line and "---" not in line]
    at, = [i for i, cell in enumerate(head) if release in cell]
    return {row[0]: row[at] for row in rows}


def test_page_is_true():
    release = debian_root.own_release()
    if release not in debian_root.RELEASES:
        pytest.skip("another release than those of the page")
    written = column(release)
    assert set(written) == set(PACKAGES)
    for name, package in PACKAGES.items():
        version = call("dpkg-query", "-W", "-f", "${Version}", package).stdout
        assert re.match(rf"(\d+:)?{re.escape(written[name])}(?!\d)", version), \
            (name, version)


def test_page_names_each_release():
    for release in debian_root.RELEASES:
        assert set(column(release)) == set(PACKAGES)

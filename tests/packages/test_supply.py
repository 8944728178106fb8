"""The programs as they are built: hardened, and the same wherever they are."""
import hashlib
import os
import re
import shutil

import pytest

from lib.process import BUILD, REPO, SANITIZED
from packaging_tools import BUILD_PATIENCE, call

PROGRAMS = ("postern.fcgi", "postern")


def readelf(option, path):
    return call("readelf", "-W", option, path).stdout


def weaknesses(path):
    """What a hardened program has not, or has and should not."""
    header, segments = readelf("-h", path), readelf("-l", path)
    dynamic, symbols = readelf("-d", path), readelf("--dyn-syms", path)
    stack = re.search(r"^ *GNU_STACK .*$", segments, re.M)
    found = []
    if not re.search(r"Type: +DYN", header) or "PIE" not in dynamic:
        found.append("not position-independent")
    if "GNU_RELRO" not in segments:
        found.append("no RELRO")
    if "BIND_NOW" not in dynamic:
        found.append("binds late")
    if "__stack_chk_fail" not in symbols:
        found.append("no canary")
    if not re.search(r"__\w+_chk\b", symbols.replace("__stack_chk", "")):
        found.append("not fortified")
    if not stack or re.search(r"\bRWE\b|\bE\b", stack.group()):
        found.append("executable stack")
    if re.search(r"LOAD .* (RWE|W E) ", segments):
        found.append("writable code")
    if "RPATH" in dynamic or "RUNPATH" in dynamic:
        found.append("a path of its own for libraries")
    if "TEXTREL" in dynamic:
        found.append("relocations in the code")
    return found


@pytest.mark.covers("API8:2023")
@pytest.mark.skipif(SANITIZED, reason="a sanitizer's program")
@pytest.mark.parametrize("name", PROGRAMS)
def test_hardened(name):
    assert weaknesses(BUILD / name) == []


def test_weak_ones_are_found(tmp_path):
    (tmp_path / "weak.c").write_text(
        "#include <string.h>\nint main(int n, char **v)"
        " { char b[64]; strcpy(b, v[n - 1]); return b[0]; }\n")
    weak = tmp_path / "weak"
    call("cc", "-O2", "-no-pie", "-fno-stack-protector", "-U_FORTIFY_SOURCE",
         "-Wl,-z,norelro,-z,lazy,-z,execstack,-rpath,/tmp", "-o", weak,
         tmp_path / "weak.c")
    assert weaknesses(weak) == [
        "not position-independent", "no RELRO", "binds late", "no canary",
        "not fortified", "executable stack", "a path of its own for libraries"]


FIVE = {"libfcgi", "libpq", "libcrypto", "libjson-c", "libjwt"}


@pytest.mark.skipif(SANITIZED, reason="a sanitizer's program")
@pytest.mark.parametrize("name,wanted", [
    ("postern.fcgi", FIVE), ("postern", FIVE | {"libcurl"})])
def test_libraries(name, wanted):
    """The server has five beside glibc's; libcurl is the tool's alone, and no
    library of the server's brings it in either."""
    needed = set(re.findall(r"\(NEEDED\).*\[(lib[^\]]*?)\.so",
                            readelf("-d", BUILD / name)))
    assert needed - {"libc", "libm"} == wanted
    assert ("libcurl" in call("ldd", BUILD / name).stdout) == \
        ("libcurl" in wanted)


def functions(path, *options):
    out = call("nm", *options, path).stdout
    return set(re.findall(r"^[0-9a-f]+ [Tt] (\w+)", out, re.M)) - {
        "_init", "_fini"}


@pytest.mark.parametrize("name", PROGRAMS)
def test_names_are_our_own(name):
    """No function is called as one of a library's that it loads: whoever links
    with both, as the fuzz targets do, would get the wrong one."""
    libraries = re.findall(r"=> (/\S+)", call("ldd", BUILD / name).stdout)
    assert any("libjansson" in path for path in libraries)
    own = functions(BUILD / name)
    assert "main" in own
    for path in libraries:
        assert own & functions(path, "-D") == set(), path


def built(directory):
    shutil.copytree(REPO, directory, symlinks=True,
                    ignore=shutil.ignore_patterns(
                        "build*", "var", ".git", "node_modules",
                        "__pycache__", ".pytest_cache", "tests"))
    call("make", "-C", directory, f"-j{os.cpu_count()}", "all",
         patience=BUILD_PATIENCE)
    return {name: hashlib.sha256(
        (directory / "build" / name).read_bytes()).hexdigest()
        for name in PROGRAMS}


@pytest.mark.skipif(SANITIZED, reason="the plain build does it")
def test_reproducible(tmp_path):
    """Two directories, of names as long as they like: one hash."""
    first = tmp_path / "a"
    second = tmp_path / "another-directory" / "with-a-longer-name"
    one, two = built(first), built(second)
    assert one == two, "the builds differ"
    for name in PROGRAMS:
        content = (first / "build" / name).read_bytes()
        assert str(tmp_path).encode() not in content

"""docs/security.md: made of markers that are where tests are. That it is the
one that the sources make, make lint looks."""
import concurrent.futures
import os
import shutil
import subprocess
import sys

import pytest

from lib.process import REPO

TOOL = REPO / "tools/security-doc"


def tool(*args):
    return subprocess.run([TOOL, *args], capture_output=True, text=True)


def collected(suite):
    """file::test of each that pytest finds to have a marker."""
    r = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q",
         "--strict-markers", "-m", "covers", "."], cwd=REPO / "tests" / suite,
        capture_output=True, text=True)
    assert r.returncode == 0, r.stdout + r.stderr
    return {line.partition("[")[0]
            for line in r.stdout.splitlines() if "::" in line}


def test_is_up_to_date():
    r = tool("--check")
    assert r.returncode == 0, r.stderr


def test_marked_tests_are_collected():
    listed = tool("--list").stdout.split()
    suites = {t.partition("/")[0] for t in listed if ".py::" in t}
    assert len(suites) > 3
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        found = set().union(*pool.map(collected, suites))
    assert {t for t in listed if ".py::" in t} == found


PYTHON = '@pytest.mark.covers("RFC8725-3.1")\ndef test_x():\n    pass\n'
C = ("/* covers: RFC8725-3.2,\n * RFC8725-3.3 */\nstatic void\n"
     "shape(void **state)\n{\n}\ncmocka_unit_test(shape)\n")
FUZZ = ("/* covers: RFC8725-3.4 */\nint\n"
        "LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)\n{\n}\n")


@pytest.fixture()
def tree(tmp_path):
    """A root with these files below tests/, and no others."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "tests").mkdir()

    def write(files):
        shutil.rmtree(tmp_path / "tests")
        for name, text in files.items():
            path = tmp_path / "tests" / name
            path.parent.mkdir(parents=True)
            path.write_text(text)
        return tmp_path

    return write


def test_made_of_the_markers(tree):
    files = {"http/test_a.py": PYTHON, "unit/test_b.c": C, "fuzz/d.c": FUZZ}
    root = tree(files)
    assert tool("--check", root).returncode == 1
    assert tool(root).returncode == 0
    assert tool("--check", root).returncode == 0
    text = (root / "docs/security.md").read_text()
    rows = {line.split("**")[1]: line for line in text.splitlines()
            if line.startswith("| **")}
    assert rows["3.1"].endswith("| `http/test_a.py`: test_x |")
    for row in ("3.2", "3.3"):
        assert rows[row].endswith("| `unit/test_b.c`: shape |")
    assert rows["3.4"].endswith("| `fuzz/d.c` |")
    for row in ("3.5", "API1", "V2.10.1"):
        assert rows[row].endswith("| **not covered** |")
    assert rows["V13.4.1"].endswith("| does not apply |")
    # One more marker, and the page is an old one.
    tree({**files, "http/test_a.py": PYTHON.replace(
        '"RFC', '"API1:2023", "RFC')})
    r = tool("--check", root)
    assert r.returncode == 1 and "run it" in r.stderr


@pytest.mark.parametrize("file,text,why", [
    ("http/test_a.py", PYTHON.replace("3.1", "3.13"), "no row"),
    ("http/test_a.py", PYTHON.replace("RFC8725-3.1", "ASVS-V13.4.1"),
     "does not apply"),
    ("http/test_a.py", PYTHON.replace("test_x", "x"), "doesn't take it"),
    ("http/a.py", PYTHON, "doesn't take it"),
    ("http/test_a.py", PYTHON * 2, "twice"),
    ("http/test_a.py", PYTHON.replace('")', '", "RFC8725-3.1")'), "twice"),
    ("http/test_a.py", PYTHON.replace('"RFC8725-3.1"', ""), "as texts"),
    ("http/test_a.py", 'pytestmark = pytest.mark.covers("API1:2023")\n',
     "not a test function's"),
    ("http/test_a.py", PYTHON.replace("def", "class").replace("()", ""),
     "not a test function's"),
    ("unit/test_b.c", C.replace("3.2", "3.20"), "no row"),
    ("unit/test_b.c", C.replace("test(shape)", "test(other)"),
     "no test's"),
    ("unit/test_b.c", C.replace("static void", "\nstatic void"),
     "no test's"),
    ("unit/test_b.c", "/* Why. covers: API1:2023 */\n" + C,
     "no comment of its own"),
    ("fuzz/d.c", FUZZ.replace("TestOneInput", "Initialize"),
     "no test's"),
])
def test_faults(tree, file, text, why):
    root = tree({file: text})
    for mode in ("--check", "--list"):
        r = tool(mode, root)
        assert (r.returncode, r.stdout) == (1, ""), r
        assert why in r.stderr, r.stderr
    assert tool(root).returncode == 1
    assert not (root / "docs/security.md").exists()

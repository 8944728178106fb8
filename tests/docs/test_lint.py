"""The lints that look at lists and at the house: each finds what it is for. That
they find nothing here, make lint looks."""
import os
import re
import shutil
import subprocess

import pytest

from lib.process import REPO

COPIED = ("contrib", "debian", "docs", "examples", "include", "man", "sql",
          "src", "tools", "www", "CONTRIBUTING.md", "lighttpd.conf.example")


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A copy of what the lints read."""
    root = tmp_path_factory.mktemp("tree")
    for name in COPIED:
        copy = shutil.copytree if (REPO / name).is_dir() else shutil.copy
        copy(REPO / name, root / name)
    for path in [*REPO.glob("tests/fuzz/*.c"), REPO / "tests/fronts/gates.py"]:
        to = root / path.relative_to(REPO)
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, to)
    return root


def lint(root, tool, *args):
    r = subprocess.run([root / "tools" / tool, *args], cwd=root, text=True,
                       capture_output=True, env={
                           **os.environ, "PYTHONDONTWRITEBYTECODE": "1"})
    return r.returncode, r.stdout + r.stderr


def change(path, old, new):
    """Make one change; what takes it back."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(new)
        return path.unlink
    was = path.read_text()
    text, n = re.subn(old, new, was, count=1, flags=re.M | re.S)
    assert n == 1, (path, old)
    path.write_text(text)
    return lambda: path.write_text(was)


def changed(root, tool, rows):
    """What a lint says of some changes, one of a file at most, which are taken
    back."""
    undo = []
    try:
        for row in rows:
            undo.append(change(root / row[0], *row[1:3]))
        return lint(root, tool)
    finally:
        for back in undo:
            back()


def rounds(root, tool, rows):
    """{row: what was said of it}, in as few runs as one change of a file at a
    time allows."""
    said, left = {}, list(rows)
    while left:
        once = {row[0]: row for row in reversed(left)}.values()
        answer = changed(root, tool, once)
        said |= {row: answer for row in once}
        left = [row for row in left if row not in said]
    return said


def test_a_whole_tree(tree):
    for tool in ("check-includes", "check-lists"):
        assert lint(tree, tool) == (0, "\n"), tool


NAMES = "src/base/gate_names.c"
GATE_OF = "contrib/{}".format

LISTS = [
    # A name that a recipe forgets could be forged.
    (GATE_OF("nginx/gate.conf"), r"^\s*fastcgi_param HTTP_X_APP_NAME .*?$", "",
     "fastcgi_param HTTP_X_APP_NAME $postern_app_name;"),
    (GATE_OF("nginx/gate.conf"), r"proxy_set_header X-Token-Subject "
     r"\$postern_subject", "proxy_set_header X-Token-Subject $http_x_subject",
     "proxy_set_header X-Token-Subject"),
    (GATE_OF("nginx/gate.conf"), "underscores_in_headers off",
     "underscores_in_headers on", "underscores_in_headers"),
    (GATE_OF("nginx/gate.conf"), r"^\s*auth_request_set \$postern_problem.*?$",
     "", "X-Postern-Problem"),
    (GATE_OF("apache/gate-authnz.conf"), "RequestHeader unset X_App-Name early",
     "", "X_App-Name"),
    (GATE_OF("apache/gate-authnz.conf"), r"x-\(app\|token\)-", "x-app-",
     "Connection may name X-Token-Subject"),
    (GATE_OF("apache/gate-fcgid.conf"),
     "Header always unset Variable-POSTERN_SUBJECT", "", "POSTERN_SUBJECT"),
    (GATE_OF("lighttpd/gate.conf"), '"X-App_Public-Key" => "",', "",
     "X-App_Public-Key"),
    (GATE_OF("lighttpd/gate.lua"), r'^\s*\["x-app-id"\].*?$', "", "x-app-id"),
    (GATE_OF("caddy/Caddyfile.gate"), r"request_header -X-Token_\*", "",
     "X-Token_Subject"),
    (GATE_OF("caddy/Caddyfile.gate"), "X-App-Name X-App-Public-Key X-Token",
     "X-App-Public-Key X-Token", "lacks X-App-Name"),
    (GATE_OF("haproxy/gate.cfg"), None, "http-request set-header X-App-Id 1\n",
     "no rule"),
    ("docs/hosting.md", r"\| `X-App-Public-Key` \|", "| `X-App-Key` |",
     "hosting.md"),
    ("src/api/openapi.json", '"X-App-Name": {"\\$ref"', '"X-App": {"$ref"',
     "openapi.json"),
    ("src/api/gate.c", r"^\s*told\[GATE_NAME_SUBJECT\].*?$", "",
     "GATE_NAME_SUBJECT"),
    # One bound.
    ("include/base/name.h", "NAME_USER_MAX 255", "NAME_USER_MAX 254",
     "sql/002_users.sql"),
    ("www/ui.js", "NAME_MAX = 100", "NAME_MAX = 120", "NAME_MAX"),
    # What would be counted as something else.
    ("src/api/metrics.c", '"key_unknown",', "", "key_unknown"),
    ("src/api/metrics.c", '"key_unknown",', '"key_unknown", "key_lost",',
     "key_lost"),
    ("src/base/metrics.c", " 415,", "", "415"),
    ("src/http/response.c", r'^\s*\{ 429, .*?$', "", "429"),
    # A row that would be all zeros.
    ("src/http/problem.c", r"\[P_NOT_FOUND\] =", "[P_NO_ROUTE] =",
     "[P_NOT_FOUND]"),
    ("src/base/metrics.c", r"^\s*\[METRIC_WORKERS\] = \{.*?\},$", "",
     "[METRIC_WORKERS]"),
    ("include/data/requirements.h", r"FACTS = (\d+)", r"FACTS = 1\1", "FACTS"),
    # A new member that -Wswitch would have told of.
    ("src/base/conninfo.c", "case SECRET:\n\t\tbreak;",
     "case SECRET:\n\tdefault:\n\t\tbreak;", "names SECRET before default"),
    # What is built and never run, and what is looked at no more.
    ("tests/fuzz/another.c", None, "int LLVMFuzzerTestOneInput(void);\n",
     "another"),
    ("tools/fuzz", r'"sealed": Target\([^)]*\),', "", "sealed"),
    ("src/base/seal.c", r"^is_weak\(", "is_poor(", "is_weak()"),
    # Names that nobody knows.
    (GATE_OF("patroni/postern.conf"), r"\Z", "POSTERN_QUERY_TIME = 2\n",
     "POSTERN_QUERY_TIME"),
    # What the manual says of a setting.
    ("man/postern.conf.5", "0 to 300; default 30", "0 to 300; default 60",
     "POSTERN_JWT_LEEWAY: does not say 30"),
    ("src/base/config_table.c", '"10000", 0, 100000', '"10000", 0, 50000',
     "POSTERN_CACHE_SIZE: does not say 50000"),
    ("src/base/config_table.c", r"token\|open\|closed", "token|open|guests",
     "does not say guests"),
    ("src/base/config_table.c", 'REALM", SETTING_STRING', 'REALM", '
     "SETTING_SECRET", "POSTERN_REALM: is it secret"),
    ("www/apps.js", 'disabled: "Disabled",', "", "disabled"),
    ("www/health.js", "postern_workers", "postern_workmen", "postern_workmen"),
]


@pytest.fixture(scope="module")
def lists(tree):
    return rounds(tree, "check-lists", LISTS)


@pytest.mark.parametrize("row", LISTS, ids=[f"{r[0]}-{r[3]}" for r in LISTS])
def test_lists(lists, row):
    status, text = lists[row]
    assert status == 1 and row[3] in text, text


def test_a_new_name_of_the_gate(tree):
    """Every recipe is told of it, and whatever else has the list."""
    _, text = changed(tree, "check-lists", [
        ("include/base/gate_names.h", "^\tGATE_NAMES$",
         "\tGATE_NAME_ROLE,\n\tGATE_NAMES"),
        (NAMES, r"^\};$", '\t[GATE_NAME_ROLE] = { "X-App-Role", '
         'VARIABLE "POSTERN_ROLE" },\n};')])
    for file in ("nginx/gate.conf", "apache/gate-authnz.conf",
                 "apache/gate-fcgid.conf", "lighttpd/gate.conf",
                 "lighttpd/gate.lua", "caddy/Caddyfile.gate", "hosting.md",
                 "openapi.json", "src/api/gate.c", "fronts/gates.py"):
        assert file in text, (file, text)


INCLUDES = [
    ("src/base/buf.c", '"data/db.h"', "base may not include"),
    ("src/serve/park.c", '"cli/cli.h"', "serve may not include"),
    ("src/cli/app.c", '"serve/park.h"', "cli may not include"),
    ("src/data/sql.c", '"data/wire.h"', "is for"),
    ("src/data/db.c", "<libpq-fe.h>", "belongs to src/data/wire.c"),
    ("include/http/request.h", "<fcgiapp.h>", "belongs to src/http/fcgi.c"),
    ("src/auth/auth.c", "<openssl/evp.h>", "belongs to src/base/crypto.c"),
    ("src/cli/doctor.c", "<curl/curl.h>", "belongs to src/cli/"),
    ("src/api/apps.c", "<json-c/json.h>", "not by this name"),
]


@pytest.fixture(scope="module")
def includes(tree):
    return rounds(tree, "check-includes", [
        (file, "^#include ", f"#include {name}\n#include ")
        for file, name, _ in INCLUDES])


@pytest.mark.parametrize("file,name,said", INCLUDES,
                         ids=[f"{f}-{n}" for f, n, _ in INCLUDES])
def test_includes(includes, file, name, said):
    text = "\n".join(line for row, (status, text) in includes.items()
                     if row[0] == file and status == 1
                     for line in text.splitlines() if file in line)
    assert said in text, text


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """house(files): a house of C files, compiled; what check-symbols says."""
    def build(files):
        root = tmp_path_factory.mktemp("house")
        shutil.copytree(REPO / "tools", root / "tools")
        for name, text in files.items():
            for path in (root / "src" / f"{name}.c", root / "b" / f"{name}.o"):
                path.parent.mkdir(parents=True, exist_ok=True)
            (root / "src" / f"{name}.c").write_text(text)
            subprocess.run(["cc", "-w", "-c", "-o", root / "b" / f"{name}.o",
                            root / "src" / f"{name}.c"], check=True)
        return lint(root, "check-symbols", "b")
    return build


def calls(name, *others):
    """A function of that name that calls the others."""
    return "".join(f"void {o}(void);\n" for o in others) + \
        f"void {name}(void) {{ {' '.join(o + '();' for o in others)} }}\n"


@pytest.mark.parametrize("files,said", [
    ({"base/a": calls("a", "b"), "base/b": calls("b", "c"),
      "data/c": calls("c")}, ["base/b calls data/c: c"]),
    ({"base/a": calls("a", "b"), "base/b": calls("b", "a")},
     ["a circle: base/a -> base/b (b); base/b -> base/a (a)"]),
    ({"base/a": calls("a", "b"), "base/b": calls("b", "c"),
      "base/c": calls("c", "a", "d"), "base/d": calls("d", "c")},
     ["a circle: base/a -> base/b (b); base/b -> base/c (c); "
      "base/c -> base/a (a)", "base/c -> base/d (d)"]),
    ({"serve/a": calls("a", "b"), "cli/b": calls("b")},
     ["serve/a calls cli/b: b"]),
    ({"data/db": calls("a", "PQexec")}, ["PQexec of libpq is for data/wire"]),
    ({"api/a": calls("a", "EVP_sha1")},
     ["EVP_sha1 of libcrypto is for base/crypto"]),
    ({"data/wire": calls("a", "PQexec", "b"), "base/b": calls("b"),
      "serve/main": calls("main", "a"), "cli/main": calls("main", "a")}, []),
], ids=["upward", "two", "two circles", "beside", "libpq", "libcrypto",
        "good"])
def test_symbols(house, files, said):
    status, text = house(files)
    assert status == (1 if said else 0), text
    assert len(text.split("\n")) == max(len(said), 1) + 1, text
    for line in said:
        assert line in text, text


def test_house(tree):
    """A file's first sentence is CONTRIBUTING.md's line; a new file is in the
    picture; and they are made anew by one command."""
    assert lint(tree, "house", "--check") == (0, "\n")
    made = [(tree / f).read_bytes() for f in ("CONTRIBUTING.md",
                                              "docs/floors.svg")]
    path = tree / "src/base/odd.c"
    path.write_text('/* Odds and ends. What else. */\n#include "base/buf.h"\n')
    try:
        status, text = lint(tree, "house", "--check")
        assert status == 1 and "CONTRIBUTING.md" in text and \
            "docs/floors.svg" in text
        assert lint(tree, "house") == (0, "\n")
        assert "| [odd](src/base/odd.c) | Odds and ends. |" in (
            tree / "CONTRIBUTING.md").read_text()
        path.write_text("int x;\n")
        status, text = lint(tree, "house", "--check")
        assert status == 1 and "does not begin with a comment" in text
    finally:
        path.unlink()
    assert lint(tree, "house") == (0, "\n")
    assert made == [(tree / f).read_bytes() for f in ("CONTRIBUTING.md",
                                                      "docs/floors.svg")]

"""What the documents name exists: files, headings, settings, codes, routes,
commands, options, packages. Of what can't run here, in `console` blocks, this
is all that is checked."""
import re
import shutil
import subprocess

import pytest

from lib.process import BUILD, REPO, SAN_ENV
import texts

# Blocks of these kinds are configurations, which the web servers' tests know.
KINDS = {"sh", "console", "lighttpd", "nginx", "apache", "caddy"}

TEXTS = [*texts.DOCUMENTS, *texts.MANUALS]
ids = [texts.name(p) for p in TEXTS]


def source(*patterns):
    return "\n".join(p.read_text() for pattern in patterns
                     for p in sorted(REPO.glob(pattern)))


def usage(*words):
    r = subprocess.run([BUILD / "postern", *words, "--help"], text=True,
                       capture_output=True, env=SAN_ENV)
    assert (r.returncode, r.stderr) == (0, ""), words
    return r.stdout


def listed(text):
    return re.findall(r"^  ([a-z-]+) +\S", text, re.M)


def options(text):
    return set(re.findall(r"--[a-z][a-z-]*", text)) - {"--help"}


@pytest.fixture(scope="module")
def tool():
    """{words of a command: its options}, of the whole tool."""
    found = {(): {"--help", "--version"}}
    for command in listed(usage()):
        text = usage(command)
        if "COMMAND" in text:
            for sub in listed(text):
                found[command, sub] = options(usage(command, sub)) | {"--help"}
        else:
            found[command,] = options(text) | {"--help"}
    assert ("app", "create") in found and ("check",) in found
    return found


@pytest.mark.parametrize("path", texts.DOCUMENTS,
                         ids=map(texts.name, texts.DOCUMENTS))
def test_links(path):
    """Relative links lead to files that are there, and to their headings."""
    for target in re.findall(r"\]\(([^)]+)\)", texts.prose(path)):
        if re.match(r"https?://", target):
            continue
        file, _, heading = target.partition("#")
        to = (path.parent / file).resolve() if file else path
        assert to.exists(), target
        assert to.is_relative_to(REPO), target
        if heading:
            assert heading in texts.anchors(to), target


@pytest.mark.parametrize("path", texts.DOCUMENTS,
                         ids=map(texts.name, texts.DOCUMENTS))
def test_kinds_of_blocks(path):
    """Each says what it is, so that none is left out by a slip."""
    fences = re.findall(r"^```(.*)$", path.read_text(), re.M)
    assert set(fences[::2]) <= KINDS, fences[::2]
    assert set(fences[1::2]) <= {""}


@pytest.mark.parametrize("path", TEXTS, ids=ids)
def test_settings(path):
    known = set(re.findall(r'"(POSTERN_[A-Z_]+)"', source(
        "src/base/config_table.c", "src/http/request.c")))
    assert "POSTERN_MASTER_KEY" in known and "POSTERN_GATE" in known
    known |= {f"{k}_FILE" for k in known} | {
        "POSTERN_CONFIG", "POSTERN_",
        # A client's own, which the server ignores.
        "POSTERN_URL", "POSTERN_PUBLIC_KEY", "POSTERN_SECRET_KEY",
        # What Kubernetes sets, as well.
        "POSTERN_SERVICE_HOST"}
    known |= set(re.findall(r'os\.environ\.get\("(POSTERN_[A-Z_]+)"', source(
        "tests/vectors/*.py")))
    # Of an authorizer's answer.
    known |= {f"POSTERN_{w}" for w in re.findall(
        r'VARIABLE "POSTERN_([A-Z_]+)', source("src/base/gate_names.c"))}
    known |= set(re.findall(r"POSTERN_[A-Z_]+", source("contrib/*/*")))
    used = set(re.findall(r"\bPOSTERN_[A-Z_]*", path.read_text()))
    assert used <= known, used - known


def test_metrics_and_reasons():
    """Those that the operator is told to watch."""
    text = (REPO / "docs/operating.md").read_text()
    code = source("src/base/metrics.c", "src/api/metrics.c")
    named = re.findall(r"`(postern_[a-z_]+)`", text)
    reasons = re.findall(r"`(\w+)`", re.search(
        r"by reason: many (.*?) \|", text).group(1))
    assert named and reasons
    for name in named + reasons:
        assert f'"{name}' in code, name


def test_problem_codes():
    """Each that the documents name is one; the protocol names all of them."""
    table = {code: status for status, code in re.findall(
        r'\{ (\d+), "(\w+)"', source("src/http/problem.c"))
        if code != "none"}
    assert len(table) > 30
    named = {}
    protocol = (REPO / "docs/protocol.md").read_text()
    for status, codes in re.findall(r"^\| (\d{3}) \| (`.*?) \|", protocol, re.M):
        named |= {code: status for code in re.findall(r"`(\w+)`", codes)}
    assert named == table
    for path in texts.DOCUMENTS:
        for code in re.findall(r'code == "(\w+)"|`(token_\w+)`',
                               path.read_text()):
            assert "".join(code) in table, code


@pytest.mark.covers("API9:2023")
def test_routes():
    """The README's table and the code's are the same."""
    table = {(m, p) for m, p in re.findall(
        r'\{ M_(\w+), "([^"]+)"', source("src/api/routes.c"))}
    readme = set()
    section = re.search(r"^## The API$(.*?)^## ", (
        REPO / "README.md").read_text(), re.M | re.S).group(1)
    for cell in re.findall(r"^\| (`.*?) \|", section, re.M):
        methods = re.findall(r"\b(GET|POST|PUT|PATCH|DELETE)\b", cell)
        for path in re.findall(r"[/…][\w/{}.…-]+", cell):
            base = path.replace("…", "/v1/apps/{public_key}")
            readme |= {(m, base) for m in methods}
    assert table == readme, table ^ readme


def test_manual_of_the_tool(tool):
    """postern(1) has every command and option of --help, and no other."""
    page = (REPO / "man/postern.1").read_text()
    synopsis, rest = page.split(".Sh DESCRIPTION")
    for words, known in tool.items():
        if not words:
            continue
        if words[0] == "app":
            assert re.search(rf"\.Cm app .*\b{words[1]}\b", synopsis), words
        else:
            assert re.search(rf"^\.Cm {words[0]}\b", synopsis, re.M), words
        for option in known - {"--help", "--json"}:
            assert f"Fl -{option[2:]}" in synopsis, (words, option)
    every = set().union(*tool.values())
    for option in re.findall(r"Fl -([a-z-]+)", page):
        assert f"--{option}" in every, option


def test_manual_of_the_server():
    r = subprocess.run([BUILD / "postern.fcgi", "--help"], text=True,
                       capture_output=True, env=SAN_ENV)
    page = (REPO / "man/postern.fcgi.8").read_text()
    found = options(r.stdout) | {"--help"}
    assert found == {f"--{o}" for o in re.findall(r"Fl -([a-z-]+)", page)}


def console(path):
    return [(line, c) for line, text in texts.blocks(path, "console")
            for c in texts.commands(text)]


CONSOLE = [(p, line, c) for p in texts.DOCUMENTS for line, c in console(p)]


@pytest.mark.parametrize("path,line,command", CONSOLE, ids=[
    f"{texts.name(p)}:{n}" for p, n, _ in CONSOLE])
def test_console(path, line, command, ran, tool):
    """What only shows: its program, options, packages and targets exist."""
    words = command.split()
    program = words[0]
    if program == "make":
        assert re.search(rf"^{words[1]}:", source("Makefile"), re.M)
    elif program == "apt":
        packages = [w for w in words[2:] if not w.startswith("../")]
        assert words[1] == "install"
        if packages:
            subprocess.run(["apt-cache", "show", *packages], check=True,
                           stdout=subprocess.DEVNULL)
    else:
        assert program in ("dpkg-buildpackage", "curl")
        assert shutil.which(program), program
        known = subprocess.run([program, "--help", *(
            ["all"] if program == "curl" else [])], capture_output=True,
            text=True).stdout
        for option in [w for w in words[1:] if w.startswith("-")]:
            assert re.search(rf"(^|[\s,]){option}\b", known), option
    ran(path, "only read", [line])


@pytest.mark.parametrize("path", TEXTS, ids=ids)
def test_commands_of_the_tool(path, tool):
    """Every `postern COMMAND --option` in prose, blocks and manuals."""
    text = path.read_text().replace("\\\n", " ").replace("\\e\n", " ")
    for line in re.findall(
            r"(?:`|\$ |\bpostern |\bop )((?:app|check|doctor|invite|master-key|"
            r"migrate|reseal|settings|token) [^`\n|;>']*)", text):
        words = line.split()
        key = tuple(words[:2]) if words[0] == "app" else (words[0],)
        if key[0] == "app" and (len(words) < 2 or not re.match(
                r"[a-z-]+$", words[1])):
            continue  # "app" in a sentence
        assert key in tool, line
        for option in options(line):
            assert option in tool[key], line

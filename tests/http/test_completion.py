"""What shells complete is what --help says and what the commands take."""
import errno
import os
import pty
import re
import subprocess
import time

import pytest

from lib.process import PATIENCE, stop, wait_until

FREE = {"PATH": os.environ["PATH"]}


@pytest.fixture(scope="module")
def tool(scratch):
    def run(*args):
        return subprocess.run([scratch.bin / "postern", *args], text=True,
                              capture_output=True, env=FREE, timeout=PATIENCE)
    return run


@pytest.fixture(scope="module")
def helps(tool):
    """Every command's --help, by its words."""
    texts = {}

    def look(path):
        r = tool(*path, "--help")
        assert (r.returncode, r.stderr) == (0, ""), r
        texts[path] = r.stdout
        for name in commands(r.stdout):
            look((*path, name))

    look(())
    # With commands and options both: its help has the options.
    for name in ("list", "revoke"):
        look(("invite", name))
    return texts


def commands(text):
    """Those that a help lists."""
    return re.findall(r"^  ([a-z][a-z-]*)  ", text, re.M)


def options(text):
    return re.findall(r"^  --([a-z-]+)( [A-Z=]+)?  ", text, re.M)


def own(path, text):
    return {"list", "revoke"} if path == ("invite",) else set(commands(text))


# -- the help itself

def test_help(helps):
    assert len(helps) > 20
    for path, text in helps.items():
        assert max(map(len, text.splitlines())) < 80, (path, text)
        if commands(text):
            continue
        usage = text.partition("\n\n")[0]
        form = usage.partition("\n       postern ")[0]
        assert ["help"] == [o for o, _ in options(text)
                            if f"--{o}" not in form], path
        assert set(re.findall("--([a-z-]+)", form)) == {
            o for o, _ in options(text)} - {"help"}, path
        for name, value in options(text):
            assert name == "help" or f"--{name}{value}" in re.sub(
                r"\s+", " ", form), (path, name)


def test_each_option_is_taken(helps, tool):
    for path, text in helps.items():
        for name, value in options(text):
            given = [f"--{name}"] + ["-"] * bool(value) + ["--help"]
            r = tool(*path, *given)
            assert "no such option" not in r.stderr, (path, name)
            assert "needs a value" not in r.stderr, (path, name)
        for wrong in ("--nosuch", "--nosuch=1", "-x"):
            if not commands(text):
                r = tool(*path, wrong)
                assert r.returncode == 2 and wrong.partition("=")[0] in \
                    r.stderr, (path, wrong)


@pytest.mark.parametrize("args,hint", [
    (["app", "list", "--limt", "4"], "--limit"),
    (["app", "list", "--serch=x"], "--search"),
    (["token", "--expire=4"], "--app or --user"),  # an abbreviation
    (["doctr"], "'doctor'"), (["app", "lst"], "'app list'"),
    (["app", "get"], "PUBLIC_KEY is missing"),
    (["app", "get", "x"], "'postern app list'"),
    (["completion"], "bash|zsh"), (["completion", "fish"], "bash"),
    (["app", "list", "--limit"], "--limit needs a value"),
    (["check", "--json=1"], "--json has no value"),
    (["check", "\x1b[2J"], "\\x1b[2J")])
def test_what_to_do_next(tool, args, hint):
    r = tool(*args)
    assert (r.returncode, r.stdout) == (2, "") and hint in r.stderr, r
    assert "\x1b" not in r.stderr


# -- bash

BASH = """
source "$1"
shift
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
_postern
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def bash(tool, scratch):
    path = scratch.path / "postern.bash"
    path.write_text(tool("completion", "bash").stdout)

    def complete(*words):
        r = subprocess.run(
            ["bash", "--norc", "-euc", BASH, "-", path, "postern", *words],
            capture_output=True, text=True, env=FREE, timeout=PATIENCE)
        assert (r.returncode, r.stderr) == (0, ""), r
        return set(r.stdout.split())

    return complete


VALUES = [
    (["master-key", "--bits", ""], {"128", "192", "256"}),
    (["master-key", "--bits", "1"], {"128", "192"}),
    (["doctor", "--server", "apache-"],
     {"apache-fcgid", "apache-proxy", "apache-htaccess"}),
    (["doctor", "https://a.example", "--json", "--server", "n"], {"nginx"}),
    (["completion", ""], {"bash", "zsh"}),
    (["app", "list", "--limit", ""], set()),
    (["app", "cr"], {"create"}), (["mi"], {"migrate"}),
    (["invite", "re"], {"revoke"}),
    (["invite", "--uses", "2", "--la"], {"--label"}),
    (["app", "nosuch", ""], set()), (["nosuch", ""], set()),
]


def test_bash_knows_all(helps, bash):
    for path, text in helps.items():
        expected = own(path, text)
        assert bash(*path, "") & expected == expected, path
        if not commands(text):
            flags = {f"--{o}" for o, _ in options(text)}
            assert bash(*path, "--") == flags, path
    assert bash("--") == {"--help", "--version"}
    assert bash("") == set(commands(helps[()])) | {"--help", "--version"}


@pytest.mark.parametrize("words,expected", VALUES + [
    (["master-key", "--bits", "="], {"128", "192", "256"}),
    (["master-key", "--bits", "=", "2"], {"256"})])
def test_bash_values(bash, words, expected):
    got = bash(*words)
    assert {w for w in got if not w.startswith("--") or
            words[-1].startswith("--")} == expected


# -- zsh, at a terminal: its completion works in its line editor alone

ZSH = """
PS1= PS2= RPS1=
fpath=({dir} $fpath)
autoload -Uz compinit
compinit -D -u
zstyle ':completion:*' insert-tab false
function compadd {{
	if [[ ${{@[1,(i)(-|--)]}} == *-(O|A|D)\\ * ]]; then
		builtin compadd "$@"
		return
	fi
	local -a found
	builtin compadd -A found "$@"
	print -rl -- $found >>{dir}/found
	builtin compadd "$@"
}}
function finished {{ print END >>{dir}/found; comppostfuncs=(finished) }}
comppostfuncs=(finished)
bindkey '^I' complete-word
print -r READY >{dir}/ready
"""


class Zsh:
    def __init__(self, directory, script):
        self.dir = directory
        (directory / "_postern").write_text(script)
        (directory / "init").write_text(ZSH.format(dir=directory))
        self.master, slave = pty.openpty()
        self.process = subprocess.Popen(
            ["zsh", "-f", "-i"], stdin=slave, stdout=slave, stderr=slave,
            env={**FREE, "TERM": "vt100", "HOME": str(directory),
                 "LC_ALL": "C.UTF-8"}, start_new_session=True, cwd="/")
        os.close(slave)
        os.set_blocking(self.master, False)
        self.type(f". {directory}/init\n")
        wait_until("zsh", lambda: self.drain() and
                   (directory / "ready").exists())

    def type(self, text):
        os.write(self.master, text.encode())

    def drain(self):
        """Take what it draws, so that it never waits for us."""
        try:
            while os.read(self.master, 65536):
                pass
        except BlockingIOError:
            pass
        except OSError as e:
            if e.errno != errno.EIO:  # of a terminal whose other end is gone
                raise
        return True

    def complete(self, *words):
        found = self.dir / "found"
        found.unlink(missing_ok=True)
        self.type(" ".join(["postern", *words]) + "\t")
        wait_until(f"completion of {words}", lambda: self.drain() and
                   found.exists() and "END\n" in found.read_text())
        self.type("\x15")  # the line is not run
        return set(found.read_text().split()) - {"END"}

    def close(self):
        self.type("\x15exit\n")
        end = time.monotonic() + PATIENCE
        while self.process.poll() is None and time.monotonic() < end:
            self.drain()
            time.sleep(0.02)
        stop(self.process)
        os.close(self.master)


@pytest.fixture(scope="module")
def zsh(tool, scratch):
    directory = scratch.path / "zsh"
    directory.mkdir()
    z = Zsh(directory, tool("completion", "zsh").stdout)
    yield z
    z.close()


def test_zsh_knows_all(helps, zsh):
    for path, text in helps.items():
        expected = own(path, text)
        assert zsh.complete(*path, "") & expected == expected, path
        if not commands(text):
            flags = {f"--{o}" for o, _ in options(text)}
            got = {w.rstrip("=") for w in zsh.complete(*path, "--")}
            assert got == flags, path


@pytest.mark.parametrize("words,expected", VALUES)
def test_zsh_values(zsh, words, expected):
    got = {w for w in zsh.complete(*words)
           if not w.startswith("-") or words[-1].startswith("-")}
    assert {w.rstrip("=") for w in got} == expected


def test_zsh_eval(tool):
    """The other way to load it."""
    r = subprocess.run(
        ["zsh", "-fc", "autoload -Uz compinit; compinit -D -u;"
         " eval \"$1\"; print $_comps[postern]", "-",
         tool("completion", "zsh").stdout], capture_output=True, text=True,
        env=FREE)
    assert (r.stdout, r.stderr) == ("_postern\n", "")

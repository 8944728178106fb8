"""make install: every path and mode, and what was installed runs."""
import os
import re
import shutil
import stat
import subprocess

from lib.process import REPO, SAN_ENV
from packaging_tools import ENV, VERSION, install


def names(pattern):
    return [p.relative_to(REPO) for p in REPO.glob(pattern) if p.is_file()]


def expected(prefix):
    share = f"{prefix}/share/postern"
    doc = f"{prefix}/share/doc/postern"
    man = f"{prefix}/share/man"
    unit = f"{prefix}/lib/systemd/system"
    files = {f"{prefix}/bin/postern": 0o755,
             f"{prefix}/lib/postern/postern.fcgi": 0o755,
             f"{man}/man1/postern.1": 0o644,
             f"{man}/man5/postern.conf.5": 0o644,
             f"{man}/man8/postern.fcgi.8": 0o644,
             f"{prefix}/share/bash-completion/completions/postern": 0o644,
             f"{prefix}/share/zsh/site-functions/_postern": 0o644,
             f"{unit}/postern.service": 0o644,
             f"{unit}/postern.socket": 0o644}
    for name in ("README.md", "CHANGES.md", "SECURITY.md", "LICENSE",
                 "lighttpd.conf.example"):
        files[f"{doc}/{name}"] = 0o644
    for name in names("www/*") + names("sql/*.sql"):
        files[f"{share}/{name}"] = 0o644
    for name in (names("docs/*") + names("examples/*.md") +
                 names("examples/*/*")):
        files[f"{doc}/{name}"] = 0o644
    for name in names("contrib/*.md") + names("contrib/*/*"):
        if name.parts[1] not in ("bundle", "container") and \
                not name.name.startswith("postern.s"):
            files[f"{doc}/{name}"] = 0o644
    return files


def found(dest):
    files, others = {}, []
    for p in dest.rglob("*"):
        mode = p.lstat().st_mode
        if stat.S_ISREG(mode):
            files["/" + str(p.relative_to(dest))] = stat.S_IMODE(mode)
        elif not stat.S_ISDIR(mode) or stat.S_IMODE(mode) != 0o755:
            others.append((str(p), oct(mode)))
    return files, others


def test_paths_and_modes(installed):
    files, others = found(installed)
    assert files == expected("/usr/local")
    assert others == []


def test_prefix(scratch):
    dest = install(scratch.dir() / "dest", "PREFIX=/opt/gate",
                   "UNITDIR=/etc/units")
    files, others = found(dest)
    assert files == {
        re.sub("^/opt/gate/lib/systemd/system", "/etc/units", path): mode
        for path, mode in expected("/opt/gate").items()}
    assert others == []
    doc = dest / "opt/gate/share/doc/postern"
    texts = [(dest / "etc/units/postern.service").read_text(),
             (doc / "lighttpd.conf.example").read_text()]
    for text in texts:
        assert "/opt/gate/lib/postern/postern.fcgi" in text
        assert "/usr/local" not in text


def test_runs(installed):
    for name in ("bin/postern", "lib/postern/postern.fcgi"):
        program = installed / "usr/local" / name
        r = subprocess.run([program, "--version"], capture_output=True,
                           text=True, env={**ENV, **SAN_ENV})
        assert (r.returncode, r.stdout, r.stderr) == \
            (0, f"{program.name} {VERSION}\n", "")


def test_shells_complete(installed):
    """Each in the place where its shell looks for it."""
    share = installed / "usr/local/share"
    bash = subprocess.run(
        ["bash", "--norc", "-ec", '. "$1"; complete -p postern', "-",
         share / "bash-completion/completions/postern"],
        capture_output=True, text=True)
    assert bash.stdout == "complete -F _postern postern\n", bash
    zsh = subprocess.run(
        ["zsh", "-fc", 'fpath=("$1" $fpath); autoload -Uz compinit;'
         " compinit -D -u; print $_comps[postern]", "-",
         share / "zsh/site-functions"], capture_output=True, text=True)
    assert (zsh.stdout, zsh.stderr) == ("_postern\n", ""), zsh


def test_built_anywhere(scratch):
    """Below a path with spaces, by a careful umask; and what is there of
    another user's is said in words."""
    d = scratch.dir() / "a path"
    shutil.copytree(REPO, d, ignore=shutil.ignore_patterns(
        "build*", ".git", "node_modules", "var", "tests"), symlinks=True)
    d.chmod(0o755)

    def make(user=None, **kw):
        return subprocess.run(
            ["make", f"BUILD={d}/build", "build/base/hex.o", *kw.pop("more", ())],
            cwd=d, text=True, capture_output=True, umask=0o077, user=user,
            env={k: v for k, v in os.environ.items()
                 if not k.startswith("MAKE") and k != "BUILD"}, **kw)

    r = make()
    assert (r.returncode, r.stderr) == (0, ""), r
    assert (d / "build/base/hex.o").exists()
    if os.getuid() == 0:
        for x in d.glob("build/**/"):
            x.chmod(0o755)
        r = make(user="nobody", more=["-B"])
        assert r.returncode != 0
        assert "build/base is another user's" in r.stderr

#!/usr/bin/python3
"""What stands in the way of root's commands in the tests' host: called by their
names, these do the same in a directory, or say that they only pretended.

HOST_ROOT is that directory. The users postern and postgres are whoever runs the
tests; as root, postern is www-data.
"""
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

ROOT = pathlib.Path(os.environ.get("HOST_ROOT", "/nonexistent"))
IS_ROOT = os.getuid() == 0
PATIENCE = 60


def note(kind, args):
    with open(ROOT / "commands", "a") as f:
        print(kind, *args, file=f)


def pretend(args):
    note("pretended:", args)


def execute(*args, env=None):
    os.execvpe(args[0], args, {**os.environ, **(env or {})})


def system(program):
    """The real one, behind ours in PATH."""
    return shutil.which(program, path="/usr/sbin:/usr/bin:/sbin:/bin")


def as_postern(*args):
    if IS_ROOT:
        return ["setpriv", "--reuid=www-data", "--regid=www-data",
                "--clear-groups", *args]
    return list(args)


def install_packages(args):
    """Real names of packages, at least."""
    assert args[:2] == ["apt", "install"], args
    subprocess.run(["apt-cache", "show", *args[2:]], check=True,
                   stdout=subprocess.DEVNULL)
    pretend(args)


def useradd(args):
    known = subprocess.run([system("useradd"), "--help"], capture_output=True,
                           text=True).stdout
    for option in args[1:-1]:
        assert re.search(re.escape(option) + r"\b", known), option
    pretend(args)


def git(args):
    assert args == ["git", "pull"], args
    pretend(args)


def make(args):
    assert args in (["make"], ["make", "install"]), args
    execute(system("make"), "-s", "-C", os.environ["HOST_REPO"],
            f"BUILD={os.environ['HOST_BUILD']}", f"DESTDIR={ROOT}", *args[1:])


def su(args):
    # "-": at home, where its programs may be; root's directory isn't theirs.
    assert args[1:4] == ["-", "postgres", "-c"] and len(args) == 5, args
    execute("/bin/sh", "-c", args[4])


def runuser(args):
    assert args[1:4] == ["-u", "postern", "--"], args
    execute(*as_postern(*args[4:]))


def files(args):
    """install, chgrp, chown: with the group that we have."""
    if not IS_ROOT:
        if args[0] == "chgrp":
            return pretend(args)
        args = re.sub(r" -[go] \S+", "", " ".join(args)).split()
    execute(system(args[0]), *[
        "www-data" if a == "postern" else a for a in args[1:]])


# -- systemd

def local(text):
    """Paths of a file of the host's, which knows nothing of our directory."""
    for a in ("/usr/local/", "/etc/postern", "/run/postern", "/var/lib/postern",
              "/var/log/lighttpd"):
        text = re.sub(rf"(?<![\w./]){a}", f"{ROOT}{a}", text)
    return text


def pid_file(unit):
    return ROOT / "run" / f"{unit}.pid"


def running(unit):
    try:
        pid = int(pid_file(unit).read_text())
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # One that has ended may wait long for whoever inherited it.
    return pid if stat.rpartition(")")[2].split()[0] != "Z" else None


def wait(what, check):
    end = time.monotonic() + PATIENCE
    while not check():
        if time.monotonic() > end:
            sys.exit(f"timed out: {what}")
        time.sleep(0.02)


def connects(kind, address):
    with socket.socket(kind) as s:
        return s.connect_ex(address) == 0


def unit_lines(name):
    """(key, value) of a unit as it was installed, and of what changes it."""
    files = [ROOT / "usr/local/lib/systemd/system" / name,
             *sorted((ROOT / f"etc/systemd/system/{name}.d").glob("*.conf"))]
    for f in files:
        yield from re.findall(r"^(\w+)=(.*)$", local(f.read_text()), re.M)


def conditions(name):
    paths = []
    for key, value in unit_lines(name):
        if key == "ConditionPathExists":
            paths = [*paths, value] if value else []
    for path in paths:
        assert os.path.exists(path), path


def hand_over(directory, name, path, encrypted):
    """A credential, as systemd does it."""
    f = directory / name
    if encrypted:
        subprocess.run(["systemd-creds", "decrypt", f"--name={name}", path, f],
                       check=True)
    else:
        shutil.copy(path, f)
    f.chmod(0o400)
    if IS_ROOT:
        shutil.chown(f, "www-data", "www-data")


def unit_settings():
    """postern.service's credentials and environment."""
    credentials = ROOT / "run/credentials"
    shutil.rmtree(credentials, ignore_errors=True)
    credentials.mkdir(parents=True)
    credentials.chmod(0o755)
    conditions("postern.service")
    conditions("postern.socket")
    loaded, env, program = {}, {"CREDENTIALS_DIRECTORY": str(credentials)}, None
    for key, value in unit_lines("postern.service"):
        if key.startswith("LoadCredential") and not value:
            loaded = {}
        elif key.startswith("LoadCredential"):
            name, path = value.split(":")
            loaded[name] = (path, key.endswith("Encrypted"))
        elif key == "Environment":
            name, value = value.split("=", 1)
            env[name] = value.replace("%d", str(credentials))
        elif key == "ExecStart":
            program = value
    for name, (path, encrypted) in loaded.items():
        hand_over(credentials, name, path, encrypted)
    return program, env


def spawn(unit, command, env):
    with open(ROOT / f"run/{unit}.log", "ab") as log:
        p = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL,
                             stdout=log, stderr=log, start_new_session=True,
                             cwd="/")
    pid_file(unit).write_text(str(p.pid))
    return p


def start(unit):
    if running(unit):
        return
    base = {"PATH": os.environ["PATH"]}
    if unit == "postern":
        program, env = unit_settings()
        address = f"{ROOT}/run/postern/postern.sock"
        p = spawn(unit, as_postern(program), {
            **base, **env, "POSTERN_LISTEN": f"unix:{address}",
            "POSTERN_CONFIG": os.environ["POSTERN_CONFIG"],
            **{k: os.environ[k] for k in ("ASAN_OPTIONS", "UBSAN_OPTIONS")
               if k in os.environ}})
        kind = socket.AF_UNIX
    else:
        conf = ROOT / "run/lighttpd.conf"
        conf.write_text(re.sub(
            r"^var.port .*", f"var.port = {os.environ['HOST_PORT']}", local(
                (ROOT / "etc/lighttpd/lighttpd.conf").read_text()),
            flags=re.M))
        p = spawn(unit, ["lighttpd", "-D", "-f", conf], base)
        kind, address = (socket.AF_INET,
                         ("127.0.0.1", int(os.environ["HOST_PORT"])))
    wait(unit, lambda: p.poll() is not None or connects(kind, address))
    if p.poll() is not None:
        sys.exit((ROOT / f"run/{unit}.log").read_text())


def stop(unit):
    pid = running(unit)
    if pid:
        os.kill(pid, signal.SIGTERM)
        wait(f"{unit}'s end", lambda: not running(unit))


def reload(unit):
    os.kill(running(unit), signal.SIGHUP)


def restart(unit):
    stop(unit)
    start(unit)


def systemctl(args):
    verbs = {"start": start, "stop": stop, "restart": restart,
             "reload": reload, "enable": start}
    verb, units = args[1], [a for a in args[2:] if a != "--now"]
    assert verb != "enable" or args[2] == "--now", args
    note("instead:", args)
    if verb == "daemon-reload":
        return
    for unit in units:
        unit = unit.removesuffix(".service")
        assert unit in ("postern", "postern.socket", "lighttpd"), unit
        if unit != "postern.socket":
            verbs[verb](unit)


COMMANDS = {"apt": install_packages, "useradd": useradd, "git": git,
            "make": make, "su": su, "runuser": runuser, "chgrp": files,
            "install": files, "systemctl": systemctl}

if __name__ == "__main__":
    name = os.path.basename(sys.argv[0])
    COMMANDS[name]([name, *sys.argv[1:]])

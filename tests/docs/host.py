"""A Debian host as the README makes it, in a directory: root's commands are
pretend.py's, Postgres is the tests', and the rest runs as it stands."""
import os
import re
import shutil
import subprocess

from lib.client import Client
from lib.process import (
    BUILD, PATIENCE, REPO, SANITIZED, SAN_ENV, USER, free_port)
import pretend
import texts

SCRIPT_PATIENCE = 600 if SANITIZED else 120


class Host(Client):
    def __init__(self, pg):
        super().__init__(free_port())
        self.pg, self.dir = pg, pg.scratch.dir()
        for d in ("run/postern", "etc/lighttpd", "var/log/lighttpd",
                  "var/lib", "root", "shims", "home"):
            (self.dir / d).mkdir(parents=True)
        for d in ("run", "run/postern", "var/log/lighttpd", "var/lib"):
            if os.getuid() == 0:
                shutil.chown(self.dir / d, USER, USER)
        for command in pretend.COMMANDS:
            (self.dir / "shims" / command).symlink_to(
                REPO / "tests/docs/pretend.py")
        self.env = {
            "PATH": f"{self.dir}/shims:{self.dir}/usr/local/bin:"
                    "/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": str(self.dir / "home"), "LC_ALL": "C.UTF-8",
            "PGHOST": str(pg.dir), "PGUSER": "owner",
            "POSTERN_CONFIG": f"{self.dir}/etc/postern/postern.conf",
            "HOST_ROOT": str(self.dir), "HOST_REPO": str(REPO),
            "HOST_BUILD": str(BUILD), "HOST_PORT": str(self.port),
            # In place of the machine's own.
            "SYSTEMD_CREDENTIAL_SECRET": f"{self.dir}/credential.secret",
            **SAN_ENV}

    def local(self, text):
        """A text's paths and addresses, as they are here."""
        text = text.replace("/run/postgresql", str(self.pg.dir))
        text = text.replace("user=postgres", "user=owner")
        for a in ("/usr/local/", "/etc/postern", "/etc/lighttpd",
                  "/etc/systemd/system", "/root/", "/var/lib/postern"):
            text = re.sub(rf"(?<![\w./]){a}", f"{self.dir}{a}", text)
        text = text.replace("127.0.0.1:8080", f"127.0.0.1:{self.port}")
        # Whatever a document says: this machine's own files are not touched.
        stray = re.search(r"(?<![\w./])/(etc|home|opt|root|run|srv|usr|var)\b"
                          r".*", text)
        assert not stray, stray.group()
        return text

    def run(self, path, blocks, env=None, before=None):
        """The blocks one after the other in one shell, as a reader would. Its
        output, by block. before is {text: commands}: they run ahead of the
        block that has the text in it."""
        script = []
        for line, text in blocks:
            for mark, commands in (before or {}).items():
                if mark in text:
                    script.append(self.local(commands))
            script += [f"echo; echo '@@ {line}'; echo; "
                       f"echo '@@ {line}' >&2", self.local(text)]
        r = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", "\n".join(script)],
            capture_output=True, text=True, timeout=SCRIPT_PATIENCE,
            cwd=self.dir / "home", env={**self.env, **(env or {})},
            stdin=subprocess.DEVNULL)
        if r.returncode != 0:
            raise AssertionError(
                f"{texts.name(path)}: exit {r.returncode} in the block at the"
                f" last @@\n{r.stdout[-3000:]}\n--- stderr\n"
                f"{r.stderr[-3000:]}")
        parts = re.split(r"\n@@ (\d+)\n\n", r.stdout)
        return dict(zip(map(int, parts[1::2]), parts[2::2]))

    def tool(self, *args, **kw):
        return subprocess.run(
            ["runuser", "-u", "postern", "--", "postern", *args],
            executable=self.dir / "shims/runuser", env=self.env, text=True,
            capture_output=True, timeout=PATIENCE, check=True, **kw).stdout

    def commands(self):
        """What was not run as it stands."""
        path = self.dir / "commands"
        return path.read_text().splitlines() if path.exists() else []

    def stop(self):
        for unit in ("lighttpd", "postern"):
            subprocess.run([self.dir / "shims/systemctl", "stop", unit],
                           env=self.env, check=True, timeout=PATIENCE)

    def local_names(self, line):
        return line.replace(str(self.dir), "")

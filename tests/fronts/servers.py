"""lighttpd, Apache, nginx and Caddy, each from a configuration file that we
ship.

A shipped file is used as it stands but for one thing: the paths and the port
that its head names as those to change (`SHIPPED` below) are replaced by the
test's own, wherever they stand. Nothing else of the machine may be named in
it. Around it goes only what belongs to the whole server and not to the site:
process id file, logs, modules, temporary directories.
"""
import os
import pathlib
import re
import shutil
import signal
import subprocess

from lib.client import Client
from lib.process import (
    PATIENCE, REPO, SANITIZED, SAN_ENV, can_connect, demoted, free_port,
    reap_log, stop, wait_until)
from lib.stack import choose_way, secret_text_absent

CONTRIB = REPO / "contrib"
OUTSIDE = re.compile(r"/(?:run|etc|usr|var|home|srv|opt)/[\w./-]+|\b8080\b")
MODULES = """mpm_event authz_core authz_host alias cgid dir env fcgid headers
    mime proxy proxy_fcgi reqtimeout rewrite setenvif""".split()


class Front(Client):
    """One web server, started from shipped files.

    stack: the Postern behind it (lib.stack.Stack); files: paths below the
    repository; values: more to replace beside the usual ones; extra: further
    lines at the level of the site files; main: lines for the whole server;
    way: which of a file's ways to uncomment (lib.stack.choose_way)."""

    name = None
    stop_signal = signal.SIGTERM
    reload_signal = None

    def __init__(self, stack, *files, values=None, extra="", main="",
                 way=None, wait=True):
        self.stack, self.scratch = stack, stack.scratch
        self.files = [REPO / f for f in files]
        self.dir = self.scratch.dir()
        super().__init__(free_port(), registered=stack.registered)
        self.extra, self.main, self.way = extra, main, way
        self.process = None
        self.settings = self.dir / "settings.conf"
        stack.write_settings(self.settings)
        self.values = {
            "8080": str(self.port),
            "/run/postern/postern.sock": stack.sock,
            "/usr/local/share/postern/www": f"{self.scratch.path}/www",
            "/usr/local/lib/postern/postern.fcgi":
                f"{self.scratch.bin}/postern.fcgi",
            "/etc/postern/postern.conf": str(self.settings),
            "/var/lib/postern": str(self.dir),
            "/var/log/lighttpd/error.log": f"{self.dir}/error.log",
            **(values or {})}
        self.needed = set(values or {})
        self.start(wait)

    # -- the configuration

    def fill(self, text):
        """The shipped text with this test's paths and port."""
        keys = sorted(self.values, key=len, reverse=True)
        text = re.sub("|".join(map(re.escape, keys)),
                      lambda m: self.used(m.group()), text)
        for line in text.splitlines():
            if not line.lstrip().startswith("#"):
                for found in OUTSIDE.findall(line):
                    assert found in self.values.values(), \
                        f"{found} is not one of the values to change: {line}"
        return text

    def used(self, key):
        self.needed.discard(key)
        return self.values[key]

    def site_files(self):
        """The filled-in files, written to the scratch directory."""
        out = []
        for i, path in enumerate(self.files):
            text = self.shipped(path.read_text())
            out.append(self.dir / f"site{i}-{path.name}")
            out[-1].write_text(self.fill(text))
        assert not self.needed, f"values that no file names: {self.needed}"
        return out

    def shipped(self, text):
        return choose_way(text, self.way) if self.way else text

    # -- the process

    def env(self):
        return {"PATH": os.environ["PATH"], "HOME": str(self.dir), **SAN_ENV}

    def start(self, wait=True):
        command = self.command(self.configure())
        self.process = subprocess.Popen(
            [str(c) for c in command], env=self.env(),
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=open(self.dir / "stderr", "ab"),
            preexec_fn=demoted(), cwd="/")
        if wait:
            wait_until(self.name, lambda: can_connect(self.port)
                       or self.process.poll() is not None)
            assert self.process.poll() is None, self.logs()

    def reload(self):
        """Ask for new settings without a refused connection."""
        self.process.send_signal(self.reload_signal)

    def logs(self):
        return "".join(
            f"== {p.name}\n{p.read_text(errors='replace')}"
            for p in (self.dir / n for n in ("stderr", "error.log", "log"))
            if p.exists())

    def stop(self):
        stop(self.process, self.stop_signal)
        reap_log(self.logs())
        secret_text_absent(self, *self.stack.secrets())

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.stop()


class Lighttpd(Front):
    name = "lighttpd"
    stop_signal = signal.SIGINT
    reload_signal = signal.SIGUSR1

    def configure(self):
        path = self.dir / "lighttpd.conf"
        lines = [f'include "{p}"' for p in self.site_files()]
        # Its children get no stderr unless it has this log.
        lines += [f'server.breakagelog = "{self.dir}/log"',
                  self.main, self.extra]
        path.write_text("\n".join(lines) + "\n")
        return path

    def command(self, path):
        return ["lighttpd", "-D", "-f", path]


class Apache(Front):
    name = "Apache"
    reload_signal = signal.SIGUSR1

    def configure(self):
        path = self.dir / "apache2.conf"
        modules = "\n".join(
            f"LoadModule {m}_module /usr/lib/apache2/modules/mod_{m}.so"
            for m in MODULES)
        spawn = ""
        if SANITIZED:
            spawn = "".join(f'FcgidInitialEnv {k} "{v}"\n'
                            for k, v in SAN_ENV.items())
        sites = "\n".join(f'Include "{p}"' for p in self.site_files())
        path.write_text(f"""\
ServerRoot "{self.dir}"
ServerName 127.0.0.1
PidFile "{self.dir}/httpd.pid"
DefaultRuntimeDir "{self.dir}"
Mutex "file:{self.dir}" default
ErrorLog "{self.dir}/error.log"
LogLevel warn
{modules}
TypesConfig /etc/mime.types
FcgidIPCDir "{self.dir}"
FcgidProcessTableFile "{self.dir}/fcgid_shm"
ScriptSock "{self.dir}/cgid.sock"
<Directory />
	AllowOverride None
	Require all denied
</Directory>
{spawn}{self.main}
{sites}
{self.extra}
""")
        return path

    def command(self, path):
        return ["apache2", "-DFOREGROUND", "-f", path]


class Nginx(Front):
    name = "nginx"
    stop_signal = signal.SIGQUIT
    reload_signal = signal.SIGHUP

    def configure(self):
        # Files of Debian's that a site includes by a relative name.
        for name in ("fastcgi_params", "mime.types"):
            shutil.copy(pathlib.Path("/etc/nginx") / name, self.dir / name)
        path = self.dir / "nginx.conf"
        temp = "\n".join(f"\t{m}_temp_path {self.dir}/{m};" for m in (
            "client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        sites = "\n".join(f"\tinclude {p};" for p in self.site_files())
        path.write_text(f"""\
pid {self.dir}/nginx.pid;
error_log {self.dir}/error.log warn;
worker_processes 2;
{self.main}
events {{
	worker_connections 1024;
}}
http {{
	include mime.types;
	access_log {self.dir}/access.log;
{temp}
{sites}
{self.extra}
}}
""")
        return path

    def command(self, path):
        return ["nginx", "-c", path, "-e", self.dir / "error.log",
                "-g", "daemon off;"]


class Caddy(Front):
    name = "Caddy"

    def configure(self):
        path = self.dir / "Caddyfile"
        sites = "\n".join(f"import {p}" for p in self.site_files())
        path.write_text(f"""\
{{
	admin unix/{self.dir}/admin.sock
	auto_https off
	{self.main}
}}
{sites}
{self.extra}
""")
        return path

    def command(self, path):
        return ["caddy", "run", "--config", path, "--adapter", "caddyfile"]

    def reload(self):
        # --force: also when nothing has changed.
        subprocess.run(
            ["caddy", "reload", "--force", "--config", self.dir / "Caddyfile",
             "--adapter", "caddyfile",
             "--address", f"unix/{self.dir}/admin.sock"],
            env=self.env(), check=True, capture_output=True,
            timeout=PATIENCE, preexec_fn=demoted(), cwd="/")

"""How each of examples/ is run: as its own head says, with its packages from
where the tests have them."""
import os
import shutil
import subprocess
import types

from chromium import Chromium
from lib.process import PATIENCE, REPO

EXAMPLES = REPO / "examples"
DEBIAN_GO = "/usr/share/gocode/src/github.com/golang-jwt/jwt"
BUILD_PATIENCE = 300  # a first build of Go's
PAGES = "example"


def publish(site):
    """The browser's example, below the pages that lighttpd serves."""
    to = site.scratch.path / "www" / PAGES
    shutil.copytree(EXAMPLES / "browser", to)
    for p in [to, *to.iterdir()]:
        p.chmod(0o755)


class Client:
    """A program that takes its keys from the environment."""

    def __init__(self, scratch, site):
        self.site = site
        self.dir = scratch.dir()
        self.command = self.prepare()

    def environment(self):
        return {"PATH": os.environ["PATH"], "HOME": str(self.dir),
                "LC_ALL": "C.UTF-8"}

    def run(self, app, *user, secret=None):
        """With that user, none to take the example's own."""
        return subprocess.run(
            [*self.command, *user], capture_output=True, text=True,
            timeout=PATIENCE, cwd=self.dir, env={
                **self.environment(),
                "POSTERN_URL": f"http://127.0.0.1:{self.site.port}",
                "POSTERN_PUBLIC_KEY": app.public,
                "POSTERN_SECRET_KEY": secret or app.secret})

    def close(self):
        pass


class Shell(Client):
    def prepare(self):
        return [EXAMPLES / "shell/client.sh"]


class Python(Client):
    def prepare(self):
        return ["/usr/bin/python3", EXAMPLES / "python/client.py"]


class Node(Client):
    def prepare(self):
        shutil.copytree(EXAMPLES / "node", self.dir, dirs_exist_ok=True)
        (self.dir / "node_modules").symlink_to(
            REPO / "tests/http/node_modules")
        return ["node", self.dir / "client.mjs"]


class Php(Client):
    def prepare(self):
        return [EXAMPLES / "php/client.php"]


class Perl(Client):
    def prepare(self):
        return ["/usr/bin/perl", EXAMPLES / "perl/client.pl"]


class Go(Client):
    """Built with Debian's copy of the library in place of the network's."""

    def environment(self):
        return {**super().environment(), "GOFLAGS": "-mod=mod",
                "GOPROXY": "off", "GOSUMDB": "off",
                "GOCACHE": str(REPO / "build/go-cache")}

    def prepare(self):
        shutil.copytree(EXAMPLES / "go", self.dir, dirs_exist_ok=True)
        for args in (["mod", "edit", "-replace",
                      f"github.com/golang-jwt/jwt/v4={DEBIAN_GO}"],
                     ["vet", "."], ["build", "-o", "client", "."]):
            subprocess.run(["go", *args], check=True, cwd=self.dir,
                           env=self.environment(), timeout=BUILD_PATIENCE)
        return [self.dir / "client"]


class Browser(Client):
    """The page's form, filled in and sent by a real browser."""

    def prepare(self):
        self.chromium = Chromium(self.dir)
        return None

    def run(self, app, *user, secret=None):
        url = f"http://127.0.0.1:{self.site.port}"
        fields = {"publicKey": app.public, "secretKey": secret or app.secret,
                  **dict(zip(["user"], user))}
        self.chromium.open(f"{url}/{PAGES}/index.html")
        state, text = self.chromium.evaluate("""new Promise((resolve) => {
            const form = document.getElementById('form');
            for (const [name, value] of Object.entries(%s))
                form.elements[name].value = value;
            new MutationObserver(() => {
                if (['done', 'failed'].includes(out.dataset.state))
                    resolve([out.dataset.state, out.textContent]);
            }).observe(out, { attributes: true });
            form.requestSubmit();
        })""", fields)
        failed = state == "failed"
        return types.SimpleNamespace(
            returncode=int(failed), stdout="" if failed else text,
            stderr=text if failed else "")

    def close(self):
        self.chromium.close()


CLIENTS = [Shell, Python, Node, Browser, Php, Go, Perl]

"""A customer of a shared host: .htaccess, the program, a home directory."""
import os
import shutil

import pytest

from lib.process import USER, wait_until
from lib.tokens import ADMIN, REGISTRATION
from ways import BY_NAME, Site


@pytest.fixture(scope="module")
def host(pg):
    with Site(pg, BY_NAME["Apache htaccess"]) as s:
        yield s


def put_file(host, path, text):
    path.write_text(text)
    path.chmod(0o644)
    if os.getuid() == 0:
        shutil.chown(path, USER, USER)


NAMES = [".postern.conf", "postern.conf", ".env", "backup.sql", "index.fcgi~",
         "settings.conf.bak", "master.key"]


@pytest.mark.covers("API8:2023")
@pytest.mark.parametrize("name", NAMES)
def test_settings_are_not_served(host, name):
    """Whoever puts them into the site, against the advice, is spared the
    worst, however the path is spelt."""
    secret = "POSTERN_MASTER_KEY=" + "ab" * 32
    put_file(host, host.front.app / name, secret)
    quoted = name.replace(".", "%2e")
    try:
        for path in (f"/{name}", f"/{quoted}", f"//{name}", f"/./{name}",
                     f"/v1/../{name}", f"/{name}/x", f"/{name}?x",
                     f"/www/../{name}", f"/{name}%00"):
            for method in ("GET", "HEAD", "POST"):
                r = host.exchange(host.head(
                    method, path, {"Content-Length": "0"}), method)
                assert r.status in (400, 403, 404), (path, r)
                assert b"abab" not in r.body
    finally:
        (host.front.app / name).unlink()


def test_nothing_else_is_served(host):
    home = host.front.home_settings
    assert home.exists() and REGISTRATION in home.read_text()
    for path in ("/.htaccess", "/.htpasswd", "/.postern.conf",
                 "/../home/.postern.conf", "/%2e%2e/home/.postern.conf",
                 "/~www-data/.postern.conf", "/home/.postern.conf"):
        r = host.exchange(host.head("GET", path, {}))
        assert r.status in (400, 403, 404), (path, r)
        assert REGISTRATION.encode() not in r.body
    # The program is run, never sent.
    for path in ("/index.fcgi", "/index.fcgi/", "/index.fcgi/healthz"):
        r = host.get(path)
        assert b"ELF" not in r.body[:8]
        assert r["Content-Type"] in ("application/problem+json",
                                     "application/json")


def test_new_settings(host):
    """A new index.fcgi in the old one's place takes up the settings."""
    assert 'realm="postern"' in host.get("/v1/whoami")["WWW-Authenticate"]
    with open(host.front.home_settings, "a") as f:
        f.write("POSTERN_REALM=changed\n")
    new = host.front.app / "new"
    shutil.copy(host.scratch_bin, new)
    new.rename(host.front.app / "index.fcgi")
    wait_until("the new realm", lambda: 'realm="changed"' in host.get(
        "/v1/whoami")["WWW-Authenticate"])


def test_bad_settings(pg):
    """A settings file that others can read stops the start, and what the
    client sees does not say what is in it."""
    with Site(pg, BY_NAME["Apache htaccess"]) as s:
        s.front.home_settings.chmod(0o644)
        new = s.front.app / "new"
        shutil.copy(s.scratch_bin, new)
        new.rename(s.front.app / "index.fcgi")
        r = wait_until("the refusal", lambda: (
            lambda r: r if r.status != 200 else None)(s.get("/healthz")))
        assert r.status == 500
        assert ADMIN.encode() not in r.body and b"postern.conf" not in r.body
        assert ".postern.conf" in s.front.logs()
        s.front.home_settings.chmod(0o600)
        wait_until("ready", lambda: s.get("/readyz").status == 200)


# What hosts and frameworks write where CGIPassAuth is not allowed: each rewrite
# is one more REDIRECT_ before the variable's name.
REWRITES = """\
AddHandler fcgid-script .fcgi
RewriteEngine On
RewriteRule ^v1/ - [E=HTTP_AUTHORIZATION:%{HTTP:Authorization}]
"""


@pytest.mark.parametrize("times", [1, 2, 3, 5])
def test_rewritten(pg, times):
    steps = [f"step{i}" for i in range(1, times)]
    rules = "".join(
        f"RewriteRule ^{a} {b} [L]\n"
        for a, b in zip(["v1/", *steps], [*steps, "index.fcgi/v1"]))
    with Site(pg, BY_NAME["Apache htaccess"]) as s:
        app = s.register()
        put_file(s, s.front.app / ".htaccess", REWRITES + rules)
        assert s.get("/v1/whoami", app.auth()).status == 200
        assert s.get("/v1/whoami").code == "credentials_missing"
        r = s.get("/v1/whoami", {**app.auth(), "Authorization": "Bearer x"})
        assert r.code == "invalid_credentials"
        # No client can send one of these.
        r = s.get("/v1/whoami", {
            "X-Public-Key": app.public, "REDIRECT_HTTP_AUTHORIZATION":
            app.auth()["Authorization"]})
        assert r.code == "token_missing"

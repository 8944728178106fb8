"""Answers of the API, and what compresses: a whole server that does so for all
else, and a proxy before it. Clients must be able to send back what they got."""
import gzip
import json
import os
import subprocess

import pytest

from lib.client import Client
from lib.process import (
    BUILD, PATIENCE, SAN_ENV, can_connect, demoted, free_port, stop,
    wait_until)
from ways import BY_NAME, Site

ON = {
    "Apache proxy": {
        "main": "LoadModule filter_module /usr/lib/apache2/modules/"
                "mod_filter.so\nLoadModule deflate_module "
                "/usr/lib/apache2/modules/mod_deflate.so",
        "extra": "AddOutputFilterByType DEFLATE application/json text/css"},
    "nginx": {"extra": "gzip on;\ngzip_types application/json text/css;\n"
                       "gzip_min_length 1;"},
}
# What keeps it off the API in each file, and what takes it away for a test.
OFF = {"Apache proxy": {"SetEnv no-gzip 1": "SetEnv x-gzip 1"},
       "nginx": {"gzip off;": ""}}
ON["Apache fcgid"] = ON["Apache proxy"]
OFF["Apache fcgid"] = OFF["Apache proxy"]

HAPROXY = """
global
	nbthread 1
defaults
	mode http
	timeout connect 5s
	timeout client 20s
	timeout server 20s
frontend web
	bind 127.0.0.1:{port}
	{compression}
	default_backend site
backend site
	server web 127.0.0.1:{behind}
"""
COMPRESSION = "filter compression\n\tcompression algo gzip\n" \
    "\tcompression type application/json"


class Haproxy(Client):
    """Before a site, on a port of its own."""

    def __init__(self, site, compression):
        super().__init__(free_port(), registered=site.registered)
        d = site.stack.scratch.dir()
        (d / "haproxy.cfg").write_text(HAPROXY.format(
            port=self.port, behind=site.port, compression=compression))
        self.process = subprocess.Popen(
            ["haproxy", "-db", "-f", d / "haproxy.cfg"],
            env={"PATH": os.environ["PATH"]}, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            preexec_fn=demoted(), cwd="/")
        wait_until("haproxy", lambda: can_connect(self.port))

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        stop(self.process)


def doctor(site, app):
    p = subprocess.run(
        [BUILD / "postern", "doctor", f"http://127.0.0.1:{site.port}",
         "--json", "--public-key", app.public], input=app.secret + "\n",
        capture_output=True, text=True, timeout=3 * PATIENCE,
        env={"PATH": os.environ["PATH"], **SAN_ENV})
    return {c["name"]: c for c in json.loads(p.stdout)["checks"]
            if c["verdict"] != "ok"}


def write(site, app):
    site.request("PUT", "/v1/users/doc", app.auth(), {"a": "x" * 5000})
    return site.get("/v1/users/doc",
                    {**app.auth(), "Accept-Encoding": "gzip"})


def send_back(site, app, tag):
    r = site.get("/v1/users/doc", {
        **app.auth(), "Accept-Encoding": "gzip", "If-None-Match": tag})
    assert r.status == 304, r
    return site.request("PUT", "/v1/users/doc", {
        **app.auth(), "If-Match": tag}, {"a": 1}).status


@pytest.mark.parametrize("name", ON)
def test_kept_off_the_api(pg, name):
    """With the file as it is shipped, in a server that compresses."""
    with Site(pg, BY_NAME[name], **ON[name]) as s:
        app = s.register()
        r = s.get("/style.css", {"Accept-Encoding": "gzip"})
        assert r["Content-Encoding"] == "gzip" and gzip.decompress(r.body)
        r = write(s, app)
        assert (r.status, r["Content-Encoding"]) == (200, None)
        assert send_back(s, app, r["ETag"]) == 200
        assert doctor(s, app) == {}


@pytest.mark.parametrize("name", ON)
def test_doctor_says_so(pg, name):
    """Without the file's line. A suffix is taken for our tag; a tag that was
    made weak can't be, and the doctor says what to add."""
    with Site(pg, BY_NAME[name], values=OFF[name], **ON[name]) as s:
        app = s.register()
        r = write(s, app)
        assert (r.status, r["Content-Encoding"]) == (200, "gzip")
        weak = r["ETag"].startswith("W/")
        assert weak == (name == "nginx")
        assert send_back(s, app, r["ETag"]) == (412 if weak else 200)
        found = doctor(s, app)
        assert set(found) == {"compression"}
        assert found["compression"]["verdict"] == ("fail" if weak else "warn")
        lines = [line for a in found["compression"]["advice"]
                 for line in a["lines"]]
        assert any("gzip" in line for line in lines)


@pytest.mark.parametrize("compression", ["", COMPRESSION])
def test_haproxy_before_it(pg, compression):
    with Site(pg, BY_NAME["lighttpd"]) as s:
        app = s.register()
        with Haproxy(s, compression) as proxy:
            r = write(proxy, app)
            assert r.status == 200
            assert (r["Content-Encoding"] == "gzip") == bool(compression)
            weak = r["ETag"].startswith("W/")
            assert weak == bool(compression)
            assert send_back(proxy, app, r["ETag"]) == (412 if weak else 200)
            assert set(doctor(proxy, app)) == (
                {"compression"} if weak else set())
            # The rest that a client relies on.
            r = proxy.request("PUT", "/v1/users/doc", {
                **app.auth(), "Content-Type": "application/json;",
                "If-None-Match": "x"}, "{}")
            assert (r.status, r.code) == (400, "bad_request")
            token = app.token(pad="x" * 5950)
            assert len(token) < 8192
            r = proxy.get("/v1/whoami", {
                **app.auth(), "Authorization": "Bearer " + token})
            assert r.status == 200

"""postern doctor against the real servers: the shipped files are sound, and a
file that is spoilt gets the line that it lacks."""
import json

import pytest
from lib.process import run_tool
from lib.tokens import App
from ways import WAYS, Site

SERVERS = {"lighttpd": "lighttpd", "Apache proxy": "apache-proxy",
           "Apache fcgid": "apache-fcgid", "Apache htaccess":
           "apache-htaccess", "nginx": "nginx", "Caddy": "caddy"}


def doctor(site, app, *options):
    """Its findings."""
    r = run_tool(
        site.stack.scratch,
        ["doctor", f"http://127.0.0.1:{site.port}{site.prefix}", "--json",
         "--public-key", app.public, *options],
        stdin=app.secret, check=False)
    out = json.loads(r.stdout)
    assert (r.returncode == 0) == out["ok"], r.stderr
    assert app.secret not in r.stdout + r.stderr
    return out["checks"]


def test_doctor(site, app, note):
    found = doctor(site, app)
    assert not [c for c in found if c["verdict"] == "fail"]
    warned = sorted({c["name"] for c in found if c["verdict"] == "warn"})
    # What a host must say for its users' .htaccess.
    assert set(warned) <= ({"slash", "token size"} if site.way.name ==
                           "Apache htaccess" else set()), found
    note(", ".join(warned) or "ok")


FIELDS = {"LimitRequestFieldSize 16380": ""}


def way(name):
    return next(w for w in WAYS if w.name == name)


@pytest.mark.parametrize("name,values,advice", [
    ("Apache proxy", {"CGIPassAuth On": "CGIPassAuth Off"}, "CGIPassAuth On"),
    ("Apache fcgid", {"CGIPassAuth On": "CGIPassAuth Off"}, "CGIPassAuth On"),
    ("nginx", {"client_max_body_size 128k": "client_max_body_size 8k"},
     "client_max_body_size"),
    ("lighttpd", {"server.max-request-size = 128":
                  "server.max-request-size = 8"}, "server.max-request-size"),
    ("Caddy", {"max_size 128KiB": "max_size 8KiB"}, "max_size"),
    ("Apache proxy", FIELDS, "LimitRequestFieldSize 16380"),
    ("Apache fcgid", FIELDS, "LimitRequestFieldSize 16380"),
    ("nginx", {"large_client_header_buffers 4 16k;": ""},
     "large_client_header_buffers 4 16k;"),
    ("lighttpd", {"server.max-request-field-size = 16384": ""},
     "server.max-request-field-size = 16384"),
])
def test_doctor_tells_what_is_missing(pg, name, values, advice):
    with Site(pg, way(name), values=values) as site:
        # By the tool: registering through the server may be what is broken.
        app = App(json.loads(site.stack.tool(
            "app", "create", "x", "--json").stdout))
        found = doctor(site, app, "--server", SERVERS[name])
        lines = [line for c in found if c["verdict"] != "ok"
                 for a in c.get("advice", []) for line in a["lines"]]
        assert any(advice in line for line in lines), found

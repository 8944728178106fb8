"""postern doctor: one thing broken at a time, and the right advice for it."""
import json
import os
import re
import socket
import subprocess

import pytest

from broken_proxy import Broken
from lib.process import BUILD, PATIENCE, REPO, SAN_ENV

TOOL = str(BUILD / "postern")


class Report:
    def __init__(self, done):
        self.rc, self.out, self.err = \
            done.returncode, done.stdout, done.stderr
        self.json = json.loads(self.out) if self.out.startswith("{") else None

    def __getitem__(self, name):
        """The first answer of that name: its verdict."""
        return self.get(name)["verdict"]

    def get(self, name):
        return next(c for c in self.json["checks"] if c["name"] == name)

    def bad(self):
        return {c["name"] for c in self.json["checks"]
                if c["verdict"] != "ok"}

    def lines(self, name):
        return [line for a in self.get(name).get("advice", [])
                for line in a["lines"]]

    def fronts(self, name):
        return [a["for"] for a in self.get(name).get("advice", [])]


def run(*args, stdin=None, env=None, **kw):
    kw.setdefault("stdin", subprocess.DEVNULL if stdin is None
                  else subprocess.PIPE)
    p = subprocess.Popen([TOOL, "doctor", *args], text=True,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                         env={"PATH": os.environ["PATH"], **SAN_ENV,
                              **(env or {})}, **kw)
    out, err = p.communicate(stdin, timeout=2 * PATIENCE)
    return Report(subprocess.CompletedProcess(args, p.returncode, out, err))


def doctor(url, *args, app=None, **kw):
    if app is not None:
        args += ("--public-key", app.public)
        kw["stdin"] = app.secret + "\n"
    return run(url, "--json", *args, **kw)


def url_of(stack):
    return f"http://127.0.0.1:{stack.port}"


@pytest.fixture(scope="module")
def own(site):
    return site.register("the doctor's")


@pytest.fixture
def broken(site):
    """Proxies in front of the site, ended with the test."""
    made = []

    def new(**kw):
        made.append(Broken(site.port, **kw))
        return made[-1]

    yield new
    for p in made:
        p.__exit__()


def test_whole_without_credentials(site):
    got = doctor(url_of(site))
    assert (got.rc, got.err, got.bad()) == (0, "", set()), got.out
    assert got.json["ok"] is True
    names = [c["name"] for c in got.json["checks"]]
    assert names == ["reachable", "server", "transport", "mount", "refusals",
                     "headers", "health", "ready", "Authorization",
                     "X-Public-Key", "methods", "bodies", "paths", "slash",
                     "token size", "clock", "settings"]
    text = run(url_of(site) + "/")
    assert text.rc == 0 and "lighttpd" in text.out
    assert all(line.startswith("ok    ") for line in text.out.splitlines())


def test_whole_with_credentials(site, own):
    before = site.get("/v1/users", own.auth()).json()
    got = doctor(url_of(site), app=own)
    assert (got.rc, got.err, got.bad()) == (0, "", set()), got.out
    assert {"credentials", "expiry", "document"} <= \
        {c["name"] for c in got.json["checks"]}
    assert "arrive whole" in got.get("bodies")["detail"]
    assert site.get("/v1/users", own.auth()).json() == before


def test_secret_from_the_database(site, own):
    env = {"POSTERN_DATABASE_URL": site.pg.url(site.database, "owner"),
           "POSTERN_MASTER_KEY": site.master_key}
    got = doctor(url_of(site), "--public-key", own.public, env=env)
    assert (got.rc, got["credentials"]) == (0, "ok"), got.out
    got = doctor(url_of(site), "--public-key", "ab" * 32, env=env)
    assert (got.rc, got.out) == (1, "") and "no app" in got.err


def test_wrong_secret(site, own):
    got = run(url_of(site), "--json", "--public-key", own.public,
              stdin="ab" * 32 + "\n")
    assert got.rc == 1 and got.bad() == {"credentials"}
    assert got["Authorization"] == got["X-Public-Key"] == "ok"
    got = run(url_of(site), "--public-key", own.public, stdin="nothing\n")
    assert (got.rc, got.out) == (1, "") and "secret key" in got.err


@pytest.mark.parametrize("dropped,bad", [
    ({"Authorization"}, {"Authorization"}),
    ({"X-Public-Key"}, {"X-Public-Key"}),
    ({"Authorization", "X-Public-Key"}, {"Authorization", "X-Public-Key"}),
])
@pytest.mark.parametrize("with_app", [False, True])
def test_dropped_credentials(broken, own, dropped, bad, with_app):
    p = broken(drop_request=dropped)
    got = doctor(p.url, app=own if with_app else None)
    assert got.rc == 1
    assert got.bad() == bad | ({"credentials"} if with_app else set())


def test_renamed_public_key(broken):
    got = doctor(broken(rename={"x-public-key": "X-Key"}).url)
    assert got.rc == 1 and got.bad() == {"X-Public-Key"}


@pytest.mark.parametrize("front,line", [
    ("apache-fcgid", "CGIPassAuth On"), ("apache-proxy", "CGIPassAuth On"),
    ("apache-htaccess", 'SetEnvIf Authorization "(.+)" HTTP_AUTHORIZATION=$1'),
    ("nginx", "fastcgi_param HTTP_AUTHORIZATION $http_authorization;"),
    ("caddy", "header_up -Authorization"),
    ("lighttpd", 'setenv.set-request-header = ("Authorization" => "")'),
])
def test_authorization_advice(broken, front, line):
    p = broken(drop_request={"authorization"})
    got = doctor(p.url, "--server", front)
    assert line in got.lines("Authorization")
    assert len(got.fronts("Authorization")) == 1
    assert f"          {line}\n" in run(p.url, "--server", front).out


@pytest.mark.parametrize("server,fronts", [
    ("nginx/1.22.1", {"nginx"}), ("Caddy", {"Caddy"}),
    ("lighttpd/1.4.69", {"lighttpd"}),
    ("Apache/2.4 (Debian)", {"Apache with mod_fcgid",
                             "Apache with mod_proxy_fcgi",
                             "Apache with .htaccess"}),
    ("nginxoid", 6), ("", 6),
])
def test_server_by_header(broken, server, fronts):
    got = doctor(broken(drop_request={"authorization"}, server=server).url)
    found = got.fronts("Authorization")
    if fronts == 6:
        assert len(set(found)) == 6
    else:
        assert set(found) == fronts


@pytest.mark.parametrize("refused,status", [
    ({"PUT", "DELETE"}, 405), ({"PATCH"}, 501), ({"HEAD"}, 405),
    ({"OPTIONS"}, 405), ({"POST"}, 404)])
def test_methods(broken, refused, status):
    got = doctor(broken(refuse=refused, refuse_status=status).url,
                 "--server", "nginx")
    assert got.rc == 1 and got["methods"] == "fail"
    detail = got.get("methods")["detail"]
    for m in refused:
        assert f"{m}: {status} from the web server" in detail
    assert "PATCH DELETE OPTIONS" in got.lines("methods")[0]


def test_options_of_the_server(broken):
    got = doctor(broken(refuse={"OPTIONS"}, refuse_status=200).url)
    assert (got.rc, got["methods"], got.bad()) == (0, "warn", {"methods"})


@pytest.mark.parametrize("with_app", [False, True])
@pytest.mark.parametrize("how,line", [
    ({"max_body": 60000}, "client_max_body_size 128k;"),
    ({"max_body": 60000, "too_large": 500}, "client_max_body_size 128k;"),
    ({"hasty": True}, "client_max_body_size 128k;"),
    ({"no_chunked": True}, "fastcgi_request_buffering on;"),
])
def test_bodies(broken, own, how, line, with_app):
    got = doctor(broken(**how).url, "--server", "nginx",
                 app=own if with_app else None)
    assert (got.rc, got.bad()) == (1, {"bodies"}), got.out
    assert got.lines("bodies") == [line]


@pytest.mark.parametrize("with_app", [False, True])
@pytest.mark.parametrize("status", [400, 431, 500, 0])
def test_token_size(broken, own, status, with_app):
    """A token may have 8192 characters; a server's own limit is often less."""
    p = broken(max_header=8100, header_status=status)
    got = doctor(p.url, "--server", "nginx", app=own if with_app else None)
    assert (got.rc, got.bad()) == (0, {"token size"}), got.out
    assert got.lines("token size") == ["large_client_header_buffers 4 16k;"]
    assert (f"{status} from the web server" in got.get("token size")["detail"]
            ) == (status > 0)


def test_token_size_advice(broken):
    """For each server what contrib/ has for it; Caddy takes more by itself."""
    got = doctor(broken(max_header=8100, server="").url)
    lines = dict(zip(got.fronts("token size"), (
        a["lines"] for a in got.get("token size")["advice"])))
    assert lines.pop("Caddy")[0] == "servers {"
    shipped = {"lighttpd": "lighttpd/cgi.conf", "nginx": "nginx/postern.conf"}
    assert len(lines) > len(shipped)
    for name in lines:
        path = shipped.get(name, "apache/mod_fcgid.conf")
        [line] = lines[name]
        assert line in (REPO / "contrib" / path).read_text()


def test_lighttpd_token_size(make):
    stack = make(extra_conf="server.max-request-field-size := 8192\n")
    got = doctor(url_of(stack), app=stack.register())
    assert (got.rc, got.bad()) == (0, {"token size"}), got.out
    assert got.lines("token size") == ["server.max-request-field-size = 16384"]


def test_lost_body(broken, own):
    got = doctor(broken(lose_body=True).url, "--server", "apache-fcgid",
                 app=own)
    assert got.rc == 1 and got["bodies"] == "fail"
    assert got.lines("bodies") == ["LimitRequestBody 0"]


def test_max_body_of_postern(make):
    stack = make(env={"POSTERN_MAX_BODY": "30000"})
    got = doctor(url_of(stack), app=stack.register())
    assert (got.rc, got.bad()) == (0, {"bodies"})
    assert "POSTERN_MAX_BODY" in got.get("bodies")["detail"]


def test_lighttpd_limits(make):
    stack = make(extra_conf="server.max-request-size := 32\n"
                 'server.http-parseopts = ("url-path-2f-reject" => "enable",'
                 '"url-path-2f-decode" => "disable")\n')
    got = doctor(url_of(stack), app=stack.register())
    assert got.rc == 1 and got.bad() == {"bodies", "slash"}, got.out
    assert got["bodies"] == "fail" and got["slash"] == "warn"
    assert got.lines("bodies") == ["server.max-request-size = 128"]


def test_lighttpd_streams(make):
    """411 for chunked bodies, as the example warns."""
    stack = make(extra_conf="server.stream-request-body := 2\n")
    got = doctor(url_of(stack), app=stack.register())
    assert (got.rc, got.bad()) == (1, {"bodies"}), got.out
    assert got.lines("bodies") == ["server.stream-request-body = 0"]


def test_lighttpd_drops_the_header(make):
    stack = make(extra_conf='setenv.set-request-header = '
                 '("Authorization" => "")\n')
    got = doctor(url_of(stack))
    assert (got.rc, got.bad()) == (1, {"Authorization"})
    assert got.lines("Authorization") == \
        ['setenv.set-request-header = ("Authorization" => "")']


def test_lighttpd_error_pages(make, scratch):
    pages = scratch.dir()
    for status in (401, 404):
        (pages / f"{status}.html").write_text("<h1>no</h1>")
    stack = make(extra_conf=f'server.errorfile-prefix = "{pages}/"\n'
                 'server.error-intercept = "enable"\n')
    got = doctor(url_of(stack))
    assert got.rc == 1 and got.bad() == {"refusals"}, got.out
    assert got["Authorization"] == "ok"  # by the challenge
    assert got.lines("refusals") == ['server.error-intercept = "disable"']


def test_error_pages_with_credentials(broken, own):
    """One fault, one finding."""
    got = doctor(broken(pages=True).url, app=own)
    assert (got.rc, got.bad()) == (1, {"refusals"}), got.out


def test_error_pages_and_no_authorization(broken):
    got = doctor(broken(pages=True, drop_request={"authorization"}).url)
    assert got["Authorization"] == "fail" and got["X-Public-Key"] == "warn"
    got = doctor(broken(pages=True, drop_request={"x-public-key"}).url)
    assert got["Authorization"] == "ok" and got["X-Public-Key"] == "fail"


@pytest.mark.parametrize("name", ["WWW-Authenticate", "Cache-Control",
                                  "X-Request-Id"])
def test_lost_response_header(broken, own, name):
    got = doctor(broken(drop_response={name}).url, "--server", "nginx",
                 app=own)
    assert got.bad() == {name}, got.out
    assert got.rc == (0 if name == "X-Request-Id" else 1)
    assert got.lines(name) == [f"fastcgi_pass_header {name};"]


def test_request_id(broken):
    got = doctor(broken(drop_request={"x-request-id"}).url)
    assert (got.rc, got.bad()) == (0, {"X-Request-Id"})
    assert "does not reach" in got.get("X-Request-Id")["detail"]
    got = doctor(broken(set_response={"X-Request-Id": "theirs"}).url)
    assert (got.rc, got.bad()) == (0, {"X-Request-Id"})
    assert "another" in got.get("X-Request-Id")["detail"]


@pytest.mark.parametrize("how,rc,verdict", [
    ({"weak_etag": True}, 1, "fail"),
    ({"compress": 'W/"tag"'}, 1, "fail"),
    ({"compress": '"tag-gzip"'}, 0, "warn")])
@pytest.mark.parametrize("server,line", [
    ("nginx", "gzip off;"),
    ("apache-proxy", 'SetEnvIf Request_URI "^/(v1/|openapi\\.json$)" '
     'no-gzip=1 no-brotli=1'),
    ("lighttpd", '$HTTP["url"] =~ "^/(v1/|openapi\\.json$)" '
     '{ deflate.mimetypes = () }'),
    ("caddy", "@pages not path /v1/* /openapi.json")])
def test_compression(site, broken, own, how, rc, verdict, server, line):
    """Told once, with what to add; with credentials and without."""
    for app in (None, own):
        got = doctor(broken(**how).url, "--server", server, app=app)
        assert (got.rc, got.bad()) == (rc, {"compression"}), got.out
        assert got["compression"] == verdict
        assert line in got.lines("compression")
    assert site.get("/v1/users", own.auth()).json()["users"] == []


@pytest.mark.parametrize("how,arg", [
    ({"drop_response": {"etag"}}, "fastcgi_pass_header ETag;"),
    ({"drop_request": {"if-match"}}, "fastcgi_pass_request_headers on;"),
])
def test_document(site, broken, own, how, arg):
    got = doctor(broken(**how).url, "--server", "nginx", app=own)
    assert got.rc == 1 and got.bad() == {"document"}, got.out
    assert got.lines("document") == [arg]
    assert site.get("/v1/users", own.auth()).json()["users"] == []


def test_document_left_behind(site, broken, own):
    got = doctor(broken(refuse={"DELETE"}).url, app=own)
    assert {"methods", "document"} == got.bad()
    users = site.get("/v1/users", own.auth()).json()["users"]
    assert len(users) == 1
    assert got.lines("document")[-1] == users[0]["user"]
    site.request("DELETE", "/v1/users/" + users[0]["user"], own.auth())


def test_document_of_a_lost_answer_is_removed(site, broken, own):
    """What was made although its answer said no is removed as well."""
    got = doctor(broken(fake_status={"PUT": 502}).url, app=own)
    assert got["document"] == "fail" and got["bodies"] == "fail"
    assert site.get("/v1/users", own.auth()).json()["users"] == []


@pytest.mark.parametrize("skew,verdict", [
    (3600, "fail"), (-3600, "fail"), (15, "warn"), (-15, "warn")])
def test_clock(broken, skew, verdict):
    got = doctor(broken(skew=skew).url)
    assert got.rc == (1 if verdict == "fail" else 0)
    assert got["clock"] == verdict and got.bad() == {"clock"}
    assert ("ahead" if skew > 0 else "behind") in got.get("clock")["detail"]
    assert got.lines("clock") == ["timedatectl set-ntp true"]


def test_no_date(broken):
    assert doctor(broken(date=False).url)["clock"] == "warn"


LOCATION = r"location ~ ^/(v1/|(healthz|readyz|metrics|openapi\.json)$) {"


def test_base_path(site, broken, make):
    # The proxy strips it: Postern need not know.
    got = doctor(broken(strip="/api").url + "/api/")
    assert (got.rc, got.bad()) == (0, set()), got.out
    # Somebody else's path.
    got = doctor(broken(strip="/api").url, "--server", "nginx")
    assert (got.rc, got.bad()) == (1, {"mount"})
    assert LOCATION in got.lines("mount")
    # Postern gets the prefix and doesn't know it.
    stack = make(extra_conf='$HTTP["url"] =~ "^/api/" {\n'
                 'fastcgi.server = ("/" => (("socket" => var.socket, '
                 '"check-local" => "disable", '
                 '"fix-root-scriptname" => "enable")))\n}\n')
    got = doctor(url_of(stack) + "/api")
    assert (got.rc, got.bad()) == (1, {"mount"})
    assert got.lines("mount") == ["POSTERN_BASE_PATH=/api"]
    got = doctor(url_of(site) + "/v1/")
    assert got.lines("mount") == [f"postern doctor {url_of(site)}"]
    # The web server invents a prefix.
    got = doctor(broken(add="/v1").url, "--server", "nginx")
    assert got.lines("mount") == ["fastcgi_param REQUEST_URI $request_uri;"]


def test_base_path_set(make):
    stack = make(env={"POSTERN_BASE_PATH": "/api"},
                 extra_conf='$HTTP["url"] =~ "^/api/" {\n'
                 'fastcgi.server = ("/" => (("socket" => var.socket, '
                 '"check-local" => "disable", '
                 '"fix-root-scriptname" => "enable")))\n}\n')
    got = doctor(url_of(stack) + "/api", app=stack.register())
    assert (got.rc, got.bad()) == (0, set()), got.out


def test_changed_paths(broken, own):
    for app in (None, own):
        got = doctor(broken(decode=True).url, "--server", "caddy", app=app)
        assert got["slash"] == "warn"
        # Without credentials a wrong name looks like any other.
        assert got["paths"] == ("ok" if app is None else "fail")


@pytest.mark.parametrize("how,advice", [
    ({"basic": True}, "auth_basic off;"),
    ({"status": 403}, "auth_basic off;"),
    ({"status": 502}, "server unix:/run/postern/postern.sock;"),
    ({"status": 404}, LOCATION),
    ({"status": 200}, LOCATION),
])
def test_not_postern(broken, how, advice):
    got = doctor(broken(**how).url, "--server", "nginx")
    assert (got.rc, got.bad()) == (1, {"mount"})
    assert advice in got.lines("mount")
    assert got["settings"] == "ok"


@pytest.mark.covers("API10:2023")
def test_redirect_is_not_followed(broken, site):
    there = broken()
    got = doctor(broken(redirect=there.url).url)
    assert (got.rc, got.bad()) == (1, {"reachable"})
    assert got.lines("reachable") == [f"postern doctor {there.url}"]
    assert there.seen == []
    got = doctor(broken(redirect="http://a b\x1b[2J'").url)
    assert got.rc == 1 and got.lines("reachable") == []


@pytest.mark.parametrize("garbage", [
    b"", b"\x00\xff" * 400, b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 200 OK",
    b"HTTP/1.1 999 X\r\n\r\n", b"HTTP/1.1 401 X\r\nContent-Length: 9\r\n\r\nx",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"HTTP/1.1 401 X\r\n" + b"A: b\r\n" * 100000,
    b"HTTP/1.1 100 Continue\r\n\r\n" * 50,
])
def test_garbage(broken, garbage):
    got = doctor(broken(garbage=garbage).url)
    assert got.rc == 1 and "reachable" in got.bad() | {"mount"}
    assert not (got.bad() - {"reachable", "mount", "settings"})
    assert got.err == ""


@pytest.mark.covers("API10:2023")
def test_hostile_texts(broken):
    """Nothing of a stranger's steers the terminal, or ends up as advice."""
    evil = "x\x1b[2J\x9b31m\xe2\x80\xae" + "A" * 3000
    p = broken(garbage=(
        f"HTTP/1.1 301 {evil}\r\nServer: {evil}\r\nLocation: http://h/{evil}"
        "\r\nContent-Length: 0\r\n\r\n").encode("latin-1"))
    got = run(p.url)
    assert got.rc == 1
    for c in "\x1b\x9b\u202e":
        assert c not in got.out
    assert len(got.out) < 2000 and "postern doctor" not in got.out
    body = json.dumps({"code": "a\x1b[2J", "instance": "urn:postern:request:"})
    p = broken(garbage=(
        "HTTP/1.1 401 X\r\nContent-Type: application/problem+json\r\n"
        f"Server: {evil}\r\nWWW-Authenticate: Bearer realm=\"{evil}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n{body}").encode("latin-1"))
    got = run(p.url)
    assert got.rc == 1 and "\x1b" not in got.out and "\x9b" not in got.out


def test_slow(broken):
    got = doctor(broken(silent=True).url, "--timeout", "1")
    assert (got.rc, got.bad()) == (1, {"reachable"})
    assert "timed out" in got.get("reachable")["detail"]


def test_nothing_there():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))  # bound, not listening
        got = doctor("http://127.0.0.1:%d" % s.getsockname()[1])
    assert (got.rc, got.bad()) == (1, {"reachable"})
    got = doctor("http://[::1]:1/")
    assert (got.rc, got.bad()) == (1, {"reachable"})


def test_no_tls_there(site):
    got = doctor(f"https://127.0.0.1:{site.port}")
    assert (got.rc, got.bad()) == (1, {"reachable"})


@pytest.mark.parametrize("base", ["", "/api"])
@pytest.mark.parametrize("name", ["/.postern.conf", "/postern.conf"])
def test_settings_file(broken, base, name):
    p = broken(strip=base, static={
        name: "POSTERN_MASTER_KEY=" + "ab" * 32})
    got = doctor(p.url + base, "--server", "nginx")
    assert (got.rc, got.bad()) == (1, {"settings"})
    assert "ab" * 32 not in got.out
    assert "deny all" in got.lines("settings")[0]
    # Any page with a 200 is not yet a settings file.
    p = broken(static={name: "<h1>all is well</h1>"})
    assert doctor(p.url)["settings"] == "ok"


def test_readiness(make):
    stack = make()
    stack.sql("DELETE FROM postern_migrations;"
              "NOTIFY postern_apps, 'schema'")
    stack.all_workers("not ready", "/readyz", 503)
    got = doctor(url_of(stack))
    assert (got.rc, got["ready"]) == (1, "fail")
    assert "the database is schema_outdated." in got.out
    assert got.lines("ready") == ["postern check"]


BAD_URLS = [
    "", "127.0.0.1", "ftp://h/", "file:///etc/passwd", "http://", "https:///x",
    "http://u@h/", "http://user:hunter22@h/", "http://h:0/", "http://h:65536/",
    "http://h:/", "http://h:1x/", "http://h /", "http://h\n/", "http://h/\x7f",
    "http://h\\x/", "http://h/?q", "http://h/#f", "http://h/a//b",
    "http://h/../x", "http://h/a/./b", "http://h/%zz", "http://h/'",
    "http://h/\"", "http://h/$(x)", "http://[::1", "http://::1/",
    "http://[fe80::1%25eth0]/", "http://[1.2.3.4]/", "http://-h/",
    "http://h\u00e9/", "http://" + "h" * 254 + "/", "http://h/" + "a" * 3000,
    "-K/etc/passwd", "http://h/a b", "http://[::1]x/",
]


@pytest.mark.parametrize("url", BAD_URLS)
def test_bad_url(url):
    got = run("--", url)
    assert (got.rc, got.out) == (2, "") and "URL" in got.err
    assert "hunter22" not in got.err


@pytest.mark.parametrize("args", [
    [], ["http://h/", "http://i/"], ["http://h/", "--server", "iis"],
    ["http://h/", "--server"], ["http://h/", "--public-key", "xyz"],
    ["http://h/", "--timeout", "0"], ["http://h/", "--timeout", "1e9"],
    ["http://h/", "--nope"],
])
def test_usage(args):
    got = run(*args)
    assert (got.rc, got.out) == (2, "") and got.err != ""


BROKEN = [
    ({"drop_request": {"x-public-key"}}, "X-Public-Key"),
    ({"drop_request": {"authorization"}}, "Authorization"),
    ({"refuse": {"PUT"}}, "methods"), ({"max_body": 60000}, "bodies"),
    ({"no_chunked": True}, "bodies"), ({"pages": True}, "refusals"),
    ({"status": 502}, "mount"), ({"status": 404}, "mount"),
    ({"add": "/x"}, "mount"), ({"basic": True}, "mount"),
    ({"decode": True}, "slash"),
    ({"static": {"/postern.conf": "POSTERN_X"}}, "settings"),
    ({"static": {"/healthz": "page"}}, "health"),
    ({"static": {"/readyz": "page"}}, "ready"),
    ({"drop_request": {"x-request-id"}}, "X-Request-Id"),
    ({"drop_response": {"Cache-Control"}}, "Cache-Control"),
]


@pytest.mark.parametrize("how,name", BROKEN)
def test_advice_for_each_server(broken, how, name):
    """All six are told what to do while it isn't known which it is, and no
    place is left open."""
    got = doctor(broken(server="", **how).url)
    assert got[name] != "ok", got.out
    fronts = got.fronts(name)
    apache = {"Apache with mod_fcgid", "Apache with mod_proxy_fcgi",
              "Apache with .htaccess"}
    assert {"lighttpd", "nginx", "Caddy"} < set(fronts)
    assert "Apache" in fronts or apache & set(fronts)
    assert len(fronts) == len(set(fronts))
    assert all(a["where"] for a in got.get(name)["advice"])
    assert not re.search("@@|%s", got.out)


@pytest.mark.parametrize("how,name", BROKEN)
def test_lighttpd_takes_the_advice(broken, tmp_path, how, name):
    """What is advised for lighttpd is its language."""
    got = doctor(broken(**how).url, "--server", "lighttpd")
    lines = "\n".join(got.lines(name))
    if lines.startswith('"socket"'):
        lines = f'fastcgi.server = ("/" => (({lines})))'
    if lines.endswith("{"):
        lines += " }"
    conf = tmp_path / "lighttpd.conf"
    conf.write_text(
        'server.modules = ("mod_fastcgi", "mod_setenv", "mod_access", '
        '"mod_rewrite", "mod_auth")\n'
        f'server.document-root = "{tmp_path}"\n{lines}\n')
    r = subprocess.run(["lighttpd", "-tt", "-f", conf], capture_output=True,
                       text=True, env={"PATH": os.environ["PATH"]})
    assert r.returncode == 0, (lines, r.stderr)


def test_url_forms(site):
    """Every spelling of the site that is taken leads there."""
    for host in ("127.0.0.1", "localhost", "LOCALHOST"):
        got = doctor(f"HTTP://{host}:{site.port}")
        assert got["mount"] == "ok" and got["transport"] == "ok", got.out

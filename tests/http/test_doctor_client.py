"""How postern doctor asks: what it sends, by which proxy, whom it trusts."""
import contextlib
import os
import socket
import ssl
import subprocess
import threading
from pathlib import Path

import pytest

from broken_proxy import Broken
from lib.process import (PATIENCE, SAN_ENV, can_connect, free_port,
                         wait_until)
from test_doctor import TOOL, broken, doctor, own, url_of  # noqa: F401


def test_no_other_program(site, tmp_path):
    """It asks by itself: nothing is to be found in PATH."""
    got = doctor(url_of(site), env={"PATH": str(tmp_path)})
    assert (got.rc, got.bad()) == (0, set()), got.out


def test_secret_in_no_argument(broken, own):
    """While it waits for an answer, no argument and no child has anything of
    the request."""
    p = broken(silent=True)
    d = subprocess.Popen(
        [TOOL, "doctor", p.url, "--public-key", own.public], text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={"PATH": os.environ["PATH"], **SAN_ENV})
    try:
        d.stdin.write(own.secret + "\n")
        d.stdin.flush()
        assert p.arrived.wait(PATIENCE)
        told = (Path("/proc") / str(d.pid) / "cmdline").read_text()
        assert own.secret not in told and "eyJ" not in told
        assert subprocess.run(["pgrep", "-P", str(d.pid)],
                              capture_output=True).stdout == b""
    finally:
        p.release.set()
        out, err = d.communicate(timeout=2 * PATIENCE)
    assert own.secret not in out + err and "eyJ" not in out + err


def test_files_at_home_take_no_part(site, tmp_path):
    (tmp_path / ".curlrc").write_text('url = "http://127.0.0.1:1/"\nfail\n')
    (tmp_path / ".netrc").write_text("default login a password b\n")
    got = doctor(url_of(site), env={
        "HOME": str(tmp_path), "CURL_HOME": str(tmp_path)})
    assert (got.rc, got.bad()) == (0, set()), got.out


class Listener:
    """Takes what comes, answers each connection with the same, and keeps the
    heads. With tunnel it is a proxy for CONNECT, to that port."""

    def __init__(self, answer=b"", tunnel=None):
        self.answer, self.tunnel, self.heads = answer, tunnel, []
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.threads = [threading.Thread(target=self.serve)]
        self.threads[0].start()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.socket.shutdown(socket.SHUT_RDWR)
        for t in self.threads:
            t.join(PATIENCE)
        self.socket.close()

    def serve(self):
        while True:
            try:
                s, _ = self.socket.accept()
            except OSError:
                return
            self.threads.append(threading.Thread(target=self.one, args=(s,)))
            self.threads[-1].start()

    def one(self, s):
        s.settimeout(PATIENCE)
        with s, contextlib.suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head and (got := s.recv(65536)):
                head += got
            head = head.partition(b"\r\n\r\n")[0].decode("latin-1")
            self.heads.append(head.split("\r\n"))
            if not self.tunnel:
                s.sendall(self.answer)
                s.shutdown(socket.SHUT_WR)
                while s.recv(65536):
                    pass
                return
            s.sendall(b"HTTP/1.1 200 Connection established\r\n"
                      b"Server: nginx\r\n\r\n")
            with socket.create_connection(("127.0.0.1", self.tunnel)) as t:
                back = threading.Thread(target=pump, args=(t, s))
                back.start()
                pump(s, t)
                back.join(PATIENCE)


def pump(a, b):
    with contextlib.suppress(OSError):
        while got := a.recv(65536):
            b.sendall(got)
        b.shutdown(socket.SHUT_WR)


def fields(head, name):
    return [line.partition(": ")[2] for line in head[1:]
            if line.lower().startswith(name.lower() + ":")]


REFUSAL = (b"HTTP/1.1 401 X\r\nConnection: close\r\n"
           b'WWW-Authenticate: Bearer realm="p"\r\n\r\n')


def test_what_is_sent(own):
    """Nothing but what it says: no header twice, no path tidied, and the
    secret never."""
    with Listener(REFUSAL) as there:
        got = doctor(there.url + "/x%20y", app=own)
    heads = there.heads
    assert len(heads) > 15 and own.secret not in got.out + str(heads)
    known = {"Host", "User-Agent", "Accept", "X-Request-Id", "Content-Type",
             "Content-Length", "X-Public-Key", "Authorization", "Expect",
             "Transfer-Encoding", "Accept-Encoding"}
    for head in heads:
        method, path, version = head[0].split(" ")
        names = [line.partition(":")[0] for line in head[1:]]
        assert len(set(names)) == len(names) and set(names) <= known, head
        assert version == "HTTP/1.1"
        assert path.startswith("/x%20y/") or "postern.conf" in path
        assert fields(head, "Host") == [f"127.0.0.1:{there.port}"]
        assert fields(head, "User-Agent") == ["postern-doctor"]
        chunked = fields(head, "Transfer-Encoding")
        assert fields(head, "Expect") == (["100-continue"] if chunked else [])
        assert not chunked or not fields(head, "Content-Length")
        assert bool(fields(head, "Content-Type")) == bool(
            chunked or fields(head, "Content-Length"))
    assert {h[0].split(" ")[0] for h in heads} == {
        "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
    sent = [h[0].split(" ")[1] for h in heads]
    for end in ("%20", "%C3%A9", "%2F"):
        assert [p for p in sent if p.endswith(end)], sent
    assert sum(own.public in str(h) for h in heads) == 1
    assert max(len(str(fields(h, "Authorization"))) for h in heads) > 8190


def test_flood(broken):
    """What is beyond a MiB is let go."""
    got = doctor(broken(garbage=b"HTTP/1.1 200 OK\r\n\r\n" +
                        b"x" * (1 << 22)).url)
    assert (got.rc, got.bad()) == (1, {"mount"})


# A name that is no loopback's own leads here.
@pytest.fixture
def named(tmp_path):
    wrapper, = Path("/usr/lib").glob("*/libnss_wrapper.so")
    (tmp_path / "hosts").write_text("127.0.0.1 site.test proxy.test\n")
    return {"LD_PRELOAD": str(wrapper),
            "NSS_WRAPPER_HOSTS": str(tmp_path / "hosts"),
            # A sanitizer's runtime otherwise wants to be the first.
            "ASAN_OPTIONS": SAN_ENV["ASAN_OPTIONS"] +
            ":verify_asan_link_order=0"}


PROXIES = "http_proxy", "all_proxy", "ALL_PROXY"


@pytest.mark.parametrize("name", PROXIES)
def test_proxy(site, broken, own, named, name):
    """As curl(1) is told; what no_proxy names is asked directly."""
    url = f"http://site.test:{site.port}"
    p = broken(strip=url)
    proxy = {name: p.url.replace("127.0.0.1", "proxy.test")}
    got = doctor(url, app=own, env={**named, **proxy})
    assert (got.rc, got.bad()) == (0, {"transport"}), got.out
    assert len(p.seen) > 20 and all(
        path.startswith(url + "/") for _, path in p.seen)
    for no_proxy, spared in (("no_proxy", "a.example,.test"),
                             ("NO_PROXY", "*")):
        p.seen.clear()
        got = doctor(url, env={**named, **proxy, no_proxy: spared})
        assert (got.rc, got.bad(), p.seen) == (0, {"transport"}, []), got.out


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1", "0x7f000001",
                                  "localhost", "LOCALHOST", "a.localhost",
                                  "0.0.0.0"])
def test_no_proxy_to_loopback(site, broken, host):
    p = broken()
    got = doctor(f"http://{host}:{site.port}",
                 env={name: p.url for name in PROXIES})
    assert (got.rc, got.bad(), p.seen) == (0, set(), []), got.out
    assert "loopback" in got.get("transport")["detail"]


# So long a label is looked up nowhere.
NO_NAME = "http://" + 70 * "a" + ".test"


def test_proxy_that_is_not_there():
    got = doctor("http://site.test", env={"http_proxy": "http://127.0.0.1:1"})
    assert (got.rc, got.bad()) == (1, {"reachable"}), got.out
    got = doctor("http://site.test", env={"http_proxy": NO_NAME})
    assert (got.rc, got.bad()) == (1, {"reachable"}), got.out
    assert "the proxy that the environment names is not in the DNS" in got.out
    got = doctor(NO_NAME)
    assert (got.rc, got.bad()) == (1, {"reachable"}), got.out
    assert "the name is not in the DNS" in got.out


def test_tls_by_a_proxy(site, tmp_path):
    """A tunnel: its own answer is none of the site's, and it sees nothing of a
    request."""
    context, cert = certificate(tmp_path, "DNS:site.test")
    with Broken(site.port, tls=context, server="") as p, \
            Listener(tunnel=p.port) as proxy:
        env = {"https_proxy": proxy.url, "SSL_CERT_FILE": str(cert)}
        got = doctor("https://site.test", env=env)
        assert (got.rc, got.bad()) == (0, set()), got.out
        assert "not told by ''" in got.get("server")["detail"]
        assert {h[0] for h in proxy.heads} == \
            {"CONNECT site.test:443 HTTP/1.1"}
        assert not [h for h in proxy.heads if fields(h, "Authorization")]
        assert doctor("https://other.test", env=env).bad() == {"reachable"}
    with Listener(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n") as proxy:
        got = doctor("https://site.test", env={"https_proxy": proxy.url})
        assert (got.rc, got.bad()) == (1, {"reachable"}), got.out
        assert "403" in got.get("reachable")["detail"]


NGINX = """
pid {dir}/pid;
error_log {dir}/error.log;
events {{ }}
http {{
	access_log {dir}/access.log;
	client_body_temp_path {dir}/body;
	proxy_temp_path {dir}/proxy;
	fastcgi_temp_path {dir}/fastcgi;
	uwsgi_temp_path {dir}/uwsgi;
	scgi_temp_path {dir}/scgi;
	server {{
		listen 127.0.0.1:{port} ssl http2;
		ssl_certificate {dir}/cert;
		ssl_certificate_key {dir}/key;
		client_max_body_size {size};
		large_client_header_buffers 4 {header};
		location / {{
			proxy_pass http://127.0.0.1:{behind};
			proxy_set_header Host $http_host;
		}}
	}}
}}
"""


@pytest.mark.parametrize("size,header,bad", [
    ("128k", "16k", set()), ("8k", "16k", {"bodies"}),
    ("128k", "4k", {"token size"})])
def test_http2(site, own, tmp_path, size, header, bad):
    """A site that has it is asked by it, but for what it has not."""
    certificate(tmp_path, "IP:127.0.0.1")
    port = free_port()
    (tmp_path / "conf").write_text(NGINX.format(
        dir=tmp_path, port=port, behind=site.port, size=size, header=header))
    server = subprocess.Popen(["nginx", "-c", tmp_path / "conf", "-g",
                               "daemon off; master_process off;"],
                              stderr=subprocess.DEVNULL)
    try:
        wait_until("nginx", lambda: can_connect(port))
        got = doctor(f"https://127.0.0.1:{port}", "--server", "nginx",
                     app=own, env={"SSL_CERT_FILE": str(tmp_path / "cert")})
    finally:
        server.terminate()
        server.wait(PATIENCE)
    assert got.bad() == bad, got.out
    seen = (tmp_path / "access.log").read_text()
    assert seen.count("HTTP/2.0") > 15
    if not bad:
        assert seen.count("HTTP/1.1") == 1  # the chunked body


def certificate(directory, name):
    """A server's context, and the certificate's file: of that name alone."""
    cert, key = directory / "cert", directory / "key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
         "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=site",
         "-addext", f"subjectAltName={name}", "-keyout", key, "-out", cert],
        check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return context, cert


@pytest.mark.parametrize("setting", ["SSL_CERT_FILE", "CURL_CA_BUNDLE"])
def test_tls(site, tmp_path, setting):
    context, cert = certificate(tmp_path, "IP:127.0.0.1")
    with Broken(site.port, tls=context) as p:
        got = doctor(p.url)
        assert (got.rc, got.bad()) == (1, {"reachable"})
        assert "certificate" in got.get("reachable")["detail"]
        assert p.seen == []
        got = doctor(p.url, env={setting: str(cert)})
        assert (got.rc, got.bad()) == (0, set()), got.out
        assert "TLS" in got.get("transport")["detail"]


def test_certificate_of_another(site, tmp_path):
    context, cert = certificate(tmp_path, "DNS:another.example")
    with Broken(site.port, tls=context) as p:
        got = doctor(p.url, env={"SSL_CERT_FILE": str(cert)})
        assert (got.rc, got.bad(), p.seen) == (1, {"reachable"}, [])

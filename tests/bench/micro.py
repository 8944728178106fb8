#!/usr/bin/python3
"""Instructions (callgrind) and system calls (strace) of a worker for one warm
`whoami` with the access log: the figures hardly vary from run to run. With a
token of exp alone, with the claims that most tokens have, and with another such
token for each request, none of which the worker has seen before.

Two runs of different length; what they differ by, divided by the requests
that they differ by, leaves out start and end. Exits 1 above the bounds.
"""
import os
import pathlib
import re
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve()
sys.path.insert(0, str(HERE.parents[1]))
from lib.fastcgi import FastCGI  # noqa: E402
from lib.postgres import Postgres  # noqa: E402
from lib.process import Scratch, demoted, stop, wait_until  # noqa: E402
from lib.stack import Stack  # noqa: E402
from lib.tokens import REGISTRATION, App  # noqa: E402

FEW, MANY = 200, 1200
USUAL = {"sub": "user-000001", "iat": int(time.time()), "scope": "read write"}
TOKENS = {"exp": lambda i: {}, "usual": lambda i: USUAL,
          "new": lambda i: {**USUAL, "sub": f"user-{i:06}"}}
BOUNDS = {"instructions, exp": 51500, "instructions, usual": 55000,
          "instructions, new": 145000, "system calls": 8.9}


def params(app, claims):
    """What lighttpd sends with a request, to the name."""
    return {
        "CONTENT_LENGTH": "0", "QUERY_STRING": "", "REQUEST_URI": "/v1/whoami",
        "REDIRECT_STATUS": "200", "SCRIPT_NAME": "", "PATH_INFO": "/v1/whoami",
        "PATH_TRANSLATED": "/srv/www/v1/whoami",
        "SCRIPT_FILENAME": "/srv/www/", "DOCUMENT_ROOT": "/srv/www/",
        "REQUEST_METHOD": "GET", "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_SOFTWARE": "lighttpd/1.4.69", "GATEWAY_INTERFACE": "CGI/1.1",
        "REQUEST_SCHEME": "http", "SERVER_PORT": "8080",
        "SERVER_ADDR": "127.0.0.1", "SERVER_NAME": "127.0.0.1",
        "REMOTE_ADDR": "127.0.0.1", "REMOTE_PORT": "40000",
        "HTTP_HOST": "127.0.0.1:8080", "HTTP_USER_AGENT": "bench/1",
        "HTTP_ACCEPT": "*/*", "HTTP_X_PUBLIC_KEY": app.public,
        "HTTP_AUTHORIZATION": "Bearer " + app.token(exp=3600, **claims),
    }


def packet(values):
    """All of a request at once, as web servers send it."""
    class Sink:
        sent = b""

        def sendall(self, data):
            self.sent += data

    f = FastCGI.__new__(FastCGI)
    f.s = Sink()
    f.begin()
    f.params(values)
    f.stdin(b"")
    return f.s.sent


def register(stack):
    body = b'{"name":"bench"}'
    r = stack.fcgi({
        "REQUEST_METHOD": "POST", "REQUEST_URI": "/v1/apps",
        "CONTENT_LENGTH": len(body), "CONTENT_TYPE": "application/json",
        "HTTP_AUTHORIZATION": "Bearer " + REGISTRATION}, body)
    return App(r.json())


def run(stack, wrapper, requests, app, claims):
    """Serve that many requests in one process below wrapper."""
    process = subprocess.Popen(
        [*wrapper, stack.scratch.bin / "postern.fcgi"],
        env={**stack.base_env(), **stack.env, "POSTERN_WORKERS": "0"},
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=open(stack.dir / "bench.log", "wb"), preexec_fn=demoted(),
        cwd="/")
    try:
        wait_until("the server", stack.listening)
        wait_until("readiness", lambda: stack.fcgi(
            {"REQUEST_METHOD": "GET", "REQUEST_URI": "/readyz"}).status == 200)
        for i in range(requests):
            request = packet(params(app, claims(i)))
            with FastCGI(stack.sock) as f:
                f.s.sendall(request)
                answer = f.answer()
            assert answer.status == 200, answer
    finally:
        child = subprocess.run(["pgrep", "-P", str(process.pid)],
                               capture_output=True, text=True).stdout.split()
        if child and "strace" in str(wrapper[0]):
            os.kill(int(child[0]), 15)
            process.wait(20)
        else:
            stop(process)


def instructions(stack, requests, app, token, directory):
    out = directory / f"callgrind.{token}.{requests}"
    run(stack, ["valgrind", "--tool=callgrind", "-q",
                f"--callgrind-out-file={out}"], requests, app, TOKENS[token])
    return int(re.search(r"^summary: (\d+)", out.read_text(), re.M).group(1))


def system_calls(stack, requests, app, directory):
    out = directory / f"strace.{requests}"
    run(stack, ["strace", "-c", "-o", out], requests, app, TOKENS["usual"])
    counts = {}
    for line in out.read_text().splitlines():
        found = re.match(r"\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?(\w+)$",
                         line)
        if found and found.group(2) != "total":
            counts[found.group(2)] = int(found.group(1))
    return counts


def main():
    keep = pathlib.Path(os.environ["KEEP"]) if "KEEP" in os.environ else None
    scratch = Scratch()
    pg = Postgres(scratch)
    failed = False
    try:
        stack = Stack(pg, way="alone", workers=0)
        app = register(stack)
        stop(stack.process)
        stack.process = None
        directory = keep or stack.dir
        figures = {}
        for token in TOKENS:
            many = instructions(stack, MANY, app, token, directory)
            few = instructions(stack, FEW, app, token, directory)
            figures["instructions, " + token] = (many - few) / (MANY - FEW)
        many = system_calls(stack, MANY, app, directory)
        few = system_calls(stack, FEW, app, directory)
        calls = {name: (n - few.get(name, 0)) / (MANY - FEW)
                 for name, n in many.items()}
        # What is not of every request: the heartbeat, the watchdog's tick.
        calls = {name: n for name, n in calls.items() if n > 0.05}
        figures["system calls"] = sum(calls.values())
        for name, value in figures.items():
            ok = value <= BOUNDS[name]
            failed = failed or not ok
            print(f"{'ok  ' if ok else 'FAIL'}  {name:19} {value:10,.1f}"
                  f"  (bound {BOUNDS[name]:,})")
        print("      " + ", ".join(f"{name} {n:.2f}" for name, n in
                                   sorted(calls.items(), key=lambda c: -c[1])))
    finally:
        pg.stop()
        scratch.remove()
    sys.exit(1 if failed else 0)


main()

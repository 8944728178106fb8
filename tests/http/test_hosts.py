"""Names of the database's hosts: that don't resolve, resolve late or anew, in
lists with others, and with TLS. Nobody waits for a name server."""
import os
import subprocess
import time

import pytest

from lib.postgres import TlsPostgres
from lib.process import PATIENCE, SANITIZED, SAN_ENV, at_once, wait_until
from lib.stack import pids
from nameserver import NXDOMAIN, SERVFAIL, NamedStack, NameServer

AT_ONCE = 5 if SANITIZED else 1  # seconds
OTHER = "127.53.0.2"
LONG_TTL = {"POSTERN_CACHE_TTL": "60"}


@pytest.fixture(scope="module")
def server(scratch):
    n = NameServer(scratch)
    yield n
    n.stop()


@pytest.fixture(scope="module")
def tls(scratch):
    p = TlsPostgres(scratch, names=("localhost", "db.test", "second.test"),
                    addresses=f"127.0.0.1,{OTHER}")
    yield p
    p.stop()


@pytest.fixture()
def named(server, tls, ends):
    """Postern whose database is at hosts, and the name server for it."""
    server.names = {"db.test": ["127.0.0.1"], "silent.test": "silent",
                    "none.test": NXDOMAIN, "broken.test": SERVFAIL}

    def new(hosts="db.test", ports=None, database=None, **kw):
        database = database or tls.database()
        env = {**LONG_TTL, **kw.pop("env", {}), "POSTERN_DATABASE_URL":
               tls.url(database, hosts=hosts, ports=ports)}
        return ends.enter_context(NamedStack(
            server, tls, database=database, env=env, **kw))
    return new


def everyone(s):
    return set(s.workers() or [s.process.pid])


def threads(pid):
    return len(os.listdir(f"/proc/{pid}/task"))


def cut(s):
    """Every connection of theirs is ended; they come back."""
    ups = len(s.log_lines("database_up"))
    s.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
          " WHERE usename = 'server'")
    start = time.monotonic()
    wait_until("all are back", lambda: pids(
        s.log_lines("database_up")[ups:]) >= everyone(s))
    return time.monotonic() - start


def nobody_waits(s, app, seconds):
    """What needs no database is answered at once, by each worker."""
    def one(i):
        path, headers = [("/healthz", {}), ("/v1/whoami", app.auth())][i % 2]
        start = time.monotonic()
        return (s.get(path, headers).status,
                time.monotonic() - start < AT_ONCE)

    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert set(at_once(8, one)) == {(200, True)}


@pytest.mark.parametrize("workers", [2, 0])
def test_servers_fall_silent(named, server, tls, workers):
    """The address that was good last serves; nothing stands still."""
    s = named(workers=workers)
    app = s.register()
    s.warm(app)
    server.names["db.test"] = "silent"
    assert cut(s) < 5 * AT_ONCE
    s.warm(app)
    assert {threads(p) for p in everyone(s)} == {2}
    tls.stop()
    try:
        nobody_waits(s, app, 6)
        assert s.get("/readyz").status == 503
        assert workers == 0 or threads(s.process.pid) == 1
    finally:
        tls.start()
    s.all_workers("back", "/readyz", 200)
    server.names["db.test"] = SERVFAIL
    assert cut(s) < 5 * AT_ONCE
    assert s.log_lines("host_unresolved")
    wait_until("their end", lambda: {
        threads(p) for p in everyone(s)} == {1})


@pytest.mark.parametrize("workers", [2, 0])
def test_servers_silent_from_the_start(named, server, workers):
    server.names["db.test"] = "silent"
    s = named(workers=workers, ready=False)
    end = time.monotonic() + 3
    while time.monotonic() < end:
        start = time.monotonic()
        assert {r.status for r in at_once(
            8, lambda i: s.get("/healthz"))} == {200}
        assert {r.status for r in at_once(
            8, lambda i: s.get("/readyz"))} == {503}
        assert time.monotonic() - start < 2 * AT_ONCE
    server.names["db.test"] = ["127.0.0.1"]
    s.all_workers("ready", "/readyz", 200)
    assert s.register()


def test_signals_while_it_waits(named, server):
    """A question that is on its way holds nobody who has to end."""
    server.names["db.test"] = "silent"
    s = named(ready=False)
    old = set(s.workers())
    s.reload()
    assert not old & set(s.workers())
    start = time.monotonic()
    s.stop()
    s.process = s.lighttpd = None
    assert time.monotonic() - start < 3 * AT_ONCE


@pytest.mark.parametrize("hosts", [
    "silent.test,db.test", "db.test,silent.test", "none.test,db.test",
    "broken.test,db.test", "silent.test,none.test,broken.test,db.test",
    "silent.test,{socket}", "{socket},silent.test", "none.test,{socket}",
    "db.test,{socket}", "{socket},db.test", "127.0.0.1,db.test",
])
def test_beside_others(named, tls, hosts):
    """Those that don't resolve are left out with their ports, sockets stay."""
    hosts = hosts.format(socket=tls.dir)
    ports = ",".join("1" if h.split(".")[0] in ("silent", "none", "broken")
                     else str(tls.tcp_port) for h in hosts.split(","))
    s = named(hosts, ports)
    assert s.register()
    assert cut(s) < 5 * AT_ONCE
    assert s.register()
    names = [h for h in hosts.split(",")
             if h.split(".")[0] in ("silent", "none", "broken")]
    lines = "".join(s.log_lines("host_unresolved"))
    assert all(f"host={n} " in lines for n in names)


def peers(s, tls):
    """To which addresses the server's connections go."""
    out = subprocess.run(["ss", "-Htnp", "state", "established", "dport", "=",
                          f":{tls.tcp_port}"], capture_output=True, text=True,
                         check=True).stdout
    return {line.split()[3].rpartition(":")[0] for line in out.splitlines()
            if any(f"pid={p}," in line for p in everyone(s))}


def test_name_moves(named, server, tls):
    """Failover by DNS: each reconnect asks anew."""
    s = named()
    for address in (OTHER, "127.0.0.1", OTHER):
        server.names["db.test"] = [address]
        cut(s)
        assert peers(s, tls) == {address}
    # And where the old address has gone, or the name meanwhile.
    server.names["db.test"] = ["127.53.0.9"]
    ups = len(s.log_lines("database_up"))
    s.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
          " WHERE usename = 'server'")
    s.all_workers("away", "/readyz", 503)
    server.names["db.test"] = NXDOMAIN
    asked = len(server.asked)
    wait_until("asked again", lambda: len(server.asked) > asked + 4)
    server.names["db.test"] = ["127.0.0.1"]
    wait_until("all are back", lambda: pids(
        s.log_lines("database_up")[ups:]) >= everyone(s))
    assert peers(s, tls) == {"127.0.0.1"}


def test_name_of_several_addresses(named, server, tls):
    """The first ones answer with a refusal, or not for this database."""
    server.names["db.test"] = ["127.53.0.9", "127.53.0.8", OTHER]
    s = named()
    assert s.register()
    assert peers(s, tls) == {OTHER}


def test_certificate_is_for_the_name(named, server):
    """Not for the address that it has."""
    server.names["second.test"] = server.names["other.test"] = ["127.0.0.1"]
    assert named("second.test").register()
    s = named("other.test", ready=False)
    wait_until("its word", lambda: "certificate" in s.log())
    assert s.get("/readyz").status == 503


def test_tool(server, named, tls):
    database = tls.database()

    def tool(hosts):
        start = time.monotonic()
        r = subprocess.run(
            server.command(tls.scratch.bin / "postern", "app", "list"),
            env={**SAN_ENV, "PATH": "/usr/bin:/bin", "POSTERN_DATABASE_URL":
                 tls.url(database, "owner", hosts)},
            capture_output=True, text=True, timeout=2 * PATIENCE)
        return r, time.monotonic() - start

    for hosts in ("db.test", "silent.test,db.test", "none.test,db.test"):
        r, seconds = tool(hosts)
        assert (r.returncode, r.stdout[:0]) == (0, ""), r.stderr
        assert seconds < 3 * AT_ONCE
    for hosts, words in (("silent.test", "no answer in time"),
                         ("none.test", "Name or service not known")):
        r, seconds = tool(hosts)
        assert r.returncode == 1 and seconds < 10
        assert (f'could not translate host name "{hosts}" to address: {words}'
                in r.stderr)
    # The end of a password with an @, where the host was forgotten.
    url = "postgresql://u:qZ7kXw@none.test/db"
    r = subprocess.run(
        server.command(tls.scratch.bin / "postern", "check"),
        env={**SAN_ENV, "PATH": "/usr/bin:/bin", "POSTERN_DATABASE_URL": url},
        capture_output=True, text=True, timeout=2 * PATIENCE)
    assert r.returncode == 1 and "(host 1)" in r.stdout, r
    assert "none.test" not in r.stdout + r.stderr

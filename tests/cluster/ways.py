"""Postern's three ways to the primary, by the files in contrib/patroni: all
hosts in the conninfo, HAProxy, and pgbouncer before that."""
import contextlib
import os
import re
import secrets
import signal

from lib.process import can_connect, free_port, stop, wait_until
from lib.stack import Stack
from members import CONTRIB, DATABASE, LONG, PASSWORDS, started

WAYS = "direct", "HAProxy", "pgbouncer"
# Patroni's ttl + loop_wait in these tests, and Postern's own 15 s.
CACHE_TTL = 40
SETTINGS = {"POSTERN_CACHE_TTL": str(CACHE_TTL), "POSTERN_QUERY_TIMEOUT": "2",
            "POSTERN_LOG_LEVEL": "info"}


def filled(name, values):
    """A shipped file with this machine's values, each of which it has."""
    text = (CONTRIB / name).read_text()
    for old, new in values.items():
        assert old in text, f"{name}: {old}"
        text = text.replace(old, new)
    code = re.sub(r"^[;#] .*$", "", text, flags=re.M)
    assert "10.0.0." not in code and "CHANGE-ME" not in code, code
    return text


class HAProxy:
    def __init__(self, cluster):
        self.port = free_port()
        self.dir = cluster.scratch.dir()
        values = {"127.0.0.1:5000": f"127.0.0.1:{self.port}",
                  "check port 8008 ": "check "}
        for i, m in enumerate(cluster.members, 1):
            values[f"server db{i} 10.0.0.{i}:5432"] = (
                f"server db{i} 127.0.0.1:{m.port} port {m.rest}")
        config = self.dir / "haproxy.cfg"
        config.write_text(filled("haproxy.cfg", values))
        self.process = started(["/usr/sbin/haproxy", "-db", "-f", config],
                               self.dir / "log")
        wait_until("HAProxy", lambda: can_connect(self.port), LONG)

    def end(self):
        stop(self.process)


class PgBouncer:
    def __init__(self, cluster, haproxy):
        self.port = free_port()
        self.dir = cluster.scratch.dir()
        users, config = self.dir / "users", self.dir / "pgbouncer.ini"
        users.write_text(f'"postern" "{PASSWORDS["postern"]}"\n')
        config.write_text(filled("pgbouncer.ini", {
            "port=5000": f"port={haproxy.port}",
            "listen_port = 6432": f"listen_port = {self.port}",
            "/etc/pgbouncer/userlist.txt": str(users)}))
        for p in (users, config):
            p.chmod(0o644)
        self.process = started(["/usr/sbin/pgbouncer", config],
                               self.dir / "log")
        wait_until("pgbouncer", lambda: can_connect(self.port), LONG)

    def end(self):
        # Since 1.23 it waits for its clients on SIGTERM.
        stop(self.process, signal.SIGKILL)


def conninfos(cluster, haproxy, bouncer):
    """Of each way, out of the shipped settings."""
    text = filled("postern.conf", {
        "host=10.0.0.1,10.0.0.2,10.0.0.3 port=5432,5432,5432":
            "host=127.0.0.1,127.0.0.1,127.0.0.1 port="
            + ",".join(str(m.port) for m in cluster.members),
        "port=5000": f"port={haproxy.port}",
        "port=6432": f"port={bouncer.port}",
        "CHANGE-ME-POSTERN": PASSWORDS["postern"]})
    found = re.findall(r"^#?POSTERN_DATABASE_URL = (.*)$", text, re.M)
    return dict(zip(WAYS, found, strict=True))


class Site:
    """A node of Postern for each way, with one master key."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.ends = contextlib.ExitStack()
        try:
            haproxy = HAProxy(cluster)
            self.ends.callback(haproxy.end)
            bouncer = PgBouncer(cluster, haproxy)
            self.ends.callback(bouncer.end)
            key = secrets.token_hex(32)
            cluster.database()
            self.nodes = {way: self.ends.enter_context(Stack(
                cluster, database=DATABASE, ready=False, env={
                    **SETTINGS, "POSTERN_DATABASE_URL": url,
                    "POSTERN_MASTER_KEY": key}))
                for way, url in conninfos(cluster, haproxy, bouncer).items()}
            for node in self.nodes.values():
                node.registered.append(PASSWORDS["postern"])
                wait_until("ready", lambda n=node:
                           n.get("/readyz").status == 200, LONG)
        except BaseException:
            self.end()
            raise

    def end(self):
        self.ends.close()


def here():
    """What of the packages is not there."""
    return [p for p in ("/usr/bin/patroni", "/usr/bin/etcd",
                        "/usr/sbin/haproxy", "/usr/sbin/pgbouncer",
                        "/usr/lib/python3/dist-packages/etcd")
            if not os.path.exists(p)]

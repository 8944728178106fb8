"""Postgres under Patroni, from the files in contrib/patroni: three members,
the etcd that they agree by, and what stands in for their watchdog devices."""
import base64
import contextlib
import http.client
import json
import os
import pathlib
import select
import signal
import subprocess
import threading
import time

import psycopg2
import yaml

from lib.postgres import ask
from lib.process import (
    REPO, can_connect, demoted, ended, free_port, run_tool, stop, wait_until)

CONTRIB = REPO / "contrib" / "patroni"
# The smallest ttl that Patroni 4 takes; a reset comes safety_margin before.
TIMES = {"ttl": 20, "loop_wait": 1, "retry_timeout": 3}
LONG = 120  # for a cluster to be whole
PASSWORDS = {"postgres": "postgres-password-of-the-tests",
             "replicator": "replicator-password-of-the-tests",
             "owner": "owner-password-of-the-tests",
             "postern": "postern-password-of-the-tests"}
REST = ("patroni", "rest-password-of-the-tests")
DATABASE = "postern"


def children(pid):
    out = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True,
                         text=True).stdout
    return [int(p) for p in out.split()]


def send(sig, pids):
    for p in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(p, sig)


def started(command, log, **kw):
    return subprocess.Popen(
        [str(c) for c in command], stdin=subprocess.DEVNULL,
        stdout=open(log, "ab"), stderr=subprocess.STDOUT,
        preexec_fn=demoted(), cwd="/", **kw)


class Etcd:
    def __init__(self, scratch):
        self.dir = scratch.dir()
        self.port, self.peer = free_port(), free_port()
        self.process = None
        self.start()

    def start(self):
        client, peer = (f"http://127.0.0.1:{p}" for p in (
            self.port, self.peer))
        self.process = started(
            ["/usr/bin/etcd", "--name", "one", "--data-dir", self.dir / "data",
             "--listen-client-urls", client, "--advertise-client-urls", client,
             "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
             "--initial-cluster", f"one={peer}"], self.dir / "log",
            env={"PATH": os.environ["PATH"], "HOME": str(self.dir)})
        wait_until("etcd", lambda: can_connect(self.port), LONG)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def end(self):
        stop(self.process)


class Watchdogs:
    """Each member's device is a pipe, by Patroni's own driver for tests. Who
    has opened it and writes no more in time is reset: all of it is killed."""

    def __init__(self, members):
        self.lock = threading.Lock()
        self.members = {}
        for m in members:
            os.mkfifo(m.device, 0o666)
            os.chmod(m.device, 0o666)
            fd = os.open(m.device, os.O_RDWR | os.O_NONBLOCK)
            self.members[fd] = m
        self.timeout = dict.fromkeys(self.members, 60)
        self.due = {}
        self.ending = threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def heard(self, fd):
        """Any byte counts from anew; a V is the last."""
        text = os.read(fd, 4096).decode()
        for line in text.split("C")[1:]:
            if line.startswith("timeout="):
                self.timeout[fd] = int(line[len("timeout="):].split("\n")[0])
        if text.endswith("V"):
            self.due.pop(fd, None)
        else:
            self.due[fd] = time.monotonic() + self.timeout[fd]

    def run(self):
        while not self.ending.is_set():
            for fd in select.select(list(self.members), [], [], 0.05)[0]:
                self.heard(fd)
            for fd, due in list(self.due.items()):
                if due < time.monotonic():
                    del self.due[fd]
                    self.members[fd].reset()

    def forget(self, member):
        """It is off: so is its watchdog."""
        for fd, m in self.members.items():
            if m is member:
                self.due.pop(fd, None)

    def end(self):
        self.ending.set()
        self.thread.join()
        for fd in self.members:
            os.close(fd)


class Member:
    """A host with Patroni and its Postgres."""

    def __init__(self, cluster, name):
        self.cluster, self.name = cluster, name
        self.dir = cluster.scratch.dir()
        self.rest, self.port = free_port(), free_port()
        self.data = self.dir / "data"
        self.device = self.dir / "watchdog"
        self.config = self.dir / "patroni.yml"
        self.process = None
        self.resets = []  # by the watchdog, when
        self.config.write_text(yaml.safe_dump(self.configuration()))

    def configuration(self):
        """The shipped one, with this machine's addresses and times."""
        c = yaml.safe_load((CONTRIB / "patroni.yml").read_text())
        rest, here = (f"127.0.0.1:{p}" for p in (self.rest, self.port))
        c["name"] = self.name
        c["restapi"].update(listen=rest, connect_address=rest, authentication={
            "username": REST[0], "password": REST[1]})
        c["etcd3"] = {"hosts": [f"127.0.0.1:{self.cluster.etcd.port}"]}
        dcs = c["bootstrap"]["dcs"]
        assert TIMES.keys() <= dcs.keys()
        dcs.update(TIMES)
        hba = dcs["postgresql"]["pg_hba"]
        hba[:] = [line.replace("10.0.0.0/24", "127.0.0.1/32") for line in hba]
        hba.append("host all owner 127.0.0.1/32 scram-sha-256")
        c["bootstrap"]["initdb"] += ["no-sync", {"wal-segsize": "1"}]
        p = c["postgresql"]
        p.update(listen=here, connect_address=here, bin_dir=str(bin_dir()),
                 data_dir=str(self.data), pgpass=str(self.dir / "pgpass"))
        for login in p["authentication"].values():
            login["password"] = PASSWORDS[login["username"]]
        p["parameters"].update(
            unix_socket_directories=str(self.dir), fsync="off",
            # Nothing is left of them when they are killed.
            dynamic_shared_memory_type="mmap", wal_receiver_status_interval=1)
        c["watchdog"].update(driver="testing", device=str(self.device))
        if not self.cluster.fenced:
            c["watchdog"]["mode"] = "off"
        text = json.dumps(c)
        assert "10.0.0." not in text and "CHANGE-ME" not in text, text
        return c

    # -- its processes

    def boot(self):
        self.process = started(
            ["/usr/bin/patroni", self.config], self.dir / "log",
            env={"PATH": os.environ["PATH"], "HOME": str(self.dir),
                 "LC_ALL": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"})

    def running(self):
        return self.process is not None and self.process.poll() is None

    def postmaster(self):
        """Its process id, if it is this member's and alive."""
        try:
            pid = int((self.data / "postmaster.pid").read_text().split()[0])
            command = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
        except (OSError, ValueError, IndexError):
            return None
        return pid if str(self.data).encode() in command else None

    def freeze(self, agent=True):
        """Everything stands still, parents first, so that none is left out.
        What was stopped."""
        pids = []
        for pid in ([self.process.pid] if agent and self.running() else []) \
                + [self.postmaster()]:
            if pid is not None:
                send(signal.SIGSTOP, [pid])
                pids += [pid, *children(pid)]
        send(signal.SIGSTOP, pids)
        return pids

    def process_named(self, name):
        """One of its Postgres' own, by the title."""
        return next(p for p in children(self.postmaster()) if name
                    in pathlib.Path(f"/proc/{p}/cmdline").read_text())

    def kill_postgres(self):
        pids = self.freeze(agent=False)
        send(signal.SIGKILL, pids)
        wait_until("its end", lambda: all(map(ended, pids)))

    def reset(self):
        """By its watchdog: as by the button."""
        send(signal.SIGKILL, self.freeze())
        self.resets.append(time.monotonic())

    def power_off(self):
        shared = self.shared_memory()
        pids = self.freeze()
        send(signal.SIGKILL, pids)
        self.cluster.watchdogs.forget(self)
        self.process.wait()
        wait_until("its end", lambda: all(map(ended, pids)))
        if shared:
            subprocess.run(["ipcrm", "-m", shared], stderr=subprocess.DEVNULL)

    def shared_memory(self):
        with contextlib.suppress(OSError, IndexError):
            return (self.data / "postmaster.pid").read_text(
                ).splitlines()[6].split()[1]

    def shut_down(self):
        stop(self.process, patience=LONG)
        self.cluster.watchdogs.forget(self)

    def end(self):
        if self.process is not None:
            self.power_off()

    # -- what it says

    def ask(self, method, path, body=None, timeout=5):
        c = http.client.HTTPConnection("127.0.0.1", self.rest, timeout=timeout)
        login = base64.b64encode(":".join(REST).encode()).decode()
        try:
            c.request(method, path, body and json.dumps(body),
                      {"Authorization": "Basic " + login})
            r = c.getresponse()
            return r.status, r.read().decode()
        except (OSError, http.client.HTTPException):
            return None, ""
        finally:
            c.close()

    def leads(self):
        return self.ask("GET", "/primary", timeout=0.5)[0] == 200

    def log(self):
        return (self.dir / "log").read_text(errors="replace")

    def sql(self, text):
        return ask(self.cluster.connect_to([self], "postgres", "postgres"),
                   text)


def bin_dir():
    return sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"))[-1]


class Cluster:
    """For a Stack, what lib.postgres.Postgres is: with one database."""

    def __init__(self, scratch, fenced=True):
        self.scratch, self.fenced = scratch, fenced
        self.made = False
        self.etcd = Etcd(scratch)
        self.members = [Member(self, f"db{i}") for i in (1, 2, 3)]
        self.watchdogs = Watchdogs(self.members)
        try:
            self.begin()
        except BaseException:
            self.end()
            raise

    def begin(self):
        """The first makes it, the others copy from that."""
        first, *others = self.members
        first.boot()
        for m in others:
            m.boot()
        self.whole()
        assert bool(self.watchdogs.due) == self.fenced
        for role in ("owner", "postern"):
            self.leader().sql(f"CREATE ROLE {role} LOGIN PASSWORD"
                              f" '{PASSWORDS[role]}'")

    def end(self):
        try:
            for m in self.members:
                m.end()
        finally:
            self.watchdogs.end()
            self.etcd.end()

    # -- how it is

    def leader(self):
        return wait_until("a leader", self.leader_now, LONG)

    def leader_now(self):
        return next((m for m in self.members if m.leads()), None)

    def states(self):
        """{name: (role, state, lag)}, as any member says."""
        for m in self.members:
            status, text = m.ask("GET", "/cluster")
            if status == 200:
                return {x["name"]: (x["role"], x["state"], x.get("lag", 0))
                        for x in json.loads(text)["members"]}
        return {}

    def whole(self):
        """A leader, a synchronous standby and another, none behind."""
        def good():
            assert all(m.running() for m in self.members), "ended"
            found = self.states()
            roles = {role: name for name, (role, _, _) in found.items()}
            return roles.keys() == {
                "leader", "replica", "sync_standby"} and all(
                state in ("running", "streaming") and lag == 0
                for _, state, lag in found.values()) and self.leader().sql(
                "SELECT application_name FROM pg_stat_replication"
                " WHERE sync_state = 'sync'") == [(roles["sync_standby"],)]

        try:
            wait_until("a whole cluster", good, LONG)
        except AssertionError as e:
            raise AssertionError("\n".join([
                f"{e}: {self.states()}",
                *(m.log()[-1500:] for m in self.members)])) from None

    def roles(self):
        """The leader, the synchronous standby and the other."""
        by_role = {role: name for name, (role, _, _) in self.states().items()}
        by_name = {m.name: m for m in self.members}
        return [by_name[by_role[r]] for r in (
            "leader", "sync_standby", "replica")]

    def edit(self, **changes):
        """As by patronictl edit-config."""
        status, text = self.leader().ask("PATCH", "/config", changes)
        assert status == 200, text

    def repair(self):
        """All hosts are on, whatever the test before did."""
        if self.etcd.process.poll() is not None:
            self.etcd.start()
        for m in self.members:
            if not m.running():
                m.boot()
        self.whole()

    # -- as lib.postgres.Postgres

    def conninfo(self, members, name, user):
        return {"host": ",".join("127.0.0.1" for _ in members),
                "port": ",".join(str(m.port) for m in members),
                "dbname": name, "user": user, "password": PASSWORDS[user]}

    def connect_to(self, members, name, user):
        c = psycopg2.connect(**self.conninfo(members, name, user),
                             target_session_attrs="any", connect_timeout=5)
        c.autocommit = True
        return c

    def connect(self, name, user="owner"):
        return self.connect_to([self.leader()], name, user)

    def url(self, name, user="postern"):
        return " ".join(f"{k}={v}" for k, v in self.conninfo(
            self.members, name, user).items())

    def database(self):
        if not self.made:
            self.leader().sql(f"CREATE DATABASE {DATABASE} OWNER owner")
            run_tool(self.scratch, ["migrate", "--grant", "postern"],
                     {"POSTERN_DATABASE_URL": self.url(DATABASE, "owner")})
        self.made = True
        return DATABASE

"""A streaming standby beside a primary, and the ways in which one fails."""
import os
import shutil
import signal
import subprocess

import psycopg2

from lib.postgres import Postgres
from lib.process import PATIENCE, demoted, ended, wait_until


class Node(Postgres):
    """A cluster that can be killed: what it shares lies in its directory."""

    own = True
    options = ("-c", "dynamic_shared_memory_type=mmap",
               "-c", "wal_receiver_status_interval=1")

    def setting(self, name, value):
        self.sql(f"ALTER SYSTEM SET {name} = '{value}'")
        self.sql("SELECT pg_reload_conf()")
        wait_until(f"{name}", lambda: self.sql(
            f"SHOW {name}") == [(value,)])

    def pids(self):
        """Postmaster and children; the postmaster is held, so that it starts
        no more of them."""
        self.process.send_signal(signal.SIGSTOP)
        out = subprocess.run(["pgrep", "-P", str(self.process.pid)],
                             capture_output=True, text=True).stdout
        return [self.process.pid, *map(int, out.split())]

    def signal(self, sig, pids):
        for p in pids:
            try:
                os.kill(p, sig)
            except ProcessLookupError:
                pass

    def hang(self):
        """Everything stands still; connections are taken by the kernel."""
        self.signal(signal.SIGSTOP, self.pids())

    def go_on(self):
        self.signal(signal.SIGCONT, self.pids())

    def kill(self):
        """At once, as by a loss of power; then what the kernel keeps of it."""
        with open(self.dir / "data" / "postmaster.pid") as f:
            shared = f.read().splitlines()[6].split()[1]
        pids = self.pids()
        self.signal(signal.SIGKILL, pids)
        self.process.wait()
        wait_until("its end", lambda: all(map(ended, pids)))
        subprocess.run(["ipcrm", "-m", shared], check=True,
                       stderr=subprocess.DEVNULL)

    def running(self):
        return self.process is not None and self.process.poll() is None

    def promote(self):
        assert self.sql("SELECT pg_promote()") == [(True,)]

    def refuse(self, user):
        """This user gets no connection."""
        hba = self.dir / "data" / "pg_hba.conf"
        hba.write_text(f"local all {user} reject\n" + hba.read_text())
        self.sql("SELECT pg_reload_conf()")

        def refused():
            try:
                self.connect("postgres", user).close()
            except psycopg2.OperationalError:
                return True

        wait_until("refused", refused)

    def end(self):
        if self.running():
            self.kill()

    def synchronous(self, standby):
        """Commits wait for the standby; it has all that was before."""
        self.setting("synchronous_standby_names", standby.name)
        wait_until("a synchronous standby", lambda: self.sql(
            "SELECT sync_state FROM pg_stat_replication"
            f" WHERE application_name = '{standby.name}'") == [("sync",)])

    def follow(self, primary, name):
        """Become a standby of the primary, by a copy of it."""
        self.end()
        self.name, self.count = name, primary.count
        data = self.dir / "data"
        shutil.rmtree(data, ignore_errors=True)
        subprocess.run(
            [self.bin / "pg_basebackup", "-D", data, "-R", "-X", "stream",
             "-c", "fast", "--no-sync", "-d",
             f"host={primary.dir} user=owner application_name={name}"],
            check=True, timeout=PATIENCE, preexec_fn=demoted(), cwd="/")
        self.start()


class Standby(Node):
    def __init__(self, primary, name):
        self.scratch, self.bin = primary.scratch, primary.bin
        self.dir = self.scratch.dir()
        self.settings = ()
        self.process = None
        self.follow(primary, name)


class Pair:
    """A primary and its synchronous standby, for a Stack: by a conninfo that
    names both."""

    def __init__(self, scratch):
        self.scratch = scratch
        self.nodes = [Node(scratch)]
        self.nodes.append(Standby(self.nodes[0], "node1"))
        self.nodes[0].name = "node0"
        self.primary, self.standby = self.nodes
        self.primary.synchronous(self.standby)
        self.sound = True

    def url(self, name, user="server"):
        hosts = ",".join(str(n.dir) for n in self.nodes)
        return f"host={hosts} dbname={name} user={user}"

    def connect(self, name, user="owner"):
        return self.primary.connect(name, user)

    def database(self):
        return self.primary.database()

    def take_over(self):
        """The standby becomes the primary; the other is left as it is."""
        self.sound = False
        self.standby.promote()
        self.standby.count = self.primary.count
        self.primary, self.standby = self.standby, self.primary

    def refuse(self, user):
        """At the standby."""
        self.sound = False
        self.standby.refuse(user)

    def repair(self):
        """The one that is not the primary follows it, as a copy."""
        if not self.sound:
            self.standby.follow(self.primary, self.standby.name)
            self.primary.synchronous(self.standby)
        self.sound = True

    def end(self):
        for n in self.nodes:
            n.end()

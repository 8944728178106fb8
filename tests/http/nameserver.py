"""A name server of our own, and processes whose resolver asks it alone: their
resolv.conf, nsswitch.conf and hosts lie under a mount that only they see."""
import os
import pwd
import socket
import struct
import subprocess
import threading

import pytest

from lib.process import USER
from lib.stack import Stack

ADDRESS = "127.53.0.1"
A, NXDOMAIN, SERVFAIL = 1, 3, 2


class NameServer:
    """names: a name's IPv4 addresses, or "silent", NXDOMAIN, SERVFAIL; of
    others there is no answer either."""

    def __init__(self, scratch):
        if os.getuid() != 0:
            pytest.skip("needs root")
        if subprocess.run(["unshare", "-m", "true"],
                          capture_output=True).returncode != 0:
            pytest.skip("needs a mount namespace of its own")
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((ADDRESS, 53))
        self.names = {}
        self.asked = []
        self.dir = scratch.dir()
        for name, text in (
                ("resolv.conf", f"nameserver {ADDRESS}\n"
                                "options timeout:5 attempts:2\n"),
                ("nsswitch.conf", "hosts: files dns\n"),
                ("hosts", "127.0.0.1 localhost\n")):
            (self.dir / name).write_text(text)
            (self.dir / name).chmod(0o644)
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def stop(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.sendto(b"", (ADDRESS, 53))
        self.thread.join()
        self.socket.close()

    def serve(self):
        while True:
            query, peer = self.socket.recvfrom(512)
            if not query:
                return
            answer = self.answer(query)
            if answer:
                self.socket.sendto(answer, peer)

    def answer(self, query):
        """RFC 1035, section 4: one question, of which only A has records."""
        labels, at = [], 12
        while query[at]:
            labels.append(query[at + 1:at + 1 + query[at]].decode())
            at += 1 + query[at]
        name, kind = ".".join(labels), query[at + 2]
        question = query[12:at + 5]
        self.asked.append(name)
        what = self.names.get(name, "silent")
        if what == "silent":
            return None
        code, records = (what, []) if isinstance(what, int) else (0, what)
        if kind != A:
            records = []
        return query[:2] + struct.pack(
            ">5H", 0x8180 | code, 1, len(records), 0, 0) + question + b"".join(
                b"\xc0\x0c" + struct.pack(">HHIH", A, 1, 0, 4)
                + socket.inet_aton(r) for r in records)

    def command(self, *command):
        """It, by the unprivileged user, under the mount."""
        mounts = "".join(f"mount --bind {self.dir}/{n} /etc/{n}; " for n in (
            "resolv.conf", "nsswitch.conf", "hosts"))
        user = pwd.getpwnam(USER)
        return ["unshare", "-m", "--propagation", "private", "sh", "-euc",
                mounts + 'exec setpriv --clear-groups --reuid '
                f'{user.pw_uid} --regid {user.pw_gid} "$@"', "sh", *command]


class NamedStack(Stack):
    """Postern with this name server."""

    def __init__(self, server, pg, **kw):
        self.server = server
        super().__init__(pg, **kw)

    def command(self):
        return self.server.command(*super().command())

    def demoted(self):
        return None

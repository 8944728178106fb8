"""The log's device is full, or nobody reads from it."""
import fcntl
import os
import threading

import pytest

from clients import Clients
from lib.stack import Stack

fault = pytest.mark.fault
PROMISE = "Nothing but the lines that find no room"


class FullDevice(Stack):
    def log_device(self):
        return open("/dev/full", "wb")


class FullPipe(Stack):
    """Filled to its last byte, and nobody reads."""

    def log_device(self):
        self.reader, writer = os.pipe()
        os.set_blocking(writer, False)
        try:
            while os.write(writer, bytes(4096)):
                pass
        except BlockingIOError:
            pass
        os.set_blocking(writer, True)
        return os.fdopen(writer, "wb")

    def stop(self):
        super().stop()
        os.close(self.reader)


class SmallPipe(Stack):
    """Room for a page, read from now and then, and at last no more."""

    def log_device(self):
        self.reader, writer = os.pipe()
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
        os.set_blocking(self.reader, False)
        self.read = 0
        self.ending = threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()
        return os.fdopen(writer, "wb")

    def run(self):
        while not self.ending.wait(0.02):
            try:
                self.read += len(os.read(self.reader, 4096))
            except BlockingIOError:
                pass

    def read_no_more(self):
        self.ending.set()
        self.thread.join()

    def stop(self):
        self.read_no_more()
        super().stop()
        os.close(self.reader)


def full_log(s, record):
    with Clients(s) as c:
        c.strike()
        c.suffer(1.5)
        c.heal()
    assert all(a.normal for a in c.asked)
    record(c.account())


DEBUG = {"POSTERN_LOG_LEVEL": "debug"}


@fault("The log's device full (/dev/full)", PROMISE)
def test_full_device(pg, site, record):
    full_log(site(pg, FullDevice, env=DEBUG), record)


@fault("The log a full pipe that nobody reads", PROMISE)
def test_full_pipe(pg, site, record):
    full_log(site(pg, FullPipe, env=DEBUG), record)


@fault("The log a pipe that fills faster than it is read", PROMISE)
def test_small_pipe(pg, site, record):
    s = site(pg, SmallPipe, env=DEBUG, workers=4)
    with Clients(s) as c:
        c.strike()
        c.suffer(2)
        s.read_no_more()
        c.suffer(1)
        c.heal()
    assert s.read > 20000
    assert all(a.normal for a in c.asked)
    record(c.account())

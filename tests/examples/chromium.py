"""Debian's Chromium without a window, spoken to by the DevTools protocol over
two pipes: JSON texts, each ended by a NUL."""
import json
import os
import select
import subprocess
import time

from lib.process import PATIENCE, demoted, stop


class Chromium:
    def __init__(self, directory):
        ours, theirs = os.pipe(), os.pipe()  # what we read; what it reads
        self.rfd, self.wfd = ours[0], theirs[1]
        # It reads descriptor 3 and writes descriptor 4.
        self.process = subprocess.Popen(
            ["bash", "-c", f"exec chromium --headless --no-sandbox --disable-gpu"
             " --disable-dev-shm-usage --no-first-run --no-proxy-server"
             " --disable-background-networking --disable-component-update"
             " --user-data-dir=profile --remote-debugging-pipe"
             f" 3<&{theirs[0]} 4>&{ours[1]} >log 2>&1"],
            pass_fds=[theirs[0], ours[1]], cwd=directory,
            env={"PATH": os.environ["PATH"], "HOME": str(directory)},
            stdin=subprocess.DEVNULL, preexec_fn=demoted())
        os.close(theirs[0])
        os.close(ours[1])
        self.pending, self.events, self.count = b"", [], 0
        self.session = None
        target = self.call("Target.createTarget", url="about:blank")
        self.session = self.call("Target.attachToTarget", flatten=True,
                                 **target)["sessionId"]
        self.call("Page.enable")

    def receive(self, deadline):
        while b"\0" not in self.pending:
            ready, _, _ = select.select([self.rfd], [], [], max(
                deadline - time.monotonic(), 0))
            assert ready, "Chromium said nothing in time"
            chunk = os.read(self.rfd, 65536)
            assert chunk, "Chromium ended"
            self.pending += chunk
        text, _, self.pending = self.pending.partition(b"\0")
        return json.loads(text)

    def call(self, method, **params):
        self.count += 1
        message = {"id": self.count, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.wfd, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + PATIENCE
        while True:
            answer = self.receive(deadline)
            if answer.get("id") == self.count:
                assert "error" not in answer, answer
                return answer["result"]
            self.events.append(answer.get("method"))

    def open(self, url):
        self.events.clear()
        answer = self.call("Page.navigate", url=url)
        assert "errorText" not in answer, answer
        deadline = time.monotonic() + PATIENCE
        while "Page.loadEventFired" not in self.events:
            self.events.append(self.receive(deadline).get("method"))

    def evaluate(self, script, value):
        """The script's value, or its promise's; %s in it is the value."""
        answer = self.call("Runtime.evaluate", returnByValue=True,
                           awaitPromise=True,
                           expression=script % json.dumps(value))
        assert "exceptionDetails" not in answer, answer
        return answer["result"]["value"]

    def close(self):
        try:
            self.call("Browser.close")
            self.process.wait(PATIENCE)
        finally:
            stop(self.process)
            os.close(self.rfd)
            os.close(self.wfd)

"""Requests offered to a web server in two ways: by clients that each wait for
their answer, and by the clock, whether answers come or not."""
import asyncio
import dataclasses
import itertools
import json
import time


@dataclasses.dataclass
class Answer:
    status: object  # a number, or what went wrong
    begun: float
    took: float
    number: int

    @property
    def good(self):
        return self.status in (200, 201, 204)

    @property
    def ended(self):
        return self.begun + self.took


class Offer:
    """PUTs of documents to a port, as an app."""

    def __init__(self, port, app, patience=10):
        self.port, self.patience = port, patience
        self.auth = app.auth(exp=3600)
        self.numbers = itertools.count()

    def bytes(self, n):
        body = json.dumps({"n": n}).encode()
        lines = [f"PUT /v1/users/u{n} HTTP/1.1", "Host: 127.0.0.1",
                 *(f"{k}: {v}" for k, v in self.auth.items()),
                 "Content-Type: application/json", "Connection: close",
                 f"Content-Length: {len(body)}", "", ""]
        return "\r\n".join(lines).encode() + body

    async def ask(self, n):
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.port)
        try:
            writer.write(self.bytes(n))
            return await reader.read()
        finally:
            writer.close()

    async def one(self):
        begun, n = time.monotonic(), next(self.numbers)
        try:
            text = await asyncio.wait_for(self.ask(n), self.patience)
            status = int(text.split()[1]) if text else "no answer"
        except asyncio.TimeoutError:
            status = "time-out"
        except OSError as e:
            status = type(e).__name__
        return Answer(status, begun, time.monotonic() - begun, n)

    async def closed(self, clients, seconds):
        answers, until = [], time.monotonic() + seconds

        async def client():
            while time.monotonic() < until:
                answers.append(await self.one())

        await asyncio.gather(*(client() for _ in range(clients)))
        return answers

    async def open(self, rate, seconds):
        begun, tasks = time.monotonic(), []
        for i in range(int(rate * seconds)):
            wait = begun + i / rate - time.monotonic()
            if wait > 0:
                await asyncio.sleep(wait)
            tasks.append(asyncio.create_task(self.one()))
        return await asyncio.gather(*tasks)


def goodput(answers, begin, end):
    """Successes a second between these two moments."""
    return sum(a.good and begin <= a.ended < end for a in answers) / (
        end - begin)

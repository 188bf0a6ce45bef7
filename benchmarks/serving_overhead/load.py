"""A load generator: keep-alive connections over raw sockets, one request after the other on each.

Run as a process of its own, with its settings as JSON (host, port, path, connections, seconds, bodies); prints one
JSON line with requests, failures and latency. Every answer's status is looked at, and its first bytes where told.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

import uvloop


class Connection(asyncio.Protocol):
    """One connection that always has one request under way until the time is over."""

    def __init__(self, load: Load, number: int) -> None:
        self.load = load
        self.turn = number
        self.buffer = b""
        self.needed = -1
        self.sent_at = 0.0

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.load.open.add(self)
        self.ask()

    def ask(self) -> None:
        self.turn += 1
        self.sent_at = time.perf_counter()
        self.transport.write(self.load.requests[self.turn % len(self.load.requests)])

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        if self.needed < 0:
            end = self.buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            head = self.buffer[:end].lower()
            at = head.find(b"content-length: ")
            line_end = head.find(b"\r\n", at)
            self.needed = end + 4 + int(head[at + 16 : line_end if line_end > 0 else None])
        if len(self.buffer) < self.needed:
            return
        self.load.note(self.buffer, time.perf_counter() - self.sent_at)
        self.buffer, self.needed = b"", -1
        if time.perf_counter() < self.load.ends_at:
            self.ask()
        else:
            self.transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        self.load.open.discard(self)
        if time.perf_counter() < self.load.ends_at:
            self.load.broken += 1
        self.load.finish()


class Load:
    """What to send, and what came back."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.settings = settings
        head = f"POST {settings['path']} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        self.requests = [
            (head + f"content-length: {len(body.encode())}\r\n\r\n").encode() + body.encode()
            for body in settings["bodies"]
        ]
        self.open: set[Connection] = set()
        self.done = asyncio.get_running_loop().create_future()
        self.ends_at = 0.0
        self.good = self.bad = self.broken = 0
        self.seconds: list[float] = []
        self.first_bad = ""

    def note(self, answer: bytes, seconds: float) -> None:
        if answer.startswith(b"HTTP/1.1 200"):
            self.good += 1
        else:
            self.bad += 1
            self.first_bad = self.first_bad or answer[:300].decode("latin-1")
        self.seconds.append(seconds)

    def finish(self) -> None:
        if not self.open and not self.done.done():
            self.done.set_result(None)

    async def run(self) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        started = time.perf_counter()
        self.ends_at = started + self.settings["seconds"]
        for number in range(self.settings["connections"]):
            await loop.create_connection(
                lambda number=number: Connection(self, number), self.settings["host"], self.settings["port"]
            )
        await self.done
        spent = time.perf_counter() - started
        ordered = sorted(self.seconds) or [0.0]
        return {
            "requests": self.good + self.bad,
            "per_second": (self.good + self.bad) / spent,
            "bad": self.bad,
            "broken": self.broken,
            "first_bad": self.first_bad,
            "p50_ms": ordered[len(ordered) // 2] * 1e3,
            "p99_ms": ordered[int(len(ordered) * 0.99)] * 1e3,
        }


async def main(settings: dict[str, Any]) -> None:
    print(json.dumps(await Load(settings).run()))


if __name__ == "__main__":
    uvloop.run(main(json.loads(sys.stdin.read() if len(sys.argv) < 2 else sys.argv[1])))

"""Rollback under 64 connections: failed requests, and seconds from the command to the last answer by the old version.

The command is the publication of a new route table, as `flyball rollback` does it after its transaction; two workers
answer 64 kept-alive connections meanwhile. Prints one line per rollback and the worst of them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "serving_overhead"))

import msgspec
from load import Load
from run import free_port, prepare, wait_for

from flyball.backends.blobs.store import open_blobs
from flyball.registry.route_table import RouteTable, publish, read_table, route_key

PAUSE_SECONDS = 1.5


class Watch(Load):
    """A load that remembers when each version last answered."""

    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__(settings)
        self.last: dict[int, float] = {}

    def note(self, answer: bytes, seconds: float) -> None:
        super().note(answer, seconds)
        at = answer.find(b'"version":')
        if at > 0:
            end = answer.find(b",", at)
            self.last[int(answer[at + 10 : end])] = time.monotonic()


async def measure(port: int, home: Path, bodies: list[str], connections: int, rollbacks: int) -> None:
    blobs = open_blobs(f"file://{home / 'objects'}")
    first, second = (read_table(blobs.get(route_key("bench", revision))) for revision in (1, 2))
    watch = Watch(
        {
            "host": "127.0.0.1",
            "port": port,
            "path": "/v1/models/bench/predict",
            "connections": connections,
            "seconds": 2 * PAUSE_SECONDS * rollbacks + 1,
            "bodies": bodies,
        }
    )
    running = asyncio.create_task(watch.run())
    spent = []
    for turn in range(rollbacks):
        await asyncio.sleep(PAUSE_SECONDS)
        old, new = (second, first) if turn % 2 == 0 else (first, second)
        began = time.monotonic()
        await asyncio.to_thread(publish, blobs, route(new, turn + 3, old))
        await asyncio.sleep(PAUSE_SECONDS)
        assert old.champion is not None
        spent.append(watch.last[old.champion.number] - began)
        print(f"rollback {turn + 1}: last answer by the old version after {spent[-1]:.3f} s")
    result = await running
    print(
        f"{result['requests']:,} requests at {connections} connections, {result['bad'] + result['broken']} failed "
        f"(allowed: 0); longest rollback {max(spent):.3f} s (limit 1 s)"
    )


def route(table: RouteTable, revision: int, previous: RouteTable) -> RouteTable:
    """A route to this table's champion, with the other one kept warm."""
    return msgspec.structs.replace(table, revision=revision, previous=previous.champion)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--rollbacks", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="flyball-bench-") as folder:
        home = Path(folder)
        bodies = prepare(home, versions=2)
        print(json.dumps({"workers": given.workers, "connections": given.connections}))
        port = free_port()
        server = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "flyball.serving.supervisor",
                "--port",
                str(port),
                "--workers",
                str(given.workers),
            ],
            env={**os.environ, "FLYBALL_HOME": str(home)},
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_for(port)
            asyncio.run(measure(port, home, bodies, given.connections, given.rollbacks))
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    main()

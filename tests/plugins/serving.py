"""A real model server for tests: its processes on a home of its own, and a small client."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from flyball.core.records import LogRecord
from flyball.core.settings import Settings
from flyball.data.spool import read_segment
from flyball.serving.home_socket import ask

SOURCE = Path(__file__).parents[2] / "src"


def wait_until(condition: Callable[[], Any], seconds: float = 10.0, what: str = "it") -> Any:
    """The first true value of a condition; fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.02)
    raise AssertionError(f"{what} did not happen within {seconds:g} s")


def is_running(pid: int) -> bool:
    """Whether a process lives (a zombie does not)."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state not in "ZX"


class Answer:
    """Status, headers (lower-case names) and body of one answer."""

    def __init__(self, status: int, headers: dict[str, str], data: bytes) -> None:
        self.status = status
        self.headers = headers
        self.data = data

    @property
    def json(self) -> Any:
        return json.loads(self.data)


class ModelServer:
    """`flyball serve` on one home. `start` waits until it is ready."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.settings = Settings(
            home=home,
            database_url=f"sqlite:///{home / 'flyball.db'}",
            objects_url=f"file://{home / 'objects'}",
        )
        self.process: subprocess.Popen[bytes] | None = None
        self.port = 0

    def start(
        self, *, workers: int = 1, models: tuple[str, ...] = (), port: int = 0, **environment: str
    ) -> ModelServer:
        """Start the supervisor (port 0: any free one) and wait until all workers answer."""
        self.spawn(workers=workers, models=models, port=port, **environment)
        self.wait_ready()
        return self

    def spawn(
        self, *, workers: int = 1, models: tuple[str, ...] = (), port: int = 0, **environment: str
    ) -> None:
        arguments = ["--port", str(port), "--workers", str(workers), *models]
        with (self.home.parent / f"{self.home.name}.log").open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "flyball.serving.supervisor", *arguments],
                env={**os.environ, "FLYBALL_HOME": str(self.home), "PYTHONPATH": str(SOURCE), **environment},
                stdout=output,
                stderr=output,
            )

    @property
    def log(self) -> str:
        return (self.home.parent / f"{self.home.name}.log").read_text()

    def status(self) -> dict[str, Any] | None:
        """What the supervisor says."""
        return ask(self.home / "serve.sock", {"command": "status"})

    def wait_ready(self, seconds: float = 20.0) -> dict[str, Any]:
        def ready() -> dict[str, Any] | None:
            status = self.status()
            if self.process is not None and self.process.poll() is not None:
                raise AssertionError(f"the server ended with {self.process.returncode}:\n{self.log}")
            return status if status is not None and status["ready"] else None

        status = wait_until(ready, seconds, "the server's readiness")
        self.port = status["port"]
        return status

    def wait_revision(self, model: str, revision: int, seconds: float = 15.0) -> None:
        """Wait until every worker serves a revision."""

        def adopted() -> bool:
            status = self.status()
            return bool(status and status["models"].get(model, {}).get("revision") == revision)

        wait_until(adopted, seconds, f"revision {revision} of {model}")

    def worker_status(self, slot: int = 0) -> dict[str, Any]:
        """What one worker says about itself."""
        return json.loads((self.home / "cache" / "workers" / f"{slot}.json").read_bytes())

    def request(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> Answer:
        """One request on a connection of its own. Bytes are sent as they are, everything else as JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
            sent = {"Content-Type": "application/json"} if data is not None else {}
            connection.request(method, path, data, {**sent, **(headers or {})})
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            connection.close()

    def predict(
        self, model: str, rows: list[dict[str, Any]], headers: dict[str, str] | None = None, **more: Any
    ) -> Answer:
        return self.request("POST", f"/v1/models/{model}/predict", {"rows": rows, **more}, headers)

    def stop(self) -> int:
        """End in order; the exit code."""
        if self.process is None:
            return 0
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(60)
        self.process = None
        return code

    def records(self) -> list[LogRecord]:
        """Every logged record: shipped, waiting to be shipped, or in an open segment."""
        files = [*(self.home / "objects" / "segments").glob("*"), *(self.home / "spool").glob("*.*")]
        found: dict[str, bytes] = {}
        for path in files:
            with contextlib.suppress(FileNotFoundError):
                found[path.stem] = path.read_bytes()
        return [record for data in found.values() for record in read_segment(data).records]

    def kill(self, pid: int) -> None:
        os.kill(pid, signal.SIGKILL)


@pytest.fixture
def model_server(tmp_path: Path) -> Iterator[ModelServer]:
    """A model server that is not started yet; whatever is left of it at the end is ended."""
    server = ModelServer(tmp_path / "home")
    server.home.mkdir()
    yield server
    pids = [w["pid"] for w in (server.status() or {"workers": []})["workers"] if w["pid"]]
    if server.process is not None:
        try:
            server.stop()
        except subprocess.TimeoutExpired:
            server.process.kill()
            server.process.wait()
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def encode_json(value: Any) -> bytes:
    """JSON bytes of anything msgspec knows."""
    return msgspec.json.encode(value)

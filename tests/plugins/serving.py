"""A real model server for tests: its processes on a home of its own, and a small client."""

from __future__ import annotations

import contextlib
import http.client
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from flyball.backends.blobs.store import BlobStore, open_blobs
from flyball.backends.home_socket import ask_socket
from flyball.core.contract import Contract, FeatureRule
from flyball.core.project import LogSection, ServeSection
from flyball.core.records import LogRecord, PredictionRecord
from flyball.core.settings import Settings
from flyball.data.spool import read_segment

SOURCE = Path(__file__).parents[2] / "src"
MODEL = "rides"
CONTRACT = Contract(
    features={
        "temp": FeatureRule(type="float", min=-30, max=50),
        "hour": FeatureRule(type="int", min=0, max=23, nullable=True),
        "trouble": FeatureRule(type="float", nullable=True),
    }
)
ROW = {"temp": 20.0, "hour": 8, "trouble": 0.0}
TROUBLE = {**ROW, "trouble": 1.0}

MISBEHAVING = '''
import json
import os
import socket
import time
from pathlib import Path

KEPT = []


class Model:
    """Answers temp + offset, and misbehaves when it is given trouble."""

    def __init__(self, behaviour="none", offset=1000.0):
        self.behaviour = behaviour
        self.offset = offset

    def save(self, folder):
        Path(folder, "model.json").write_text(json.dumps([self.behaviour, self.offset]))

    @classmethod
    def load(cls, folder):
        return cls(*json.loads(Path(folder, "model.json").read_text()))

    def predict(self, rows):
        answers = [temp + self.offset for temp in rows["temp"].to_list()]
        if max(rows["trouble"].fill_null(0).to_list()) < 0.5:
            return answers
        if self.behaviour == "raise":
            raise ValueError("as asked: raised")
        if self.behaviour == "hang":
            time.sleep(3600)
        if self.behaviour == "leak":
            KEPT.append(bytearray(os.urandom(1) * (150 * 2**20)))
        if self.behaviour == "nan":
            return [float("nan")] * len(answers)
        if self.behaviour == "exit":
            os._exit(3)
        if self.behaviour == "short":
            return answers[:-1]
        if self.behaviour == "network":
            socket.create_connection(("127.0.0.1", int(max(rows["trouble"].to_list()))), timeout=2).close()
        if self.behaviour == "secrets":
            raise ValueError(json.dumps(sorted(os.environ)))
        return answers
'''


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
        return ask_socket(self.home / "serve.sock", {"command": "status"})

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
        """Every logged record, in order: shipped, waiting to be shipped, or in an open segment."""
        files = [*(self.home / "objects" / "segments").glob("*"), *(self.home / "spool").glob("*.*")]
        found: dict[str, bytes] = {}
        for path in files:
            with contextlib.suppress(FileNotFoundError):
                found[path.stem] = path.read_bytes()
        in_order = sorted(found, key=lambda name: name.rpartition("-")[2])
        return [record for name in in_order for record in read_segment(found[name]).records]

    def kill(self, pid: int) -> None:
        os.kill(pid, signal.SIGKILL)

    @property
    def blobs(self) -> BlobStore:
        """The object store of the home."""
        return open_blobs(self.settings.objects_url)

    def publish(self, revision: int, **fields: Any) -> None:
        """Publish a route table of the model `rides`; `champion`, `candidate` and `previous` as (number, bundle)."""
        publish_route(self.blobs, revision, **fields)

    def predictions(self, role: str | None = None) -> list[PredictionRecord]:
        """Logged predictions, of one role if given."""
        logged = [record for record in self.records() if isinstance(record, PredictionRecord)]
        return [record for record in logged if role in (None, record.role)]


def publish_route(blobs: BlobStore, revision: int, **fields: Any) -> None:
    """Publish a revision of the model `rides`."""
    from flyball.registry.route_table import RoutedVersion, RouteTable, publish

    for name in ("champion", "candidate", "previous"):
        if fields.get(name) is not None:
            number, folder = fields[name]
            fields[name] = RoutedVersion(number=number, bundle=pack_bundle(folder, blobs))
    table = {
        "format": 1,
        "model": MODEL,
        "revision": revision,
        "published_at": datetime.now(UTC),
        "task": "regression",
        "target": "rentals",
        "champion": None,
        "contract": CONTRACT,
        "on_violation": "flag",
        "log": LogSection(),
        "serve": ServeSection(),
        "salt": "salt",
        **fields,
    }
    publish(blobs, RouteTable(**table))


def pack_bundle(folder: Path, blobs: BlobStore) -> str:
    """Store a sealed bundle; its digest."""
    from flyball.registry.bundle import pack

    return pack(folder, blobs)


class Bundles:
    """Bundles of small real models, each made once per test run."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._rows = [{"temp": float(temp), "hour": temp % 24, "trouble": 0.0} for temp in range(-20, 44)]

    def lightgbm(self, offset: float) -> Path:
        """LightGBM that answers about 10 * temp + offset."""
        return self._make(f"lightgbm-{offset:g}", lambda target: self._train(target, offset))

    def custom(self, behaviour: str, offset: float = 1000.0) -> Path:
        """A custom class that answers temp + offset, and misbehaves on rows with trouble."""
        return self._make(
            f"custom-{behaviour}-{offset:g}", lambda target: self._write(target, behaviour, offset)
        )

    def _make(self, name: str, make: Callable[[Path], None]) -> Path:
        target = self._folder / name
        if not target.exists():
            make(target)
        return target

    def _package(self, estimator: Any, target: Path, **more: Any) -> None:
        import polars

        from flyball.registry.formats.package import finish
        from flyball.registry.formats.saving import save_estimator
        from flyball.registry.formats.signatures import signature_for

        signature, rows = signature_for(CONTRACT, target="rentals"), polars.DataFrame(self._rows)
        saved = save_estimator(estimator, target, task="regression", signature=signature, sample=rows, **more)
        sys.modules.pop("misbehaving", None)  # the packaged copy is loaded next, as in a process of its own
        finish(target, saved, model=MODEL, task="regression", contract=CONTRACT, rows=rows)
        sys.modules.pop("misbehaving", None)

    def _train(self, target: Path, offset: float) -> None:
        import lightgbm
        import numpy as np

        matrix = np.array([[row["temp"], row["hour"], 0.0] for row in self._rows] * 20)
        model = lightgbm.LGBMRegressor(n_estimators=30, min_child_samples=5, n_jobs=1, verbose=-1)
        self._package(model.fit(matrix, matrix[:, 0] * 10 + offset), target)

    def _write(self, target: Path, behaviour: str, offset: float) -> None:
        source = self._folder / "source"
        source.mkdir(exist_ok=True)
        (source / "misbehaving.py").write_text(MISBEHAVING)
        spec = importlib.util.spec_from_file_location("misbehaving", source / "misbehaving.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules["misbehaving"] = module
        spec.loader.exec_module(module)
        self._package(module.Model(behaviour, offset), target, source=source)


@pytest.fixture(scope="session")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Bundles:
    """Bundles for route tables."""
    return Bundles(tmp_path_factory.mktemp("bundles"))


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

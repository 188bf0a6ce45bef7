"""A control plane for tests: its own process on a home that holds models, versions, windows and incidents."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
START = datetime(2012, 1, 5, tzinfo=UTC)
WEEK = timedelta(days=7)
HOSTILE = "<script>document.title='run'</script>\"'><img src=x onerror=\"document.title='run'\">{{7*7}}"


@dataclass
class Answer:
    """One HTTP answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Control:
    """`python -m flyball.web.server` on a home of its own."""

    home: Path
    environment: dict[str, str]
    port: int = 0
    process: subprocess.Popen[bytes] | None = None
    ids: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self, seconds: float = 60) -> Control:
        """Start the process and wait until it answers."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        command = [sys.executable, "-m", "flyball.web.server", "--port", str(self.port)]
        command += ["--serve-url", "http://127.0.0.1:8081"]
        self.home.mkdir(parents=True, exist_ok=True)
        with (self.home / "control.log").open("ab") as log:
            self.process = subprocess.Popen(
                command,
                env={**self.environment, "FLYBALL_HOME": str(self.home)},
                cwd=self.home,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + seconds
        while self.ask("GET", "/api/v1/health").status != 200:
            assert self.process.poll() is None, self.log()
            assert time.monotonic() < deadline, f"no answer within {seconds} s: {self.log()}"
            time.sleep(0.05)
        return self

    def stop(self) -> int:
        """End it as an operator would; returns its exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(40)

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 20,
    ) -> Answer:
        """One request as a program sends it: with the origin of the server itself. Status 0: nobody answered."""
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        sent = {
            "Origin": self.url,
            **({"Content-Type": "application/json"} if data else {}),
            **(headers or {}),
        }
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request(method, path, data, {k: v for k, v in sent.items() if v is not None})
            answer = connection.getresponse()
            names = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, names, answer.read())
        except (OSError, http.client.HTTPException):
            return Answer(0, {}, b"")
        finally:
            connection.close()

    def log(self) -> str:
        return (self.home / "control.log").read_text(errors="replace")[-4000:]


def open_home(home: Path) -> Any:
    """The Flyball object of a home."""
    from flyball.app import Flyball
    from flyball.core.settings import read_settings
    from flyball.operations.opening import open_backends

    return Flyball(open_backends(read_settings(home, {"FLYBALL_HOME": str(home)})))


def seed(home: Path, model: str = "bike-demand", text: str = HOSTILE) -> dict[str, str]:
    """Three versions (one refused, the first in service), nine windows, an incident with a signal; their ids.

    `text` stands in every field that people, data or models can fill.
    """
    from flyball.delivery.start import deploy
    from flyball.governance.actors import local_actor
    from flyball.monitoring.incidents import add_entry, open_incident
    from flyball.monitoring.signals import Signal, save_signal, signal_id
    from flyball.monitoring.windows import Window, save_window

    actor = local_actor()
    with open_home(home) as app, app.backends.database.write() as conn:
        for number in (1, 2, 3):
            _register(conn, model, number, text, actor, store_bundle(app.backends.blobs, model, number))
        deploy(conn, model, 1, actor=actor, why=text, now=NOW, model_time=START)
        for index in range(9):
            at = START + WEEK * index
            columns = {"temp": {"score": 0.1 * index}, text[:40]: {"score": 0.05}}
            window = Window(
                model=model,
                start=at,
                end=at + WEEK,
                state="complete",
                decided_at=at + WEEK,
                analysed_at=NOW,
                version=1,
                row_count=168,
                labelled_count=168,
                metric="mae",
                loss=36.0 + 3 * index,
                reference_loss=35.0,
                healthy=index < 7,
                summary={},
                statistics={"columns": columns},
            )
            save_window(conn, window)
        incident = open_incident(
            conn,
            model=model,
            problem="change",
            cause="concept-drift",
            title=f"mae is 1.7 times what training promised {text}",
            hold=False,
            facts={text: text},
            at=START + WEEK * 9,
            now=NOW,
        )
        add_entry(conn, incident.id, "signal", f"mae was 60 {text}", model_time=START + WEEK * 9, now=NOW)
        save_signal(
            conn,
            Signal(
                id=signal_id(model, START + WEEK * 8, "performance", None),
                model=model,
                kind="performance",
                window_start=START + WEEK * 8,
                window_end=START + WEEK * 9,
                at=START + WEEK * 9,
                raised_at=NOW,
                statistic=1.7,
                threshold=1.25,
                p_value=0.001,
                cause="concept-drift",
                feature=None,
                sentence=f"mae was 60 {text}",
                facts={text: text},
                incident_id=incident.id,
                confirmed=True,
            ),
        )
    return {"incident": incident.id, "model": model}


def store_bundle(blobs: Any, model: str, number: int) -> str:
    """The digest of a stored bundle that is whole, and holds no model worth loading."""
    from flyball.core.contract import Contract
    from flyball.core.digests import canonical_json
    from flyball.registry.manifest import BundleFile, BundleManifest, PredictorSpec, Signature

    content = f"{model} {number}".encode()
    file = BundleFile(path="model.txt", digest=blobs.put_object(content), size_bytes=len(content))
    manifest = BundleManifest(
        model=model,
        task="regression",
        signature=Signature(features=(), target="rentals"),
        predictor=PredictorSpec(kind="lightgbm", path="model.txt", features=()),
        contract=Contract(),
        files=(file,),
    )
    digest: str = blobs.put_object(canonical_json(manifest))
    return digest


def _register(conn: Any, model: str, number: int, text: str, actor: Any, digest: str) -> None:
    from flyball.core.contract import Contract
    from flyball.core.digests import digest_bytes
    from flyball.registry.evidence import add_evidence
    from flyball.registry.versions import NewVersion, register_version

    new = NewVersion(
        model=model,
        task="regression",
        digest=digest,
        run_id=None,
        state="refused" if number == 3 else "registered",
        snapshot=digest_bytes(b"rows"),
        source_tree=digest_bytes(b"tree"),
        environment=digest_bytes(b"lock"),
        project={
            "model": {"name": model, "task": "regression", "target": "rentals"},
            "data": {"source": "rows.parquet"},
            "train": {"entry": "train:train"},
        },
        params={text: text},
        metrics={"mae": {"value": 38.2, "interval": {"low": 36.1, "high": 40.4}, "row_count": 800}},
        lineage={text: text},
        why=text,
        author=actor.name,
        contract=Contract(),
        isolated=False,
        owner=text,
        description=text,
    )
    register_version(conn, new, actor=actor, now=NOW)
    outcome = "fail" if number == 3 else "pass"
    facts = {"metric": "mae", "max": 45, "outcome": outcome, "because": f"at most 40.4 {text}"}
    add_evidence(conn, model, number, "gate", facts, actor=actor, now=NOW)


@pytest.fixture(scope="session")
def control_environment() -> dict[str, str]:
    """The environment of a control plane: this source tree and nothing of the developer's."""
    import flyball

    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return {**kept, "PYTHONPATH": str(Path(flyball.__file__).parents[1])}


@pytest.fixture(scope="module")
def control(
    tmp_path_factory: pytest.TempPathFactory, control_environment: dict[str, str]
) -> Iterator[Control]:
    """A control plane at work on a seeded home, one for the tests of a file."""
    home = tmp_path_factory.mktemp("control") / "home"
    made = Control(home, control_environment, ids=seed(home))
    yield made.start()
    made.kill()


@pytest.fixture
def empty_control(tmp_path: Path, control_environment: dict[str, str]) -> Iterator[Control]:
    """A control plane on an empty home, not started."""
    made = Control(tmp_path / "home", control_environment)
    yield made
    with suppress(ProcessLookupError):
        made.kill()

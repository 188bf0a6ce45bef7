"""A whole Flyball for tests: a small project, `flyball up` as a process, clients that keep a journal, a checker."""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

PROJECT = """
[model]
name = "plant"
task = "regression"
target = "yield"
[data]
source = "rows.csv"
[train]
entry = "train:train"
params = {{ trees = {trees} }}
[monitor]
window = "1h"
"""
TRAIN = """
import time
import lightgbm


def train(train, features, target, params, seed):
    time.sleep({pause})
    model = lightgbm.LGBMRegressor(n_estimators=params["trees"], num_leaves=7, random_state=seed, n_jobs=1, verbose=-1)
    return model.fit(train.select(features).to_numpy(), train[target].to_numpy())
"""


def write_project(folder: Path, *, trees: int = 10, pause: float = 0.0, rows: int = 300) -> Path:
    """A regression project with two numeric features."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "flyball.toml").write_text(PROJECT.format(trees=trees))
    (folder / "train.py").write_text(TRAIN.format(pause=pause))
    chance = random.Random(3)
    lines = ["heat,water,yield"]
    for _ in range(rows):
        heat, water = chance.uniform(0, 10), chance.uniform(0, 5)
        lines.append(f"{heat:.4f},{water:.4f},{3 * heat - 2 * water + chance.gauss(0, 0.3):.4f}")
    (folder / "rows.csv").write_text("\n".join(lines))
    return folder


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Whole:
    """A project folder with a home of its own and, once started, `flyball up` on free ports."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        self.home = folder / ".flyball"
        self.environment = {
            **environment,
            "FLYBALL_HOME": str(self.home),
            "FLYBALL_SEGMENT_SECONDS": "0.1",
            "FLYBALL_ROUTE_POLL_SECONDS": "0.05",
        }
        self.port, self.serve_port = free_port(), free_port()
        self.up_process: subprocess.Popen[bytes] | None = None

    def flyball(self, *arguments: str, allow: tuple[int, ...] = (0,), timeout: float = 120) -> str:
        """The standard output of a command."""
        command = [sys.executable, "-m", "flyball", *arguments]
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert done.returncode in allow, (
            f"{arguments} ended with {done.returncode}: {done.stderr}{done.stdout}"
        )
        return done.stdout

    def json(self, *arguments: str, allow: tuple[int, ...] = (0,)) -> Any:
        return json.loads(self.flyball(*arguments, "--json", allow=allow))

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """A command left running; what it prints goes to a log of its own."""
        logs = self.home / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        with (logs / f"{arguments[0]}.log").open("ab") as output:
            return subprocess.Popen(
                [sys.executable, "-m", "flyball", *arguments],
                cwd=self.folder,
                env=self.environment,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def up(self, *, wait: bool = True) -> None:
        """Start `flyball up`; it may find a model server to adopt."""
        self.up_process = self.start("up", "--port", str(self.port), "--serve-port", str(self.serve_port))
        if wait:
            self.wait(
                lambda: self.call(self.serve_port, "GET", "/v2/health/ready")[0] == 200, "the model server"
            )
            self.wait(lambda: self.call(self.port, "GET", "/api/v1/health")[0] == 200, "the control plane")

    def down(self) -> None:
        if self.up_process is not None and self.up_process.poll() is None:
            self.up_process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.up_process.wait(40)
        for pid in self.pids("serving.supervisor") + self.pids("web.server"):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def call(
        self, port: int, method: str, path: str, body: Any = None, timeout: float = 10
    ) -> tuple[int, Any]:
        """Status and decoded body; status 0 when nobody answered."""
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
        try:
            data = None if body is None else json.dumps(body)
            connection.request(method, path, data, {"Content-Type": "application/json"} if data else {})
            answer = connection.getresponse()
            content = answer.read()
            return answer.status, json.loads(content) if content[:1] in (b"{", b"[") else content
        except (OSError, http.client.HTTPException):
            return 0, None
        finally:
            connection.close()

    def progress(self) -> dict[str, Any]:
        status, found = self.call(self.port, "GET", "/api/v1/models/plant/progress")
        return found if status == 200 else {}

    def wait(self, reached: Callable[[], bool], what: str, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while not reached():
            assert time.monotonic() < deadline, f"{what} did not come within {seconds:g} s; {self.logs()}"
            time.sleep(0.05)

    def pids(self, word: str) -> list[int]:
        """Processes of this home whose command line holds a word."""
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            with suppress(OSError):
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if word in line and str(self.home).encode() in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
        return found

    def logs(self) -> str:
        texts = []
        for log in sorted((self.home / "logs").glob("*.log")):
            texts.append(f"--- {log.name}\n" + "\n".join(log.read_text(errors="replace").splitlines()[-30:]))
        return "\n".join(texts)


@dataclass
class Journal:
    """What clients asked and were told: prediction ids that were acknowledged, outcomes likewise."""

    acknowledged: list[str] = field(default_factory=list)
    outcomes: list[str] = field(default_factory=list)
    unanswered: int = 0
    wrong: list[str] = field(default_factory=list)


class Clients:
    """Threads that ask for predictions and send outcomes until they are stopped; each answer goes to the journal."""

    def __init__(self, whole: Whole, count: int = 4) -> None:
        self.journal = Journal()
        self._whole = whole
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._work, args=(n,), daemon=True) for n in range(count)]

    def __enter__(self) -> Clients:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)

    def _work(self, number: int) -> None:
        chance = random.Random(number)
        path = "/v1/models/plant"
        while not self._stop.is_set():
            row = {"heat": chance.uniform(0, 10), "water": chance.uniform(0, 5)}
            status, answer = self._whole.call(
                self._whole.serve_port, "POST", f"{path}/predict", {"rows": [row]}
            )
            if status == 200:
                identity = answer["prediction_ids"][0]
                with self._lock:
                    self.journal.acknowledged.append(identity)
                if chance.random() < 0.3:
                    body = {"outcomes": [{"prediction_id": identity, "value": 3.0 * row["heat"]}]}
                    if self._whole.call(self._whole.serve_port, "POST", f"{path}/outcomes", body)[0] == 200:
                        with self._lock:
                            self.journal.outcomes.append(identity)
            elif status in (0, 503):
                with self._lock:
                    self.journal.unanswered += 1
                time.sleep(0.02)
            else:
                with self._lock:
                    self.journal.wrong.append(f"{status}: {answer}")
            time.sleep(0.005)


def check_history(whole: Whole, journal: Journal) -> list[str]:
    """Everything that contradicts the journal or itself after faults; empty when the history holds."""
    import polars as pl

    from flyball.app import open_app
    from flyball.data.outcomes import read_outcomes
    from flyball.data.predictions import read_predictions

    problems: list[str] = list(journal.wrong[:5])
    saved = dict(os.environ)
    os.environ["FLYBALL_HOME"] = str(whole.home)
    try:
        with open_app(whole.folder) as app:
            start, end = datetime(2020, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
            tables = app.backends.tables_url
            logged = read_predictions(tables, "plant", start, end, roles=("champion", "candidate"))[
                "id"
            ].to_list()
            told = read_outcomes(tables, "plant", known_by=end).filter(pl.col("prediction_id").is_not_null())
            problems += _missing("predictions", journal.acknowledged, logged)
            problems += [f"prediction {i} appears {n} times" for i, n in Counter(logged).items() if n > 1]
            problems += _missing("outcomes", journal.outcomes, told["prediction_id"].to_list())
            problems += _history_of_versions(app)
            problems += [
                f"doctor: {f['check']}: {f['repair']}" for f in app.doctor() if f["state"] != "right"
            ]
            if not app.audit_verify().ok:
                problems.append(f"audit: {app.audit_verify().problem}")
    finally:
        os.environ.clear()
        os.environ.update(saved)
    return problems


def _missing(what: str, acknowledged: list[str], found: list[str]) -> list[str]:
    lost = set(acknowledged) - set(found)
    return [f"{len(lost)} acknowledged {what} are lost, such as {sorted(lost)[:3]}"] if lost else []


def _history_of_versions(app: Any) -> list[str]:
    """Versions dense and unique, aliases linear, and one audit entry for each version and alias move."""
    problems = []
    numbers = sorted(version.number for version in app.list_versions("plant", limit=10_000))
    if numbers != list(range(1, len(numbers) + 1)):
        problems.append(f"version numbers are not dense: {numbers}")
    standing: dict[str, int | None] = {}
    for move in app.history("plant"):
        if standing.get(move.name) != move.from_number:
            problems.append(
                f"alias {move.name} moved from {move.from_number}, but stood at {standing.get(move.name)}"
            )
        standing[move.name] = move.to_number
    events = [event for event in app.list_events(limit=100_000) if event.kind == "version.created"]
    if sorted(event.facts["version"] for event in events) != numbers:
        problems.append(f"{len(events)} events version.created for {len(numbers)} versions")
    return problems


@pytest.fixture
def whole(tmp_path: Path, child_environment: dict[str, str]) -> Iterator[Whole]:
    """A project folder with a home; nothing is running yet. Everything is ended afterwards."""
    made = Whole(write_project(tmp_path / "plant"), child_environment)
    yield made
    made.down()

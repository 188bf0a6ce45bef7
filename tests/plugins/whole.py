"""A whole Flyball for tests: a small project, the `flyball` command, `flyball up` as a process."""

from __future__ import annotations

import http.client
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from flyball_tests_warm import run_flyball

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


TARGETS = {
    "control plane": "flyball.web.server",
    "analysis": "flyball.operations.analyst",
    "worker": "flyball.serving.worker",
    "shipper": "flyball.serving.shipper",
    "server's supervisor": "flyball.serving.supervisor",
}


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
        # Where commands run in a namespace of their own: what they are run through, and the home as seen from here.
        self.prefix: list[str] = []
        self.seen = self.home
        self.up_process: subprocess.Popen[bytes] | None = None

    def flyball(self, *arguments: str, allow: tuple[int, ...] = (0,), timeout: float = 120) -> str:
        """The standard output of a command."""
        code, output, errors = self.command(*arguments, timeout=timeout)
        assert code in allow, f"{arguments} ended with {code}: {errors}{output}"
        return output

    def command(self, *arguments: str, timeout: float = 120) -> tuple[int, str, str]:
        """Exit code, standard output and standard error of a command."""
        if not self.prefix:
            return run_flyball(arguments, self.folder, self.environment, timeout)
        done = subprocess.run(
            [*self.prefix, sys.executable, "-m", "flyball", *arguments],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    def json(self, *arguments: str, allow: tuple[int, ...] = (0,)) -> Any:
        return json.loads(self.flyball(*arguments, "--json", allow=allow))

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """A command left running; what it prints goes to a log of its own."""
        logs = self.home / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        with (logs / f"{arguments[0]}.log").open("ab") as output:
            return subprocess.Popen(
                [*self.prefix, sys.executable, "-m", "flyball", *arguments],
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
            self.wait_ready()

    def wait_ready(self) -> None:
        """Wait until both servers answer."""
        self.wait(lambda: self.call(self.serve_port, "GET", "/v2/health/ready")[0] == 200, "the model server")
        self.wait(lambda: self.call(self.port, "GET", "/api/v1/health")[0] == 200, "the control plane")

    def predict(self) -> tuple[int | None, str | None]:
        """The version that answers a request and the id of its answer; None twice when nobody does."""
        body = {"rows": [{"heat": 4.0, "water": 2.0}]}
        status, answer = self.call(self.serve_port, "POST", "/v1/models/plant/predict", body)
        return (answer["version"], answer["prediction_ids"][0]) if status == 200 else (None, None)

    def runs(self) -> list[dict[str, Any]]:
        """Runs as the control plane knows them, newest first."""
        status, found = self.call(self.port, "GET", "/api/v1/runs")
        return found["items"] if status == 200 else []

    def down(self) -> None:
        if self.up_process is not None and self.up_process.poll() is None:
            self.up_process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.up_process.wait(40)
        for pid in self.pids("serving.supervisor") + self.pids("web.server"):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def call(
        self, port: int, method: str, path: str, body: Any = None, timeout: float = 10, key: str | None = None
    ) -> tuple[int, Any]:
        """Status and decoded body; status 0 when nobody answered. key: makes repeating a change safe."""
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
        try:
            data = None if body is None else json.dumps(body)
            headers = {"Origin": f"http://127.0.0.1:{port}"}
            headers |= {} if data is None else {"Content-Type": "application/json"}
            headers |= {} if key is None else {"Idempotency-Key": key}
            connection.request(method, path, data, headers)
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

    def settle(self, seconds: float = 60) -> None:
        """Wait until all that was logged is read, and everything decided is in force; clients are to be still."""

        def waiting() -> list[str]:
            spool = [path.name for path in (self.seen / "spool").glob("*.*") if path.suffix != ".draft"]
            return spool + [path.name for path in (self.seen / "objects" / "segments").glob("*")]

        def settled() -> bool:
            return not waiting() and self.progress().get("busy", True) is False and not waiting()

        self.wait(settled, "the loop's reading of the log", seconds)

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

    def log(self, command: str) -> str:
        """What commands of this name that were `start`ed have printed so far."""
        path = self.home / "logs" / f"{command}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def run_logs(self) -> str:
        """What all runs have printed so far."""
        return "".join(path.read_text(errors="replace") for path in self.seen.glob("runs/*/log.txt"))

    def logs(self) -> str:
        texts = []
        for log in sorted({*(self.home / "logs").glob("*.log"), *(self.seen / "logs").glob("*.log")}):
            texts.append(f"--- {log.name}\n" + "\n".join(log.read_text(errors="replace").splitlines()[-30:]))
        return "\n".join(texts)


def kill_one(whole: Whole, name: str, chance: random.Random) -> None:
    """Kill a process of a kind, as soon as there is one. The supervisor is the one thing that is started again."""
    if name == "up":
        assert whole.up_process is not None
        whole.up_process.kill()
        whole.up_process.wait()
        whole.up(wait=False)
        return
    deadline = time.monotonic() + 20
    while True:
        pids = whole.pids(TARGETS[name])
        if pids:
            with suppress(ProcessLookupError):
                os.kill(chance.choice(pids), signal.SIGKILL)
                return
        assert time.monotonic() < deadline, f"no {name} came back; {whole.logs()}"
        time.sleep(0.02)


def deploy_two(whole: Whole) -> None:
    """Versions 1 and 2, both deployed one after the other; nothing is running."""
    whole.flyball("run")
    whole.flyball("deploy", "plant", "--why", "first version")
    whole.flyball("run", "--set", "train.params.trees=12")
    whole.flyball("deploy", "plant@2", "--strategy", "immediate", "--why", "second version")


@pytest.fixture
def whole(tmp_path: Path, child_environment: dict[str, str]) -> Iterator[Whole]:
    """A project folder with a home; nothing is running yet. Everything is ended afterwards."""
    made = Whole(write_project(tmp_path / "plant"), child_environment)
    yield made
    made.down()


@pytest.fixture(scope="session")
def served_home(tmp_path_factory: pytest.TempPathFactory, child_environment: dict[str, str]) -> Path:
    """A project whose versions 1 and 2 were deployed, for copies."""
    made = Whole(write_project(tmp_path_factory.mktemp("served") / "plant"), child_environment)
    deploy_two(made)
    return made.folder


@pytest.fixture
def served(whole: Whole, served_home: Path) -> Whole:
    """As `whole`, with champion 2 and version 1 before it."""
    shutil.copytree(served_home, whole.folder, dirs_exist_ok=True)
    return whole

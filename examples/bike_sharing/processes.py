"""Runs the public commands of Flyball for the demo and keeps `flyball up` alive while it lasts."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import polars as pl
from replay import Http

HERE = Path(__file__).resolve().parent


def flyball(*arguments: str, folder: Path, home: Path, allow: tuple[int, ...] = (0,)) -> Any:
    """The JSON answer of one command; its exit code must be one of `allow`."""
    command = [_program(), *arguments, "--json"]
    done = subprocess.run(
        command, cwd=folder, env=environment(home), capture_output=True, text=True, check=False
    )
    if done.returncode not in allow:
        sys.exit(f"{' '.join(command[1:])} ended with {done.returncode}:\n{done.stderr}\n{done.stdout}")
    return json.loads(done.stdout)


def environment(home: Path) -> dict[str, str]:
    """The environment of every command of the demo: its own home, and quick log segments for a quick replay."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FLYBALL_")}
    return {
        **kept,
        "FLYBALL_HOME": str(home),
        "FLYBALL_SEGMENT_SECONDS": "0.05",
        "FLYBALL_ROUTE_POLL_SECONDS": "0.05",
    }


def make_project(folder: Path, model: str, known: pl.DataFrame) -> Path:
    """`folder`, filled with the example's project under another model's name and the rows known at its start."""
    text = (HERE / "flyball.toml").read_text()
    project = tomllib.loads(text)
    source = folder / project["data"]["source"]
    source.parent.mkdir(parents=True)
    known.write_parquet(source)
    (folder / "flyball.toml").write_text(text.replace(f'"{project["model"]["name"]}"', f'"{model}"'))
    shutil.copy(HERE / "train.py", folder / "train.py")
    return folder


class Up:
    """`flyball up` on free ports; leave it running with `keep`."""

    def __init__(self, folder: Path, home: Path, log: Path) -> None:
        self.control_url, self.serve_url = (f"http://127.0.0.1:{_free_port()}" for _ in range(2))
        ports = [url.rsplit(":", 1)[1] for url in (self.control_url, self.serve_url)]
        command = [_program(), "up", "--port", ports[0], "--serve-port", ports[1]]
        self._log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                command,
                cwd=folder,
                env=environment(home),
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait_ready(self, seconds: float = 60.0) -> None:
        """Wait until both servers answer."""
        deadline = time.monotonic() + seconds
        for url, path in ((self.control_url, "/api/v1/health"), (self.serve_url, "/v2/health/ready")):
            while not _answers(url, path):
                if self.process.poll() is not None or time.monotonic() > deadline:
                    sys.exit(f"flyball up did not start:\n{self._log.read_text()}")
                time.sleep(0.05)

    def get(self, path: str) -> Any:
        """The decoded answer of the control plane to a GET."""
        status, answer = Http(self.control_url).call("GET", path)
        if status != 200:
            raise RuntimeError(f"GET {path}: {status} {answer}")
        return answer

    def items(self, what: str, model: str) -> list[dict[str, Any]]:
        """A model's newest signals, retrainings, rollouts or incidents, 200 at most."""
        found: list[dict[str, Any]] = self.get(f"/api/v1/{what}?model={model}&limit=200")["items"]
        return found

    def stop(self) -> None:
        """End both servers gracefully."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(60)


def _answers(url: str, path: str) -> bool:
    try:
        return Http(url).call("GET", path)[0] == 200
    except (OSError, ValueError):
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _program() -> str:
    return shutil.which(
        "flyball", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}"
    ) or sys.exit("the command `flyball` is not installed; `make demo` sets everything up")

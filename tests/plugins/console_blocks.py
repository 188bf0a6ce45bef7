"""Runs the `console` blocks of documents line by line, as a reader would."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

_BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# Said in a document and not done by a test of it; each is covered elsewhere.
COVERED_OTHERWISE = {
    "pip install": "`make setup` installs the locked packages; tests/architecture imports the base without extras",
}


def console_lines(document: Path) -> list[str]:
    """The commands of a document's `console` blocks, in order, without their comments."""
    lines = []
    for block in _BLOCK.findall(document.read_text(encoding="utf-8")):
        lines += [_bare(line[2:]) for line in block.splitlines() if line.startswith("$ ")]
    return lines


def _bare(line: str) -> str:
    return re.sub(r"\s{2,}# .*$", "", line).strip()


class Reader:
    """Somebody who types commands into a shell, beginning in an empty folder, with `flyball` on the path."""

    def __init__(self, folder: Path, ports: tuple[int, int]) -> None:
        self.folder = folder
        self.ports = ports
        self.output = ""
        self._variables: dict[str, str] = {}
        self._up: subprocess.Popen[bytes] | None = None
        programs = folder.parent / "programs"
        programs.mkdir()
        program = programs / "flyball"
        source = Path(__file__).parents[2] / "src"
        program.write_text(f'#!/bin/sh\nPYTHONPATH="{source}" exec "{sys.executable}" -m flyball "$@"\n')
        program.chmod(0o755)
        path = f"{programs}:{Path(sys.executable).parent}:{os.environ.get('PATH', '')}"
        self._environment = {"PATH": path, "HOME": str(folder), "FLYBALL_SEGMENT_SECONDS": "0.1"}

    def type(self, line: str) -> str:
        """Run a line; its output. Fails the test when it ends with anything but 0."""
        if line.startswith(tuple(COVERED_OTHERWISE)):
            return ""
        if line.startswith("curl ") and shutil.which("curl") is None:
            pytest.skip("curl is not installed, and this document uses it")
        line = line.replace("localhost:8081", f"localhost:{self.ports[1]}")
        if line.startswith("cd "):
            self.folder = (self.folder / line[3:].strip()).resolve()
            return ""
        if line.endswith("&"):
            self._start(line[:-1].strip())
            return ""
        if found := re.match(r"^([A-Z]+)=(\$\(.*\))$", line):
            self._variables[found[1]] = self._run(f"echo {found[2]}").strip()
            return ""
        return self._run(line)

    def _run(self, line: str) -> str:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", line],
            cwd=self.folder,
            env=self._environment | self._variables,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        assert done.returncode == 0, f"$ {line}\nended with {done.returncode}:\n{done.stdout}{done.stderr}"
        return done.stdout

    def _start(self, line: str) -> None:
        assert line == "flyball up", "only `flyball up` is left running"
        control, serve = self.ports
        command = [shutil.which("flyball", path=self._environment["PATH"]) or "flyball", "up"]
        log = self.folder / "up.log"
        with log.open("wb") as output:
            self._up = subprocess.Popen(
                [*command, "--port", str(control), "--serve-port", str(serve)],
                cwd=self.folder,
                env=self._environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + 60
        while log.read_text().count("http://") < 2:
            assert self._up.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)

    def close(self) -> None:
        """End what is running."""
        if self._up is None or self._up.poll() is not None:
            return
        self._up.terminate()
        try:
            self._up.wait(40)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(self._up.pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A reader in an empty folder of their own."""
    whole = sys.modules["flyball_tests_whole"]
    made = Reader(tmp_path_factory.mktemp("reader") / "work", (whole.free_port(), whole.free_port()))
    made.folder.mkdir()
    yield made
    made.close()


@pytest.fixture
def lone_reader(tmp_path: Path) -> Iterator[Any]:
    """A reader of one document, in an empty folder of their own; nothing is left running."""
    made = Reader(tmp_path / "work", (0, 0))
    made.folder.mkdir()
    yield made
    made.close()

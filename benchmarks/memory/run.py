"""Memory of an idle `flyball up` with one small model and one worker, by process.

Makes a project with `flyball init`, runs and deploys it, asks for a few hundred predictions, waits until the analysis
process has gone idle and ended, and reads /proc/*/smaps. PSS shares a page among all processes of the machine that map
it, whoever they are; `alone` counts pages of files once for this home and not less because others have them too: what
one would see on a machine without other Pythons. Limits: all 600 MB, a worker 250 MB. Exit code 1 above one of them.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

ALL_MB, WORKER_MB = 600.0, 250.0
ROW = {"category": "books", "price": 20.0, "items": 2, "discount": 0.0, "days_since_last": 30}
PARTS = {
    "-m flyball up": "up",
    "flyball.web.server": "control plane",
    "flyball.operations.analyst": "analysis",
    "flyball.serving.supervisor": "server's supervisor",
    "flyball.serving.worker": "worker",
    "flyball.serving.shipper": "shipper",
    "flyball.serving.model_process": "model process",
}


class Memory:
    """What the processes of one home hold, in MB."""

    def __init__(self) -> None:
        self.pss: dict[str, float] = defaultdict(float)
        self.alone: dict[str, float] = defaultdict(float)
        self._shared: dict[tuple[str, str], float] = defaultdict(float)

    def read(self, pid: int, name: str) -> None:
        """Add a process."""
        mapped = ""
        for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
            key, _, value = line.partition(":")
            if "-" in key.split(" ")[0] and not value.strip().endswith("kB"):
                mapped = line.split(maxsplit=5)[5] if len(line.split(maxsplit=5)) > 5 else ""
            elif key == "Pss":
                self.pss[name] += int(value.split()[0]) / 1024
            elif key.startswith("Private_"):
                self.alone[name] += int(value.split()[0]) / 1024
            elif key.startswith("Shared_"):
                self._add_shared(name, mapped, int(value.split()[0]) / 1024)

    def _add_shared(self, name: str, mapped: str, size: float) -> None:
        # The largest holder is charged for a file that several map.
        where = ("", mapped) if mapped else (name, "")
        more = max(0.0, size - self._shared[where])
        self._shared[where] += more
        self.alone[name] += more


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keep", type=Path, help="a folder for the project, kept afterwards")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="flyball-memory-") as scratch:
        folder = options.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        return measure(folder)


def measure(folder: Path) -> int:
    home = folder / ".flyball"
    environment = {**os.environ, "FLYBALL_HOME": str(home)}
    source = str(Path(__file__).parents[2] / "src")
    environment["PYTHONPATH"] = os.pathsep.join([source, *filter(None, [os.environ.get("PYTHONPATH")])])
    flyball = [sys.executable, "-m", "flyball"]
    for command in (["init", "--name", "small"], ["run"], ["deploy", "small", "--why", "to be weighed"]):
        subprocess.run([*flyball, *command], cwd=folder, env=environment, check=True, capture_output=True)
    port, serve_port = free_port(), free_port()
    ports = ["--port", str(port), "--serve-port", str(serve_port)]
    up = subprocess.Popen([*flyball, "up", *ports], cwd=folder, env=environment, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: call(serve_port, "POST", "/v1/models/small/predict", {"rows": [ROW]}) == 200)
        wait_for(lambda: call(port, "GET", "/api/v1/models") == 200)
        for _ in range(300):
            call(serve_port, "POST", "/v1/models/small/predict", {"rows": [ROW] * 10})
        wait_for(lambda: "analysis" in processes(home).values())
        call(port, "GET", "/models/small")
        wait_for(lambda: "analysis" not in processes(home).values(), seconds=120)
        return report(home)
    finally:
        up.terminate()
        up.wait(60)


def report(home: Path) -> int:
    memory, found = Memory(), processes(home)
    for pid, name in found.items():
        memory.read(pid, name)
    print(f"{'process':<22}{'PSS MB':>8}{'alone MB':>10}")
    for name in sorted(memory.pss, key=memory.pss.__getitem__, reverse=True):
        print(f"{name:<22}{memory.pss[name]:>8.0f}{memory.alone[name]:>10.0f}")
    pss, alone = sum(memory.pss.values()), sum(memory.alone.values())
    print(f"{'all':<22}{pss:>8.0f}{alone:>10.0f}   (at most {ALL_MB:.0f}; a worker {WORKER_MB:.0f})")
    return 1 if alone > ALL_MB or memory.alone["worker"] > WORKER_MB else 0


def processes(home: Path) -> dict[int, str]:
    """The processes of a home, and what each is."""
    found = {}
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit() and str(home).encode() in (entry / "environ").read_bytes():
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                name = next((name for word, name in PARTS.items() if word in line), None)
                if name is not None:
                    found[int(entry.name)] = name
    return found


def call(port: int, method: str, path: str, body: object = None) -> int:
    """The status of an answer; 0 when there is none."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        data = None if body is None else json.dumps(body)
        connection.request(method, path, data, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        return answer.status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


def wait_for(reached: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not reached():
        if time.monotonic() > deadline:
            raise TimeoutError("what was waited for did not happen")
        time.sleep(0.1)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    sys.exit(main())

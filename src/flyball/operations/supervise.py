"""`flyball up`: keeps the control plane and the model server of one home running, and restarts what dies.

The control plane dies with this process; the model server does not: it runs in a session of its own, answers
predictions whatever happens here, and the next `up` adopts it through its socket.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import IO

import msgspec

from flyball.core.errors import Conflict, Unavailable
from flyball.core.settings import Settings

RESTART_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0)
CALM_SECONDS = 30.0


class UpSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where the two servers listen and how many workers answer predictions."""

    host: str = "127.0.0.1"
    port: int = 8080
    serve_port: int = 8081
    workers: int = 1


class Supervisor:
    """One `flyball up`: holds the home's lock while it lives."""

    def __init__(self, settings: Settings, up: UpSettings, say: Callable[[str], None]) -> None:
        self._settings = settings
        self._up = up
        self._say = say
        self._stopping = False
        self._lock: IO[str] | None = None
        self._control: subprocess.Popen[bytes] | None = None
        self._serve: subprocess.Popen[bytes] | None = None
        self._adopted = False
        self._deaths: dict[str, list[float]] = {"control plane": [], "model server": []}

    def run(self) -> int:
        """Start, watch and restart until SIGTERM or SIGINT. Raises Conflict for a second `up` or a taken port."""
        self._take_lock()
        self._settings.log_folder.mkdir(parents=True, exist_ok=True)
        self._adopted = self._serve_status() is not None
        self._check_port(self._up.port, "--port")
        if not self._adopted:
            self._check_port(self._up.serve_port, "--serve-port")
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        try:
            self._start()
            self._wait_ready()
            while not self._stopping:
                self._watch()
                time.sleep(0.2)
        finally:
            self._shut_down()
        return 0

    def _take_lock(self) -> None:
        self._settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self._settings.home / "up.lock"
        self._lock = path.open("a+", encoding="utf-8")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._lock.seek(0)
            holder = self._lock.read().strip() or "unknown"
            raise Conflict(
                f"`flyball up` already runs on {self._settings.home} (process {holder}); "
                "stop it first, or set FLYBALL_HOME to another home",
                home=str(self._settings.home),
            ) from error
        self._lock.truncate(0)
        self._lock.write(str(os.getpid()))
        self._lock.flush()

    def _check_port(self, port: int, option: str) -> None:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((self._up.host, port))
            except OSError as error:
                raise Conflict(
                    f"port {port} of {self._up.host} is taken ({error.strerror}); choose another with {option}",
                    port=port,
                ) from error

    def _start(self) -> None:
        if self._adopted:
            self._say("model server found running: adopted")
        else:
            self._serve = self._spawn_serve()
        self._control = self._spawn_control()

    def _spawn_control(self) -> subprocess.Popen[bytes]:
        arguments = ["flyball.web.server", "--host", self._up.host, "--port", str(self._up.port)]
        arguments += ["--serve-url", f"http://{self._up.host}:{self._up.serve_port}"]
        return _spawn(arguments, self._settings.log_folder / "control.log", own_session=False)

    def _spawn_serve(self) -> subprocess.Popen[bytes]:
        arguments = [
            "flyball.serving.supervisor",
            "--host",
            self._up.host,
            "--port",
            str(self._up.serve_port),
        ]
        arguments += ["--workers", str(self._up.workers)]
        return _spawn(arguments, self._settings.log_folder / "serve.log", own_session=True)

    def _watch(self) -> None:
        if self._control is not None and self._control.poll() is not None:
            self._mourn("control plane", self._control.returncode)
            self._control = self._spawn_control()
        if self._serve is not None and self._serve.poll() is not None:
            self._mourn("model server", self._serve.returncode)
            self._serve = self._spawn_serve()
        if self._serve is None and self._serve_status() is None:
            self._mourn("model server", None)
            self._serve = self._spawn_serve()

    def _mourn(self, what: str, code: int | None) -> None:
        now = time.monotonic()
        deaths = [at for at in self._deaths[what] if now - at < CALM_SECONDS]
        self._deaths[what] = [*deaths, now]
        pause = RESTART_SECONDS[min(len(deaths), len(RESTART_SECONDS) - 1)]
        ended = "is gone" if code is None else f"ended ({_describe(code)})"
        self._say(f"{what} {ended}; starting it again in {pause:g} s")
        deadline = now + pause
        while time.monotonic() < deadline and not self._stopping:
            time.sleep(0.05)

    def _wait_ready(self, seconds: float = 60.0) -> None:
        deadline = time.monotonic() + seconds
        waiting = {self._up.port: "control plane", self._up.serve_port: "model server"}
        while waiting and not self._stopping:
            for port in list(waiting):
                if _answers(self._up.host, port):
                    del waiting[port]
            self._raise_if_dead()
            if time.monotonic() > deadline:
                raise Unavailable(
                    f"the {' and the '.join(waiting.values())} did not start within {seconds:g} s; see logs/"
                )
            time.sleep(0.05)
        if not waiting:
            self._say(f"console and API  http://{self._up.host}:{self._up.port}")
            self._say(f"model server     http://{self._up.host}:{self._up.serve_port}")

    def _raise_if_dead(self) -> None:
        for name, child, log in (
            ("control plane", self._control, "control.log"),
            ("model server", self._serve, "serve.log"),
        ):
            if child is not None and child.poll() is not None:
                tail = _last_lines(self._settings.log_folder / log)
                raise Unavailable(
                    f"the {name} ended at its start ({_describe(child.returncode)}); {log} says:\n{tail}"
                )

    def _serve_status(self) -> dict[str, object] | None:
        return ask_socket(self._settings.home / "serve.sock", {"command": "status"})

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self._stopping = True

    def _shut_down(self) -> None:
        if self._control is not None and self._control.poll() is None:
            self._control.terminate()
        ask_socket(self._settings.home / "serve.sock", {"command": "stop"})
        for child in (self._control, self._serve):
            if child is None:
                continue
            try:
                child.wait(35)
            except subprocess.TimeoutExpired:
                child.kill()
        if self._lock is not None:
            self._lock.close()


def ask_socket(
    path: Path, request: dict[str, object], timeout_seconds: float = 2.0
) -> dict[str, object] | None:
    """The answer of a process that listens on a Unix socket (one JSON line each way); None when nobody answers."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(timeout_seconds)
            connection.connect(str(path))
            connection.sendall(msgspec.json.encode(request) + b"\n")
            data = b""
            while not data.endswith(b"\n"):
                piece = connection.recv(65536)
                if not piece:
                    break
                data += piece
        answer = msgspec.json.decode(data)
    except (OSError, msgspec.DecodeError):
        return None
    return answer if isinstance(answer, dict) else None


def _spawn(arguments: list[str], log: Path, *, own_session: bool) -> subprocess.Popen[bytes]:
    parent = os.getpid()

    def die_with_parent() -> None:
        # PR_SET_PDEATHSIG = 1: a killed supervisor takes its control plane along, so the next `up` starts clean.
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)

    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=own_session,
            preexec_fn=None if own_session else die_with_parent,  # noqa: PLW1509 - no threads run here
        )


def _answers(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=1):
            return True
    except OSError:
        return False


def _describe(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def _last_lines(path: Path, count: int = 12) -> str:
    try:
        return "\n".join(path.read_text(errors="replace").splitlines()[-count:])
    except OSError:
        return "(no log)"

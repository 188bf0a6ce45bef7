"""`flyball up`: keeps the control plane and the model server of one home running, and restarts what dies.

The control plane dies with this process; the model server does not: it runs in a session of its own, answers
predictions whatever happens here, and the next `up` adopts it through its socket.
"""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import FrameType
from typing import IO

import msgspec

from flyball.backends.home_socket import ask_socket
from flyball.backends.parent import die_with
from flyball.core.errors import Conflict, FlyballError, Unavailable
from flyball.core.settings import Settings
from flyball.operations.server_lock import job_holder, server_holder

RESTART_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0)
CALM_SECONDS = 30.0
WATCH_SECONDS = 0.2
START_SECONDS = 60.0
# What a process that was killed may take to let go of its port, and a server that was told to end to end.
PORT_SECONDS = 2.0
END_SECONDS = 50.0


class UpSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where the two servers listen and how many workers answer predictions."""

    host: str = "127.0.0.1"
    port: int = 8080
    serve_port: int = 8081
    workers: int = 1


class _Child:
    """A process that is started again when it ends: at once the first time, later when it dies again and again."""

    def __init__(self, name: str, log: Path, *, own_session: bool) -> None:
        self.name = name
        self.log = log
        self.process: subprocess.Popen[bytes] | None = None
        self.start_at = 0.0
        self.starts = 0
        self._own_session = own_session
        self._deaths: list[float] = []

    def start(self, arguments: list[str]) -> None:
        self.process = _spawn(arguments, self.log, own_session=self._own_session)
        self.starts += 1

    def has_ended(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    def mourn(self) -> str:
        """Note an end and when to start again; a sentence that says both."""
        now = time.monotonic()
        recent = [at for at in self._deaths if now - at < CALM_SECONDS]
        self._deaths = [*recent, now]
        pause = RESTART_SECONDS[min(len(recent), len(RESTART_SECONDS) - 1)]
        self.start_at = now + pause
        ended = "is gone" if self.process is None else f"ended ({_describe(self.process.returncode)})"
        self.process = None
        return f"{self.name} {ended}; starting it again in {pause:g} s"


class Supervisor:
    """One `flyball up`: holds the home's lock while it lives."""

    def __init__(self, settings: Settings, up: UpSettings, say: Callable[[str], None]) -> None:
        self._settings = settings
        self._up = up
        self._say = say
        self._stopping = False
        self._ready = False
        self._lock: IO[str] | None = None
        self._control = _Child("control plane", settings.log_folder / "control.log", own_session=False)
        self._serve = _Child("model server", settings.log_folder / "serve.log", own_session=True)
        self._serve_port = up.serve_port
        # Whether the model server is another `up`'s child: seen through its socket only.
        self._adopted = False
        self._found_adopted = False
        self._told = ""

    def run(self) -> int:
        """Start, watch and restart until SIGTERM or SIGINT. Raises Conflict for a second `up` or a taken port."""
        self._take_lock()
        self._settings.log_folder.mkdir(parents=True, exist_ok=True)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        try:
            self._find_server()
            self._check_port(self._up.port, "--port")
            if not self._adopted:
                self._check_port(self._serve_port, "--serve-port")
            self._wait_ready()
            while not self._stopping:
                self._watch()
                time.sleep(WATCH_SECONDS)
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
        deadline = time.monotonic() + PORT_SECONDS
        while True:
            with socket.socket(socket.AF_INET6 if ":" in self._up.host else socket.AF_INET) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind((self._up.host, port))
                    return
                except OSError as error:
                    if time.monotonic() > deadline or self._stopping:
                        raise Conflict(
                            f"port {port} of {self._up.host} can't be used ({error.strerror}): stop what listens "
                            f"there, or choose another port with {option}",
                            port=port,
                        ) from error
            time.sleep(0.05)

    def _find_server(self) -> None:
        """Adopt the model server that runs on this home, once one that starts or ends has done so."""
        deadline = time.monotonic() + END_SECONDS
        while not self._stopping:
            job = job_holder(self._settings.home)
            if job is not None:
                self._tell(f"waiting for `flyball score` (process {job}), whose model server ends with it")
                deadline = time.monotonic() + END_SECONDS
                time.sleep(0.1)
                continue
            status = self._serve_status()
            if status is not None:
                self._adopt(status)
                self._found_adopted = True
                return
            holder = server_holder(self._settings.home)
            if holder is None:
                return
            self._tell(f"waiting for the model server of this home (process {holder}) to answer or to end")
            if time.monotonic() > deadline:
                raise Conflict(
                    f"the model server of this home (process {holder}) neither answers nor ends; "
                    "end it, then start again",
                    home=str(self._settings.home),
                )
            time.sleep(0.1)

    def _adopt(self, status: dict[str, object]) -> None:
        self._adopted = True
        port = status.get("port")
        self._tell(f"model server found running (process {status.get('pid')}, port {port}): adopted")
        if isinstance(port, int) and port != self._serve_port:
            self._say(f"it listens on {port}, not on {self._serve_port}: stop it to have it moved")
            self._serve_port = port

    def _watch(self) -> None:
        self._watch_control()
        self._watch_serve()

    def _watch_control(self) -> None:
        control = self._control
        if control.has_ended():
            try:
                self._raise_if_unable(control)
            except Unavailable as error:
                if not self._has_models():
                    raise
                self._say(f"{error.message}\nThe model server answers all the same")
            self._say(control.mourn())
        if control.process is None and time.monotonic() >= control.start_at:
            url = self._address(self._serve_port)
            listen = ["--host", self._up.host, "--port", str(self._up.port)]
            control.start(["flyball.web.server", *listen, "--serve-url", url])

    def _watch_serve(self) -> None:
        serve = self._serve
        if serve.has_ended():
            self._raise_if_unable(serve)
            self._say(serve.mourn())
        if serve.process is not None:
            return
        status = self._serve_status()
        if status is not None:
            if not self._adopted:
                self._adopt(status)
            return
        holder = server_holder(self._settings.home)
        if holder is not None:
            # It starts, ends or is held up; its workers answer meanwhile.
            self._tell(f"the model server (process {holder}) does not answer on its socket; waiting for it")
            return
        if self._adopted:
            self._adopted = False
            self._say(serve.mourn())
        if time.monotonic() >= serve.start_at:
            listen = ["--host", self._up.host, "--port", str(self._serve_port)]
            serve.start(["flyball.serving.supervisor", *listen, "--workers", str(self._up.workers)])

    def _has_models(self) -> bool:
        """Whether there are models in service: then a control plane that can't start is no reason to answer nobody."""
        from flyball.backends.blobs.store import open_blobs
        from flyball.registry.route_table import list_routed_models

        try:
            return bool(list_routed_models(open_blobs(self._settings.objects_url)))
        except FlyballError:
            return False  # nobody can tell, and the message about the control plane is what people need

    def _raise_if_unable(self, child: _Child) -> None:
        """What ends by itself when it is started for the first time won't do better later. Raises Unavailable."""
        assert child.process is not None
        ran_before = self._ready or child.starts > 1 or (child is self._serve and self._found_adopted)
        if ran_before or child.process.returncode < 0:
            return
        tail = _last_lines(child.log)
        raise Unavailable(
            f"the {child.name} ended at its start ({_describe(child.process.returncode)}); "
            f"{child.log.name} says:\n{tail}"
        )

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        waiting = [(self._up.port, self._control.name), (self._serve_port, self._serve.name)]
        while not self._stopping:
            self._watch()
            waiting = [(port, name) for port, name in waiting if not _answers(self._up.host, port)]
            if not waiting:
                break
            if time.monotonic() > deadline:
                if [name for _, name in waiting] == [self._control.name] and self._has_models():
                    break
                names = " and the ".join(name for _, name in waiting)
                raise Unavailable(f"the {names} did not start within {START_SECONDS:g} s; see logs/")
            time.sleep(0.05)
        self._ready = True
        if not waiting:
            self._say(f"console and API  {self._address(self._up.port)}")
            self._say(f"model server     {self._address(self._serve_port)}")

    def _address(self, port: int) -> str:
        host = f"[{self._up.host}]" if ":" in self._up.host else self._up.host
        return f"http://{host}:{port}"

    def _serve_status(self) -> dict[str, object] | None:
        return ask_socket(self._settings.home / "serve.sock", {"command": "status"})

    def _tell(self, line: str) -> None:
        """Say a line once, however often it holds."""
        if line != self._told:
            self._told = line
            self._say(line)

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self._stopping = True

    def _shut_down(self) -> None:
        if self._control.process is not None and self._control.process.poll() is None:
            self._control.process.terminate()
        # An `up` that could not start leaves the server that it found as it was.
        if self._ready or not self._found_adopted:
            self._end_server()
        if self._control.process is not None:
            _end(self._control.process, 35)
        if self._lock is not None:
            self._lock.close()

    def _end_server(self) -> None:
        if self._serve.process is not None:
            self._serve.process.terminate()
            _end(self._serve.process, END_SECONDS)
        elif self._adopted:
            ask_socket(self._settings.home / "serve.sock", {"command": "stop"})
            deadline = time.monotonic() + END_SECONDS
            while server_holder(self._settings.home) is not None and time.monotonic() < deadline:
                time.sleep(0.05)


def _end(process: subprocess.Popen[bytes], patience_seconds: float) -> None:
    try:
        process.wait(patience_seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _spawn(arguments: list[str], log: Path, *, own_session: bool) -> subprocess.Popen[bytes]:
    # A killed supervisor takes its control plane along, so the next `up` starts clean.
    lifeline = None if own_session else partial(die_with, os.getpid())
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=own_session,
            preexec_fn=lifeline,  # noqa: PLW1509 - no threads run here
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

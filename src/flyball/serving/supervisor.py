"""`flyball serve`: keeps the workers of a model server and its shipper running; the data plane's only fixed point.

Workers and shipper get SIGTERM from the kernel should this process die, so that nobody holds the port or the log
without being looked after; requests in progress are answered, and `flyball up` starts the supervisor again at once.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import IO, Any

import msgspec

from flyball.backends.parent import die_with
from flyball.core.clock import SystemClock, isoformat
from flyball.core.errors import Conflict, FlyballError
from flyball.core.ids import new_id
from flyball.core.settings import Settings, read_settings
from flyball.serving.home_socket import HomeSocket
from flyball.serving.options import SPEC_VARIABLE, ServeOptions, WorkerSpec, read_options
from flyball.serving.ports import reserve
from flyball.serving.processes import log_to_stderr
from flyball.serving.watchdog import Watchdog

RESTART_SECONDS = (0.05, 0.05, 0.2, 0.5, 1.0, 2.0)
CALM_SECONDS = 5.0
TICK_SECONDS = 0.1
WORKER_STOP_SECONDS = 45.0
SHIPPER_STOP_SECONDS = 10.0

log = logging.getLogger("flyball.serve")


def run_server(
    settings: Settings, *, host: str, port: int, workers: int, models: list[str] | None = None
) -> int:
    """Serve until SIGTERM, SIGINT or the command `stop`; 0 after an orderly end.

    Raises Conflict when a model server already runs on this home or the port is taken, Refused when the host can be
    reached from other machines and nobody asked for that.
    """
    options = read_options(settings, os.environ, host=host, port=port, workers=workers, models=models)
    return Supervisor(settings, options).run()


class _Child:
    """A process that is started again when it ends."""

    def __init__(self, module: str, slot: int) -> None:
        self.module = module
        self.slot = slot
        self.process: subprocess.Popen[bytes] | None = None
        self.restarts = -1
        self.start_at = 0.0
        self.started = 0.0
        self.quick_deaths = 0
        self.watchdog: Watchdog | None = None

    @property
    def name(self) -> str:
        return self.module.rpartition(".")[2] + (f" {self.slot}" if self.slot >= 0 else "")

    def start(self, environment: dict[str, str], watchdog: Watchdog | None = None) -> None:
        passed = (watchdog.descriptor,) if watchdog is not None else ()
        self.process = subprocess.Popen(
            [sys.executable, "-m", self.module], stdin=subprocess.DEVNULL, env=environment, pass_fds=passed
        )
        self.watchdog = watchdog
        if watchdog is not None:
            watchdog.close_descriptor()
        self.started = time.monotonic()
        self.restarts += 1

    def mourn(self) -> None:
        """Note its end and when to start it again: at once the first time, later when it dies again and again."""
        assert self.process is not None
        code, now = self.process.returncode, time.monotonic()
        self.quick_deaths = 0 if now - self.started > CALM_SECONDS else self.quick_deaths + 1
        pause = RESTART_SECONDS[min(self.quick_deaths, len(RESTART_SECONDS) - 1)]
        self.start_at = now + pause
        log.warning("%s %s; starting it again in %g s", self.name, describe_end(code), pause)
        self.process = None
        self._forget_pulse()

    def kill_if_stuck(self, elapsed_seconds: float) -> None:
        """Kill it if its event loop has stopped turning: it holds connections that it will never answer.

        What it has logged is with the operating system already. elapsed_seconds: since the last call.
        """
        if self.process is None or self.watchdog is None or not self.watchdog.listen(elapsed_seconds):
            return
        log.error(
            "%s (process %d) gave no sign of life for %.0f s: its event loop is stuck, and it is killed",
            self.name,
            self.process.pid,
            self.watchdog.silent_seconds,
        )
        self.process.kill()
        self._forget_pulse()  # once is enough, should it take its time to die

    def _forget_pulse(self) -> None:
        if self.watchdog is not None:
            self.watchdog.close()
            self.watchdog = None


class Supervisor:
    """One model server of one home: holds the home's lock and the port while it lives."""

    def __init__(self, settings: Settings, options: ServeOptions) -> None:
        self._settings = settings
        self._options = options
        self._server = new_id("srv")
        self._stopping = False
        self._started_at = SystemClock().now()
        self._workers = [_Child("flyball.serving.worker", slot) for slot in range(options.workers)]
        self._shipper = _Child("flyball.serving.shipper", -1)
        self._watched_at = time.monotonic()

    def run(self) -> int:
        """Start everything, watch it, end it in order."""
        home = self._settings.home
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        with take_lock(home), reserve(self._options.host, self._options.port) as reserved:
            port = reserved.getsockname()[1]
            self._options = msgspec.structs.replace(self._options, port=port)
            self._clear()
            socket = HomeSocket(home / "serve.sock")
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, self._stop)
            try:
                log.info("model server on %s:%d, %d worker(s)", self._options.host, port, len(self._workers))
                while not self._stopping:
                    self._watch()
                    socket.serve(self._answer, TICK_SECONDS)
            finally:
                self._shut_down()
                socket.close()
        return 0

    def _clear(self) -> None:
        """Numbers and notes of workers of an earlier server."""
        cache = self._settings.cache_folder
        shutil.rmtree(cache / "metrics", ignore_errors=True)
        shutil.rmtree(cache / "workers", ignore_errors=True)
        for folder in (cache / "metrics", cache / "workers", cache / "routes", self._settings.spool_folder):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._settings.log_folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def _watch(self) -> None:
        now = time.monotonic()
        elapsed, self._watched_at = now - self._watched_at, now
        for child in (*self._workers, self._shipper):
            if child.process is not None and child.process.poll() is not None:
                child.mourn()
            child.kill_if_stuck(elapsed)
            if child.process is None and time.monotonic() >= child.start_at:
                watchdog = Watchdog(self._options.hang_seconds) if child is not self._shipper else None
                child.start(self._environment(child.slot, watchdog=watchdog), watchdog)

    def _environment(
        self, slot: int, *, final: bool = False, watchdog: Watchdog | None = None
    ) -> dict[str, str]:
        spec = WorkerSpec(
            home=str(self._settings.home),
            objects_url=self._settings.objects_url,
            server=self._server,
            slot=slot,
            parent=os.getpid(),
            options=self._options,
            watchdog_descriptor=watchdog.descriptor if watchdog is not None else None,
            final=final,
        )
        # The data plane needs no database, so it does not get to know how to reach one.
        kept = {name: value for name, value in os.environ.items() if name != "FLYBALL_DATABASE"}
        return {**kept, SPEC_VARIABLE: msgspec.json.encode(spec).decode()}

    def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        command = request.get("command")
        if command == "status":
            return self._status()
        if command == "stop":
            self._stopping = True
            return {"stopping": True}
        return {"error": f"unknown command {str(command)[:40]!r}; there are status and stop"}

    def _status(self) -> dict[str, Any]:
        notes = [self._read_note(child) for child in self._workers]
        models: dict[str, Any] = {}
        for note in notes:
            for model, revision in (note or {}).get("revisions", {}).items():
                if model not in models or revision < models[model]["revision"]:
                    models[model] = {  # the slowest worker's, so that an adopted revision is adopted by all
                        "revision": revision,
                        "champion": note["champions"].get(model) if note else None,
                        "candidate": note["candidates"].get(model) if note else None,
                    }
        return {
            "pid": os.getpid(),
            "server": self._server,
            "host": self._options.host,
            "port": self._options.port,
            "started_at": isoformat(self._started_at),
            "ready": all(note is not None and note.get("ready") for note in notes),
            "workers": [
                {
                    "slot": child.slot,
                    "worker": note.get("worker") if note else None,
                    "pid": child.process.pid if child.process else None,
                    "restarts": max(child.restarts, 0),
                    "problems": note.get("problems", {}) if note else {},
                }
                for child, note in zip(self._workers, notes, strict=True)
            ],
            "shipper": self._shipper.process.pid if self._shipper.process else None,
            "models": models,
        }

    def _read_note(self, child: _Child) -> dict[str, Any] | None:
        """What a living worker last said about itself; None when it has not said anything yet."""
        try:
            data = (self._settings.cache_folder / "workers" / f"{child.slot}.json").read_bytes()
            note = msgspec.json.decode(data, type=dict[str, Any])
        except (OSError, msgspec.DecodeError):
            return None
        return note if child.process is not None and note.get("pid") == child.process.pid else None

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self._stopping = True

    def _shut_down(self) -> None:
        """Workers first: they finish what they began and close their log; then the shipper carries that away."""
        _end(self._workers, WORKER_STOP_SECONDS)
        _end([self._shipper], SHIPPER_STOP_SECONDS)
        if self._shipper.process is None or self._shipper.process.returncode != 0:
            # It was dead, or too young to hear: one more goes, so that nothing waits for the next start.
            self._shipper.start(self._environment(-1, final=True))
            assert self._shipper.process is not None
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._shipper.process.wait(SHIPPER_STOP_SECONDS)
        log.info("model server ended")


def _end(children: Sequence[_Child], patience_seconds: float) -> None:
    processes = [child.process for child in children if child.process is not None]
    for process in processes:
        process.terminate()
    deadline = time.monotonic() + patience_seconds
    for process in processes:
        try:
            process.wait(max(deadline - time.monotonic(), 0.1))
        except subprocess.TimeoutExpired:
            log.warning("process %d did not end within %g s and is killed", process.pid, patience_seconds)
            process.kill()
            process.wait()


@contextlib.contextmanager
def take_lock(home: Path) -> Iterator[None]:
    """Hold the home's serving lock. Raises Conflict, naming the holder."""
    file: IO[str] = (home / "serve.lock").open("a+", encoding="utf-8")
    try:
        _lock(file)
    except BlockingIOError as error:
        file.seek(0)
        holder = file.read().strip() or "unknown"
        file.close()
        raise Conflict(
            f"a model server already runs on {home} (process {holder}); stop it first, or set FLYBALL_HOME to "
            "another home",
            home=str(home),
        ) from error
    try:
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
    finally:
        file.close()


def _lock(file: IO[str], patience_seconds: float = 0.5) -> None:
    """Lock the file. Who only looks whether it is locked holds it for a moment, which is waited out."""
    deadline = time.monotonic() + patience_seconds
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def describe_end(code: int) -> str:
    """How a process ended, in words."""
    return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


def main(arguments: list[str]) -> int:
    """`python -m flyball.serving.supervisor [--host …] [--port …] [--workers …] [--parent …] [MODEL…]`."""
    parser = argparse.ArgumentParser(prog="flyball serve")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8081)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--parent", type=int, help="end in order when this process does")
    parser.add_argument("models", nargs="*")
    given = parser.parse_args(arguments)
    if given.parent is not None:
        die_with(given.parent, signal.SIGTERM)
    log_to_stderr("serve")
    try:
        return run_server(
            read_settings(),
            host=given.host,
            port=given.port,
            workers=given.workers,
            models=given.models or None,
        )
    except FlyballError as error:
        log.error("%s", error.message)
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

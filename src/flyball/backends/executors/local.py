"""Child processes of this machine."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import msgspec

from flyball.backends.executors.child import OUT_OF_MEMORY
from flyball.backends.executors.confine import Confinement
from flyball.backends.executors.environment import clean_environment
from flyball.backends.executors.result import ChildResult
from flyball.backends.scratch import ScratchFolder
from flyball.core.errors import ExecutorFailed

_LONGEST_LINE = 64 << 10
_LARGEST_RESULT = 1 << 30
_GUARD_SECONDS = 5.0
_KB_PER_MB = 1024 if sys.platform == "linux" else 1 << 20  # macOS counts bytes


_running: set[_Child] = set()


def end_children() -> int:
    """End all children of this process, as if their callers had cancelled them; how many there were."""
    children = list(_running)
    for child in children:
        child.cancel()
    return len(children)


class LocalExecutor:
    """Runs modules in child processes of this machine."""

    def run(self, module: str, payload: dict[str, Any], **options: Any) -> ChildResult:
        """See `run_child`."""
        return run_child(module, payload, **options)


def run_child(
    module: str,
    payload: dict[str, Any],
    *,
    folder: Path,
    timeout_seconds: float,
    environment: Mapping[str, str] | None = None,
    memory_limit_mb: int | None = None,
    confinement: Confinement | None = None,
    on_line: Callable[[str], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> ChildResult:
    """Run `python -m module payload.json result.json` in a process of its own, and wait for its end.

    folder: its working folder, which is not on sys.path. environment: added to `clean_environment`. Its temporary files
    go to a folder that is removed with it.
    confinement: what it can't reach, where the kernel can hide it (`confine.can_confine`). Where all is closed, its
    HOME is an empty folder, too.
    on_line: gets its output (both streams) line by line, on another thread; lines are cut at 64 KiB.
    cancelled: asked five times a second; True ends the child.
    The child and all it has started are killed when time is up, when the child ends, when this call is interrupted, and
    when this process is killed. Elsewhere than on Linux only the child's process group is, and nothing when this
    process is killed. Raises ExecutorFailed if it can't start.
    """
    with ScratchFolder("child") as exchange:
        payload_path, result_path = exchange / "payload.json", exchange / "result.json"
        payload_path.write_bytes(msgspec.json.encode(payload))
        shut = b"" if confinement is None else msgspec.json.encode(_with(confinement, exchange))
        own = [
            str(os.getpid()),
            str(memory_limit_mb or 0),
            shut.decode(),
            module,
            str(payload_path),
            str(result_path),
        ]
        began = time.monotonic()
        given = {**(environment or {}), "TMPDIR": str(exchange)}
        if confinement is not None and confinement.closed:
            given["HOME"] = str(exchange / "home")
            (exchange / "home").mkdir()
        child = _Child(["-P", "-m", "flyball.backends.executors.child", *own], folder, given, on_line)
        exit_code, max_rss_mb, ended_by = child.wait(began + timeout_seconds, cancelled or (lambda: False))
        return ChildResult(
            exit_code=exit_code,
            timed_out=ended_by == "timeout",
            cancelled=ended_by == "cancelled",
            out_of_memory=_ran_out(exit_code, ended_by, max_rss_mb, memory_limit_mb),
            result=read_written(result_path),
            seconds=time.monotonic() - began,
            max_rss_mb=max_rss_mb,
        )


def _with(confinement: Confinement, exchange: Path) -> Confinement:
    """The folder of payload and result can be reached wherever folders for temporary files are."""
    return msgspec.structs.replace(confinement, write=[*confinement.write, str(exchange)])


class _Child:
    """A running child and the thread that reads its output."""

    def __init__(
        self,
        arguments: list[str],
        folder: Path,
        environment: Mapping[str, str] | None,
        on_line: Callable[[str], None] | None,
    ) -> None:
        try:
            self._process = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=folder,
                env=clean_environment(environment),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise ExecutorFailed(
                f"no process could be started in {folder}: {error}", folder=str(folder)
            ) from error
        self._cancelled = threading.Event()
        self._asked_to_end_at: float | None = None
        self._on_line = on_line
        self._trouble: Exception | None = None
        self._reader = threading.Thread(target=self._read, name="child-output", daemon=True)
        self._reader.start()

    def cancel(self) -> None:
        """Have whoever waits for the child end it."""
        self._cancelled.set()

    def wait(self, deadline: float, cancelled: Callable[[], bool]) -> tuple[int, float, str]:
        """Exit code, largest resident memory in MB, and what ended it: itself, timeout or cancelled."""
        ended_by, pause, asked_at = "itself", 0.005, time.monotonic()
        _running.add(self)
        try:
            while (ended := self._ended()) is None:
                now = time.monotonic()
                if now >= deadline:
                    ended_by = "timeout"
                elif self._cancelled.is_set():
                    ended_by = "cancelled"
                elif now - asked_at >= 0.2:
                    asked_at = now
                    ended_by = "cancelled" if cancelled() else ended_by
                if ended_by != "itself" or self._trouble is not None:
                    self._kill()
                time.sleep(pause)
                pause = min(0.05, pause * 1.5)
        finally:
            _running.discard(self)
            while self._process.returncode is None:
                self._kill()
                with suppress(subprocess.TimeoutExpired):
                    self._process.wait(timeout=0.05)
            # It ends with the last grandchild that held the pipe; those died with the child.
            self._reader.join(timeout=10)
        if self._trouble is not None:
            raise self._trouble
        return (*ended, ended_by)

    def _ended(self) -> tuple[int, float] | None:
        if sys.platform == "linux":
            # Look without reaping: until it is reaped, its number can't become somebody else's group.
            if os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                return None
            self._kill_group()
        pid, status, used = os.wait4(self._process.pid, os.WNOHANG)
        if pid == 0:
            return None
        # The process object must know that somebody else has waited for it.
        self._process.returncode = os.waitstatus_to_exitcode(status)
        return self._process.returncode, used.ru_maxrss / _KB_PER_MB

    def _kill(self) -> None:
        """Have the guard end the child and all below it; kill the guard, too, if it does not get done."""
        if sys.platform != "linux":
            self._kill_group()
            return
        now = time.monotonic()
        self._asked_to_end_at = self._asked_to_end_at or now
        if now - self._asked_to_end_at > _GUARD_SECONDS:
            self._kill_group()
        else:
            # Not by the process object, which would reap it on the way.
            with suppress(ProcessLookupError):
                os.kill(self._process.pid, signal.SIGTERM)

    def _kill_group(self) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as output:
            for line in _lines(output):
                if self._on_line is not None and self._trouble is None:
                    try:
                        self._on_line(line)
                    except Exception as error:  # noqa: BLE001 - raised by `wait`, in the caller's thread
                        self._trouble = error


def _lines(output: IO[bytes]) -> Any:
    while data := output.readline(_LONGEST_LINE):
        yield data.decode("utf-8", errors="replace").rstrip("\r\n")


def read_written(path: Path) -> dict[str, Any] | None:
    """The JSON object in a file that foreign code may have written: a link, a pipe, or too much counts as none."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(handle, "rb") as file:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode) or status.st_size > _LARGEST_RESULT:
                return None
            return msgspec.json.decode(file.read(), type=dict[str, Any])
    except (OSError, ValueError):  # not there, or no JSON
        return None


def _ran_out(exit_code: int, ended_by: str, max_rss_mb: float, limit_mb: int | None) -> bool:
    if ended_by != "itself":
        return False
    if exit_code in (OUT_OF_MEMORY, -signal.SIGKILL):
        return True
    # Native code that can't allocate aborts or crashes instead of raising MemoryError.
    crashed = exit_code in (-signal.SIGABRT, -signal.SIGSEGV)
    return crashed and limit_mb is not None and max_rss_mb > 0.8 * limit_mb

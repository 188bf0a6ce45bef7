"""The controller's side of the analysis process: starts it when needed, asks it, and survives its death."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec

from flyball.core.errors import FlyballError, Unavailable


class AnalysisFailed(FlyballError):
    """The analysis process answered with an error of ours; its code and message are kept."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class AnalysisProcess:
    """One child `python -m flyball.operations.analyst`, asked by one thread at a time."""

    def __init__(self, folder: Path, log: Path, environment: Mapping[str, str]) -> None:
        self._folder = folder
        self._log = log
        self._environment = dict(environment)
        self._child: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._closed = False
        # The kernel ends a child with the thread that started it, and threads of a web server come and go.
        self._starter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="analysis-starter")

    def ask(
        self, request: dict[str, Any], timeout_seconds: float = 600.0, patience_seconds: float = -1
    ) -> Any:
        """The answer to one request. A child that died idle is started again once.

        patience_seconds: how long to wait while the child is at something else (-1: as long as it takes). Raises
        AnalysisFailed with the child's error, Unavailable when it dies, takes too long or stays at something else.
        """
        line = msgspec.json.encode(request) + b"\n"
        if not self._lock.acquire(timeout=patience_seconds):
            raise Unavailable(
                f"the analysis is at work on new records and had no time for this within {patience_seconds:g} s; "
                "ask again in a moment"
            )
        try:
            answer = self._ask_twice(line, timeout_seconds)
        finally:
            self._lock.release()
        if not answer.get("ok"):
            raise AnalysisFailed(answer.get("code", "internal"), answer.get("message", "the analysis failed"))
        return answer["value"]

    def _ask_twice(self, line: bytes, timeout_seconds: float) -> dict[str, Any]:
        try:
            return _exchange(self._running(), line, timeout_seconds)
        except (BrokenPipeError, EOFError):
            # It may have ended, idle, between our look and our question.
            self._end()
        except TimeoutError as error:
            self._end()
            raise Unavailable(f"the analysis took longer than {timeout_seconds:g} s and was ended") from error
        try:
            return _exchange(self._running(), line, timeout_seconds)
        except (BrokenPipeError, EOFError, TimeoutError) as error:
            self._end()
            raise Unavailable("the analysis process died at its work; logs/analysis.log says why") from error

    def close(self) -> None:
        """End the child, also one at work, and start no other."""
        self._closed = True
        child = self._child
        if child is not None:
            child.kill()
        with self._lock:
            self._end()
        self._starter.shutdown()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._closed:
            raise Unavailable("the control plane is ending")
        if self._child is not None and self._child.poll() is not None:
            self._end()
        if self._child is None:
            self._child = self._starter.submit(self._start).result()
        return self._child

    def _start(self) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "flyball.operations.analyst", str(os.getpid())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=self._folder,
                env=self._environment,
                bufsize=0,
            )

    def _end(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            for pipe in (self._child.stdin, self._child.stdout):
                if pipe is not None:
                    pipe.close()
            self._child = None


def _exchange(child: subprocess.Popen[bytes], line: bytes, timeout_seconds: float) -> dict[str, Any]:
    assert child.stdin is not None and child.stdout is not None
    child.stdin.write(line)
    deadline = time.monotonic() + timeout_seconds
    data = b""
    while not data.endswith(b"\n"):
        ready, _, _ = select.select([child.stdout], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            raise TimeoutError
        piece = os.read(child.stdout.fileno(), 1 << 20)
        if not piece:
            raise EOFError
        data += piece
    answer = msgspec.json.decode(data)
    if not isinstance(answer, dict):
        raise EOFError
    return answer

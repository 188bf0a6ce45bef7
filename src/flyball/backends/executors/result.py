"""Where user code runs: the executor's port."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import msgspec

from flyball.backends.executors.confine import Confinement


class ChildResult(msgspec.Struct, frozen=True, kw_only=True):
    """How a child process ended."""

    exit_code: int  # 0 is success; -n means killed by signal n
    timed_out: bool
    out_of_memory: bool  # it hit its limit, or the system's killer took it
    cancelled: bool
    result: dict[str, Any] | None  # None if it wrote none, or no JSON object
    seconds: float
    max_rss_mb: float  # the largest resident memory of the process, 0.0 if it was not measured


class Executor(Protocol):
    """Runs modules in processes of their own."""

    def run(
        self,
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
        """Run `python -m module payload.json result.json` and wait for its end. See `local.run_child`."""

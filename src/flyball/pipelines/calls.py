"""Calls of a run's child processes: what they print goes to the run's log, how they fail becomes one clear error."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec

from flyball.backends.executors.port import ChildResult, open_executor
from flyball.backends.workflows.outcome import WorkflowError, rebuilt
from flyball.core.durations import format_duration
from flyball.core.errors import RunOutOfMemory, RunTimedOut, StepCrashed, UserCodeFailed, WorkflowCancelled
from flyball.pipelines.frame_advice import CrashNotes
from flyball.pipelines.reach import reach_of
from flyball.pipelines.runs import find_run
from flyball.pipelines.workshop import Workshop

CHILD_MODULE = "flyball.pipelines.child"


class ChildLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How long a child may take, how much memory it may use, and which variables it gets beside the usual ones."""

    timeout: timedelta = timedelta(hours=1)
    memory_mb: int | None = None
    environment: dict[str, str] = {}


def call_child(
    shop: Workshop, run_id: str, kind: str, payload: dict[str, Any], folder: Path, limits: ChildLimits
) -> dict[str, Any]:
    """What a child of this kind gives.

    Raises the error the child reported; RunTimedOut, RunOutOfMemory, StepCrashed (or UserCodeFailed for a training)
    when it reported nothing.
    """
    bench, notes = shop.bench(run_id), CrashNotes()

    def hear(line: str) -> None:
        notes.read(line)
        bench.write_line(f"[{kind}] {line}")

    result = open_executor(shop.settings.executor_url).run(
        CHILD_MODULE,
        {"kind": kind, **payload},
        folder=folder,
        timeout_seconds=limits.timeout.total_seconds(),
        environment=limits.environment,
        memory_limit_mb=limits.memory_mb,
        confinement=reach_of(kind, payload, shop.settings),
        on_line=hear,
        cancelled=lambda: _is_cancelled(shop, run_id),
    )
    return _outcome(kind, result, limits, notes)


def _outcome(kind: str, result: ChildResult, limits: ChildLimits, notes: CrashNotes) -> dict[str, Any]:
    if result.cancelled:
        raise WorkflowCancelled("the run was cancelled")
    if result.timed_out:
        limit = format_duration(limits.timeout)
        advice = (
            "; raise [train].timeout, or look in the run's log for where it hung" if kind == "train" else ""
        )
        raise RunTimedOut(f"{kind} was ended after {limit}{advice}", step=kind, timeout=limit)
    if result.out_of_memory:
        limit = f"its limit of {limits.memory_mb} MB" if limits.memory_mb else "the memory of this machine"
        raise RunOutOfMemory(
            f"{kind} ran out of memory at {result.max_rss_mb:.0f} MB: {limit} was reached; use fewer rows or "
            "columns, or raise [train].memory_mb",
            step=kind,
            max_rss_mb=round(result.max_rss_mb),
        )
    if result.result is None:
        how = f"signal {-result.exit_code}" if result.exit_code < 0 else f"exit code {result.exit_code}"
        message = f"the {kind} process ended with {how} and without a result; see the run's log"
        if result.exit_code < 0 and (explanation := notes.explanation()) is not None:
            message = f"{kind}: {explanation}"
        if kind == "train":
            raise UserCodeFailed(message, step=kind, exit_code=result.exit_code)
        raise StepCrashed(message, step=kind, exit_code=result.exit_code)
    if "error" in result.result:
        raise rebuilt(msgspec.convert(result.result["error"], WorkflowError))
    value: dict[str, Any] = result.result["value"]
    return {**value, "seconds": round(result.seconds, 3), "max_rss_mb": round(result.max_rss_mb, 1)}


def _is_cancelled(shop: Workshop, run_id: str) -> bool:
    with shop.database.read() as conn:
        run = find_run(conn, run_id)
    return run is not None and run.state == "cancelled"

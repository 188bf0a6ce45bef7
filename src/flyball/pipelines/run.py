"""Runs from outside: start one, follow it, cancel it, and finish what a process that died left behind."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Connection

from flyball.backends.db.heartbeats import dead_executors
from flyball.backends.workflows.engine import WorkflowEngine
from flyball.core.errors import BadInput, NotFound, WorkflowTimeout
from flyball.core.ids import is_id, new_id
from flyball.core.values import Actor
from flyball.governance.journal import Change, record
from flyball.pipelines.keyed import check_repeat
from flyball.pipelines.request import RunRequest, fingerprint, plain, read_request
from flyball.pipelines.runs import (
    Run,
    find_run,
    find_unfinished,
    get_run,
    insert_run,
    list_run_steps,
    list_runs,
)
from flyball.pipelines.source_tree import collect_tree, read_git_state, store_tree
from flyball.pipelines.stages.ending import end_run, keep_log
from flyball.pipelines.workflow import WORKFLOW
from flyball.pipelines.workshop import Workshop

REAP_SECONDS = 2.0


class RunResult(msgspec.Struct, frozen=True, kw_only=True):
    """How a run ended. `cached`: the version stood already and nothing was trained.

    metrics: {name: {value, interval: {low, high} | null, row_count}}; gates: [{metric, outcome, because, …}];
    tests: [{kind, name, outcome, because, rows, file, line, seconds}].
    error: {code, message, facts} of a failed run.
    """

    run_id: str
    model: str
    state: str
    version: int | None = None
    digest: str | None = None
    cached: bool = False
    snapshot: str | None = None
    metrics: dict[str, Any] = {}
    gates: list[dict[str, Any]] = []
    tests: list[dict[str, Any]] = []
    warnings: list[str] = []
    seconds: float = 0.0
    error: dict[str, Any] | None = None


def start_run(engine: WorkflowEngine, shop: Workshop, request: RunRequest) -> str:
    """Start a run, or join the unfinished one of an equal request; its id. Returns once it is recorded.

    The folder's files are taken now: what is edited while the run goes on changes nothing. A run whose process died
    is taken over by this one. Raises BadInput for a request without folder and tree, KeyInUse for one whose key came
    with another.
    """
    request = _settle(shop, request)
    run_id = request.run_id or new_id("run")
    now = shop.clock.now()
    with shop.database.write() as conn:
        known = find_run(conn, run_id)
        if known is None and request.key is None:
            known = find_unfinished(conn, fingerprint(request))
        if known is None:
            insert_run(conn, new_run(run_id, request, now))
            change = Change(
                actor=request.actor,
                action="run.started",
                subject=f"run:{run_id}",
                why=request.why,
                facts={
                    "model": request.model,
                    "run_id": run_id,
                    "tree": request.tree,
                    "signal_id": request.signal_id,
                    **({} if request.key is None else {"key": request.key}),
                },
                event="run.started",
            )
            record(conn, change, now)
    if known is not None:
        check_repeat(shop.blobs, known, request)
        run_id = known.id
        if known.state == "running":
            _take_up(engine, shop, known)
        return run_id
    engine.start(WORKFLOW, plain(request), run_id)
    return run_id


def find_equal(shop: Workshop, request: RunRequest) -> str | None:
    """The id of an unfinished run that asks for the same as a request; None without one."""
    asked = fingerprint(_settle(shop, request))
    with shop.database.read() as conn:
        found = find_unfinished(conn, asked)
    return None if found is None or found.id == request.run_id else found.id


def resume_abandoned(
    engine: WorkflowEngine, shop: Workshop, fence: Callable[[Connection], None] | None = None
) -> list[str]:
    """Take over what processes that died have left: unfinished workflows, and runs whose workflow never began.

    fence: raises for a caller who may no longer do this, asked on the snapshot of the database that shows what is left.
    Returns the ids that this process (or another live one that has them registered) goes on with.
    """
    with shop.database.read() as conn:
        if fence is not None:
            fence(conn)
        dead = dead_executors(conn, shop.clock.now())
        unfinished = list_runs(conn, state="running", limit=1000)
    taken = engine.take_over(dead)
    return taken + [run.id for run in unfinished if run.id not in taken and _take_up(engine, shop, run)]


def follow_run(
    shop: Workshop,
    run_id: str,
    on_line: Callable[[str], None] | None = None,
    on_step: Callable[[str, str], None] | None = None,
    timeout_seconds: float | None = None,
    engine: WorkflowEngine | None = None,
) -> RunResult:
    """Wait for the end of a run, wherever it is made; its lines and steps are told as they come.

    on_step: gets name and state ("running", "done", "cached", "failed"). With an engine, the run is taken over when
    its process dies. Raises RunNotFound, and WorkflowTimeout when it goes on for longer.
    """
    deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
    log, told, at = shop.bench(run_id).log, dict[str, str](), 0
    pause, reap_at = 0.02, time.monotonic() + REAP_SECONDS
    while True:
        with shop.database.read() as conn:
            run = get_run(conn, run_id)
            steps = list_run_steps(conn, run_id) if on_step is not None else []
        for step in steps:
            state = "cached" if step.cached else step.state
            if on_step is not None and told.get(step.name) != state:
                told[step.name] = state
                on_step(step.name, state)
        lines = list[str]()
        if on_line is not None:
            lines, at = log.new_lines(at)
            for line in lines:
                on_line(line)
        if run.state != "running" and not lines:
            return result_of(run)
        if run.state == "running" and deadline is not None and time.monotonic() >= deadline:
            raise WorkflowTimeout(
                f"run {run_id} has not ended within {timeout_seconds} s; it goes on", run_id=run_id
            )
        if run.state == "running" and engine is not None and time.monotonic() >= reap_at:
            reap_at = time.monotonic() + REAP_SECONDS
            _take_up(engine, shop, run)
        time.sleep(pause)
        pause = 0.02 if lines else min(0.2, pause * 1.2)


def cancel_run(engine: WorkflowEngine, shop: Workshop, run_id: str, *, actor: Actor, why: str) -> Run:
    """End a run before its next step, and its child at once. One that has ended stays as it is."""
    engine.cancel(run_id)
    log, now = keep_log(shop, run_id), shop.clock.now()
    with shop.database.write() as conn:
        run = get_run(conn, run_id)
        request = msgspec.structs.replace(read_request(run.request), actor=actor, why=why)
        error = {"code": "workflow_cancelled", "message": f"cancelled by {actor.name}: {why}", "facts": {}}
        end_run(conn, run_id, request, now, state="cancelled", error=error, log=log)
        return get_run(conn, run_id)


def result_of(run: Run) -> RunResult:
    """What a run gave, as it stands in its row."""
    seconds = 0.0 if run.finished_at is None else (run.finished_at - run.started_at).total_seconds()
    result = run.result or {}
    return RunResult(
        run_id=run.id,
        model=run.model,
        state=run.state,
        version=run.version,
        digest=result.get("digest"),
        cached=run.cached,
        snapshot=result.get("snapshot"),
        metrics=result.get("metrics", {}),
        gates=result.get("gates", []),
        tests=result.get("tests", []),
        warnings=result.get("warnings", []),
        seconds=round(seconds, 3),
        error=run.error,
    )


def _settle(shop: Workshop, request: RunRequest) -> RunRequest:
    """The request with the source tree it is about, kept as an object."""
    if request.run_id is not None and not is_id(request.run_id, "run"):
        raise BadInput(f"{request.run_id!r} is no id of a run", run_id=request.run_id)
    if request.data.kind == "snapshot" and request.data.digest is None:
        raise BadInput("a run on a snapshot needs its digest")
    if request.tree is not None:
        if not shop.blobs.has_object(request.tree):
            raise NotFound(f"there is no source tree {request.tree}", tree=request.tree)
        return request
    if request.folder is None:
        raise BadInput("a run needs a project folder or the digest of a kept source tree")
    folder = Path(request.folder)
    tree = store_tree(collect_tree(folder, request.project.data.source), shop.blobs)
    git = read_git_state(folder)
    return msgspec.structs.replace(request, tree=tree, folder=str(folder.resolve()), git=git)


def new_run(run_id: str, request: RunRequest, now: datetime) -> Run:
    """The row that a run begins with."""
    return Run(
        id=run_id,
        model=request.model,
        state="running",
        version=None,
        cached=False,
        fingerprint=fingerprint(request),
        request=plain(request),
        result=None,
        error=None,
        log=None,
        signal_id=request.signal_id,
        actor=request.actor.name,
        why=request.why,
        started_at=now,
        finished_at=None,
    )


def _take_up(engine: WorkflowEngine, shop: Workshop, run: Run) -> bool:
    """Let this process go on with a running run if nobody alive does. True if it does now."""
    status = engine.status(run.id)
    if status is None:
        # Killed between its row and its workflow: nothing of it has happened yet.
        engine.start(WORKFLOW, run.request, run.id)
        return True
    if status.state != "pending":
        return _reconcile(engine, shop, run.id)
    with shop.database.read() as conn:
        dead = dead_executors(conn, shop.clock.now())
    return status.executor_id in dead and run.id in engine.take_over([status.executor_id])


def _reconcile(engine: WorkflowEngine, shop: Workshop, run_id: str) -> bool:
    """End the row of a run whose workflow ended without it: cancelled from outside, or the database was away."""
    ended, now = engine.wait(run_id, 0), shop.clock.now()
    state = "failed" if ended.state == "failed" else "cancelled"
    error = {"code": "workflow_cancelled", "message": "its workflow was ended from outside", "facts": {}}
    if ended.error is not None:
        error = {"code": ended.error.code, "message": ended.error.message, "facts": ended.error.facts}
    with shop.database.write() as conn:
        run = get_run(conn, run_id)
        end_run(conn, run_id, read_request(run.request), now, state=state, error=error)
    return False

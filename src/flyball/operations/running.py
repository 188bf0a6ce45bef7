"""`flyball run` in place: this process becomes an executor of its own run, and takes up what others left."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flyball.backends.db.heartbeats import dead_executors
from flyball.backends.executors.local import end_children
from flyball.backends.workflows.engine import WorkflowEngine
from flyball.core.errors import BadInput, Conflict
from flyball.core.ids import keyed_id
from flyball.core.values import Actor
from flyball.operations.control import open_workshop
from flyball.operations.opening import Backends
from flyball.pipelines.keyed import find_repeated
from flyball.pipelines.project_file import ProjectFile, read_project
from flyball.pipelines.request import DataChoice, RunRequest
from flyball.pipelines.run import (
    cancel_run,
    find_equal,
    follow_run,
    result_of,
    resume_abandoned,
    start_run,
)
from flyball.pipelines.runs import Run, get_run
from flyball.pipelines.strangers import refuse_shared_database
from flyball.pipelines.workshop import Workshop


def run_project(
    backends: Backends,
    folder: Path,
    *,
    sets: Sequence[str],
    why: str,
    actor: Actor,
    on_line: Callable[[str], None] | None,
    key: str | None = None,
) -> Any:
    """The result of a project folder's pipeline run; what processes that died left in the middle is finished too.

    A run left in the middle whose code, data and settings are still these is gone on with, and is the result.
    key: a run that was made under it is the result, however it ended, and nothing is done again.
    Raises ProjectError, BadInput for a setting that is not `key=value` or a bad key, KeyInUse for a key that came with
    something else, and what the run itself raises.
    """
    import os

    file = read_project(folder, flags=_flags(sets), environment=os.environ)
    request = request_of(file, why=why, actor=actor, key=key)
    known = find_repeated(backends.database, backends.blobs, request)
    if known is not None and known.state != "running":
        return result_of(known)
    with executing(backends) as (engine, workshop, left):
        if key is not None and (equal := find_equal(workshop, request)) is not None:
            # Made under another key or none: once it has ended, there is nothing left to be trained here.
            follow_run(workshop, equal, engine=engine)
        run_id = start_run(engine, workshop, request)
        _tell(left, run_id, on_line)
        result = follow_run(workshop, run_id, on_line=on_line, engine=engine)
        for workflow_id in left:
            engine.wait(workflow_id)
        return result


def request_of(file: ProjectFile, *, why: str, actor: Actor, key: str | None = None) -> RunRequest:
    """The run of a project as its folder is now. Raises BadInput for a bad key."""
    return RunRequest(
        model=file.project.model.name,
        project=file.project,
        folder=str(file.folder.resolve()),
        tree=None,
        data=DataChoice("source"),
        split=None,
        champion=None,
        actor=actor,
        why=why,
        run_id=None if key is None else keyed_id("run", key),
        key=key,
    )


@contextmanager
def executing(backends: Backends) -> Iterator[tuple[WorkflowEngine, Workshop, list[str]]]:
    """This process as an executor of runs; with the ids of what dead processes had left, which it goes on with.

    Raises Refused for code that may be anybody's in a database that others use.
    """
    refuse_shared_database(backends.settings)
    heartbeat, engine, workshop = open_workshop(backends, "run")
    heartbeat.start()
    try:
        engine.launch()
        yield engine, workshop, _take_over(backends, engine, workshop)
    finally:
        engine.shutdown(end_children=end_children)
        heartbeat.stop()


def cancel(backends: Backends, run_id: str, *, why: str, actor: Actor) -> Run:
    """A run that goes on, here or in another process, is ended: its child at once, before its next step.

    Raises RunNotFound, and Conflict for one that has ended.
    """
    with backends.database.read() as conn:
        run = get_run(conn, run_id)
    if run.state == "running":
        heartbeat, engine, workshop = open_workshop(backends, "run")
        heartbeat.start()
        try:
            engine.launch()
            run = cancel_run(engine, workshop, run_id, actor=actor, why=why)
        finally:
            engine.shutdown(end_children=end_children)
            heartbeat.stop()
        if run.state == "cancelled":
            return run
    raise Conflict(f"run {run_id} has ended already: it is {run.state}", run_id=run_id, state=run.state)


def _take_over(backends: Backends, engine: Any, workshop: Any) -> list[str]:
    """Let this process go on with what processes that died left unfinished; the ids of it all."""
    with backends.database.read() as conn:
        dead = set(dead_executors(conn, backends.clock.now()))
    # What was taken over before, by a process that died too, waits in a queue: any live process finds it there.
    left = {found.workflow_id for found in engine.list_unfinished() if found.executor_id in {*dead, ""}}
    left.update(engine.take_over(dead))
    left.update(resume_abandoned(engine, workshop))
    return sorted(left)


def _tell(left: list[str], own: str, on_line: Callable[[str], None] | None) -> None:
    if on_line is None:
        return
    for workflow_id in left:
        what = "this very run" if workflow_id == own else workflow_id
        on_line(f"going on with {what}, left by a process that died")


def _flags(sets: Sequence[str]) -> dict[str, str]:
    flags = {}
    for item in sets:
        key, equals, value = item.partition("=")
        if not equals or not key:
            raise BadInput(
                f"--set {item!r}: write key=value, such as train.params.learning_rate=0.05", setting=item
            )
        flags[key] = value
    return flags

"""`flyball run` in place: this process becomes an executor of its own run, and takes up what others left."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from flyball.backends.db.heartbeats import dead_executors
from flyball.core.errors import BadInput
from flyball.governance.actors import Actor
from flyball.operations.control import open_workshop
from flyball.operations.opening import Backends
from flyball.pipelines.project_file import read_project
from flyball.pipelines.request import DataChoice, RunRequest
from flyball.pipelines.run import follow_run, start_run


def run_project(
    backends: Backends,
    folder: Path,
    *,
    sets: Sequence[str],
    why: str,
    actor: Actor,
    on_line: Callable[[str], None] | None,
) -> Any:
    """The result of a project folder's pipeline run. A run that was left in the middle is finished first.

    Raises ProjectError, BadInput for a setting that is not `key=value`, and what the run itself raises.
    """
    import os

    file = read_project(folder, flags=_flags(sets), environment=os.environ)
    request = RunRequest(
        model=file.project.model.name,
        project=file.project,
        folder=str(file.folder.resolve()),
        tree=None,
        data=DataChoice("source"),
        split=None,
        champion=None,
        actor=actor,
        why=why,
    )
    heartbeat, engine, workshop = open_workshop(backends, "run")
    heartbeat.start()
    try:
        engine.launch()
        with backends.database.read() as conn:
            dead = dead_executors(conn, backends.clock.now())
        for workflow_id in engine.take_over(dead):
            if on_line is not None:
                on_line(f"going on with {workflow_id}, left by a process that died")
        run_id = start_run(engine, workshop, request)
        return follow_run(workshop, run_id, on_line=on_line)
    finally:
        engine.shutdown()
        heartbeat.stop()


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

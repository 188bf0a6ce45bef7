"""Deploying by hand: which version, under which settings; and waiting for the end of a rollout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from flyball.core.errors import Conflict, FlyballError
from flyball.core.project import Project
from flyball.core.refs import ModelRef
from flyball.core.values import Actor
from flyball.operations.opening import Backends
from flyball.operations.publishing import publish_now


def deploy(backends: Backends, ref: ModelRef, *, why: str, strategy: str | None, actor: Actor) -> Any:
    """The rollout that was started, or, for a model's first version, its deployment.

    Settings (rollout, monitor, log, retrain) are those of the project file in the working folder when it is this
    model's, else those the version was registered with. Raises Corrupt or NotFound, and deploys nothing, when a file
    of the version is damaged or gone: no model server could load it.
    """
    from flyball.data.model_time import find_clock
    from flyball.delivery.start import deploy as start
    from flyball.registry.bundle import check_objects

    now = backends.clock.now()
    with backends.database.read() as conn:
        chosen = _choose(conn, ref)
    if chosen.state == "registered":  # what its gates refused is refused below, with their reasons
        check_objects(chosen.digest, backends.blobs)
    with backends.database.write() as conn:
        version = _choose(conn, ref)
        project = _settings(ref.model, strategy, version)
        clock = find_clock(conn, ref.model)
        started = start(
            conn,
            ref.model,
            version.number,
            actor=actor,
            why=why,
            now=now,
            model_time=clock.now(now) if clock else None,
            project=project,
        )
    publish_now(backends)
    return started


def _choose(conn: Any, ref: ModelRef) -> Any:
    from flyball.registry.versions import list_versions, resolve

    if ref != ModelRef(ref.model):
        return resolve(conn, ref)
    for version in list_versions(conn, ref.model, limit=1000):
        if version.state == "registered":
            return version
    raise Conflict(
        f"{ref.model} has no registered version to deploy; `flyball run` makes one", model=ref.model
    )


def _settings(model: str, strategy: str | None, version: Any) -> Project:
    from flyball.pipelines.project_file import read_project

    project: Project = msgspec.convert(version.project, Project)
    if Path("flyball.toml").is_file():
        try:
            file = read_project(Path.cwd())
        except FlyballError as error:
            raise Conflict(
                f"flyball.toml of this folder can't be read, so nothing was deployed: {error.message}"
            ) from error
        if file.project.model.name == model:
            project = file.project
    if strategy is not None:
        rollout = msgspec.structs.replace(project.rollout, strategy=strategy)
        project = msgspec.structs.replace(project, rollout=rollout)
    return project

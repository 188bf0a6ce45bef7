"""Deploying, promoting and going back by hand: which version, under which settings, and whether its files are whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from flyball.core.errors import Conflict, FlyballError, Unavailable
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


def promote(backends: Backends, model: str, *, why: str, actor: Actor) -> Any:
    """The rollout whose candidate became champion by a person's word. Raises as `rollback`, and RolloutNotFound.

    A candidate that the loop promotes by itself is not read again: it is judged by its own answers, and a model
    server answers with nothing that it has not verified file by file and keeps in its cache. A person may promote
    what waits, or what no server could load, so here every file is read once; that person waits, no request does.
    """
    from flyball.data.model_time import find_clock
    from flyball.delivery import control
    from flyball.delivery.rollouts import get_unfinished
    from flyball.registry.versions import get_version

    now = backends.clock.now()
    with backends.database.read() as conn:
        candidate = get_version(conn, model, get_unfinished(conn, model).candidate)
    _check_files(backends, candidate)
    with backends.database.write() as conn:
        clock = find_clock(conn, model)
        moment = clock.now(now) if clock else None
        done = control.promote(conn, model, actor=actor, why=why, now=now, model_time=moment)
    publish_now(backends)
    return done


def rollback(backends: Backends, model: str, *, to: int | None, why: str, actor: Actor) -> Any:
    """The previous champion (or version `to`) is back in service. Raises as `delivery.rollback.rollback`.

    Raises Corrupt or NotFound, and changes nothing, when a file of that version is damaged or gone.
    """
    from flyball.data.model_time import find_clock
    from flyball.delivery import rollback as going_back

    while True:
        with backends.database.read() as conn:
            _, target = going_back.choose(conn, model, to)
        _check_files(backends, target)
        now = backends.clock.now()
        with backends.database.write() as conn:
            if going_back.choose(conn, model, to)[1].number != target.number:
                continue  # somebody else moved the champion meanwhile: what is next is checked first, too
            clock = find_clock(conn, model)
            moment = clock.now(now) if clock else None
            done = going_back.rollback(conn, model, to=to, actor=actor, why=why, now=now, model_time=moment)
        publish_now(backends)
        return done


def _check_files(backends: Backends, version: Any) -> None:
    """Raise what is wrong with a version's files. What its gates refused is refused later, with their reasons."""
    from flyball.delivery.files import find_damage

    if version.state != "registered":
        return
    try:
        damage = find_damage(version.digest, backends.blobs)
    except Unavailable:
        return  # the decision stands and is published when the store is back; see `publish_now`
    if damage is not None:
        raise damage


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

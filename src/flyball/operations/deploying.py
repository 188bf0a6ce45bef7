"""Deploying, promoting and going back by hand: which version, under which settings, and whether its files are whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from flyball.core.errors import Conflict, FlyballError, Unavailable
from flyball.core.project import Project
from flyball.core.refs import ModelRef
from flyball.core.values import Actor
from flyball.operations.opening import Backends
from flyball.operations.publishing import publish_now


def deploy(
    backends: Backends,
    ref: ModelRef,
    *,
    why: str,
    strategy: str | None,
    actor: Actor,
    project: Project | None = None,
) -> Any:
    """The rollout that was started, or, for a model's first version, its deployment.

    Settings (rollout, monitor, log, retrain) are those of the project file in the working folder when it is this
    model's, else those the version was registered with; `project`, where it is given. Raises Corrupt or NotFound, and
    deploys nothing, when a file of the version is damaged or gone: no model server could load it.
    """
    from flyball.data.model_time import find_model_time
    from flyball.delivery.start import deploy as start

    def act(conn: Any, version: Any) -> Any:
        now = backends.clock.now()
        return start(
            conn,
            ref.model,
            version.number,
            actor=actor,
            why=why,
            now=now,
            model_time=find_model_time(conn, ref.model, now),
            project=project or settings_of(ref.model, strategy, version),
        )

    return _decide(backends, lambda conn: choose_version(conn, ref), act)


def promote(backends: Backends, model: str, *, why: str, actor: Actor) -> Any:
    """The rollout whose candidate became champion by a person's word. Raises as `rollback`, and RolloutNotFound.

    A candidate that the loop promotes by itself is not read again: it is judged by its own answers, and a model
    server answers with nothing that it has not verified file by file and keeps in its cache. A person may promote
    what waits, or what no server could load, so here every file is read once; that person waits, no request does.
    """
    from flyball.data.model_time import find_model_time
    from flyball.delivery import control
    from flyball.delivery.rollouts import get_unfinished
    from flyball.registry.versions import get_version

    def act(conn: Any, _candidate: Any) -> Any:
        now = backends.clock.now()
        moment = find_model_time(conn, model, now)
        return control.promote(conn, model, actor=actor, why=why, now=now, model_time=moment)

    return _decide(
        backends, lambda conn: get_version(conn, model, get_unfinished(conn, model).candidate), act
    )


def rollback(backends: Backends, model: str, *, to: int | None, why: str, actor: Actor) -> Any:
    """The previous champion (or version `to`) is back in service. Raises as `delivery.rollback.rollback`.

    Raises Corrupt or NotFound, and changes nothing, when a file of that version is damaged or gone.
    """
    from flyball.data.model_time import find_model_time
    from flyball.delivery import rollback as going_back

    def act(conn: Any, _target: Any) -> Any:
        now = backends.clock.now()
        moment = find_model_time(conn, model, now)
        return going_back.rollback(conn, model, to=to, actor=actor, why=why, now=now, model_time=moment)

    return _decide(backends, lambda conn: going_back.choose(conn, model, to)[1], act)


def rollback_target(backends: Backends, model: str) -> int | None:
    """The version that a rollback would put into service; None when it would be refused."""
    from flyball.delivery.rollback import next_target

    with backends.database.read() as conn:
        return next_target(conn, model)


def _decide(backends: Backends, choose: Callable[[Any], Any], act: Callable[[Any, Any], Any]) -> Any:
    """What `act` has done, in one transaction, about the version that `choose` names and whose files are whole.

    Files are read before, outside of the transaction: that may take a while, and others write meanwhile.
    """
    while True:
        with backends.database.read() as conn:
            checked = choose(conn)
        check_files(backends, checked)
        with backends.database.write() as conn:
            version = choose(conn)
            if version.number != checked.number:
                continue  # somebody else moved on meanwhile: what is meant now is checked first, too
            done = act(conn, version)
        publish_now(backends)
        return done


def check_files(backends: Backends, version: Any) -> None:
    """Raise what is wrong with a version's files. What its gates refused is refused later, with their reasons."""
    from flyball.delivery.damage import find_damage

    if version.state != "registered":
        return
    try:
        damage = find_damage(version.digest, backends.blobs)
    except Unavailable:
        return  # the decision stands and is published when the store is back; see `publish_now`
    if damage is not None:
        raise damage


def choose_version(conn: Any, ref: ModelRef) -> Any:
    """The version that is meant; without a reference the newest registered one. Raises as `resolve`, and Conflict."""
    from flyball.registry.versions import list_versions, resolve

    if ref != ModelRef(ref.model):
        return resolve(conn, ref)
    for version in list_versions(conn, ref.model, limit=1000):
        if version.state == "registered":
            return version
    raise Conflict(
        f"{ref.model} has no registered version to deploy; `flyball run` makes one", model=ref.model
    )


def settings_of(model: str, strategy: str | None, version: Any) -> Project:
    """The settings of the project file in the working folder when it is this model's, else the version's own.

    Raises Conflict when that file can't be read.
    """
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

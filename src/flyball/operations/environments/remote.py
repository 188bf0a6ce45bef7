"""Deploying to an environment behind an address, whose control plane has to know the version and hold to our rules.

Nothing can be carried there, and no settings go along: it rolls out under those that the version was registered with.
So what the section asks beyond them is refused here, instead of being left out there.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import msgspec

from flyball.core.errors import CorruptObject, NotFound, Refused, VersionNotFound
from flyball.core.project import Project, RolloutSection
from flyball.core.refs import parse_ref
from flyball.delivery.start import Started
from flyball.operations.environments.deploying import (
    ALREADY,
    Deployed,
    choose_source,
    open_source,
    settings_there,
    standing,
)
from flyball.operations.environments.places import Environment, variable_of
from flyball.pipelines.project_file import read_project


class ControlPlane(Protocol):
    """The verbs of the remote Flyball object that are needed."""

    def show_version(self, ref: str) -> Any:
        """A version with what is known of it. Raises VersionNotFound, ModelNotFound."""

    def deploy(self, ref: str, *, why: str = "", strategy: str | None = None) -> Any:
        """Start its rollout."""


def deploy_through(
    remote: ControlPlane,
    target: str,
    environment: Environment,
    folder: Path,
    variables: Mapping[str, str],
    *,
    why: str,
    strategy: str | None,
) -> Deployed:
    """Start the rollout of a version `model@ref`, which the control plane knows by its digest.

    folder: of the project. Raises VersionNotFound for one that it does not know, and Refused where its rules would be
    others than the section's.
    """
    file, ref = read_project(folder, environment=variables), parse_ref(target)
    wanted = settings_there(file, ref.model, environment, variables, strategy=strategy)
    with open_source(file, environment, variables) as source:
        version = choose_source(source, ref, environment)
    there = f"{ref.model}@{version.digest.removeprefix('sha256:')}"
    try:
        known = remote.show_version(there)
    except NotFound as error:
        unknown = VersionNotFound(ref.model, version.digest)
        unknown.message = (
            f"{environment.name} ({environment.url}) does not know {version.digest}, and nothing is carried to an "
            f"address; name its stores in {variable_of(environment.name, 'DATABASE')} and "
            f"{variable_of(environment.name, 'OBJECTS')} to deploy in place"
        )
        raise unknown from error
    found = known["version"]
    if found["digest"] != version.digest:
        raise CorruptObject(f"{environment.name} answered with {found['digest']} for {version.digest}")
    _check_rules(environment, wanted, found["project"], strategy)
    if "champion" in known["aliases"]:
        told = msgspec.structs.asdict(standing(ref.model, found["number"], "promoted", None, ALREADY))
    else:
        started = remote.deploy(there, why=why, strategy=strategy)
        told = {name: started[name] for name in Started.__struct_fields__}
    return Deployed(
        **told,
        environment=environment.name,
        digest=version.digest,
        taken_from=environment.section.after,
        taken_version=version.number,
        copied=0,
    )


def _check_rules(
    environment: Environment, wanted: Project, known: dict[str, Any], strategy: str | None
) -> None:
    """Refuse what the control plane would not hold to."""
    told = ["gates of its own"] if environment.section.gates else []
    there = msgspec.convert(known.get("rollout") or {}, RolloutSection)
    if strategy is not None:
        there = msgspec.structs.replace(there, strategy=wanted.rollout.strategy)
    told += [
        f"rollout.{name} = {getattr(wanted.rollout, name)!r} instead of {getattr(there, name)!r}"
        for name in RolloutSection.__struct_fields__
        if getattr(wanted.rollout, name) != getattr(there, name)
    ]
    if told:
        raise Refused(
            f"{environment.name} asks for {'; '.join(told)}, and the control plane at {environment.url} deploys under "
            "the settings that the version was registered with; put these into [rollout] and run again, or deploy in "
            f"place ({variable_of(environment.name, 'DATABASE')})",
            environment=environment.name,
        )

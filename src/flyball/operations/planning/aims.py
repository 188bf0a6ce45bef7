"""What a file asks for, held against what is known: the version by its full digest, and the settings with it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import msgspec

from flyball.core.errors import Conflict, NotEnoughEvidence, NotFound, Refused
from flyball.core.project import Project
from flyball.core.refs import ModelRef
from flyball.delivery.settings import SECTIONS, settings_of
from flyball.operations.environments.deploying import choose_source, pass_gates, settings_there
from flyball.operations.opening import Backends
from flyball.operations.planning.differences import Aim
from flyball.operations.planning.files import Asked, told_environment
from flyball.operations.planning.sites import Site, Sites
from flyball.operations.planning.state import find_refusal, find_wanted
from flyball.registry.versions import ModelVersion, resolve
from flyball.retraining.retrainings import find_by_version


@dataclass(frozen=True)
class Wanted:
    """What is wanted of one model. here: the version as the target knows it, there: as its source does.

    project: comes into force with it. verdicts: of the environment's own gates.
    """

    asked: Asked
    aim: Aim
    here: ModelVersion | None = None
    there: ModelVersion | None = None
    project: Project | None = None
    verdicts: tuple[dict[str, Any], ...] = ()


def find_prefix(sites: Sites, asked: Asked) -> str | None:
    """First digits of the wanted digest; None for that of a champion that there is not."""
    if asked.follows is None:
        return asked.prefix
    followed = sites.followed(asked)
    if followed is None:
        return None
    with followed.database.read() as conn:
        try:
            champion = resolve(conn, ModelRef(asked.model, alias="champion"))
        except (NotFound, Conflict):
            return None
    return champion.digest.removeprefix("sha256:")


def find_aim(site: Site, asked: Asked, prefix: str | None) -> Wanted:
    """What is wanted of a model where a deployment goes, as far as that is known by now."""
    if prefix is None:
        return _unknown(asked, f"{told_environment(asked.follows)} has no champion of {asked.model}")
    here = _find(site.target, asked.model, prefix)
    there = here if site.environment is None else _find(site.source, asked.model, prefix)
    version = here or there
    if version is None:
        return _unknown(asked, _told_unknown(site, asked, prefix))
    project = _project(site, asked, version)
    barrier, is_undecided, verdicts = _barrier(site, asked, version, there)
    aim = Aim(
        digest=version.digest,
        obstacle=None if here is None else _refusal(site.target, here),
        barrier=barrier,
        is_undecided=is_undecided,
        settings=settings_of(project),
        strategy=project.rollout.strategy,
        approvals=project.rollout.approvals,
    )
    return Wanted(asked, aim, here, there, project, tuple(verdicts))


def _unknown(asked: Asked, problem: str) -> Wanted:
    return Wanted(asked, Aim(digest=None, obstacle=problem))


def _told_unknown(site: Site, asked: Asked, prefix: str) -> str:
    before = None if site.environment is None else site.environment.section.after
    named = f"no version of {asked.model} with the digest sha256:{prefix[:12]} is known"
    if before is not None:
        return f"{asked.environment} takes what is champion in {before}, and {named} there"
    return f"{named} here; `flyball run` of the commit that it came of makes it again"


def _find(backends: Backends | None, model: str, prefix: str) -> ModelVersion | None:
    if backends is None:
        return None
    with backends.database.read() as conn:
        return find_wanted(conn, model, prefix)


def _is_retrained(backends: Backends, version: ModelVersion) -> bool:
    """Whether a retraining of this very home gave the version."""
    with backends.database.read() as conn:
        found = find_by_version(conn, version.model, version.number)
    return found is not None and found.state == "ready"


def _refusal(backends: Backends | None, version: ModelVersion) -> str | None:
    assert backends is not None
    with backends.database.read() as conn:
        return find_refusal(conn, version)


def _project(site: Site, asked: Asked, version: ModelVersion) -> Project:
    """The version's own project, with the settings of the named file, or of the environment, in its place."""
    carried = msgspec.convert(version.project, Project)
    if site.file is None:
        return carried
    given = site.file.project
    if site.environment is not None:
        given = settings_there(site.file, asked.model, site.environment, os.environ)
    return msgspec.structs.replace(carried, **{name: getattr(given, name) for name in SECTIONS})


def _barrier(
    site: Site, asked: Asked, version: ModelVersion, there: ModelVersion | None
) -> tuple[str | None, bool, list[dict[str, Any]]]:
    """Why the environment does not take the version, whether that is for want of evidence, and its gates' verdicts."""
    environment, source = site.environment, site.source
    if environment is None:
        return None, False, []
    try:
        if there is None and site.target is not None and _is_retrained(site.target, version):
            # It has come to be there: no environment comes before that, and its record is there.
            return None, False, pass_gates(site.target, site.target, version, environment)
        if source is None:
            return f"nothing was deployed to {environment.section.after} yet, which comes first", False, []
        if there is None and environment.section.after is None:
            return None, False, []  # it was deployed here before; this home has forgotten it
        prefix = version.digest.removeprefix("sha256:")
        taken = choose_source(source, ModelRef(asked.model, digest_prefix=prefix), environment)
        return None, False, pass_gates(source, site.target, taken, environment)
    except NotEnoughEvidence as error:
        return error.message, True, []
    except (Refused, NotFound, Conflict) as error:
        return error.message, False, []

"""After a merge: the version that the check has just tested is deployed, by its digest, and never trained again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from flyball.core.digests import is_digest
from flyball.core.errors import BadInput, NotEnoughEvidence, Refused
from flyball.core.settings import read_settings
from flyball.operations.ci.deployments import find_deciding
from flyball.operations.ci.received import read_received
from flyball.operations.ci.report import CiReport
from flyball.operations.environments.places import Environment, list_environments, name_lasting
from flyball.operations.planning.files import Asked, told_environment
from flyball.operations.runners import is_on_runner
from flyball.pipelines.git_run import find_head, find_repository
from flyball.pipelines.project_file import ProjectFile, read_project


class Decided(msgspec.Struct, frozen=True, kw_only=True):
    """An environment (None: this home) where a deployments file decides what is deployed, and so no merge does.

    place: file and line of the model. is_named: whether the file names what was tested. because: what to do, in words.
    """

    model: str
    digest: str
    environment: str | None
    place: str
    is_named: bool
    because: str


class Tested(msgspec.Struct, frozen=True, kw_only=True):
    """A version that a check has tested, as model@digest, and the environments that a merge deploys it to.

    here: whether it is deployed to this home. decided: where deployments files decide.
    """

    ref: str
    environments: list[str]
    here: bool
    decided: list[Decided]


def find_tested(folder: Path, report_path: Path, variables: Mapping[str, str]) -> Tested:
    """What a merge deploys: the version of a report, to the environments that come after no other, where no
    deployments file of the repository decides.

    Raises Refused for a check that failed or was of another commit, NotEnoughEvidence for an undecided one, and
    BadInput where this is a job of CI and what it deployed to would go with it, ProjectError for a deployments file
    that can't be read.
    """
    file = read_project(folder, environment=variables)
    digest = _tested(read_received(report_path), file)
    first: list[Environment] = [
        one for one in list_environments(file, variables) if one.section.after is None
    ]
    root = find_repository(file.folder)
    deciding = {} if root is None else find_deciding(root, file.project.model.name)
    targets: list[Environment | None] = [*first] or [None]
    free = [one for one in targets if (None if one is None else one.name) not in deciding]
    if is_on_runner(variables):
        _check_lasting(file, free, variables)
    return Tested(
        ref=f"{file.project.model.name}@{digest}",
        environments=[one.name for one in free if one is not None],
        here=None in free,
        decided=[
            _decided(deciding[name], digest, variables)
            for one in targets
            if (name := None if one is None else one.name) in deciding
        ],
    )


def _decided(asked: Asked, digest: str, variables: Mapping[str, str]) -> Decided:
    """What is said where a file decides: what it takes for the tested version to be deployed."""
    where, place = told_environment(asked.environment), f"{asked.file}:{asked.line}"
    is_named = asked.prefix is not None and digest.removeprefix("sha256:").startswith(asked.prefix)
    if is_named:
        because = f"{place} names it for {where}: `flyball apply {asked.file}` deploys it"
    else:
        because = (
            f"{place} decides what {where} serves, so nothing is deployed there. For this version, write "
            f'version = "{digest}" there, as a change of its own; `flyball apply {asked.file}` deploys it'
        )
    if is_on_runner(variables) and not variables.get("FLYBALL_DATABASE"):
        because += ". FLYBALL_DATABASE is not set, so no later job knows this version"
    return Decided(
        model=asked.model,
        digest=digest,
        environment=asked.environment,
        place=place,
        is_named=is_named,
        because=because,
    )


def _tested(report: CiReport, file: ProjectFile) -> str:
    """The digest that a report is about, if its check passed and it is of this folder's commit."""
    model = file.project.model.name
    if report.model != model:
        raise BadInput(f"the report is about {report.model}, and {file.path} is about {model}")
    if report.outcome == "inconclusive":
        raise NotEnoughEvidence(
            f"the check of {model} is not decided, so nothing is deployed: {_why(report)}"
        )
    if report.outcome != "pass" or report.digest is None:
        raise Refused(
            f"the check of {model} ended with {report.outcome!r}, so nothing is deployed: {_why(report)}"
        )
    if not is_digest(report.digest):  # a number or an alias would mean another version tomorrow
        raise Refused(f"the report names {report.digest[:80]!r} in place of a digest, so nothing is deployed")
    commit = find_head(file.folder)
    if commit != report.commit:
        raise Refused(
            f"the report is of commit {report.commit}, and {file.folder} is at {commit}: what is deployed is what was "
            "tested; run `flyball ci --report` again"
        )
    return report.digest


def _why(report: CiReport) -> str:
    return "; ".join(report.because) or "the report does not say why"


def _check_lasting(
    file: ProjectFile, targets: list[Environment | None], variables: Mapping[str, str]
) -> None:
    """A runner goes with its job, and what is deployed into its folders goes with it."""
    if None in targets and not variables.get("FLYBALL_DATABASE") and not variables.get("FLYBALL_URL"):
        raise BadInput(
            f"nothing is deployed: {read_settings(file.folder, variables).home} goes with this job. Set "
            "FLYBALL_DATABASE, or name an environment in flyball.toml ([environments.production]) and where it is"
        )
    for one in targets:
        if one is not None and (name := name_lasting(one, variables)) is not None:
            raise BadInput(
                f"nothing is deployed: {one.place} goes with this job. Set {name} to where {one.name} keeps what "
                "is deployed (postgresql://…)",
                environment=one.name,
            )

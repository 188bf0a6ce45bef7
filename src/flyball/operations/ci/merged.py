"""After a merge: the version that the check has just tested is deployed, by its digest, and never trained again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from flyball.core.digests import is_digest
from flyball.core.errors import BadInput, NotEnoughEvidence, Refused
from flyball.core.settings import read_settings
from flyball.operations.ci.received import read_received
from flyball.operations.ci.report import CiReport
from flyball.operations.environments.places import Environment, list_environments, variable_of
from flyball.pipelines.git_run import find_head
from flyball.pipelines.project_file import ProjectFile, read_project


class Tested(msgspec.Struct, frozen=True):
    """A version that a check has tested, as model@digest, and the environments that a merge deploys it to."""

    ref: str
    environments: list[str]


def find_tested(folder: Path, report_path: Path, variables: Mapping[str, str]) -> Tested:
    """What a merge deploys: the version of a report, to the environments that come after no other.

    Raises Refused for a check that failed or was of another commit, NotEnoughEvidence for an undecided one, and
    BadInput where this is a job of CI and what it deployed to would go with it.
    """
    file = read_project(folder, environment=variables)
    ref = _tested(read_received(report_path), file)
    first = [one for one in list_environments(file, variables) if one.section.after is None]
    if variables.get("CI") or variables.get("TF_BUILD"):
        _check_lasting(file, first, variables)
    return Tested(ref, [one.name for one in first])


def _tested(report: CiReport, file: ProjectFile) -> str:
    """The version that a report is about, if it passed and is that of this folder's commit."""
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
    return f"{model}@{report.digest}"


def _why(report: CiReport) -> str:
    return "; ".join(report.because) or "the report does not say why"


def _check_lasting(file: ProjectFile, first: list[Environment], variables: Mapping[str, str]) -> None:
    """A runner goes with its job, and what is deployed into its folders goes with it."""
    if not first and not variables.get("FLYBALL_DATABASE") and not variables.get("FLYBALL_URL"):
        raise BadInput(
            f"nothing is deployed: {read_settings(file.folder, variables).home} goes with this job. Set "
            "FLYBALL_DATABASE, or name an environment in flyball.toml ([environments.production]) and where it is"
        )
    for one in first:
        names = [variable_of(one.name, key) for key in ("DATABASE", "HOME")]
        if one.url is None and not any(variables.get(name) for name in names):
            raise BadInput(
                f"nothing is deployed: {one.place} goes with this job. Set {names[0]} to where {one.name} keeps what "
                "is deployed (postgresql://…)",
                environment=one.name,
            )

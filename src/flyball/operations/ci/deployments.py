"""The deployments files of a repository, `deployments/*.toml`: which a change affects, and what they decide."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from flyball.operations.ci.changed_files import ChangedFiles, shown
from flyball.operations.ci.repository_models import RepositoryModel, join
from flyball.operations.planning.files import Asked, read_files
from flyball.pipelines.left_out import DEPLOYMENTS_FOLDER, is_deployments_file
from flyball.pipelines.named_projects import parse_document, read_limited, table_of
from flyball.pipelines.operation_rules import ENVIRONMENT_NAME
from flyball.pipelines.project_file import FILE_NAME


class AffectedEnvironment(msgspec.Struct, frozen=True, kw_only=True):
    """An environment whose deployments files a change affects, with all of them; None: this home.

    A file that can't be read, or names no environment that there can be, is counted to this home, where it is refused.
    """

    environment: str | None
    files: list[str]
    because: str


class _Read(msgspec.Struct, frozen=True):
    environment: str | None
    rests_on: frozenset[str]


def affected_environments(
    root: Path, files: ChangedFiles, models: Iterable[RepositoryModel]
) -> list[AffectedEnvironment]:
    """The environments of files that changed, or whose models' project files did; all without a base."""
    projects = {model.name: model.file for model in models}
    reasons: dict[str | None, list[str]] = {}
    named: dict[str | None, list[str]] = {}
    for path in list_deployments(root, files.files):
        read = _read(root, path, projects)
        named.setdefault(read.environment, []).append(path)
        if files.changed is None:
            reasons.setdefault(read.environment, ["there is no base to compare with"])
            continue
        changed = sorted(read.rests_on & set(files.changed))
        if changed:
            reasons.setdefault(read.environment, []).extend(changed)
    return [
        AffectedEnvironment(
            environment=environment, files=[shown(path) for path in named[environment]], because=_told(why)
        )
        for environment, why in sorted(reasons.items(), key=lambda pair: pair[0] or "")
    ]


def list_deployments(root: Path, files: Iterable[str]) -> list[str]:
    """Those of a repository's files that say what is deployed, and are there.

    Like the `deployments/*.toml` of a shell, that is none whose name begins with a dot.
    """
    named = [
        path for path in files if is_deployments_file(Path(path)) and not Path(path).name.startswith(".")
    ]
    return [path for path in named if (root / path).is_file()]


def find_deciding(root: Path, model: str) -> dict[str | None, Asked]:
    """By environment, what deployments files ask for a model; None is this home.

    Raises ProjectError where one of them can't be read: it may be the one that decides.
    """
    folder = root / DEPLOYMENTS_FOLDER
    places = sorted(path for path in folder.glob("[!.]*.toml") if path.is_file())
    found = [one for file in read_files(places) for one in file.asked]
    return {one.environment: one for one in found if one.model == model}


def _read(root: Path, path: str, projects: dict[str, str]) -> _Read:
    try:
        document = parse_document(read_limited(root / path))
        sections = table_of(document, "deployments")
    except (OSError, ValueError):
        return _Read(None, frozenset((path,)))
    environment = document.get("environment")
    is_known = isinstance(environment, str) and ENVIRONMENT_NAME.match(environment)
    return _Read(environment if is_known else None, frozenset((path, *_projects(sections, projects))))


def _projects(sections: dict[str, object], projects: dict[str, str]) -> Iterator[str]:
    for model, section in sections.items():
        folder = section.get("project") if isinstance(section, dict) else None
        if isinstance(folder, str):
            yield join(Path(folder).as_posix().removeprefix("./").removeprefix("."), FILE_NAME)
        elif model in projects:
            yield projects[model]


def _told(why: list[str]) -> str:
    if why == ["there is no base to compare with"]:
        return why[0]
    return f"{', '.join(shown(path) for path in dict.fromkeys(why))} changed"

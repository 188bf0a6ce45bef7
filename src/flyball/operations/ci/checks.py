"""The first stages of a check, each looked at again only where something changed: the project, and its own tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from flyball.core.digests import digest_json
from flyball.core.errors import ProjectError
from flyball.operations.ci.git import GitFacts
from flyball.operations.ci.keeping import made_once
from flyball.operations.ci.own_tests import own_tests
from flyball.operations.ci.report import Annotation, ModelTestResult
from flyball.operations.opening import Backends
from flyball.pipelines.check import check_project
from flyball.pipelines.environment import read_environment
from flyball.pipelines.project_file import ProjectFile
from flyball.pipelines.source_tree import collect_tree, tree_digest
from flyball.pipelines.stages.prepare import source_files

# Raise it when the check finds something else for the same project.
_VERSION = 2


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """What the check of a project found. `cached`: it was looked at before, and nothing has changed since."""

    problems: list[str] = []
    warnings: list[str] = []
    not_acted_on: list[dict[str, Any]] = []
    cached: bool = False


def check_once(backends: Backends, file: ProjectFile) -> Checked:
    """The check of a project; one without problems is not made again until something changes."""

    def make() -> dict[str, Any]:
        found = check_project(file, backends.settings)
        facts: dict[str, Any] = msgspec.to_builtins(
            {"problems": found.problems, "warnings": found.warnings, "not_acted_on": found.not_acted_on}
        )
        return facts

    found, cached = made_once(backends, _key(file), "check", make, keeps=lambda made: not made["problems"])
    return Checked(**found, cached=cached)


def _key(file: ProjectFile) -> str | None:
    """What the check rests on; None for data that can't be told from other data without reading them."""
    files = _data_files(file)
    if files is None:
        return None
    tree = tree_digest(collect_tree(file.folder, file.project.data.source))
    inputs = [_VERSION, tree, file.project, files, read_environment().digest]
    return digest_json({"step": "check", "inputs": msgspec.to_builtins(inputs)})


def _data_files(file: ProjectFile) -> list[list[list[str]]] | None:
    """Names and digests of the files of every source; None where one can't be looked at without reading it."""
    data, files = file.project.data, []
    for source in (data.source, *(join.source for join in data.join)):
        found = source_files(source, str(file.folder))
        if found is None:
            return None
        files.append(found)
    return files


def own_tests_once(
    backends: Backends, file: ProjectFile, git: GitFacts
) -> tuple[list[ModelTestResult], bool]:
    """The project's own tests, and whether they are known to have passed on exactly these files.

    A test may read any file of the repository, so only those of a commit without changes are told from others; the
    data count besides, because they often lie outside of Git.
    """
    files, key = _data_files(file), None
    if git.tree is not None and files is not None:
        inputs = [_VERSION, git.tree, git.prefix, files, read_environment().digest]
        key = digest_json({"step": "own-tests", "inputs": inputs})

    def make() -> dict[str, Any]:
        return {"tests": msgspec.to_builtins(own_tests(file.folder, settings=backends.settings))}

    def passed(made: dict[str, Any]) -> bool:
        return all(test["outcome"] == "pass" for test in made["tests"])

    made, cached = made_once(backends, key, "own-tests", make, keeps=passed)
    return msgspec.convert(made["tests"], list[ModelTestResult]), cached


def faults_of(error: ProjectError, root: Path) -> list[Annotation]:
    """Each fault of a project file at its line."""
    return [
        Annotation(
            path=below(Path(fault["file"]), root),
            line=int(fault.get("line") or 1),
            level="error",
            rule="project-file",
            message=str(fault.get("message") or fault["problem"]),
        )
        for fault in error.problems
    ]


def below(path: Path, root: Path) -> str:
    """A path as it is named below the repository's root; its bare name where it lies elsewhere."""
    try:
        return path.resolve().relative_to(root.resolve()).as_posix()
    except ValueError:
        return path.name

"""What workflows have to know of a repository: its models, their environments, its default branch, its locks."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from flyball.core.errors import BadInput
from flyball.operations.ci.changed_files import read_changed_files
from flyball.operations.ci.git import read_git
from flyball.operations.ci.repository_models import join, read_models
from flyball.pipelines.named_projects import parse_document, read_limited
from flyball.pipelines.operation_rules import ENVIRONMENT_NAME

LOCKS = ("uv.lock", "requirements.lock", "requirements.txt")


class Repository(msgspec.Struct, frozen=True, kw_only=True):
    """A repository with the projects in it.

    models, folders: of its projects, in order of their folders, "." for the root. environments: of all projects, in
    their order; first: those that a merge deploys to, which come after no other. lock_folder: of the lock that jobs
    without a model of their own install from, below the root. unlocked: folders of projects for which there is no
    lock. unhashed: locks without hashes.
    """

    root: Path
    branch: str
    models: list[str]
    folders: list[str]
    environments: list[str]
    first: list[str]
    lock_folder: str
    has_several_locks: bool
    unlocked: list[str]
    unhashed: list[str]


def read_repository(folder: Path, environment: Mapping[str, str]) -> Repository:
    """The repository that a folder lies in, files that are not committed yet included.

    Raises BadInput where there is none, or no project in it.
    """
    facts = read_git(folder, None, environment)
    if facts.root is None:
        raise BadInput(
            f"{folder} is in no Git repository; `git init` makes one, and workflows belong to its root"
        )
    root = facts.root.resolve()
    files = read_changed_files(root, None, with_uncommitted=True).files
    models = read_models(root, files, environment)
    if not models:
        raise BadInput(f"there is no flyball.toml in {root}; `flyball init` writes a project")
    locks = {model.folder: _find_lock(root, model.folder) for model in models}
    found = [lock for lock in locks.values() if lock is not None]
    environments: dict[str, bool] = {}
    for model in models:
        for name, after in _environments(root / model.file).items():
            environments[name] = environments.get(name, False) or after is None
    return Repository(
        root=root,
        branch=facts.base_name or facts.branch or "main",
        models=[model.name for model in models],
        folders=[model.folder or "." for model in models],
        environments=list(environments),
        first=[name for name, is_first in environments.items() if is_first],
        lock_folder=(os.path.dirname(found[0]) if found else models[0].folder) or ".",
        has_several_locks=len(set(found)) > 1,
        unlocked=[folder or "." for folder, lock in locks.items() if lock is None],
        unhashed=sorted({lock for lock in found if not _has_hashes(root / lock)}),
    )


def _find_lock(root: Path, folder: str) -> str | None:
    """The nearest lock, as the step that installs looks for it."""
    while True:
        for name in LOCKS:
            path = join(folder, name)
            if (root / path).exists():
                return path
        if not folder:
            return None
        folder = os.path.dirname(folder)


def _has_hashes(lock: Path) -> bool:
    return lock.name == "uv.lock" or "--hash=" in lock.read_text(encoding="utf-8", errors="replace")


def _environments(path: Path) -> dict[str, str | None]:
    """Name and predecessor of each environment; `flyball ci` tells about files and names that are none.

    A name becomes part of a workflow, so one that is more than a word is left out.
    """
    try:
        document = parse_document(read_limited(path))
    except (OSError, ValueError):
        return {}
    sections = document.get("environments")
    if not isinstance(sections, dict):
        return {}
    known = {name: found for name, found in sections.items() if ENVIRONMENT_NAME.match(name)}
    return {name: section.get("after") for name, section in known.items() if isinstance(section, dict)}

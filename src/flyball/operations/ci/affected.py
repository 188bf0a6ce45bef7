"""Which models of a repository a change affects, and why: from paths, project files and imports; nothing is run."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path

import msgspec

from flyball.operations.ci.changed_files import (
    ChangedFiles,
    files_below,
    read_changed_files,
    shown,
    walk_files,
)
from flyball.operations.ci.deployments import AffectedEnvironment, affected_environments
from flyball.operations.ci.git import GitFacts, is_whole_id, read_git
from flyball.operations.ci.imports import ImportGraph, folders_above
from flyball.operations.ci.repository_models import (
    RepositoryModel,
    folder_of,
    join,
    project_files,
    read_models,
    renamed_words,
)
from flyball.operations.runners import is_on_runner
from flyball.pipelines.git_run import ask_git
from flyball.pipelines.left_out import is_deployments_file
from flyball.pipelines.named_projects import name_in
from flyball.pipelines.project_file import FILE_NAME

_LOCKS = re.compile(
    r"(requirements|constraints)[^/]*\.(txt|lock|in)|[^/]*requirements\.(txt|lock|in)|(uv|poetry|pdm|conda)\.lock|"
    r"pyproject\.toml|pylock[^/]*\.toml|Pipfile(\.lock)?|setup\.(py|cfg)|(environment|conda-lock)\.ya?ml|"
    r"\.python-version"
)
_WORKFLOWS = re.compile(
    r"\.github/(workflows|actions)/.+|\.gitlab-ci\.ya?ml|\.gitlab/.+\.ya?ml|\.?azure-pipelines([^/]*\.ya?ml|/.+)|"
    r"Jenkinsfile[^/]*"
)
_MOST_NAMED = 3


class AffectedModel(msgspec.Struct, frozen=True, kw_only=True):
    """A model that a change affects. folder: below the root of the repository, "." for the root itself."""

    folder: str
    model: str
    because: str


class Affected(msgspec.Struct, frozen=True, kw_only=True):
    """The models that a change affects in order of their folders, and how many it does not.

    deployments: the environments whose deployments files it affects.
    """

    models: list[AffectedModel]
    unaffected: int
    deployments: list[AffectedEnvironment] = []
    notes: list[str]


def affected_models(folder: Path, base: str | None, environment: Mapping[str, str]) -> Affected:
    """The models of the repository that a folder lies in that have to be checked anew for its change.

    Without a commit to compare with, all of them. base: a branch, tag or commit in place of the base branch. Not on a
    runner, files and projects that are not committed yet count as well. Raises BadInput for a base that is not
    there and for two models of one name.
    """
    facts = read_git(folder, base, environment)
    notes = [note for note in facts.notes if not note.startswith("files differ")]
    if facts.root is None:
        root = folder.resolve()
        files = ChangedFiles(files=walk_files(root), changed=None)
    else:
        root = facts.root.resolve()
        with_uncommitted = not is_on_runner(environment)
        # A commit that was named and is no part of the history: what it had and the present one lacks counts, too.
        tip = facts.base_tip if base and is_whole_id(base) else None
        files = read_changed_files(root, facts.base, tip=tip, with_uncommitted=with_uncommitted)
    models = read_models(root, files.files, environment)
    if not models:
        notes.append(f"there is no {FILE_NAME} in {root}")
    found = _judged(facts, root, files, models, notes)
    return msgspec.structs.replace(found, deployments=affected_environments(root, files, models))


def _judged(
    facts: GitFacts, root: Path, files: ChangedFiles, models: list[RepositoryModel], notes: list[str]
) -> Affected:
    if files.changed is None:
        notes.append("nothing to compare with: every model counts as affected")
        return _all(models, "there is no base to compare with", notes)
    notes += _renamed(facts, root, models, files.changed)
    everywhere = [path for path in files.changed if _WORKFLOWS.fullmatch(path)]
    if files.empty_submodules:
        gone = _listed(files.empty_submodules)
        return _all(models, f"{gone} changed, a submodule whose files are not in this clone", notes)
    if everywhere:
        return _all(models, f"{_listed(everywhere)} changed, which runs the checks", notes)
    # What is deployed is no part of what a model is made of.
    rest = [path for path in files.changed if not is_deployments_file(Path(path))]
    judge = _Judge(root, msgspec.structs.replace(files, changed=rest), models)
    found = [(model, "; ".join(judge.reasons(model))) for model in models]
    hit = [_affected(model, because) for model, because in found if because]
    return Affected(models=hit, unaffected=len(models) - len(hit), notes=notes)


def _all(models: list[RepositoryModel], because: str, notes: list[str]) -> Affected:
    hit = [_affected(model, model.problem or because) for model in models]
    return Affected(models=hit, unaffected=0, notes=notes)


def _affected(model: RepositoryModel, because: str) -> AffectedModel:
    return AffectedModel(folder=shown(model.folder) or ".", model=shown(model.name), because=shown(because))


def _listed(paths: list[str]) -> str:
    more = len(paths) - _MOST_NAMED
    return ", ".join(paths[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


class _Judge:
    """What is asked of each model about one change."""

    def __init__(self, root: Path, files: ChangedFiles, models: list[RepositoryModel]) -> None:
        self._graph = ImportGraph(root, files.files, [model.folder for model in models])
        self._files, self._changed = files.files, files.changed or []
        self._owner = {path: self._graph.owner(path) for path in self._changed}
        self._owned: dict[str | None, list[str]] = {}
        for path, owner in self._owner.items():
            self._owned.setdefault(owner, []).append(path)
        self._locks = [path for path in self._changed if _LOCKS.fullmatch(path.rpartition("/")[2])]

    def reasons(self, model: RepositoryModel) -> Iterator[str]:
        """Why a model is affected, each reason as a few words; none for one that is not."""
        if model.problem is not None:
            yield model.problem
        own = self._owned.get(model.folder, [])
        if own:
            yield f"{_listed(own)} changed"
        if model.link in self._changed:
            yield f"{model.link} changed, which {model.file} links to"
        for key, source in model.sources:
            rows = [path for path in self._others(model) if _is_part(path, source)]
            if rows:
                yield f"{_listed(rows)} changed, which {key} of {model.file} names"
        reached = self._reached(model) if len(own) < len(self._changed) else {}
        above = {folder for path in (model.file, *reached) for folder in folders_above(path)}
        locks = [
            path for path in self._locks if folder_of(path) in above and self._owner[path] != model.folder
        ]
        if locks:
            yield f"{_listed(locks)} changed, where packages are named"
        yield from self._imported(model, reached)

    def _reached(self, model: RepositoryModel) -> dict[str, str | None]:
        tests = self._python_below(model.folder, "tests")
        starts = self._graph.entry_files(model.folder, model.entries)
        starts += self._graph.entry_files(model.folder, ["model_tests"])
        starts += [*self._python_below(model.folder, "model_tests"), *tests]
        if tests:  # pytest loads those of the folders above as well
            above = (join(folder, "conftest.py") for folder in folders_above(model.file))
            starts += [path for path in above if path in self._graph.files]
        return self._graph.reached(model.folder, starts)

    def _python_below(self, folder: str, name: str) -> list[str]:
        found = files_below(self._files, join(folder, name))
        return [path for path in found if path.endswith(".py") and self._graph.owner(path) == folder]

    def _others(self, model: RepositoryModel) -> list[str]:
        return [path for path in self._changed if self._owner[path] != model.folder]

    def _imported(self, model: RepositoryModel, reached: dict[str, str | None]) -> Iterator[str]:
        others = self._others(model)
        imported = [path for path in others if path in reached]
        if imported:
            importer, more = reached[imported[0]], len(imported) - 1
            yield (
                f"{imported[0]} changed, which {importer or 'pytest'} {'imports' if importer else 'loads'}"
                + (f", and {more} more files that are imported" if more else "")
            )
        packages = {(folder_of(path), self._graph.owner(path)) for path in reached} - {("", None)}
        beside = [
            path
            for path in others
            if not path.endswith(".py")
            and any((folder, self._owner[path]) in packages for folder in folders_above(path))
        ]
        if beside:
            yield f"{_listed(beside)} changed, beside modules that are imported"
        unparsed = next((path for path in reached if path in self._graph.unparsed), None)
        if unparsed is not None and any(path.endswith(".py") for path in others):
            yield (
                f"{unparsed} can't be parsed ({self._graph.unparsed[unparsed]}), so what it imports is not known"
            )


def _is_part(path: str, source: str) -> bool:
    """Whether a file is one of a source's: the file, in the folder, or of the pattern."""
    if source in (path, ".") or path.startswith(f"{source}/"):
        return True
    # `**/` stands for no folder, too; that `*` goes into folders here only counts a file too many.
    return any(sign in source for sign in "*?[") and fnmatchcase(path, source.replace("**/", "*"))


def _renamed(facts: GitFacts, root: Path, models: list[RepositoryModel], changed: list[str]) -> Iterator[str]:
    """What is to be known of models whose name, in the base, was another, and of those that are gone."""
    paths = [path for path in project_files(changed) if "\n" not in path]
    before = _names_in_base(facts, root, paths)
    now = {model.file: model for model in models}
    names = {model.name for model in models}
    for path, old in before.items():
        model = now.get(path)
        if model is None and old not in names:
            yield (
                f"{shown(path)} is gone: {old} is not checked any more; what is deployed of it stays in service"
            )
        elif model is not None and model.problem is None and model.name != old:
            yield renamed_words(shown(path), old, model.name)


def _names_in_base(facts: GitFacts, root: Path, paths: list[str]) -> dict[str, str]:
    """By path: the name of the model in the base's project file, where it can be read."""
    if facts.base is None or not paths:
        return {}
    asked = b"".join(os.fsencode(f"{facts.base}:{path}\n") for path in paths)
    printed = ask_git(root, "cat-file", "--batch", told=asked).printed or b""
    names, at = {}, 0
    for path in paths:
        end = printed.find(b"\n", at)
        head = printed[at:end].split(b" ")
        at = end + 1
        if head[-2:-1] != [b"blob"]:
            continue  # the base has no such file
        size = int(head[-1])
        with suppress(ValueError):
            names[path] = name_in(printed[at : at + size])
        at += size + 1
    return names

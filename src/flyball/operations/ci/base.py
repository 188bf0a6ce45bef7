"""The base of a change, run through the same pipeline: its own files and settings, the change's rows, no version."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from flyball.backends.scratch import ScratchFolder
from flyball.core.errors import FlyballError
from flyball.data.snapshots import take_snapshot
from flyball.data.sources import describe_source, read_source
from flyball.operations.ci.draft import Check
from flyball.operations.ci.git import GitFacts, extract
from flyball.operations.ci.repository_models import renamed_words
from flyball.pipelines.project_file import FILE_NAME, ProjectFile, read_project
from flyball.pipelines.request import DataChoice, RunRequest
from flyball.pipelines.run import RunResult, follow_run, start_run
from flyball.pipelines.runs import Run, get_run
from flyball.pipelines.source_tree import GitState, collect_tree, store_tree, tree_digest
from flyball.pipelines.stages.prepare import source_files
from flyball.pipelines.workshop import Workshop


class BaseRun(msgspec.Struct, frozen=True, kw_only=True):
    """The run of a base, or why there is none. `is_same`: its files are those of the change.

    snapshot: of the rows that the base's commit holds, where the change has others.
    """

    run: Run | None = None
    snapshot: str | None = None
    because: str | None = None
    is_same: bool = False
    notes: list[str] = []


def run_base(check: Check, change: Run) -> BaseRun:
    """The finished run of the base that a change is compared with; nothing of it is registered or deployed.

    Rows: those of the change where both name the same source, else those of the base's own files.
    """
    facts, file, shop = check.draft.git, check.file, check.shop
    with ScratchFolder("base") as scratch:
        notes = extract(facts, scratch)
        folder = scratch / facts.prefix
        base = _read_base(facts, folder)
        if isinstance(base, str):
            return BaseRun(because=base, notes=notes)
        old, new = base.project.model.name, file.project.model.name
        if old != new:
            notes.append(renamed_words(f"{facts.prefix}{FILE_NAME}", old, new))
        notes += taken_away(base, file)
        tree = collect_tree(folder, base.project.data.source)
        ours = collect_tree(file.folder, file.project.data.source)
        same_files = base.project == file.project and tree_digest(tree) == tree_digest(ours)
        if same_files and _differing_source(folder, base, file) is None:
            return BaseRun(is_same=True, notes=notes)
        if (problem := _incomparable(base, file)) is not None:
            return BaseRun(because=problem, notes=notes)
        ended = _follow(check, _request(check, base, store_tree(tree, shop.blobs), change))
        if ended.state != "compared":
            message = (ended.error or {}).get("message", ended.state)
            return BaseRun(because=f"{facts.base_name} could not be run: {message}", notes=notes)
        with shop.database.read() as conn:
            run = get_run(conn, ended.run_id)
        return BaseRun(run=run, snapshot=_own_rows(shop, folder, base, file), notes=notes)


def _read_base(facts: GitFacts, folder: Path) -> ProjectFile | str:
    """The project file of the base, or why there is none to run."""
    if not (folder / FILE_NAME).is_file():
        return f"{facts.base_name} has no {facts.prefix}{FILE_NAME}: the model is new"
    try:
        return read_project(folder, environment=os.environ)
    except FlyballError as error:
        return f"the project file of {facts.base_name} can't be used: {error.message}"


def _follow(check: Check, request: RunRequest) -> RunResult:
    run_id = start_run(check.engine, check.shop, request)
    told = check.draft.on_line
    return follow_run(check.shop, run_id, on_line=lambda line: told(f"base: {line}"), engine=check.engine)


def _request(check: Check, base: ProjectFile, tree: str, change: Run) -> RunRequest:
    facts = check.draft.git
    return RunRequest(
        model=base.project.model.name,
        project=base.project,
        actor=check.actor,
        why=f"the base of a change: {facts.base_name} at {(facts.base or '')[:12]}",
        folder=str(base.folder),
        tree=tree,
        data=_data(base, check.file, change),
        git=GitState(commit=facts.base, branch=facts.base_name, is_dirty=False),
        registers=False,
    )


def _own_rows(shop: Workshop, folder: Path, base: ProjectFile, file: ProjectFile) -> str | None:
    """A snapshot of the rows that are versioned with the base, if the change's are others."""
    source = _differing_source(folder, base, file)
    if source is None:
        return None
    frame = read_source(source, folder=folder, query=base.project.data.query)
    shown = describe_source(source)
    return take_snapshot(frame, source=shown, blobs=shop.blobs, now=shop.clock.now()).digest


def _differing_source(folder: Path, base: ProjectFile, file: ProjectFile) -> str | None:
    """The base's source where its files are versioned with the base and are others than the change has."""
    source = base.project.data.source
    theirs, ours = (source_files(source, str(place)) for place in (folder, file.folder))
    return source if theirs and theirs != ours else None


def _data(base: ProjectFile, file: ProjectFile, change: Run) -> DataChoice:
    ours, theirs = file.project.data, base.project.data
    if (ours.source, ours.query, ours.join) == (theirs.source, theirs.query, theirs.join):
        return DataChoice("snapshot", (change.result or {})["snapshot"])
    return DataChoice("source")


def taken_away(base: ProjectFile, file: ProjectFile) -> list[str]:
    """What the base asks of a model and the change, which is judged by its own file, does not ask any more."""
    asked = (
        ("gates", [gate.metric for gate in base.project.gates if gate not in file.project.gates]),
        ("model tests", [test.kind for test in base.project.tests if test not in file.project.tests]),
    )
    return [
        f"the change takes away or alters {what} of its base, and is judged without them: {', '.join(names)}"
        for what, names in asked
        if names
    ]


def _incomparable(base: ProjectFile, file: ProjectFile) -> str | None:
    ours, theirs = file.project.model, base.project.model
    for name in ("task", "target"):
        if getattr(ours, name) != getattr(theirs, name):
            return (
                f"the {name} was {getattr(theirs, name)} and is {getattr(ours, name)}: the two models answer other "
                "questions"
            )
    return None

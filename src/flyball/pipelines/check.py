"""`flyball check`: file, data, contract and entries of a project, looked at without training anything."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from flyball.backends.executors.confine import Confinement
from flyball.backends.executors.port import open_executor
from flyball.backends.scratch import ScratchFolder
from flyball.core.contract import Contract
from flyball.core.durations import parse_duration
from flyball.core.errors import FlyballError
from flyball.core.project import Project
from flyball.core.settings import Settings
from flyball.pipelines.calls import CHILD_MODULE
from flyball.pipelines.hidden import hidden_columns
from flyball.pipelines.model_test_rules import feature_problems
from flyball.pipelines.not_acted_on import NotActedOn, not_acted_on
from flyball.pipelines.project_file import ProjectFile
from flyball.pipelines.project_rules import BOTH_INPUTS, STEP_INPUTS, TRAIN_INPUTS
from flyball.pipelines.source_tree import check_out, collect_tree, list_left_out
from flyball.pipelines.strangers import is_for_strangers, refuse_foreign_sources
from flyball.pipelines.traffic import traffic_notes

if TYPE_CHECKING:
    import polars as pl

IMPORT_SECONDS = 120.0
MOST_LEFT_OUT = 8


class CheckReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a look at a project found. With a problem, a run would fail; warnings and notes are for people.

    `contract`: the rules that a run would package; `rows`: of each part of the split.
    """

    problems: list[str]
    warnings: list[str]
    notes: list[str]
    not_acted_on: list[NotActedOn]
    features: list[str]
    contract: Contract
    rows: dict[str, int]


def check_project(file: ProjectFile, settings: Settings | None = None) -> CheckReport:
    """Everything that can be told of a project without training it. Nothing is written.

    settings: of the home that the project's code is kept from while it is imported.
    """
    problems, warnings, notes = _check_entries(file, settings), list[str](), list[str]()
    features: list[str] = []
    contract, rows = Contract(), dict[str, int]()
    try:
        if settings is not None and is_for_strangers(settings):
            refuse_foreign_sources(file.project.data, file.folder, settings)
        looked = _look_at_data(file)
        features, contract, rows = looked["features"], looked["contract"], looked["rows"]
        warnings += looked["warnings"]
        if not any(step.at == "train" for step in file.project.steps):
            named = feature_problems(file.project.tests, features, str(file.path), file.lines)
            problems += [str(problem["message"]) for problem in named]
        if looked["rows_per_day"]:
            more_notes, more_warnings = traffic_notes(file.project, looked["rows_per_day"])
            notes += more_notes
            warnings += more_warnings
    except FlyballError as error:
        problems.append(error.message)
    if not parse_duration(file.project.data.outcome_delay):
        notes.append(
            'outcomes are taken to be known at once (data.outcome_delay is "0s"); where the truth comes later, set how '
            "much later, so that windows, rollouts and retrainings wait for it"
        )
    notes += _left_out(file)
    return CheckReport(
        problems=problems,
        warnings=warnings,
        notes=notes,
        not_acted_on=not_acted_on(file),
        features=features,
        contract=contract,
        rows=rows,
    )


def _left_out(file: ProjectFile) -> list[str]:
    """What training won't find, though it lies in the project's folder."""
    left_out = list_left_out(file.folder, file.project.data.source)
    if not left_out:
        return []
    named = ", ".join(f"{path} ({why})" for path, why in left_out[:MOST_LEFT_OUT])
    more = f" and {len(left_out) - MOST_LEFT_OUT} more" if len(left_out) > MOST_LEFT_OUT else ""
    return [
        f"not kept with versions, and not there for training: {named}{more}; rows come from [data], and a small file "
        "that git tracks is kept wherever it lies"
    ]


def _check_entries(file: ProjectFile, settings: Settings | None) -> list[str]:
    """Import the entries in a child, from the files that a run would keep: what is ignored by git is not there."""
    entries = _entries(file.project)
    with ScratchFolder("check") as folder:
        source = folder / "source"
        check_out(collect_tree(file.folder, file.project.data.source), source)
        result = open_executor("local" if settings is None else settings.executor_url).run(
            CHILD_MODULE,
            {"kind": "check", "source": str(source), "entries": entries},
            folder=folder,
            timeout_seconds=IMPORT_SECONDS,
            confinement=_confinement(settings, folder),
        )
    if result.timed_out:
        return [f"importing the entries took longer than {IMPORT_SECONDS:.0f} s"]
    if result.result is None:
        return [f"importing the entries ended the process with exit code {result.exit_code}"]
    if "error" in result.result:
        return [str(result.result["error"]["message"])]
    problems: list[str] = result.result["value"]["problems"]
    return problems


def _confinement(settings: Settings | None, folder: Path) -> Confinement | None:
    if settings is None:
        return None
    closed = is_for_strangers(settings)
    return Confinement(hidden=settings.state_paths, write=[str(folder)], closed=closed)


def _entries(project: Project) -> list[dict[str, Any]]:
    """Each function the project names, and the parameters it may have."""
    entries: list[dict[str, Any]] = []
    earlier: list[str] = []
    for step in project.steps:
        known = BOTH_INPUTS if step.at == "both" else (*STEP_INPUTS, *earlier)
        entries.append({"entry": step.entry, "key": f"step {step.name} ({step.entry})", "known": known})
        earlier.append(step.name)
    if project.train.entry != "auto":
        key = f"train.entry ({project.train.entry})"
        entries.append({"entry": project.train.entry, "key": key, "known": TRAIN_INPUTS})
    return entries


def _look_at_data(file: ProjectFile) -> dict[str, Any]:
    """What `prepare` would find, nothing kept. Raises what it would raise."""
    from flyball.pipelines.children.prepare import PrepareTask, look_at

    project = file.project
    task = PrepareTask(
        choice={"kind": "source", "digest": None},
        folder=str(file.folder),
        model=project.model,
        data=project.data,
        contract=project.contract,
        split=project.data.split,
        has_train_steps=any(step.at == "train" for step in project.steps),
        seed=project.train.seed,
        blobs="",
        now="",
        to={},
        hidden=sorted(hidden_columns(project.log)),
    )
    looked = look_at(task)
    return {
        "features": looked.features,
        "contract": looked.contract,
        "rows": {name: part.height for name, part in looked.parts.items()},
        "warnings": [str(finding["sentence"]) for finding in looked.findings],
        "rows_per_day": _rows_per_day(looked.parts["train"], project),
    }


def _rows_per_day(train: pl.DataFrame, project: Project) -> float | None:
    """How many rows a day there were, as a guess at the traffic to come; None without a time column."""
    from flyball.data.columns import event_times

    if project.model.time is None or train.height < 2:
        return None
    seconds = event_times(train, project.model.time).dt.epoch("us").to_numpy() / 1e6
    days = float(seconds.max() - seconds.min()) / 86_400
    return train.height / days if days > 0 else None

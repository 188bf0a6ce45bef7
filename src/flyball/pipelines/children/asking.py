"""Asking a package on disk: in this process or, where it brings code of its own, in one that holds nothing else.

Two versions of a project have modules of the same names, and one process can import only one of them.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from flyball.backends.executors.confine import Confinement, is_closed
from flyball.backends.executors.local import run_child
from flyball.backends.scratch import ScratchFolder
from flyball.backends.workflows.outcome import WorkflowError, rebuilt
from flyball.core.errors import StepCrashed
from flyball.core.project import Task
from flyball.pipelines.children.package_measures import PackageMeasures, measure_package
from flyball.registry.bundle import read_folder_manifest
from flyball.registry.formats.answers import Answers
from flyball.registry.formats.loading import load_predictor
from flyball.registry.formats.saving import Saved, open_saved

if TYPE_CHECKING:
    import polars as pl

TIMEOUT_SECONDS = 1800.0


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """Answers on a frame's rows, and what a package costs where that was measured too."""

    answers: Answers
    measures: PackageMeasures | None


def ask_package(folder: Path, frame: pl.DataFrame, *, measure: bool) -> Asked:
    """A sealed package's answers on the frame's rows.

    Raises BadAnswer, CorruptBundle, and StepCrashed if the package's own code ends its process.
    """
    if not read_folder_manifest(folder).needs_process:
        return _ask_package(folder, frame, measure)
    return _ask_elsewhere(folder, frame, {"measure": measure})


def ask_saved(folder: Path, saved: Saved, frame: pl.DataFrame, task: Task) -> Answers:
    """The answers of what `train` saved, before it is a package."""
    if not saved.steps and saved.predictor.kind != "custom":
        return open_saved(folder, saved, task=task).predict_frame(frame)
    return _ask_elsewhere(folder, frame, {"saved": msgspec.to_builtins(saved), "task": task}).answers


def ask(payload: dict[str, Any]) -> dict[str, Any]:
    """Child `ask`: the answers of a model that brings code of its own."""
    import polars as pl

    folder, frame = Path(payload["folder"]), pl.read_parquet(payload["rows"])
    if "saved" in payload:
        saved = msgspec.convert(payload["saved"], Saved)
        answers = open_saved(folder, saved, task=payload["task"]).predict_frame(frame)
        asked = Asked(answers=answers, measures=None)
    else:
        asked = _ask_package(folder, frame, payload["measure"])
    plain: dict[str, Any] = msgspec.to_builtins(asked)
    return plain


def _ask_package(folder: Path, frame: pl.DataFrame, measure: bool) -> Asked:
    if measure:
        measures, predictor = measure_package(folder, frame)
        return Asked(answers=predictor.predict_frame(frame), measures=measures)
    predictor = load_predictor(folder, in_model_process=True)
    return Asked(answers=predictor.predict_frame(frame), measures=None)


def _ask_elsewhere(folder: Path, frame: pl.DataFrame, how: dict[str, Any]) -> Asked:
    with ScratchFolder("ask") as exchange:
        rows = exchange / "rows.parquet"
        frame.write_parquet(rows)
        result = run_child(
            "flyball.pipelines.child",
            {"kind": "ask", "folder": str(folder), "rows": str(rows), **how},
            folder=exchange,
            timeout_seconds=TIMEOUT_SECONDS,
            environment={name: value for name, value in os.environ.items() if name.endswith("_THREADS")},
            # Where strangers' code is kept apart, it sees neither the truth of the rows nor who measures its answers.
            confinement=Confinement(hidden=[], read=[str(folder)], write=[str(exchange)], closed=is_closed()),
        )
    if result.result is None:
        raise StepCrashed(
            f"the model's own code ended its process with exit code {result.exit_code} when it was asked for "
            f"{frame.height} answers",
            exit_code=result.exit_code,
        )
    if "error" in result.result:
        raise rebuilt(msgspec.convert(result.result["error"], WorkflowError))
    return msgspec.convert(result.result["value"], Asked)

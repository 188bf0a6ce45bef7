"""Asking a package on disk: in this process or, where it brings code of its own, in one that holds nothing else.

Two versions of a project have modules of the same names, and one process can import only one of them.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from flyball.backends.executors.local import run_child
from flyball.backends.workflows.outcome import WorkflowError, rebuilt
from flyball.core.errors import StepCrashed
from flyball.pipelines.children.package_measures import PackageMeasures, measure_package
from flyball.registry.bundle import read_folder_manifest
from flyball.registry.formats.answers import Answers

if TYPE_CHECKING:
    import polars as pl

TIMEOUT_SECONDS = 1800.0


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A package's answers on a frame's rows, and what it costs where that was measured too."""

    answers: Answers
    measures: PackageMeasures | None


def ask_package(folder: Path, frame: pl.DataFrame, *, measure: bool) -> Asked:
    """Answers on the frame's rows. Raises BadAnswer, CorruptBundle, and StepCrashed if the package's code crashes."""
    if not read_folder_manifest(folder).needs_process:
        return _ask_here(folder, frame, measure)
    with tempfile.TemporaryDirectory(prefix="flyball-ask-") as exchange:
        rows = Path(exchange) / "rows.parquet"
        frame.write_parquet(rows)
        result = run_child(
            "flyball.pipelines.child",
            {"kind": "ask", "folder": str(folder), "rows": str(rows), "measure": measure},
            folder=Path(exchange),
            timeout_seconds=TIMEOUT_SECONDS,
            environment={name: value for name, value in os.environ.items() if name.endswith("_THREADS")},
        )
    if result.result is None:
        raise StepCrashed(
            f"the package's own code ended its process with exit code {result.exit_code} when it was asked for "
            f"{frame.height} answers",
            exit_code=result.exit_code,
        )
    if "error" in result.result:
        raise rebuilt(msgspec.convert(result.result["error"], WorkflowError))
    return msgspec.convert(result.result["value"], Asked)


def ask(payload: dict[str, Any]) -> dict[str, Any]:
    """Child `ask`: the answers of a package that brings code of its own."""
    import polars as pl

    asked = _ask_here(Path(payload["folder"]), pl.read_parquet(payload["rows"]), payload["measure"])
    plain: dict[str, Any] = msgspec.to_builtins(asked)
    return plain


def _ask_here(folder: Path, frame: pl.DataFrame, measure: bool) -> Asked:
    from flyball.registry.formats.loading import load_predictor

    measures = None
    if measure:
        measures, predictor = measure_package(folder, frame)
    else:
        predictor = load_predictor(folder, in_model_process=True)
    return Asked(answers=predictor.predict_frame(frame), measures=measures)

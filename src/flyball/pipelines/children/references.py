"""The monitoring reference of a version: what its inputs, answers and losses looked like when it was trained."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from flyball.core.clock import isoformat
from flyball.core.contract import Contract
from flyball.core.durations import parse_duration
from flyball.core.project import Project
from flyball.data.profiles import columns_of

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

    from flyball.judge.drift.profile import Kind

REFERENCE_FORMAT = 1
PREDICTION = "prediction"
_TENTHS = 10


class Witnessed(msgspec.Struct, frozen=True, kw_only=True):
    """Rows with answers and losses by models that had not seen them; `losses` None where nothing gives one."""

    frame: Any
    watched: list[Any]
    losses: Any


def make_reference(
    inputs: pl.DataFrame,
    witnessed: Witnessed,
    project: Project,
    contract: Contract,
    progressive: float | None,
) -> dict[str, Any]:
    """The reference as JSON values (format 1).

    inputs: the training rows with the features of a request. witnessed: training rows with out-of-fold answers where
    there is a time column, else the held-out rows.
    """
    import numpy as np

    from flyball.judge.drift.performance import performance_reference
    from flyball.judge.drift.profile import fit_reference
    from flyball.judge.metrics.table import default_loss

    kinds = input_kinds(contract)
    reference = fit_reference(columns_of(inputs, kinds), kinds)
    answer_kinds: dict[str, Kind] = {PREDICTION: prediction_kind(project)}
    predictions = fit_reference(
        {PREDICTION: _column(witnessed.watched, answer_kinds[PREDICTION])}, answer_kinds
    )
    seconds = _seconds(witnessed.frame, project)
    window = parse_duration(project.monitor.window).total_seconds()
    if seconds is not None:
        blocks = np.floor(seconds / window) * window
    else:
        blocks = np.floor(np.arange(len(witnessed.watched)) * _TENTHS / max(len(witnessed.watched), 1))
    performance = None
    if witnessed.losses is not None and len(witnessed.losses):
        performance = performance_reference(
            witnessed.losses, blocks, progressive=progressive, seed=project.train.seed
        )
    times = _seconds(inputs, project)
    return {
        "format": REFERENCE_FORMAT,
        "task": project.model.task,
        "loss": default_loss(project.model.task),
        "rows": inputs.height,
        "from": None if times is None else _iso(float(times.min())),
        "until": None if times is None else _iso(float(times.max())),
        "inputs": msgspec.to_builtins(reference, str_keys=True),
        "predictions": msgspec.to_builtins(predictions, str_keys=True),
        "performance": None if performance is None else msgspec.to_builtins(performance),
        "expected": _expected(witnessed, project),
        "windows": []
        if seconds is None
        else _windows(witnessed, reference, predictions, blocks, window, kinds),
    }


def input_kinds(contract: Contract) -> dict[str, Kind]:
    """How each feature of a request is watched: numbers as numbers, text and true or false as categories."""
    kinds: dict[str, Kind] = {}
    for name, rule in contract.features.items():
        if rule.type != "datetime":
            kinds[name] = "numeric" if rule.type in ("int", "float") else "category"
    return kinds


def prediction_kind(project: Project) -> Kind:
    """How the answers are watched: numbers and probabilities as numbers, one of many classes as a category."""
    return "category" if project.model.task == "multiclass" else "numeric"


def _windows(
    witnessed: Witnessed,
    reference: Any,
    predictions: Any,
    blocks: NDArray[np.float64],
    window: float,
    kinds: dict[str, Kind],
) -> list[dict[str, Any]]:
    """Each monitor window of the training rows, summarised as live windows will be: the history of a young version."""
    import numpy as np

    from flyball.judge.drift.profile import summarise

    columns = columns_of(witnessed.frame, kinds)
    found = []
    for block in np.unique(blocks):
        rows = np.flatnonzero(blocks == block)
        part = {name: _pick(column, rows) for name, column in columns.items()}
        answers = _column([witnessed.watched[row] for row in rows], _kind_of(predictions))
        found.append(
            {
                "start": _iso(float(block)),
                "end": _iso(float(block) + window),
                "rows": len(rows),
                "loss": None if witnessed.losses is None else float(witnessed.losses[rows].mean()),
                "inputs": msgspec.to_builtins(summarise(reference, part), str_keys=True),
                "predictions": msgspec.to_builtins(
                    summarise(predictions, {PREDICTION: answers}), str_keys=True
                ),
            }
        )
    return found


def _expected(witnessed: Witnessed, project: Project) -> dict[str, Any] | None:
    """The held-out error by size of the answer, which tells changed inputs from a changed relation; numbers only."""
    import numpy as np

    from flyball.judge.causes.residuals import fit_expected_loss

    if project.model.task != "regression" or not witnessed.watched:
        return None
    outcomes = witnessed.frame.get_column(project.model.target).to_numpy().astype(np.float64)
    found: dict[str, Any] = msgspec.to_builtins(fit_expected_loss(outcomes, np.asarray(witnessed.watched)))
    return found


def _kind_of(predictions: Any) -> Kind:
    from flyball.judge.drift.profile import NumericBins

    return "numeric" if isinstance(predictions.features[PREDICTION], NumericBins) else "category"


def _column(values: list[Any], kind: Kind) -> Any:
    import numpy as np

    return np.asarray(values, dtype=np.float64) if kind == "numeric" else values


def _pick(column: Any, rows: NDArray[np.int64]) -> Any:
    return [column[row] for row in rows] if isinstance(column, list) else column[rows]


def _seconds(frame: pl.DataFrame, project: Project) -> NDArray[np.float64] | None:
    from flyball.data.columns import event_times

    if project.model.time is None or project.model.time not in frame.columns or frame.height == 0:
        return None
    seconds: NDArray[np.float64] = event_times(frame, project.model.time).dt.epoch("us").to_numpy() / 1e6
    return seconds


def _iso(seconds: float) -> str:
    return isoformat(datetime.fromtimestamp(seconds, UTC))

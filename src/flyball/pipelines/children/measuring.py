"""Metrics of a model on held-out rows: with intervals over all, and by slice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flyball.core.durations import parse_duration
from flyball.core.project import Project
from flyball.core.records import label_text
from flyball.pipelines.children.answering import Held
from flyball.pipelines.hidden import hidden_columns

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

    from flyball.judge.metrics.measure import Measured

LEAST_SLICE_ROWS = 30
MOST_SLICE_COLUMNS = 12
MOST_LEVELS = 12
LEAST_BLOCKS = 10


def group_rows(frame: pl.DataFrame, project: Project) -> NDArray[Any] | None:
    """What belongs together among held-out rows: those of an entity that repeats, else a block of time, else nothing.

    A block is a monitor window, or a tenth of the rows' time where that is shorter: a bootstrap needs several.
    """
    import numpy as np

    from flyball.data.columns import event_times

    entity, time = project.model.entity, project.model.time
    if entity is not None and entity in frame.columns and frame.get_column(entity).n_unique() < frame.height:
        return frame.get_column(entity).rank("dense").fill_null(0).to_numpy()
    if time is None or time not in frame.columns or frame.height == 0:
        return None
    seconds = event_times(frame, time).dt.epoch("us").to_numpy() / 1e6
    span = float(seconds.max() - seconds.min())
    block = min(parse_duration(project.monitor.window).total_seconds(), span / LEAST_BLOCKS)
    return None if block <= 0 else np.floor(seconds / block)


def measure_all(held: Held, project: Project, groups: NDArray[Any] | None) -> dict[str, Measured]:
    """Every metric of the task on all rows, with 95 % intervals."""
    from flyball.judge.metrics.measure import measure

    return measure(
        project.model.task,
        held.truth,
        held.prediction,
        scores=held.scores,
        positive=held.positive,
        classes=held.classes,
        groups=groups,
        seed=project.train.seed,
    )


def slice_columns(frame: pl.DataFrame, project: Project, features: list[str]) -> list[str]:
    """Protected columns, those that gates look at, then features with few levels.

    Of columns that [log] drops or hashes only the first two: their values are told where that is asked for.
    """
    import polars as pl

    asked = [gate.by for gate in project.gates if gate.by is not None]
    columns = [name for name in dict.fromkeys([*project.data.protected, *asked]) if name in frame.columns]
    hidden = hidden_columns(project.log)
    for name in features:
        if len(columns) >= MOST_SLICE_COLUMNS:
            break
        if name not in columns and name not in hidden and name in frame.columns:
            column = frame.get_column(name)
            countable = column.dtype in (pl.String, pl.Boolean) or column.dtype.is_integer()
            if countable and 1 < column.n_unique() <= MOST_LEVELS:
                columns.append(name)
    return columns


def slice_rows(frame: pl.DataFrame, column: str) -> dict[str, NDArray[np.int64]]:
    """Row numbers per level of a column, most frequent levels first; missing values are a level of their own."""
    import numpy as np

    texts = np.array([label_text(value) for value in frame.get_column(column).to_list()], dtype=object)
    levels, counts = np.unique(texts.astype(str), return_counts=True)
    order = np.argsort(-counts, kind="stable")[:MOST_LEVELS]
    return {str(levels[place]): np.flatnonzero(texts.astype(str) == levels[place]) for place in order}


def take(held: Held, rows: NDArray[np.int64]) -> Held:
    """The answers on some of the rows."""
    return Held(
        [held.truth[row] for row in rows],
        [held.prediction[row] for row in rows],
        None if held.scores is None else held.scores[rows],
        held.classes,
        held.positive,
    )


def measure_slices(
    frame: pl.DataFrame, held: Held, project: Project, columns: list[str]
) -> dict[str, dict[str, dict[str, Any]]]:
    """Metrics per level of each column: values, and the interval of the task's loss; small levels are only counted."""
    from flyball.judge.metrics.table import compute_metrics

    found: dict[str, dict[str, dict[str, Any]]] = {}
    groups = group_rows(frame, project)
    for column in columns:
        found[column] = {}
        for level, rows in slice_rows(frame, column).items():
            entry: dict[str, Any] = {"row_count": len(rows)}
            if len(rows) >= LEAST_SLICE_ROWS:
                part = take(held, rows)
                entry["metrics"] = compute_metrics(
                    project.model.task,
                    part.truth,
                    part.prediction,
                    scores=part.scores,
                    positive=part.positive,
                    classes=part.classes,
                )
                entry["loss"] = _loss(part, project, None if groups is None else groups[rows])
            found[column][level] = entry
    return found


def losses_of(held: Held, project: Project) -> NDArray[np.float64] | None:
    """The task's loss per row; None for a classifier that gives no probabilities."""
    from flyball.judge.metrics.table import default_loss, row_losses

    task = project.model.task
    if task != "regression" and held.scores is None:
        return None
    return row_losses(
        task,
        default_loss(task),
        held.truth,
        held.prediction,
        scores=held.scores,
        positive=held.positive,
        classes=held.classes,
    )


def _loss(held: Held, project: Project, groups: NDArray[Any] | None) -> dict[str, Any] | None:
    from flyball.judge.metrics.means import mean_of

    losses = losses_of(held, project)
    if losses is None:
        return None
    found = mean_of(losses, groups).interval(0.95)
    # A loss is never below 0, whatever the interval of a mean says.
    interval = None if found is None else {"low": max(found.low, 0.0), "high": found.high}
    return {"value": float(losses.mean()), "interval": interval}

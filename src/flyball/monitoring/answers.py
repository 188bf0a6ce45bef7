"""Logged answers and outcomes as arrays: how wrong each answer was, and which metrics follow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from flyball.core.project import Task
from flyball.core.records import label_text

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray


class AnswerShape(msgspec.Struct, frozen=True, kw_only=True):
    """What a version's answers mean: its task, the loss it is watched by, and its classes in the order of scores.

    Classes are written as in the log (`label_text`); `positive` is one of them, binary only.
    """

    task: Task
    loss: str
    classes: tuple[str, ...] = ()
    positive: str | None = None


def shape_of(task: Task, loss: str, classes: list[Any] | None, positive: Any) -> AnswerShape:
    """The shape of a version's answers, from its signature. Without `positive`, the last class is the positive one."""
    written = tuple(label_text(value) for value in classes or ())
    chosen = None
    if task == "binary" and written:
        chosen = written[-1] if positive is None else label_text(positive)
    return AnswerShape(task=task, loss=loss, classes=written, positive=chosen)


def row_harms(
    frame: pl.DataFrame, shape: AnswerShape, metric: str | None = None
) -> NDArray[np.float64] | None:
    """How bad each labelled answer is by a metric (the shape's loss by default): larger is worse, one per row.

    frame: rows of `data.predictions.read_labelled` with an outcome and an answer. None where the metric has no
    value per row, or needs probabilities that the answers lack.
    """
    from flyball.core.errors import BadInput
    from flyball.judge.metrics.table import get_metric, row_losses

    name = metric or shape.loss
    try:
        larger_is_better = get_metric(name, shape.task).larger_is_better
        losses = row_losses(
            shape.task,
            name,
            outcomes_of(frame, shape),
            predictions_of(frame, shape),
            scores=scores_of(frame, shape),
            positive=shape.positive,
            classes=list(shape.classes),
        )
    except BadInput:
        return None
    if losses is None:
        return None
    return -losses if larger_is_better else losses


def measure_rows(frame: pl.DataFrame, shape: AnswerShape) -> dict[str, float]:
    """Every metric of the task that these labelled rows define."""
    from flyball.judge.metrics.table import compute_metrics

    return compute_metrics(
        shape.task,
        outcomes_of(frame, shape),
        predictions_of(frame, shape),
        scores=scores_of(frame, shape),
        positive=shape.positive,
        classes=list(shape.classes),
    )


def outcomes_of(frame: pl.DataFrame, shape: AnswerShape) -> Any:
    """The outcomes as numbers (regression) or as texts of classes."""
    return _values(frame, "outcome", shape)


def predictions_of(frame: pl.DataFrame, shape: AnswerShape) -> Any:
    """The answers as numbers (regression) or as texts of classes."""
    return _values(frame, "prediction", shape)


def scores_of(frame: pl.DataFrame, shape: AnswerShape) -> NDArray[np.float64] | None:
    """Probabilities: of the positive class, shape (rows,), or of all classes, (rows, classes); None without them."""
    import numpy as np

    if shape.task == "regression" or "scores" not in frame.columns or frame.height == 0:
        return None
    rows = frame["scores"].to_list()
    if any(row is None or len(row) != len(shape.classes) for row in rows):
        return None
    table = np.asarray(rows, dtype=np.float64)
    if shape.task == "multiclass":
        return table
    return table[:, shape.classes.index(shape.positive or shape.classes[-1])]


def watched_answers(frame: pl.DataFrame, shape: AnswerShape) -> list[Any] | NDArray[np.float64]:
    """What is watched of the answers before outcomes: the number, the positive class's probability, or the class.

    A binary model without probabilities is watched by 1.0 for the positive class and 0.0 for the other.
    """
    import numpy as np

    if shape.task == "regression":
        return frame["prediction"].cast(float).to_numpy()
    if shape.task == "binary":
        scores = scores_of(frame, shape)
        if scores is not None:
            return scores
        return np.array(
            [label_text(value) == shape.positive for value in frame["prediction"].to_list()], dtype=float
        )
    return [None if value is None else str(value) for value in frame["prediction"].to_list()]


def _values(frame: pl.DataFrame, column: str, shape: AnswerShape) -> Any:
    if shape.task == "regression":
        return frame[column].cast(float).to_numpy()
    return [label_text(value) for value in frame[column].to_list()]

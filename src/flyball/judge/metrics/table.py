"""The metrics of each task: their direction, their range, and one call that computes all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from flyball.core.errors import BadInput
from flyball.judge.metrics import classification, multiclass, regression

Task = Literal["binary", "multiclass", "regression"]
Labels = NDArray[Any] | Sequence[Any]
Values = NDArray[np.float64]


class Metric(msgspec.Struct, frozen=True, kw_only=True):
    """What a metric is. low and high: its range, None where it has no end. is_row_mean: a mean over rows."""

    name: str
    title: str
    tasks: tuple[Task, ...]
    larger_is_better: bool
    low: float | None = None
    high: float | None = None
    is_row_mean: bool = False


def _metric(name: str, title: str, tasks: str, better: str, **more: Any) -> Metric:
    kinds: dict[str, Task] = {"b": "binary", "m": "multiclass", "r": "regression"}
    return Metric(
        name=name,
        title=title,
        tasks=tuple(kinds[letter] for letter in tasks),
        larger_is_better=better == "more",
        **more,
    )


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        _metric("mae", "Mean absolute error", "r", "less", low=0.0, is_row_mean=True),
        _metric("rmse", "Root mean squared error", "r", "less", low=0.0),
        _metric("median_absolute_error", "Median absolute error", "r", "less", low=0.0),
        _metric("mape", "Mean absolute percentage error, as a share", "r", "less", low=0.0),
        _metric("r2", "Coefficient of determination", "r", "more", high=1.0),
        _metric("absolute_bias", "Absolute mean of outcome minus answer", "r", "less", low=0.0),
        _metric("roc_auc", "Area under the ROC curve", "bm", "more", low=0.0, high=1.0),
        _metric("average_precision", "Average precision", "b", "more", low=0.0, high=1.0),
        _metric("log_loss", "Logarithmic loss", "bm", "less", low=0.0, is_row_mean=True),
        _metric("brier", "Brier score", "b", "less", low=0.0, high=1.0, is_row_mean=True),
        _metric("accuracy", "Accuracy", "bm", "more", low=0.0, high=1.0, is_row_mean=True),
        _metric("balanced_accuracy", "Balanced accuracy", "bm", "more", low=0.0, high=1.0),
        _metric("f1", "F1 score", "b", "more", low=0.0, high=1.0),
        _metric("precision", "Precision", "b", "more", low=0.0, high=1.0),
        _metric("true_positive_rate", "True positive rate (recall)", "b", "more", low=0.0, high=1.0),
        _metric("false_positive_rate", "False positive rate", "b", "less", low=0.0, high=1.0),
        _metric("f1_macro", "F1 score, mean over classes", "m", "more", low=0.0, high=1.0),
    )
}

_PLAIN = {bool, int, float, str}
_DEFAULT_LOSS = {"regression": "mae", "binary": "log_loss", "multiclass": "log_loss"}


def default_loss(task: str) -> str:
    """The loss a task is watched and compared by: mae or log_loss."""
    return _DEFAULT_LOSS[task]


def get_metric(name: str, task: str) -> Metric:
    """A metric of a task. Raises BadInput that names the metrics the task has."""
    metric = METRICS.get(name)
    if metric is None or task not in metric.tasks:
        known = ", ".join(sorted(m.name for m in METRICS.values() if task in m.tasks))
        raise BadInput(f"{name!r} is no metric of a {task} model; it has {known}", metric=name, task=task)
    return metric


def compute_metrics(
    task: str,
    y: Labels,
    prediction: Labels,
    *,
    scores: Values | None = None,
    positive: Any = None,
    classes: Sequence[Any] | None = None,
) -> dict[str, float]:
    """Every metric of the task that is defined on these rows; the others are left out, NaN is never returned.

    y, prediction: numbers (regression) or labels, one per row. scores: binary, the probability of `positive`,
    shape (rows,); multiclass, probabilities of `classes` in their order, shape (rows, classes).
    """
    if len(y) != len(prediction):
        raise BadInput(f"{len(y)} outcomes and {len(prediction)} answers do not belong together")
    if len(y) == 0:
        return {}
    if task == "regression":
        found = regression.regression_metrics(_numbers(y), _numbers(prediction))
    elif task == "binary":
        truth, said = is_positive(y, positive), is_positive(prediction, positive)
        found = classification.binary_metrics(truth, said, scores)
    else:
        found = multiclass.multiclass_metrics(list(y), list(prediction), scores, list(classes or []))
    return {name: float(value) for name, value in found.items() if value is not None and np.isfinite(value)}


def row_losses(
    task: str,
    metric: str,
    y: Labels,
    prediction: Labels,
    *,
    scores: Values | None = None,
    positive: Any = None,
    classes: Sequence[Any] | None = None,
) -> Values | None:
    """The metric's value per row, whose mean is the metric; None for a metric that is no mean over rows.

    accuracy is 1 for a right row. Raises BadInput for a metric of another task, or one that needs scores.
    """
    if not get_metric(metric, task).is_row_mean:
        return None
    if task == "regression":
        return np.abs(_numbers(y) - _numbers(prediction))
    if metric == "accuracy":
        return np.array([str(a) == str(b) for a, b in zip(y, prediction, strict=True)], dtype=np.float64)
    if scores is None:
        raise BadInput(f"{metric} needs probabilities, and the model gives none", metric=metric)
    if task == "binary":
        truth = is_positive(y, positive)
        if metric == "brier":
            return (scores - truth) ** 2
        return classification.log_losses(truth, scores)
    return multiclass.log_losses(list(y), scores, list(classes or []))


def is_positive(labels: Labels, positive: Any) -> Values:
    """1.0 where a label is the positive class, else 0.0; labels are compared as text, so 1 and "1" are alike.

    positive None: the larger of the two labels (1, True, "yes" before "no" in order).
    """
    if positive is None:
        positive = max((_text(label) for label in labels), default="1")
    if isinstance(labels, np.ndarray) and labels.dtype.kind in "biuf" and isinstance(positive, int | float):
        return np.asarray(labels == positive, dtype=np.float64)
    wanted, kinds = _text(positive), set(map(type, labels))
    if kinds <= _PLAIN:  # equal values read alike, so that each is looked at once
        said = {label: _text(label) == wanted for label in set(labels)}
        return np.array([said[label] for label in labels], dtype=np.float64)
    return np.array([_text(label) == wanted for label in labels], dtype=np.float64)


def _text(label: Any) -> str:
    if isinstance(label, bool | np.bool_):
        return "1" if label else "0"
    if isinstance(label, float | np.floating) and float(label).is_integer():
        return str(int(label))
    return str(label)


def _numbers(values: Labels) -> Values:
    return np.asarray(values, dtype=np.float64)

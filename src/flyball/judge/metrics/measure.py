"""Metrics with confidence intervals, of one model and of two on the same rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from flyball.core.errors import NotEnoughEvidence
from flyball.core.values import Interval
from flyball.judge.metrics import delong
from flyball.judge.metrics.intervals import (
    Indices,
    bootstrap_interval,
    mean_interval,
    percentile_interval,
    resampled_rows,
)
from flyball.judge.metrics.table import (
    Labels,
    Values,
    compute_metrics,
    get_metric,
    is_positive,
    row_losses,
)

Groups = NDArray[np.generic] | Sequence[Any]


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """A metric's value on some rows; interval None where the rows do not allow one."""

    value: float
    interval: Interval | None
    row_count: int


class Answers(msgspec.Struct, frozen=True, kw_only=True):
    """One model's answers on the rows of a comparison, see `compute_metrics`."""

    prediction: Any
    scores: Any = None
    classes: list[Any] | None = None


class Paired(msgspec.Struct, frozen=True, kw_only=True):
    """Champion and candidate on the same rows. difference: interval of candidate minus champion, metric's
    unit.

    identical: the answers themselves are the same, the only case in which no spread means no difference.
    """

    metric: str
    champion: float
    candidate: float
    estimate: float
    difference: Interval | None
    row_count: int
    group_count: int
    identical: bool


def measure(
    task: str,
    y: Labels,
    prediction: Labels,
    *,
    seed: int,
    scores: Values | None = None,
    positive: Any = None,
    classes: Sequence[Any] | None = None,
    groups: Groups | None = None,
    confidence: float = 0.95,
    resamples: int = 300,
) -> dict[str, Measured]:
    """Every metric of the task with its confidence interval.

    groups: label per row that says what belongs together (a block of time when rows are ordered, an entity
    when they repeat); whole groups are resampled. AUC of separate rows by DeLong, all else by percentile
    bootstrap.
    """
    answers = Answers(prediction=prediction, scores=scores, classes=list(classes) if classes else None)
    labels = _labels(groups)
    if task == "binary":
        # Labels become 0 and 1 once, so that each resample compares numbers.
        answers = msgspec.structs.replace(answers, prediction=is_positive(prediction, positive))
        y, positive = is_positive(y, positive), 1
    values = _values(task, y, answers, positive, None)
    by_bootstrap = [name for name in values if not _has_own_interval(task, name, labels)]
    drawn = _bootstrap(
        task,
        by_bootstrap,
        y,
        answers,
        positive,
        labels,
        seed=seed,
        confidence=confidence,
        resamples=resamples,
    )
    measured = {}
    for name, value in values.items():
        interval = drawn.get(name)
        if name not in by_bootstrap:
            interval = _own_interval(task, name, y, answers, positive, labels, seed, confidence)
        measured[name] = Measured(value=value, interval=interval, row_count=len(y))
    return measured


def paired_difference(
    task: str,
    metric: str,
    y: Labels,
    champion: Answers,
    candidate: Answers,
    *,
    seed: int,
    positive: Any = None,
    groups: Groups | None = None,
    confidence: float = 0.95,
    resamples: int = 1000,
) -> Paired:
    """How candidate and champion differ in a metric on the same rows, on which neither may have been trained.

    groups: as in `measure`. AUC by paired DeLong when rows stand alone, means by paired bootstrap of row
    differences, other metrics by paired bootstrap of rows. Raises NotEnoughEvidence without rows or when the
    metric is undefined on them.
    """
    get_metric(metric, task)
    old, new = (_values(task, y, answers, positive, None).get(metric) for answers in (champion, candidate))
    if old is None or new is None:
        raise NotEnoughEvidence(f"{metric} is undefined on these {len(y)} rows, so nothing can be compared")
    labels = _labels(groups)
    truth = is_positive(y, positive) if task == "binary" else None
    interval: Interval | None
    if metric == "roc_auc" and truth is not None and labels is None:
        try:
            interval = delong.auc_difference_interval(
                truth, np.asarray(champion.scores), np.asarray(candidate.scores), confidence=confidence
            )
        except NotEnoughEvidence:
            interval = None
    elif get_metric(metric, task).is_row_mean:
        rows_old, rows_new = (
            row_losses(task, metric, y, a.prediction, scores=_scores(a), positive=positive, classes=a.classes)
            for a in (champion, candidate)
        )
        assert rows_old is not None and rows_new is not None
        interval = mean_interval(
            rows_new - rows_old, seed=seed, confidence=confidence, groups=labels, resamples=resamples
        )
    else:

        def difference(rows: Indices) -> float | None:
            a, b = (
                _values(task, y, answers, positive, rows).get(metric) for answers in (champion, candidate)
            )
            return None if a is None or b is None else b - a

        interval = bootstrap_interval(
            difference, len(y), seed=seed, confidence=confidence, groups=labels, resamples=resamples
        )
    return Paired(
        metric=metric,
        champion=old,
        candidate=new,
        estimate=new - old,
        difference=interval,
        row_count=len(y),
        group_count=len(y) if labels is None else len(np.unique(labels)),
        identical=_same(champion, candidate),
    )


def _has_own_interval(task: str, metric: str, labels: NDArray[np.generic] | None) -> bool:
    """AUC of separate rows has DeLong's interval, a mean over rows that of a mean; the rest is drawn together."""
    return get_metric(metric, task).is_row_mean or (
        metric == "roc_auc" and task == "binary" and labels is None
    )


def _own_interval(
    task: str,
    metric: str,
    y: Labels,
    answers: Answers,
    positive: Any,
    labels: NDArray[np.generic] | None,
    seed: int,
    confidence: float,
) -> Interval | None:
    if not get_metric(metric, task).is_row_mean:
        try:
            return delong.auc_interval(
                is_positive(y, positive), np.asarray(answers.scores), confidence=confidence
            )
        except NotEnoughEvidence:
            return None
    rows = row_losses(
        task,
        metric,
        y,
        answers.prediction,
        scores=_scores(answers),
        positive=positive,
        classes=answers.classes,
    )
    assert rows is not None
    return mean_interval(rows, seed=seed, confidence=confidence, groups=labels)


def _bootstrap(
    task: str,
    metrics: Sequence[str],
    y: Labels,
    answers: Answers,
    positive: Any,
    labels: NDArray[np.generic] | None,
    *,
    seed: int,
    confidence: float,
    resamples: int,
) -> dict[str, Interval]:
    """Intervals of several metrics from the same resamples; a metric with too few defined values has none."""
    if not metrics or len(y) == 0:
        return {}
    found: dict[str, list[float]] = {name: [] for name in metrics}
    for rows in resampled_rows(len(y), seed=seed, groups=labels, resamples=resamples):
        values = _values(task, y, answers, positive, rows)
        for name in metrics:
            if name in values:
                found[name].append(values[name])
    return {
        name: percentile_interval(np.array(drawn), confidence)
        for name, drawn in found.items()
        if len(drawn) >= 0.8 * resamples
    }


def _values(
    task: str,
    y: Labels,
    answers: Answers,
    positive: Any,
    rows: Indices | None,
) -> dict[str, float]:
    truth, prediction, scores = np.asarray(y), np.asarray(answers.prediction), _scores(answers)
    if task == "binary":
        # Labels become 0 and 1 once, so that resampling compares numbers.
        truth, prediction, positive = is_positive(y, positive), is_positive(answers.prediction, positive), 1
    if rows is not None:
        truth, prediction = truth[rows], prediction[rows]
        scores = None if scores is None else scores[rows]
    return compute_metrics(task, truth, prediction, scores=scores, positive=positive, classes=answers.classes)


def _scores(answers: Answers) -> Values | None:
    return None if answers.scores is None else np.asarray(answers.scores, dtype=np.float64)


def _labels(groups: Groups | None) -> NDArray[np.generic] | None:
    return None if groups is None else np.asarray(groups)


def _same(champion: Answers, candidate: Answers) -> bool:
    if not np.array_equal(np.asarray(champion.prediction), np.asarray(candidate.prediction)):
        return False
    old, new = _scores(champion), _scores(candidate)
    if old is None or new is None:
        return old is None and new is None
    return bool(np.array_equal(old, new))

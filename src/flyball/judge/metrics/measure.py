"""Metrics with confidence intervals, of one model and of two on the same rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from flyball.core.errors import NotEnoughEvidence
from flyball.core.values import Interval
from flyball.judge.metrics import delong
from flyball.judge.metrics.intervals import Indices, bootstrap_draws, percentile_interval, resampled_rows
from flyball.judge.metrics.means import mean_of
from flyball.judge.metrics.redrawn import Redrawn
from flyball.judge.metrics.student import two_sided_p
from flyball.judge.metrics.table import (
    Labels,
    Metric,
    Values,
    compute_metrics,
    get_metric,
    is_positive,
    row_losses,
)

Groups = NDArray[np.generic] | Sequence[Any]
# Of fewer rows or groups the percentile bootstrap misses on one side more often than in one case of twenty.
LEAST_DRAWN = 5
SCORE_METRICS = ("roc_auc", "average_precision", "log_loss", "brier")


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
    p: two-sided p-value of no true difference, for `judge.gates.labels`; None where the rows do not allow one.
    """

    metric: str
    champion: float
    candidate: float
    estimate: float
    difference: Interval | None
    row_count: int
    group_count: int
    identical: bool
    p: float | None = None


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
    only: str | None = None,
) -> dict[str, Measured]:
    """Every metric of the task (or one, by `only`) with its confidence interval.

    groups: label per row that says what belongs together (a block of time when rows are ordered, an entity
    when they repeat). AUC of two classes as in `delong`, means over rows as in `means`, all else by percentile
    bootstrap of rows or whole groups.
    """
    labels = _labels(groups)
    answers = Answers(prediction=prediction, scores=scores, classes=list(classes) if classes else None)
    if task == "binary":
        # Labels become 0 and 1 once, so that each resample compares numbers.
        answers = msgspec.structs.replace(answers, prediction=is_positive(prediction, positive))
        y, positive = is_positive(y, positive), 1
    values = _values(task, y, answers, positive, None)
    if only is not None:
        values = {name: value for name, value in values.items() if name == only}
    by_bootstrap = [name for name in values if not _has_own_interval(task, name)]
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
            interval = _own_interval(task, name, y, answers, positive, labels, confidence)
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

    confidence: of the interval, two-sided: just at a margin at most (1 - confidence) / 2 of gates pass.
    groups: as in `measure`. AUC of two classes by paired DeLong or, with groups, Obuchowski's clustered variance;
    means by their row differences; other metrics by paired bootstrap. Raises NotEnoughEvidence without rows or
    when the metric is undefined on them.
    """
    get_metric(metric, task)
    if task == "binary":
        # Labels become 0 and 1 once, so that each resample compares numbers.
        champion, candidate = (
            msgspec.structs.replace(answers, prediction=is_positive(answers.prediction, positive))
            for answers in (champion, candidate)
        )
        y, positive = is_positive(y, positive), 1
    old, new = (_values(task, y, answers, positive, None).get(metric) for answers in (champion, candidate))
    if old is None or new is None:
        raise NotEnoughEvidence(f"{metric} is undefined on these {len(y)} rows, so nothing can be compared")
    labels = _labels(groups)
    units = len(y) if labels is None else len(np.unique(labels))
    if metric == "roc_auc" and task == "binary":
        interval, p = _area_difference(np.asarray(y), champion, candidate, labels, confidence)
    elif get_metric(metric, task).is_row_mean:
        rows_old, rows_new = (_row_losses(task, metric, y, a, positive) for a in (champion, candidate))
        mean = mean_of(rows_new - rows_old, labels)
        interval, p = mean.interval(confidence), mean.p
    else:
        first, second = (_drawing(task, y, answers, positive, [metric]) for answers in (champion, candidate))

        def difference(rows: Indices) -> float | None:
            a, b = first(rows).get(metric), second(rows).get(metric)
            return None if a is None or b is None else b - a

        drawn = bootstrap_draws(difference, len(y), seed=seed, groups=labels, resamples=resamples)
        interval, p = None, None
        if drawn is not None and units >= LEAST_DRAWN:
            interval, p = (
                percentile_interval(drawn, confidence, units=units),
                _drawn_p(new - old, drawn, units),
            )
    return Paired(
        metric=metric,
        champion=old,
        candidate=new,
        estimate=new - old,
        difference=interval,
        row_count=len(y),
        group_count=units,
        identical=_same(champion, candidate),
        p=p,
    )


def _area_difference(
    truth: Values,
    champion: Answers,
    candidate: Answers,
    labels: NDArray[np.generic] | None,
    confidence: float,
) -> tuple[Interval | None, float | None]:
    """Interval and p-value of a difference of AUCs; none where a class has too few rows or groups."""
    try:
        found = delong.auc_difference(
            truth, np.asarray(champion.scores), np.asarray(candidate.scores), groups=labels
        )
    except NotEnoughEvidence:
        return None, None
    return found.interval(confidence), found.p


def _drawn_p(estimate: float, drawn: Values, units: int) -> float | None:
    """P-value by the spread of resamples: their count is too small to count those beyond 0."""
    error = float(drawn.std(ddof=1))
    return None if error == 0.0 else two_sided_p(estimate / error, units - 1)


def _has_own_interval(task: str, metric: str) -> bool:
    """AUC of two classes has DeLong's interval, a mean over rows that of a mean; the rest is drawn together."""
    return get_metric(metric, task).is_row_mean or (metric == "roc_auc" and task == "binary")


def _own_interval(
    task: str,
    metric: str,
    y: Labels,
    answers: Answers,
    positive: Any,
    labels: NDArray[np.generic] | None,
    confidence: float,
) -> Interval | None:
    known = get_metric(metric, task)
    if known.is_row_mean:
        found = mean_of(_row_losses(task, metric, y, answers, positive), labels).interval(confidence)
        return None if found is None else _inside(found, known)
    try:
        return delong.auc_interval(
            is_positive(y, positive), np.asarray(answers.scores), groups=labels, confidence=confidence
        )
    except NotEnoughEvidence:
        return None


def _row_losses(task: str, metric: str, y: Labels, answers: Answers, positive: Any) -> Values:
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
    return rows


def _inside(interval: Interval, metric: Metric) -> Interval:
    """The interval within the range the metric can take."""
    low = interval.low if metric.low is None else max(interval.low, metric.low)
    return Interval(low, interval.high if metric.high is None else min(interval.high, metric.high))


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
    units = len(y) if labels is None else len(np.unique(labels))
    if not metrics or units < LEAST_DRAWN:
        return {}
    found: dict[str, list[float]] = {name: [] for name in metrics}
    drawing = _drawing(task, y, answers, positive, metrics)
    for rows in resampled_rows(len(y), seed=seed, groups=labels, resamples=resamples):
        values = drawing(rows)
        for name in metrics:
            if name in values:
                found[name].append(values[name])
    return {
        name: percentile_interval(np.array(drawn), confidence, units=units)
        for name, drawn in found.items()
        if len(drawn) >= 0.8 * resamples
    }


def _drawing(
    task: str, y: Labels, answers: Answers, positive: Any, metrics: Sequence[str]
) -> Callable[[Indices], dict[str, float]]:
    """What gives the metrics of drawn rows, at least these; of two classes without sorting each draw."""
    if task != "binary":
        return lambda rows: _values(task, y, answers, positive, rows)
    scores = _scores(answers) if set(metrics) & set(SCORE_METRICS) else None
    return Redrawn(np.asarray(y), np.asarray(answers.prediction), scores).values


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

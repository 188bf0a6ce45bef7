"""Where and by how much the answers are off: bias by segment, and the error the inputs alone would
explain.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import msgspec
import numpy as np
from numpy.typing import NDArray

from flyball.core.errors import NotEnoughEvidence
from flyball.core.values import Interval
from flyball.judge.metrics.intervals import moving_block_mean_interval

Values = NDArray[np.float64]
_LARGEST_GROUPS = 8


class Segment(msgspec.Struct, frozen=True, kw_only=True):
    """Rows with one value, or a range of values, of one feature. bias: mean outcome minus mean answer
    there.
    """

    feature: str
    where: str
    bias: float
    row_count: int


class ResidualSummary(msgspec.Struct, frozen=True, kw_only=True):
    """Outcome minus answer over a window; positive bias means answers too low.

    bias_interval: 95 %, days resampled in blocks. explained: share of the residuals' variance that the best
    feature's segments explain, 0 to 1; segments: its groups, most bias first.
    """

    row_count: int
    bias: float
    bias_interval: Interval
    loss: float
    mean_outcome: float
    mean_prediction: float
    explained: float
    segments: list[Segment]


class ExpectedLoss(msgspec.Struct, frozen=True, kw_only=True):
    """Held-out loss of the training rows by the size of the answer; what the inputs alone let one expect.

    edges: inner, of the answers; losses: mean absolute residual per bin.
    """

    edges: list[float]
    losses: list[float]
    mean_outcome: float


def summarise_residuals(
    outcomes: Values,
    predictions: Values,
    event_seconds: Values,
    columns: Mapping[str, Sequence[object] | Values],
    *,
    seed: int = 0,
) -> ResidualSummary:
    """The bias of a window's answers, how sure it is, and the feature along which it differs most.

    outcomes, predictions: numbers (binary: 0/1 and probabilities), one per row with a known outcome.
    """
    if outcomes.size == 0:
        raise NotEnoughEvidence("no outcome of this window is known yet")
    residuals = outcomes - predictions
    interval = moving_block_mean_interval(residuals, event_seconds, block_seconds=86_400.0, seed=seed)
    explained, segments = 0.0, list[Segment]()
    for name, column in columns.items():
        share, groups = _by_feature(name, column, residuals)
        if share > explained:
            explained, segments = share, groups
    return ResidualSummary(
        row_count=int(outcomes.size),
        bias=float(residuals.mean()),
        bias_interval=interval,
        loss=float(np.abs(residuals).mean()),
        mean_outcome=float(outcomes.mean()),
        mean_prediction=float(predictions.mean()),
        explained=explained,
        segments=segments,
    )


def fit_expected_loss(outcomes: Values, predictions: Values, *, bins: int = 10) -> ExpectedLoss:
    """The held-out error by size of the answer, from cross-validated answers on the training rows."""
    if outcomes.size == 0:
        raise NotEnoughEvidence("held-out answers are needed to know which error to expect")
    edges = np.unique(np.quantile(predictions, np.arange(1, bins) / bins))
    place = np.searchsorted(edges, predictions)
    counts = np.maximum(np.bincount(place, minlength=edges.size + 1), 1)
    sums = np.bincount(place, weights=np.abs(outcomes - predictions), minlength=edges.size + 1)
    return ExpectedLoss(
        edges=edges.tolist(), losses=(sums / counts).tolist(), mean_outcome=float(outcomes.mean())
    )


def expected_loss(reference: ExpectedLoss, predictions: Values) -> float:
    """The mean absolute error to expect of these answers if only the inputs had changed.

    It says nothing of inputs beyond the training range, where held-out error was never seen.
    """
    if predictions.size == 0:
        raise NotEnoughEvidence("no answers to expect an error of")
    place = np.searchsorted(np.asarray(reference.edges), predictions)
    return float(np.asarray(reference.losses)[place].mean())


def _by_feature(
    name: str, column: Sequence[object] | Values, residuals: Values
) -> tuple[float, list[Segment]]:
    labels, words = _groups(column)
    total = float(((residuals - residuals.mean()) ** 2).sum())
    if total <= 0 or len(words) < 2:
        return 0.0, []
    counts = np.bincount(labels, minlength=len(words))
    means = np.bincount(labels, weights=residuals, minlength=len(words)) / np.maximum(counts, 1)
    between = float((counts * (means - residuals.mean()) ** 2).sum())
    # Adjusted for the number of groups, or the feature with most values would always win.
    rows, groups = residuals.size, len(words)
    share = 1.0 - (1.0 - between / total) * (rows - 1) / max(rows - groups, 1)
    order = np.argsort(-np.abs(means) * (counts >= 3))
    segments = [
        Segment(feature=name, where=words[i], bias=float(means[i]), row_count=int(counts[i]))
        for i in order[:5]
        if counts[i] >= 3
    ]
    return max(share, 0.0), segments


def _groups(column: Sequence[object] | Values) -> tuple[NDArray[np.int64], list[str]]:
    """Rows sorted into at most 24 whole numbers or levels, or 8 ranges, with a name each."""
    if isinstance(column, np.ndarray) and column.dtype.kind in "fiub":
        values = column.astype(np.float64)
        distinct = np.unique(values[~np.isnan(values)])
        whole = bool((distinct == np.round(distinct)).all())
        if distinct.size <= (24 if whole else _LARGEST_GROUPS):
            place = np.searchsorted(distinct, np.where(np.isnan(values), np.inf, values))
            return place.astype(np.int64), [f"= {value:g}" for value in distinct] + ["is missing"]
        edges = np.unique(
            np.quantile(values[~np.isnan(values)], np.arange(1, _LARGEST_GROUPS) / _LARGEST_GROUPS)
        )
        bounds = [distinct[0], *edges, distinct[-1]]
        words = [f"from {a:.3g} to {b:.3g}" for a, b in pairwise(bounds)]
        place = np.searchsorted(edges, values)
        place[np.isnan(values)] = len(words)
        return place.astype(np.int64), [*words, "is missing"]
    texts = ["is missing" if value is None else f"= {value}" for value in column]
    counts: dict[str, int] = {}
    for text in texts:
        counts[text] = counts.get(text, 0) + 1
    kept = sorted(counts, key=lambda text: (-counts[text], text))[:24]
    index = {text: place for place, text in enumerate(kept)}
    other = len(kept)
    return np.array([index.get(text, other) for text in texts], dtype=np.int64), [*kept, "is another value"]

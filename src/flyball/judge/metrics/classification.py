"""Metrics of two classes: ranking, probabilities, decisions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
# Probabilities are kept this far from 0 and 1, so that one certain and wrong answer costs 34.5 and not
# infinity.
SMALLEST_PROBABILITY = 1e-15


def binary_metrics(truth: Values, said: Values, scores: Values | None) -> dict[str, float | None]:
    """All metrics of a binary model, 0.0 to 1.0 except log_loss; None where undefined.

    truth, said: 1.0 for the positive class. scores: its probability, None when the model gives none. Ranking
    metrics need both classes, rates their own class.
    """
    found: dict[str, float | None] = {"accuracy": float((truth == said).mean())}
    found |= decision_metrics(float((truth * said).sum()), float(truth.sum()), float(said.sum()), truth.size)
    if scores is not None:
        found["roc_auc"] = roc_auc(truth, scores)
        found["average_precision"] = average_precision(truth, scores)
        found["log_loss"] = float(log_losses(truth, scores).mean())
        found["brier"] = float(((scores - truth) ** 2).mean())
    return found


def decision_metrics(hits: float, positives: float, called: float, row_count: int) -> dict[str, float | None]:
    """What follows from counts alone, 0.0 to 1.0; None where undefined.

    hits: rows that are positive and said to be; positives: those that are; called: those said to be.
    """
    recall = _ratio(hits, positives)
    false_alarms = _ratio(called - hits, row_count - positives)
    return {
        "precision": _ratio(hits, called),
        "true_positive_rate": recall,
        "false_positive_rate": false_alarms,
        "f1": _ratio(2 * hits, positives + called),
        "balanced_accuracy": None
        if recall is None or false_alarms is None
        else (recall + 1.0 - false_alarms) / 2,
    }


def roc_auc(truth: Values, scores: Values) -> float | None:
    """Probability that a positive row is scored above a negative one, ties counting half; None with one
    class.

    Source: Mann, Whitney (1947); Hanley, McNeil (1982), Radiology 143(1).
    """
    positives = float(truth.sum())
    negatives = truth.size - positives
    if positives == 0 or negatives == 0:
        return None
    ranks = float(midranks(scores)[truth == 1.0].sum())
    return (ranks - positives * (positives + 1) / 2) / (positives * negatives)


def midranks(values: Values) -> Values:
    """Ranks from 1, equal values sharing the mean of theirs. (scipy's own takes half a second to import.)

    >>> midranks(np.array([0.3, 0.1, 0.3])).tolist()
    [2.5, 1.0, 2.5]
    """
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: Values = (last - (counts - 1) / 2)[inverse]
    return ranks


def average_precision(truth: Values, scores: Values) -> float | None:
    """Mean precision at each rise of recall, without interpolation; rows of equal score enter together."""
    if truth.sum() == 0:
        return None
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.diff(scores[order], append=np.inf))
    hits = np.cumsum(truth[order])[ends]
    precision = hits / (ends + 1)
    return float((np.diff(hits, prepend=0.0) * precision).sum() / truth.sum())


def log_losses(truth: Values, scores: Values) -> Values:
    """Negative log-likelihood per row, natural logarithm, 0 to 34.5."""
    kept = np.clip(scores, SMALLEST_PROBABILITY, 1.0 - SMALLEST_PROBABILITY)
    losses: Values = -(truth * np.log(kept) + (1.0 - truth) * np.log1p(-kept))
    return losses


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None

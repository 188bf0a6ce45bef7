"""Metrics of three or more classes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from flyball.judge.metrics.classification import SMALLEST_PROBABILITY, roc_auc

Values = NDArray[np.float64]


def multiclass_metrics(
    y: list[Any], prediction: list[Any], scores: Values | None, classes: list[Any]
) -> dict[str, float | None]:
    """All metrics of a multiclass model; None where undefined.

    roc_auc is the mean of one class against the rest over the classes that occur. Labels are compared as
    text.
    """
    truth, said = np.array([str(v) for v in y]), np.array([str(v) for v in prediction])
    names = [str(c) for c in classes] or sorted(set(truth) | set(said))
    recalls, f1s = [], []
    for name in names:
        hits = float(((truth == name) & (said == name)).sum())
        there, called = float((truth == name).sum()), float((said == name).sum())
        if there:
            recalls.append(hits / there)
        if there + called:
            f1s.append(2 * hits / (there + called))
    found: dict[str, float | None] = {
        "accuracy": float((truth == said).mean()),
        "balanced_accuracy": float(np.mean(recalls)) if recalls else None,
        "f1_macro": float(np.mean(f1s)) if f1s else None,
    }
    if scores is not None and classes:
        areas = [roc_auc((truth == name).astype(np.float64), scores[:, i]) for i, name in enumerate(names)]
        known = [area for area in areas if area is not None]
        found["roc_auc"] = float(np.mean(known)) if known else None
        found["log_loss"] = float(log_losses(y, scores, classes).mean())
    return found


def log_losses(y: list[Any], scores: Values, classes: list[Any]) -> Values:
    """Negative logarithm of the probability given to each row's class; of 1e-15 for a class the model
    lacks.
    """
    place = {str(name): i for i, name in enumerate(classes)}
    columns = np.array([place.get(str(label), -1) for label in y])
    given = np.where(columns >= 0, scores[np.arange(len(y)), np.maximum(columns, 0)], 0.0)
    losses: Values = -np.log(np.clip(given, SMALLEST_PROBABILITY, 1.0))
    return losses
